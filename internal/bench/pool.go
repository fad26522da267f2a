// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/speadx/speadx/pool"
)

// PoolOptions says how [Pool] measures. The zero value is what `speadx bench pool`
// does, in about a minute.
type PoolOptions struct {
	Sizes  []int         // of the buffer, bytes; nil: [PoolSizes]
	Rounds int           // turns of each contestant; 0: 15, of which the interval leaves out 3 at each end
	Round  time.Duration // least length of a turn; 0: 20 ms
}

// PoolSizes are the sizes measured unless others are asked for: 16 KiB, 64 KiB, and
// so on to 64 MiB.
func PoolSizes() []int {
	return []int{16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}
}

// What is written to a buffer between its allocation and its release.
const (
	TouchNone = "none"
	TouchPage = "page" // a byte of each page of 4 KiB: what the first touch costs
	TouchFill = "fill" // all of it, as a receiver does
)

const (
	pageBytes = 4096
	// fillSource is how much memory buffers are filled from: little enough to stay
	// in a core's own cache, so that it is the buffer whose memory counts.
	fillSource = 128 << 10
	// leastTurn is how many buffers a turn has at least: so many that where each of
	// them makes the garbage collector run, it has run within the turn.
	leastTurn = 4
)

// allocator is a contestant: one buffer at a time.
type allocator interface {
	take() ([]byte, error)
	release() error
}

// Pool measures what it costs to have a buffer for a heap, for each size and each
// way of touching it:
//
//	speadx     a slot of package pool, through all states of its life
//	make       make([]byte, n), left to the garbage collector: it is zeroed
//	sync.Pool  a *[]byte taken and put back
//	mmap       fresh pages from the kernel and back, with no advice to it
//
// The contestants take turns, each round in another order. The garbage of one turn
// is collected before the next, so that who makes none pays for none; within a turn
// the collector runs when it will. Each turn begins with a buffer that does not
// count, so that those that keep their memory have it. All use one buffer again and
// again, in one goroutine: as on a stack of free slots the warmest is taken first,
// that is also how a receiver has them that keeps up.
//
// A ratio is the rate relative to make. Each result has its own figures of one size
// and touch; emit is called for all contestants of these at a time.
func Pool(ctx context.Context, o PoolOptions, emit func(Result)) error {
	if o.Sizes == nil {
		o.Sizes = PoolSizes()
	}
	if o.Rounds == 0 {
		o.Rounds = 15
	}
	if o.Round == 0 {
		o.Round = 20 * time.Millisecond
	}
	if o.Rounds < 0 || o.Round < 0 {
		return fmt.Errorf("bench pool: %d rounds of %v cannot be", o.Rounds, o.Round)
	}
	for _, size := range o.Sizes {
		if size < 1 {
			return fmt.Errorf("bench pool: a buffer of %d bytes cannot be", size)
		}
	}
	for _, size := range o.Sizes {
		if err := poolOfSize(ctx, size, o, emit); err != nil {
			return fmt.Errorf("bench pool: buffers of %d bytes: %w", size, err)
		}
	}
	return nil
}

// poolOfSize measures buffers of one size.
func poolOfSize(ctx context.Context, size int, o PoolOptions, emit func(Result)) (err error) {
	slots, err := newSlots(size)
	if err != nil {
		return err
	}
	defer func() {
		if e := slots.pool.Close(); err == nil {
			err = e
		}
	}()
	pages := slots.pool.Memory().Pages
	source := make([]byte, fillSource)
	for i := range source {
		source[i] = byte(i)
	}
	for _, touch := range []struct {
		name string
		f    func(b []byte)
	}{
		{TouchNone, func([]byte) {}},
		{TouchPage, touchPages},
		{TouchFill, func(b []byte) { fill(b, source) }},
	} {
		turns := []*turn{
			{name: "speadx", allocator: slots, touch: touch.f},
			{name: "make", allocator: &made{size: size}, touch: touch.f},
			{name: "sync.Pool", allocator: newPooled(size), touch: touch.f},
			{name: "mmap", allocator: &mapped{size: size}, touch: touch.f},
		}
		for _, t := range turns {
			if err := t.calibrate(o.Round); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
		for round := range o.Rounds {
			for i := range turns {
				if err := ctx.Err(); err != nil {
					return err
				}
				t := turns[(round+i)%len(turns)]
				if err := t.take(); err != nil {
					return fmt.Errorf("%s: %w", t.name, err)
				}
			}
		}
		reference := turns[1]
		for _, t := range turns {
			r := t.result()
			r.Heap, r.Touch = int64(size), touch.name
			if touch.name == TouchFill {
				bits := 8 * float64(size)
				r.Gbps, r.GbpsLow, r.GbpsHigh = bits/r.NsPerOp, bits/r.NsHigh, bits/r.NsLow
			}
			if t != reference {
				ratio := RatioOf(reference.ns, t.ns) // of times: the other way round
				ratio.To = reference.name
				r.Ratio = &ratio
			}
			if t.allocator == slots {
				r.Machine = &Machine{Pages: pages}
			}
			emit(r)
		}
	}
	return nil
}

// turn is a contestant and what it did so far.
type turn struct {
	name      string
	allocator allocator
	touch     func(b []byte)
	buffers   int       // in a turn
	ns        []float64 // for a buffer, in each turn
	allocs    uint64    // in the turn with the fewest
}

// calibrate finds how many buffers make a turn of at least d.
func (t *turn) calibrate(d time.Duration) error {
	for t.buffers = leastTurn; ; {
		took, err := t.run(t.buffers)
		if err != nil || took >= d {
			return err
		}
		// No more than tenfold at once: the first buffers are the slowest.
		more := 1.2 * float64(t.buffers) * float64(d) / float64(max(took, 1))
		t.buffers = int(min(more, 10*float64(t.buffers))) + 1
	}
}

// take takes the next turn.
func (t *turn) take() error {
	runtime.GC()
	if _, err := t.run(1); err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took, err := t.run(t.buffers)
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; len(t.ns) == 0 || n < t.allocs {
		t.allocs = n
	}
	t.ns = append(t.ns, float64(took)/float64(t.buffers))
	return err
}

// run takes and releases n buffers.
func (t *turn) run(n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		b, err := t.allocator.take()
		if err != nil {
			return 0, err
		}
		t.touch(b)
		if err := t.allocator.release(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

func (t *turn) result() Result {
	r := Result{Bench: "pool", Contestant: t.name, Trials: len(t.ns), Allocs: &t.allocs}
	r.NsPerOp, r.NsLow, r.NsHigh = Median(t.ns)
	return r
}

func touchPages(b []byte) {
	for i := 0; i < len(b); i += pageBytes {
		b[i] = 1
	}
}

func fill(b, source []byte) {
	for len(b) > 0 {
		b = b[copy(b, source):]
	}
}

// slots takes from package pool.
type slots struct {
	pool  *pool.Pool
	share *pool.Share
	size  int
	slot  int
}

func newSlots(size int) (*slots, error) {
	p, err := pool.New(pool.Config{
		Shares: []pool.ShareConfig{{Name: "bench", Live: 1, Threads: 1, Largest: size}},
		Node:   -1,
	})
	if err != nil {
		return nil, err
	}
	return &slots{pool: p, share: p.Share(0), size: size}, nil
}

func (s *slots) take() ([]byte, error) {
	slot, ok := s.share.Take(int64(s.size))
	if !ok {
		return nil, fmt.Errorf("no slot of %d is free", s.share.Slots())
	}
	s.slot = slot
	return s.share.Bytes(slot)[:s.size], nil
}

// release lets the slot go the whole way, as a heap does that is handed over.
func (s *slots) release() error {
	s.share.MarkReady(s.slot)
	s.share.MarkHeld(s.slot)
	return s.share.Free(s.slot)
}
