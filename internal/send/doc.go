// SPDX-License-Identifier: Apache-2.0

// Package send is a SPEAD sender for tests and measurements. It sends heaps like
// spead2_send, as fast as the network takes them or at a chosen rate. It injects
// faults on request.
//
//	heaps ──► packetiser ──► faults ──► batch ──► pacer ──► engine: UDP sockets
//	payload     headers      drop,      of packets                  or AF_XDP,
//	blocks                   reorder,                               or TCP
//	                         duplicate                              connections
//
// One goroutine does all of this. A second one writes the verification pattern into the
// next block of payload while this block is being sent. The UDP and TCP engines never
// put packets together in user space: the kernel gathers header and payload. Only TCP
// makes a sender wait for its receivers.
//
// With the engine Blast the kernel makes the packets of the data heaps from a template,
// faster than any socket takes them. These packets differ only in the heap count and the
// payload offset. Descriptors and stop heaps differ in more, and go through UDP sockets.
//
// The heaps are those of spead2_send. They are counted from 1 and dealt out to the
// destinations in turn. Each has the items 0x1000, 0x1001, … of equal size. The first
// heap of each destination also describes them. After the last data heap each
// destination gets one with the stop item. Two things differ. The flavour is SPEAD-64-48
// unless another is asked for, as instruments send it. An item of one word stays an
// addressed item, so that it can be verified like the others.
package send
