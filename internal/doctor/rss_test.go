// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// microsoftKey and the hashes below are those of "Verifying the RSS Hash Calculation" in
// the documentation of Windows drivers.
var microsoftKey, _ = hex.DecodeString("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")

func TestToeplitz(t *testing.T) {
	for _, tt := range []struct {
		from, to      string
		ports, noPort uint32
	}{
		{"66.9.149.187:2794", "161.142.100.80:1766", 0x51ccc178, 0x323e8fc2},
		{"199.92.111.2:14230", "65.69.140.83:4739", 0xc626b0ea, 0xd718262a},
		{"24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b394a, 0xd2d0a5de},
		{"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x40207d3d, 0x2cc18cd5},
		{"[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0xdde51bbf, 0x0f0c461c},
	} {
		from, to := netip.MustParseAddrPort(tt.from), netip.MustParseAddrPort(tt.to)
		// A table with as many entries as there are bits tells no more than a few of them.
		table := make([]uint32, 1<<12)
		for i := range table {
			table[i] = uint32(i)
		}
		d := Device{RSS: Fact[RSS]{Value: RSS{Table: table, Key: microsoftKey, Function: hashTop}}}
		d.RxQueues = len(table)
		for _, c := range []struct {
			fields uint64
			want   uint32
		}{{rxhIPSrc | rxhIPDst | rxhPorts, tt.ports}, {rxhIPSrc | rxhIPDst, tt.noPort}} {
			d.Hash4.Value, d.Hash6.Value = c.fields, c.fields
			if q, ok := d.hashed(from, to); !ok || uint32(q) != c.want%(1<<12) {
				t.Errorf("%s to %s by %x: queue %x, want that of %x", tt.from, tt.to, c.fields, q, c.want)
			}
		}
		input := slices.Concat(from.Addr().AsSlice(), to.Addr().AsSlice())
		if got, ok := toeplitz(microsoftKey, input); !ok || got != tt.noPort {
			t.Errorf("hash %x, want %x", got, tt.noPort)
		}
	}
}

// What is not known of a card gives no queue, and no panic.
func TestHashedUnknown(t *testing.T) {
	from, to := netip.MustParseAddrPort("1.2.3.4:5"), netip.MustParseAddrPort("239.1.2.3:7148")
	for name, change := range map[string]func(*Device){
		"another hash":  func(d *Device) { d.RSS.Value.Function = hashXor },
		"symmetric":     func(d *Device) { d.RSS.Value.Input = 1 },
		"short key":     func(d *Device) { d.RSS.Value.Key = microsoftKey[:15] },
		"no key":        func(d *Device) { d.RSS.Value.Key = nil },
		"no table":      func(d *Device) { d.RSS.Value.Table = nil },
		"no fields":     func(d *Device) { d.Hash4.Value = 0 },
		"fields unseen": func(d *Device) { d.Hash4.Err = errUnsupported },
		"unseen":        func(d *Device) { d.RSS.Err = errUnsupported },
	} {
		d := wellSetUp().Devices[0]
		change(&d)
		if q, ok := d.hashed(from, to); ok {
			t.Errorf("%s: queue %d", name, q)
		}
		d.RxQueues = 1
		if q, ok := d.hashed(from, to); !ok || q != 0 {
			t.Errorf("%s: a single queue: %d, %v", name, q, ok)
		}
	}
}

func TestSteeringRules(t *testing.T) {
	rule := func(location uint32, kind uint32, dst string, port uint16, ring uint64) []byte {
		b := make([]byte, rxnfcSize)
		binary.NativeEndian.PutUint32(b[rxnfcFlow:], kind)
		a := netip.MustParseAddr(dst).AsSlice()
		n := len(a)
		copy(b[flowValue+n:], a)
		for i := range n {
			b[flowMask+n+i] = 0xff
		}
		if port > 0 {
			binary.BigEndian.PutUint16(b[flowValue+2*n+2:], port)
			binary.BigEndian.PutUint16(b[flowMask+2*n+2:], 0xffff)
		}
		binary.NativeEndian.PutUint64(b[flowRing:], ring)
		binary.NativeEndian.PutUint32(b[flowPlace:], location)
		return b
	}
	var rules []Rule
	for _, b := range [][]byte{
		rule(9, flowUDP4, "239.1.2.3", 7148, 5),
		rule(2, flowUDP4, "239.1.2.3", 0, 6),
		rule(1, flowIPv4, "239.1.2.4", 0, 7),
		rule(3, flowUDP6, "ff15::1", 7148, 8),
		rule(4, flowUDP4|0x80000000, "239.1.2.5", 7148, 1<<64-1),
	} {
		r, ok := decodeRule(b)
		if !ok {
			t.Fatalf("%x is no rule", b)
		}
		rules = append(rules, r)
	}
	for _, b := range [][]byte{rule(1, 1, "1.2.3.4", 1, 1), make([]byte, rxnfcSize-1), nil} {
		if r, ok := decodeRule(b); ok {
			t.Errorf("%x is a rule: %+v", b, r)
		}
	}
	from := netip.MustParseAddrPort("10.0.0.1:1000")
	for to, want := range map[string]int{"239.1.2.3:7148": 6, "239.1.2.3:1": 6, "239.1.2.4:9": 7, "239.1.2.5:7148": -1, "239.1.2.5:7149": -2, "[ff15::1]:7148": 8, "[ff15::2]:7148": -2} {
		got := -2
		from := from
		if strings.HasPrefix(to, "[") {
			from = netip.MustParseAddrPort("[fd77::1]:1000")
		}
		if r := steeredBy(rules, from, netip.MustParseAddrPort(to)); r != nil {
			got = r.Queue
		}
		if got != want {
			t.Errorf("%s goes to queue %d, want %d", to, got, want)
		}
	}
}

func FuzzDecodeRXFH(f *testing.F) {
	b := make([]byte, rxfhSize+4*2+3)
	binary.NativeEndian.PutUint32(b[8:], 2)
	binary.NativeEndian.PutUint32(b[12:], 3)
	b[16] = hashTop
	binary.NativeEndian.PutUint32(b[rxfhSize+4:], 7)
	f.Add(b)
	f.Add(make([]byte, rxfhSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRXFH(b)
		if err == nil && rxfhSize+4*len(r.Table)+len(r.Key) > len(b) {
			t.Errorf("%d entries and a key of %d bytes out of %d", len(r.Table), len(r.Key), len(b))
		}
		decodeRule(b)
		auxiliary(b, 1)
	})
}

func TestDecodeRXFH(t *testing.T) {
	b := make([]byte, rxfhSize+4*2+3)
	binary.NativeEndian.PutUint32(b[8:], 2)
	binary.NativeEndian.PutUint32(b[12:], 3)
	b[16], b[17] = hashTop, 1
	binary.NativeEndian.PutUint32(b[rxfhSize+4:], 7)
	copy(b[rxfhSize+8:], "key")
	r, err := decodeRXFH(b)
	if err != nil || !slices.Equal(r.Table, []uint32{0, 7}) || string(r.Key) != "key" || r.hash() != "toeplitz" || r.Input != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	binary.NativeEndian.PutUint32(b[8:], 1<<31)
	if _, err := decodeRXFH(b); err == nil {
		t.Error("a table that is not there was read")
	}
}

// The filter passes what is for the endpoints, and fragments to them.
func TestFilter(t *testing.T) {
	var many []netip.AddrPort
	for a, i := netip.MustParseAddr("10.1.0.0"), 0; i < 2*maxRanges; i, a = i+1, a.Next().Next() {
		many = append(many, netip.AddrPortFrom(a, 1))
	}
	parse := func(list ...string) (out []netip.AddrPort) {
		for _, s := range list {
			out = append(out, netip.MustParseAddrPort(s))
		}
		return out
	}
	udp := func(to string) []byte {
		return flow{from: netip.MustParseAddrPort("10.0.0.1:7148"), to: netip.MustParseAddrPort(to), payloads: [][]byte{{1}}}.frames()[0]
	}
	udp6 := func(to string, next byte) []byte {
		ap := netip.MustParseAddrPort(to)
		b := append(make([]byte, 12), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, next, 9)
		b = append(append(b, make([]byte, 16)...), ap.Addr().AsSlice()...)
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 7148), ap.Port()), 8<<16)
	}
	change := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for _, tt := range []struct {
		name      string
		endpoints []netip.AddrPort
		packet    []byte
		want      bool
	}{
		{"the endpoint", parse("239.1.2.3:7148"), udp("239.1.2.3:7148"), true},
		{"another port", parse("239.1.2.3:7148"), udp("239.1.2.3:7149"), false},
		{"another group", parse("239.1.2.3:7148"), udp("239.1.2.2:7148"), false},
		{"TCP", parse("239.1.2.3:7148"), change(udp("239.1.2.3:7148"), ip4Proto, 6), false},
		{"the last of a range", parse("239.1.2.3:7148", "239.1.2.4:7148", "239.1.2.5:7148"), udp("239.1.2.5:7148"), true},
		{"after a range", parse("239.1.2.3:7148", "239.1.2.4:7148", "239.1.2.5:7148"), udp("239.1.2.6:7148"), false},
		{"the second source", parse("239.1.2.3:7148", "239.9.2.3:7149"), udp("239.9.2.3:7149"), true},
		{"options", parse("239.1.2.3:1"), append(change(udp("239.1.2.3:7148")[:34], 14, 0x46), 0, 0, 0, 0, 0, 9, 0, 1, 0, 8, 0, 0), true},
		{"a later fragment", parse("239.1.2.3:7148"), change(udp("239.1.2.3:9"), ip4Fragment+1, 7), true},
		{"a later fragment to another", parse("239.1.2.3:7148"), change(udp("239.1.2.4:9"), ip4Fragment+1, 7), false},
		{"any address", parse("[::]:7148"), udp("10.1.2.3:7148"), true},
		{"any address of IPv6", parse("[::]:7148"), udp6("[fd77::1]:7148", 17), true},
		{"any address, another port", parse("[::]:7148"), udp("10.1.2.3:7149"), false},
		{"IPv6", parse("[ff15::1]:7148"), udp6("[ff15::1]:7148", 17), true},
		{"IPv6, another port", parse("[ff15::1]:7148"), udp6("[ff15::1]:7147", 17), false},
		{"IPv6, another group", parse("[ff15::1]:7148"), udp6("[ff15::2]:7148", 17), false},
		{"IPv6, another upper part", parse("[ff15::1]:7148"), udp6("[ff16::1]:7148", 17), false},
		{"IPv6, a fragment", parse("[ff15::1]:7148"), udp6("[ff15::1]:9", 44), true},
		{"IPv6, TCP", parse("[ff15::1]:7148"), udp6("[ff15::1]:7148", 6), false},
		{"two tags", parse("239.1.2.3:7148"), change(change(udp("10.0.0.1:1"), 12, 0x81), 13, 0), true},
		{"many, one of them", many, udp("10.1.0.0:1"), true},
		{"many, TCP", many, change(udp("10.1.0.0:1"), ip4Proto, 6), false},
		{"many, TCP over IPv6", many, udp6("[ff15::1]:1", 6), false},
		{"short", parse("239.1.2.3:7148"), udp("239.1.2.3:7148")[:30], false},
	} {
		raw, err := filter(tt.endpoints)
		if err != nil {
			t.Fatal(err)
		}
		program, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("the filter cannot be disassembled")
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(tt.packet)
		if err != nil || n > 0 != tt.want {
			t.Errorf("%s: %d bytes pass, %v", tt.name, n, err)
		}
	}
	if n := len(ranges(many[:3])); n != 3 {
		t.Errorf("%d ranges of 3 addresses apart", n)
	}
}

// Packets of any kind are looked at without a panic, and counted for no other source.
func FuzzObserve(f *testing.F) {
	to := netip.MustParseAddrPort("239.1.2.3:7148")
	for _, b := range (flow{from: netip.MustParseAddrPort("10.0.0.1:1000"), to: to, vlan: 3, payloads: [][]byte{spead48(1, 2000, 0, 1000), {}}}).frames() {
		f.Add(b, 0)
		f.Add(b[:40], len(b))
	}
	for _, b := range (flow{from: netip.MustParseAddrPort("10.0.0.1:1000"), to: to, payloads: [][]byte{append(spead48(1, 100, 0, 50), spead48(1, 100, 50, 50)...)}}).frames() {
		f.Add(b, len(b))
		f.Add(b[:100], len(b))
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size > 1<<20 {
			return
		}
		var here, other Traffic
		here.Endpoints = []netip.AddrPort{to}
		other.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("[ff15::ffff]:1")}
		o := newObserver()
		o.add(newSight(&here))
		o.add(newSight(&other))
		o.packet(b, size, -1, 1)
		foreign := uint64(0)
		for _, n := range here.Foreign {
			foreign += n
		}
		if here.SPEAD+foreign != here.Packets || here.Packets != here.Queues[1] || here.Packets > 0 && len(here.Senders) != 1 {
			t.Errorf("%+v", here)
		}
	})
}

// A train of packets is taken apart as far as it is at hand.
func TestObserveTrain(t *testing.T) {
	to := netip.MustParseAddrPort("239.1.2.3:7148")
	var train []byte
	for i := range 3 {
		train = append(train, spead48(1, 150, 50*i, 50)...)
	}
	for _, tt := range []struct {
		payload                []byte
		packets, spead, longer uint64
	}{
		{train, 3, 3, 0},
		{train[:len(train)-1], 3, 2, 0},
		{append(spead48(1, 50, 0, 50), 1, 2, 3), 1, 0, 1},
	} {
		var seen Traffic
		seen.Endpoints = []netip.AddrPort{to}
		o := newObserver()
		o.add(newSight(&seen))
		b := flow{from: netip.MustParseAddrPort("10.0.0.1:1000"), to: to, payloads: [][]byte{tt.payload}}.frames()[0]
		o.packet(b, len(b), -1, 0)
		if seen.Packets != tt.packets || seen.SPEAD != tt.spead || seen.Foreign["size_mismatch"] != tt.longer || seen.Bytes != uint64(len(tt.payload)) || seen.Senders[0].Packets != tt.packets {
			t.Errorf("%d bytes: %+v", len(tt.payload), seen)
		}
	}
}

// What is kept of a source is bounded.
func TestObserveBounds(t *testing.T) {
	to := netip.MustParseAddrPort("239.1.2.3:7148")
	var seen Traffic
	seen.Endpoints = []netip.AddrPort{to}
	o := newObserver()
	o.add(newSight(&seen))
	const n = 2 * maxHeaps
	for i := range n {
		from := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(i+1))
		b := flow{from: from, to: to, payloads: [][]byte{spead48(i, 10, 0, 10)}}.frames()[0]
		o.packet(b, len(b), -1, -1)
	}
	if len(seen.Senders) != maxSenders || seen.More != n-maxSenders || seen.Heaps != maxHeaps || seen.Packets != n || seen.NoQueue != n {
		t.Errorf("%d senders, %d packets of more, %d heaps, %d packets", len(seen.Senders), seen.More, seen.Heaps, seen.Packets)
	}
}
