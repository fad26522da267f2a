// SPDX-License-Identifier: Apache-2.0

// Package pages maps large, long-lived memory: the slots of the pool and the
// frames of a queue.
//
// The memory a receiver copies into must not fault while packets arrive, and
// should need few TLB entries. [Map] therefore returns memory that is touched,
// placed on the NIC's NUMA node and locked before it returns, on the largest
// pages the machine has to give:
//
//	1G    hugetlb, reserved by the administrator
//	2M    hugetlb, reserved by the administrator
//	thp   transparent huge pages, if the kernel really gave them
//	4K    the machine's ordinary pages (64K on some arm64 kernels)
//
// With [Auto] the first rung that works is taken and [Mapping.Notes] says why
// the ones above it did not; any other [Choice] is that rung or an error.
// Nothing is claimed that was not got: transparent huge pages are counted in
// /proc/self/smaps, and a refused NUMA binding or lock is a note.
//
// The order of the system calls matters and is the same on every rung:
//
//	mmap ─► mbind ─► madvise(MADV_POPULATE_WRITE) ─► mlock
//
// mmap does not populate (MAP_POPULATE would place the pages before mbind can
// say where, and hides failure). Populating by madvise turns what would be a
// fatal SIGBUS, a hugetlb pool emptied by a cgroup limit, into an error.
package pages
