package heap

import (
	"time"

	"github.com/speadx/speadx/spead"
)

// Heap is one finished heap in the consumer's hands. It belongs to one
// goroutine at a time. It, its items and everything they show stay valid until
// Release; after that the same memory holds other heaps.
type Heap struct {
	a   *Assembler
	rec int

	cnt      uint64
	flavour  spead.Flavour
	complete bool
	length   int64
	received int64
	payload  []byte
	ranges   []Range
	first    int64
	packets  int64

	pointers []spead.Pointer
	layout   []spead.Item
	items    []Item
	held     bool
}

// Item is one item of a heap.
type Item struct {
	spead.Item

	// Data is the item's part of the payload, nil for an immediate item. It
	// is a view into the pool, valid until the heap's Release. In an
	// incomplete heap the bytes that did not come are zero.
	Data []byte
}

// finish makes the view of a heap that has left, in the finisher's thread.
func (h *Heap) finish(a *Assembler, r *record, rec int, complete bool) {
	h.a, h.rec = a, rec
	h.cnt, h.flavour, h.complete = r.cnt, r.flavour, complete
	h.length, h.received = r.length.Load(), r.committed.Load()
	h.first, h.packets = r.firstSeen, r.packets.Load()
	size := h.length
	if size < 0 {
		size = min(r.reach.Load(), int64(len(r.memory)))
	}
	h.payload = r.memory[:size:size]
	h.ranges = h.ranges[:0]
	if complete {
		if size > 0 {
			h.ranges = append(h.ranges, Range{0, size})
		}
		return
	}
	h.ranges = a.coverage.appendRanges(h.ranges, &r.cover)
	at := int64(0)
	for _, p := range h.ranges {
		clear(h.payload[min(at, size):min(p.Start, size)])
		at = p.End
	}
	clear(h.payload[min(at, size):])
}

// open works out the items, in the consumer's goroutine.
func (h *Heap) open(r *record) {
	h.pointers = r.pointers.appendTo(h.pointers[:0])
	h.layout = spead.AppendItems(h.layout[:0], h.flavour, h.pointers, int64(len(h.payload)))
	h.items = h.items[:0]
	for _, it := range h.layout {
		v := Item{Item: it}
		if !it.Immediate {
			v.Data = h.payload[it.Offset : it.Offset+it.Length : it.Offset+it.Length]
		}
		h.items = append(h.items, v)
	}
	h.held = true
}

// Cnt is the number that the sender gave the heap.
func (h *Heap) Cnt() uint64 { return h.cnt }

// Flavour is the SPEAD flavour of all the heap's packets.
func (h *Heap) Flavour() spead.Flavour { return h.flavour }

// Complete says whether every byte of the heap came.
func (h *Heap) Complete() bool { return h.complete }

// Length is the heap's payload in bytes, as its packets say; -1 if none did.
func (h *Heap) Length() int64 { return h.length }

// Received is how many bytes of payload came.
func (h *Heap) Received() int64 { return h.received }

// Packets is how many packets the heap was put together from, repeats and
// packets without payload not counted.
func (h *Heap) Packets() int64 { return h.packets }

// Payload is the whole payload. In an incomplete heap the bytes outside Ranges
// are zero.
func (h *Heap) Payload() []byte { return h.payload }

// Ranges are the parts of the payload that came: sorted, disjoint, not adjacent.
func (h *Heap) Ranges() []Range { return h.ranges }

// Items are the heap's items: the addressed ones by offset, then the immediate
// ones by value. Descriptors and stream control items are among them.
func (h *Heap) Items() []Item { return h.items }

// ReceiveTime is when the heap's first packet was received.
func (h *Heap) ReceiveTime() time.Time { return time.Unix(0, h.first) }

// Stream is the name of the stream that the heap came in.
func (h *Heap) Stream() string { return h.a.cfg.Name }

// Release gives the heap's memory back. Releasing a heap twice is a programming
// error, and panics where it is noticed: until the memory holds another heap.
func (h *Heap) Release() {
	if !h.held {
		panic("heap: released twice")
	}
	h.held = false
	h.payload, h.items, h.ranges = nil, h.items[:0], h.ranges[:0]
	if err := h.a.cfg.Share.Free(h.rec); err != nil {
		panic("heap: release: " + err.Error())
	}
}
