// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"net/netip"
)

const (
	etherIPv4    = 0x0800
	etherARP     = 0x0806
	etherVLAN    = 0x8100
	etherIPv6    = 0x86dd
	etherService = 0x88a8

	protoIGMP     = 2
	protoTCP      = 6
	protoUDP      = 17
	protoHopByHop = 0
	protoRouting  = 43
	protoFragment = 44
	protoICMPv6   = 58
)

// ether puts a body of the given type behind an Ethernet header and VLAN tags,
// the outermost first.
func ether(etherType uint16, body []byte, tags ...uint16) []byte {
	frame := []byte{1, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1}
	for k, tag := range tags {
		frame = binary.BigEndian.AppendUint16(frame, tag)
		frame = binary.BigEndian.AppendUint16(frame, 0x6000|uint16(100+k)) // priority 3
	}
	frame = binary.BigEndian.AppendUint16(frame, etherType)
	return append(frame, body...)
}

// ipv4 makes a packet; fragment is the word of flags and offset.
func ipv4(to netip.Addr, proto byte, fragment uint16, options, body []byte) []byte {
	words := 5 + len(options)/4
	p := []byte{0x40 | byte(words), 0}
	p = binary.BigEndian.AppendUint16(p, uint16(4*words+len(body)))
	p = binary.BigEndian.AppendUint16(p, 0x1234)
	p = binary.BigEndian.AppendUint16(p, fragment)
	p = append(p, 64, proto, 0, 0, 192, 0, 2, 1)
	p = append(p, to.AsSlice()...)
	p = append(p, options...)
	var sum uint32
	for k := 0; k < len(p); k += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[k:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return append(p, body...)
}

func ipv6(to netip.Addr, next byte, body []byte) []byte {
	p := []byte{0x60, 0, 0, 0}
	p = binary.BigEndian.AppendUint16(p, uint16(len(body)))
	p = append(p, next, 64)
	p = append(p, netip.MustParseAddr("2001:db8::1").AsSlice()...)
	p = append(p, to.AsSlice()...)
	return append(p, body...)
}

// ipv6Fragment is a fragment header; offset counts bytes.
func ipv6Fragment(next byte, offset uint16, more bool, body []byte) []byte {
	word := offset &^ 7
	if more {
		word |= 1
	}
	p := []byte{next, 0}
	p = binary.BigEndian.AppendUint16(p, word)
	return append(append(p, 0, 0, 0x12, 0x34), body...)
}

func udp(port uint16, payload []byte) []byte {
	p := binary.BigEndian.AppendUint16(nil, 40000)
	p = binary.BigEndian.AppendUint16(p, port)
	p = binary.BigEndian.AppendUint16(p, uint16(8+len(payload)))
	return append(append(p, 0, 0), payload...)
}

// with overwrites bytes of a frame.
func with(frame []byte, at int, bytes ...byte) []byte {
	copy(frame[at:], bytes)
	return frame
}
