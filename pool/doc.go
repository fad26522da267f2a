// SPDX-License-Identifier: Apache-2.0

// Package pool is the memory in which heaps are assembled. It consists of slots of
// fixed size, cut from huge pages. The pages are mapped, touched, locked and bound to a
// NUMA node before the first packet. Nothing is allocated afterwards.
//
// # How many slots
//
// Each stream has a [Share] of the pool, sized by where a heap's slot can be:
//
//	slots = Live      heaps being assembled
//	      + Ring      finished, waiting for the consumer
//	      + Held      in the consumer's hands
//	      + Threads   one in the hands of each feeding thread, in no table
//
// So a share cannot run empty while the consumer holds no more than Held. It
// has as many small slots besides, for heaps below a bound, such as those that
// only carry descriptors. Beside the slots the mapping has room for the tables of
// whoever assembles the heaps ([Share.Tables]), on the same pages.
//
// # The life of a slot
//
//	  ┌──── Take ───► Filling ── MarkReady ──► Ready ── MarkHeld ──► Held
//	  │                  │                       │                    │
//	Free ◄──── Free ─────┴───────────────────────┴────────────────────┘
//
// The goroutine that took a slot owns it. It alone may change the slot's state and bytes,
// until it hands the slot on to another goroutine or calls [Share.Free]. Freeing a slot
// that is free is refused ([ErrNotTaken]).
//
// # No locks
//
// Take, MarkReady, MarkHeld and Free never wait for another goroutine. A goroutine that
// is stopped between any two instructions withholds the slot it owns, and nothing
// else. The free slots of a class are a stack. So the slot that is taken next is the
// one whose cache lines are warmest.
//
// One atomic word has the number of slots in each state. So [Share.Counts] is always one
// consistent set, and its high-water marks are values that the word has had. Compare
// them with the terms of the sum above: a mark below its term says that the term could
// be smaller.
package pool
