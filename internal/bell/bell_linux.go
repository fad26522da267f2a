// Package bell lets one thread wake others that wait, without a lock that the
// ringing thread could be held up by.
package bell

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Bell is rung by threads that must never wait for those that do. Ring is one
// atomic load while nobody waits, and one write(2) to an eventfd while somebody
// does. All methods but Close may be called from any goroutine.
type Bell struct {
	waiting atomic.Int32
	_       [60]byte
	fd      int
}

// New makes a bell, which has a file descriptor until Close.
func New() (*Bell, error) {
	// A semaphore: each ring is for one waiter, so none is lost because
	// another waiter read it.
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)
	if err != nil {
		return nil, fmt.Errorf("bell: eventfd: %w", err)
	}
	return &Bell{fd: fd}, nil
}

// Ring wakes a waiter for each that waits.
func (b *Bell) Ring() {
	if n := b.waiting.Load(); n > 0 {
		v := uint64(n)
		_, _ = unix.Write(b.fd, asBytes(&v)) // can fail only when it is rung more than can be counted
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
	// see what it did.
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	deadline := time.Now().Add(timeout)
	for !cond() {
		ms := -1
		if timeout >= 0 {
			left := time.Until(deadline)
			if left <= 0 {
				return false
			}
			ms = int((left + time.Millisecond - 1) / time.Millisecond)
		}
		fds := [1]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds[:], ms); err != nil && err != unix.EINTR {
			return cond()
		}
		var v uint64
		_, _ = unix.Read(b.fd, asBytes(&v)) // empty if another waiter was faster
	}
	return true
}

// Close gives the file descriptor back. Nobody may be using the bell.
func (b *Bell) Close() error {
	if b.fd < 0 {
		return nil
	}
	fd := b.fd
	b.fd = -1
	return unix.Close(fd)
}
