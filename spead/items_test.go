// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"sort"
	"testing"

	"github.com/speadx/speadx/spead"
)

func TestAppendItems(t *testing.T) {
	const f = spead.Flavour48
	addressed := func(id uint64, offset, length int64) spead.RawItem {
		return spead.RawItem{ID: id, Offset: offset, Length: length}
	}
	immediate := func(id, value uint64) spead.RawItem {
		return spead.RawItem{ID: id, Immediate: true, Value: value}
	}
	for _, tt := range []struct {
		name string
		in   []spead.Pointer
		end  int64
		want []spead.RawItem
	}{
		{"none", nil, 10, nil},
		{"one to the end", []spead.Pointer{f.Addressed(9, 0)}, 10, []spead.RawItem{addressed(9, 0, 10)}},
		{"payload before the first", []spead.Pointer{f.Addressed(9, 4)}, 10, []spead.RawItem{addressed(9, 4, 6)}},
		{"sorted by offset",
			[]spead.Pointer{f.Addressed(9, 6), f.Addressed(8, 2), f.Addressed(7, 0)}, 10,
			[]spead.RawItem{addressed(7, 0, 2), addressed(8, 2, 4), addressed(9, 6, 4)}},
		{"immediates after, by value",
			[]spead.Pointer{f.Immediate(5, 9), f.Addressed(9, 6), f.Immediate(6, 2), f.Addressed(8, 0)}, 10,
			[]spead.RawItem{addressed(8, 0, 6), addressed(9, 6, 4), immediate(6, 2), immediate(5, 9)}},
		{"equal keys keep their order",
			[]spead.Pointer{f.Immediate(9, 1), f.Immediate(7, 1), f.Immediate(8, 1)}, 0,
			[]spead.RawItem{immediate(9, 1), immediate(7, 1), immediate(8, 1)}},
		{"same offset: the earlier is empty",
			[]spead.Pointer{f.Addressed(9, 3), f.Addressed(8, 3)}, 10,
			[]spead.RawItem{addressed(8, 3, 7)}},
		{"a NULL ends the item before it",
			[]spead.Pointer{f.Addressed(9, 0), f.Addressed(spead.IDNull, 7)}, 8,
			[]spead.RawItem{addressed(9, 0, 7)}},
		{"an immediate NULL is nothing",
			[]spead.Pointer{f.Addressed(9, 0), f.Immediate(spead.IDNull, 7)}, 8,
			[]spead.RawItem{addressed(9, 0, 8)}},
		{"items 1 to 4 end nothing",
			[]spead.Pointer{f.Addressed(9, 0), f.Addressed(1, 2), f.Addressed(4, 3), f.Immediate(2, 8)}, 8,
			[]spead.RawItem{addressed(9, 0, 8)}},
		{"at the end is empty", []spead.Pointer{f.Addressed(9, 0), f.Addressed(8, 10)}, 10, []spead.RawItem{addressed(9, 0, 10)}},
		{"beyond the end",
			[]spead.Pointer{f.Addressed(9, 5), f.Addressed(8, 11), f.Addressed(7, 12)}, 10,
			[]spead.RawItem{addressed(9, 5, 5)}},
		{"descriptors and stream control are items",
			[]spead.Pointer{f.Addressed(spead.IDDescriptor, 0), f.Addressed(spead.IDDescriptor, 4), f.Immediate(spead.IDStreamCtrl, 2)}, 10,
			[]spead.RawItem{addressed(5, 0, 4), addressed(5, 4, 6), immediate(6, 2)}},
		{"largest id and value",
			[]spead.Pointer{f.Immediate(f.MaxID(), f.MaxValue()), f.Addressed(f.MaxID(), 0)}, 1,
			[]spead.RawItem{addressed(f.MaxID(), 0, 1), immediate(f.MaxID(), f.MaxValue())}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := bare(t, spead.AppendItems(nil, f, slices.Clone(tt.in), ramp(tt.end)))
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("AppendItems = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// ramp is a payload of n bytes that tell their place.
func ramp(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// bare checks that the items of a ramp have the data that their places say, and
// takes it out.
func bare(t *testing.T, items []spead.RawItem) []spead.RawItem {
	t.Helper()
	for i := range items {
		it := &items[i]
		if int64(len(it.Data)) != it.Length || it.Length > 0 && (it.Data[0] != byte(it.Offset) || it.Data[it.Length-1] != byte(it.Offset+it.Length-1)) {
			t.Errorf("item %+v has other data than its place says", *it)
		}
		it.Data = nil
	}
	return items
}

// TestAppendItemsOrder compares with a plain stable sort over many pointers.
func TestAppendItemsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range allFlavours() {
		ptrs := make([]spead.Pointer, 500)
		for i := range ptrs {
			ptrs[i] = spead.Pointer(rng.Uint64() & (1<<63 | f.MaxID()<<f | 0x3f))
		}
		type keyed struct {
			p  spead.Pointer
			at int
		}
		var want []keyed
		for i, p := range ptrs {
			if id := f.ID(p); id == 0 || id > 4 {
				want = append(want, keyed{p, i})
			}
		}
		sort.Slice(want, func(i, j int) bool {
			a, b := want[i], want[j]
			if a.p.IsImmediate() != b.p.IsImmediate() {
				return b.p.IsImmediate()
			}
			if f.Value(a.p) != f.Value(b.p) {
				return f.Value(a.p) < f.Value(b.p)
			}
			return a.at < b.at
		})
		const end = 0x40
		var items []spead.RawItem
		for i, k := range want {
			it := spead.RawItem{ID: f.ID(k.p), Immediate: k.p.IsImmediate()}
			if it.Immediate {
				it.Value = f.Value(k.p)
			} else {
				it.Offset = int64(f.Value(k.p))
				it.Length = end - it.Offset
				if i+1 < len(want) && !want[i+1].p.IsImmediate() {
					it.Length = int64(f.Value(want[i+1].p)) - it.Offset
				}
			}
			if it.ID != 0 && (it.Immediate || it.Length > 0) {
				items = append(items, it)
			}
		}
		got := make([]spead.RawItem, 0, len(ptrs))
		if got = bare(t, spead.AppendItems(got, f, ptrs, ramp(end))); !reflect.DeepEqual(got, items) {
			t.Errorf("%v: items differ: %v, want %v", f, got, items)
		}
	}
}

func TestAppendItemsAllocatesNothing(t *testing.T) {
	const f = spead.Flavour48
	in := make([]spead.Pointer, 300)
	for i := range in {
		in[i] = f.Addressed(uint64(i)+5, uint64(i*7919%300))
	}
	ptrs := make([]spead.Pointer, len(in))
	items, payload := make([]spead.RawItem, 0, len(in)), ramp(301)
	if n := testing.AllocsPerRun(20, func() {
		copy(ptrs, in)
		items = spead.AppendItems(items[:0], f, ptrs, payload)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(items) != len(in) {
		t.Errorf("%d items, want %d", len(items), len(in))
	}
}
