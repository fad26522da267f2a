// SPDX-License-Identifier: Apache-2.0

// Package source brings packets to the assembler from a queue of AF_XDP, UDP sockets,
// a TCP connection, or a capture file. A [Source] fills a [Batch] with packets. Each
// has the number of the stream that its destination belongs to. The source keeps the
// packets' memory until Release:
//
//	AF_XDP queue ──┐  frames: Ethernet, IP and UDP taken off, endpoint
//	capture file ──┤  looked up, super-frames cut into packets
//	               ├─► Batch ─► assembler ─► Release
//	UDP sockets ───┤  payloads: the socket is the endpoint
//	TCP connection ┘  bytes: cut where packets end
//
// A source belongs to one goroutine, which calls Receive and Release in turn.
// On that path nothing is allocated and no lock is taken; one clock reading
// serves a batch. Only Wake, Mark, Position and Counts may be called by other
// goroutines.
//
// # Super-frames
//
// A sender that uses UDP segmentation offload (UDP_SEGMENT) hands the kernel up
// to 64 packets as one. No hardware cuts them apart on a veth pair or on lo. There
// an XDP program in generic mode, or tcpdump, sees them as one frame of up to 64 KiB
// with one UDP header. SPEAD packets know their own length, so such a frame can be
// cut where they end. Each of them is a packet of its own in the batch.
// [Counts.SuperFrames] says how many more there are of them than of frames. A
// payload that cannot be cut stays one packet.
package source
