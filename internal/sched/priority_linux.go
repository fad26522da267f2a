// SPDX-License-Identifier: Apache-2.0

package sched

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hastyNice is the highest priority that an ordinary thread can have.
	hastyNice = -20
	// hastySlack is how late the naps of a receiving thread may end. The kernel's
	// default, 50 µs, is as long as the shortest nap.
	hastySlack = 5 * time.Microsecond
)

// Hasten gives the calling thread the highest priority an ordinary one can have, where
// the process may: a receiving thread works little at a time, but if it comes late its
// ring overflows. Without the privilege it stays as it is. Its naps end on time in any
// case. It is not for threads that spin: they would keep the kernel, which brings the
// packets, from the processor. undo makes both what they were.
func Hasten() (undo func()) {
	relax := SetSlack(hastySlack)
	thread := unix.Gettid()
	// The system call gives 20 - nice, which is never negative (getpriority(2)).
	negated, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	if err != nil || unix.Setpriority(unix.PRIO_PROCESS, thread, hastyNice) != nil {
		return relax
	}
	return func() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, thread, 20-negated)
		relax()
	}
}

// SetSlack is how late, at most, sleeps of the calling thread may end
// (PR_SET_TIMERSLACK(2const)), until undo is called. d is not 0.
func SetSlack(d time.Duration) (undo func()) {
	old, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0)
	}
	return func() {
		if err == nil {
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(old), 0, 0, 0)
		}
	}
}
