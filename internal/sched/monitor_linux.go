// SPDX-License-Identifier: Apache-2.0

package sched

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Go's monitor thread (sysmon in runtime/proc.go) looks every 20 µs for goroutines that are
// in a system call and keep one of Go's processors from others, or that have run for 10 ms.
// While it finds no system call it looks ever less often, down to every 10 ms.
//
// A receiving thread and a consumer wait in system calls thousands of times a second, and
// never call Go's scheduler. The monitor finds them each time. It then takes 5 to 12 % of a
// core (measured at 12 Gb/s), and takes their processors away. They have to wake it when
// they come back. [Nap] and [Yielder] let it sleep. One thing remains: it makes a receiving
// thread call the scheduler each 10 ms.

const (
	// ShortestNap is what a nap has to last to save more than it costs.
	ShortestNap = 50 * time.Microsecond
	// LongestNap bounds for how long a thread cannot be reached: by the reader of its packets,
	// by the garbage collector, and by a goroutine that wants to wake it.
	LongestNap = 400 * time.Microsecond
)

var (
	receiving atomic.Int32  // threads between Receive and what it returned
	naps      atomic.Uint32 // counted for refreshing
	keep      atomic.Bool   // naps keep their processor of Go's
)

// napsPerLook is how often threads nap between two looks at GOMAXPROCS, which costs the
// scheduler's lock; a tenth of a second and less.
const napsPerLook = 256

// Receive says that the calling thread is going to receive packets until done is called,
// and in its naps keeps its processor of Go's.
func Receive() (done func()) {
	receiving.Add(1)
	look()
	return func() {
		receiving.Add(-1)
		look()
	}
}

func look() { keep.Store(spare(runtime.GOMAXPROCS(0), int(receiving.Load()))) }

// spare reports whether of so many processors of Go's enough are left where each thread
// that receives keeps one: one for who takes the heaps, and one for all else.
func spare(processors, threads int) bool { return processors >= threads+2 }

// Nap sleeps for d at most. A signal ends it: Go's scheduler sends one to a thread that has to
// make room. Meanwhile the goroutine keeps its processor of Go's, if at least two more of them
// (GOMAXPROCS) are left than threads receive. Else it gives it up, as in any system call.
func Nap(d time.Duration) {
	if naps.Add(1)%napsPerLook == 0 {
		look()
	}
	ts := unix.NsecToTimespec(int64(d))
	if keep.Load() {
		rawNap(ts)
	} else {
		_ = unix.Nanosleep(&ts, nil)
	}
}

// yieldInterval is less than the 10 ms after which the monitor finds a goroutine.
const yieldInterval = 5 * time.Millisecond

// Yielder lets Go's scheduler see a goroutine that waits in system calls. The zero value
// is ready. It is meant for one goroutine; several may share it, which then do not all
// yield as often as they should.
type Yielder struct {
	last atomic.Int64 // when it last yielded, in ns since epoch
}

// epoch has a reading of the monotonic clock. By the wall clock, a Yielder would stop
// to yield after that was set back.
var epoch = time.Now()

// Yield is called before a wait. Once in 5 ms it lets others run first, which costs a
// goroutine that is locked to its thread some 10 µs.
func (y *Yielder) Yield() {
	now := int64(time.Since(epoch))
	if last := y.last.Load(); now-last >= int64(yieldInterval) && y.last.CompareAndSwap(last, now) {
		runtime.Gosched()
	}
}
