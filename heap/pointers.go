// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/speadx/speadx/spead"
)

// pointerLog holds the item pointers of one heap, each once. Several threads may add to it
// at a time: each takes as many entries as it needs by one compare-and-swap, writes them, and
// links each by one more. They are read when no thread adds any more.
//
// Many senders repeat all pointers in each packet. So a packet's pointers are compared with
// those of the first packet in the log, in order: a cursor goes along both. A pointer that is
// not at the cursor is looked up in a hash index, whose buckets are chains of entries. So a
// repeat takes no entry, wherever in its packet it is.
//
// A heap's items are in the sender's order. Pointers spill over several packets, and
// those may come in any order. The order matters where two items have the same offset, one of
// which is empty: the first is the one that the sender put first. So each entry has an order.
// First counts where in the heap its packet belongs, and then its rank, which rises within a
// packet and from packet to packet as they come. A packet that repeats an entry lowers its
// order to its own.
type pointerLog struct {
	n     atomic.Uint32 // entries taken
	first atomic.Uint32 // of them, those of the first packet; 0 until they are linked
	shape *logShape
	list  []logged
	heads []uint32 // index: bucket → entry+1 of the newest in it; 0: none. Accessed atomically
}

// logged is an entry of a log: 16 bytes.
//
//	word = order<<nextBits | next      order = place<<rankBits | rank
//
// next is the entry that follows in its bucket, plus 1; it never changes once the entry is
// linked. A word of all ones is that of an entry that was taken and not needed.
type logged struct {
	pointer spead.Pointer
	word    uint64 // accessed atomically once the entry is linked
}

const unusedEntry = math.MaxUint64

// logShape is what logs of one size have in common. The bits that next and rank do not need
// are for the place: 37 where there are 4096 entries.
type logShape struct {
	hash     uint64 // odd: multiplied by it, a pointer's upper bits are its bucket
	shift    uint
	nextBits uint
	rankBits uint
}

func newLogShape(entries int, hash uint64) *logShape {
	next := uint(bits.Len(uint(entries) + 1)) // of all ones, only an unused entry has it
	return &logShape{
		hash:     hash,
		shift:    uint(65 - bits.Len(uint(logHeads(entries)))),
		nextBits: next,
		rankBits: next + 1,
	}
}

// logHeads is the number of buckets for that number of entries: a power of 2.
func logHeads(entries int) int { return 1 << bits.Len(uint(max(entries/4, 8))-1) }

// logs are the tables of a class of slots.
type logs struct {
	shape   *logShape
	entries int // of each
	list    []logged
	heads   []uint32
}

func newLogs(m *tableMemory, n, entries int, hash uint64) logs {
	return logs{newLogShape(entries, hash), entries, newTable[logged](m, n*logStride(entries)), newTable[uint32](m, n*logHeads(entries))}
}

// logStride is the distance of two logs of n entries, in entries. It is an odd number of
// cache lines, so that the logs begin in different sets of a cache.
func logStride(n int) int {
	const unit = cacheLine / loggedBytes
	return ((n+unit-1)/unit | 1) * unit
}

// init gives the log of slot i its memory.
func (t *logs) init(l *pointerLog, i int) {
	at, head, heads := i*logStride(t.entries), i*logHeads(t.entries), logHeads(t.entries)
	l.shape = t.shape
	l.list = t.list[at : at+t.entries : at+t.entries]
	l.heads = t.heads[head : head+heads : head+heads]
}

// order is that of a packet's pointer: offset is the packet's, and rank the pointer's.
func (s *logShape) order(offset int64, rank uint64) uint64 {
	place := min(uint64(offset)>>3, 1<<(64-s.nextBits-s.rankBits)-1)
	return place<<s.rankBits | min(rank, 1<<s.rankBits-1)
}

// lastOf is the last order at the place of order.
func (s *logShape) lastOf(order uint64) uint64 { return order | (1<<s.rankBits - 1) }

func (s *logShape) bucket(p spead.Pointer) uint64 { return uint64(p) * s.hash >> s.shift }

// lower makes an entry's order at most order.
func (s *logShape) lower(e *logged, order uint64) {
	for {
		old := atomic.LoadUint64(&e.word)
		if old>>s.nextBits <= order || atomic.CompareAndSwapUint64(&e.word, old, order<<s.nextBits|old&(1<<s.nextBits-1)) {
			return
		}
	}
}

// next is the entry that follows in the bucket, plus 1.
func (s *logShape) next(e *logged) uint32 {
	return uint32(atomic.LoadUint64(&e.word) & (1<<s.nextBits - 1))
}

// reset empties a log that no other thread uses.
func (l *pointerLog) reset() {
	n := l.n.Load()
	if n == 0 {
		return
	}
	if int(n) < len(l.heads)/8 {
		for i := range l.list[:n] {
			l.heads[l.shape.bucket(l.list[i].pointer)] = 0
		}
	} else {
		clear(l.heads)
	}
	l.n.Store(0)
	l.first.Store(0)
}

// empty reports whether there are no pointers.
func (l *pointerLog) empty() bool { return l.n.Load() == 0 }

// kept reports whether a heap keeps the pointer: all but the immediates that
// describe the packet.
func kept(f spead.Flavour, p spead.Pointer) bool {
	id := f.ID(p)
	return !p.IsImmediate() || id == spead.IDNull || id > spead.IDPayloadLength
}

// addAll adds the pointers of a packet that a heap keeps; false, with none added, if there
// is no room.
func (l *pointerLog) addAll(h *spead.Packet) bool {
	if h.Extra == 0 {
		return true
	}
	known := l.list[:l.first.Load()]
	for {
		step("pointers.load")
		began := l.n.Load()
		missing := h.Extra
		if began > 0 {
			missing = l.missing(h, known, began)
		}
		if missing == 0 {
			return true
		}
		if at := l.take(missing); at >= 0 {
			l.put(h, known, uint32(at), missing)
			return true
		}
		if l.n.Load() == began {
			return false
		}
		// Other threads have taken entries since they were looked through: perhaps for
		// the same pointers.
	}
}

// missing counts the pointers of a packet that are not in the log, and lowers the order of
// those that are. The packet's ranks begin with rank.
func (l *pointerLog) missing(h *spead.Packet, known []logged, rank uint32) (missing int) {
	cursor, order := 0, l.shape.order(h.PayloadOffset, uint64(rank))
	last := l.shape.lastOf(order)
	for i := range h.NumPointers() {
		p := h.Pointer(i)
		if !kept(h.Flavour, p) {
			continue
		}
		at := cursor
		if at >= len(known) || known[at].pointer != p {
			at = l.find(p)
		}
		if at >= 0 {
			l.shape.lower(&l.list[at], order)
			cursor = at + 1
		} else {
			missing++
		}
		order = min(order+1, last)
	}
	return missing
}

// find returns the entry of a pointer; -1 if there is none.
func (l *pointerLog) find(p spead.Pointer) int {
	e := atomic.LoadUint32(&l.heads[l.shape.bucket(p)])
	for ; e > 0; e = l.shape.next(&l.list[e-1]) {
		if l.list[e-1].pointer == p {
			return int(e - 1)
		}
	}
	return -1
}

// put writes the pointers of a packet that are missing into the n entries from at on, which
// the calling thread has taken, and links them.
func (l *pointerLog) put(h *spead.Packet, known []logged, at uint32, n int) {
	cursor, order := 0, l.shape.order(h.PayloadOffset, uint64(at))
	last := l.shape.lastOf(order)
	free, end := at, at+uint32(n)
	for i := range h.NumPointers() {
		p := h.Pointer(i)
		if !kept(h.Flavour, p) {
			continue
		}
		if cursor < len(known) && known[cursor].pointer == p {
			cursor++
		} else if found := l.link(free, p, order); found < 0 {
			free++
		} else {
			cursor = found + 1
		}
		order = min(order+1, last)
	}
	if at == 0 {
		step("pointers.first")
		l.first.Store(free)
	}
	if free == end {
		return
	}
	// The packet repeats a pointer itself, or another thread has linked some meanwhile.
	for i := range l.list[free:end] {
		l.list[free+uint32(i)] = logged{word: unusedEntry}
	}
	step("pointers.return")
	l.n.CompareAndSwap(end, free)
}

// link writes a pointer into entry e, which the calling thread has taken, and puts it at the
// front of its bucket; then it returns -1. If the log has the pointer already, link
// returns where.
func (l *pointerLog) link(e uint32, p spead.Pointer, order uint64) int {
	head := &l.heads[l.shape.bucket(p)]
	for {
		step("pointers.link.load")
		old := atomic.LoadUint32(head)
		for o := old; o > 0; {
			other := &l.list[o-1]
			if other.pointer == p {
				l.shape.lower(other, order)
				return int(o - 1)
			}
			o = l.shape.next(other)
		}
		l.list[e] = logged{p, order<<l.shape.nextBits | uint64(old)}
		step("pointers.link")
		if atomic.CompareAndSwapUint32(head, old, e+1) {
			return -1
		}
	}
}

// take takes n entries for the calling thread and returns the first; -1 if there are fewer
// than n.
func (l *pointerLog) take(n int) int {
	for {
		at := l.n.Load()
		if n > len(l.list)-int(at) {
			return -1
		}
		step("pointers.take")
		if l.n.CompareAndSwap(at, at+uint32(n)) {
			return int(at)
		}
	}
}

// appendTo appends the pointers in the sender's order to dst. No other thread may use the
// log, whose entries are in another order afterwards and not linked.
func (l *pointerLog) appendTo(dst []spead.Pointer) []spead.Pointer {
	bits := l.shape.nextBits
	byOrder := func(a, b logged) int { return cmp.Compare(a.word>>bits, b.word>>bits) }
	list := l.list[:l.n.Load()]
	if !slices.IsSortedFunc(list, byOrder) {
		slices.SortStableFunc(list, byOrder)
	}
	for i := range list {
		if list[i].word != unusedEntry {
			dst = append(dst, list[i].pointer)
		}
	}
	return dst
}
