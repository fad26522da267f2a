// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"
	"math"
)

// ErrMemory is wrapped by the error of [Map] if the machine, or the memory
// cgroup we run in, cannot hold what was asked for. Nothing was mapped then.
var ErrMemory = errors.New("not enough memory")

// Options says what memory is wanted. The zero value asks for the largest
// pages, on node 0, not locked.
type Options struct {
	Choice Choice // which pages
	No1G   bool   // take no 1 GiB pages: Auto begins at 2M, and Page1G means Page2M
	Node   int    // NUMA node to bind to; -1: no binding
	Lock   bool   // mlock ordinary and transparent huge pages; hugetlb pages never leave memory anyway
	Name   string // what it is for, as in "map 64 MiB for <name>"

	// Threads bounds how many threads touch the memory. 0: as many as this process may use
	// processors, of the node if there is one, and at most 16.
	Threads int
	// Touched is called before memory is touched and after each piece of it, with the number
	// of bytes touched so far and in all. Several threads call it, also at the same time. If
	// it returns an error, Map gives the memory back and returns that error. Where a better
	// sort of pages fails half-way, touching begins again. May be nil.
	Touched func(bytes, of int) error
}

// Mapping is memory from [Map]. Bytes may be used by any number of goroutines
// until Unmap.
type Mapping struct {
	Bytes     []byte   // exactly the size asked for, zeroed, beginning on a page
	Kind      Kind     // the pages got
	PageBytes int      // size of one such page
	Mapped    int      // len(Bytes) rounded up to whole pages: the memory it takes
	Node      int      // the node it is bound to; -1 if it is not bound
	Notes     []string // why not better pages, not bound, not locked; nil if all is as asked

	region []byte               // what was mapped, with the guard pages; nil once unmapped
	munmap func(b []byte) error // never nil while region is not
	allow  func(b []byte, yes bool) error
}

// Unmap gives the memory back. Nothing may touch Bytes from then on; it is set
// to nil. A second call does nothing. Unmap is for one goroutine at a time.
func (m *Mapping) Unmap() error {
	if m.region == nil {
		return nil
	}
	region := m.region
	m.region, m.Bytes = nil, nil
	if err := m.munmap(region); err != nil {
		return fmt.Errorf("munmap %s: %w", Human(len(region)), err)
	}
	return nil
}

// Allow reports whether b, whole pages of Bytes, may be read and written: an access is a
// fault otherwise. It is for single pages only, not for huge ones.
func (m *Mapping) Allow(b []byte, yes bool) error {
	if m.allow == nil || m.Kind != Kind4K {
		return fmt.Errorf("access to %v pages cannot be taken away piece by piece", m.Kind)
	}
	return m.allow(b, yes)
}

// Human writes a number of bytes for people: 4096 is "4 KiB", 1.5×2^30 is
// "1.5 GiB".
func Human(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), 0
	for v >= 1<<10 && unit < len("KMGTPE")-1 {
		v /= 1 << 10
		unit++
	}
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f %ciB", v, "KMGTPE"[unit])
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// roundUp rounds n up to a multiple of unit, a power of two. It is not ok if
// the result does not fit an int.
func roundUp(n, unit int) (int, bool) {
	if n > math.MaxInt-(unit-1) {
		return 0, false
	}
	return (n + unit - 1) &^ (unit - 1), true
}
