// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/binary"

	"github.com/gopacket/gopacket/layers"
	"github.com/speadx/speadx/internal/frame"
)

// Link types (https://www.tcpdump.org/linktypes.html). Raw IP has three numbers in files
// of different systems.
const (
	linkNull    layers.LinkType = 0
	linkPPP     layers.LinkType = 9
	linkRaw12   layers.LinkType = 12
	linkRaw14   layers.LinkType = 14
	linkPPPHDLC layers.LinkType = 50
	linkRaw     layers.LinkType = 101
	linkLoop    layers.LinkType = 108
	linkIPv4    layers.LinkType = 228
	linkIPv6    layers.LinkType = 229
)

func isKnownLink(link layers.LinkType) bool {
	switch link {
	case layers.LinkTypeEthernet, layers.LinkTypeLinuxSLL, layers.LinkTypeLinuxSLL2,
		linkNull, linkLoop, linkPPP, linkPPPHDLC, linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		return true
	}
	return false
}

// parseLink parses a captured frame behind its link layer.
func parseLink(link layers.LinkType, data []byte, d *frame.Datagram) frame.Verdict {
	if link == layers.LinkTypeEthernet {
		return frame.Parse(data, len(data), d)
	}
	etherType, offset, verdict := network(link, data)
	if verdict != frame.OK {
		return verdict
	}
	return frame.ParseNetwork(etherType, data, offset, len(data), d)
}

// network says what a frame holds, as an EtherType, and where it begins.
func network(link layers.LinkType, data []byte) (etherType uint16, offset int, verdict frame.Verdict) {
	need := map[layers.LinkType]int{layers.LinkTypeLinuxSLL: 16, layers.LinkTypeLinuxSLL2: 20, linkNull: 4, linkLoop: 4}[link]
	if len(data) < max(need, 1) {
		return 0, 0, frame.Truncated
	}
	switch link {
	case layers.LinkTypeLinuxSLL:
		return binary.BigEndian.Uint16(data[14:]), 16, frame.OK
	case layers.LinkTypeLinuxSLL2:
		return binary.BigEndian.Uint16(data), 20, frame.OK
	case linkNull, linkLoop:
		// The address family, in the byte order of the machine that captured. The families of
		// IPv6 are those of NetBSD, FreeBSD, macOS and Linux.
		family := binary.BigEndian.Uint32(data)
		if family > 0xffff {
			family = binary.LittleEndian.Uint32(data)
		}
		switch family {
		case 2:
			return frame.TypeIPv4, 4, frame.OK
		case 10, 24, 28, 30:
			return frame.TypeIPv6, 4, frame.OK
		}
	case linkPPP, linkPPPHDLC:
		if len(data) >= 2 && data[0] == 0xff && data[1] == 3 { // address and control (RFC 1662)
			offset = 2
		}
		if len(data) < offset+2 {
			return 0, 0, frame.Truncated
		}
		switch binary.BigEndian.Uint16(data[offset:]) {
		case 0x21:
			return frame.TypeIPv4, offset + 2, frame.OK
		case 0x57:
			return frame.TypeIPv6, offset + 2, frame.OK
		}
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		switch data[0] >> 4 {
		case 4:
			return frame.TypeIPv4, 0, frame.OK
		case 6:
			return frame.TypeIPv6, 0, frame.OK
		}
	}
	return 0, 0, frame.NotIPUDP
}
