// SPDX-License-Identifier: Apache-2.0

// Package speadx receives SPEAD streams: it takes UDP packets off a Linux
// network interface through AF_XDP, past the kernel's network stack, puts them
// together into heaps, and hands whole heaps over in a memory pool of huge pages
// whose size is fixed before the first packet.
//
//	r, err := speadx.Open(ctx, speadx.Config{
//		Streams:  []speadx.Stream{{Source: "239.1.2.3:7148"}},
//		HeapSize: 64 << 20,
//	})
//	…
//	defer r.Close()
//	for h, err := range r.Heaps(ctx) {
//		…
//		h.Release()
//	}
//
// # The life of a heap
//
// A heap's packets are copied, once, into a slot of the pool; when the last byte
// is in, the slot goes into the ring of finished heaps, and [Receiver.Next]
// hands it over. It is the consumer's until Release: nothing in it changes, and
// its items are views into it. So the pool has room for
//
//	heaps being assembled + heaps in the ring + heaps held + one a thread
//
// and each of these is a setting of [Config]. As long as the consumer holds no
// more heaps than it said it would, the pool cannot run empty.
//
// # Where packets go
//
// Every packet that reached the receiver has exactly one fate: it was delivered
// in a heap, or one counter says why not. [Receiver.Stats] has them all, and the
// sum closes: see [Stats].
//
// # Ways to receive
//
// AF_XDP runs zero-copy where the driver can, otherwise native or generic. Without
// the privileges or the interface for it the receiver uses UDP sockets. [Receiver.Info]
// says which mode it took, and why not a better one. Capture files go the
// same way as packets from a network, and so does what comes over a TCP connection,
// in which a full ring holds the sender up instead of losing its packets.
//
// While packets come, a thread that receives looks for more every 50 to 400 µs, unless it
// spins ([Config.Wait]), and keeps one of Go's processors all that time, if two are left. So
// a program should have GOMAXPROCS of at least two more than [Info] says there are threads,
// whatever the number of cores, and as many more as it can make use of.
package speadx
