package heap

import (
	"math"
	"math/bits"
	"sort"
	"sync/atomic"

	"github.com/speadx/speadx/spead"
)

// pointerSet holds the item pointers of one heap, each value once, in the
// order they came. Several threads may add to it at a time.
//
// The first few stand in a list, which a thread scans to its end and appends to:
// two threads that add one value meet at the same empty place, where one of them
// finds the other's. The rest are in a hash table of open addressing, on which
// the same holds for a probe sequence; order remembers in which places, and in
// what order, so that emptying costs no more than filling did.
//
// A place holds the complement of its pointer, so that 0 means empty: pointer 0
// (an addressed NULL at offset 0) is common in small heaps. The pointer of all
// ones is kept as a flag: it is an immediate, of the highest value there is, so
// it comes last in a heap whenever it came.
//
// Beside each pointer stands where in the heap its packet belongs. Pointers spill
// over several packets, and those may come in any order; but of two items at the same
// offset, one of which is empty, the first is the one that the sender put first.
// Within a packet, and so within packets that repeat all pointers, the order in
// which they came is the sender's. For that to hold for every two pointers, each packet
// lowers the places of all it has, also if it adds none.
type pointerSet struct {
	list  [16]atomic.Uint64
	at    [16]atomic.Uint32 // places of those in list
	ones  atomic.Bool
	n     atomic.Uint32 // places taken in table
	hash  uint64        // odd: multiplied by it, a pointer's upper bits are its place
	table []atomic.Uint64
	tabAt []atomic.Uint32 // places of those in table
	order []atomic.Uint32
}

// placeOf is the place of a packet: its offset in words, from 1 as 0 means none yet.
func placeOf(offset int64) uint32 { return uint32(min(offset>>3+1, math.MaxUint32)) }

// lower makes a pointer's place at most place.
func lower(at *atomic.Uint32, place uint32) {
	for {
		old := at.Load()
		if old != 0 && old <= place || at.CompareAndSwap(old, place) {
			return
		}
	}
}

// unused marks an entry of order whose thread found its pointer there already.
const unused = ^uint32(0)

// init makes room for at least limit pointers; hash is any odd number.
func (p *pointerSet) init(limit int, hash uint64) {
	p.hash = hash
	if more := limit - len(p.list); more > 0 {
		p.table = make([]atomic.Uint64, 2<<bits.Len(uint(more-1)))
		p.tabAt = make([]atomic.Uint32, len(p.table))
		p.order = make([]atomic.Uint32, more)
	}
}

// reset empties a set that nobody else uses.
func (p *pointerSet) reset() {
	for i := range p.list {
		if p.list[i].Load() == 0 {
			break
		}
		p.list[i].Store(0)
		p.at[i].Store(0)
	}
	for i := range p.n.Load() {
		if at := p.order[i].Load(); at != unused {
			p.table[at].Store(0)
			p.tabAt[at].Store(0)
		}
	}
	if p.n.Load() != 0 {
		p.n.Store(0)
	}
	setBool(&p.ones, false)
}

// kept says whether a heap keeps the pointer: all but the immediates that
// describe the packet.
func kept(f spead.Flavour, p spead.Pointer) bool {
	id := f.ID(p)
	return !p.IsImmediate() || id == spead.IDNull || id > spead.IDPayloadLength
}

// addAll adds the pointers of a packet that a heap keeps; false, with the set
// unchanged unless other threads filled it meanwhile, if there is no room.
func (p *pointerSet) addAll(h *spead.Packet) bool {
	if h.Extra == 0 {
		return true
	}
	missing := 0
	n, place := h.NumPointers(), placeOf(h.PayloadOffset)
	for i := range n {
		if q := h.Pointer(i); kept(h.Flavour, q) && !p.repeated(q, place) {
			missing++
		}
	}
	if missing == 0 {
		return true
	}
	if missing > p.room() {
		return false
	}
	for i := range n {
		if q := h.Pointer(i); kept(h.Flavour, q) && !p.add(q, place) {
			return false
		}
	}
	return true
}

// empty says whether there is none.
func (p *pointerSet) empty() bool { return p.list[0].Load() == 0 && !p.ones.Load() }

// room is how many more pointers fit, if nobody else adds any.
func (p *pointerSet) room() int {
	free := len(p.order) - int(p.n.Load())
	for i := len(p.list) - 1; i >= 0 && p.list[i].Load() == 0; i-- {
		free++
	}
	return free
}

func (p *pointerSet) slot(v uint64) uint64 {
	return v * p.hash >> (64 - uint(bits.Len(uint(len(p.table)-1))))
}

// repeated says whether the set has a pointer, and makes its place at most place then: the
// packet that the sender put first may repeat what others brought.
func (p *pointerSet) repeated(q spead.Pointer, place uint32) bool {
	v := ^uint64(q)
	if v == 0 {
		return p.ones.Load()
	}
	for i := range p.list {
		switch p.list[i].Load() {
		case v:
			lower(&p.at[i], place)
			return true
		case 0:
			return false
		}
	}
	if len(p.table) == 0 {
		return false
	}
	for i := p.slot(v); ; i = (i + 1) & uint64(len(p.table)-1) {
		switch p.table[i].Load() {
		case v:
			lower(&p.tabAt[i], place)
			return true
		case 0:
			return false
		}
	}
}

// add adds one pointer of a packet with that place; false if there is no room.
func (p *pointerSet) add(q spead.Pointer, place uint32) bool {
	v := ^uint64(q)
	if v == 0 {
		p.ones.Store(true)
		return true
	}
	for i := range p.list {
		step("pointers.list")
		if w := p.list[i].Load(); w == v || w == 0 && p.list[i].CompareAndSwap(0, v) || p.list[i].Load() == v {
			lower(&p.at[i], place)
			return true
		}
	}
	if len(p.table) == 0 {
		return false
	}
	// The table is twice as large as order, so an empty place is always found.
	k := -1 // our entry of order
	for i := p.slot(v); ; i = (i + 1) & uint64(len(p.table)-1) {
		step("pointers.table")
		w := p.table[i].Load()
		if w == 0 {
			if k < 0 {
				if k = int(p.n.Add(1)) - 1; k >= len(p.order) {
					p.n.Add(^uint32(0))
					return false
				}
			}
			step("pointers.cas")
			if p.table[i].CompareAndSwap(0, v) {
				p.order[k].Store(uint32(i))
				lower(&p.tabAt[i], place)
				return true
			}
			w = p.table[i].Load()
		}
		if w == v { // here already, or put here by another thread just now
			if k >= 0 {
				p.order[k].Store(unused)
			}
			lower(&p.tabAt[i], place)
			return true
		}
	}
}

// orderedPointers are the pointers of a heap in the sender's order.
type orderedPointers struct {
	list []spead.Pointer
	at   []uint32
}

func (o *orderedPointers) Len() int           { return len(o.list) }
func (o *orderedPointers) Less(i, j int) bool { return o.at[i] < o.at[j] }
func (o *orderedPointers) Swap(i, j int) {
	o.list[i], o.list[j] = o.list[j], o.list[i]
	o.at[i], o.at[j] = o.at[j], o.at[i]
}

// read fills o with the pointers of a set that nobody else uses.
func (o *orderedPointers) read(p *pointerSet) {
	o.list, o.at = o.list[:0], o.at[:0]
	sorted := true
	add := func(v uint64, at uint32) {
		sorted = sorted && (len(o.at) == 0 || o.at[len(o.at)-1] <= at)
		o.list = append(o.list, spead.Pointer(^v))
		o.at = append(o.at, at)
	}
	for i := range p.list {
		v := p.list[i].Load()
		if v == 0 {
			break
		}
		add(v, p.at[i].Load())
	}
	for i := range p.n.Load() {
		if at := p.order[i].Load(); at != unused {
			add(p.table[at].Load(), p.tabAt[at].Load())
		}
	}
	if !sorted {
		sort.Stable(o)
	}
	if p.ones.Load() {
		o.list = append(o.list, ^spead.Pointer(0))
	}
}
