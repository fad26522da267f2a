// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"sync/atomic"

	"github.com/speadx/speadx/spead"
)

// beyond remembers refused packets of heaps of unknown length, for heaps that start later.
// A refused packet takes no slot, but its heap reaches further than the other packets tell,
// and must not be taken for complete.
//
// A feeder that refuses a packet makes the note first, and then looks for the heap. A feeder
// that starts a heap looks for the note afterwards. So one of them sees the other. Heaps
// whose counts lead to one place displace each other, so that no sender can make it grow.
type beyond struct {
	notes [1 << beyondBits]struct {
		key atomic.Uint64 // of the heap; 0: there is none
		at  atomic.Int64  // when the packet came, ns
	}
	hash uint64 // odd
}

const beyondBits = 8

// beyondKey stands for the heap of h.
func (f *Feeder) beyondKey(h *spead.Packet) uint64 {
	key := h.Cnt
	if f.a.cfg.BySender {
		key += uint64(f.from) * senderStep
	}
	return key | 1<<63
}

func (b *beyond) place(key uint64) int { return int(key * b.hash >> (64 - beyondBits)) }

// note remembers the heap with that key.
func (b *beyond) note(key uint64, now int64) {
	n := &b.notes[b.place(key)]
	n.at.Store(max(now, 1))
	step("beyond.note")
	n.key.Store(key)
}

// take takes the note of the heap with that key off, and returns when it was made; 0 if
// there is none.
func (b *beyond) take(key uint64) int64 {
	n := &b.notes[b.place(key)]
	step("beyond.take")
	if n.key.Load() != key || !n.key.CompareAndSwap(key, 0) {
		return 0
	}
	return n.at.Load()
}
