// SPDX-License-Identifier: Apache-2.0

// Package xsk receives Ethernet frames from the queues of a network interface
// through AF_XDP, in memory that the kernel or the NIC wrote and nobody copied
// since. It knows nothing of what the frames carry.
//
// A [Queue] is one receive queue: a socket, its own UMEM (the memory packets
// land in, cut into frames of one page) and two rings in memory shared with the
// kernel. Every frame is in one place at a time:
//
//	         fill ring                           RX ring
//	┌──────────────────────┐          ┌─────────────────────────────┐
//	│ addresses of frames  │─ kernel ►│ descriptors: address,       │
//	│ the kernel may fill  │  writes  │ length, more-follows        │
//	└──────────────────────┘  frames  └─────────────────────────────┘
//	           ▲                                     │ Receive
//	           │ Release                             ▼
//	           └──────── held by the caller: [Packet], views
//	                     into the UMEM, until Release
//
// There are as many frames as slots in each ring. So the RX ring can never be
// full, and there is no list of free frames. One counter has all that the kernel
// drops because nobody read in time: [KernelStats.RxDropped] in copy mode, the
// NIC's own in zero-copy. [Queue.Conserved] checks that no frame is lost or stands
// twice.
//
// A packet longer than what a frame holds (3840 bytes of 4096) is a chain of
// descriptors. Receive hands out whole packets only. It keeps the beginning of a
// chain until the rest is there. It drops and counts chains beyond
// [Config.MaxChain], and those with a descriptor that points outside its frame.
//
// An [Interface] opens all wanted queues of one interface in the best mode that
// all of them can have: zero-copy, native or generic. The XDP program that steers
// packets into the sockets is the caller's, behind [Attacher].
//
// The order of things at start and end matters. The program is attached with an
// empty map. Then the sockets are opened. [Interface.Enable] puts them into the map,
// and from then on packets arrive. To stop, call [Interface.Disable]: it takes them
// out, so that packets go to the kernel again. Read what is on the rings, then call
// Close.
//
// The package works on Linux only.
package xsk
