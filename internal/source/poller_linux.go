// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wakeEvent is what epoll calls the eventfd; what else is watched has a name
// from 0 on.
const wakeEvent = -1

// poller is what a source of sockets waits with: epoll, and an eventfd that ends
// a wait. It belongs to the source's goroutine, but for wake.
type poller struct {
	epoll, event int
	events       []unix.EpollEvent

	mu     sync.Mutex // of wake, against close
	closed bool
}

// newPoller makes a poller for up to n descriptors.
func newPoller(n int) (_ *poller, err error) {
	p := &poller{epoll: -1, event: -1, events: make([]unix.EpollEvent, n+1)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	if err := p.watch(p.event, wakeEvent); err != nil {
		return nil, err
	}
	return p, nil
}

// watch adds a descriptor, level-triggered: a socket that was left with packets
// is reported again. It is watched until it is closed.
func (p *poller) watch(fd int, name int32) error {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: name}); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// wait appends the names of the descriptors that are ready to list. It returns
// with none after timeout or wake.
func (p *poller) wait(timeout time.Duration, list []int32) ([]int32, error) {
	deadline := time.Now().Add(timeout)
	for {
		// Rounded up, so that a short timeout is not a busy loop.
		ms := int((max(timeout, 0) + time.Millisecond - 1) / time.Millisecond)
		n, err := unix.EpollWait(p.epoll, p.events, ms)
		if errors.Is(err, unix.EINTR) { // also the Go scheduler's own signal
			timeout = time.Until(deadline)
			continue
		}
		if err != nil {
			return list, fmt.Errorf("wait: %w", err)
		}
		for _, e := range p.events[:n] {
			if e.Fd == wakeEvent {
				clearEventfd(p.event)
				continue
			}
			list = append(list, e.Fd)
		}
		return list, nil
	}
}

// wake makes a wait, or else the next one, return now. It may be called by any
// goroutine, also after close.
func (p *poller) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// It can fail only if 2^64-2 wakes were never read: then it is awake.
	_, _ = unix.Write(p.event, one[:])
}

func clearEventfd(fd int) {
	var count [8]byte
	_, _ = unix.Read(fd, count[:])
}

// forget stops watching a descriptor that is still open.
func (p *poller) forget(fd int) error {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("forget descriptor %d: %w", fd, err)
	}
	return nil
}

// close may be called again; a nil poller was never opened.
func (p *poller) close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	var errs []error
	for _, fd := range []int{p.epoll, p.event} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
