// SPDX-License-Identifier: Apache-2.0

package send

import (
	"encoding/binary"
	"math/bits"
	"net"
	"net/netip"
)

// Sizes of the headers below SPEAD, without options.
const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	udpHeader      = 8
)

const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protocolUDP   = 17
)

// frameHeader is the Ethernet, IP and UDP header of the packets of one
// destination, complete but for lengths and checksums.
type frameHeader struct {
	bytes  []byte
	v4     bool
	pseudo uint64 // sum over what never changes of the UDP pseudo header
}

// newFrameHeader makes the header of packets between two addresses of one
// family.
func newFrameHeader(srcMAC, dstMAC net.HardwareAddr, src, dst netip.AddrPort, hops int) *frameHeader {
	h := &frameHeader{v4: dst.Addr().Is4()}
	etherType := uint16(etherTypeIPv4)
	if !h.v4 {
		etherType = etherTypeIPv6
	}
	b := append(append([]byte(nil), dstMAC...), srcMAC...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	srcIP, dstIP := src.Addr().AsSlice(), dst.Addr().AsSlice()
	if h.v4 {
		// RFC 791. The packet is atomic in the sense of RFC 6864, don't
		// fragment and never fragmented, so that its identification is free.
		const dontFragment = 0x40
		b = append(b, 0x45, 0, 0, 0, 0, 0, dontFragment, 0, byte(hops), protocolUDP, 0, 0)
	} else {
		// RFC 8200, without traffic class and flow label.
		b = append(b, 0x60, 0, 0, 0, 0, 0, protocolUDP, byte(hops))
	}
	b = append(append(b, srcIP...), dstIP...)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	h.bytes = append(b, 0, 0, 0, 0) // UDP length and checksum
	h.pseudo = addSum(addSum(protocolUDP, srcIP), dstIP)
	return h
}

// put writes the header of a datagram with that much payload to dst, which has
// room for it. The UDP checksum is left to putChecksum.
func (h *frameHeader) put(dst []byte, payload int) {
	n := copy(dst, h.bytes)
	ip, udp := dst[ethernetHeader:n], dst[n-udpHeader:n]
	length := udpHeader + payload
	if h.v4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Header+length))
		binary.BigEndian.PutUint16(ip[10:], foldSum(addSum(0, ip[:ipv4Header])))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(length))
	}
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
}

// putChecksum writes the UDP checksum into the header at the beginning of dst.
// sum is addSum over UDP header and payload, with a checksum of 0.
func (h *frameHeader) putChecksum(dst []byte, sum uint64, payload int) {
	udp := dst[len(h.bytes)-udpHeader : len(h.bytes)]
	sum = addWithCarry(sum, h.pseudo)
	sum = addWithCarry(sum, uint64(udpHeader+payload))
	c := foldSum(sum)
	if c == 0 {
		c = 0xffff // 0 would mean that there is none
	}
	binary.BigEndian.PutUint16(udp[6:], c)
}

// addSum adds the 16-bit big-endian words of b to an Internet checksum under
// way (RFC 1071). All parts of a packet but the last have even lengths.
func addSum(sum uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		sum = addWithCarry(sum, carry)
		b = b[32:]
	}
	for ; len(b) >= 2; b = b[2:] {
		sum = addWithCarry(sum, uint64(binary.BigEndian.Uint16(b)))
	}
	if len(b) > 0 {
		sum = addWithCarry(sum, uint64(b[0])<<8)
	}
	return sum
}

// addWithCarry is the addition of one's complement numbers of 64 bits, which
// are as good as four of 16.
func addWithCarry(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum + carry
}

// foldSum makes a checksum of a sum.
func foldSum(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// multicastMAC is the Ethernet address of a group (RFC 1112 section 6.4, RFC
// 2464 section 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	if group.Is4() {
		a := group.As4()
		return net.HardwareAddr{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := group.As16()
	return net.HardwareAddr{0x33, 0x33, a[12], a[13], a[14], a[15]}
}
