// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// contestant is somebody who receives.
type contestant struct {
	name string
	// open begins to receive at the end of a wire. It is called in its namespace.
	open    func(w *wire) (receiver, error)
	jumbo   bool // it takes packets longer than a frame of the UMEM
	many    bool // it is of interest where many send at once
	rival   bool // it is somebody else's
	disturb bool // it is disturbed, too: its receiver is one of ours
}

// receiver receives from a wire.
type receiver interface {
	// begin is called before a trial.
	begin() error
	// end says, after a trial in which so many packets arrived, how many it received.
	end(arrived uint64) (received uint64, err error)
	// cpu is the CPU time of its process since begin; what the generator used in the
	// same process is taken off by the caller if own is true.
	cpu() (d time.Duration, own bool)
	// ring is how many frames its ring holds, and the most that were ever waiting on it.
	ring() (peak, size int)
	close() error
}

// quiet is for how long nothing more must have been received at the end of a trial.
const quiet = 30 * time.Millisecond

// settle waits until so many were received, or no more come.
func settle(want uint64, received func() uint64) uint64 {
	last, since := received(), time.Now()
	for last < want && time.Since(since) < quiet {
		time.Sleep(time.Millisecond)
		if n := received(); n != last {
			last, since = n, time.Now()
		}
	}
	return last
}

// counter is what receivers in this process have in common.
type counter struct {
	received func() uint64
	before   uint64
	cpuThen  time.Duration
}

func (c *counter) begin() error {
	c.before, c.cpuThen = c.received(), processCPU()
	return nil
}

func (c *counter) end(arrived uint64) (uint64, error) {
	return settle(c.before+arrived, c.received) - c.before, nil
}

func (c *counter) cpu() (time.Duration, bool) { return processCPU() - c.cpuThen, true }

// speadxReceiver is the library, with a consumer that releases what it gets.
type speadxReceiver struct {
	counter
	r         *speadx.Receiver
	consumer  sync.WaitGroup
	disturbed atomic.Pointer[disturbance]
}

func openSpeadx(mode speadx.Mode, wait speadx.Wait, frames int, ringHeaps func(l *load) int) func(w *wire) (receiver, error) {
	return func(w *wire) (receiver, error) {
		r, err := speadx.Open(context.Background(), speadx.Config{
			Streams:    []speadx.Stream{{Source: w.dest.String()}},
			Interfaces: []string{w.net.B.Name},
			Mode:       mode,
			Wait:       wait,
			Frames:     frames,
			CPUs:       []int{receiverCPU()},
			HeapSize:   w.load.heap,
			IgnoreStop: true,

			ConcurrentHeaps: w.load.live(),
			RingHeaps:       max(w.load.live(), ringHeaps(&w.load)),
		})
		if err != nil {
			return nil, err
		}
		s := &speadxReceiver{r: r}
		// What stands in heaps that were taken, complete; what was lost of others is
		// lost with all their packets.
		s.received = func() uint64 {
			stats := r.Stats()
			return stats.Fates[ledger.Delivered]
		}
		s.consumer.Go(func() {
			// Right behind the receiving thread, where all processors are busy. The
			// thread, with its priority, ends with us.
			runtime.LockOSThread()
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), consumerNice)
			for {
				h, err := r.Next(context.Background())
				if err != nil {
					return
				}
				s.disturbed.Load().consume()
				h.Release()
			}
		})
		return s, nil
	}
}

// consumerNice is the priority of a consumer's thread.
const consumerNice = -10

func (s *speadxReceiver) ring() (peak, size int) {
	stats, info := s.r.Stats(), s.r.Info()
	for _, d := range stats.Devices {
		for _, q := range d.Queues {
			peak = max(peak, int(q.Counts[ledger.QueueRingHigh]))
		}
	}
	for _, d := range info.Devices {
		for _, q := range d.Queues {
			size = q.Frames
		}
	}
	return peak, size
}

func (s *speadxReceiver) close() error {
	err := s.r.Close()
	s.consumer.Wait()
	return err
}

// loop is a receiver that is a loop on a thread of its own: pass does a piece of it,
// waiting for packets a while.
type loop struct {
	counter
	count  atomic.Uint64
	quit   atomic.Bool
	done   sync.WaitGroup
	err    error
	wake   func()
	closer func() error
	peak   func() (peak, size int)
}

func (l *loop) run(pass func() error) {
	l.received = l.count.Load
	l.done.Go(func() {
		restore, err := sched.OnCPU(receiverCPU())
		if err != nil {
			l.err = err
			return
		}
		defer restore()
		defer sched.Hasten()()
		defer sched.Receive()()
		for !l.quit.Load() {
			if err := pass(); err != nil {
				l.err = err
				return
			}
		}
	})
}

func (l *loop) ring() (peak, size int) { return l.peak() }

func (l *loop) close() error {
	l.quit.Store(true)
	l.wake()
	l.done.Wait()
	return errors.Join(l.err, l.closer())
}

// tick is how long a loop waits for packets at most.
const tick = 100 * time.Millisecond

// steered is one queue of a wire with our program in front of it.
type steered struct {
	program *bpf.Steer
	w       *wire
}

func (s *steered) Attach(mode xsk.Mode) (io.Closer, error) {
	var err error
	if s.program, err = bpf.LoadSteer(bpf.SteerConfig{Queues: 1, Frags: bpf.HaveFrags(), MaxEndpoints: 1}); err != nil {
		return nil, err
	}
	at := bpf.Native
	if mode == xsk.ModeGeneric {
		at = bpf.Generic
	}
	if err := s.program.AddEndpoint(s.w.dest); err != nil {
		return nil, err
	}
	return s.program.Attach(s.w.net.B.Index, s.w.net.B.Name, at)
}

func (s *steered) SetSocket(queue, fd int) error { return s.program.SetSocket(queue, fd) }

func (s *steered) ClearSocket(queue int) error { return s.program.ClearSocket(queue) }

func (s *steered) close() error {
	if s.program == nil {
		return nil
	}
	return s.program.Close()
}

// mostFrame is longer than all frames of an MTU of 9000.
const mostFrame = 10000

// openDrain opens our AF_XDP queue with nobody behind it: frames are taken and given
// back. It sleeps in poll when there are none, as the loop of every example does, or
// waits as our receiver does. What is in the frames is not looked at, or it is copied once,
// to memory of the size of a heap for each sender. That is the least that an assembler of
// heaps can do.
func openDrain(frames int, asReceiver, copies bool) func(w *wire) (receiver, error) {
	return func(w *wire) (receiver, error) {
		s := &steered{w: w}
		link, err := xsk.OpenInterface(xsk.InterfaceConfig{
			Ifindex: w.net.B.Index, Ifname: w.net.B.Name, Queues: []int{0}, Want: xsk.WantNative, Frames: frames, Node: -1,
		}, s)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		if err := link.Enable(); err != nil {
			return nil, errors.Join(err, link.Close(), s.close())
		}
		q := link.Queues()[0]
		l := &loop{wake: q.Wake}
		l.closer = func() error { return errors.Join(link.Close(), s.close()) }
		l.peak = func() (int, int) { return int(q.Stats().RingHigh), frames }
		packets := make([]xsk.Packet, 256)
		var place []byte
		if copies {
			place = make([]byte, int64(w.load.senders)*w.load.heap+mostFrame)
		}
		at := 0
		keep := func(p *xsk.Packet) {
			if at+p.Len > len(place) {
				at = 0
			}
			at += copy(place[at:], p.First)
			for _, s := range p.Rest {
				at += copy(place[at:], s)
			}
		}
		fds := []unix.PollFd{{Fd: int32(q.FD()), Events: unix.POLLIN}}
		l.run(func() error {
			n := q.Receive(packets)
			if n > 0 {
				if copies {
					for i := range packets[:n] {
						keep(&packets[i])
					}
				}
				q.Release()
				l.count.Add(uint64(n))
				return nil
			}
			if asReceiver {
				return q.Wait(tick)
			}
			_, err := unix.Poll(fds, int(tick.Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				err = nil
			}
			return err
		})
		return l, nil
	}
}

// feeding is our way from a source to released heaps, without threads: what is put
// behind other people's rings.
type feeding struct {
	pool      *pool.Pool
	assembler *heap.Assembler
	batch     *source.Batch
}

func newFeeding(w *wire) (_ *feeding, err error) {
	f := &feeding{batch: source.NewBatch(feedingBatch)}
	// There is nobody else to empty the ring: it takes all heaps that a batch can end.
	f.pool, f.assembler, err = newAssembler(heap.Config{Name: "bench", IgnoreStop: true}, pool.ShareConfig{
		Name: "bench", Live: w.load.live(), Ring: feedingBatch/w.load.packets + w.load.live(), Held: 2, Threads: 1, Largest: int(w.load.heap),
	})
	return f, err
}

// feedingBatch is how many packets are received at once.
const feedingBatch = 256

// pass receives a batch and gives how many packets stood in the heaps it completed.
func (f *feeding) pass(src source.Source) (packets int64, err error) {
	n, err := src.Receive(f.batch, tick)
	if err != nil {
		return 0, err
	}
	feeder := f.assembler.Feeder(0)
	if n > 0 {
		feeder.Feed(f.batch.Packets, f.batch.Now, f.batch.Wall)
	}
	src.Release()
	for h := f.assembler.TryNext(); h != nil; h = f.assembler.TryNext() {
		if h.Complete() {
			packets += h.Packets()
		}
		h.Release()
	}
	return packets, nil
}

func (f *feeding) close() error {
	return errors.Join(f.assembler.Close(), f.pool.Close())
}

// openDrop attaches a program that drops everything: what is left is the sender's cost.
func openDrop(w *wire) (receiver, error) {
	prog, link, err := attachDrop(w.net.B.Index)
	if err != nil {
		return nil, fmt.Errorf("XDP_DROP: %w", err)
	}
	return &dropper{shut: func() error { return errors.Join(link.Close(), prog.Close()) }}, nil
}

// dropper receives nothing and loses nothing.
type dropper struct {
	then time.Duration
	shut func() error
}

func (d *dropper) begin() error                       { d.then = processCPU(); return nil }
func (d *dropper) end(arrived uint64) (uint64, error) { return arrived, nil }
func (d *dropper) cpu() (time.Duration, bool)         { return processCPU() - d.then, true }
func (d *dropper) ring() (peak, size int)             { return 0, 0 }
func (d *dropper) close() error                       { return d.shut() }
