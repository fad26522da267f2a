// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wakeup

import (
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/futex.h; private, as only this process uses the word.
const (
	futexWaitPrivate = 0 | 128
	futexWakePrivate = 1 | 128
)

// futexWait sleeps while *word is old, until somebody wakes it, timeout is over,
// or for no reason. The caller looks for itself which of them it was.
func futexWait(word *atomic.Uint32, old uint32, timeout *unix.Timespec) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitPrivate, uintptr(old),
		uintptr(unsafe.Pointer(timeout)), 0, 0)
}

// futexWake wakes all that sleep on word.
func futexWake(word *atomic.Uint32) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakePrivate, math.MaxInt32, 0, 0, 0)
}
