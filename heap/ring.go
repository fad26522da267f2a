// SPDX-License-Identifier: Apache-2.0

package heap

import "sync/atomic"

// ring is the bounded queue of finished heaps, for any number of producers and
// consumers.
//
// Cell i holds one word: the lap it is in, and either the record put there in
// that lap or nothing yet.
//
//	(lap, empty) ──push──► (lap, record) ──pop──► (lap+1, empty)
//	                                     ──exchange──► (lap+1, record)
//
// Each change is one compare-and-swap, and it is the moment at which a heap
// enters or leaves the ring. tail and head only say where to look. A thread that
// finds a cell already changed moves the index on. So a thread that is stopped
// between the two leaves nothing for others to wait for. There are 2^44 laps, so
// they never wrap in practice, and a stale compare-and-swap cannot succeed.
type ring struct {
	cells []atomic.Uint64 // lap<<recordBits | record+1, 0 in the low bits: empty
	_     [64]byte
	tail  atomic.Uint64 // next cell to fill, counted without wrapping
	_     [64]byte
	head  atomic.Uint64 // next cell to take
	_     [64]byte
}

func newRing(depth int) *ring { return &ring{cells: make([]atomic.Uint64, depth)} }

// push puts a record in; false if the ring is full.
func (r *ring) push(rec int) bool {
	n := uint64(len(r.cells))
	for {
		step("ring.push.tail")
		t := r.tail.Load()
		cell, lap := &r.cells[t%n], t/n
		w := cell.Load()
		switch {
		case w == lap<<recordBits:
			step("ring.push.cas")
			if cell.CompareAndSwap(w, w|uint64(rec+1)) {
				step("ring.push.help")
				r.tail.CompareAndSwap(t, t+1)
				return true
			}
		case w>>recordBits >= lap: // filled by another thread: help it on
			step("ring.push.help")
			r.tail.CompareAndSwap(t, t+1)
		case r.tail.Load() == t: // still holds what the last lap put there
			return false
		}
	}
}

// exchange puts a record in and takes the oldest out, in one step, if the ring
// is full; -1, with nothing changed, if it is not. In a full ring the cell to
// fill is the one that holds the oldest.
func (r *ring) exchange(rec int) int {
	n := uint64(len(r.cells))
	for {
		step("ring.exchange.tail")
		t := r.tail.Load()
		cell, lap := &r.cells[t%n], t/n
		w := cell.Load()
		switch {
		case w == lap<<recordBits:
			return -1
		case w>>recordBits >= lap: // filled by another thread: help it on
			r.tail.CompareAndSwap(t, t+1)
		default:
			step("ring.exchange.cas")
			if cell.CompareAndSwap(w, lap<<recordBits|uint64(rec+1)) {
				step("ring.exchange.help")
				r.tail.CompareAndSwap(t, t+1)
				r.head.CompareAndSwap(t-n, t-n+1)
				return int(w&recordMask) - 1
			}
		}
	}
}

// pop takes the oldest record out; -1 if the ring is empty.
func (r *ring) pop() int {
	n := uint64(len(r.cells))
	for {
		step("ring.pop.head")
		h := r.head.Load()
		cell, lap := &r.cells[h%n], h/n
		w := cell.Load()
		switch {
		case w>>recordBits == lap && w != lap<<recordBits:
			step("ring.pop.cas")
			if cell.CompareAndSwap(w, (lap+1)<<recordBits) {
				step("ring.pop.help")
				r.head.CompareAndSwap(h, h+1)
				return int(w&recordMask) - 1
			}
		case w>>recordBits > lap: // taken by another thread: help it on
			step("ring.pop.help")
			r.head.CompareAndSwap(h, h+1)
		case r.head.Load() == h:
			return -1
		}
	}
}

// waiting reports whether there is something to take, as far as the indices tell.
func (r *ring) waiting() bool { return r.tail.Load() > r.head.Load() }

// full reports whether a push would have found no room.
func (r *ring) full() bool {
	n := uint64(len(r.cells))
	for {
		t := r.tail.Load()
		w, lap := r.cells[t%n].Load(), t/n
		if w>>recordBits < lap {
			return true
		}
		if w == lap<<recordBits {
			return false
		}
		r.tail.CompareAndSwap(t, t+1)
	}
}
