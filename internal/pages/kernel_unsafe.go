// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxNodes bounds the node numbers mbind can name: the kernel's
	// MAX_NUMNODES is at most 1024.
	maxNodes = 1024
	wordBits = 8 * int(unsafe.Sizeof(uint(0)))
)

// nodeMask is a set of nodes as the kernel reads it: an array of C's unsigned
// long, which Go's uint is as long as.
type nodeMask [maxNodes / wordBits]uint

// onlyNode returns the set of one node, in [0, maxNodes).
func onlyNode(node int) (mask nodeMask) {
	mask[node/wordBits] = 1 << (node % wordBits)
	return mask
}

// mbind sets the placement policy of b to node by mbind(2), which x/sys has
// the number of but no wrapper for. Pages already there stay where they are.
func mbind(b []byte, mode, node int) error {
	if node < 0 || node >= maxNodes || len(b) == 0 {
		return unix.EINVAL
	}
	mask := onlyNode(node)
	// maxnode is one more than the bits given: the kernel takes one off
	// (get_nodes in mm/mempolicy.c).
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		uintptr(mode), uintptr(unsafe.Pointer(&mask[0])), maxNodes+1, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// address returns where b lies, to compare with /proc/self/smaps and to align.
func address(b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
