// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// ErrNotTaken is wrapped by the error of [Share.Free] for a slot that is free
// already, or that the share does not have.
var ErrNotTaken = errors.New("slot is not taken")

// state is what a slot is used for.
type state uint32

const (
	free    state = iota // on a free list, or on its way to or from there
	filling              // being assembled, or in the hands of a feeding thread
	ready                // in the ring of finished heaps
	held                 // with the consumer
	nStates
)

var stateNames = [nStates]string{free: "free", filling: "filling", ready: "ready", held: "held"}

func (s state) String() string { return stateNames[s] }

// slot is a slot's bookkeeping; its bytes are in Share.mem. Neighbours are
// worked on by different cores, so each has a cache line.
type slot struct {
	state atomic.Uint32
	next  atomic.Uint32 // of freeList: slot+1 of the one below, 0 at the bottom
	_     [cacheLine - 8]byte
}

const cacheLine = 64

// Share is one stream's part of a pool. Its slots are numbered [0, Slots()):
// first the large ones, then the small ones. Any number of goroutines may call
// its methods; what each may do with a slot is said in the package comment.
type Share struct {
	// Written by New and, for mem and tables, by the goroutine that unmaps.
	pool   *Pool
	config ShareConfig
	layout layout
	mem    []byte
	tables []byte
	slots  []slot

	large, small freeList

	// Written by every call, on one line.
	_ cpu.CacheLinePad
	// states counts the slots in each state but free, in fields of fieldBits:
	// one addition moves a slot from one state to another. A slot is added
	// before its owner can do anything else with it. It is taken away before the
	// next owner can have it. So no field goes below 0 or beyond Slots.
	states atomic.Uint64
	high   [nStates]atomic.Int64 // the most each field has been; high[free] is not used
	_      cpu.CacheLinePad
}

func (s *Share) init(p *Pool, c ShareConfig, l layout, mem []byte) {
	s.pool, s.config, s.layout, s.mem = p, c, l, mem
	s.slots = make([]slot, l.total())
	s.large.init(s.slots, 0, l.slots)
	s.small.init(s.slots, l.slots, len(s.slots))
}

// Slots returns how many slots the share has, of both classes.
func (s *Share) Slots() int { return len(s.slots) }

// SlotSize returns the bytes of a large slot.
func (s *Share) SlotSize() int { return s.layout.large }

// SmallSize returns the bytes of a small slot; 0: there are none.
func (s *Share) SmallSize() int { return s.layout.small }

// Config returns what the share was made from.
func (s *Share) Config() ShareConfig { return s.config }

// Tables returns the memory beside the slots, at least as much as ShareConfig.Tables says.
// It begins on a cache line, is zero at first and belongs to the share's user, until the
// pool is closed and its last slot is free.
func (s *Share) Tables() []byte { return s.tables }

// Bytes returns the memory of a slot, all of it. It is the slot owner's, until
// Free. The content is what the last owner left. Bytes panics if the share has
// no such slot.
func (s *Share) Bytes(slot int) []byte {
	_ = &s.slots[slot]
	l := &s.layout
	off, size := slot*l.large, l.large
	if slot >= l.slots {
		off, size = l.slots*l.large+(slot-l.slots)*l.small, l.small
	}
	return s.mem[off : off+size : off+size]
}

// IsSmall reports whether a heap of size bytes takes a small slot. A negative size is not
// known, and takes a large one.
func (s *Share) IsSmall(size int64) bool {
	return size >= 0 && size < int64(s.config.SmallBelow) && s.layout.small > 0
}

// Take takes a free slot for a heap of size bytes, to be filled. A negative size is
// one that is not known yet, and takes a large slot. It is not ok if size exceeds
// SlotSize(), if the class has no free slot, or if the pool is closed.
func (s *Share) Take(size int64) (slot int, ok bool) {
	if size > int64(s.layout.large) {
		return 0, false
	}
	list := &s.large
	if s.IsSmall(size) {
		list = &s.small
	}
	slot, ok = list.pop(s.slots)
	if !ok {
		list.least.Store(0)
		step("take.empty")
		return 0, false
	}
	step("take.free")
	// The slot is on no list and its state still free: nobody else can change
	// it. It is counted before it is owned, and Free uncounts it before it is
	// on the list again, so free is never less than 0.
	left := list.free.Add(-1)
	step("take.count")
	counts := s.states.Add(one(filling))
	step("take.state")
	s.slots[slot].state.Store(uint32(filling))
	step("take.closed")
	if s.pool.closed.Load() {
		step("take.back")
		// The memory may be unmapped already: it is not touched. The last one out
		// unmaps it; there is no caller for the error of that.
		s.slots[slot].state.Store(uint32(free))
		_ = s.giveBack(slot, filling)
		return 0, false
	}
	// The pool was open after the slot was counted: the memory stays until Free.
	s.allow(slot, true)
	lower(&list.least, left)
	raise(&s.high[filling], count(counts, filling))
	step("take.done")
	return slot, true
}

// allow makes the memory of a slot, which the caller has in hand, accessible or not,
// if the pool is guarded.
func (s *Share) allow(slot int, yes bool) {
	if !s.pool.guard {
		return
	}
	if err := s.pool.mapping.Allow(s.Bytes(slot), yes); err != nil {
		panic(fmt.Sprintf("pool: guarding slot %d of share %s: %v", slot, s.config.Name, err))
	}
}

// MarkReady says that slot, which is being filled, is finished and goes to the
// ring. It returns before another goroutine may learn of the slot. It panics
// if the slot is not being filled.
func (s *Share) MarkReady(slot int) { s.mark(slot, filling, ready) }

// MarkHeld says that slot, which is ready, is now with the consumer. It panics
// if the slot is not ready.
func (s *Share) MarkHeld(slot int) { s.mark(slot, ready, held) }

func (s *Share) mark(slot int, from, to state) {
	step("mark.state")
	if word := &s.slots[slot].state; !word.CompareAndSwap(uint32(from), uint32(to)) {
		panic(fmt.Sprintf("pool: slot %d of share %s is marked %v while it is %v, not %v",
			slot, s.config.Name, to, state(word.Load()), from))
	}
	step("mark.count")
	counts := s.states.Add(one(to) - one(from))
	raise(&s.high[to], count(counts, to))
	step("mark.done")
}

// Free gives a taken slot back, in whatever state it is. Its bytes are no longer the
// caller's. The error wraps [ErrNotTaken] if the slot is not taken, and nothing is
// changed then. A second Free that comes after another goroutine has taken the slot
// frees that one's slot: callers must not do that. In a closed pool the last Free
// unmaps the memory, and its error is that of munmap.
func (s *Share) Free(slot int) error {
	if slot < 0 || slot >= len(s.slots) {
		return fmt.Errorf("pool: slot %d of share %s, which has %d: %w", slot, s.config.Name, len(s.slots), ErrNotTaken)
	}
	step("free.load")
	word := &s.slots[slot].state
	was := state(word.Load())
	step("free.state")
	// A swap that fails had a rival, and a slot has one owner.
	if was == free || !word.CompareAndSwap(uint32(was), uint32(free)) {
		return fmt.Errorf("pool: slot %d of share %s: %w", slot, s.config.Name, ErrNotTaken)
	}
	s.allow(slot, false)
	return s.giveBack(slot, was)
}

// giveBack puts a slot, whose state is free already, onto its list.
func (s *Share) giveBack(slot int, was state) error {
	list := &s.large
	if slot >= s.layout.slots {
		list = &s.small
	}
	step("free.free")
	list.free.Add(1)
	step("free.count")
	s.states.Add(-one(was))
	step("free.push")
	list.push(s.slots, slot)
	step("free.closed")
	if s.pool.closed.Load() {
		step("free.unmap")
		return s.pool.unmapIfIdle()
	}
	return nil
}
