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
//	           └──────── in the caller's hand: [Packet], views
//	                     into the UMEM, until Release
//
// There are as many frames as slots in each ring. So the RX ring can never be
// full, there is no list of free frames, and whatever the kernel has to drop
// because nobody read in time shows up in one counter
// ([KernelStats.RxDropped] in copy mode, the NIC's own in zero-copy).
// [Queue.Conserved] checks that no frame is lost or stands twice.
//
// A packet longer than what a frame holds (3840 bytes of 4096) is a chain of
// descriptors. Receive hands out whole packets only: it keeps the beginning of a
// chain until the rest is there, and drops and counts chains beyond
// [Config.MaxChain] and those with a descriptor that points outside its frame.
//
// An [Interface] opens all wanted queues of one interface in the best mode that
// all of them can have: zero-copy, native or generic. The XDP program that steers
// packets into the sockets is the caller's, behind [Attacher].
//
// The order of things at start and end matters: the program is attached with an
// empty map, the sockets are opened, [Interface.Enable] puts them into the map
// and from then on packets arrive. To stop, [Interface.Disable] takes them out,
// so that packets go to the kernel again, what is on the rings is read, then
// Close.
//
// The package works on Linux only.
package xsk
