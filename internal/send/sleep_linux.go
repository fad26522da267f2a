// SPDX-License-Identifier: Apache-2.0

package send

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/sched"
)

// precise makes the sleeps of the calling goroutine end on time, not up to 50
// µs later (PR_SET_TIMERSLACK(2const)), until the function it gives is called.
func precise() (restore func()) {
	runtime.LockOSThread()
	undo := sched.SetSlack(1)
	return func() {
		undo()
		runtime.UnlockOSThread()
	}
}

// sleep waits for at most d: a signal ends it early. It is finer than
// [time.Sleep], whose timers the runtime looks after.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // EINTR: the caller looks at the clock anyway
}
