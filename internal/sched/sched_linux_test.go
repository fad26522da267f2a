// SPDX-License-Identifier: Apache-2.0

package sched

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnCPU(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all := cpus(t)
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil || len(all) != allowed.Count() || !slices.IsSorted(all) {
		t.Fatalf("%d of %d processors, %v", all, allowed.Count(), err)
	}
	for _, cpu := range all {
		restore, err := OnCPU(cpu)
		if err != nil {
			t.Fatal(err)
		}
		if got := cpus(t); !slices.Equal(got, []int{cpu}) {
			t.Errorf("on processor %d it may run on %d", cpu, got)
		}
		restore()
		if got := cpus(t); !slices.Equal(got, all) {
			t.Errorf("after processor %d it may run on %d of %d", cpu, got, all)
		}
	}
	if _, err := OnCPU(1023); !slices.Contains(all, 1023) && err == nil {
		t.Error("it runs on a processor that is not there")
	}
	if got := cpus(t); !slices.Equal(got, all) {
		t.Errorf("after an error it may run on %d of %d", got, all)
	}
}

func cpus(t *testing.T) []int {
	t.Helper()
	all, err := CPUs()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestHasten: undone, priority and slack are those from before, not the defaults.
func TestHasten(t *testing.T) {
	const nice, slack = 3, 70 * time.Microsecond
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: without the privilege the thread stays nice
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
			t.Error(err)
			return
		}
		SetSlack(slack)
		undo := Hasten()
		// To a thread without the privilege, the slack is given nevertheless.
		if n, s := state(t); n != hastyNice && n != nice || s != hastySlack {
			t.Errorf("hastened, it has nice %d and slack %v", n, s)
		}
		undo()
		if n, s := state(t); n != nice || s != slack {
			t.Errorf("afterwards it has nice %d and slack %v, not %d and %v", n, s, nice, slack)
		}
	}()
	<-done
}

// TestReceive: naps keep a processor of Go's as long as two are left besides.
func TestReceive(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	check := func(want bool) {
		t.Helper()
		if keep.Load() != want {
			t.Errorf("of 4 processors %d threads keep one: %v", receiving.Load(), !want)
		}
	}
	var done [3]func()
	for i := range done {
		done[i] = Receive()
		check(i < 2)
	}
	done[0]()
	check(true)
	runtime.GOMAXPROCS(3)
	for range napsPerLook {
		Nap(1)
	}
	check(false)
	done[1]()
	check(true)
	done[2]()
	if n := receiving.Load(); n != 0 {
		t.Errorf("in the end %d threads receive", n)
	}
}

// TestNap: who naps and keeps a processor of Go's is not in the way of a collection of
// garbage, which ends the nap.
func TestNap(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	var quit atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer Receive()()
		for !quit.Load() {
			Nap(time.Hour)
		}
	}()
	quit.Store(true)
	for timeout := time.After(time.Minute); ; {
		runtime.GC()
		select {
		case <-done:
			return
		case <-timeout:
			t.Fatal("a minute of collections did not end its nap")
		default:
		}
	}
}

// TestYield: others run when somebody yields, but not each time.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var y Yielder
	var ran atomic.Bool
	go ran.Store(true)
	for range 3 { // once in 61 times the scheduler lets us run again first
		y.last.Store(-int64(yieldInterval))
		y.Yield()
	}
	if last := y.last.Load(); last < 0 || last > int64(time.Since(epoch)) {
		t.Errorf("it yielded %v after the epoch, which was %v ago: not by the monotonic clock", time.Duration(last), time.Since(epoch))
	}
	if !ran.Load() {
		t.Error("nobody else ran")
	}
	last := int64(time.Since(epoch) + time.Hour) // a moment ago, however slow this test is
	y.last.Store(last)
	y.Yield()
	if y.last.Load() != last {
		t.Error("it yielded again at once")
	}
}

// state is the calling thread's priority, and the slack of its timers.
func state(t *testing.T) (nice int, slack time.Duration) {
	t.Helper()
	negated, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Error(err)
	}
	ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Error(err)
	}
	return 20 - negated, time.Duration(ns)
}
