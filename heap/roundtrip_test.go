// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// The round trip: item groups of any types and shapes are described, encoded, cut into
// packets, shuffled and repeated, and must come out of assembler and item group as
// they went in.

// drawnItem is one item of a drawn group: its descriptor, and how to draw a value of
// it. A value is drawn as [spead.Value.Any] gives it.
type drawnItem struct {
	desc  *spead.Descriptor
	shape []int64 // negative: variable
	text  bool    // characters in one dimension
	one   func(r *rand.Rand) any
}

// drawType draws a scalar type of numpy's, and how to draw a value of it.
func drawType(r *rand.Rand) (string, func(*rand.Rand) any) {
	order := []string{"<", ">"}[r.IntN(2)]
	text := func(r *rand.Rand, n int, alphabet []rune) string {
		var b strings.Builder
		for range r.IntN(n + 1) {
			b.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	n := 1 + r.IntN(5)
	switch r.IntN(14) {
	case 0:
		return "|b1", func(r *rand.Rand) any { return r.IntN(2) == 0 }
	case 1, 2:
		size := 1 << r.IntN(4)
		return fmt.Sprintf("%si%d", order, size), func(r *rand.Rand) any { return int64(r.Uint64()) >> (64 - 8*size) }
	case 3, 4:
		size := 1 << r.IntN(4)
		return fmt.Sprintf("%su%d", order, size), func(r *rand.Rand) any { return r.Uint64() >> (64 - 8*size) }
	case 5:
		return order + "f2", func(r *rand.Rand) any { return float32(r.IntN(4096)-2048) / 64 }
	case 6, 7:
		return order + "f4", func(r *rand.Rand) any { return float32(r.NormFloat64()) }
	case 8:
		return order + "f8", func(r *rand.Rand) any { return r.NormFloat64() }
	case 9:
		return order + "c8", func(r *rand.Rand) any { return complex(float32(r.NormFloat64()), float32(r.NormFloat64())) }
	case 10:
		return order + "c16", func(r *rand.Rand) any { return complex(r.NormFloat64(), math.Inf(1)) }
	case 11:
		return fmt.Sprintf("|S%d", n), func(r *rand.Rand) any { return text(r, n, []rune("abc xyz")) }
	case 12:
		return fmt.Sprintf("%sU%d", order, n), func(r *rand.Rand) any { return text(r, n, []rune("aµ€😀")) }
	}
	return fmt.Sprintf("|V%d", n), func(r *rand.Rand) any {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
}

// drawStruct draws a struct of scalars, arrays and, to a depth, structs.
func drawStruct(r *rand.Rand, depth int) (string, func(*rand.Rand) any) {
	var names []string
	var draws []func(*rand.Rand) any
	for i := range 1 + r.IntN(3) {
		dtype, one := drawType(r)
		dtype = "'" + dtype + "'"
		if depth > 0 && r.IntN(4) == 0 {
			dtype, one = drawStruct(r, depth-1)
		}
		field := fmt.Sprintf("('f_%d', %s)", i, dtype)
		if r.IntN(3) == 0 {
			shape := []int{1 + r.IntN(2), 1 + r.IntN(3)}[:1+r.IntN(2)]
			dims := strings.Trim(fmt.Sprint(shape), "[]")
			field = fmt.Sprintf("('f_%d', %s, (%s,))", i, dtype, strings.ReplaceAll(dims, " ", ", "))
			scalar := one
			one = func(r *rand.Rand) any { return nest(r, shape, scalar) }
		}
		names, draws = append(names, field), append(draws, one)
	}
	return "[" + strings.Join(names, ", ") + "]", func(r *rand.Rand) any {
		fields := make([]any, len(draws))
		for i := range fields {
			fields[i] = draws[i](r)
		}
		return fields
	}
}

// drawFormat draws the fields of a format: of any number of bits, packed.
func drawFormat(r *rand.Rand) ([]spead.FormatField, func(*rand.Rand) any) {
	var format []spead.FormatField
	var draws []func(*rand.Rand) any
	for range 1 + r.IntN(3) {
		bits := 1 + r.IntN(64)
		if r.IntN(2) == 0 {
			bits = 8 << r.IntN(4)
		}
		var one func(*rand.Rand) any
		letter := "uibfc"[r.IntN(5)]
		switch letter {
		case 'u':
			one = func(r *rand.Rand) any { return r.Uint64() >> (64 - bits) }
		case 'i':
			one = func(r *rand.Rand) any { return int64(r.Uint64()) >> (64 - bits) }
		case 'b':
			one = func(r *rand.Rand) any { return r.IntN(2) == 0 }
		case 'f':
			bits = 64
			one = func(r *rand.Rand) any { return r.NormFloat64() }
			if r.IntN(2) == 0 {
				bits = 32
				one = func(r *rand.Rand) any { return float32(r.NormFloat64()) }
			}
		case 'c':
			bits = 8
			one = func(r *rand.Rand) any { return string(rune('a' + r.IntN(26))) }
		}
		format, draws = append(format, spead.FormatField{Type: letter, Bits: uint64(bits)}), append(draws, one)
	}
	if len(draws) == 1 {
		return format, draws[0]
	}
	return format, func(r *rand.Rand) any {
		fields := make([]any, len(draws))
		for i := range fields {
			fields[i] = draws[i](r)
		}
		return fields
	}
}

// nest draws an array of a shape.
func nest(r *rand.Rand, shape []int, one func(*rand.Rand) any) any {
	if len(shape) == 0 {
		return one(r)
	}
	list := make([]any, shape[0])
	for i := range list {
		list[i] = nest(r, shape[1:], one)
	}
	return list
}

func drawItem(r *rand.Rand, id uint64) drawnItem {
	it := drawnItem{desc: &spead.Descriptor{ID: id, Name: fmt.Sprintf("item_%d", id), Description: "of a drawn group"}}
	for range r.IntN(4) {
		n := int64(1 + r.IntN(4))
		if r.IntN(12) == 0 {
			n = 0
		}
		it.shape = append(it.shape, n)
	}
	if r.IntN(2) == 0 {
		it.desc.Format, it.one = drawFormat(r)
		// The size of a variable dimension follows from the bytes there are, so that
		// of parts of bytes there may be more than were sent.
		if len(it.shape) > 0 && r.IntN(2) == 0 && formatBits(it.desc.Format)%8 == 0 {
			it.shape[r.IntN(len(it.shape))] = -1
		}
		it.desc.Shape = it.shape
		it.text = len(it.shape) == 1 && len(it.desc.Format) == 1 && it.desc.Format[0].Type == 'c'
		return it
	}
	dtype, one := drawType(r)
	if r.IntN(3) == 0 {
		dtype, one = drawStruct(r, 2)
	}
	header, err := spead.NumpyHeader(dtype, spead.Order(r.IntN(2)), it.shape...)
	if err != nil {
		panic(err)
	}
	it.desc.DType, it.one = header, one
	return it
}

// value draws a value, as it is encoded and as it must come out; gone says that it
// is not to be seen on the wire: a value without elements that cannot be immediate.
func (it *drawnItem) value(r *rand.Rand) (in, want any, gone bool) {
	shape := make([]int, len(it.shape))
	n, variable := 1, false
	for i, d := range it.shape {
		if shape[i] = int(d); d < 0 {
			shape[i], variable = r.IntN(5), true
		}
		n *= shape[i]
	}
	in = nest(r, shape, it.one)
	want = in
	if it.text {
		var s strings.Builder
		for _, c := range in.([]any) {
			s.WriteString(c.(string))
		}
		in, want = s.String(), s.String()
	} else if n == 0 {
		want = []any{}
	}
	return in, want, n == 0 && (variable || formatBits(it.desc.Format)%8 != 0)
}

func formatBits(format []spead.FormatField) (bits uint64) {
	for _, f := range format {
		bits += f.Bits
	}
	return bits
}

// TestRoundTrip sends random item groups through packetiser, a bad network, assembler
// and item group.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 7))
		f := rapid.SampledFrom([]spead.Flavour{16, 24, 32, 40, 48, 56}).Draw(rt, "flavour")
		maxPacket := rapid.SampledFrom([]int{56, 64, 72, 200, 1472, 4000, 9200}).Draw(rt, "packet")
		repeat := rapid.Bool().Draw(rt, "repeat pointers")
		hold := rapid.Bool().Draw(rt, "hold")
		copyBelow := rapid.SampledFrom([]int{0, 64}).Draw(rt, "copy below")
		compat := rapid.SampledFrom([]spead.Compat{0, 0, spead.CompatPySPEAD}).Draw(rt, "compat")
		var items []drawnItem
		for i := range uint64(rapid.IntRange(0, 40).Draw(rt, "items")) {
			items = append(items, drawItem(r, 7+i))
		}
		pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: f, MaxPacket: maxPacket, RepeatPointers: repeat})
		if err != nil {
			rt.Fatal(err)
		}

		// Three heaps in flight at once: the first describes all items, the others
		// some, and all have a value of most.
		const heaps = 3
		want := make([]map[string]any, heaps)
		var packets [][]byte
		for h := range heaps {
			want[h] = map[string]any{}
			b := spead.HeapBuilder{Flavour: f, Compat: compat}
			for i := range items {
				it := &items[i]
				// Each of the heaps can come first.
				if err := b.Describe(it.desc); err != nil {
					rt.Fatal(err)
				}
				if r.IntN(5) == 0 {
					continue
				}
				in, out, gone := it.value(r)
				if err := b.Add(it.desc, in); err != nil {
					rt.Fatalf("%+v: %v", it.desc, err)
				}
				if !gone {
					want[h][it.desc.Name] = out
				}
			}
			if r.IntN(3) == 0 {
				b.AddItem(spead.ControlItem(spead.CtrlUpdate))
			}
			if err := pk.Start(uint64(h+1), b.Items()); err != nil {
				if !errors.Is(err, spead.ErrRepeatPointers) && f > 16 {
					rt.Fatal(err)
				}
				return // the group does not fit into this flavour, or this packet
			}
			for p, ok := pk.AppendNext(nil); ok; p, ok = pk.AppendNext(nil) {
				packets = append(packets, p)
				for r.IntN(4) == 0 {
					packets = append(packets, p)
				}
			}
		}
		r.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })

		rig := newRig(t, pool.ShareConfig{Held: 4}, Config{MaxRanges: 1 << 12, MaxItems: 1 << 12})
		defer rig.close()
		for len(packets) > 0 {
			n := 1 + r.IntN(len(packets))
			rig.feed(0, packets[:n]...)
			packets = packets[n:]
		}
		held := 0
		if hold {
			held = 3
		}
		g := spead.ItemGroup{Compat: compat, Hold: held, CopyBelow: copyBelow}
		for range heaps {
			h := rig.TryNext()
			if h == nil {
				rt.Fatalf("a heap is missing: %s", fates(rig.Stats()))
			}
			if !h.Complete() {
				rt.Fatalf("heap %d is incomplete", h.Cnt())
			}
			w := want[h.Cnt()-1]
			updated, err := g.Update(h)
			if err != nil {
				rt.Fatal(err)
			}
			if len(updated) != len(w) || len(g.Described()) != len(items) {
				rt.Fatalf("heap: %d items updated, want %d; %d described, want %d", len(updated), len(w), len(g.Described()), len(items))
			}
			for _, it := range updated {
				if got := it.Value().Any(); !reflect.DeepEqual(got, w[it.Name()]) {
					rt.Fatalf("%s, %+v:\n got %#v\nwant %#v", it.Name(), it.Descriptor(), got, w[it.Name()])
				}
			}
			if !hold {
				h.Release()
			}
		}
		g.Release()
		rig.end()
	})
}
