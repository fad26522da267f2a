// SPDX-License-Identifier: Apache-2.0

package pattern

import "fmt"

// FirstID is the lowest id of an item that holds pattern: spead2_send numbers
// its items from here.
const FirstID = 0x1000

// Position is where in the pattern an item begins: the one with that index,
// from 0, of the items of itemSize bytes each of the heap with that count.
func Position(cnt uint64, items, item int, itemSize int64) uint64 {
	// No product overflows, for everything is taken modulo the period.
	before := (cnt + periodWords - 1) % periodWords * (uint64(items) % periodWords) % periodWords
	before = (before + uint64(item)) % periodWords
	return before * (uint64(itemSize) / wordSize % periodWords) % periodWords * wordSize
}

// MismatchError says where a heap does not hold the pattern it should.
type MismatchError struct {
	Cnt    uint64
	Item   int // index among the items of the pattern
	Offset int // in the item, in bytes; -1 if its length is wrong
	Length int // of the item
	Got    byte
	Want   byte
}

func (e *MismatchError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("heap %d: item %#x has %d bytes, not as many whole 32-bit words as the first",
			e.Cnt, FirstID+e.Item, e.Length)
	}
	return fmt.Sprintf("heap %d: item %#x differs from the pattern at offset %d: got %#02x, want %#02x",
		e.Cnt, FirstID+e.Item, e.Offset, e.Got, e.Want)
}

// CheckHeap compares the items of one heap, those with ids from [FirstID] on
// in the order of their offsets, with the pattern. The error is a
// *MismatchError. Without one nothing is allocated.
func CheckHeap(cnt uint64, items [][]byte) error {
	for i, data := range items {
		if len(data)%wordSize != 0 || len(data) != len(items[0]) {
			return &MismatchError{Cnt: cnt, Item: i, Offset: -1, Length: len(data)}
		}
		position := Position(cnt, len(items), i, int64(len(data)))
		if at := Check(data, position); at >= 0 {
			var want [1]byte
			Fill(want[:], position+uint64(at))
			return &MismatchError{Cnt: cnt, Item: i, Offset: at, Length: len(data), Got: data[at], Want: want[0]}
		}
	}
	return nil
}
