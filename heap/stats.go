// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"runtime"
	"sync/atomic"

	"github.com/speadx/speadx/ledger"
)

// counters are those of one thread.
type counters struct {
	fates  ledger.Fates
	stream ledger.StreamCounts
}

// board shows one thread's counters to others as one consistent set: a
// sequence lock, odd while it is being written. Only its owner writes.
type board struct {
	_      [64]byte
	seq    atomic.Uint64
	fates  [ledger.NumFates]atomic.Uint64
	stream [ledger.NumStreamCounters]atomic.Uint64
	last   counters // what is shown, to store only what changed
	_      [64]byte
}

func (b *board) publish(c *counters) {
	if *c == b.last {
		return
	}
	b.seq.Add(1)
	show(b.fates[:], b.last.fates[:], c.fates[:])
	show(b.stream[:], b.last.stream[:], c.stream[:])
	b.last = *c
	b.seq.Add(1)
}

func show(shown []atomic.Uint64, last, now []uint64) {
	for i, v := range now {
		if v != last[i] {
			shown[i].Store(v)
		}
	}
}

// addTo adds the counters shown to those of a stream. A writer stopped in the middle makes
// it wait; no writer ever waits for it.
func (b *board) addTo(s *Stats) {
	var c counters
	for {
		seq := b.seq.Load()
		for i := range b.fates {
			c.fates[i] = b.fates[i].Load()
		}
		for i := range b.stream {
			c.stream[i] = b.stream[i].Load()
		}
		if seq&1 == 0 && b.seq.Load() == seq {
			break
		}
		runtime.Gosched()
	}
	s.Fates.Add(&c.fates)
	s.Counts.Add(&c.stream)
}

// Stats are the counters of an assembler since it was made. They never go
// back. Each thread's part is one consistent set; at rest
//
//	Counts[ledger.PacketsFed] = Σ Fates + InFlight
type Stats struct {
	Fates    ledger.Fates        // packets, by what became of them
	Counts   ledger.StreamCounts // everything else that is counted
	InFlight uint64              // packets in live heaps and in heaps not yet taken

	// Conflict is the first of Counts[ledger.SourceConflicts]: packets of a heap, or
	// with the count of a heap, that another sender had started. Either the senders'
	// counts collide, or one sender uses several ports. With BySender there are none.
	Conflict Conflict
	Senders  int // senders heard; the 1025th and all after it are one

	// Repeated is the first of Counts[ledger.HeapsRepeated], and Repeats what becomes of them.
	Repeated Repeated
	Repeats  Repeats

	// Window is how many heaps of a substream may be live now: see Config.Window.
	Window int
	// LateBy is the window in which all packets with the fate [ledger.Late] would have come in
	// time. Such a packet needs the number of heaps that start from its heap on until it comes.
	LateBy int64

	IncompleteSize uint64 // bytes that the incomplete heaps should have had

	Oversize int64 // length of the first heap refused for its size, bytes; 0: none was
}

// Stats may be called from any goroutine, at any time.
func (a *Assembler) Stats() Stats {
	s := Stats{Senders: int(a.senders.heard.Load()), Window: int(a.window.live()), LateBy: a.lateBy.Load(), Oversize: a.oversize.Load(), IncompleteSize: a.incompleteSize.Load(), Repeats: a.cfg.Repeats}
	for i := range a.feeders {
		a.feeders[i].board.addTo(&s)
	}
	a.consumed.board.addTo(&s)
	if first := a.conflict.Load(); first != nil {
		s.Conflict = *first
	}
	if first := a.repeated.Load(); first != nil {
		s.Repeated = *first
	}
	for i := range a.records {
		s.InFlight += uint64(a.records[i].packets.Load())
	}
	return s
}
