package bpf

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A slot is one cache line, so that no two CPUs write to the same one. This does
// not compile if it ceases to be.
var _ [64]byte = [unsafe.Sizeof(steerCounters{})]byte{}

// mapCounts maps the memory of the map of counters, read-only.
func mapCounts(fd, cpus, queues int) (*countTable, error) {
	n := cpus * (queues + 1)
	mapping, err := unix.Mmap(fd, 0, n*int(unsafe.Sizeof(steerCounters{})), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &countTable{
		cpus:   cpus,
		queues: queues,
		// Page-aligned, and exactly n slots long.
		slots:   unsafe.Slice((*steerCounters)(unsafe.Pointer(unsafe.SliceData(mapping))), n),
		mapping: mapping,
	}, nil
}

// detach keeps the counters as they are and gives the shared memory back.
func (t *countTable) detach() error {
	if t.mapping == nil {
		return nil
	}
	last := make([]steerCounters, len(t.slots))
	copy(last, t.slots)
	mapping := t.mapping
	t.slots, t.mapping = last, nil
	return unix.Munmap(mapping)
}
