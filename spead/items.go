// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"cmp"
	"slices"
)

// RawItem is one item of a finished heap as it came: an immediate value, or a
// range of the heap's payload. An [ItemGroup] makes values of them.
type RawItem struct {
	ID        uint64
	Immediate bool
	// Missing says that bytes of the item did not come, or may not have: where
	// the heap is incomplete, and where a lost packet can have held the pointer
	// that ends the item.
	Missing bool
	Value   uint64 // of an immediate item
	Offset  int64  // of an addressed item, in the heap's payload
	Length  int64  // of an addressed item, in bytes; never 0

	// Data is the addressed item's part of the payload. It is a view, valid as
	// long as the heap is. In an incomplete heap the bytes that did not come are
	// zero.
	Data []byte
}

// AppendItems appends to dst the items that the pointers ptrs of one heap stand for,
// and returns the extended slice. ptrs are those of all its packets, none of them
// twice, in the order of the packets' places in the heap. They are sorted in place,
// and some may be lost.
//
// The addressed items come first, by offset, then the immediate ones, by value.
// Items that compare equal keep their order. An addressed item reaches to the next
// addressed pointer, the last to the end of the payload. NULLs, the items 1 to 4, and
// items that are empty or lie beyond the end are left out. This is spead2's rule, so
// both receivers give the same items in the same order.
//
// Nothing is allocated if dst has room for len(ptrs) items.
func AppendItems(dst []RawItem, f Flavour, ptrs []Pointer, payload []byte) []RawItem {
	ptrs = slices.DeleteFunc(ptrs, func(p Pointer) bool {
		id := f.ID(p)
		return id >= IDHeapCnt && id <= IDPayloadLength
	})
	keyBits := immediateBit | Pointer(f.MaxValue())
	slices.SortStableFunc(ptrs, func(a, b Pointer) int {
		return cmp.Compare(a&keyBits, b&keyBits)
	})
	end := int64(len(payload))
	for i, p := range ptrs {
		id := f.ID(p)
		switch {
		case id == IDNull:
		case p.IsImmediate():
			dst = append(dst, RawItem{ID: id, Immediate: true, Value: f.Value(p)})
		default:
			offset, next := int64(f.Value(p)), end
			if i+1 < len(ptrs) && !ptrs[i+1].IsImmediate() {
				next = min(end, int64(f.Value(ptrs[i+1])))
			}
			if next > offset {
				dst = append(dst, RawItem{ID: id, Offset: offset, Length: next - offset, Data: payload[offset:next:next]})
			}
		}
	}
	return dst
}
