// SPDX-License-Identifier: Apache-2.0

// Package frame finds the UDP payload in a raw Ethernet frame, as an AF_XDP
// socket or a capture file gives it.
//
//	Ethernet | up to two VLAN tags | IPv4 with options, or IPv6 | UDP | payload | padding
//
// The payload is what the IP and UDP lengths say it is: Ethernet pads short
// frames to 60 bytes, and those bytes belong to nobody. No checksum is
// verified. A frame may be longer than the memory it is parsed from: a jumbo
// frame lies in several segments, of which only the first is looked at, and
// all headers must lie in that one.
//
// What a frame says is hostile: no length in it is used before it is checked.
// Parsing allocates nothing and keeps no state; the functions may be used by
// any number of goroutines.
package frame

import (
	"encoding/binary"
	"net/netip"
)

// Verdict says what a frame holds.
type Verdict uint8

const (
	OK        Verdict = iota // a whole UDP datagram
	NotIPUDP                 // something else, extension headers and more than two VLAN tags included
	Fragment                 // a fragment of a UDP datagram
	Truncated                // the frame or its first segment ends before its lengths say, or the lengths contradict each other
)

// String is the verdict in lower-case words.
func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case NotIPUDP:
		return "not IP and UDP"
	case Fragment:
		return "fragment"
	case Truncated:
		return "truncated"
	}
	return "unknown verdict"
}

// Datagram says where in a frame the UDP payload lies and who sent it to whom.
type Datagram struct {
	Src, Dst netip.AddrPort
	Offset   int // of the payload in the frame, never past the first segment
	Len      int // bytes of payload, over all segments
	VLAN     int // id of the innermost VLAN tag; -1: there is none
}

// The EtherTypes of interest (IEEE 802 numbers).
const (
	TypeIPv4  = 0x0800
	TypeIPv6  = 0x86dd
	TypeVLAN  = 0x8100 // 802.1Q
	TypeSVLAN = 0x88a8 // 802.1ad, the outer of two tags
)

const (
	ethernetSize = 14
	vlanSize     = 4
	ipv4Size     = 20 // without options
	ipv6Size     = 40
	udpSize      = 8

	protoUDP      = 17
	protoFragment = 44 // the IPv6 fragment header
)

// Parse reads the Ethernet frame that begins with first and is size bytes long
// in all, in this segment and those that follow it (size is at least
// len(first)). With [OK] all of d is set. With [Fragment] Dst and Src are set
// if this is the fragment that has the UDP header, and are zero otherwise.
// With the other verdicts d means nothing.
func Parse(first []byte, size int, d *Datagram) Verdict {
	if len(first) < ethernetSize {
		return Truncated
	}
	return ParseNetwork(binary.BigEndian.Uint16(first[12:]), first, ethernetSize, size, d)
}

// ParseNetwork is [Parse] for a frame with another link layer than Ethernet:
// etherType says what begins at offset, which may be a VLAN tag.
func ParseNetwork(etherType uint16, first []byte, offset, size int, d *Datagram) Verdict {
	d.VLAN = -1
	for tags := 0; etherType == TypeVLAN || etherType == TypeSVLAN; tags++ {
		if tags == 2 {
			return NotIPUDP
		}
		if len(first) < offset+vlanSize {
			return Truncated
		}
		d.VLAN = int(binary.BigEndian.Uint16(first[offset:]) & 0xfff)
		etherType = binary.BigEndian.Uint16(first[offset+2:])
		offset += vlanSize
	}
	switch etherType {
	case TypeIPv4:
		return parseIPv4(first, offset, size, d)
	case TypeIPv6:
		return parseIPv6(first, offset, size, d)
	}
	return NotIPUDP
}

func parseIPv4(first []byte, offset, size int, d *Datagram) Verdict {
	if len(first) < offset+ipv4Size {
		return Truncated
	}
	ip := first[offset : offset+ipv4Size]
	headerLen := int(ip[0]&0x0f) * 4
	if ip[0]>>4 != 4 || headerLen < ipv4Size || ip[9] != protoUDP {
		return NotIPUDP
	}
	total := int(binary.BigEndian.Uint16(ip[2:]))
	src := netip.AddrFrom4([4]byte(ip[12:16]))
	dst := netip.AddrFrom4([4]byte(ip[16:20]))

	// The low 13 bits are the fragment's offset, the bit above says that
	// more fragments follow; "do not fragment" may be set on any packet.
	if word := binary.BigEndian.Uint16(ip[6:]); word&0x3fff != 0 {
		fragment(first, offset+headerLen, word&0x1fff == 0, src, dst, d)
		return Fragment
	}
	return parseUDP(first, offset+headerLen, offset+total, size, src, dst, d)
}

func parseIPv6(first []byte, offset, size int, d *Datagram) Verdict {
	if len(first) < offset+ipv6Size {
		return Truncated
	}
	ip := first[offset : offset+ipv6Size]
	if ip[0]>>4 != 6 {
		return NotIPUDP
	}
	payload := offset + ipv6Size
	src := netip.AddrFrom16([16]byte(ip[8:24]))
	dst := netip.AddrFrom16([16]byte(ip[24:40]))
	switch ip[6] {
	case protoUDP:
		total := int(binary.BigEndian.Uint16(ip[4:]))
		return parseUDP(first, payload, payload+total, size, src, dst, d)
	case protoFragment:
		// Next header, reserved, 13 bits of offset, 3 of flags, 4 bytes of id.
		if len(first) < payload+8 {
			return Truncated
		}
		if first[payload] != protoUDP {
			return NotIPUDP
		}
		word := binary.BigEndian.Uint16(first[payload+2:])
		fragment(first, payload+8, word>>3 == 0, src, dst, d)
		return Fragment
	}
	return NotIPUDP
}

// parseUDP reads the UDP header at offset, in an IP packet that ends at end.
func parseUDP(first []byte, offset, end, size int, src, dst netip.Addr, d *Datagram) Verdict {
	if len(first) < offset+udpSize || end > size {
		return Truncated
	}
	udp := first[offset : offset+udpSize]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if length < udpSize || offset+length > end {
		return Truncated
	}
	d.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp[0:]))
	d.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:]))
	d.Offset = offset + udpSize
	d.Len = length - udpSize
	return OK
}

// fragment gives d the addresses of a fragment whose IP payload begins at
// offset. Only the first fragment of a datagram has ports.
func fragment(first []byte, offset int, isFirst bool, src, dst netip.Addr, d *Datagram) {
	*d = Datagram{VLAN: d.VLAN}
	if !isFirst || len(first) < offset+udpSize {
		return
	}
	d.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(first[offset:]))
	d.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(first[offset+2:]))
}
