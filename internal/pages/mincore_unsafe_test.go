// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore returns a byte for each page of b, whose lowest bit says that the
// page is in memory.
func mincore(b []byte) ([]byte, error) {
	pages := make([]byte, (len(b)+machine.pageSize-1)/machine.pageSize)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return nil, errno
	}
	return pages, nil
}
