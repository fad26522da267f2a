// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"testing"

	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// Heaps are written past the cache where those that are filled at once are too large
// for it, also when just those that began together have ended together.
func TestConcurrency(t *testing.T) {
	for _, c := range []struct {
		size    int64
		started []uint64 // meanwhile, of each heap that is complete
		past    bool     // the next one
	}{
		{1 << 20, []uint64{1, 1, 1, 1}, false},
		{8 << 20, []uint64{1}, false},
		{16 << 20, nil, true},
		{1 << 40, []uint64{1 << 60}, true},
		{1, []uint64{1 << 60}, false},
		{1 << 20, []uint64{15}, false},
		{1 << 20, []uint64{16}, true},
		{1 << 20, count(64, 1), true},
		{1 << 20, append(count(64, 1), 1, 1, 1), true},
		{1 << 20, append(count(64, 1), make([]uint64, 400)...), false},
		{64 << 10, count(64, 1), false},
		{-1, count(64, 1), false},
	} {
		var w concurrency
		h := spead.Packet{HeapLength: c.size}
		for _, n := range c.started {
			w.see(n)
		}
		if w.past(&h, pastCache) != c.past {
			t.Errorf("heaps of %d bytes, %v at once: past the cache is %v", c.size, c.started, !c.past)
		}
	}
}

// Of heaps that begin and end together, and of those of one sender, the assembler sees
// how many are filled at once; heaps that stay incomplete are not among them.
func TestConcurrencySeen(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 64, Ring: 64, Largest: 4096}, Config{})
	feed := func(cnts []uint64, offsets ...int) {
		for _, off := range offsets {
			for _, cnt := range cnts {
				r.feed(0, raw(48, cnt, 200, int64(off), make([]byte, 100)))
			}
		}
		r.take()
	}
	feed([]uint64{1}, 0, 100)
	feed([]uint64{2}, 0, 100)
	feed(count(3, 32), 0) // halves that are never whole
	for cnt := range uint64(20) {
		feed([]uint64{33 + cnt}, 0, 100)
	}
	f := r.Feeder(0)
	if h := (spead.Packet{HeapLength: 1000}); f.concurrency.past(&h, 1001) || !f.concurrency.past(&h, 1000) {
		t.Errorf("one sender, and heaps that are incomplete: a concurrency of %v", float64(f.concurrency)/256)
	}
	feed(count(100, 139), 0, 100)
	if h := (spead.Packet{HeapLength: 1000}); f.concurrency.past(&h, 40_001) || !f.concurrency.past(&h, 29_000) {
		t.Errorf("40 senders: a concurrency of %v", float64(f.concurrency)/256)
	}
}

// count counts from one number to another, up or down.
func count(from, to uint64) (all []uint64) {
	for n := from; ; {
		all = append(all, n)
		switch {
		case n < to:
			n++
		case n > to:
			n--
		default:
			return all
		}
	}
}
