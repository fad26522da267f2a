package heap

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"

	"github.com/speadx/speadx/spead"
)

// pointerLog holds the item pointers of one heap, packet by packet. Several threads may
// add to it at a time: each takes as many entries as it needs by one compare-and-swap,
// and then writes them. They are read when no thread adds any more.
//
// Many senders repeat all pointers in each packet. So a pointer is left out if the first
// packet in the log has it at the same place. Other repeats are logged, and dropped when the
// log is read. The entries of the first packet are compared once they are written.
//
// Beside each pointer stands where in the heap its packet belongs. Pointers spill
// over several packets, and those may come in any order; but of two items at the same
// offset, one of which is empty, the first is the one that the sender put first.
// Within a packet, and so within packets that repeat all pointers, the order in
// which they came is the sender's. A packet lowers the places of the entries that it
// would repeat.
type pointerLog struct {
	n     atomic.Uint32 // entries taken
	first atomic.Uint32 // of them, those of the first packet; 0 until they are written
	list  []logged
}

// logged is an entry of a log: 12 bytes.
type logged struct {
	high, low uint32 // of the pointer
	place     uint32 // accessed atomically while packets come
}

func (e *logged) pointer() spead.Pointer { return spead.Pointer(e.high)<<32 | spead.Pointer(e.low) }

func (e *logged) set(p spead.Pointer, place uint32) {
	*e = logged{uint32(p >> 32), uint32(p), place}
}

// placeOf is the place of a packet: its offset in words.
func placeOf(offset int64) uint32 { return uint32(min(offset>>3, math.MaxUint32)) }

// lower makes an entry's place at most place.
func (e *logged) lower(place uint32) {
	for {
		old := atomic.LoadUint32(&e.place)
		if old <= place || atomic.CompareAndSwapUint32(&e.place, old, place) {
			return
		}
	}
}

// reset empties a log that no other thread uses.
func (l *pointerLog) reset() {
	if l.n.Load() != 0 {
		l.n.Store(0)
		l.first.Store(0)
	}
}

// empty reports whether there are no pointers.
func (l *pointerLog) empty() bool { return l.n.Load() == 0 }

// kept says whether a heap keeps the pointer: all but the immediates that
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
	n, place := h.NumPointers(), placeOf(h.PayloadOffset)
	known := l.list[:l.first.Load()]
	k, missing := 0, 0
	for i := range n {
		if p := h.Pointer(i); kept(h.Flavour, p) {
			if k < len(known) && known[k].pointer() == p {
				known[k].lower(place)
			} else {
				missing++
			}
			k++
		}
	}
	if missing == 0 {
		return true
	}
	at := l.take(missing)
	if at < 0 {
		return false
	}
	free := l.list[at : at+missing]
	k = 0
	for i := range n {
		if p := h.Pointer(i); kept(h.Flavour, p) {
			if k >= len(known) || known[k].pointer() != p {
				free[0].set(p, place)
				free = free[1:]
			}
			k++
		}
	}
	if at == 0 {
		step("pointers.first")
		l.first.Store(uint32(missing))
	}
	return true
}

// take takes n entries for the calling thread and returns the first; -1 if there are fewer
// than n.
func (l *pointerLog) take(n int) int {
	for {
		step("pointers.load")
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

// fewPointers is up to how many pointers each is compared with all others, to find
// repeats. More of them are sorted.
const fewPointers = 64

// appendTo appends the pointers, each once, in the sender's order, to dst. No other thread
// may use the log, whose entries are in another order afterwards.
func (l *pointerLog) appendTo(dst []spead.Pointer) []spead.Pointer {
	byPlace := func(a, b logged) int { return cmp.Compare(a.place, b.place) }
	list := l.list[:l.n.Load()]
	if !slices.IsSortedFunc(list, byPlace) {
		slices.SortStableFunc(list, byPlace)
	}
	if len(list) <= fewPointers {
		for i := range list {
			if p := list[i].pointer(); !slices.Contains(dst, p) {
				dst = append(dst, p)
			}
		}
		return dst
	}
	for i := range list { // the order found by now takes the place of the place
		list[i].place = uint32(i)
	}
	slices.SortFunc(list, func(a, b logged) int {
		if c := cmp.Compare(a.pointer(), b.pointer()); c != 0 {
			return c
		}
		return byPlace(a, b)
	})
	list = slices.CompactFunc(list, func(a, b logged) bool { return a.pointer() == b.pointer() })
	slices.SortFunc(list, byPlace)
	for i := range list {
		dst = append(dst, list[i].pointer())
	}
	return dst
}
