// SPDX-License-Identifier: Apache-2.0

// Package bell lets one thread wake others that wait, without a lock that the
// ringing thread could be held up by.
package bell

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bell is rung by threads that must never wait for those that do. Ring is one
// atomic load while nobody waits, and one futex(2) while somebody does. All
// methods may be called from any goroutine.
//
// Who waits may do so for a condition of its own: a ring is heard by all that
// wait, so none can take another's. A ring costs more the more of them there are, and
// each has a thread: where there may be many, they wait in a [Queue].
type Bell struct {
	waiting atomic.Int32
	rings   atomic.Uint32 // that somebody waited for; what a waiter sleeps on
	_       [56]byte
}

// New makes a bell.
func New() (*Bell, error) { return &Bell{}, nil }

// Ring wakes all that wait.
func (b *Bell) Ring() {
	if b.waiting.Load() > 0 {
		b.rings.Add(1)
		futexWake(&b.rings)
	}
}

// Wait waits until cond is true. cond is asked again after each Ring, so whoever
// makes it true has to ring afterwards.
func (b *Bell) Wait(cond func() bool) { b.WaitTimeout(cond, -1) }

// WaitTimeout waits until cond is true, but no longer than timeout if that is
// not negative, and returns whether it is.
func (b *Bell) WaitTimeout(cond func() bool, timeout time.Duration) bool {
	if cond() {
		return true
	}
	// Announced before cond is asked: either the ringer sees us waiting, or we
	// see what it did. And the rings are read before cond is asked: a ring after
	// that makes the kernel refuse to put us to sleep.
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	deadline := time.Now().Add(timeout)
	for {
		rings := b.rings.Load()
		if cond() {
			return true
		}
		if timeout < 0 {
			futexWait(&b.rings, rings, nil)
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		ts := unix.NsecToTimespec(int64(left))
		futexWait(&b.rings, rings, &ts)
	}
}

// Close has nothing to give back: the kernel keeps nothing of a futex that nobody
// sleeps on.
func (b *Bell) Close() error { return nil }
