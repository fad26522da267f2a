// SPDX-License-Identifier: Apache-2.0

// Package spead is the SPEAD wire format: flavours, packets, item pointers,
// the items of a heap, descriptors, and the making of packets. It knows no
// sockets and starts no goroutines.
//
// SPEAD carries heaps. A heap is a set of items that is sent as a unit, cut into
// packets. Each packet says which heap it belongs to, and where in the heap's
// payload its own payload goes:
//
//	byte 0    header, 8 bytes: magic 0x53, version 4, flavour, number of pointers n
//	byte 8    n item pointers of 8 bytes
//	then      payload
//
//	item pointer   | mode 1 bit | id 63-H bits | value or offset, H bits |
//
// H, the number of heap address bits, is the [Flavour]: SPEAD-64-48 has
// H = 48. An immediate pointer (mode 1) holds the item's value itself. An
// addressed one (mode 0) holds the offset of the item in the payload of the heap.
// The item ends at the next addressed pointer's offset, or at the end of the
// heap. All integers are big-endian.
//
// Four immediate items make a packet part of a heap. [IDHeapCnt] is the heap's
// count. [IDHeapLength] is the length of its payload, and may be absent.
// [IDPayloadOffset] and [IDPayloadLength] are this packet's part of it.
//
// On the way in, [Packet.Decode] checks one packet and [AppendItems] turns
// the pointers of a finished heap into items. On the way out a [Packetiser]
// cuts a heap into the packets that spead2's sender makes of it, byte for
// byte.
//
// The format is that of the SPEAD specification, revision 1 (2012), in the
// reading of spead2 4.4.
package spead
