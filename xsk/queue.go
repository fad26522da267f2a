// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/speadx/speadx/internal/pages"
	"golang.org/x/sys/unix"
)

// Queue is one receive queue of an interface: socket, UMEM and rings.
//
// It belongs to one goroutine, which should be locked to its thread. That one
// calls Receive, Release, Wait, Conserved, and Close when it is done with them.
// Stats, Info, Mark, Position, FD and Wake may be called from any goroutine at any
// time, also after Close. Nothing allocates after Open except Stats and Conserved.
type Queue struct {
	config Config
	sys    *system

	// Owned by the receiving goroutine.
	rx       rxRing
	fill     fillRing
	held     heldFrames
	consumed uint64        // descriptors taken; its low half is rx.next
	napped   uint64        // consumed at the last Wait
	napTime  time.Duration // of the next nap; 0: the shortest
	batches  uint64
	kicks    uint64
	high     uint64
	pollFDs  [2]unix.PollFd // the socket, the eventfd
	timeout  unix.Timespec
	drain    [8]byte

	pub published

	// mu keeps Close away from those who read what it gives back. Not taken by
	// Receive, Release and Wait.
	mu     sync.RWMutex
	opened bool
	last   KernelStats // what the kernel had counted when Close read it

	fd, wakeFD     int
	umem           *pages.Mapping
	fillMem, rxMem []byte
	napi           int
}

// FD is the socket, for the map of the XDP program; -1 after Close.
func (q *Queue) FD() int {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.fd
}

// Receive takes what has arrived, without waiting, up to len(dst) whole packets,
// and says how many. They are valid until Release, which has to follow before the
// frames run out; there may be several Receives before it.
func (q *Queue) Receive(dst []Packet) int {
	if !q.opened {
		return 0
	}
	if q.held.idle() {
		q.Release()
	}
	avail := q.rx.available(uint32(len(dst)))
	q.high = max(q.high, uint64(avail))
	avail = min(avail, uint32(q.held.room()))
	n, taken := 0, uint32(0)
	for taken < avail && n < len(dst) {
		if q.held.take(q.rx.at(taken), &dst[n]) {
			n++
		}
		taken++
	}
	if taken == 0 {
		return 0
	}
	// The descriptors have been copied out. Their slots are given back before
	// Release gives the frames back, so the RX ring always has room for every
	// frame that the kernel has.
	q.rx.release(taken)
	q.consumed += uint64(taken)
	q.batches++
	q.publish()
	return n
}

// Release gives the frames of all packets received so far back to the kernel.
// Nothing may look at the packets any more.
func (q *Queue) Release() {
	if !q.opened {
		return
	}
	q.held.release(&q.fill)
	q.wakeDriver()
}

// wakeDriver kicks the kernel if it waits for that: in zero-copy the driver stops
// when it finds the fill ring empty. In copy mode the flag is never raised.
func (q *Queue) wakeDriver() unix.Errno {
	if q.config.Mode != ModeZeroCopy || !q.fill.needWakeup() {
		return 0
	}
	return q.kick()
}

// kick makes the kernel look at the fill ring and, while busy polling, run the
// driver. What it answers is interesting to Wait only.
func (q *Queue) kick() unix.Errno {
	q.kicks++
	q.pub.kicks.Store(q.kicks)
	return q.sys.kick(q.fd)
}

// Position is the number of descriptors taken from the RX ring since Open. The
// packets of the last Receive count as taken.
func (q *Queue) Position() uint64 { return q.pub.position.Load() }

// Mark is the number of descriptors that the kernel has published on the RX ring
// since Open. Once Position has reached it, everything that was on the ring when
// Mark was called has been received.
func (q *Queue) Mark() uint64 {
	q.mu.RLock()
	defer q.mu.RUnlock()
	// In this order: the producer is never behind a position read before it.
	position := q.pub.position.Load()
	if !q.opened {
		return position
	}
	return position + uint64(q.rx.producer.Load()-uint32(position))
}

// Conserved checks that every frame is in exactly one place. It means something
// at rest only: no traffic, and no Receive or Release at the same time. In
// zero-copy the driver holds frames that cannot be seen; then it checks that none
// stands twice.
func (q *Queue) Conserved() error {
	if !q.opened {
		return ErrClosed
	}
	c := census{seen: make([]bool, q.config.Frames), chunkMask: q.held.chunkMask}
	for i := q.fill.consumer.Load(); i != q.fill.next; i++ {
		c.add(q.fill.addr[i&q.fill.mask])
	}
	onFill := c.counted
	for i := q.rx.next; i != q.rx.producer.Load(); i++ {
		c.add(q.rx.desc[i&q.rx.mask].Addr)
	}
	onRX := c.counted - onFill
	for _, addr := range q.held.frames[:q.held.n] {
		c.add(addr)
	}
	missing := q.config.Frames - c.counted - int(q.held.lostFrames)
	if c.err == nil && (missing < 0 || missing > 0 && q.config.Mode != ModeZeroCopy) {
		c.err = errors.New("frames are not conserved")
	}
	if c.err != nil {
		return fmt.Errorf("xsk: %s queue %d: %w: %d on the fill ring + %d on the RX ring + %d in hand + %d lost of %d",
			q.config.Ifname, q.config.Queue, c.err, onFill, onRX, q.held.n, q.held.lostFrames, q.config.Frames)
	}
	return nil
}

// census counts frames, each once.
type census struct {
	seen      []bool
	chunkMask uint64
	counted   int
	err       error
}

func (c *census) add(addr uint64) {
	frame := addr / (c.chunkMask + 1)
	switch {
	case frame >= uint64(len(c.seen)):
		c.err = fmt.Errorf("address %#x is no frame's", addr)
	case c.seen[frame]:
		c.err = fmt.Errorf("frame %d is in two places", frame)
	default:
		c.seen[frame] = true
		c.counted++
	}
}

// Close reads the statistics for the last time and gives everything back. Wake,
// and wait for the end of, whoever is in Wait before. The kernel needs some 20 ms
// more until the queue can be opened again; Open waits for that. Close is
// idempotent.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.opened {
		q.last = q.kernelStats()
		q.opened = false
	}
	var errs []error
	check := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("xsk: %s of %s queue %d: %w", what, q.config.Ifname, q.config.Queue, err))
		}
	}
	if q.fd >= 0 {
		check("close the socket", q.sys.close(q.fd))
		q.fd = -1
	}
	if q.wakeFD >= 0 {
		check("close the eventfd", q.sys.close(q.wakeFD))
		q.wakeFD = -1
	}
	// The rings' mappings hold a reference to the socket: with one of them left
	// the queue would stay taken until the process ends.
	q.rx, q.fill = rxRing{}, fillRing{}
	if q.rxMem != nil {
		check("unmap the RX ring", q.sys.unmapRing(q.rxMem))
		q.rxMem = nil
	}
	if q.fillMem != nil {
		check("unmap the fill ring", q.sys.unmapRing(q.fillMem))
		q.fillMem = nil
	}
	q.held.umem, q.held.segs = nil, nil
	if q.umem != nil && q.umem.Bytes != nil {
		check("unmap the UMEM", q.sys.unmapUMEM(q.umem))
	}
	return errors.Join(errs...)
}
