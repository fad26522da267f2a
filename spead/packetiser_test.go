// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/speadx/speadx/spead"
)

// packetise gives all the packets of one heap.
func packetise(t testing.TB, c spead.PacketiserConfig, cnt uint64, items ...spead.OutItem) [][]byte {
	t.Helper()
	p, err := spead.NewPacketiser(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(cnt, items); err != nil {
		t.Fatal(err)
	}
	return packetsOf(t, p)
}

// packetsOf gives the packets that are left of p's heap.
func packetsOf(t testing.TB, p *spead.Packetiser) [][]byte {
	t.Helper()
	var all [][]byte
	for {
		b, ok := p.AppendNext(nil)
		if !ok {
			if len(b) != 0 {
				t.Fatalf("%d bytes after the last packet", len(b))
			}
			return all
		}
		if len(b) > p.MaxPacket() {
			t.Fatalf("packet of %d bytes, largest is %d", len(b), p.MaxPacket())
		}
		all = append(all, b)
	}
}

// TestGolden holds the packets that the tests of spead2 itself demand of its
// sender.
func TestGolden(t *testing.T) {
	const cnt = 0x123456
	payload := make([]byte, 32)
	for i := range payload {
		payload[i] = byte(i)
	}
	for _, tt := range []struct {
		name   string
		config spead.PacketiserConfig
		items  []spead.OutItem
		want   []string
	}{
		{
			name:   "empty heap",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48},
			want:   []string{"53040206 00000005 8001000000123456 8002000000000001 8003000000000000 8004000000000001 0000000000000000 00"},
		},
		{
			name:   "start",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48},
			items:  []spead.OutItem{spead.ControlItem(spead.CtrlStart)},
			want:   []string{"53040206 00000006 8001000000123456 8002000000000001 8003000000000000 8004000000000001 8006000000000000 0000000000000000 00"},
		},
		{
			name:   "stop",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48},
			items:  []spead.OutItem{spead.ControlItem(spead.CtrlStop)},
			want:   []string{"53040206 00000006 8001000000123456 8002000000000001 8003000000000000 8004000000000001 8006000000000002 0000000000000000 00"},
		},
		{
			name:   "stop in 64-40",
			config: spead.PacketiserConfig{Flavour: spead.Flavour40},
			items:  []spead.OutItem{spead.ControlItem(spead.CtrlStop)},
			want:   []string{"53040305 00000006 8000010000123456 8000020000000001 8000030000000000 8000040000000001 8000060000000002 0000000000000000 00"},
		},
		{
			name:   "small item of fixed shape",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48},
			items:  []spead.OutItem{{ID: 0x2345, Data: []byte{0x76, 0x54}, Fixed: true}},
			want:   []string{"53040206 00000006 8001000000123456 8002000000000001 8003000000000000 8004000000000001 a345000000007654 0000000000000000 00"},
		},
		{
			name:   "repeated pointers",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 72, RepeatPointers: true},
			items:  []spead.OutItem{{ID: 0x2345, Data: payload}, {ID: 0x2346, Immediate: true, Value: 0xdeadbeef}},
			want: []string{
				"53040206 00000006 8001000000123456 8002000000000020 8003000000000000 8004000000000010 2345000000000000 a3460000deadbeef 000102030405060708090a0b0c0d0e0f",
				"53040206 00000006 8001000000123456 8002000000000020 8003000000000010 8004000000000010 2345000000000000 a3460000deadbeef 101112131415161718191a1b1c1d1e1f",
			},
		},
		{
			name:   "variable shape is never immediate, and the count is cut to its bits",
			config: spead.PacketiserConfig{Flavour: 16},
			items:  []spead.OutItem{{ID: 9, Data: []byte{0x76, 0x54}}},
			want:   []string{"53040602 00000005 8000000000013456 8000000000020002 8000000000030000 8000000000040002 0000000000090000 7654"},
		},
		{
			// Two pointers fit into a packet, so the NULL makes a third packet
			// necessary: 17 bytes of payload, of which 3 are real.
			name:   "pointers spill over packets with padding",
			config: spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 71},
			items: []spead.OutItem{
				{ID: 0x10, Immediate: true, Value: 1}, {ID: 0x11, Data: []byte{1, 2, 3}},
				{ID: 0x12, Immediate: true, Value: 2}, {ID: 0x13, Data: []byte{}},
			},
			want: []string{
				"53040206 00000006 8001000000123456 8002000000000011 8003000000000000 8004000000000008 8010000000000001 0011000000000000 0102030000000000",
				"53040206 00000006 8001000000123456 8002000000000011 8003000000000008 8004000000000008 8012000000000002 0013000000000003 0000000000000000",
				"53040206 00000005 8001000000123456 8002000000000011 8003000000000010 8004000000000001 0000000000000003 00",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, b := range packetise(t, tt.config, cnt, tt.items...) {
				got = append(got, fmt.Sprintf("%x", b))
			}
			for i := range tt.want {
				tt.want[i] = strings.ReplaceAll(tt.want[i], " ", "")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("packets\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestPacketSizes checks the sizes that spead2 documents for its default and
// for jumbo packets.
func TestPacketSizes(t *testing.T) {
	for _, tt := range []struct {
		max  int
		want []int
	}{
		{0, []int{1424, 1432, 1432, 712}},
		{1472, []int{1424, 1432, 1432, 712}},
		{1479, []int{1424, 1432, 1432, 712}},
		{9000, []int{5000}},
		{56, append([]int{8}, slices.Repeat([]int{16}, 312)...)},
	} {
		var got []int
		for _, b := range packetise(t, spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: tt.max}, 1, spead.OutItem{ID: 0x1000, Data: make([]byte, 5000)}) {
			var p spead.Packet
			if r := p.Decode(b, len(b)); r != spead.OK {
				t.Fatal(r)
			}
			got = append(got, int(p.PayloadLength))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("MaxPacket %d: payloads of %v bytes, want %v", tt.max, got, tt.want)
		}
	}
}

func TestPacketiserErrors(t *testing.T) {
	for _, c := range []spead.PacketiserConfig{
		{},
		{Flavour: 64},
		{Flavour: 44},
		{Flavour: 48, MaxPacket: 55},
		{Flavour: 48, MaxPacket: -1},
		{Flavour: 48, MaxPacket: 65536},
	} {
		if _, err := spead.NewPacketiser(c); err == nil {
			t.Errorf("NewPacketiser(%+v) gives no error", c)
		}
	}

	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		item spead.OutItem
		want string
	}{
		{spead.OutItem{ID: 1 << 55}, "id 0x80000000000000"},
		{spead.OutItem{ID: spead.IDPayloadOffset}, "id 0x3"},
		{spead.OutItem{ID: 9, Immediate: true, Value: 256}, "value 0x100 has more than 8 bits"},
		{spead.OutItem{ID: 9, Data: make([]byte, 256)}, "heap payload of 256 bytes"},
	} {
		err := p.Start(1, []spead.OutItem{tt.item})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Start gives %v, want an error about %q", err, tt.want)
		}
		if got := packetsOf(t, p); len(got) != 0 {
			t.Errorf("%d packets after an error", len(got))
		}
	}

	p, err = spead.NewPacketiser(spead.PacketiserConfig{Flavour: 48, MaxPacket: 64, RepeatPointers: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(1, make([]spead.OutItem, 1)); err != nil {
		t.Error(err)
	}
	if err := p.Start(1, make([]spead.OutItem, 2)); !errors.Is(err, spead.ErrRepeatPointers) {
		t.Errorf("Start gives %v, want ErrRepeatPointers", err)
	}
}

// readCapture gives the UDP payloads of a capture of untagged IPv4 frames
// without IP options.
func readCapture(t testing.TB, name string) [][]byte {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "testdata", "captures", name+".pcap"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		frame, _, err := r.ReadPacketData()
		if err != nil {
			break
		}
		all = append(all, frame[14+20+8:])
	}
	return all
}

// wireHeap is a heap put together from its packets.
type wireHeap struct {
	cnt     uint64
	flavour spead.Flavour
	ptrs    []spead.Pointer // in the order of arrival, none twice
	payload []byte
	packets [][]byte
}

// reassemble puts packets, which must be good, together into heaps.
func reassemble(t testing.TB, packets [][]byte) []*wireHeap {
	t.Helper()
	var all []*wireHeap
	for _, b := range packets {
		var p spead.Packet
		if r := p.Decode(b, len(b)); r != spead.OK || p.Size() != len(b) {
			t.Fatalf("packet of %d bytes: %v, size %d", len(b), r, p.Size())
		}
		i := slices.IndexFunc(all, func(h *wireHeap) bool { return h.cnt == p.Cnt })
		if i < 0 {
			i = len(all)
			all = append(all, &wireHeap{cnt: p.Cnt, flavour: p.Flavour, payload: make([]byte, p.HeapLength)})
		}
		h := all[i]
		h.packets = append(h.packets, b)
		copy(h.payload[p.PayloadOffset:], b[p.HeaderLen:])
		for j := range p.NumPointers() {
			ptr := p.Pointer(j)
			if id := p.Flavour.ID(ptr); (id == 0 || id > 4) && !slices.Contains(h.ptrs, ptr) {
				h.ptrs = append(h.ptrs, ptr)
			}
		}
	}
	return all
}

// outItems gives the items that the sender must have had, in its order.
func (h *wireHeap) outItems() []spead.OutItem {
	items := spead.AppendItems(nil, h.flavour, slices.Clone(h.ptrs), h.payload)
	var out []spead.OutItem
	for _, ptr := range h.ptrs {
		id := h.flavour.ID(ptr)
		i := slices.IndexFunc(items, func(it spead.RawItem) bool {
			if it.Immediate {
				return h.flavour.Immediate(it.ID, it.Value) == ptr
			}
			return h.flavour.Addressed(it.ID, uint64(it.Offset)) == ptr
		})
		switch rest := h.payload[min(uint64(len(h.payload)), h.flavour.Value(ptr)):]; {
		case ptr.IsImmediate():
			out = append(out, spead.OutItem{ID: id, Immediate: true, Value: h.flavour.Value(ptr)})
		case id == spead.IDNull && len(rest) == 1: // the padding of a heap without payload
		case id == spead.IDNull:
			// In SPEAD-64-56 the ids of the captures do not fit and came out as 0.
			out = append(out, spead.OutItem{Data: rest})
		case i < 0:
			out = append(out, spead.OutItem{ID: id})
		default:
			it := items[i]
			out = append(out, spead.OutItem{ID: id, Data: h.payload[it.Offset:][:it.Length]})
		}
	}
	return out
}

// TestCaptures packetises the heaps of captures from spead2's sender and
// expects its packets.
func TestCaptures(t *testing.T) {
	for _, tt := range []struct {
		name      string
		maxPacket int
		heaps     int // the stop heap included
	}{
		{"plain-64-24", 1472, 4},
		{"plain-64-32", 1472, 4},
		{"plain-64-48", 1472, 7},
		{"plain-64-56", 1472, 4},
		{"five-items", 1472, 5},
		{"single-packet-heaps", 1472, 41},
		{"jumbo", 8972, 4},
		{"descriptors", 1472, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heaps := reassemble(t, readCapture(t, tt.name))
			if len(heaps) != tt.heaps {
				t.Errorf("%d heaps, want %d", len(heaps), tt.heaps)
			}
			for _, h := range heaps {
				got := packetise(t, spead.PacketiserConfig{Flavour: h.flavour, MaxPacket: tt.maxPacket}, h.cnt, h.outItems()...)
				if !slices.EqualFunc(got, h.packets, bytes.Equal) {
					t.Errorf("heap %d: the packets are not those of the capture", h.cnt)
				}
			}
		})
	}
}

// TestPacketiserAllocatesNothing also shows that a packetiser can be used for
// any number of heaps.
func TestPacketiserAllocatesNothing(t *testing.T) {
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: 48})
	if err != nil {
		t.Fatal(err)
	}
	items := []spead.OutItem{{ID: 0x1000, Data: make([]byte, 10000)}, {ID: 0x1001, Immediate: true}}
	hdr, segs, cp := make([]byte, 0, 1472), make([][]byte, 0, 4), make([]byte, 0, 1472)
	cnt := uint64(0)
	if n := testing.AllocsPerRun(10, func() {
		cnt++
		packets := 0
		for range 2 {
			if err := p.Start(cnt, items); err != nil {
				t.Fatal(err)
			}
			_, _, ok := p.Next(hdr, segs)
			for packets++; ok; packets++ {
				_, ok = p.AppendNext(cp)
			}
		}
		if packets != 2*8 {
			t.Fatalf("%d packets", packets)
		}
	}); n != 0 {
		t.Errorf("%v allocations per heap", n)
	}
}

// FuzzPacketiser makes a heap out of the fuzzer's bytes, packetises it, puts
// it together again and expects the same items.
func FuzzPacketiser(f *testing.F) {
	f.Add(uint8(5), uint16(0), uint64(1), []byte("\x00\x10\x05hello\x81\x10\x02"))
	f.Add(uint8(4), uint16(8), uint64(1<<40), []byte(strings.Repeat("\x82\x01\x07", 40)))
	f.Add(uint8(0), uint16(16), uint64(255), []byte("\x40\x10\x01x\x00\x11\x00\x00\x12\x01y"))
	f.Fuzz(func(t *testing.T, flavour uint8, size uint16, cnt uint64, in []byte) {
		c := spead.PacketiserConfig{Flavour: spead.Flavour(flavour%7+1) * 8, MaxPacket: 56 + int(size)%9000, RepeatPointers: flavour&0x80 != 0}
		fl := c.Flavour

		// Each item is a byte of kind, one of id, one of length or value, and its data.
		var items []spead.OutItem
		for len(in) >= 3 {
			kind, id, n := in[0], uint64(in[1])+5, int(in[2])
			in = in[3:]
			it := spead.OutItem{ID: id}
			if kind&0x80 != 0 {
				it.Immediate, it.Value = true, uint64(n)
			} else {
				n = min(n, len(in))
				it.Data, it.Fixed = in[:n], kind&0x40 != 0
				in = in[n:]
			}
			items = append(items, it)
		}
		p, err := spead.NewPacketiser(c)
		if err != nil {
			t.Fatal(err)
		}
		var total, bytesSent uint64
		var want []spead.RawItem // in sending order; empty items disappear
		starts := make(map[spead.Pointer]bool)
		for i, it := range items {
			if it.ID > fl.MaxID() {
				items[i].ID = fl.MaxID()
				it.ID = fl.MaxID()
			}
			switch {
			case it.Immediate:
				want = append(want, spead.RawItem{ID: it.ID, Immediate: true, Value: it.Value})
			case it.Fixed && len(it.Data) <= fl.AddrBits()/8:
				var v [8]byte
				copy(v[8-len(it.Data):], it.Data)
				want = append(want, spead.RawItem{ID: it.ID, Immediate: true, Value: binary.BigEndian.Uint64(v[:])})
			default:
				// The wire cannot tell two pointers of one value apart, so
				// an empty item hides behind one of the same id after it.
				ptr := fl.Addressed(it.ID, total)
				if starts[ptr] {
					return
				}
				starts[ptr] = true
				if len(it.Data) == 0 {
					continue
				}
				want = append(want, spead.RawItem{ID: it.ID, Offset: int64(total), Length: int64(len(it.Data))})
				total += uint64(len(it.Data))
			}
		}
		if err := p.Start(cnt, items); err != nil {
			// Only for these two reasons.
			tooLong := total > fl.MaxValue() || uint64(len(items)) > fl.MaxValue()/8
			if !errors.Is(err, spead.ErrRepeatPointers) && !tooLong {
				t.Fatal(err)
			}
			return
		}
		packets := packetsOf(t, p)
		for i, b := range packets {
			var pk spead.Packet
			if r := pk.Decode(b, len(b)); r != spead.OK || pk.Size() != len(b) || pk.Flavour != fl {
				t.Fatalf("packet %d: %v, flavour %v", i, r, pk.Flavour)
			}
			if pk.Cnt != cnt&fl.MaxValue() || uint64(pk.PayloadOffset) != bytesSent || pk.PayloadLength == 0 {
				t.Fatalf("packet %d: %+v", i, pk)
			}
			if i < len(packets)-1 && pk.PayloadLength%8 != 0 {
				t.Fatalf("packet %d has %d bytes of payload", i, pk.PayloadLength)
			}
			bytesSent += uint64(pk.PayloadLength)
		}
		heaps := reassemble(t, packets)
		if len(heaps) != 1 || uint64(len(heaps[0].payload)) != bytesSent || bytesSent < total {
			t.Fatalf("%d bytes sent of %d", bytesSent, total)
		}
		h := heaps[0]
		got := spead.AppendItems(nil, fl, slices.Clone(h.ptrs), h.payload)
		for i := range got {
			got[i].Data = nil
		}

		// AppendItems sorts immediates, and none stands twice on the wire.
		slices.SortStableFunc(want, func(a, b spead.RawItem) int {
			switch {
			case a.Immediate != b.Immediate && b.Immediate:
				return -1
			case a.Immediate != b.Immediate:
				return 1
			case a.Immediate && a.Value != b.Value:
				if a.Value < b.Value {
					return -1
				}
				return 1
			}
			return 0
		})
		var unique []spead.RawItem
		for _, it := range want {
			if !slices.ContainsFunc(unique, func(u spead.RawItem) bool { return reflect.DeepEqual(u, it) }) {
				unique = append(unique, it)
			}
		}
		if len(got)+len(unique) > 0 && !reflect.DeepEqual(got, unique) {
			t.Fatalf("items %+v, want %+v", got, unique)
		}
		var data []byte
		for _, it := range items {
			if !it.Immediate && !(it.Fixed && len(it.Data) <= fl.AddrBits()/8) {
				data = append(data, it.Data...)
			}
		}
		if !bytes.Equal(h.payload[:total], data) || len(bytes.Trim(h.payload[total:], "\x00")) != 0 {
			t.Fatal("the payload is not the items' data and zeros")
		}
	})
}

func BenchmarkPacketiser(b *testing.B) {
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: 48})
	if err != nil {
		b.Fatal(err)
	}
	items := []spead.OutItem{{ID: 0x1000, Data: make([]byte, 1<<22)}}
	hdr, segs := make([]byte, 0, 1472), make([][]byte, 0, 4)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := p.Next(hdr, segs); !ok {
			if err := p.Start(1, items); err != nil {
				b.Fatal(err)
			}
		}
	}
}
