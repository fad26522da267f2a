// SPDX-License-Identifier: Apache-2.0

package wakeup

import (
	"sync/atomic"
	"testing"
	"time"
)

func newEvent(t *testing.T) *Event {
	t.Helper()
	b, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// finished fails the test if done is not closed soon.
func finished(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal(what + " still waits")
	}
}

// awaitWaiters waits until so many have said that they wait.
func awaitWaiters(t *testing.T, b *Event, n int32) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); b.waiting.Load() < n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, not %d", b.waiting.Load(), n)
		}
	}
}

func TestWaitAsksFirst(t *testing.T) {
	b := newEvent(t)
	asked := 0
	b.Wait(func() bool { asked++; return true })
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if !b.WaitTimeout(func() bool { return true }, 0) {
		t.Error("what is true already is not waited for")
	}
}

func TestRingWakes(t *testing.T) {
	b := newEvent(t)
	var ready atomic.Bool
	done := make(chan struct{})
	go func() { b.Wait(ready.Load); close(done) }()
	awaitWaiters(t, b, 1)
	b.Signal() // for nothing: it goes on waiting
	select {
	case <-done:
		t.Fatal("it did not wait for the condition")
	case <-time.After(5 * time.Millisecond):
	}
	ready.Store(true)
	b.Signal()
	finished(t, "the waiter", done)
	if n := b.waiting.Load(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
	b.Signal() // and nobody hears it
}

func TestWaitTimeout(t *testing.T) {
	b := newEvent(t)
	never := func() bool { return false }
	for _, timeout := range []time.Duration{0, time.Nanosecond, 10 * time.Millisecond} {
		start := time.Now()
		if b.WaitTimeout(never, timeout) {
			t.Errorf("%v: true", timeout)
		}
		if waited := time.Since(start); waited < timeout {
			t.Errorf("%v: waited only %v", timeout, waited)
		}
	}
	// A signal in between does not prolong it, and neither makes it return early.
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				b.Signal()
			}
		}
	}()
	start := time.Now()
	if b.WaitTimeout(never, 20*time.Millisecond) || time.Since(start) < 20*time.Millisecond {
		t.Errorf("waited %v", time.Since(start))
	}
	close(stop)
}

// TestOneSignalIsForAll: each waiter has a condition of its own. A signal wakes
// the one whose condition it is, whatever the others, who hear it too, do with it.
func TestOneSignalIsForAll(t *testing.T) {
	const waiters, rounds = 4, 3000
	b := newEvent(t)
	var turn [waiters]atomic.Int64
	passed := make(chan int, waiters)
	for i := range waiters {
		go func() {
			for n := int64(1); n <= rounds; n++ {
				b.Wait(func() bool { return turn[i].Load() >= n })
				passed <- i
			}
		}()
	}
	for n := range int64(rounds) {
		for i := range waiters {
			turn[i].Store(n + 1)
			b.Signal() // once
			select {
			case got := <-passed:
				if got != i {
					t.Fatalf("waiter %d instead of %d", got, i)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("round %d: waiter %d did not wake by its signal", n, i)
			}
		}
	}
}

// TestNoRingIsLost: two sides wait for each other in turn.
func TestNoRingIsLost(t *testing.T) {
	const rounds = 20_000
	a, b := newEvent(t), newEvent(t)
	var ping, pong atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := int64(1); n <= rounds; n++ {
			a.Wait(func() bool { return ping.Load() >= n })
			pong.Store(n)
			b.Signal()
		}
	}()
	for n := int64(1); n <= rounds; n++ {
		ping.Store(n)
		a.Signal()
		b.Wait(func() bool { return pong.Load() >= n })
	}
	finished(t, "the other side", done)
}

func TestNothingIsAllocated(t *testing.T) {
	b := newEvent(t)
	cond := func() bool { return false }
	if n := testing.AllocsPerRun(100, func() { b.Signal(); b.WaitTimeout(cond, time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkSignal is what each finished heap costs while nobody waits.
func BenchmarkSignal(b *testing.B) {
	event, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer event.Close()
	for b.Loop() {
		event.Signal()
	}
}
