// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/filter"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/internal/wakeup"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Receiver receives streams until they have ended, [Receiver.Stop] is called, or
// it is closed. Its methods may be called from any goroutine.
type Receiver struct {
	cfg       Config
	plan      *plan
	devices   []*device
	pool      *pool.Pool
	poolNotes []string    // about its size
	sizes     pool.Config // of the pool
	streams   []*stream
	threads   []*thread
	udp       []*source.UDP
	tcp       []*source.TCP
	links     []*netif.Link     // that UDP sockets depend on
	groups    *netif.Membership // for devices; nil: none was joined
	ready     *wakeup.Event     // signalled when there is a heap to take, or an end
	waiters   *wakeup.Waiters   // those that wait for it
	yields    sched.Yielder     // of them
	findings  *findings
	causes    causes
	opening   *opening      // what Open tells
	changes   changes       // of the endpoints
	vitals    vitals        // of the interfaces
	quiet     quiet         // for how long nothing has arrived
	downs     chan struct{} // a thread has found its interface down
	settled   atomic.Bool   // no packet comes any more, and all counters are read
	peers     *peers        // the other receivers on this machine

	accept   filter.Filter // of datagrams in capture files; nil: all
	received received      // by Groups and Sockets

	turn     atomic.Uint32 // of the stream that Next looks at first
	leftover atomic.Uint64 // packets that shutting down did not wait for

	stopOnce  sync.Once
	stopping  chan struct{} // closed by Stop
	over      atomic.Bool   // everything has ended: what is in the rings is all there is
	overCh    chan struct{} // closed then
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
	takers    sync.RWMutex // held for reading by each Next under way
	err       error        // why it ended, once over
}

// ErrDown is in the error of [Receiver.Next] when an interface was set down or
// is gone.
var ErrDown = xsk.ErrDown

// ErrClosed is the error of [Receiver.Next] after Close. It is in that of [Receiver.Add] and
// [Receiver.Remove] when reception has ended.
var ErrClosed = errors.New("speadx: the receiver is closed")

// stream is one stream and what it is assembled with.
type stream struct {
	plan      *planStream
	assembler *heap.Assembler
	share     *pool.Share
	feeders   int                    // given out
	udp       *source.UDP            // nil: none of its packets come from UDP sockets
	renamed   atomic.Pointer[string] // what a spare stream is called once it is used
	live      []liveEndpoint         // that are received now; under changes
	since     atomic.Int64           // when it began to be received, in ns since 1970; 0: it is not
}

// receives reports whether anything can come for the stream. The caller holds changes.mu, or
// nothing changes yet.
func (s *stream) receives() bool { return len(s.live)+len(s.plan.files)+len(s.plan.tcp) > 0 }

// noteSince notes that the stream begins to be received, or that it is not any more. The
// caller holds changes.mu, or nothing changes yet.
func (s *stream) noteSince() {
	switch {
	case !s.receives():
		s.since.Store(0)
	case s.since.Load() == 0:
		s.since.Store(time.Now().UnixNano())
	}
}

// name is what the stream is called.
func (s *stream) name() string {
	if n := s.renamed.Load(); n != nil {
		return *n
	}
	return s.plan.name
}

// Next waits for a heap and hands it over, complete or, if [Config.Incomplete]
// says so, not. The heap is the caller's until its Release. The heaps of each
// stream come in the order in which they were finished. Any number of goroutines may
// wait in Next: all of them together take one thread, and a heap wakes one of them.
//
// The error is [io.EOF] when reception has ended, as all streams have or by Stop, and the last
// heap has been taken. It is [ErrClosed] after Close, and the context's if that is done first.
// Any other says why nothing can be received any more.
func (r *Receiver) Next(ctx context.Context) (*heap.Heap, error) {
	r.takers.RLock()
	defer r.takers.RUnlock()
	if h, err, ok := r.tryNext(); ok {
		return h, err
	}
	r.yields.Yield()
	var (
		h   *heap.Heap
		err error
	)
	if done := r.waiters.Wait(ctx, func() (ok bool) {
		h, err, ok = r.tryNext()
		return ok
	}); done != nil {
		return nil, done
	}
	return h, err
}

// tryNext takes a heap, or finds that there will be none; ok reports whether it
// was one of these.
func (r *Receiver) tryNext() (h *heap.Heap, err error, ok bool) {
	if r.closed.Load() {
		return nil, ErrClosed, true
	}
	over := r.over.Load() // before looking: nothing is finished after it
	n := len(r.streams)
	first := int(r.turn.Load())
	for i := range n {
		k := (first + i) % n
		if h := r.streams[k].assembler.TryNext(); h != nil {
			r.turn.Store(uint32((k + 1) % n))
			return h, nil, true
		}
	}
	if !over {
		return nil, nil, false
	}
	if r.err != nil {
		return nil, r.err, true
	}
	return nil, io.EOF, true
}

// Heaps iterates over Next. It ends without an error when Next would return
// io.EOF, and after any other error, such as [ErrClosed].
func (r *Receiver) Heaps(ctx context.Context) iter.Seq2[*heap.Heap, error] {
	return func(yield func(*heap.Heap, error) bool) {
		for {
			h, err := r.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

// Stop ends reception: packets go to the kernel again, what has been received is
// worked off, and heaps still incomplete leave. Next then gives what is finished
// and after that io.EOF. It returns at once.
func (r *Receiver) Stop() { r.stopOnce.Do(func() { close(r.stopping) }) }

// Done is closed when nothing is received any more and the interfaces are free.
func (r *Receiver) Done() <-chan struct{} { return r.overCh }

// Close ends everything at once: Next returns [ErrClosed], and finished heaps that
// nobody has taken are dropped. Heaps that are held stay valid until their
// Release. It is idempotent and returns when everything is given back.
func (r *Receiver) Close() error {
	r.closeOnce.Do(func() {
		r.closed.Store(true)
		for _, s := range r.streams {
			s.assembler.Abort()
		}
		r.Stop()
		r.ready.Signal()
		<-r.overCh
		r.ready.Signal()
		r.takers.Lock() // every Next has returned, and the next one sees that we are closed
		defer r.takers.Unlock()
		r.waiters.Close()
		var errs []error
		for _, s := range r.streams {
			errs = append(errs, s.assembler.Close())
		}
		errs = append(errs, r.pool.Close(), r.ready.Close())
		if r.closeErr = errors.Join(append(errs, r.closeErr)...); r.closeErr != nil {
			r.closeErr = fmt.Errorf("speadx: close: %w", r.closeErr)
		}
	})
	return r.closeErr
}

// supervise waits for the end and shuts down.
func (r *Receiver) supervise(threadDone <-chan *thread) {
	alive := len(r.threads)
	var failed error
	housekeeping := time.NewTicker(time.Second)
	defer housekeeping.Stop()
	ended := r.changes.ended
	for _, s := range r.streams {
		go func() {
			<-s.assembler.Done()
			r.checkEnded()
		}()
	}
wait:
	for alive > 0 {
		select {
		case <-r.stopping:
			break wait
		case <-ended:
			break wait
		case t := <-threadDone:
			alive--
			if t.err != nil {
				failed = fmt.Errorf("speadx: %w", t.err) // which names the source
				break wait
			}
		case <-housekeeping.C:
			r.findings.look(r)
			r.listenQuiet(time.Now(), false)
			if err := r.checkInterfaces(); err != nil {
				failed = fmt.Errorf("speadx: %w", err)
				break wait
			}
		case <-r.downs:
			if err := r.checkInterfaces(); err != nil {
				failed = fmt.Errorf("speadx: %w", err)
				break wait
			}
		}
	}
	r.shutdown(alive, threadDone, failed)
}

// drainTime is for how long, at most, packets are read that were on their way
// when the program was told to leave them to the kernel.
const drainTime = time.Second

// shutdown stops in the order that keeps the accounts: no packets come any more,
// what has come is read, then the threads end, then the sources are closed.
func (r *Receiver) shutdown(alive int, threadDone <-chan *thread, failed error) {
	r.Stop()
	r.changes.end() // the endpoints stay as they are
	var errs []error
	for _, d := range r.devices {
		errs = append(errs, d.disable())
	}
	errs = append(errs, r.leaveGroups())
	deadline := time.Now().Add(drainTime)
	for !r.drained() && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // packets are in a softirq on some CPU: nothing tells when
	}
	for _, t := range r.threads {
		t.stop()
	}
	for ; alive > 0; alive-- {
		if t := <-threadDone; t.err != nil && failed == nil {
			failed = fmt.Errorf("speadx: %w", t.err) // which names the source
		}
	}
	r.listenQuiet(time.Now(), true)   // when the threads have published all that they counted
	r.findings.checkFrames(r.devices) // while the queues are open, and their threads have ended
	for _, t := range r.threads {
		errs = append(errs, t.src.Close())
	}
	for _, l := range r.links {
		l.Close()
	}
	r.closeQuiet()
	r.closeVitals()
	r.peers.close() // nobody else gets a program that is about to go
	for _, d := range r.devices {
		r.leftover.Add(d.unread())
		errs = append(errs, d.close())
	}
	r.settled.Store(true)
	r.findings.look(r)
	r.closeErr = errors.Join(errs...)
	r.err = failed
	r.over.Store(true)
	close(r.overCh)
	r.ready.Signal()
}

// drained reports whether every packet that was redirected to a socket has been
// read or dropped by the kernel.
func (r *Receiver) drained() bool {
	for _, d := range r.devices {
		if d.unread() > 0 {
			return false
		}
	}
	return true
}
