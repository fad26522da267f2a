// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// memHeap is a heap in ordinary memory.
type memHeap struct {
	flavour  spead.Flavour
	items    []spead.RawItem
	lease    uint64
	released int
}

func (h *memHeap) Flavour() spead.Flavour { return h.flavour }
func (h *memHeap) Items() []spead.RawItem { return h.items }
func (h *memHeap) Lease() uint64          { return h.lease }
func (h *memHeap) Release()               { h.lease++; h.released++ }

// received is the heap that a receiver makes of the items, sent in packets.
func received(t testing.TB, f spead.Flavour, items ...spead.OutItem) *memHeap {
	t.Helper()
	heaps := reassemble(t, packetise(t, spead.PacketiserConfig{Flavour: f}, 1, items...))
	if len(heaps) != 1 {
		t.Fatalf("%d heaps", len(heaps))
	}
	return heaps[0].heap()
}

func (h *wireHeap) heap() *memHeap {
	return &memHeap{flavour: h.flavour, items: spead.AppendItems(nil, h.flavour, slices.Clone(h.ptrs), h.payload)}
}

// update updates a group that must accept the heap.
func update(t testing.TB, g *spead.ItemGroup, h spead.Heap) []*spead.Item {
	t.Helper()
	items, err := g.Update(h)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// item encodes a value.
func item(t testing.TB, d *spead.Descriptor, value any) spead.OutItem {
	t.Helper()
	out, err := d.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// described encodes a descriptor.
func described(t testing.TB, d *spead.Descriptor, f spead.Flavour) spead.OutItem {
	t.Helper()
	out, err := d.Item(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// numpy is a descriptor with a numpy type.
func numpy(t testing.TB, id uint64, name, dtype string, order spead.Order, shape ...int64) *spead.Descriptor {
	t.Helper()
	h, err := spead.NumpyHeader(dtype, order, shape...)
	if err != nil {
		t.Fatal(err)
	}
	return &spead.Descriptor{ID: id, Name: name, Description: "of a test", DType: h}
}

// format is a descriptor with a format, such as "u12" or "b1 i7".
func format(id uint64, name, fields string, shape ...int64) *spead.Descriptor {
	d := &spead.Descriptor{ID: id, Name: name, Description: "of a test", Shape: shape}
	for _, f := range strings.Fields(fields) {
		var field spead.FormatField
		fmt.Sscanf(f, "%c%d", &field.Type, &field.Bits)
		d.Format = append(d.Format, field)
	}
	return d
}

// jsonOf makes of a value what encoding/json makes of the same text.
func jsonOf(v any) any {
	switch v := v.(type) {
	case complex64:
		return []any{float64(real(v)), float64(imag(v))}
	case complex128:
		return []any{real(v), imag(v)}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = jsonOf(v[i])
		}
		return out
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float32:
		return float64(v)
	}
	return v
}

// TestDescriptorsCapture compares the values of a stream of spead2's, in all kinds of
// types, with those that spead2 was given.
func TestDescriptorsCapture(t *testing.T) {
	var index struct {
		Descriptors struct {
			Heaps []struct {
				ID                uint64
				Name, Description string
				Shape             []*int64
				Format            [][]any
				DType, Order      string
				Value             any
			}
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "testdata", "captures", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	want := index.Descriptors.Heaps
	heaps := reassemble(t, readCapture(t, "descriptors"))
	var g spead.ItemGroup
	if got := update(t, &g, heaps[0].heap()); len(got) != len(want) || len(g.Described()) != len(want) {
		t.Fatalf("%d items updated and %d described, want %d", len(got), len(g.Described()), len(want))
	}
	for _, w := range want {
		it := g.ByName(w.Name)
		if it == nil || it != g.ByID(w.ID) || it.Descriptor().Description != w.Description || it.Version() != 2 {
			t.Errorf("%s: item %+v", w.Name, it)
			continue
		}
		l := it.Layout()
		for i, n := range w.Shape {
			if n == nil && l.Shape[i] != -1 || n != nil && l.Shape[i] != int(*n) {
				t.Errorf("%s: shape %v", w.Name, l.Shape)
			}
		}
		if l.DType != w.DType || w.Order != "" && l.Order.String() != w.Order || len(l.Shape) != len(w.Shape) || len(it.Descriptor().Format) != len(w.Format) {
			t.Errorf("%s: layout %+v", w.Name, l)
		}
		if got := jsonOf(it.Value().Any()); !reflect.DeepEqual(got, w.Value) {
			t.Errorf("%s is %v, want %v", w.Name, got, w.Value)
		}
	}

	// The second heap changes three of them, and repeats nothing else.
	var names []string
	for _, it := range update(t, &g, heaps[1].heap()) {
		names = append(names, it.Name())
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"label", "timestamp", "u16"}) {
		t.Errorf("updated are %v", names)
	}
	if ts := g.ByName("timestamp"); ts.Value().At(0) != uint64(123456789013) || ts.Version() != 3 {
		t.Errorf("timestamp is %v, version %d", ts.Value().At(0), ts.Version())
	}
	if s, ok := g.ByName("label").Value().Text(); !ok || s != "SKA-Low" {
		t.Errorf("label is %q", s)
	}
	u16 := g.ByName("u16").Value()
	if !slices.Equal(u16.Shape(), []int{5, 4}) {
		t.Errorf("u16 has the shape %v", u16.Shape())
	}
	if v, err := spead.ViewOf[uint16](u16); err != nil || v.At(v.Index(4, 3)) != 19 || v.At(v.Index(1, 0)) != 4 {
		t.Errorf("u16: %v", err)
	}
}

// TestReplacement holds spead2's rules of what a descriptor does to the items there
// are.
func TestReplacement(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	send := func(d *spead.Descriptor, value any) {
		items := []spead.OutItem{described(t, d, f)}
		if value != nil {
			items = append(items, item(t, d, value))
		}
		update(t, &g, received(t, f, items...))
	}
	check := func(what string, id uint64, name string, version uint64, value any) {
		t.Helper()
		it := g.ByID(id)
		if it == nil || it != g.ByName(name) || it.Name() != name || it.Version() != version || !reflect.DeepEqual(it.Value().Any(), value) {
			t.Errorf("%s: item %#x is %+v, value %v, want %s, version %d, value %v", what, id, it, it.Value().Any(), name, version, value)
		}
	}
	send(format(0x1000, "a", "u32"), nil)
	check("described", 0x1000, "a", 1, nil)
	send(format(0x1000, "a", "u32"), 7)
	check("the same again, with a value", 0x1000, "a", 2, uint64(7))
	send(format(0x1000, "a", "u32"), nil)
	check("the same again", 0x1000, "a", 2, uint64(7))
	send(format(0x1000, "a", "i16"), nil)
	check("another type", 0x1000, "a", 3, nil)
	send(format(0x1001, "b", "u8"), 9)
	send(format(0x1000, "b", "u8"), nil)
	check("the name of another item", 0x1000, "b", 4, nil)
	if g.Len() != 1 || g.ByID(0x1001) != nil || g.ByName("a") != nil {
		t.Errorf("replaced items are still there: %d", g.Len())
	}
	send(format(0x1002, "b", "u8"), 1)
	check("the same name under another id", 0x1002, "b", 6, uint64(1))

	// A value without a descriptor is kept, until one comes.
	update(t, &g, received(t, f, spead.OutItem{ID: 0x2000, Data: []byte("bytes of no type")}, spead.OutItem{ID: 0x2001, Immediate: true, Value: 5}))
	if it := g.ByID(0x2000); it == nil || it.Descriptor() != nil || string(it.Raw()) != "bytes of no type" || string(it.Value().At(0).([]byte)) != "bytes of no type" {
		t.Errorf("an item that nothing describes is %+v", it)
	}
	if v := g.ByID(0x2001).Value().At(0); v != uint64(5) {
		t.Errorf("an immediate item that nothing describes is %v", v)
	}
	send(format(0x2001, "late", "u8"), nil)
	check("described later", 0x2001, "late", 2, nil)
}

// TestValues reads what Encode writes, in each type and the flavours that change how
// it travels, element by element.
func TestValues(t *testing.T) {
	type pair struct {
		N uint16
		X float32
	}
	for _, tt := range []struct {
		d     *spead.Descriptor
		value any
		want  any // as Any gives it; nil: value
	}{
		{format(0x300, "u48", "u48"), uint64(1<<48 - 2), nil},
		{format(0x300, "i48", "i48"), int64(-42), nil},
		{format(0x300, "i8", "i8"), int64(-128), nil},
		{format(0x300, "u64", "u64"), uint64(math.MaxUint64), nil},
		{format(0x300, "u1", "u1", 9), []any{1, 0, 1, 1, 0, 0, 1, 0, 1}, []any{uint64(1), uint64(0), uint64(1), uint64(1), uint64(0), uint64(0), uint64(1), uint64(0), uint64(1)}},
		{format(0x300, "u12", "u12", 3), []uint16{0xabc, 0xdef, 0x123}, []any{uint64(0xabc), uint64(0xdef), uint64(0x123)}},
		{format(0x300, "i63", "i63", 2), []int64{-1 << 62, 1<<62 - 1}, []any{int64(-1 << 62), int64(1<<62 - 1)}},
		{format(0x300, "f32", "f32", 2, 1), [][]float32{{1.5}, {-2}}, []any{[]any{float32(1.5)}, []any{float32(-2)}}},
		{format(0x300, "packed float", "u4 f64 u4", 2), [][]any{{1, 2.5, 3}, {4, -0.1, 15}}, []any{[]any{uint64(1), 2.5, uint64(3)}, []any{uint64(4), -0.1, uint64(15)}}},
		{format(0x300, "bits", "b1 i7", 2), [][]any{{true, 17}, {false, -23}}, []any{[]any{true, int64(17)}, []any{false, int64(-23)}}},
		{format(0x300, "text", "c8", -1), "MeerKAT", nil},
		{format(0x300, "char", "c8"), "x", nil},
		{format(0x300, "chars", "c8", 2, 1), [][]string{{"a"}, {"b"}}, []any{[]any{"a"}, []any{"b"}}},
		{format(0x300, "variable", "u16", 2, -1), [][]int{{1, 2, 3}, {4, 5, 6}}, []any{[]any{uint64(1), uint64(2), uint64(3)}, []any{uint64(4), uint64(5), uint64(6)}}},
		{numpy(t, 0x300, "big", ">i4", spead.OrderC, 2), []int32{-5, 6}, []any{int64(-5), int64(6)}},
		{numpy(t, 0x300, "little", "<u2", spead.OrderC), uint64(0x1234), nil},
		{numpy(t, 0x300, "fortran", "<i4", spead.OrderF, 2, 3), [][]int{{0, 1, 2}, {3, 4, 5}}, []any{[]any{int64(0), int64(1), int64(2)}, []any{int64(3), int64(4), int64(5)}}},
		{numpy(t, 0x300, "half", ">f2", spead.OrderC, 6), []float64{1, -0.5, 65504, 6e-8, 0.1, math.Inf(-1)},
			[]any{float32(1), float32(-0.5), float32(65504), float32(5.9604645e-08), float32(0.099975586), float32(math.Inf(-1))}},
		{numpy(t, 0x300, "c8", ">c8", spead.OrderC, 2), []complex64{1 + 2i, -3i}, []any{complex64(1 + 2i), complex64(-3i)}},
		{numpy(t, 0x300, "c16", "<c16", spead.OrderC), complex(1.25, -1e300), nil},
		{numpy(t, 0x300, "bool", "?", spead.OrderC, 3), []bool{true, false, true}, []any{true, false, true}},
		{numpy(t, 0x300, "S", "|S5", spead.OrderC, 2), []string{"ab", "abcde"}, []any{"ab", "abcde"}},
		{numpy(t, 0x300, "one S", "S3", spead.OrderC), "abc", nil},
		{numpy(t, 0x300, "U", "<U3", spead.OrderC, 2), []string{"µs", "😀"}, []any{"µs", "😀"}},
		{numpy(t, 0x300, "U big", ">U3", spead.OrderC), "xyz", nil},
		{numpy(t, 0x300, "V", "V3", spead.OrderC), []byte{1, 2, 3}, nil},
		{numpy(t, 0x300, "time", "<M8[ns]", spead.OrderC), int64(1700000000e9), nil},
		{numpy(t, 0x300, "record", "[('n', '<u2'), ('x', '>f4')]", spead.OrderC, 2), []pair{{1, 2.5}, {3, -4.5}}, []any{[]any{uint64(1), float32(2.5)}, []any{uint64(3), float32(-4.5)}}},
		{numpy(t, 0x300, "nested", "[('a', '<i2', (2, 2)), ('b', [('c', 'S2'), ('d', '|i1')])]", spead.OrderC),
			[]any{[][]int{{1, 2}, {3, 4}}, []any{"z", -1}}, []any{[]any{[]any{int64(1), int64(2)}, []any{int64(3), int64(4)}}, []any{"z", int64(-1)}}},
		{numpy(t, 0x300, "none", "<f4", spead.OrderC, 0), []float32{}, []any{}},
	} {
		if tt.want == nil {
			tt.want = tt.value
		}
		for _, f := range []spead.Flavour{24, 40, 48, 32} {
			t.Run(fmt.Sprintf("%s in %v", tt.d.Name, f), func(t *testing.T) {
				d := *tt.d
				d.ID = min(d.ID, f.MaxID())
				var g spead.ItemGroup
				update(t, &g, received(t, f, described(t, &d, f), item(t, &d, tt.value), spead.OutItem{ID: 0x20, Data: []byte("behind")}))
				it := g.ByName(tt.d.Name)
				if got := it.Value().Any(); !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%v is received as %#v, want %#v", tt.value, got, tt.want)
				}
			})
		}
	}
}

// TestMalformed gives each error an item, a field and a reason, and leaves the other
// items alone.
func TestMalformed(t *testing.T) {
	const f = spead.Flavour48
	raw := func(d spead.Descriptor) spead.OutItem { return described(t, &d, f) }
	dtype := func(s string) spead.OutItem { return raw(spead.Descriptor{ID: 0x1000, Name: "x", DType: s}) }
	shape := func(fields string, dims ...int64) spead.OutItem {
		return described(t, format(0x1000, "x", fields, dims...), f)
	}
	for _, tt := range []struct {
		items []spead.OutItem
		want  string
	}{
		{[]spead.OutItem{{ID: spead.IDDescriptor, Data: []byte("no packet at all")}}, "descriptor at offset 0 of the heap: it is no SPEAD packet (bad_magic)"},
		{[]spead.OutItem{dtype("{'descr': '<f4'")}, "item 0x1000 (x): descriptor: dtype: at byte 15"},
		{[]spead.OutItem{dtype("['<f4']")}, "dtype: it is a list, not a dict"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': ()}")}, "dtype: it has no key fortran_order"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': (), 'fortran_order': False, 'x': 1}")}, "its key 'x' is none of"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': [1], 'fortran_order': False}")}, "its shape is a list, not a tuple"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': (-1,), 'fortran_order': False}")}, "its shape has -1 as a dimension"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': (None,), 'fortran_order': False}")}, "its shape has None as a dimension"},
		{[]spead.OutItem{dtype("{'descr': '<f4', 'shape': (), 'fortran_order': 1}")}, "its fortran_order is an integer, not a bool"},
		{[]spead.OutItem{dtype("{'descr': '|O', 'shape': (), 'fortran_order': False}")}, "objects of Python's cannot be received"},
		{[]spead.OutItem{dtype("{'descr': '<f3', 'shape': (), 'fortran_order': False}")}, `float of 3 bytes is not supported`},
		{[]spead.OutItem{dtype("{'descr': 'spam', 'shape': (), 'fortran_order': False}")}, `"spam" is no type of numpy's`},
		{[]spead.OutItem{dtype("{'descr': '|S0', 'shape': (), 'fortran_order': False}")}, "an element has no bits"},
		{[]spead.OutItem{dtype("{'descr': [], 'shape': (), 'fortran_order': False}")}, "an element has no bits"},
		{[]spead.OutItem{dtype("{'descr': [('a', 'i1'), ('a', 'i2')], 'shape': (), 'fortran_order': False}")}, `two fields have the name "a"`},
		{[]spead.OutItem{dtype("{'descr': [('a', 'i8', (1000000, 1000000, 1000000))], 'shape': (), 'fortran_order': False}")}, "makes an element larger than"},
		{[]spead.OutItem{dtype("{'descr': 'i1', 'shape': (1099511627776, 1099511627776), 'fortran_order': False}")}, "more elements than a heap can hold"},
		{[]spead.OutItem{dtype("{'descr': 'i1', 'shape': (" + strings.Repeat("1,", 65) + "), 'fortran_order': False}")}, "65 dimensions (64 at most)"},
		{[]spead.OutItem{dtype(strings.Repeat(" ", 60000) + "'")}, "dtype: at byte 60001"},
		{[]spead.OutItem{shape("")}, "format: it is empty"},
		{[]spead.OutItem{shape("u0")}, "field 0 has no bits"},
		{[]spead.OutItem{shape("u8 u65")}, "field 1 has 65 bits (64 at most)"},
		{[]spead.OutItem{shape("f16")}, "a float of 16 bits"},
		{[]spead.OutItem{shape("c16")}, "a character of 16 bits"},
		{[]spead.OutItem{shape("x8")}, `has the type 'x'`},
		{[]spead.OutItem{shape("u8", -1, -1)}, "more than one variable dimension"},
		{[]spead.OutItem{raw(spead.Descriptor{ID: 0x1000, Name: "\xff", Format: []spead.FormatField{{Type: 'u', Bits: 8}}})}, "name: \"\\xff\" is neither"},
		{[]spead.OutItem{raw(spead.Descriptor{ID: 0x1000, Description: strings.Repeat("y", 1<<16)})}, "bytes long (65536 at most)"},
		{[]spead.OutItem{shape("u32", 3), {ID: 0x1000, Data: make([]byte, 11)}}, "item 0x1000 (x): value: 11 bytes are 2 elements of >u4, and the shape [3] needs 3"},
		{[]spead.OutItem{shape("u32", 1<<40), {ID: 0x1000, Data: make([]byte, 11)}}, "the shape [1099511627776] needs 1099511627776"},
		{[]spead.OutItem{shape("c8", -1), {ID: 0x1000, Data: []byte("caf\xe9")}}, "value: byte 3 of the text is 0xe9, which is not ASCII"},
		{[]spead.OutItem{dtype("{'descr': '<U1', 'shape': (2,), 'fortran_order': False}"), {ID: 0x1000, Data: []byte{65, 0, 0, 0, 0, 0, 0, 1}}}, "element 1: character 0 is 0x1000000"},
	} {
		var g spead.ItemGroup
		other := format(0x1001, "other", "u8")
		items, err := g.Update(received(t, f, append(tt.items, described(t, other, f), item(t, other, 5))...))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one with %q", err, tt.want)
			continue
		}
		var ie *spead.ItemError
		if !errors.As(err, &ie) || ie.Field == "" || ie.Err == nil {
			t.Errorf("%v is no ItemError", err)
		}
		if it := g.ByName("other"); len(items) != 1 || items[0] != it || it.Value().At(0) != uint64(5) {
			t.Errorf("with %q the other item is lost", tt.want)
		}
		if it := g.ByName("x"); it != nil && it.HasValue() {
			t.Errorf("with %q the item has the value %v", tt.want, it.Value().Any())
		}
	}
}

// TestKeptValues: a value of an item that nothing describes stays what it was when
// another comes, as long as its heap is not released.
func TestKeptValues(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	h := received(t, f, spead.OutItem{ID: 0x2000, Data: []byte("ten bytes.")})
	update(t, &g, h)
	kept := g.ByID(0x2000).Value()
	for _, data := range []string{"far more than just ten bytes", "five."} {
		update(t, &g, received(t, f, spead.OutItem{ID: 0x2000, Data: []byte(data)}))
		if got := string(kept.At(0).([]byte)); got != "ten bytes." {
			t.Errorf("the value has become %q", got)
		}
	}
}

// TestVersionsRise: also over a descriptor that makes no sense.
func TestVersionsRise(t *testing.T) {
	const f = spead.Flavour48
	good, bad := format(0x1000, "x", "u8"), format(0x1000, "x", "u65")
	var g spead.ItemGroup
	last := uint64(0)
	for _, items := range [][]spead.OutItem{
		{described(t, good, f), item(t, good, 1)}, {item(t, good, 2)}, {described(t, bad, f)}, {item(t, good, 3)}, {described(t, good, f)},
	} {
		_, _ = g.Update(received(t, f, items...))
		if v := g.ByID(0x1000).Version(); v <= last {
			t.Errorf("version %d after %d", v, last)
		} else {
			last = v
		}
	}
}

// TestPaddedDescriptors: what a repeated descriptor is padded with counts.
func TestPaddedDescriptors(t *testing.T) {
	const f = spead.Flavour40
	g := spead.ItemGroup{MaxItems: 10}
	d := format(0x1000, "x", "u8")
	plain := described(t, d, f)
	update(t, &g, received(t, f, plain))
	plain.Data = append(append([]byte(nil), plain.Data...), make([]byte, 60_000)...)
	update(t, &g, received(t, f, plain))
	// There is still room for another one.
	update(t, &g, received(t, f, described(t, format(0x1001, "y", "u8"), f)))
	if g.Len() != 2 {
		t.Errorf("%d items", g.Len())
	}
}

func TestEncodeTooLarge(t *testing.T) {
	for _, tt := range []struct {
		dtype string
		value any
	}{{"<f4", 1e300}, {"<f2", 70000.0}, {"<c8", complex(0, 1e300)}, {"i1", 128}, {"u1", -1}} {
		if out, err := numpy(t, 0x1000, "x", tt.dtype, spead.OrderC).Encode(tt.value); err == nil {
			t.Errorf("%v as %s is %x", tt.value, tt.dtype, out.Data)
		}
	}
	if _, err := numpy(t, 0x1000, "x", "<f4", spead.OrderC).Encode(math.Inf(1)); err != nil {
		t.Errorf("infinity: %v", err)
	}
}

// TestBounds fills a group with items that nobody asked for.
func TestBounds(t *testing.T) {
	const f = spead.Flavour40
	g := spead.ItemGroup{MaxItems: 10}
	var items []spead.OutItem
	for i := range uint64(40) {
		items = append(items, described(t, format(0x1000+i, fmt.Sprint(i), "u8"), f), spead.OutItem{ID: 0x2000 + i, Data: []byte{1}})
	}
	_, err := g.Update(received(t, f, items...))
	if g.Len() != 10 || err == nil || !strings.Contains(err.Error(), "there are 10 items already (MaxItems)") || !strings.Contains(err.Error(), "and 54 errors more") {
		t.Errorf("%d items, error %v", g.Len(), err)
	}
	g = spead.ItemGroup{MaxItems: 10}
	var big []spead.OutItem
	for i := range uint64(4) {
		d := format(0x1000+i, fmt.Sprint(i), "u8")
		d.Description = strings.Repeat("x", 3000)
		big = append(big, described(t, d, f))
	}
	if _, err := g.Update(received(t, f, big...)); g.Len() != 3 || err == nil || !strings.Contains(err.Error(), "bytes of descriptors already") {
		t.Errorf("%d items, error %v", g.Len(), err)
	}
}

// TestHold follows heaps that are held through the updates that let them go.
func TestHold(t *testing.T) {
	const f = spead.Flavour48
	a, b := format(0x1000, "a", "u8", -1), format(0x1001, "b", "u8", -1)
	big := make([]byte, 100)
	g := spead.ItemGroup{Hold: 2, CopyBelow: 10}
	h1 := received(t, f, described(t, a, f), described(t, b, f), item(t, a, big), item(t, b, big))
	h2 := received(t, f, item(t, a, big))
	h3 := received(t, f, item(t, b, []byte{1, 2, 3}))
	h4 := received(t, f, item(t, a, []byte{4}))
	want := func(n ...int) {
		t.Helper()
		if got := []int{h1.released, h2.released, h3.released, h4.released}; !slices.Equal(got, n) {
			t.Errorf("released: %v, want %v", got, n)
		}
	}
	update(t, &g, h1)
	want(0, 0, 0, 0)
	update(t, &g, h2) // a of h1 is replaced, b is not
	want(0, 0, 0, 0)
	update(t, &g, h3) // b is copied, so h1 and h3 have nothing left
	want(1, 0, 1, 0)
	if v := g.ByName("b").Value().Any(); !reflect.DeepEqual(v, []any{uint64(1), uint64(2), uint64(3)}) {
		t.Errorf("a copied value is %v", v)
	}
	if g.ByName("a").Value().Len() != 100 {
		t.Error("a held value is gone")
	}
	update(t, &g, h4)
	want(1, 1, 1, 1)
	h5 := received(t, f, item(t, a, big))
	update(t, &g, h5)
	g.Release()
	g.Release()
	if h5.released != 1 || g.ByName("a").HasValue() || g.Len() != 2 {
		t.Errorf("after Release: %d times, %v", h5.released, g.ByName("a"))
	}
	// Of a heap that a wrong value is in, nothing is held.
	h6 := received(t, f, described(t, format(0x1000, "a", "u32", 400), f), spead.OutItem{ID: 0x1000, Data: big})
	if _, err := g.Update(h6); err == nil || h6.released != 1 {
		t.Errorf("error %v, released %d times", err, h6.released)
	}
}

// TestHoldIsBounded: items that come once and never again do not keep heaps.
func TestHoldIsBounded(t *testing.T) {
	g := spead.ItemGroup{Hold: 3}
	var heaps []*memHeap
	for i := range uint64(100) {
		h := received(t, spead.Flavour48, spead.OutItem{ID: 0x1000 + i, Data: make([]byte, 50)})
		heaps = append(heaps, h)
		update(t, &g, h)
	}
	held := 0
	for i, h := range heaps {
		if h.released == 0 {
			held++
		}
		if it := g.ByID(0x1000 + uint64(i)); it.HasValue() != (h.released == 0) || h.released > 1 {
			t.Errorf("heap %d was released %d times, and its value is there: %v", i, h.released, it.HasValue())
		}
	}
	if held != 3 || heaps[99].released != 0 {
		t.Errorf("%d heaps are held", held)
	}
	g.Release()
	if heaps[99].released != 1 {
		t.Error("the last heap is held after Release")
	}
}

// TestUseAfterRelease must be noticed.
func TestUseAfterRelease(t *testing.T) {
	const f = spead.Flavour48
	a, b := format(0x1000, "a", "u8", -1), format(0x1001, "b", "u8")
	var g spead.ItemGroup
	h := received(t, f, described(t, a, f), described(t, b, f), item(t, a, make([]byte, 100)), item(t, b, 3))
	update(t, &g, h)
	h.Release()
	if v := g.ByName("b").Value().At(0); v != uint64(3) {
		t.Errorf("an immediate value is %v", v)
	}
	for name, use := range map[string]func(){
		"Value": func() { g.ByName("a").Value() },
		"Raw":   func() { g.ByName("a").Raw() },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "item 0x1000 (a): the heap of its value has been released") {
					t.Errorf("%s after Release: %v", name, r)
				}
			}()
			use()
		}()
	}
}

// TestMissingItems leaves what did not come as a whole as it was.
func TestMissingItems(t *testing.T) {
	const f = spead.Flavour48
	a, b := format(0x1000, "a", "u8", -1), format(0x1001, "b", "u8", -1)
	var g spead.ItemGroup
	update(t, &g, received(t, f, described(t, a, f), described(t, b, f), item(t, a, []byte{1}), item(t, b, []byte{1})))
	h := received(t, f, described(t, format(0x1001, "b", "u16"), f), item(t, a, []byte{2, 2}), item(t, b, []byte{3, 3}))
	for i := range h.items {
		h.items[i].Missing = h.items[i].ID != 0x1000
	}
	if got := update(t, &g, h); len(got) != 1 || got[0].ID() != 0x1000 {
		t.Errorf("updated are %v", got)
	}
	if g.ByName("b").Value().Len() != 1 || g.ByName("a").Value().Len() != 2 {
		t.Error("a missing item was taken, or one that came was not")
	}
}
