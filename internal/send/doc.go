// SPDX-License-Identifier: Apache-2.0

// Package send is a SPEAD sender for tests and measurements: it sends heaps
// like spead2_send, as fast as the network takes them or at a chosen rate,
// with faults injected on purpose if asked.
//
//	heaps ──► packetiser ──► faults ──► batch ──► pacer ──► engine: UDP sockets
//	payload     headers      drop,      of packets                  or AF_XDP,
//	blocks                   reorder,                               or TCP
//	                         duplicate                              connections
//
// One goroutine does all of this; a second one writes the verification pattern
// into the next block of payload while this block is being sent. Packets are
// never put together in user space for the UDP and TCP engines: header and payload
// are gathered by the kernel. Only TCP makes a sender wait for its receivers.
//
// The engine Blast is another way: the kernel makes the packets of the data heaps
// from a template, faster than any socket takes them. What differs from packet to
// packet by more than the heap count and the payload offset, the descriptors and
// the stop heaps, goes through UDP sockets.
//
// What is sent is that of spead2_send: heaps counted from 1 and dealt out to the
// destinations in turn, each with the items 0x1000, 0x1001, … of equal size;
// the first heap of each destination also describes them; after the last data
// heap each destination gets one with the stop item. Two things differ: the
// flavour is SPEAD-64-48 unless another is asked for, as instruments send it,
// and an item of one word stays an addressed item, so that it can be verified
// like the others.
package send
