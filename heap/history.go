// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// history is the sequence of heaps started, and the only place where a heap can
// start. It answers "which record has this count?" and "has this count been
// here?" with one look-up.
//
// Heap number s (counted from 0, never wrapping) stands in cell s mod size:
//
//	cell = lap<<nodeBits | node     lap = s/size + 1
//
// A thread that has read head == s may start heap s. It fills its own spare node, and
// replaces the cell's last lap with it by one compare-and-swap. The node that it
// displaced is its new spare. The next heap can start in one place only, which is s.
// So success proves that no heap started since head was read. A look-up made in
// between still holds, and two threads never start one heap twice.
//
// A started heap is then linked: its number is put at the front of its bucket's
// chain (node.prev continues it), and head moves on. Any thread may do that, and
// every thread that meets an unlinked heap does. So at most the newest heap is not
// linked, and nobody waits for its starter.
//
// A thread reads a node without owning it. It loads the fields, and then the cell
// once more. If the cell is unchanged, the node was not reused.
type history struct {
	head  atomic.Uint64 // number of the next heap to start
	_     [56]byte
	floor atomic.Uint64 // heaps before this number are forgotten
	_     [56]byte
	cells []atomic.Uint64
	index []atomic.Uint64 // bucket → number+1 of the newest heap in it; 0: none
	nodes []node
	hash  uint64 // odd: multiplied by it, a count's upper bits are its bucket
	shift uint

	bySender bool // heaps of several senders with one count are different heaps
}

// node is what is remembered of a heap.
type node struct {
	cnt   atomic.Uint64
	prev  atomic.Uint64 // number+1 of the next older heap in the bucket; 0: none
	ref   atomic.Uint64 // generation and record it was assembled in
	from  atomic.Uint64 // who started it: see Feeder.who
	again atomic.Uint64 // what came of it after it had left complete: see cameAgain
	left  atomic.Int64  // when it left, ns, with the lowest bit set if it was complete; 0: it has not

	// The least count of this heap and those before it in its block, those that were
	// forgotten when it started left out. Blocks are len(cells) numbers long.
	least atomic.Uint64
}

const (
	nodeBits = 24
	nodeMask = 1<<nodeBits - 1
)

// senderStep keeps the counts of one sender apart from those of the next.
const senderStep = 0x9e3779b97f4a7c15

// entry is a copy of a node.
type entry struct {
	seq   uint64
	cnt   uint64
	prev  uint64
	ref   uint64
	from  uint32 // number of the sender
	epoch uint32 // of that sender then
	left  int64
	least uint64
}

// newHistory remembers the last n heaps, a power of 2, and serves the given number of
// threads; hash is any odd number. The spare nodes to begin with are spare(0)
// … spare(threads-1).
func newHistory(m *tableMemory, n, threads int, hash uint64) *history {
	h := &history{
		cells: newTable[atomic.Uint64](m, n),
		index: newTable[atomic.Uint64](m, 2*n),
		nodes: newTable[node](m, n+threads),
		hash:  hash,
		shift: uint(64 - bits.Len(uint(2*n-1))),
	}
	for i := range h.cells {
		h.cells[i].Store(uint64(i)) // lap 0: nothing has been here
	}
	return h
}

func (h *history) spare(thread int) uint64 { return uint64(len(h.cells) + thread) }

func (h *history) bucket(cnt uint64, from uint32) *atomic.Uint64 {
	if h.bySender {
		cnt += uint64(from) * senderStep
	}
	return &h.index[cnt*h.hash>>h.shift]
}

func (h *history) cell(seq uint64) *atomic.Uint64 { return &h.cells[seq&h.mask()] }
func (h *history) mask() uint64                   { return uint64(len(h.cells) - 1) }
func (h *history) lap(seq uint64) uint64          { return seq/uint64(len(h.cells)) + 1 }

// next returns the number of the next heap to start, with all before it linked.
func (h *history) next() uint64 {
	for {
		step("history.head")
		s := h.head.Load()
		w := h.cell(s).Load()
		if w>>nodeBits != h.lap(s) {
			return s
		}
		h.link(s, w)
	}
}

// link links heap s, whose cell holds w, and moves head on. Done twice, it does
// nothing: a bucket's number only grows, so the compare-and-swap from prev can
// succeed only once.
func (h *history) link(s, w uint64) {
	nd := &h.nodes[w&nodeMask]
	cnt, from, prev := nd.cnt.Load(), uint32(nd.from.Load()), nd.prev.Load()
	step("history.link.check")
	if h.cell(s).Load() != w || h.head.Load() != s {
		return // linked long ago, and the node may have been reused
	}
	step("history.link.index")
	h.bucket(cnt, from).CompareAndSwap(prev, s+1)
	step("history.link.head")
	h.head.CompareAndSwap(s, s+1)
}

// at returns what is remembered of heap s; false if that is nothing.
func (h *history) at(s uint64) (entry, bool) {
	cell := h.cell(s)
	step("history.at")
	w := cell.Load()
	if w>>nodeBits != h.lap(s) {
		return entry{}, false
	}
	nd := &h.nodes[w&nodeMask]
	who := nd.from.Load()
	e := entry{seq: s, cnt: nd.cnt.Load(), prev: nd.prev.Load(), ref: nd.ref.Load(), from: uint32(who), epoch: uint32(who >> 32), left: nd.left.Load(), least: nd.least.Load()}
	step("history.at.check")
	return e, cell.Load() == w
}

// find looks for the newest heap with the given count, of that sender if senders are told
// apart. next is the number that a new heap would have. start fails if another heap has
// started since.
func (h *history) find(cnt uint64, from uint32) (e entry, found bool, next uint64) {
again:
	next = h.next()
	for s := h.bucket(cnt, from).Load(); s != 0; s = e.prev {
		if s > next {
			goto again // a heap has started meanwhile
		}
		var ok bool
		if e, ok = h.at(s - 1); !ok {
			break // so old that it is overwritten, as are all behind it
		}
		if e.cnt == cnt && (!h.bySender || e.from == from) {
			return e, true, next
		}
	}
	return entry{}, false, next
}

// start makes the heap number next, in the calling thread's spare node; false,
// with nothing changed, if another heap has started since next was read.
func (h *history) start(next, cnt, who, ref uint64, left int64, spare *uint64) bool {
	cell := h.cell(next)
	step("history.start.load")
	old := cell.Load()
	if old>>nodeBits != h.lap(next)-1 {
		return false
	}
	nd := &h.nodes[*spare]
	nd.cnt.Store(cnt)
	nd.ref.Store(ref)
	nd.from.Store(who)
	nd.left.Store(left)
	setAtomic(&nd.again, 0)
	nd.prev.Store(h.bucket(cnt, uint32(who)).Load())
	least := cnt
	if next&h.mask() != 0 {
		least = min(least, h.leastUpTo(next-1))
	}
	nd.least.Store(least)
	step("history.start.cas")
	w := h.lap(next)<<nodeBits | *spare
	if !cell.CompareAndSwap(old, w) {
		return false
	}
	*spare = old & nodeMask
	h.link(next, w)
	return true
}

// leave notes when heap s left, and whether it was complete. Should the heap be
// overwritten at this very moment, the note is lost or, in the worst case, makes
// the memory of another heap a little shorter.
func (h *history) leave(s uint64, now int64, complete bool) {
	w := h.cell(s).Load()
	if w>>nodeBits != h.lap(s) {
		return
	}
	h.nodes[w&nodeMask].left.Store(leftAt(now, complete))
}

// The lowest bits of node.left.
const (
	leftComplete  = 1 << iota
	leftOvertaken // late packets came, and were noted, after the window had evicted it
	leftStop      // it was a stop heap of one packet
	leftFlags     = 1<<iota - 1
)

func leftAt(now int64, complete bool) int64 {
	left := max(now, leftFlags+1) &^ leftFlags // never 0: that is "still here"
	if complete {
		left |= leftComplete
	}
	return left
}

// overtaken notes that a late packet came for an incomplete heap; true for the
// first.
func (h *history) overtaken(e entry) bool {
	w := h.cell(e.seq).Load()
	if w>>nodeBits != h.lap(e.seq) || e.left == 0 || e.left&leftOvertaken != 0 {
		return false
	}
	return h.nodes[w&nodeMask].left.CompareAndSwap(e.left, e.left|leftOvertaken)
}

// forget makes the history remember none of the heaps that have started.
func (h *history) forget() {
	n := h.head.Load()
	for {
		f := h.floor.Load()
		if f >= n || h.floor.CompareAndSwap(f, n) {
			return
		}
	}
}

// behind reports whether cnt lies below everything remembered by more than depth: further
// than reordering reaches, as when a sender has begun again. What is looked at are the
// heaps of this block and the last one, so at least as many as there are cells.
func (h *history) behind(cnt, next, depth uint64) bool {
	if next <= h.floor.Load() {
		return false
	}
	least := h.leastUpTo(next - 1)
	if block := (next - 1) &^ h.mask(); block > 0 {
		// If that is overwritten, all heaps of this block have started.
		least = min(least, h.leastUpTo(block-1))
	}
	return least != unknown && cnt+depth < least
}

// unknown stands for a count that is not known, above all others.
const unknown = math.MaxUint64

// leastUpTo is the least count of heap s and those before it in its block; unknown if
// heap s is not remembered.
func (h *history) leastUpTo(s uint64) uint64 {
	if s < h.floor.Load() {
		return unknown
	}
	e, ok := h.at(s)
	if !ok {
		return unknown
	}
	return e.least
}
