// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"

	"github.com/speadx/speadx/internal/frame"
)

// snapLength is how many bytes of a packet are looked at: all of the longest one, since
// it may be a train of packets.
const snapLength = 64<<10 + 256

// maxRanges bounds the filter. For more ranges of addresses it passes all UDP packets, and
// the observer looks at their addresses.
const maxRanges = 64

// addressRange are the addresses from first to last, of one family, with one port. An
// unspecified first address stands for all of both families.
type addressRange struct {
	first, last netip.Addr
	port        uint16
}

// ranges makes few ranges of many endpoints.
func ranges(endpoints []netip.AddrPort) (list []addressRange) {
	sorted := slices.Clone(endpoints)
	slices.SortFunc(sorted, func(a, b netip.AddrPort) int {
		if a.Port() != b.Port() {
			return int(a.Port()) - int(b.Port())
		}
		return a.Addr().Compare(b.Addr())
	})
	for _, ep := range sorted {
		a := ep.Addr().Unmap().WithZone("")
		if n := len(list); n > 0 && list[n-1].port == ep.Port() && !list[n-1].first.IsUnspecified() && (list[n-1].last == a || list[n-1].last.Next() == a && upper(a) == upper(list[n-1].first)) {
			list[n-1].last = a
			continue
		}
		list = append(list, addressRange{a, a, ep.Port()})
	}
	return list
}

// upper is all of an address but its last 32 bits: what a range must have in common.
func upper(a netip.Addr) (u [12]byte) {
	if a.Is6() {
		b := a.As16()
		copy(u[:], b[:12])
	}
	return u
}

// Places in a packet that begins with its Ethernet header. The kernel takes the outer
// VLAN tag off before a filter sees the packet.
const (
	etherTypeAt = 12
	ipAt        = 14
	ip4Proto    = ipAt + 9
	ip4Fragment = ipAt + 6
	ip4Dst      = ipAt + 16
	ip6Next     = ipAt + 6
	ip6Dst      = ipAt + 24
	ip6UDP      = ipAt + 40
	protoUDP    = 17
	protoFrag   = 44
)

// filter is a program that passes the UDP packets to the endpoints, and all fragments to
// their addresses: those have no port. It may pass more: whoever receives its packets
// looks again.
func filter(endpoints []netip.AddrPort) ([]bpf.RawInstruction, error) {
	list := ranges(endpoints)
	if len(list) > maxRanges {
		list = append([]addressRange(nil), addressRange{first: netip.IPv6Unspecified(), last: netip.IPv6Unspecified()})
	}
	pass := bpf.RetConstant{Val: snapLength}
	// A second tag is rare: what has one is looked at later.
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: etherTypeAt, Size: 2}}
	for _, tag := range []uint32{frame.TypeVLAN, frame.TypeSVLAN} {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: tag, SkipTrue: 1}, pass)
	}
	for _, r := range list {
		if r.first.Is4() || r.first.IsUnspecified() {
			program = append(program, block4(r)...)
		}
		if r.first.Is6() {
			program = append(program, block6(r)...)
		}
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: 0}))
}

// test is a condition that a block goes on with; otherwise the next block is next.
type test struct {
	load bpf.Instruction
	cond bpf.JumpTest
	val  uint32
}

// block is a part of a filter that passes what all tests hold for.
func block(tests []test, end ...bpf.Instruction) (out []bpf.Instruction) {
	for _, t := range tests {
		if t.load != nil {
			out = append(out, t.load)
		}
		out = append(out, bpf.JumpIf{Cond: t.cond, Val: t.val})
	}
	out = append(out, end...)
	for i := range out {
		if j, ok := out[i].(bpf.JumpIf); ok && i < len(out)-len(end) {
			j.SkipFalse = uint8(len(out) - i - 1)
			out[i] = j
		}
	}
	return out
}

func block4(r addressRange) []bpf.Instruction {
	tests := []test{
		{bpf.LoadAbsolute{Off: etherTypeAt, Size: 2}, bpf.JumpEqual, frame.TypeIPv4},
		{bpf.LoadAbsolute{Off: ip4Proto, Size: 1}, bpf.JumpEqual, protoUDP},
	}
	if r.first.Is4() && !r.first.IsUnspecified() {
		first, last := r.first.As4(), r.last.As4()
		tests = append(tests, test{bpf.LoadAbsolute{Off: ip4Dst, Size: 4}, bpf.JumpGreaterOrEqual, be32(first[:])},
			test{nil, bpf.JumpLessOrEqual, be32(last[:])})
	}
	pass := bpf.RetConstant{Val: snapLength}
	if r.port == 0 {
		return block(tests, pass)
	}
	return block(tests,
		bpf.LoadAbsolute{Off: ip4Fragment, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 3}, // not the first of a packet: no port
		bpf.LoadMemShift{Off: ipAt},
		bpf.LoadIndirect{Off: ipAt + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.port), SkipTrue: 1},
		pass)
}

func block6(r addressRange) []bpf.Instruction {
	pass := bpf.RetConstant{Val: snapLength}
	tests := []test{{bpf.LoadAbsolute{Off: etherTypeAt, Size: 2}, bpf.JumpEqual, frame.TypeIPv6}}
	if !r.first.IsUnspecified() {
		first, last := r.first.As16(), r.last.As16()
		for i := range 3 {
			tests = append(tests, test{bpf.LoadAbsolute{Off: uint32(ip6Dst + 4*i), Size: 4}, bpf.JumpEqual, be32(first[4*i:])})
		}
		tests = append(tests, test{bpf.LoadAbsolute{Off: ip6Dst + 12, Size: 4}, bpf.JumpGreaterOrEqual, be32(first[12:])},
			test{nil, bpf.JumpLessOrEqual, be32(last[12:])})
	}
	end := []bpf.Instruction{
		bpf.LoadAbsolute{Off: ip6Next, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoFrag, SkipTrue: 3},
	}
	if r.port == 0 {
		end = append(end, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 3}, bpf.RetConstant{Val: snapLength}, bpf.RetConstant{Val: 0})
	} else {
		end = append(end,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 3},
			bpf.LoadAbsolute{Off: ip6UDP + 2, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(r.port), SkipTrue: 1})
	}
	return block(tests, append(end, pass)...)
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// chooser is a program for PACKET_FANOUT that gives each packet to the socket of its
// queue, and to the last of n sockets if it has none. The kernel keeps the number of the
// queue that a packet came on, plus 1; 0 says that the driver did not tell. A veth has no
// receive queues of its own: it keeps the number of the sender's, without anything added.
func chooser(n int, isVeth bool) ([]bpf.RawInstruction, error) {
	program := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtQueue}}
	if !isVeth {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 3}, bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: 1})
	}
	return bpf.Assemble(append(program,
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(n - 1), SkipTrue: 1},
		bpf.RetA{},
		bpf.RetConstant{Val: uint32(n - 1)}))
}
