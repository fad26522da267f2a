// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"sync/atomic"
	"unsafe"

	"github.com/speadx/speadx/spead"
)

// cacheLine is where each table begins.
const cacheLine = 64

// tableMemory is memory that tables are made in, one behind the other. Without mem it only
// finds out how much they need. A nil *tableMemory makes them in Go memory.
type tableMemory struct {
	mem  []byte // beginning on a cache line
	used int
}

// newTable makes a table of n elements, all zero. T must have no pointers to Go memory: the
// garbage collector does not see them. The table is valid as long as the memory is.
func newTable[T any](m *tableMemory, n int) []T {
	if m == nil {
		return make([]T, n)
	}
	var t T
	at := (m.used + cacheLine - 1) &^ (cacheLine - 1)
	m.used = at + n*int(unsafe.Sizeof(t))
	if m.mem == nil || n == 0 {
		return nil
	}
	b := m.mem[at:m.used]
	clear(b)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

const loggedBytes = int(unsafe.Sizeof(logged{}))

// goMemory returns the number of bytes of Go memory for heaps, with that number of views.
func (a *Assembler) goMemory(views int) int {
	const (
		ofItem  = unsafe.Sizeof(Item{}) + unsafe.Sizeof(spead.Pointer(0))
		ofRange = unsafe.Sizeof(Range{})
	)
	view := a.cfg.MaxItems*int(ofItem) + a.cfg.MaxRanges*int(ofRange)
	return len(a.records)*int(unsafe.Sizeof(record{})) + len(a.feeders)*int(unsafe.Sizeof(Feeder{})) + views*view +
		len(a.gaps.senders)*int(unsafe.Sizeof(account{})+unsafe.Sizeof(atomic.Int64{}))
}
