// SPDX-License-Identifier: Apache-2.0

// Package heap assembles SPEAD packets into heaps, without locks.
//
// # The model
//
// Any number of threads feed one [Assembler], each through a [Feeder] of its
// own, also when their packets belong to one and the same heap. Each byte is
// copied once, from where the source holds it to its place in a slot of the
// pool; a finished heap is that slot.
//
//	          Feed                       last byte in
//	packets ───────► history ─► record ───────────────► ring ───► Next … Release
//	                (which heap) (one slot, being filled)  (finished)    (held)
//
// Five structures, each with its invariants at the top of its file, share the
// work:
//
//   - history (history.go): the heaps started lately, by count. Decides, with
//     one compare-and-swap, which thread starts a heap; the newest of them are
//     the window of live heaps, all of them are remembered so that a late
//     packet starts no ghost.
//   - record (record.go): one heap being filled. A state word says whether it
//     is open and how many threads have pinned it; the thread that takes off
//     the last pin of a closed record finishes it.
//   - pinnedHeaps (pinned.go): the heaps that a thread has pinned, and what it has still
//     to copy into them.
//   - coverage (coverage.go) and pointers (pointers.go): which bytes are
//     claimed, and the item pointers seen.
//   - ring (ring.go): the finished heaps on their way to the consumer.
//
// # Progress
//
// No thread ever waits for another on the packet path: every step is one
// atomic operation, a half-made heap is never visible, and what another thread
// left between two steps is completed by whoever meets it. A thread descheduled
// at any instruction delays at most the heaps it has pinned: one, or several if
// no other thread feeds (pinned.go). The one place where a thread waits is a full
// ring under the policy [Block]; it holds no pin then. Tests built with the tag
// "stepping" suspend a thread at each step.
//
// # Accounts
//
// Every packet given to Feed has exactly one [Fate]. A packet placed in a heap
// shares the fate of its heap, settled when the heap is; until then it is in
// flight. So at rest packets = Σ fates + in flight, exactly.
package heap
