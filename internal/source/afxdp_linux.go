// SPDX-License-Identifier: Apache-2.0

package source

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/cache"
	"github.com/speadx/speadx/internal/frame"
	"github.com/speadx/speadx/xsk"
)

// Queue is what [AFXDP] asks of a queue of AF_XDP; *[xsk.Queue] is one.
type Queue interface {
	Receive(dst []xsk.Packet) int
	Release()
	Wait(timeout time.Duration) error
	Wake()
	Mark() uint64
	Position() uint64
	Close() error
}

// afxdpFrames is how many frames are taken from the ring at once.
const afxdpFrames = 64

// fetchAhead is how many frames before its turn the headers of one are fetched: the
// kernel wrote them on another processor, mostly, and each is a wait of its own.
const fetchAhead = 8

// AFXDPConfig says what the frames of a queue are to be taken for.
type AFXDPConfig struct {
	Name      string     // in messages: the interface and the queue
	Endpoints *Endpoints // frames to other destinations are counted and dropped

	// SuperFrames cuts frames that hold several SPEAD packets. Only in generic
	// mode can there be such frames: in the other modes the driver does without
	// the offloads that make them. It costs a second look at each packet's
	// item pointers.
	SuperFrames bool
}

// AFXDP takes the UDP payload out of the frames of one queue. Nothing is copied,
// unless a packet's SPEAD header lies across two chunks of the UMEM: then only
// the header is.
//
// Mark and Position count the queue's descriptors. A frame counts as worked off
// when all its packets have been released.
type AFXDP struct {
	queue     Queue
	name      string
	endpoints lookup
	wanted    atomic.Pointer[Endpoints] // those of the next batch
	splitter  splitter
	counters  counters

	frames  []xsk.Packet // taken from the queue and not released
	next    int          // frames[next:] have not been looked at
	space   [afxdpFrames]xsk.Packet
	settled atomic.Uint64 // Position

	sampled netip.AddrPort // the last destination that was noted
	mu      sync.Mutex
	seen    []netip.AddrPort // destinations of endpoints at any address
}

// mostDestinations is how many are noted.
const mostDestinations = 8

var _ Source = (*AFXDP)(nil)

// NewAFXDP makes a source of a queue, which belongs to it from then on.
func NewAFXDP(q Queue, c AFXDPConfig) *AFXDP {
	a := &AFXDP{queue: q, name: c.Name, endpoints: newLookup(c.Endpoints, 0), splitter: newSplitter(c.SuperFrames)}
	a.wanted.Store(c.Endpoints)
	a.settled.Store(q.Position())
	return a
}

// SetEndpoints replaces the endpoints from the next batch on, while packets come. It may be
// called by any goroutine.
func (a *AFXDP) SetEndpoints(e *Endpoints) { a.wanted.Store(e) }

// Receive implements [Source]. What a batch has no room for is kept for the next
// one, and its frames with it.
func (a *AFXDP) Receive(b *Batch, timeout time.Duration) (int, error) {
	b.reset()
	a.splitter.reset()
	if !a.holds() {
		a.Release() // of a batch that turned out to be empty
		if err := a.take(b, timeout); err != nil {
			return 0, err
		}
		if len(a.frames) == 0 {
			return 0, nil
		}
	}
	if e := a.wanted.Load(); e != a.endpoints.endpoints {
		a.endpoints = newLookup(e, 0)
	}
	b.Now, b.Wall = Clock()
	a.fill(b)
	if a.endpoints.last != a.sampled {
		a.note(a.endpoints.last)
	}
	b.count(&a.counters)
	return len(b.Packets), nil
}

// note is given the last destination of a batch, if it is another one than that of the batch before:
// a sample costs nothing for each packet.
func (a *AFXDP) note(to netip.AddrPort) {
	a.sampled = to
	e := a.endpoints.endpoints
	if _, exact := e.exact[to]; exact {
		return
	}
	if _, ok := e.anyAddr[to.Port()]; !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) < mostDestinations && !slices.Contains(a.seen, to) {
		a.seen = append(a.seen, to)
	}
}

// Destinations are some that packets for endpoints at any address were sent to. Any goroutine may
// call it.
func (a *AFXDP) Destinations() []netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// take gets frames from the queue, waiting for the first.
func (a *AFXDP) take(b *Batch, timeout time.Duration) error {
	n := a.queue.Receive(a.space[:])
	if n == 0 && timeout > 0 {
		b.wait()
		err := a.queue.Wait(timeout)
		b.work()
		if err != nil {
			return err
		}
		n = a.queue.Receive(a.space[:])
	}
	a.frames, a.next = a.space[:n], 0
	for i := range min(n, fetchAhead) {
		cache.PrefetchHeaders(a.frames[i].First)
	}
	return nil
}

// holds reports whether frames in hand have packets that were not handed on.
func (a *AFXDP) holds() bool { return a.splitter.active || a.next < len(a.frames) }

func (a *AFXDP) fill(b *Batch) {
	var d frame.Datagram
	for b.room() > 0 {
		if a.splitter.active {
			if !a.splitter.next(b) {
				return
			}
			if a.splitter.active {
				a.counters.superFrames.Add(1)
			}
			continue
		}
		if a.next == len(a.frames) {
			return
		}
		p := &a.frames[a.next]
		a.next++
		if ahead := a.next + fetchAhead - 1; ahead < len(a.frames) {
			cache.PrefetchHeaders(a.frames[ahead].First)
		}
		switch frame.Parse(p.First, p.Len, &d) {
		case frame.NotIPUDP:
			a.counters.notIPUDP.Add(1)
			continue
		case frame.Fragment:
			a.counters.fragment.Add(1)
			continue
		case frame.Truncated:
			a.counters.truncated.Add(1)
			continue
		}
		stream, ok := a.endpoints.find(d.Dst)
		if !ok {
			a.counters.otherEndpoint.Add(1)
			continue
		}
		first := p.First[d.Offset:]
		switch {
		case a.splitter.split:
		case d.Len <= len(first):
			b.add(heap.Packet{First: first[:d.Len:d.Len], Len: d.Len, From: heap.SenderOf(d.Src)}, stream)
			continue
		case d.Offset+d.Len == p.Len && headerLies(first):
			b.add(heap.Packet{First: first, Rest: p.Rest, Len: d.Len, From: heap.SenderOf(d.Src)}, stream)
			continue
		}
		a.splitter.begin(first, p.Rest, d.Len, stream, heap.SenderOf(d.Src))
	}
}

// Release implements [Source]. Frames go back to the queue when none of them has
// packets left.
func (a *AFXDP) Release() {
	if a.holds() {
		return
	}
	if len(a.frames) > 0 {
		a.queue.Release()
		a.frames, a.next = nil, 0
	}
	a.settled.Store(a.queue.Position())
}

// Mark implements [Source].
func (a *AFXDP) Mark() uint64 { return a.queue.Mark() }

// Position implements [Source].
func (a *AFXDP) Position() uint64 { return a.settled.Load() }

// Wake implements [Source].
func (a *AFXDP) Wake() { a.queue.Wake() }

// Counts implements [Source]. What the kernel dropped is in the queue's own
// statistics.
func (a *AFXDP) Counts() Counts { return a.counters.snapshot() }

// Close implements [Source]: it closes the queue.
func (a *AFXDP) Close() error { return a.queue.Close() }

// Name implements [Source].
func (a *AFXDP) Name() string { return a.name }
