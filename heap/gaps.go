// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
)

// gaps finds the heaps that are missing entirely: the places in the sequence of heap counts, or
// of the values of an item, at which no heap started.
//
// Each feeder writes the heaps that it starts into a log of its own. After a batch it takes the
// lock, if nobody has it, and moves what is in all logs into the accounts: one of the stream
// and one for each sender. It never waits for the lock. If a thread is stopped while it holds the lock,
// the logs fill up, heaps pass unseen, and the accounts begin anew behind them.
//
// The stream's account gives what is missing where the heaps of all senders together make one
// sequence. Otherwise the senders' accounts do.
type gaps struct {
	mu      sync.Mutex // never waited for while packets are fed
	all     account
	senders []account // by number
	skipped uint64    // heaps that passed unseen, of those in the logs' count
	depth   uint64    // how many positions reordering reaches
	marked  int64     // when the positions were marked last, ns by the feeders' clock
	wall    int64     // of the last heap

	heard []atomic.Int64 // by sender: when a packet came last, ns since 1970, to 0.1 s
}

// logSize is how many heaps may wait in the log of a feeder.
const logSize = 512

// startLog is the log of one feeder: it writes, and who has the lock reads.
type startLog struct {
	entries [logSize]startEntry
	put     uint64        // written, by the feeder alone
	shown   atomic.Uint64 // of these, for others
	taken   atomic.Uint64
	skipped atomic.Uint64
}

// startEntry is a heap that started or, if heaps are told apart by an item, that left.
type startEntry struct {
	value  uint64 // heap count, or the item's value
	length int64  // payload in bytes; -1: unknown
	at     int64  // ns, by the feeders' clock
	wall   int64  // ns since 1970
	from   uint32
	bits   uint8 // of a count
	flags  uint8
}

const (
	startBegins  = 1 << iota // heaps from here on may count from anywhere
	startEnds                // those behind it may
	startUnknown             // it has no value, as its packets with the item are lost
)

func newGaps(s *shape) *gaps {
	g := &gaps{senders: make([]account, maxSenders+1), heard: make([]atomic.Int64, maxSenders+1)}
	g.depth = uint64(min(max(2*s.most*s.Substreams, 256), ringPositions/2))
	clear(g.senders) // memory that the kernel makes when it is touched first is touched here
	for i := range g.heard {
		g.heard[i].Store(0)
	}
	return g
}

// log notes a heap.
func (l *startLog) log(e startEntry) {
	if l.put-l.taken.Load() >= logSize {
		l.skipped.Add(1)
		return
	}
	l.entries[l.put%logSize] = e
	l.put++
}

// logStart notes that our sender has started a heap.
func (f *Feeder) logStart(h *spead.Packet, now int64) {
	c := &f.a.cfg
	if c.ExpectItem != 0 {
		return // its value is known when it leaves
	}
	if f.starts.put-f.starts.taken.Load() >= logSize {
		f.track(now)
	}
	e := startEntry{value: h.Cnt, length: h.HeapLength, at: now, wall: f.wall, from: f.from, bits: uint8(h.Flavour.AddrBits())}
	switch h.Control {
	case spead.CtrlStart:
		e.flags = startBegins
	case spead.CtrlStop:
		e.flags, e.length = startEnds, -1
	}
	f.starts.log(e)
}

// logItem notes the value of the item, by which heaps are told apart, of a heap that leaves.
func (f *Feeder) logItem(r *record, now int64, whole bool) {
	c := &f.a.cfg
	if c.ExpectItem == 0 || r.stop.Load() {
		return
	}
	e := startEntry{length: r.length.Load(), at: now, wall: f.wall, from: r.from, bits: uint8(r.flavour.AddrBits())}
	p, ok := r.pointers.immediate(r.flavour, c.ExpectItem)
	switch {
	case ok:
		e.value = r.flavour.Value(p)
	case whole:
		return // it is of another kind, such as descriptors
	default:
		e.flags = startUnknown
	}
	f.starts.log(e)
}

// immediate is the pointer of an immediate item. No other thread may add to the log.
func (l *pointerLog) immediate(f spead.Flavour, id uint64) (spead.Pointer, bool) {
	for i := range l.list[:l.n.Load()] {
		if e := &l.list[i]; e.word != unusedEntry && e.pointer.IsImmediate() && f.ID(e.pointer) == id {
			return e.pointer, true
		}
	}
	return 0, false
}

// track moves what the feeders have logged into the accounts, if no other thread does so now.
func (f *Feeder) track(now int64) {
	f.starts.shown.Store(f.starts.put)
	if g := f.a.gaps; g.mu.TryLock() {
		f.account(now)
		g.mu.Unlock()
	}
}

// account does so for the thread that has the lock.
func (f *Feeder) account(now int64) {
	a, g := f.a, f.a.gaps
	var skipped uint64
	for i := range a.feeders {
		l := &a.feeders[i].starts
		n, end := l.taken.Load(), l.shown.Load()
		for ; n < end; n++ {
			f.see(g, &l.entries[n%logSize])
		}
		l.taken.Store(n)
		skipped += l.skipped.Load()
	}
	if skipped != g.skipped {
		g.skipped = skipped
		g.all.restart()
		for i := range g.senders {
			g.senders[i].restart()
		}
	}
	if now-g.marked >= int64(time.Second) {
		f.mark(g, now)
	}
}

// see enters one heap into the accounts.
func (f *Feeder) see(g *gaps, e *startEntry) {
	c := &f.a.cfg
	g.wall = e.wall
	if !c.BySender {
		f.missing(g, &g.all, g.all.see(c, e, g.depth, f.a.timeless), true)
	}
	s := &g.senders[e.from]
	if e.from != 0 {
		f.missing(g, s, s.see(c, e, g.depth, f.a.timeless), false)
	} else {
		s.heaps++
	}
}

// missing counts heaps that an account has found missing, if it is of the accounts that count.
func (f *Feeder) missing(g *gaps, acc *account, n uint64, stream bool) {
	if n == 0 || stream != g.counts(f.a) {
		return
	}
	f.count.stream[ledger.HeapsMissing] += n
	f.count.stream[ledger.MissingHeapBytes] += n * acc.meanLength()
}

// counts reports whether the stream's account counts, and not those of its senders. It cannot where
// the heaps of all senders make no sequence. If packets of several senders make one heap, those of
// the senders cannot.
func (g *gaps) counts(a *Assembler) bool {
	if a.cfg.BySender {
		return false
	}
	if a.conflict.Load() != nil {
		return true
	}
	return g.all.step != 0 && a.cfg.ExpectItem == 0
}

// mark settles the positions that were there two marks ago: after that time no heap is
// expected to come. The time in which threads wait for the consumer does not count: packets wait
// behind them.
func (f *Feeder) mark(g *gaps, now int64) {
	g.marked = now
	a := f.a
	settle := !a.timeless && a.blocked.Load() == 0
	each := func(acc *account, stream bool) {
		if settle {
			f.missing(g, acc, acc.settle(acc.marks[0]), stream)
		}
		acc.marks[0], acc.marks[1] = acc.marks[1], acc.pos
	}
	each(&g.all, true)
	for i := range g.senders[:min(int(a.senders.taken.Load())+1, len(g.senders))] {
		each(&g.senders[i], false)
	}
}

// closeAccounts settles all positions, at the end of the stream. All other feeders have finished.
func (f *Feeder) closeAccounts() {
	f.starts.shown.Store(f.starts.put)
	g := f.a.gaps
	g.mu.Lock() // of somebody who reads the accounts, for as long as that takes
	defer g.mu.Unlock()
	f.account(f.lastNow)
	f.missing(g, &g.all, g.all.finish(&f.a.cfg), true)
	for i := range g.senders {
		f.missing(g, &g.senders[i], g.senders[i].finish(&f.a.cfg), false)
	}
}

// hear notes that a packet of a sender came.
func (f *Feeder) hear(sender uint32) {
	const fine = int64(100 * time.Millisecond)
	if h := &f.a.gaps.heard[sender]; f.wall-h.Load() >= fine {
		h.Store(f.wall)
	}
}

// Source is what is known of one sender of a stream.
type Source struct {
	Sender  netip.AddrPort
	Heaps   uint64    // that it started: those of which its packet was the first
	Newest  uint64    // count of the heap that it started last
	Step    uint64    // by which its counts rise; 0: they make no sequence, or not yet
	Missing uint64    // heaps of its sequence that are missing entirely
	First   time.Time // when its first heap started
	Last    time.Time // when a packet came last, to 0.1 s
	Stopped bool      // it has sent a stop item
	Gaps
}

// Gaps are the heaps that are missing from a sequence.
type Gaps struct {
	FirstGap, LargestGap Gap
	// Every is N if the last heaps missing were each N-th, and Residue the count of one of them:
	// they are those with Residue modulo N × step.
	Every, Residue uint64
}

// Gap is a number of heaps missing one behind the other.
type Gap struct {
	Cnt   uint64    // count of the first of them, or its value
	Heaps uint64    // how many
	At    time.Time // about when they should have come
}

// Sequence is the sequence of heaps of all senders of a stream.
type Sequence struct {
	Step    uint64 // 0: the heaps of all senders together make no sequence
	Missing uint64
	Gaps
}

// Sources are the senders of the stream, in the order in which they were first heard, at most
// 1024. It may be called from any goroutine, also after Close. The slice is the caller's.
func (a *Assembler) Sources() []Source {
	g := a.gaps
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Source
	for i := range g.senders[:min(int(a.senders.taken.Load())+1, len(g.senders))] {
		acc := &g.senders[i]
		if i == 0 || acc.heaps == 0 && g.heard[i].Load() == 0 {
			continue
		}
		if !a.dropped {
			acc.sender = a.senders.list[i].AddrPort()
			acc.stopped = a.senders.list[i].stopped.Load() || a.senders.list[i].last.at.Load() != 0
		}
		out = append(out, Source{
			Sender: acc.sender, Heaps: acc.heaps, Newest: acc.newest, Step: acc.step, Missing: acc.missing,
			First: at(acc.first), Last: at(g.heard[i].Load()), Stopped: acc.stopped, Gaps: acc.found(),
		})
	}
	return out
}

// Sequence is that of all senders together. It may be called like Sources.
func (a *Assembler) Sequence() Sequence {
	g := a.gaps
	g.mu.Lock()
	defer g.mu.Unlock()
	return Sequence{Step: g.all.step, Missing: g.all.missing, Gaps: g.all.found()}
}

func at(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
