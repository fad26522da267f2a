// SPDX-License-Identifier: Apache-2.0

// Package heap assembles SPEAD packets into heaps, without locks.
//
// # What SPEAD is
//
// A sender has data that is larger than a packet, such as the spectra of an antenna. It puts
// them into a heap. A heap has a number, the heap count, and items. An item is an id with a
// value or with bytes. All bytes of a heap together are its payload.
//
// The sender cuts the payload into packets. Each packet carries the heap count, the heap's
// length, and the offset of its own bytes. So packets can come in any order. The item
// pointers in a packet say where in the payload each item begins. The flavour, such as
// SPEAD-64-48, says how many bits of a pointer are the id and how many are the address.
// A stream is all heaps of one numbering. It ends with a heap that has the stop item.
//
// # The path of a packet
//
//		          Feed                       last byte in
//		packets ───────► history ─► record ───────────────► ring ───► Next … Release
//		                (which heap) (one slot, being filled)  (finished)    (held)
//
//	 1. A receiving thread gives a batch of packets to its [Feeder]. The feeder decodes their
//	    headers. All feeders of a stream share one [Assembler].
//	 2. The history knows the heaps that were started lately. The newest of them are the window
//	    of live heaps. A packet of a new heap starts it: the heap gets a record and a slot,
//	    which is a piece of the pool's memory. If the window is full, the oldest heap leaves
//	    incomplete.
//	 3. The thread pins the record, so that nobody takes its slot away.
//	 4. The thread claims the packet's bytes in the coverage. A byte is claimed once.
//	 5. The thread copies the payload to its place in the slot. This is the only copy.
//	 6. The thread commits what it placed, and takes off its pin. If the heap is complete, the
//	    thread that takes off the last pin finishes it.
//	 7. A finished heap goes into the ring. The consumer takes it with [Assembler.TryNext], and
//	    gives the slot back with [Heap.Release].
//
// # Where things are
//
// Each of these files has its invariants at the top:
//
//   - history.go: the heaps started lately, by count. One compare-and-swap decides which
//     thread starts a heap. Heaps that have left are remembered, so that a late packet does
//     not start its heap again.
//   - record.go: one heap being filled. Its state word reports whether it is open, and how many
//     threads have pinned it.
//   - pinned.go: the heaps that a thread has pinned, and the copies that it owes them.
//   - coverage.go and pointers.go: which bytes are claimed, and the item pointers seen.
//   - ring.go: the finished heaps on their way to the consumer.
//
// # Progress
//
// No thread ever waits for another on the packet path. Each step is one atomic operation,
// and a half-made heap is never visible. What a thread left between two steps is completed
// by any thread that meets it. A thread that is descheduled delays at most the heaps it has
// pinned. That is one heap, or several if no other thread feeds (pinned.go). A thread waits
// in one place only: where the ring is full, under the policy [Block]. It holds no pin then.
// Tests built with the tag "stepping" suspend a thread at each step.
//
// # Accounts
//
// Every packet given to Feed has exactly one [Fate]. A packet that was placed shares the fate
// of its heap, which is settled when the heap is. Until then it is in flight. So at rest
// packets = Σ fates + in flight, exactly.
package heap
