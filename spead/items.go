package spead

import (
	"cmp"
	"slices"
)

// Item is one item of a finished heap: an immediate value, or a range of the
// heap's payload.
type Item struct {
	ID        uint64
	Immediate bool
	Value     uint64 // of an immediate item
	Offset    int64  // of an addressed item, in the heap's payload
	Length    int64  // of an addressed item, in bytes; never 0
}

// AppendItems appends to dst the items that the pointers ptrs of one heap
// stand for, and returns the extended slice. ptrs are those of all its
// packets in the order of arrival, none of them twice, and end is the length
// of the heap's payload; ptrs are sorted in place and some may be lost.
//
// The addressed items come first, by offset, then the immediate ones, by
// value; those that compare equal keep their order. An addressed item reaches
// to the next addressed pointer, the last to end. Left out are NULLs, the items
// 1 to 4, and items that are empty or lie beyond end. This is spead2's rule, so
// both receivers give the same items in the same order.
//
// Nothing is allocated if dst has room for len(ptrs) items.
func AppendItems(dst []Item, f Flavour, ptrs []Pointer, end int64) []Item {
	ptrs = slices.DeleteFunc(ptrs, func(p Pointer) bool {
		id := f.ID(p)
		return id >= IDHeapCnt && id <= IDPayloadLength
	})
	keyBits := immediateBit | Pointer(f.MaxValue())
	slices.SortStableFunc(ptrs, func(a, b Pointer) int {
		return cmp.Compare(a&keyBits, b&keyBits)
	})
	for i, p := range ptrs {
		id := f.ID(p)
		switch {
		case id == IDNull:
		case p.IsImmediate():
			dst = append(dst, Item{ID: id, Immediate: true, Value: f.Value(p)})
		default:
			offset, next := int64(f.Value(p)), end
			if i+1 < len(ptrs) && !ptrs[i+1].IsImmediate() {
				next = min(end, int64(f.Value(ptrs[i+1])))
			}
			if next > offset {
				dst = append(dst, Item{ID: id, Offset: offset, Length: next - offset})
			}
		}
	}
	return dst
}
