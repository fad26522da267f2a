// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// packetOf builds a packet by hand, pointer by pointer, right or wrong.
func packetOf(f spead.Flavour, payload int, ptrs ...spead.Pointer) []byte {
	b := []byte{0x53, 0x04, byte(8 - f/8), byte(f / 8), 0, 0, byte(len(ptrs) >> 8), byte(len(ptrs))}
	for _, p := range ptrs {
		b = binary.BigEndian.AppendUint64(b, uint64(p))
	}
	for i := range payload {
		b = append(b, byte(i))
	}
	return b
}

// unhex decodes hexadecimal digits with spaces between them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func allFlavours() []spead.Flavour { return []spead.Flavour{8, 16, 24, 32, 40, 48, 56} }

func TestFlavour(t *testing.T) {
	valid := 0
	for h := range 256 {
		if spead.Flavour(h).Valid() {
			valid++
		}
	}
	if valid != 7 {
		t.Errorf("%d flavours are valid, want 7", valid)
	}
	for _, f := range allFlavours() {
		if !f.Valid() {
			t.Errorf("%v is not valid", f)
		}
		if got, want := f.String(), fmt.Sprintf("64-%d", f.AddrBits()); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
		// Mode, id and value fill the pointer without overlap.
		all := f.Immediate(f.MaxID(), f.MaxValue())
		if all != ^spead.Pointer(0) {
			t.Errorf("%v: largest immediate is %#x", f, all)
		}
		if f.Immediate(0, 0) != 1<<63 || f.Addressed(1, 0) != 1<<f || f.Addressed(0, 1) != 1 {
			t.Errorf("%v: fields are not where they belong", f)
		}
		if p := f.Addressed(f.MaxID()+2, f.MaxValue()+3); f.ID(p) != 1 || f.Value(p) != 2 || p.IsImmediate() {
			t.Errorf("%v: bits beyond a field are not cut off: %#x", f, p)
		}
	}
	f := spead.Flavour48
	p := spead.Pointer(0xa345000000007654)
	if !p.IsImmediate() || f.ID(p) != 0x2345 || f.Value(p) != 0x7654 || f.Immediate(0x2345, 0x7654) != p {
		t.Errorf("%#x is not item 0x2345 = 0x7654", p)
	}
}

func TestReasonNames(t *testing.T) {
	want := "ok too_short bad_magic bad_flavour items_overflow headers_split missing_items " +
		"payload_overflow heap_overflow size_mismatch unknown"
	var got []string
	for r := range spead.NumReasons + 1 {
		got = append(got, spead.Reason(r).String())
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("reasons are %q, want %q", s, want)
	}
}

func TestDecodeRejects(t *testing.T) {
	const f = spead.Flavour48
	var (
		cnt    = f.Immediate(spead.IDHeapCnt, 7)
		length = f.Immediate(spead.IDHeapLength, 100)
		offset = f.Immediate(spead.IDPayloadOffset, 90)
		plen   = f.Immediate(spead.IDPayloadLength, 10)
		item   = f.Addressed(0x1000, 0)
	)
	good := packetOf(f, 10, cnt, length, offset, plen, item)
	edit := func(at int, v byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = v
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want spead.Reason
	}{
		{"good", good, spead.OK},
		{"empty", nil, spead.TooShort},
		{"seven bytes", good[:7], spead.TooShort},
		{"magic", edit(0, 0x54), spead.BadMagic},
		{"version", edit(1, 3), spead.BadMagic},
		{"magic before flavour", []byte{0, 0, 0, 0, 0, 0, 0, 0}, spead.BadMagic},
		{"no id width", edit(2, 0), spead.BadFlavour},
		{"no address width", edit(3, 0), spead.BadFlavour},
		{"widths 0 and 8", []byte{0x53, 4, 0, 8, 0, 0, 0, 0}, spead.BadFlavour},
		{"widths 8 and 0", []byte{0x53, 4, 8, 0, 0, 0, 0, 0}, spead.BadFlavour},
		{"widths sum to 7", edit(2, 1), spead.BadFlavour},
		{"widths sum to 264", []byte{0x53, 4, 0xff, 9, 0, 0, 0, 0}, spead.BadFlavour},
		{"reserved bytes are ignored", edit(4, 0xff), spead.OK},
		{"a pointer too many", edit(7, 7), spead.ItemsOverflow},
		{"65535 pointers", []byte{0x53, 4, 2, 6, 0, 0, 0xff, 0xff}, spead.ItemsOverflow},
		{"no pointers", []byte{0x53, 4, 2, 6, 0, 0, 0, 0}, spead.MissingItems},
		{"no count", packetOf(f, 10, length, offset, plen), spead.MissingItems},
		{"no offset", packetOf(f, 10, cnt, length, plen), spead.MissingItems},
		{"no payload length", packetOf(f, 10, cnt, length, offset), spead.MissingItems},
		{"addressed count", packetOf(f, 10, f.Addressed(1, 7), length, offset, plen), spead.MissingItems},
		{"no heap length", packetOf(f, 10, cnt, offset, plen), spead.OK},
		{"payload a byte short", good[:len(good)-1], spead.PayloadOverflow},
		{"payload length 2^48-1", packetOf(f, 10, cnt, offset, f.Immediate(spead.IDPayloadLength, f.MaxValue())), spead.PayloadOverflow},
		{"heap a byte too short", packetOf(f, 10, cnt, f.Immediate(spead.IDHeapLength, 99), offset, plen), spead.HeapOverflow},
		{"offset 2^48-1", packetOf(f, 10, cnt, length, f.Immediate(spead.IDPayloadOffset, f.MaxValue()), plen), spead.HeapOverflow},
		{"bytes after the payload", append(append([]byte(nil), good...), 0), spead.OK},
		{"empty heap", packetOf(f, 0, cnt, f.Immediate(spead.IDHeapLength, 0), f.Immediate(spead.IDPayloadOffset, 0), f.Immediate(spead.IDPayloadLength, 0)), spead.OK},
		{"any order", packetOf(f, 10, plen, item, offset, length, cnt), spead.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p spead.Packet
			if got := p.Decode(tt.in, len(tt.in)); got != tt.want {
				t.Errorf("Decode = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDecodeFields(t *testing.T) {
	for _, f := range allFlavours() {
		t.Run(f.String(), func(t *testing.T) {
			big := f.MaxValue()
			b := packetOf(f, 12,
				f.Immediate(spead.IDNull, big),
				f.Immediate(spead.IDHeapCnt, 3), // the last one counts
				f.Addressed(5, 1),
				f.Addressed(spead.IDHeapLength, 9), // not special
				f.Immediate(spead.IDPayloadLength, 12),
				f.Immediate(spead.IDStreamCtrl, 1),
				f.Immediate(spead.IDPayloadOffset, big-12),
				f.Immediate(spead.IDHeapCnt, big),
				f.Immediate(spead.IDHeapLength, big),
				f.Immediate(spead.IDStreamCtrl, spead.CtrlStop),
				f.Immediate(f.MaxID(), big),
			)
			want := spead.Packet{
				Cnt:           big,
				HeapLength:    int64(big),
				PayloadOffset: int64(big) - 12,
				PayloadLength: 12,
				Control:       spead.CtrlStop,
				HeaderLen:     8 + 11*8,
				Flavour:       f,
				Extra:         6,
			}
			var p spead.Packet
			if r := p.Decode(b, len(b)); r != spead.OK {
				t.Fatalf("Decode = %v", r)
			}
			if p.Size() != len(b) || p.NumPointers() != 11 || &p.Pointers[0] != &b[8] {
				t.Errorf("size %d, %d pointers; want %d, 11 pointers within the input", p.Size(), p.NumPointers(), len(b))
			}
			if p.Pointer(10) != f.Immediate(f.MaxID(), big) {
				t.Errorf("last pointer is %#x", p.Pointer(10))
			}
			p.Pointers = nil
			if fmt.Sprint(p) != fmt.Sprint(want) {
				t.Errorf("packet %+v, want %+v", p, want)
			}

			b = packetOf(f, 0, f.Immediate(1, 0), f.Immediate(3, 5), f.Immediate(4, 0))
			if r := p.Decode(b, len(b)); r != spead.OK {
				t.Fatalf("Decode = %v", r)
			}
			if p.HeapLength != -1 || p.Control != -1 || p.Extra != 0 || p.PayloadOffset != 5 {
				t.Errorf("unsized packet is %+v", p)
			}
		})
	}
}

// TestDecodeTruncated cuts a packet at every length, in flavours of all
// widths, and cuts its first segment at every length.
func TestDecodeTruncated(t *testing.T) {
	for _, f := range allFlavours() {
		b := packetOf(f, 20, f.Immediate(1, 1), f.Immediate(2, 20), f.Immediate(3, 0), f.Immediate(4, 20), f.Addressed(9, 0))
		headers := len(b) - 20
		for n := range b {
			want := spead.PayloadOverflow
			switch {
			case n < 8:
				want = spead.TooShort
			case n < headers:
				want = spead.ItemsOverflow
			}
			var p spead.Packet
			if got := p.Decode(b[:n:n], n); got != want {
				t.Errorf("%v, %d bytes: %v, want %v", f, n, got, want)
			}
			want = spead.OK
			if n < headers {
				want = spead.HeadersSplit
			}
			if got := p.Decode(b[:n:n], len(b)); got != want {
				t.Errorf("%v, first segment of %d bytes: %v, want %v", f, n, got, want)
			}
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	b := unhex(t, "53040206 00000006 8001000000123456 8002000000000001 8003000000000000 8004000000000001 8006000000000002 0000000000000000 00")
	var p spead.Packet
	if n := testing.AllocsPerRun(100, func() {
		if p.Decode(b, len(b)) != spead.OK || p.Decode(b[:50], 50) != spead.ItemsOverflow {
			t.Fatal("decoded wrongly")
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// TestDecodeNext: where DecodeNext says yes, it says what Decode says.
func TestDecodeNext(t *testing.T) {
	const fl = spead.Flavour48
	packet := func(cnt, length, off uint64, payload int, more ...spead.Pointer) []byte {
		return packetOf(fl, payload, append([]spead.Pointer{
			fl.Immediate(spead.IDHeapCnt, cnt), fl.Immediate(spead.IDHeapLength, length),
			fl.Immediate(spead.IDPayloadOffset, off), fl.Immediate(spead.IDPayloadLength, uint64(payload)),
		}, more...)...)
	}
	unsized := func(off uint64) []byte {
		return packetOf(fl, 16, fl.Immediate(spead.IDHeapCnt, 7), fl.Immediate(spead.IDHeapCnt, 7),
			fl.Immediate(spead.IDPayloadOffset, off), fl.Immediate(spead.IDPayloadLength, 16))
	}
	reordered := func(off uint64) []byte {
		return packetOf(fl, 16, fl.Immediate(spead.IDHeapCnt, 7), fl.Immediate(spead.IDHeapLength, 64),
			fl.Immediate(spead.IDPayloadLength, 16), fl.Immediate(spead.IDPayloadOffset, off))
	}
	base := packet(7, 64, 16, 16)
	other := spead.Flavour(40)
	for _, tt := range []struct {
		name    string
		a, b    []byte
		follows bool
	}{
		{"next", base, packet(7, 64, 32, 16), true},
		{"last", packet(7, 64, 32, 16), packet(7, 64, 48, 16), true},
		{"beyond the heap", packet(7, 64, 48, 16), packet(7, 64, 64, 16), false},
		{"partly beyond the heap", packet(7, 60, 32, 16), packet(7, 60, 48, 16), false},
		{"the same again", base, base, false},
		{"a gap", base, packet(7, 64, 48, 16), false},
		{"another heap", base, packet(8, 64, 32, 16), false},
		{"another length", base, packet(7, 96, 32, 16), false},
		{"shorter", base, packet(7, 64, 32, 8), false},
		{"one more pointer", base, packet(7, 64, 32, 8, fl.Addressed(9, 0)), false},
		{"after one more pointer", packet(7, 64, 16, 16, fl.Addressed(9, 0)), packet(7, 64, 32, 16), false},
		{"no heap length", unsized(16), unsized(32), false},
		{"another order", reordered(16), reordered(32), false},
		{"another flavour", base, packetOf(other, 16, other.Immediate(1, 7), other.Immediate(2, 64), other.Immediate(3, 32), other.Immediate(4, 16)), false},
		{"another magic", base, append([]byte{0x54}, packet(7, 64, 32, 16)[1:]...), false},
		{"cut", base, packet(7, 64, 32, 16)[:39], false},
	} {
		var a, b, want spead.Packet
		if r := a.Decode(tt.a, len(tt.a)); r != spead.OK {
			if tt.follows {
				t.Errorf("%s: the first is refused: %v", tt.name, r)
			}
			continue
		}
		if got := b.DecodeNext(&a, tt.b, len(tt.b)); got != tt.follows {
			t.Errorf("%s: follows: %v", tt.name, got)
		} else if !got {
			continue
		}
		if r := want.Decode(tt.b, len(tt.b)); r != spead.OK || !reflect.DeepEqual(b, want) {
			t.Errorf("%s: %+v, decoded alone (%v) %+v", tt.name, b, r, want)
		}
	}
}

// FuzzDecodeNext compares DecodeNext with Decode: the second packet is the first, with
// some bytes changed.
func FuzzDecodeNext(f *testing.F) {
	for _, fl := range allFlavours() {
		p := packetOf(fl, 4, fl.Immediate(1, 1), fl.Immediate(2, 20), fl.Immediate(3, 0), fl.Immediate(4, 4))
		f.Add(p, uint64(4), uint8(24), uint16(0))
		f.Add(p, uint64(1), uint8(32), uint16(0))
		f.Add(p, uint64(1)<<40, uint8(0), uint16(9000))
	}
	f.Fuzz(func(t *testing.T, first []byte, add uint64, at uint8, more uint16) {
		size := len(first) + int(more)
		var a, b, want spead.Packet
		if a.Decode(first, size) != spead.OK {
			return
		}
		next := bytes.Clone(first)
		if i := int(at); i+8 <= len(next) {
			binary.BigEndian.PutUint64(next[i:], binary.BigEndian.Uint64(next[i:])+add)
		}
		if !b.DecodeNext(&a, next, size) {
			return
		}
		if r := want.Decode(next, size); r != spead.OK || !reflect.DeepEqual(b, want) {
			t.Fatalf("%+v, decoded alone (%v) %+v", b, r, want)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, fl := range allFlavours() {
		f.Add(packetOf(fl, 20, fl.Immediate(1, 1), fl.Immediate(2, 20), fl.Immediate(3, 0), fl.Immediate(4, 20), fl.Addressed(9, 0)), uint16(0))
		f.Add(packetOf(fl, 2, fl.Immediate(4, 2), fl.Immediate(1, 200), fl.Immediate(6, 2), fl.Immediate(3, 250)), uint16(9000))
	}
	f.Add([]byte("S\x04\x02\x06\x00\x00\xff\xff"), uint16(65535))
	f.Fuzz(func(t *testing.T, first []byte, more uint16) {
		var p spead.Packet
		size := len(first) + int(more)
		switch r := p.Decode(first, size); r {
		case spead.OK:
		case spead.SizeMismatch:
			t.Fatal("SizeMismatch is not Decode's to give")
		case spead.HeadersSplit:
			if more == 0 {
				t.Fatal("HeadersSplit of a packet in one segment")
			}
			return
		default:
			if int(r) >= spead.NumReasons {
				t.Fatalf("reason %d", r)
			}
			return
		}
		if !p.Flavour.Valid() || p.Size() > size || p.HeaderLen > len(first) ||
			p.HeaderLen != 8+len(p.Pointers) || p.PayloadLength < 0 || p.PayloadOffset < 0 ||
			p.Cnt > p.Flavour.MaxValue() || p.HeapLength < -1 ||
			p.HeapLength >= 0 && p.PayloadOffset+p.PayloadLength > p.HeapLength {
			t.Fatalf("accepted %+v of %d bytes", p, size)
		}
		// Each value again, from the last pointer backwards.
		last := map[uint64]int64{1: -1, 2: -1, 3: -1, 4: -1, spead.IDStreamCtrl: -1}
		extra := 0
		for i := p.NumPointers() - 1; i >= 0; i-- {
			ptr := p.Pointer(i)
			id := p.Flavour.ID(ptr)
			if v, ok := last[id]; ok && ptr.IsImmediate() && v < 0 {
				last[id] = int64(p.Flavour.Value(ptr))
			}
			if !ptr.IsImmediate() || id == 0 || id > 4 {
				extra++
			}
		}
		if int64(p.Cnt) != last[1] || p.HeapLength != last[2] || p.PayloadOffset != last[3] ||
			p.PayloadLength != last[4] || p.Control != last[spead.IDStreamCtrl] || p.Extra != extra {
			t.Fatalf("decoded %+v, the pointers say %v, %d others", p, last, extra)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	const f = spead.Flavour48
	in := packetOf(f, 1424, f.Immediate(1, 12345), f.Immediate(2, 1<<22), f.Immediate(3, 1424), f.Immediate(4, 1424), f.Addressed(0x1000, 0))
	var p spead.Packet
	b.ReportAllocs()
	for b.Loop() {
		if p.Decode(in, len(in)) != spead.OK {
			b.Fatal("rejected")
		}
	}
}
