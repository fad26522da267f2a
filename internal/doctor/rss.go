// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// RSS is how a NIC spreads packets over its queues.
type RSS struct {
	Table    []uint32 // queue by hash modulo the length
	Key      []byte
	Function uint8 // ETH_RSS_HASH_*: a bit each
	Input    uint8 // RXH_XFRM_*: what is done to the fields first; 0: nothing
}

// From linux/ethtool.h.
const (
	hashTop = 1 << 0 // Toeplitz
	hashXor = 1 << 1
	hashCRC = 1 << 2

	rxhIPSrc   = 1 << 4
	rxhIPDst   = 1 << 5
	rxhPortSrc = 1 << 6
	rxhPortDst = 1 << 7
	rxhPorts   = rxhPortSrc | rxhPortDst
)

// hash names the hash function.
func (r *RSS) hash() string {
	switch {
	case r.Function&hashTop != 0:
		return "toeplitz"
	case r.Function&hashXor != 0:
		return "xor"
	case r.Function&hashCRC != 0:
		return "crc32"
	}
	return "unknown"
}

// hashFields names the fields of a hash.
func hashFields(bits uint64) string {
	var names []string
	for _, f := range []struct {
		bit  uint64
		name string
	}{{rxhIPSrc, "source address"}, {rxhIPDst, "destination address"}, {rxhPortSrc, "source port"}, {rxhPortDst, "destination port"}} {
		if bits&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// toeplitz is the hash of RSS: for each bit of the input that is set, the 32 bits of the
// key that begin at the same place. The key must be 4 bytes longer than the input.
func toeplitz(key, input []byte) (uint32, bool) {
	if len(key) < len(input)+4 {
		return 0, false
	}
	var hash uint32
	window := binary.BigEndian.Uint32(key)
	for i, b := range input {
		next := key[4+i : 5+i : 5+i][0]
		for bit := 7; bit >= 0; bit-- {
			if b>>bit&1 != 0 {
				hash ^= window
			}
			window = window<<1 | uint32(next>>bit&1)
		}
	}
	return hash, true
}

// hashed is the queue that the RSS table gives a UDP flow, if that can be known.
func (d *Device) hashed(from, to netip.AddrPort) (int, bool) {
	if d.RxQueues == 1 {
		return 0, true
	}
	fields := d.Hash4
	if to.Addr().Is6() {
		fields = d.Hash6
	}
	r := &d.RSS.Value
	if d.RSS.Err != nil || fields.Err != nil || len(r.Table) == 0 || r.Function&hashTop == 0 || r.Input != 0 {
		return 0, false
	}
	var input []byte
	if fields.Value&rxhIPSrc != 0 {
		input = append(input, from.Addr().AsSlice()...)
	}
	if fields.Value&rxhIPDst != 0 {
		input = append(input, to.Addr().AsSlice()...)
	}
	if fields.Value&rxhPortSrc != 0 {
		input = binary.BigEndian.AppendUint16(input, from.Port())
	}
	if fields.Value&rxhPortDst != 0 {
		input = binary.BigEndian.AppendUint16(input, to.Port())
	}
	hash, ok := toeplitz(r.Key, input)
	if !ok || len(input) == 0 {
		return 0, false
	}
	return int(r.Table[hash%uint32(len(r.Table))]), true
}

// Rule is a steering rule of a NIC (ntuple) for UDP.
type Rule struct {
	Location                 int
	Queue                    int // -1: the packets are dropped
	IPv6                     bool
	Src, Dst                 netip.Addr
	SrcMask, DstMask         netip.Addr // a bit that is set must be the same
	SrcPort, DstPort         uint16
	SrcPortMask, DstPortMask uint16
}

// steeredBy is the rule that a flow falls under; nil: none. The rule of the lowest
// location counts first.
func steeredBy(rules []Rule, from, to netip.AddrPort) *Rule {
	var best *Rule
	for i := range rules {
		r := &rules[i]
		if r.matches(from, to) && (best == nil || r.Location < best.Location) {
			best = r
		}
	}
	return best
}

func (r *Rule) matches(from, to netip.AddrPort) bool {
	return r.IPv6 == to.Addr().Is6() &&
		masked(from.Addr(), r.Src, r.SrcMask) && masked(to.Addr(), r.Dst, r.DstMask) &&
		(from.Port()^r.SrcPort)&r.SrcPortMask == 0 && (to.Port()^r.DstPort)&r.DstPortMask == 0
}

func masked(a, b, mask netip.Addr) bool {
	x, y, m := a.AsSlice(), b.AsSlice(), mask.AsSlice()
	if len(x) != len(y) || len(x) != len(m) {
		return false
	}
	for i := range x {
		if (x[i]^y[i])&m[i] != 0 {
			return false
		}
	}
	return true
}

// errUnsupported says that a driver does not have what was asked for.
var errUnsupported = errors.New("the driver does not have it")

// decodeRXFH reads a struct ethtool_rxfh, which the kernel filled in.
func decodeRXFH(b []byte) (r RSS, err error) {
	if len(b) < rxfhSize {
		return r, fmt.Errorf("%d bytes are no ethtool_rxfh", len(b))
	}
	entries, key := int(binary.NativeEndian.Uint32(b[8:])), int(binary.NativeEndian.Uint32(b[12:]))
	r.Function, r.Input = b[16], b[17]
	b = b[rxfhSize:]
	if entries < 0 || key < 0 || entries > len(b)/4 || key > len(b)-4*entries {
		return r, fmt.Errorf("ethtool_rxfh announces %d entries and a key of %d bytes in %d bytes", entries, key, len(b))
	}
	for i := range entries {
		r.Table = append(r.Table, binary.NativeEndian.Uint32(b[4*i:]))
	}
	r.Key = append(r.Key, b[4*entries:4*entries+key]...)
	return r, nil
}

// Sizes and places in linux/ethtool.h on machines of 64 bits.
const (
	rxfhSize  = 24  // struct ethtool_rxfh, before the table
	rxnfcSize = 192 // struct ethtool_rxnfc
	rxnfcFlow = 16  // its struct ethtool_rx_flow_spec: type, h_u, h_ext, m_u, m_ext, ring_cookie, location
	flowValue = rxnfcFlow + 4
	flowMask  = flowValue + 52 + 20
	flowRing  = rxnfcFlow + 152
	flowPlace = flowRing + 8
	rxnfcN    = 184 // rule_cnt
	rxnfcLocs = 188 // rule_locs
)

const (
	flowUDP4  = 0x02
	flowUDP6  = 0x06
	flowIPv4  = 0x0d // IP_USER_FLOW
	flowIPv6  = 0x0e // IPV6_USER_FLOW
	flowKinds = 0x1fffffff
)

// decodeRule reads the rule of a struct ethtool_rxnfc. Not ok: it is no rule for UDP, or
// one of a kind that is not understood.
func decodeRule(b []byte) (r Rule, ok bool) {
	if len(b) < rxnfcSize {
		return r, false
	}
	value, mask := b[flowValue:], b[flowMask:]
	addr := func(b []byte, at, size int) netip.Addr {
		a, _ := netip.AddrFromSlice(b[at : at+size])
		return a
	}
	size, ports := 4, true
	switch binary.NativeEndian.Uint32(b[rxnfcFlow:]) & flowKinds {
	case flowUDP4:
	case flowIPv4: // the addresses are in the same places
		ports = false
	case flowUDP6:
		size, r.IPv6 = 16, true
	case flowIPv6:
		size, r.IPv6, ports = 16, true, false
	default:
		return r, false
	}
	r.Src, r.Dst = addr(value, 0, size), addr(value, size, size)
	r.SrcMask, r.DstMask = addr(mask, 0, size), addr(mask, size, size)
	if ports {
		r.SrcPort, r.DstPort = binary.BigEndian.Uint16(value[2*size:]), binary.BigEndian.Uint16(value[2*size+2:])
		r.SrcPortMask, r.DstPortMask = binary.BigEndian.Uint16(mask[2*size:]), binary.BigEndian.Uint16(mask[2*size+2:])
	}
	cookie := binary.NativeEndian.Uint64(b[flowRing:])
	r.Queue = int(cookie & 0xffffffff)
	if cookie == 1<<64-1 {
		r.Queue = -1
	}
	r.Location = int(binary.NativeEndian.Uint32(b[flowPlace:]))
	return r, true
}
