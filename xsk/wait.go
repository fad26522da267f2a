// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"time"

	"github.com/speadx/speadx/internal/sched"
	"golang.org/x/sys/unix"
)

// linkInterval is how often Wait looks whether the interface still works. The
// kernel does not say so by itself: when an interface is set down or deleted, poll
// on its sockets reports nothing, for ever (xsk_poll returns an empty mask).
const linkInterval = 250 * time.Millisecond

// spinRounds is how often Wait looks at the ring between two looks at the clock,
// some microseconds.
const spinRounds = 512

// A thread naps between two looks at the ring while packets come. If the kernel woke it for
// every few packets, that would cost the processor that brings them more than the packets
// do. A nap costs that processor nothing, and the packets of one nap are enough to be worth
// taking. A nap is as long as it takes for a sixteenth to an eighth of the frames to come, by
// what was found after the last one. The rest of the frames outlasts a thread that is held
// up. When many more packets come of a sudden, they come in one nap of the old length.
// A nap is no longer than the frames would last at a packet each napFrame. Packets of 1250
// bytes at 200 Gb/s come at that pace.
const napFrame = 50 * time.Nanosecond

// longestNap is that of a queue with so many frames; less than the shortest: it never
// naps.
func longestNap(frames int) time.Duration {
	return min(time.Duration(frames)*napFrame, sched.LongestNap)
}

// Wait waits until there is something to receive, the timeout is over, or Wake is
// called. It returns nil for all of these. A negative timeout means no end. A Wake may
// take half a millisecond to be heard while packets come.
//
// With WaitSpin and WaitBusy it keeps its core busy all that time. If the interface was
// set down or is gone, the error is, or contains, [ErrDown]. Wait takes up to a quarter of a
// second to notice that. What arrived before is still there to be received.
func (q *Queue) Wait(timeout time.Duration) error {
	if !q.opened {
		return ErrClosed
	}
	if q.held.idle() {
		q.Release()
	}
	if q.ready() {
		return nil
	}
	start := time.Now()
	if q.nap(timeout) {
		return nil
	}
	for {
		piece, last := linkInterval, false
		if timeout >= 0 {
			left := timeout - time.Since(start)
			if left <= piece {
				piece, last = max(left, 0), true
			}
		}
		done, err := q.waitOnce(piece)
		if done || err != nil {
			return err
		}
		if err := q.checkLink(); err != nil || last {
			return err
		}
	}
}

// ready reports whether Wait has an end: something on the ring, or a Wake, which is
// thereby answered.
func (q *Queue) ready() bool {
	return q.rx.available(1) > 0 || q.answerWake()
}

// nap sleeps a little, if packets have come since the last Wait, and reports whether that
// was enough for more to come. One that waits in zero-copy for the driver to be woken
// has to do that, which poll does.
func (q *Queue) nap(timeout time.Duration) bool {
	came := q.consumed != q.napped
	q.napped = q.consumed
	longest := longestNap(q.config.Frames)
	if !came || q.config.Wait != WaitPoll || longest < sched.ShortestNap || timeout >= 0 && timeout < 2*longest {
		return false
	}
	if q.config.Mode == ModeZeroCopy && q.fill.needWakeup() {
		return false
	}
	q.napTime = max(q.napTime, sched.ShortestNap)
	q.sys.nap(q.napTime)
	switch n := int(q.rx.available(uint32(q.config.Frames))); {
	case n > q.config.Frames/8:
		q.napTime = max(q.napTime/2, sched.ShortestNap)
	case n < q.config.Frames/16:
		q.napTime = min(q.napTime*2, longest)
	}
	return q.ready()
}

// waitOnce waits for at most d and reports whether it is ready.
func (q *Queue) waitOnce(d time.Duration) (bool, error) {
	if q.config.Wait == WaitPoll {
		return q.waitPoll(d)
	}
	for start := time.Now(); ; {
		if q.config.Wait == WaitBusy {
			if err := q.linkError(q.kick()); err != nil {
				return false, err
			}
			if q.ready() {
				return true, nil
			}
		} else {
			for range spinRounds {
				if q.ready() {
					return true, nil
				}
			}
			q.wakeDriver()
		}
		if time.Since(start) >= d {
			return false, nil
		}
	}
}

// waitPoll sleeps in ppoll. In zero-copy that also wakes a driver that waits for
// frames. Signals, of which the Go scheduler sends many, do not prolong it.
func (q *Queue) waitPoll(d time.Duration) (bool, error) {
	for deadline := time.Now().Add(d); ; d = max(time.Until(deadline), 0) {
		q.timeout = unix.NsecToTimespec(int64(d))
		q.pollFDs[0].Revents, q.pollFDs[1].Revents = 0, 0
		_, err := q.sys.poll(q.pollFDs[:], &q.timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("xsk: poll %s queue %d: %w", q.config.Ifname, q.config.Queue, err)
		}
		if q.pollFDs[1].Revents != 0 {
			q.clearWake()
			return true, nil
		}
		if q.ready() {
			return true, nil
		}
		if events := q.pollFDs[0].Revents; events&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			if err := q.checkLink(); err != nil {
				return false, err
			}
			return false, fmt.Errorf("xsk: poll %s queue %d: events %#x", q.config.Ifname, q.config.Queue, events)
		}
		if d == 0 {
			return false, nil
		}
	}
}

// checkLink asks the kernel whether the socket can still receive, by a call that does
// nothing else. recvfrom fails with ENETDOWN while the interface is down. It fails with
// ENXIO once the interface is gone, has moved to another namespace or lost this queue.
func (q *Queue) checkLink() error { return q.linkError(q.kick()) }

func (q *Queue) linkError(errno unix.Errno) error {
	switch errno {
	case unix.ENETDOWN:
		return fmt.Errorf("xsk: %s queue %d: %w: %w (ip link set %s up)", q.config.Ifname, q.config.Queue, ErrDown, errno, q.config.Ifname)
	case unix.ENXIO:
		return fmt.Errorf("xsk: %s queue %d: %w: %w (the interface was removed)", q.config.Ifname, q.config.Queue, ErrDown, errno)
	}
	return nil // EAGAIN, EBUSY, EINTR: nothing to do
}

// Wake ends the Wait under way, or else the next one, at once. It may be called
// from any goroutine at any time.
func (q *Queue) Wake() {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if !q.opened || q.pub.wake.Swap(true) {
		return // closed, or not yet answered
	}
	one := [8]byte{1}
	// Fails only if the counter is full: then poll returns anyway.
	_, _ = q.sys.write(q.wakeFD, one[:])
}

// answerWake reports whether there was a Wake.
func (q *Queue) answerWake() bool {
	if !q.pub.wake.Load() {
		return false
	}
	q.clearWake()
	return true
}

// clearWake makes the next Wake a new one. In this order: a Wake that comes
// between finds the flag still set and is answered by the Wait that is returning.
// One that has set the flag and not yet written makes one Wait more return.
func (q *Queue) clearWake() {
	_, _ = q.sys.read(q.wakeFD, q.drain[:])
	q.pub.wake.Store(false)
}
