// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/pages"
)

const (
	completionSlots = 64 // of the ring of sent frames: mandatory, never used

	// The kernel gives a queue free some 20 ms after its socket is closed and the
	// last mapping gone, and refuses it with EBUSY until then.
	bindRetries  = 100
	bindInterval = 10 * time.Millisecond

	// Busy polling: what the kernel's documentation of AF_XDP recommends.
	busyPollMicros = 20
	busyPollBudget = 64 // packets in one go
)

// Open opens a queue. The XDP program should be attached by then (attaching resets
// the rings of many NICs, and some refuse zero-copy without one), but the socket
// must not yet be in its map. Errors are of type [*OpenError].
func Open(c Config) (*Queue, error) { return open(c, linux) }

func open(c Config, sys *system) (*Queue, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	q := &Queue{config: c, sys: sys, fd: -1, wakeFD: -1}
	if err := q.setUp(); err != nil {
		_ = q.Close() // of the half that is there
		return nil, err
	}
	return q, nil
}

// setUp does the steps in the one order that is safe with every driver. Close
// undoes what was done when it returns early.
func (q *Queue) setUp() error {
	c, sys := &q.config, q.sys
	var err error
	fail := func(step string) error { return c.failed(step, err, c.hint(sys, step, err)) }

	if q.fd, err = sys.socket(); err != nil {
		q.fd = -1
		e := c.failed(StepSocket, err, c.hint(sys, StepSocket, err))
		e.Forbidden = string(sys.forbidden(err))
		return e
	}
	q.umem, err = sys.mapUMEM(c.Frames*chunkBytes, pages.Options{
		Choice:  pages.Choice(c.Pages),
		No1G:    true,
		Node:    c.Node,
		Lock:    false, // registering pins the pages
		Touched: c.Touched,
		Name:    fmt.Sprintf("UMEM of %s queue %d", c.Ifname, c.Queue),
	})
	if err != nil {
		return fail(StepMemory)
	}
	if err = sys.regUMEM(q.fd, q.umem.Bytes, chunkBytes); err != nil {
		return fail(StepRegister)
	}

	// No TX ring: with one, poll would also drive it.
	for _, ring := range []struct {
		step          string
		option, slots int
	}{
		{StepFill, unix.XDP_UMEM_FILL_RING, c.Frames},
		{StepCompletion, unix.XDP_UMEM_COMPLETION_RING, completionSlots},
		{StepRX, unix.XDP_RX_RING, c.Frames},
	} {
		if err = sys.setInt(q.fd, unix.SOL_XDP, ring.option, ring.slots); err != nil {
			return fail(ring.step)
		}
	}
	off, err := sys.offsets(q.fd)
	if err != nil {
		return c.failed(StepOffsets, err, "")
	}
	if q.fillMem, err = sys.mapRing(q.fd, unix.XDP_UMEM_PGOFF_FILL_RING, int(off.Fr.Desc)+c.Frames*addrBytes); err != nil {
		return fail(StepMapFill)
	}
	if q.fill, err = newFillRing(q.fillMem, off.Fr, c.Frames); err != nil {
		return fail(StepMapFill)
	}
	if q.rxMem, err = sys.mapRing(q.fd, unix.XDP_PGOFF_RX_RING, int(off.Rx.Desc)+c.Frames*descBytes); err != nil {
		return fail(StepMapRX)
	}
	if q.rx, err = newRxRing(q.rxMem, off.Rx, c.Frames); err != nil {
		return fail(StepMapRX)
	}

	// All frames go to the kernel before the socket is bound: mlx5 does not
	// recover from a bind in zero-copy with an empty fill ring.
	q.held = newHeldFrames(q.umem.Bytes, chunkBytes, c.MaxChain)
	q.held.fillUp(&q.fill)

	if err = q.bind(); err != nil {
		return fail(StepBind)
	}
	// An interface that is down can be bound to. Say so now, not in the first Wait. Before
	// Linux 5.11 the kernel does not know the call, by which Wait wakes the driver and
	// notices that the interface is down.
	if errno := sys.kick(q.fd); errno == unix.ENETDOWN || errno == unix.ENXIO || errno == unix.EOPNOTSUPP {
		err = errno
		return fail(StepKick)
	}
	if err = q.verifyMode(); err != nil {
		return fail(StepVerify)
	}
	if err = q.setUpBusyPoll(); err != nil {
		return fail(StepBusyPoll)
	}
	if q.wakeFD, err = sys.eventfd(); err != nil {
		q.wakeFD = -1
		return fail(StepEventfd)
	}
	q.pollFDs = [2]unix.PollFd{
		{Fd: int32(q.fd), Events: unix.POLLIN},
		{Fd: int32(q.wakeFD), Events: unix.POLLIN},
	}
	q.opened = true
	return nil
}

// bind ties the socket to the queue, with explicit flags: without them the kernel
// would silently fall back from zero-copy to copying.
func (q *Queue) bind() error {
	sa := &unix.SockaddrXDP{
		Flags:   unix.XDP_USE_NEED_WAKEUP,
		Ifindex: uint32(q.config.Ifindex),
		QueueID: uint32(q.config.Queue),
	}
	if q.config.Mode == ModeZeroCopy {
		sa.Flags |= unix.XDP_ZEROCOPY
	} else {
		sa.Flags |= unix.XDP_COPY
	}
	if q.config.MultiBuffer {
		sa.Flags |= unix.XDP_USE_SG
	}
	for try := 0; ; try++ {
		err := q.sys.bind(q.fd, sa)
		if !errors.Is(err, unix.EBUSY) || try == bindRetries {
			return err
		}
		q.sys.sleep(bindInterval)
	}
}

// verifyMode reads back whether packets are copied.
func (q *Queue) verifyMode() error {
	options, err := q.sys.getInt(q.fd, unix.SOL_XDP, unix.XDP_OPTIONS)
	if err != nil {
		return err
	}
	zeroCopy := options&unix.XDP_OPTIONS_ZEROCOPY != 0
	if zeroCopy != (q.config.Mode == ModeZeroCopy) {
		return fmt.Errorf("asked for %v, the kernel reports zero-copy %t", q.config.Mode, zeroCopy)
	}
	return nil
}

// setUpBusyPoll reads the queue's NAPI id and sets the options of busy polling
// where that is wanted. Without an id they would be accepted and do nothing.
func (q *Queue) setUpBusyPoll() error {
	napi, err := q.sys.getInt(q.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
	if err == nil {
		q.napi = napi
	}
	if q.config.Wait != WaitBusy {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read SO_INCOMING_NAPI_ID: %w", err)
	}
	if napi == 0 {
		return fmt.Errorf("%w: SO_INCOMING_NAPI_ID is 0", ErrNoBusyPoll)
	}
	for _, o := range []struct {
		name          string
		option, value int
	}{
		{"SO_PREFER_BUSY_POLL", unix.SO_PREFER_BUSY_POLL, 1},
		{"SO_BUSY_POLL", unix.SO_BUSY_POLL, busyPollMicros},
		{"SO_BUSY_POLL_BUDGET", unix.SO_BUSY_POLL_BUDGET, busyPollBudget},
	} {
		if err := q.sys.setInt(q.fd, unix.SOL_SOCKET, o.option, o.value); err != nil {
			return fmt.Errorf("set %s to %d: %w", o.name, o.value, err)
		}
	}
	return nil
}
