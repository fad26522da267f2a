// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"encoding/binary"
	"reflect"
	"runtime"
	"testing"

	"github.com/speadx/speadx/spead"
)

// allocated runs f and says how many bytes it allocated.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDescriptor reads descriptors of any bytes. Nothing may panic or take memory out
// of proportion, and what can be read can be sent and read again.
func FuzzDescriptor(f *testing.F) {
	for _, h := range reassemble(f, readCapture(f, "descriptors")) {
		for _, it := range h.heap().items {
			if it.ID == spead.IDDescriptor {
				f.Add(it.Data, uint8(0))
			}
		}
	}
	d := spead.Descriptor{ID: 9, Name: "x", Format: []spead.FormatField{{Type: 'u', Bits: 12}}, Shape: []int64{-1, 3}}
	for _, flavour := range []spead.Flavour{8, 40, 56} {
		item, err := d.Item(flavour, spead.CompatPySPEAD)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(item.Data, uint8(spead.CompatPySPEAD))
	}
	f.Fuzz(func(t *testing.T, data []byte, bits uint8) {
		c := spead.Compat(bits) & spead.CompatPySPEAD
		var d *spead.Descriptor
		var err error
		if n := allocated(func() {
			if d, err = spead.ParseDescriptor(data, c); err == nil {
				_, _ = d.Layout()
			}
		}); n > uint64(1<<16+200*len(data)) {
			t.Errorf("%d bytes allocated for %d", n, len(data))
		}
		if err != nil {
			return
		}
		l, err := d.Layout()
		if err != nil {
			return
		}
		const flavour = spead.Flavour40
		if d.ID > flavour.MaxID() {
			return
		}
		item, err := d.Item(flavour, c)
		if err != nil {
			return // a size that does not fit into this flavour
		}
		again, err := spead.ParseDescriptor(item.Data, c)
		if err != nil {
			t.Fatalf("%+v cannot be read again: %v", d, err)
		}
		// The dtype may be written in another way, with the same meaning.
		l2, err := again.Layout()
		l2.DType = l.DType
		if err != nil || !reflect.DeepEqual(l, l2) || again.Name != d.Name || again.Description != d.Description {
			t.Fatalf("%+v with layout %+v is read again as %+v with %+v, %v", d, l, again, l2, err)
		}
	})
}

// FuzzDType reads types of numpy's. What can be read is written as numpy would, and
// that is read as the same type.
func FuzzDType(f *testing.F) {
	for _, s := range []string{"<f4", ">c16", "|S5", "<U3", "|V7", "?", "int16", "<M8[ns]", "d", "=u8",
		"[('n', '<u2'), ('x', '<f4', (2, 3))]", "[(('title', 'a'), [('b', 'S2')]), ('', '|V4')]", "[('a', 'i1', 3)]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var typ spead.Type
		var err error
		if n := allocated(func() { typ, err = spead.ParseDType(s) }); n > uint64(1<<16+200*len(s)) {
			t.Errorf("%d bytes allocated for %d", n, len(s))
		}
		if err != nil {
			return
		}
		if typ.Bits <= 0 || typ.Bits%8 != 0 {
			t.Fatalf("%q has %d bits", s, typ.Bits)
		}
		again, err := spead.ParseDType(typ.String())
		if err != nil || !reflect.DeepEqual(typ, again) {
			t.Fatalf("%q is %+v, written %q, and that is %+v, %v", s, typ, typ.String(), again, err)
		}
	})
}

// FuzzItemGroup updates a group with heaps of any pointers and bytes, and reads all
// that came of it.
func FuzzItemGroup(f *testing.F) {
	for _, h := range reassemble(f, readCapture(f, "descriptors")) {
		var ptrs []byte
		for _, p := range h.ptrs {
			ptrs = binary.BigEndian.AppendUint64(ptrs, uint64(p))
		}
		f.Add(ptrs, h.payload, uint8(6), uint8(0))
	}
	f.Fuzz(func(t *testing.T, pointers, payload []byte, flavour, bits uint8) {
		fl := spead.Flavour(flavour%7+1) * 8
		var ptrs []spead.Pointer
		for ; len(pointers) >= 8; pointers = pointers[8:] {
			ptrs = append(ptrs, spead.Pointer(binary.BigEndian.Uint64(pointers)))
		}
		h := &memHeap{flavour: fl, items: spead.AppendItems(nil, fl, ptrs, payload)}
		g := spead.ItemGroup{Compat: spead.Compat(bits) & spead.CompatPySPEAD, Hold: int(bits >> 3 & 1), MaxItems: 100}
		var first, second []*spead.Item
		if n := allocated(func() { first, _ = g.Update(h) }); n > uint64(1<<18+400*len(payload)+3000*len(ptrs)) {
			t.Errorf("%d bytes allocated for %d pointers and %d bytes", n, len(ptrs), len(payload))
		}
		n := len(first)
		if second, _ = g.Update(h); len(second) != n && g.Hold == 0 {
			// The same heap again gives the same, unless its descriptors replace
			// each other in turn.
			names := map[string]bool{}
			for _, it := range g.Described() {
				names[it.Name()] = true
			}
			if len(names) == len(g.Described()) && len(g.Described()) == countDescriptors(h) {
				t.Errorf("%d items updated, and the second time %d", n, len(second))
			}
		}
		for it := range g.All() {
			if !it.HasValue() || g.Hold > 0 && h.released > 0 {
				continue
			}
			v := it.Value()
			if v.Len()*max(v.Type().Bits, 1) > 8*len(it.Raw())+7 {
				t.Fatalf("%d elements of %d bits in %d bytes", v.Len(), v.Type().Bits, len(it.Raw()))
			}
			v.Any()
			if v.Len() > 0 {
				v.At(v.Len() - 1)
			}
			if f, err := spead.Unpack[float64](nil, v); err == nil && len(f) != v.Len() {
				t.Fatalf("%d elements are unpacked as %d", v.Len(), len(f))
			}
			readAll(v, 0)
		}
		g.Release()
	})
}

// readAll reads a value in every way there is, and the fields of structs.
func readAll(v spead.Value, depth int) {
	v.Text()
	readView[uint8](v)
	readView[uint16](v)
	readView[float32](v)
	readView[int64](v)
	readView[complex128](v)
	if t := v.Type(); t.Kind == spead.KindStruct && depth < 3 {
		for i := range t.Fields[:min(len(t.Fields), 10)] {
			if f, err := v.Field(t.Fields[i].Name); err == nil {
				readAll(f, depth+1)
			}
		}
	}
}

func readView[T spead.Number](v spead.Value) {
	view, err := spead.ViewOf[T](v)
	if err != nil {
		return
	}
	if n := view.Len(); n > 0 {
		view.At(n - 1)
	}
	view.CopyTo(make([]T, view.Len()))
	view.Slice()
}

func countDescriptors(h *memHeap) int {
	n := 0
	for _, it := range h.items {
		if it.ID == spead.IDDescriptor && !it.Immediate {
			n++
		}
	}
	return n
}
