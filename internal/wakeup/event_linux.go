// SPDX-License-Identifier: Apache-2.0

// Package wakeup lets one thread wake others that wait, without a lock that the
// signalling thread could be held up by.
package wakeup

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Event is signalled by threads that must never wait for those that do. Signal is one
// atomic load while nobody waits, and one futex(2) while somebody does. All
// methods may be called from any goroutine.
//
// Who waits may do so for a condition of its own: a signal wakes all that
// wait, so none can take another's. A signal costs more the more of them there are, and
// each has a thread: where there may be many, they wait in a [Waiters].
type Event struct {
	waiting atomic.Int32
	signals atomic.Uint32 // that somebody waited for; what a waiter sleeps on
	_       [56]byte
}

// New makes an event.
func New() (*Event, error) { return &Event{}, nil }

// Signal wakes all that wait.
func (b *Event) Signal() {
	if b.waiting.Load() > 0 {
		b.signals.Add(1)
		futexWake(&b.signals)
	}
}

// Wait waits until cond is true. cond is asked again after each Signal, so whoever
// makes it true has to signal afterwards.
func (b *Event) Wait(cond func() bool) { b.WaitTimeout(cond, -1) }

// WaitTimeout waits until cond is true, but no longer than timeout if that is
// not negative, and returns whether it is.
func (b *Event) WaitTimeout(cond func() bool, timeout time.Duration) bool {
	if cond() {
		return true
	}
	// Announced before cond is asked: either the signaller sees us waiting, or we
	// see what it did. And the signals are read before cond is asked: a signal after
	// that makes the kernel refuse to put us to sleep.
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	deadline := time.Now().Add(timeout)
	for {
		signals := b.signals.Load()
		if cond() {
			return true
		}
		if timeout < 0 {
			futexWait(&b.signals, signals, nil)
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		ts := unix.NsecToTimespec(int64(left))
		futexWait(&b.signals, signals, &ts)
	}
}

// Close has nothing to give back: the kernel keeps nothing of a futex that nobody
// sleeps on.
func (b *Event) Close() error { return nil }
