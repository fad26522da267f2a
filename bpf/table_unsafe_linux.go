// SPDX-License-Identifier: Apache-2.0

package bpf

import "unsafe"

// tableHeader begins the table. Its numbers are in the machine's order: all who map it
// run on the same kernel.
type tableHeader struct {
	Program [8]byte // which program and which layout: see programHash
	Queues  uint32
	Mode    uint32 // 1 + the AttachMode; 0: attached nowhere
	// AllVLANs is 1 if the program overlooks VLAN tags.
	AllVLANs uint32
	_        uint32
	Owners   [maxOwners]ownerRecord
}

// ownerRecord is a receiver that has queues.
type ownerRecord struct {
	Used uint32
	PID  uint32 // in the receiver's own PID namespace
	Name [24]byte
}

var (
	_ [24 + 32*maxOwners]byte = [unsafe.Sizeof(tableHeader{})]byte{}
	_ [16]byte                = [unsafe.Sizeof(steerStray{})]byte{}
	_ [8]byte                 = [unsafe.Sizeof(steerOwners{})]byte{}
)

// tableBytes is the size of a table for a number of queues.
func tableBytes(queues int) int {
	return int(unsafe.Sizeof(tableHeader{})) + queues*int(unsafe.Sizeof(uint32(0)))
}

// viewTable views a mapping of tableBytes bytes, which is page-aligned.
func viewTable(mapping []byte, queues int) (*tableHeader, []uint32) {
	header := (*tableHeader)(unsafe.Pointer(&mapping[:tableBytes(queues)][0]))
	words := mapping[unsafe.Sizeof(tableHeader{}):]
	return header, unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(words))), queues)
}

// viewStrays views a page-aligned mapping as n slots.
func viewStrays(mapping []byte, n int) []steerStray {
	_ = mapping[:n*int(unsafe.Sizeof(steerStray{}))]
	return unsafe.Slice((*steerStray)(unsafe.Pointer(unsafe.SliceData(mapping))), n)
}
