// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"net/netip"
	"sync/atomic"
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
	first    int64
	began    int64 // when its first packet was received, by the clock of Feed
	ended    int64 // when its last one was, likewise
	finished int64 // when it was closed, by Config.Clock
	packets  int64
	sender   Sender
	lease    atomic.Uint64
	view     *view // lent to a heap that is held
}

var _ spead.Heap = (*Heap)(nil)

// view is what a consumer sees of a heap, worked out when it takes it. There
// are as many as heaps may be held, with room for the largest, so that no sender
// makes them grow.
type view struct {
	pointers []spead.Pointer
	items    []Item
	ranges   []Range
}

func newView(c *Config) *view {
	v := &view{
		pointers: make([]spead.Pointer, c.MaxItems),
		items:    make([]Item, c.MaxItems),
		ranges:   make([]Range, c.MaxRanges),
	}
	// Memory that the kernel makes when it is touched first is touched here.
	clear(v.pointers)
	clear(v.items)
	clear(v.ranges)
	return v
}

// Item is one item of a heap. Its Data is a view into the pool, valid until the
// heap's Release.
type Item = spead.RawItem

// close notes what a heap has become, in the finisher's thread. now is by the clock of Feed.
func (h *Heap) close(a *Assembler, r *record, rec int, complete bool, now int64) {
	h.began, h.ended, h.finished = r.began, max(r.lastSeen.Load(), r.began), now
	if a.cfg.Recorded && a.cfg.Clock != nil { // now is the capture's
		h.finished = a.cfg.Clock()
	}
	h.a, h.rec = a, rec
	h.cnt, h.flavour, h.complete = r.cnt, r.flavour, complete
	h.length, h.received = r.length.Load(), r.committed.Load()
	h.first, h.packets, h.sender = r.firstSeen, r.packets.Load(), a.senders.list[r.from].Sender
	size := h.length
	if size < 0 {
		size = min(r.reach.Load(), int64(len(r.memory)))
	}
	h.payload = r.memory[:size:size]
}

// open works out ranges and items, in the consumer's goroutine, and clears what
// did not come.
func (h *Heap) open(r *record, v *view) {
	h.view = v
	size := int64(len(h.payload))
	v.ranges = v.ranges[:0]
	switch {
	case !h.complete:
		v.ranges = h.a.coverage.appendRanges(v.ranges, &r.cover, size)
		at := int64(0)
		for _, p := range v.ranges {
			clear(h.payload[at:p.Start])
			at = p.End
		}
		clear(h.payload[at:])
	case size > 0:
		v.ranges = append(v.ranges, Range{0, size})
	}
	v.pointers = r.pointers.appendTo(v.pointers[:0])
	pointers := len(v.pointers)
	v.items = spead.AppendItems(v.items[:0], h.flavour, v.pointers, h.payload)
	if !h.complete {
		h.markMissing(r.whole.Load() >= int64(pointers) && !r.refused.Load())
	}
}

// markMissing marks the addressed items of an incomplete heap of which bytes did not
// come. Unless one packet had all the pointers that came, and room for more, a
// lost packet may have had others: then the end of no item is certain. Nor is that of
// the last item where nobody has told the heap's length.
func (h *Heap) markMissing(allPointers bool) {
	ranges := h.view.ranges
	for i := range h.view.items { // by rising offset
		it := &h.view.items[i]
		if it.Immediate {
			continue
		}
		for len(ranges) > 0 && ranges[0].End <= it.Offset {
			ranges = ranges[1:]
		}
		end := it.Offset + it.Length
		it.Missing = !allPointers || len(ranges) == 0 || it.Offset < ranges[0].Start || end > ranges[0].End ||
			h.length < 0 && end == int64(len(h.payload))
	}
}

// Cnt is the number that the sender gave the heap.
func (h *Heap) Cnt() uint64 { return h.cnt }

// Flavour is the SPEAD flavour of all the heap's packets.
func (h *Heap) Flavour() spead.Flavour { return h.flavour }

// Complete reports whether every byte of the heap came.
func (h *Heap) Complete() bool { return h.complete }

// Length is the heap's payload in bytes, as its packets say; -1 if none did.
func (h *Heap) Length() int64 { return h.length }

// Received is how many bytes of payload came.
func (h *Heap) Received() int64 { return h.received }

// Packets is how many packets the heap was put together from, repeats and
// packets without payload not counted.
func (h *Heap) Packets() int64 { return h.packets }

// Sender is the address and port that the heap's first packet came from. It is not
// valid if the source does not know, or if the stream has more than 1024 senders.
func (h *Heap) Sender() netip.AddrPort { return h.sender.AddrPort() }

// HasControl reports whether one of the heap's items is the stream control item with
// this value: [spead.CtrlStart] and so on.
func (h *Heap) HasControl(code uint64) bool {
	for _, it := range h.view.items {
		if it.ID == spead.IDStreamCtrl && it.Immediate && it.Value == code {
			return true
		}
	}
	return false
}

// Lease is another number after Release: see [spead.Heap]. It may be called
// after it.
func (h *Heap) Lease() uint64 { return h.lease.Load() }

// Payload is the whole payload. In an incomplete heap the bytes outside Ranges
// are zero.
func (h *Heap) Payload() []byte { return h.payload }

// Ranges are the parts of the payload that came: sorted, disjoint, not adjacent.
func (h *Heap) Ranges() []Range { return h.view.ranges }

// Items are the heap's items: the addressed ones by offset, then the immediate
// ones by value. Descriptors and stream control items are among them. In an
// incomplete heap those of which bytes did not come, or may not have, are Missing.
func (h *Heap) Items() []Item { return h.view.items }

// ReceiveTime is when the heap's first packet was received.
func (h *Heap) ReceiveTime() time.Time { return time.Unix(0, h.first) }

// Stream is the name of the stream that the heap came in.
func (h *Heap) Stream() string { return h.a.cfg.Name }

// Release gives the heap's memory back. Releasing a heap twice is a programming
// error, and panics where it is noticed: until the memory holds another heap.
func (h *Heap) Release() {
	if h.view == nil {
		panic("heap: released twice")
	}
	v := h.view
	h.view, h.payload = nil, nil
	h.lease.Add(1)
	h.a.takeBack(h, v)
	if err := h.a.cfg.Share.Free(h.rec); err != nil {
		panic("heap: release: " + err.Error())
	}
}
