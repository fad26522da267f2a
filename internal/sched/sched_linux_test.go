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
		before := napping.Load()
		undo := Hasten()
		if n := napping.Load(); n != before+1 {
			t.Errorf("hastened, it counts for %d threads", n-before)
		}
		// To a thread without the privilege, the slack is given nevertheless.
		if n, s := state(t); n != hastyNice && n != nice || s != hastySlack {
			t.Errorf("hastened, it has nice %d and slack %v", n, s)
		}
		undo()
		if n := napping.Load(); n != before {
			t.Errorf("afterwards it counts for %d threads", n-before)
		}
		if n, s := state(t); n != nice || s != slack {
			t.Errorf("afterwards it has nice %d and slack %v, not %d and %v", n, s, nice, slack)
		}
	}()
	<-done
}

// TestNap: who naps is not in the way of a collection of garbage, whether the processor
// of Go's is kept, and then a collection ends the nap, or given up.
func TestNap(t *testing.T) {
	for _, c := range []struct {
		name  string
		procs int
		nap   time.Duration
	}{
		{"kept", 3, time.Hour},
		{"given up", 2, LongestNap},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
			var quit atomic.Bool
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread()
				defer Hasten()()
				for !quit.Load() {
					Nap(c.nap)
				}
			}()
			for range 5 {
				runtime.GC()
			}
			quit.Store(true)
			for {
				runtime.GC()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
}

// TestYield: others run when somebody yields for the first time.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var y Yielder
	var ran atomic.Bool
	go ran.Store(true)
	y.Yield()
	if !ran.Load() {
		t.Error("nobody else ran")
	}
	if y.last.Load() == 0 {
		t.Error("it does not know when it yielded")
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
