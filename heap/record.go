// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"sync/atomic"

	"github.com/speadx/speadx/spead"
)

// record is one heap being filled, or finished, or nothing: there is one for
// each slot of the pool, with the same number.
//
// Its state word decides who may touch it:
//
//	state = generation<<20 | how<<16 | pins
//
//	prepared   one thread has taken the slot and alone knows of it. It sets the
//	           fields below "Set by the preparer" and a new generation.
//	open       published by history.start. A thread that finds it may pin it,
//	           which is a compare-and-swap that fails if the generation has
//	           passed or how is no longer open. Pinned, it may claim, copy,
//	           add pointers and commit.
//	closed     how says why: complete, or evicted, by one compare-and-swap of
//	           whoever found the reason. No pin is added any more.
//	finished   closed and without pins. One thread made it so, by closing it or
//	           by taking off the last pin. It alone owns the record. It hands
//	           the record to the ring, or the slot back to the pool.
//	held       the consumer has it, until Release.
//
// Memory order: the publishing compare-and-swap makes what the preparer set visible
// to all that pin. The subtraction of a pin makes what its thread wrote visible to
// the finisher.
type record struct {
	state atomic.Uint64

	cover     atomic.Uint64 // see coverage
	committed atomic.Int64  // payload bytes copied
	packets   atomic.Int64  // packets placed whose fate is not settled
	length    atomic.Int64  // HEAP_LENGTH, or -1 while no packet has told it
	reach     atomic.Int64  // the furthest that an unsized packet or an item pointer goes
	lastSeen  atomic.Int64  // when a packet was placed last, ns
	stop      atomic.Bool   // a stop item was in it
	whole     atomic.Int64  // most pointers in a packet that had room for more
	refused   atomic.Bool   // pointers of a packet found no room
	pointers  pointerLog

	// Set by the preparer.
	slot      int
	cnt       uint64
	from      uint32 // number of the sender that started it
	flavour   spead.Flavour
	firstSeen int64    // when its first packet was received, ns since 1970
	began     int64    // the same by the clock of Feed
	past      bool     // written past the cache
	again     bool     // a heap with its count had come whole
	first     uint32   // then, number of the sender of that one
	memory    []byte   // where payload goes: the slot, or the part of it for this heap
	hist      *history // nil for a heap of one packet
	seq       uint64   // its number in hist

	heap Heap // the consumer's view
}

// how a record stands.
type how uint64

const (
	open how = iota
	complete
	evicted // by the window
	aged
	flushed // at the end of the stream
)

const (
	pinBits    = 16
	howMask    = 0xf
	genShift   = 20
	recordBits = 20 // of a ref and of a ring cell
	recordMask = 1<<recordBits - 1

	// maxRecords is how many slots of a stream can be told apart.
	maxRecords = 1<<16 - 1
	// maxFeeders is how many threads can pin one record.
	maxFeeders = 1 << 12
)

func howOf(state uint64) how     { return how(state >> pinBits & howMask) }
func pinsOf(state uint64) uint64 { return state & (1<<pinBits - 1) }

// refTo is the name of record rec in the generation of state: it stays the
// name of that one heap when the record goes on to others.
func refTo(state uint64, rec int) uint64 {
	return state>>genShift<<recordBits | uint64(rec)
}

// begin gives the record, which the calling thread alone has, a new
// generation: open with one pin, or closed at once for a heap of one packet.
func (r *record) begin(h how) {
	gen := r.state.Load()>>genShift + 1
	s := gen<<genShift | uint64(h)<<pinBits
	if h == open {
		s++
	}
	r.state.Store(s)
}

// pin keeps the heap named by ref from being finished; false if it is closed.
func (r *record) pin(ref uint64) bool {
	for {
		step("record.pin.load")
		s := r.state.Load()
		if s>>genShift != ref>>recordBits || howOf(s) != open {
			return false
		}
		step("record.pin.cas")
		if r.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// unpin takes a pin off; true if the caller is now the heap's finisher.
func (r *record) unpin() bool {
	step("record.unpin")
	s := r.state.Add(^uint64(0))
	return howOf(s) != open && pinsOf(s) == 0
}

// close closes the heap named by ref if it is open; true if the caller is now
// its finisher, because nobody has pinned it.
func (r *record) close(ref uint64, why how) (closed, finisher bool) {
	for {
		step("record.close.load")
		s := r.state.Load()
		if s>>genShift != ref>>recordBits || howOf(s) != open {
			return false, false
		}
		step("record.close.cas")
		if r.state.CompareAndSwap(s, s|uint64(why)<<pinBits) {
			return true, pinsOf(s) == 0
		}
	}
}

// isComplete reports whether every byte up to the length is there. It is final
// when nobody has pinned the record, and while it is pinned once true.
func (r *record) isComplete() bool {
	n, reach := r.length.Load(), r.reach.Load()
	if n < 0 { // unsized: complete if contiguous
		return r.committed.Load() == reach
	}
	return r.committed.Load() == n && reach <= n
}

// lacks is how many bytes did not come, of those that are known to belong to the heap. It is
// final when nobody has pinned the record.
func (r *record) lacks() int64 {
	size := r.length.Load()
	if size < 0 {
		size = min(r.reach.Load(), int64(len(r.memory)))
	}
	return max(size-r.committed.Load(), 0)
}

// atLeast raises v to x.
func atLeast(v *atomic.Int64, x int64) {
	for {
		old := v.Load()
		if x <= old || v.CompareAndSwap(old, x) {
			return
		}
	}
}

// setInt and setBool store what is not there already: where a thread alone owns the
// word, or does not mind who was last. An atomic store is an exchange, which costs as
// much as any atomic operation, and most words of a record are what they were in the
// heap before.
func setInt(v *atomic.Int64, x int64) {
	if v.Load() != x {
		v.Store(x)
	}
}

func setBool(v *atomic.Bool, x bool) {
	if v.Load() != x {
		v.Store(x)
	}
}

func setWord(v *uint64, x uint64) {
	if atomic.LoadUint64(v) != x {
		atomic.StoreUint64(v, x)
	}
}

func setAtomic(v *atomic.Uint64, x uint64) {
	if v.Load() != x {
		v.Store(x)
	}
}
