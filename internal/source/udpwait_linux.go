package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// wakeEvent is what epoll calls the eventfd; other events are named by the index
// of their socket.
const wakeEvent = -1

// watch adds a descriptor to the epoll set, level-triggered: a socket that was
// left with packets is reported again.
func (u *UDP) watch(fd int, name int32) error {
	if err := unix.EpollCtl(u.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: name}); err != nil {
		return fmt.Errorf("udp: watch descriptor %d: %w", fd, err)
	}
	return nil
}

// wait fills ready with the sockets that have packets. It returns with none
// after timeout or Wake.
func (u *UDP) wait(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		// Rounded up, so that a short timeout is not a busy loop.
		ms := int((max(timeout, 0) + time.Millisecond - 1) / time.Millisecond)
		n, err := unix.EpollWait(u.epoll, u.events, ms)
		if errors.Is(err, unix.EINTR) { // also the Go scheduler's own signal
			timeout = time.Until(deadline)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: wait: %w", u.name, err)
		}
		for _, e := range u.events[:n] {
			if e.Fd == wakeEvent {
				clearEventfd(u.wakeFD)
				continue
			}
			u.ready = append(u.ready, e.Fd)
		}
		return nil
	}
}

// Wake implements [Source].
func (u *UDP) Wake() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// It can fail only if 2^64-2 wakes were never read: then it is awake.
	_, _ = unix.Write(u.wakeFD, one[:])
}

func clearEventfd(fd int) {
	var count [8]byte
	_, _ = unix.Read(fd, count[:])
}
