// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A slot is one cache line, so that no two CPUs write to the same one. This does
// not compile if it ceases to be.
var _ [64]byte = [unsafe.Sizeof(steerCounters{})]byte{}

// mapCounts maps the memory of the maps of counters. That of the queues is written too:
// the owner of a queue lies beside its counters.
func mapCounts(counts, strays, cpus, queues int) (*countTable, error) {
	n, m := cpus*(queues+1), maxOwners*(queues+1)
	mapping, err := unix.Mmap(counts, 0, n*int(unsafe.Sizeof(steerCounters{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	second, err := unix.Mmap(strays, 0, m*int(unsafe.Sizeof(steerStray{})), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Munmap(mapping)
		return nil, err
	}
	return &countTable{
		cpus:   cpus,
		queues: queues,
		// Page-aligned, and exactly n slots long.
		slots:     unsafe.Slice((*steerCounters)(unsafe.Pointer(unsafe.SliceData(mapping))), n),
		strays:    viewStrays(second, m),
		mappings:  [2][]byte{mapping, second},
		owned:     make([]bool, queues+1),
		base:      make([]steerCounters, n),
		strayBase: make([]steerStray, queues+1),
	}, nil
}

// frozen is the table with the counters as they are, apart from the shared memory.
func (t *countTable) frozen() *countTable {
	last := *t
	last.slots, last.strays, last.mappings = slices.Clone(t.slots), slices.Clone(t.strays), [2][]byte{}
	return &last
}

// unmap gives the shared memory back. The table is not used again.
func (t *countTable) unmap() error {
	return errors.Join(unix.Munmap(t.mappings[0]), unix.Munmap(t.mappings[1]))
}
