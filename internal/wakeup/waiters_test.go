// SPDX-License-Identifier: Apache-2.0

//go:build linux

package wakeup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// awaitQueued waits until n goroutines wait in Waiters.Wait for the turn.
func awaitQueued(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		queued := 0
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			head, frames, _ := strings.Cut(g, "\n")
			if strings.Contains(head, "[select") && strings.Contains(frames, "wakeup.(*Waiters).Wait(") {
				queued++
			}
		}
		if queued == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait for the turn, not %d", queued, n)
		}
	}
}

// TestWaitersThreads: however many wait, one of them is at the event, so that a signal
// wakes one, and the others have no threads.
func TestWaitersThreads(t *testing.T) {
	const waiters = 300
	b := newEvent(t)
	q := NewWaiters(b)
	threads := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := threads()
	var left atomic.Int64 // things to take
	var most atomic.Int32 // at the event
	var all sync.WaitGroup
	for range waiters {
		all.Go(func() {
			err := q.Wait(t.Context(), func() bool {
				for n := b.waiting.Load(); ; {
					if old := most.Load(); old >= n || most.CompareAndSwap(old, n) {
						break
					}
				}
				return takeOne(&left)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	awaitWaiters(t, b, 1)
	awaitQueued(t, waiters-1)
	if n := threads() - before; n > 20 {
		t.Errorf("%d goroutines wait, and there are %d threads more", waiters, n)
	}
	for range waiters {
		left.Add(1)
		b.Signal()
	}
	all.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d were at the event at once", n)
	}
}

// takeOne takes one of n things, unless there is none left.
func takeOne(n *atomic.Int64) bool {
	for {
		v := n.Load()
		if v == 0 {
			return false
		}
		if n.CompareAndSwap(v, v-1) {
			return true
		}
	}
}

// TestWaitersLosesNothing: everything that is put down is taken, by one, while some take
// without waiting and others leave because their contexts are done. A wake-up that is
// lost leaves something lying there.
func TestWaitersLosesNothing(t *testing.T) {
	const waiters, things = 16, 10_000
	b := newEvent(t)
	q := NewWaiters(b)
	var left, taken atomic.Int64
	end := make(chan struct{})
	count := func() {
		if taken.Add(1) == things {
			close(end)
			b.Signal()
		}
	}
	var all sync.WaitGroup
	for i := range waiters {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for taken.Load() < things {
				if i%4 == 0 && takeOne(&left) { // as Next does before it waits
					count()
					continue
				}
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(2) == 0 {
					go cancel()
				}
				got := false
				err := q.Wait(ctx, func() bool {
					got = takeOne(&left)
					return got || taken.Load() == things
				})
				if got != (err == nil) && taken.Load() < things {
					t.Errorf("taken %v, %v", got, err)
				}
				cancel()
				if got {
					count()
				}
			}
		})
	}
	for range things {
		for left.Load() > 1 { // so that they have to wait
			runtime.Gosched()
		}
		left.Add(1)
		b.Signal()
	}
	finished(t, "somebody", end)
	all.Wait()
	if n := left.Load(); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// TestWaitersPassesOn: what comes just when the one at the event leaves because its
// context is done is seen by the next, without another signal.
func TestWaitersPassesOn(t *testing.T) {
	b := newEvent(t)
	q := NewWaiters(b)
	var left atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var woken atomic.Bool
	first := make(chan error)
	go func() {
		first <- q.Wait(ctx, func() bool {
			if !woken.Load() {
				return false
			}
			left.Add(1) // after it has looked
			b.Signal()
			cancel()
			return false
		})
	}()
	awaitWaiters(t, b, 1)
	second := make(chan struct{})
	go func() {
		defer close(second)
		if err := q.Wait(t.Context(), func() bool { return takeOne(&left) }); err != nil {
			t.Error(err)
		}
	}()
	awaitQueued(t, 1)
	woken.Store(true)
	b.signals.Add(1)
	futexWake(&b.signals)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	finished(t, "the second", second)
}

// TestWaitersContexts: a goroutine whose context is done returns, whether at the event or
// before it, and no other does. What is there comes first.
func TestWaitersContexts(t *testing.T) {
	const waiters = 8
	b := newEvent(t)
	q := NewWaiters(b)
	var ready atomic.Bool
	var cancels []context.CancelFunc
	var results []chan error
	for i := range waiters {
		ctx, cancel := context.WithCancel(t.Context())
		cancels = append(cancels, cancel)
		result := make(chan error, 1)
		results = append(results, result)
		go func() { result <- q.Wait(ctx, ready.Load) }()
		awaitWaiters(t, b, 1) // number 0 is at the event
		awaitQueued(t, i)
	}
	result := func(i int) error {
		t.Helper()
		select {
		case err := <-results[i]:
			return err
		case <-time.After(30 * time.Second):
			t.Fatalf("waiter %d still waits", i)
			return nil
		}
	}
	for n, i := range []int{3, 0, 7} { // 1 comes to the event after 0
		cancels[i]()
		if err := result(i); !errors.Is(err, context.Canceled) {
			t.Errorf("waiter %d: %v", i, err)
		}
		awaitWaiters(t, b, 1)
		awaitQueued(t, waiters-1-(n+1))
	}
	ready.Store(true)
	b.Signal()
	for _, i := range []int{1, 2, 4, 5, 6} {
		if err := result(i); err != nil {
			t.Errorf("waiter %d: %v", i, err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // the turn is there too, and one of both is chosen
		if err := q.Wait(done, ready.Load); err != nil {
			t.Errorf("what is there was withheld: %v", err)
		}
	}
}

// uncomparable is a context that == panics for.
type uncomparable struct {
	context.Context
	values map[string]int
}

// TestWaitersUncomparableContext: a context need not be of a type that can be compared.
func TestWaitersUncomparableContext(t *testing.T) {
	b := newEvent(t)
	q := NewWaiters(b)
	for range 2 {
		for _, parent := range []context.Context{t.Context(), context.Background()} {
			asked := 0
			err := q.Wait(uncomparable{parent, map[string]int{}}, func() bool { asked++; return asked == 2 })
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWaitersAllocatesNothing: also where it has to wait.
func TestWaitersAllocatesNothing(t *testing.T) {
	b := newEvent(t)
	q := NewWaiters(b)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(100, func() {
		asked := 0
		_ = q.Wait(ctx, func() bool { asked++; return asked == 3 || asked == 2 && ringNow(b) })
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// ringNow makes the wait that follows return at once.
func ringNow(b *Event) bool {
	b.Signal()
	return false
}

// BenchmarkSignalWaited is what a finished heap costs the thread that signals, by the number
// of goroutines that wait for heaps.
func BenchmarkSignalWaited(b *testing.B) {
	for _, waiters := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) {
			event, err := New()
			if err != nil {
				b.Fatal(err)
			}
			q := NewWaiters(event)
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			for range waiters {
				all.Go(func() {
					for q.Wait(ctx, func() bool { return false }) == nil {
					}
				})
			}
			for event.waiting.Load() == 0 {
				runtime.Gosched()
			}
			for b.Loop() {
				event.Signal()
			}
			cancel()
			all.Wait()
		})
	}
}
