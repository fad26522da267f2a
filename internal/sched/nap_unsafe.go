// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sched

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawNap sleeps without Go's scheduler being told.
func rawNap(d unix.Timespec) {
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&d)), 0, 0)
}
