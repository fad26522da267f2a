// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// The tests named TestSpead2… hold what docs/compatibility.md says, one behaviour
// of spead2's receiver each: that it is the same here, or what is done instead. Their
// comments give the section of that document.

// §1.3: as in spead2, a datagram is as long as the packet in it, or refused; the reserved
// bytes are not looked at. A difference: each refusal is counted, also an empty datagram.
func TestSpead2DatagramSize(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 1, 100)[0]
	reserved := slices.Clone(p)
	reserved[4], reserved[5] = 0xff, 0xff
	r.feed(0, append(slices.Clone(p), 0), p[:len(p)-1], nil, reserved)
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.SizeMismatch: 1, ledger.PayloadOverflow: 1, ledger.TooShort: 1, ledger.Delivered: 1})
}

// §1.4: as in spead2 with allow_unsized_heaps off, a packet without a heap length is
// refused before its heap is looked at, also where another has told the length.
func TestSpead2UnsizedPacketsRefused(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{RefuseUnsized: true})
	r.feed(0,
		raw(f48, 1, -1, 0, make([]byte, 100)),
		raw(f48, 2, 200, 0, make([]byte, 100)),
		raw(f48, 2, -1, 100, make([]byte, 100)),
		raw(f48, 2, 200, 100, make([]byte, 100)),
	)
	wantCounts(t, r.end(), 2)
	r.wantFates(map[ledger.Fate]uint64{ledger.UnsizedRefused: 2, ledger.Delivered: 2})
}

// §1.4: a difference to spead2's default, where a packet that does not begin its heap
// is dropped if no packet of the heap came before it. Here any packet starts a heap, as
// with allow_out_of_order.
func TestSpead2AnyPacketStartsAHeap(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, parts(1, 3, 100)[2])
	r.Feeder(0).Finish()
	h := r.heap()
	if h.Cnt() != 1 || !slices.Equal(h.Ranges(), []Range{{200, 300}}) {
		t.Errorf("heap %d with %v", h.Cnt(), h.Ranges())
	}
	h.Release()
	r.end()
}

// §1.4: a difference to spead2's default, where a packet that does not continue its
// heap is dropped. Here packets may come in any order, as with allow_out_of_order.
func TestSpead2PacketsInAnyOrder(t *testing.T) {
	p := parts(1, 4, 100)
	for _, order := range [][]int{{0, 2, 1, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		for _, i := range order {
			r.feed(0, p[i])
		}
		wantCounts(t, r.take(), 1)
		r.end()
		r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 4})
	}
}

// §1.4, first check: as in spead2, a packet whose heap length is not that of its heap is
// refused, and the heap goes on.
func TestSpead2HeapLengthDiffers(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	for _, length := range []int64{199, 201, 1 << 12} {
		r.feed(0, p[0], raw(f48, 1, length, 100, make([]byte, 50)))
	}
	r.feed(0, p[1])
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.LengthConflict: 3, ledger.Duplicate: 2, ledger.Delivered: 2})
}

// §1.4, second check: as in spead2, a heap length is refused that is less than what the
// heap is known to have, by an item pointer or by a packet without a length.
func TestSpead2HeapLengthTooSmall(t *testing.T) {
	for name, first := range map[string][]byte{
		"pointer":        raw(f48, 1, -1, 0, make([]byte, 100), f48.Addressed(itemData, 300)),
		"unsized packet": raw(f48, 1, -1, 250, make([]byte, 50)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{})
			r.feed(0, first)
			r.feed(0, raw(f48, 1, 299, 100, make([]byte, 100)))
			r.wantFate(ledger.LengthConflict, 1)
			r.feed(0, raw(f48, 1, 300, 100, make([]byte, 100)))
			r.wantFate(ledger.LengthConflict, 1)
			r.end()
		})
	}
}

// §1.4, third check: as in spead2, all packets of a heap have one flavour, while heaps of
// one stream may have several.
func TestSpead2FlavourOfAHeap(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0], raw(spead.Flavour40, 1, 200, 100, make([]byte, 100)))
	r.feed(0, packetsOf(t, spead.Flavour40, 2, 3000, 1472)...)
	r.feed(0, packetsOf(t, 32, 3, 3000, 1472)...)
	r.feed(0, p[1])
	wantCounts(t, r.end(), 2, 3, 1)
	r.wantFate(ledger.FlavourDiffers, 1)
}

// §1.4: spead2 checks lengths, flavour and then ranges. Here the flavour comes first,
// since the lengths of another flavour mean nothing. The same packets are refused, each
// for one reason.
func TestSpead2OrderOfChecks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		packet []byte
		want   ledger.Fate
	}{
		{"length and flavour", raw(spead.Flavour40, 1, 300, 100, make([]byte, 100)), ledger.FlavourDiffers},
		{"flavour and range", raw(spead.Flavour40, 1, 200, 0, make([]byte, 100)), ledger.FlavourDiffers},
		{"length and range", raw(f48, 1, 300, 0, make([]byte, 100)), ledger.LengthConflict},
		{"range", raw(f48, 1, 200, 50, make([]byte, 100)), ledger.Overlap},
		{"range, and it was there", raw(f48, 1, 200, 0, make([]byte, 100)), ledger.Duplicate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{})
			p := parts(1, 2, 100)
			r.feed(0, p[0])
			r.feed(0, tt.packet)
			r.feed(0, p[1])
			wantCounts(t, r.end(), 1)
			r.wantFates(map[ledger.Fate]uint64{tt.want: 1, ledger.Delivered: 2})
		})
	}
}

// §1.4: as in spead2, the first length that is told is the heap's, and those that do not
// tell one are taken as before.
func TestSpead2FirstLengthIsRecorded(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	data := content(1, 300)
	r.feed(0, raw(f48, 1, -1, 0, data[:100], f48.Addressed(itemData, 0)))
	r.feed(0, raw(f48, 1, 300, 100, data[100:200]))
	r.feed(0, raw(f48, 1, 400, 100, data[100:200]))
	r.wantFate(ledger.LengthConflict, 1)
	r.feed(0, raw(f48, 1, -1, 200, data[200:]))
	h := r.heap()
	if h.Length() != 300 || h.Received() != 300 {
		t.Errorf("%d bytes of %d", h.Received(), h.Length())
	}
	r.check(h)
	h.Release()
	r.end()
}

// §1.4: the ranges of a heap, by an oracle that knows which bytes are there. A packet is
// taken if none of its bytes is, as in spead2; which reason a refused one gets is ours:
// duplicate if all of them are, overlap if some are. spead2 calls an overlap a duplicate
// where it begins within what is there.
func TestSpead2Ranges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	const size = 64
	for round := range 200 {
		r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{Incomplete: true})
		var there [size]bool
		want := map[ledger.Fate]uint64{}
		took := uint64(0)
		for range 20 {
			from := rng.IntN(size)
			to := from + 1 + rng.IntN(min(12, size-from))
			n := 0
			for _, b := range there[from:to] {
				if b {
					n++
				}
			}
			switch n {
			case 0:
				took++
				for i := from; i < to; i++ {
					there[i] = true
				}
			case to - from:
				want[ledger.Duplicate]++
			default:
				want[ledger.Overlap]++
			}
			// The heap is a byte longer, so that it stays open.
			r.feed(0, raw(f48, 1, size+1, int64(from), content(1, size)[from:to]))
		}
		r.Feeder(0).Finish()
		h := r.heap()
		var got [size]bool
		for _, g := range h.Ranges() {
			for i := g.Start; i < g.End; i++ {
				got[i] = true
			}
		}
		if got != there {
			t.Errorf("round %d: ranges %v, want %v", round, h.Ranges(), there)
		}
		h.Release()
		want[ledger.DeliveredIncomplete] = took
		r.wantFates(want)
		r.end()
		r.close()
		if t.Failed() {
			return
		}
	}
}

// §1.4: a packet without payload. Here it takes no range, wherever it is, and its item
// pointers are taken each time. In spead2 it is a range of no length: refused where bytes
// are, and in the way of a later packet that spans it.
func TestSpead2ZeroLengthPackets(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	empty := func(offset int64, value uint64) []byte {
		return raw(f48, 1, 200, offset, nil, f48.Immediate(itemTime, value))
	}
	r.feed(0, empty(150, 1), empty(0, 2), empty(0, 2))
	r.feed(0, p[0], empty(50, 3)) // where bytes are
	r.feed(0, p[1])               // spans the first
	h := r.heap()
	wantItems(t, h, "[0x3300[0:200] 0x1600=1 0x1600=2 0x1600=3]")
	h.Release()
	r.end()
	r.wantFates(map[ledger.Fate]uint64{ledger.Empty: 4, ledger.Delivered: 2})
}

// §1.4: as in spead2, a packet that is refused gives its heap nothing, in particular no
// item pointers.
func TestSpead2RefusedPacketGivesNothing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	value := f48.Immediate(itemTime, 5)
	r.feed(0, p[0])
	r.feed(0, raw(f48, 1, 200, 0, make([]byte, 100), value))
	r.feed(0, raw(f48, 1, 200, 50, make([]byte, 100), value))
	r.feed(0, raw(f48, 1, 300, 100, make([]byte, 100), value))
	r.feed(0, raw(spead.Flavour40, 1, 200, 100, make([]byte, 100), spead.Flavour40.Immediate(itemTime, 5)))
	r.feed(0, p[1])
	h := r.heap()
	wantItems(t, h, "[0x3300[0:200]]")
	r.check(h)
	h.Release()
	r.end()
}

// §1.4: a difference. The length that a repeat tells is believed, so that a heap is
// complete as soon as it is known to be. spead2 takes nothing of a repeat.
func TestSpead2RepeatTellsTheLength(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	data := content(1, 200)
	r.feed(0, raw(f48, 1, -1, 0, data[:100]), raw(f48, 1, -1, 100, data[100:]))
	if got := r.take(); got != nil {
		t.Errorf("heaps %v before the length was told", got)
	}
	r.feed(0, raw(f48, 1, 200, 0, data[:100]))
	wantCounts(t, r.take(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.Duplicate: 1, ledger.Delivered: 2})
	r.end()
}

// §1.4: a difference. A packet without a length that goes beyond that of its heap is
// refused, and the heap can still be complete. spead2 takes it, and the heap never is.
func TestSpead2UnsizedPacketBeyondTheLength(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0], raw(f48, 1, -1, 150, make([]byte, 100)), p[1])
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.LengthConflict: 1, ledger.Delivered: 2})
}

// The same in one batch with packets that it continues: those that fit are taken. They
// are of another sender, and each is one conflict.
func TestUnsizedRunBeyondTheLength(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	data := content(1, 500)
	first := raw(f48, 1, 400, 0, data[:100], f48.Addressed(itemData, 0))
	last := raw(f48, 1, 400, 300, data[300:400])
	r.feedFrom(0, senderNo(1), first)
	r.feedFrom(0, senderNo(2), raw(f48, 1, -1, 100, data[100:200]), raw(f48, 1, -1, 200, data[200:300]), raw(f48, 1, -1, 300, data[300:500]))
	r.feedFrom(0, senderNo(1), last)
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.LengthConflict: 1, ledger.Delivered: 4})
	if n := r.Stats().Counts[ledger.SourceConflicts]; n != 3 {
		t.Errorf("%d conflicts, want 3", n)
	}
}

// §1.4: a difference. A packet without a length of which some bytes are there is refused as
// in spead2, but the heap is known to reach as far, and is not whole without the others.
// spead2 takes nothing of it, and the heap is contiguous, cut off where the packet began.
func TestSpead2RefusedPacketTellsTheReach(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start int64
		want  map[ledger.Fate]uint64
	}{
		{"some bytes are new", 50, map[ledger.Fate]uint64{ledger.Overlap: 1, ledger.DiscardedIncomplete: 1}},
		{"no byte is", 20, map[ledger.Fate]uint64{ledger.Duplicate: 1, ledger.Delivered: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{})
			data := content(1, 200)
			r.feed(0, raw(f48, 1, -1, 0, data[:100], f48.Addressed(itemData, 0)))
			r.feed(0, raw(f48, 1, -1, tt.start, data[tt.start:tt.start+80]))
			r.end()
			r.wantFates(tt.want)
		})
	}
}

// §1.4: as in spead2, a packet without payload and without a length says how far its heap
// reaches, by its offset.
func TestSpead2EmptyPacketTellsTheReach(t *testing.T) {
	for offset, want := range map[int64]map[ledger.Fate]uint64{
		100: {ledger.Empty: 1, ledger.Delivered: 1},
		101: {ledger.Empty: 1, ledger.DiscardedIncomplete: 1},
	} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f48, 1, -1, 0, make([]byte, 100)), raw(f48, 1, -1, offset, nil))
		r.end()
		r.wantFates(want)
		r = newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f48, 1, -1, 0, make([]byte, 50)), raw(f48, 1, -1, offset, nil), raw(f48, 1, offset-1, 50, make([]byte, 40)))
		r.wantFate(ledger.LengthConflict, 1)
		r.end()
	}
}

// §1.4: as in spead2, a heap without a length stays until it is evicted or the stream
// ends, and is a whole heap for the consumer if its bytes follow each other. Here it
// counts as complete then; in spead2 it counts among the incomplete ones.
func TestSpead2UnsizedHeapNeverCompletes(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2}, Config{})
	unsized := func(cnt uint64) {
		data := content(cnt, 200)
		r.feed(0, raw(f48, cnt, -1, 0, data[:100], f48.Addressed(itemData, 0)))
		r.feed(0, raw(f48, cnt, -1, 100, data[100:]))
	}
	unsized(1)
	unsized(2)
	if got := r.take(); got != nil {
		t.Errorf("heaps %v of unknown length are complete", got)
	}
	unsized(3)
	h := r.heap() // evicted
	if h.Cnt() != 1 || !h.Complete() || h.Length() != -1 || h.Received() != 200 {
		t.Errorf("heap %d: complete %v, length %d, %d bytes", h.Cnt(), h.Complete(), h.Length(), h.Received())
	}
	wantItems(t, h, "[0x3300[0:200]]")
	r.check(h)
	h.Release()
	wantCounts(t, r.end(), 2, 3)
	if s := r.Stats(); s.Counts[ledger.HeapsComplete] != 3 || s.Counts[ledger.HeapsIncomplete] != 0 || s.Counts[ledger.HeapsEvicted] != 1 || s.Counts[ledger.HeapsFlushed] != 2 {
		t.Errorf("%+v", s)
	}
}

// §1.4: as in spead2, a heap without a length that has a hole, or an item pointer beyond
// its bytes, is not contiguous, and is no whole heap.
func TestSpead2UnsizedHeapWithAHole(t *testing.T) {
	for name, packets := range map[string][][]byte{
		"hole":    {raw(f48, 1, -1, 0, make([]byte, 100)), raw(f48, 1, -1, 101, make([]byte, 100))},
		"head":    {raw(f48, 1, -1, 1, make([]byte, 100))},
		"pointer": {raw(f48, 1, -1, 0, make([]byte, 100), f48.Addressed(itemData, 101))},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{})
			r.feed(0, packets...)
			wantCounts(t, r.end())
			r.wantFates(map[ledger.Fate]uint64{ledger.DiscardedIncomplete: uint64(len(packets))})
		})
	}
}

// §1.4: as in spead2, an item pointer beyond the heap's length keeps the heap from ever
// being complete, and its later packets are refused by the second check.
func TestSpead2PointerBeyondTheLength(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 200, 0, make([]byte, 100), f48.Addressed(itemData, 201)))
	r.feed(0, raw(f48, 1, 200, 100, make([]byte, 100)))
	r.feed(0, raw(f48, 2, 50, 0, make([]byte, 50), f48.Addressed(itemData, 51))) // a heap of one packet
	wantCounts(t, r.end())
	r.wantFates(map[ledger.Fate]uint64{ledger.LengthConflict: 1, ledger.DiscardedIncomplete: 2})
}

// §1.4: a difference. In one batch, packets that continue the one with such a pointer are
// placed together with it. The heap is not complete for that.
func TestSpead2PointerBeyondInABatch(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 300, 0, make([]byte, 100), f48.Addressed(itemData, 301)), raw(f48, 1, 300, 100, make([]byte, 100)))
	r.feed(0, raw(f48, 1, 300, 200, make([]byte, 100)))
	wantCounts(t, r.end())
	r.wantFates(map[ledger.Fate]uint64{ledger.LengthConflict: 1, ledger.DiscardedIncomplete: 2})
}

// §1.4: as in spead2, an item pointer exactly at the end is legal: an item of no length.
func TestSpead2PointerAtTheEnd(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	data := content(1, 200)
	r.feed(0, raw(f48, 1, 200, 0, data[:100], f48.Addressed(itemData, 0), f48.Addressed(0x4000, 200)))
	r.feed(0, raw(f48, 1, 200, 100, data[100:]))
	h := r.heap()
	wantItems(t, h, "[0x3300[0:200]]")
	h.Release()
	r.end()
}

// §1.4: as in spead2, the ids 1 to 4 mean what they say only where they are immediate. As
// addressed items they are no items, but say how far the heap reaches.
func TestSpead2AddressedPacketItems(t *testing.T) {
	for id := uint64(spead.IDHeapCnt); id <= spead.IDPayloadLength; id++ {
		r := newRig(t, pool.ShareConfig{}, Config{})
		item := f48.Addressed(itemData, 0)
		r.feed(0, raw(f48, 1, 100, 0, make([]byte, 100), item, f48.Addressed(id, 50)))
		r.feed(0, raw(f48, 2, 100, 0, make([]byte, 100), item, f48.Addressed(id, 101)))
		h := r.heap()
		if h.Cnt() != 1 {
			t.Errorf("heap %d", h.Cnt())
		}
		wantItems(t, h, "[0x3300[0:100]]")
		h.Release()
		wantCounts(t, r.end())
		r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 1, ledger.DiscardedIncomplete: 1})
	}
}

// §1.4: as in spead2, a live heap is known by its count alone, so that the packets of two
// senders make one heap. Here such packets are counted (Stats.Counts[ledger.SourceConflicts]), and BySender
// keeps them apart: see sender_test.go.
func TestSpead2HeapIsKnownByItsCount(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feedFrom(0, senderNo(1), p[0])
	r.feedFrom(0, senderNo(2), p[1])
	wantCounts(t, r.end(), 1)
	if s := r.Stats(); s.Counts[ledger.SourceConflicts] != 1 || s.Senders != 2 {
		t.Errorf("%d conflicts of %d senders", s.Counts[ledger.SourceConflicts], s.Senders)
	}
}

// §1.4: a difference. spead2 reserves what a heap's length says; here a heap larger than
// a slot is refused, and takes nothing.
func TestSpead2HeapLargerThanASlot(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{})
	r.feed(0, raw(f48, 1, 1<<47, 0, make([]byte, 100)), raw(f48, 2, -1, 1<<40, make([]byte, 100)))
	r.wantFates(map[ledger.Fate]uint64{ledger.OversizeHeap: 2})
	if n := r.Stats().Oversize; n != 1<<47 {
		t.Errorf("the first heap refused had %d bytes", n)
	}
	r.end()
}

// §1.5: as in spead2, an item pointer counts once in a heap, by its whole 64 bits, however
// many packets repeat it; the same id with another value is another item.
func TestSpead2PointersOnce(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	var common []spead.Pointer
	for i := range uint64(30) { // more than the list takes that comes before the hash table
		common = append(common, f48.Immediate(0x4000+i, 7))
	}
	common = append(common, f48.Addressed(itemData, 0))
	for i := range int64(3) {
		own := f48.Immediate(itemTime, uint64(10+i))
		r.feed(0, raw(f48, 1, 300, i*100, content(1, 300)[i*100:(i+1)*100], append(slices.Clone(common), own, own)...))
	}
	h := r.heap()
	var times []uint64
	for _, it := range h.Items() {
		if it.ID == itemTime {
			times = append(times, it.Value)
		}
	}
	if len(h.Items()) != 34 || !slices.Equal(times, []uint64{10, 11, 12}) {
		t.Errorf("%d items, %d of one id: %v", len(h.Items()), len(times), times)
	}
	h.Release()
	r.end()
}

// §1.5: as in spead2, an addressed NULL ends the item before it and is none itself; an
// immediate one is nothing.
func TestSpead2NullEndsAnItem(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 100, 0, make([]byte, 100), f48.Addressed(itemData, 0), f48.Addressed(spead.IDNull, 60), f48.Immediate(spead.IDNull, 5)))
	h := r.heap()
	wantItems(t, h, "[0x3300[0:60]]")
	h.Release()
	r.end()
}

// §1.5: as in spead2, the addressed items come first, by offset, and the immediate ones
// after them, by value. Those that compare equal stay as they came.
func TestSpead2OrderOfItems(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 100, 0, make([]byte, 100),
		f48.Immediate(0x10, 9), f48.Addressed(0x20, 50), f48.Immediate(0x4000, 3), f48.Immediate(0x11, 3),
		f48.Addressed(0x30, 10), f48.Immediate(0x12, 9)))
	h := r.heap()
	wantItems(t, h, "[0x30[10:50] 0x20[50:100] 0x4000=3 0x11=3 0x10=9 0x12=9]")
	h.Release()
	r.end()
}

// §1.5: as in spead2, the pointer of all ones, the immediate item of the largest id and
// value, is one like others, and so is that of all zeros.
func TestSpead2PointerOfAllOnes(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	ones := f48.Immediate(f48.MaxID(), f48.MaxValue())
	r.feed(0, raw(f48, 1, 10, 0, make([]byte, 10), ones, f48.Addressed(spead.IDNull, 0), f48.Immediate(0x10, f48.MaxValue()), ones))
	h := r.heap()
	wantItems(t, h, "[0x7fff=281474976710655 0x10=281474976710655]")
	h.Release()
	r.end()
}

// §1.5: as in spead2, an item reaches to the next pointer, and the last one to the end:
// the heap's length, or how far an unsized heap came.
func TestSpead2LastItemReachesToTheEnd(t *testing.T) {
	for _, length := range []int64{100, -1} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f48, 1, length, 0, make([]byte, 50), f48.Addressed(0x20, 0), f48.Addressed(0x21, 30)))
		r.feed(0, raw(f48, 1, length, 50, make([]byte, 50)))
		r.Feeder(0).Finish()
		h := r.heap()
		wantItems(t, h, "[0x20[0:30] 0x21[30:100]]")
		h.Release()
		r.end()
	}
}

// §1.5: as in spead2, items of no length are not delivered. Of two items at one offset
// the first is one.
func TestSpead2EmptyItemsAreLeftOut(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 100, 0, make([]byte, 100),
		f48.Addressed(0x20, 0), f48.Addressed(0x23, 40), f48.Addressed(0x22, 40), f48.Addressed(0x24, 40), f48.Addressed(0x25, 100)))
	h := r.heap()
	wantItems(t, h, "[0x20[0:40] 0x24[40:100]]")
	h.Release()
	r.end()
}

// §1.5: as in spead2, a heap's length counts all that is addressed, descriptors too.
func TestSpead2LengthCountsDescriptors(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	d := spead.Descriptor{ID: itemData, Name: "data", Format: []spead.FormatField{{Type: 'u', Bits: 8}}, Shape: []int64{-1}}
	item, err := d.Item(f48, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.feed(0, packetsOf(t, f48, 1, 3000, 1472, item)...)
	h := r.heap()
	if want := int64(3000 + len(item.Data)); h.Length() != want || int64(len(h.Payload())) != want {
		t.Errorf("length %d, payload of %d bytes, want %d", h.Length(), len(h.Payload()), want)
	}
	wantItems(t, h, fmt.Sprintf("[0x3300[0:3000] 0x5[3000:%d] 0x1600=1]", 3000+len(item.Data)))
	h.Release()
	r.end()
}

// §1.5: a difference. Of incomplete heaps, which are handed over where they are asked for,
// spead2 gives only the immediate items. Here the addressed ones are there as well, and
// those of which bytes may lack are marked.
func TestSpead2ItemsOfIncompleteHeaps(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f48, 1, 300, 0, make([]byte, 200), f48.Addressed(0x20, 0), f48.Addressed(0x21, 150), f48.Immediate(itemTime, 5)))
	r.Feeder(0).Finish()
	h := r.heap()
	wantItems(t, h, "[0x20[0:150] 0x21[150:300]? 0x1600=5]")
	h.Release()
	r.end()
}

// §1.6: as in spead2, the stream ends with the first packet taken that has the stop item,
// of whatever heap, complete or not.
func TestSpead2StopWithTheFirstPacket(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2}, Config{})
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	r.feed(0, raw(f48, 1, 300, 0, make([]byte, 100)))
	r.feed(0, raw(f48, 1, 300, 200, make([]byte, 100), f48.Immediate(itemTime, 1), stop))
	if !r.Stopping() {
		t.Error("the stream goes on after its stop item")
	}
	r.end()
}

// §1.6: as in spead2, a packet that is refused stops nothing, and neither does a stop
// item with an address.
func TestSpead2RefusedStop(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	r.feed(0, parts(1, 2, 100)[0])
	for _, p := range [][]byte{
		raw(f48, 1, 300, 100, make([]byte, 100), stop), // its length differs
		raw(spead.Flavour40, 1, 200, 100, make([]byte, 100), spead.Flavour40.Immediate(spead.IDStreamCtrl, spead.CtrlStop)),
		append(raw(f48, 2, 1, 0, make([]byte, 1), stop), 0), // its datagram is longer
		raw(f48, 4, 1<<40, 0, make([]byte, 1), stop),        // its heap is too large
		raw(f48, 3, 100, 0, make([]byte, 100), f48.Addressed(spead.IDStreamCtrl, spead.CtrlStop)),
		raw(f48, 5, 100, 0, make([]byte, 100), f48.Immediate(spead.IDStreamCtrl, 1<<32|spead.CtrlStop)), // another value
	} {
		r.feed(0, p)
	}
	if r.Stopping() {
		t.Errorf("stopped\n%s", fates(r.Stats()))
	}
	wantCounts(t, r.take(), 3, 5)
	r.end()
}

// §1.6: a difference. A stop item in a repeat of a packet counts, whose heap is live: what
// is known of the heap is told before its bytes are placed. spead2 takes nothing of it.
func TestSpead2StopInARepeat(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, parts(1, 2, 100)[0])
	r.feed(0, raw(f48, 1, 200, 0, make([]byte, 100), f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)))
	if !r.Stopping() {
		t.Error("not stopped")
	}
	r.end()
}

// §1.6: as in spead2, the heap with the stop item is not delivered if it is complete, even
// if it holds data, and is not among the heaps; its packets are among the packets.
func TestSpead2StopHeapIsNotDelivered(t *testing.T) {
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	for name, packets := range map[string][][]byte{
		"alone":        {control(spead.CtrlStop, 9)},
		"with data":    {raw(f48, 9, 100, 0, make([]byte, 100), f48.Addressed(itemData, 0), stop)},
		"no payload":   {raw(f48, 9, 0, 0, nil, stop)},
		"two packets":  {raw(f48, 9, 200, 0, make([]byte, 100), stop), raw(f48, 9, 200, 100, make([]byte, 100))},
		"in the last":  {raw(f48, 9, 200, 0, make([]byte, 100)), raw(f48, 9, 200, 100, make([]byte, 100), stop)},
		"in 64-40":     packetsOf(t, spead.Flavour40, 9, 100, 1472, spead.ControlItem(spead.CtrlStop)),
		"in reverse":   {raw(f48, 9, 200, 100, make([]byte, 100), stop), raw(f48, 9, 200, 0, make([]byte, 100))},
		"said by both": {raw(f48, 9, 200, 0, make([]byte, 100), stop), raw(f48, 9, 200, 100, make([]byte, 100), stop)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
			r.feed(0, parts(1, 2, 100)...)
			r.feed(0, packets...)
			if !r.Stopping() {
				t.Error("not stopped")
			}
			wantCounts(t, r.end(), 1)
			n := uint64(len(packets))
			r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 2, ledger.StreamControl: n})
			if s := r.Stats(); s.Counts[ledger.HeapsStop] != 1 || s.Counts[ledger.HeapsComplete] != 1 || s.Counts[ledger.HeapsIncomplete] != 0 || s.Counts[ledger.PacketsFed] != 2+n {
				t.Errorf("%d stop heaps, %d complete, %d incomplete, %d packets", s.Counts[ledger.HeapsStop], s.Counts[ledger.HeapsComplete], s.Counts[ledger.HeapsIncomplete], s.Counts[ledger.PacketsFed])
			}
		})
	}
}

// §1.6: as in spead2, a stop heap that is not complete goes out with the flush, as the
// other incomplete heaps do.
func TestSpead2IncompleteStopHeapIsFlushed(t *testing.T) {
	for _, incomplete := range []bool{false, true} {
		r := newRig(t, pool.ShareConfig{}, Config{Incomplete: incomplete})
		r.feed(0, raw(f48, 9, 200, 0, make([]byte, 100), f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)))
		got := r.end()
		if len(got) != 0 != incomplete {
			t.Errorf("incomplete heaps wanted: %v, heaps %v", incomplete, got)
		}
		if s := r.Stats(); s.Counts[ledger.HeapsFlushed] != 1 || s.Counts[ledger.HeapsIncomplete] != 1 || s.Counts[ledger.HeapsStop] != 0 {
			t.Errorf("%d flushed, %d incomplete, %d stop heaps", s.Counts[ledger.HeapsFlushed], s.Counts[ledger.HeapsIncomplete], s.Counts[ledger.HeapsStop])
		}
	}
}

// §1.6: a stop heap with an item pointer beyond its length is never complete. As in spead2
// it goes out with the flush, if it has several packets. A difference: one of a single packet
// is a stop heap like others, and is not delivered, nor counted as incomplete.
func TestSpead2StopHeapWithAPointerBeyond(t *testing.T) {
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f48, 9, 200, 0, make([]byte, 100)))
	r.feed(0, raw(f48, 9, 200, 100, make([]byte, 100), stop, f48.Addressed(itemData, 201)))
	if !r.Stopping() {
		t.Error("not stopped")
	}
	wantCounts(t, r.end(), 9)
	r.wantFates(map[ledger.Fate]uint64{ledger.DeliveredIncomplete: 2})

	r = newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f48, 9, 50, 0, make([]byte, 50), stop, f48.Addressed(itemData, 51)))
	if !r.Stopping() {
		t.Error("not stopped")
	}
	wantCounts(t, r.end())
	r.wantFates(map[ledger.Fate]uint64{ledger.StreamControl: 1})
}

// §1.6: as in spead2, the other values of stream control stop nothing and are delivered.
func TestSpead2OtherStreamControl(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Ring: 8}, Config{})
	for i, code := range []uint64{spead.CtrlStart, spead.CtrlReissue, spead.CtrlUpdate, 4, f48.MaxValue()} {
		r.feed(0, control(code, uint64(i)))
		h := r.heap()
		wantItems(t, h, fmt.Sprintf("[0x6=%d]", code))
		if !h.HasControl(code) || h.HasControl(spead.CtrlStop) {
			t.Errorf("HasControl of %d", code)
		}
		h.Release()
	}
	if r.Stopping() {
		t.Error("stopped")
	}
	r.end()
}

// §1.6: as in spead2 with stop_on_stop_item off, the stop item is an item, and its heap a
// heap.
func TestSpead2IgnoreStop(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{IgnoreStop: true, OnStop: func() { t.Error("OnStop called") }})
	r.feed(0, control(spead.CtrlStop, 9))
	r.feed(0, raw(f48, 10, 200, 0, make([]byte, 100), f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)), raw(f48, 10, 200, 100, make([]byte, 100)))
	r.feed(0, parts(11, 1, 100)...)
	if r.Stopping() || r.Feeder(0).SawStop() {
		t.Error("stopped")
	}
	h := r.heap()
	if h.Cnt() != 9 || !h.HasControl(spead.CtrlStop) {
		t.Errorf("heap %d, items %s", h.Cnt(), described(h))
	}
	h.Release()
	wantCounts(t, r.end(), 10, 11)
	if s := r.Stats(); s.Counts[ledger.HeapsStop] != 0 {
		t.Errorf("%d stop heaps", s.Counts[ledger.HeapsStop])
	}
}

// §1.6: a difference. spead2 drops what is left of a batch after the stop. Here a stream
// takes what its sources held when the stop was seen; only what they held not has the fate
// after_stop.
func TestSpead2PacketsBehindTheStop(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0], control(spead.CtrlStop, 9), p[1]) // one batch
	r.feed(0, parts(2, 1, 100)...)                    // also held
	wantCounts(t, r.take(), 1, 2)
	r.Feeder(0).Finish()
	r.feed(0, parts(3, 1, 100)...)
	wantCounts(t, r.end())
	r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 3, ledger.StreamControl: 1, ledger.AfterStop: 1})
}

// §2.2: as in spead2, a packet that is all of its heap is a heap of its own, also one
// without payload, and also where a heap of the same count is live.
func TestSpead2SinglePacketHeaps(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0])
	r.feed(0, raw(f48, 1, 50, 0, content(1, 50), f48.Addressed(itemData, 0)))
	r.feed(0, raw(f48, 2, 0, 0, nil, f48.Immediate(itemTime, 3)))
	for _, want := range []struct {
		cnt    uint64
		length int64
	}{{1, 50}, {2, 0}} {
		h := r.heap()
		if h.Cnt() != want.cnt || h.Length() != want.length || !h.Complete() || h.Packets() != 1 {
			t.Errorf("heap %d of %d bytes in %d packets", h.Cnt(), h.Length(), h.Packets())
		}
		r.check(h)
		h.Release()
	}
	r.feed(0, p[1])
	wantCounts(t, r.end(), 1)
	if s := r.Stats(); s.Counts[ledger.HeapsSinglePacket] != 2 || s.Counts[ledger.HeapsComplete] != 3 {
		t.Errorf("%d heaps of one packet, %d in all", s.Counts[ledger.HeapsSinglePacket], s.Counts[ledger.HeapsComplete])
	}
}

// §2.2: a difference. Heaps of one packet take no place among the live heaps; in spead2
// each takes one, and evicts what was there.
func TestSpead2SinglePacketHeapsEvictNothing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0])
	for cnt := uint64(2); cnt < 12; cnt++ {
		r.feed(0, parts(cnt, 1, 100)...)
		wantCounts(t, r.take(), cnt)
	}
	r.feed(0, p[1])
	wantCounts(t, r.end(), 1)
}

// §2.2: as in spead2, a heap is evicted when as many newer ones of its substream have
// started as may be live, and not before; the oldest goes first, whatever its count.
func TestSpead2EvictedByNewerHeaps(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 3, Ring: 8}, Config{Incomplete: true})
	for _, cnt := range []uint64{20, 7, 30} {
		r.feed(0, parts(cnt, 2, 100)[0])
	}
	if got := r.take(); got != nil {
		t.Errorf("heaps %v evicted, and three may be live", got)
	}
	r.feed(0, parts(7, 2, 100)[1]) // complete
	wantCounts(t, r.take(), 7)
	r.feed(0, parts(8, 2, 100)[0])
	wantCounts(t, r.take(), 20)
	r.feed(0, parts(9, 2, 100)[0]) // in the place of 7
	wantCounts(t, r.take())
	r.feed(0, parts(10, 2, 100)[0])
	wantCounts(t, r.take(), 30)
	wantCounts(t, r.end(), 8, 9, 10)
	if s := r.Stats(); s.Counts[ledger.HeapsEvicted] != 2 || s.Counts[ledger.HeapsFlushed] != 3 {
		t.Errorf("%d evicted, %d flushed", s.Counts[ledger.HeapsEvicted], s.Counts[ledger.HeapsFlushed])
	}
}

// §2.2: as in spead2, a heap that has left does not give its place back: newer heaps evict
// also if they were complete at once.
func TestSpead2HeadIsNotRewound(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2, Ring: 8}, Config{Incomplete: true})
	r.feed(0, parts(1, 2, 100)[0])
	r.feed(0, parts(2, 2, 100)...)
	wantCounts(t, r.take(), 2)
	r.feed(0, parts(3, 2, 100)...)
	wantCounts(t, r.end(), 1, 3)
	if s := r.Stats(); s.Counts[ledger.HeapsEvicted] != 1 {
		t.Errorf("%d evicted", s.Counts[ledger.HeapsEvicted])
	}
}

// §2.2: as in spead2, a substream is the count modulo their number, and heaps evict only
// those of their own.
func TestSpead2SubstreamsApart(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 6, Ring: 8}, Config{Substreams: 3, Incomplete: true})
	r.feed(0, parts(1, 2, 100)[0])
	for _, cnt := range []uint64{3, 6, 9, 12, 2, 5, 8} {
		r.feed(0, parts(cnt, 2, 100)...)
		wantCounts(t, r.take(), cnt)
	}
	r.feed(0, parts(4, 2, 100)[0])
	wantCounts(t, r.take())
	r.feed(0, parts(7, 2, 100)[0])
	wantCounts(t, r.take(), 1)
	wantCounts(t, r.end(), 4, 7)
}

// §2.2: a difference. A late packet of a heap that has left is counted, and starts
// nothing. In spead2 it starts a heap of that count again, which evicts others.
func TestSpead2LatePacketsStartNothing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2, Ring: 8}, Config{})
	r.feed(0, parts(1, 3, 100)[0])
	r.feed(0, parts(2, 2, 100)...)
	r.feed(0, parts(3, 2, 100)[0]) // evicts 1
	r.feed(0, parts(4, 2, 100)[0])
	for range 5 {
		r.feed(0, parts(1, 3, 100)...) // would begin and end heap 1 if it could start
		r.feed(0, parts(2, 2, 100)[1])
	}
	r.feed(0, parts(3, 2, 100)[1], parts(4, 2, 100)[1])
	wantCounts(t, r.end(), 2, 3, 4)
	r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 6, ledger.DiscardedIncomplete: 1, ledger.Late: 15, ledger.Duplicate: 5})
}

// §2.2: a difference. A heap of one packet that comes twice is delivered once; in spead2
// twice.
func TestSpead2RepeatedSinglePacketHeap(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 1, 100)[0]
	r.feed(0, p, p)
	r.feed(0, p)
	r.feed(0, raw(f48, 2, 0, 0, nil), raw(f48, 2, 0, 0, nil))
	wantCounts(t, r.end(), 1, 2)
	r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 2, ledger.Duplicate: 3})
}

// §2.2: a difference. So is one of several packets, in whatever order its repeats come; in
// spead2 all its packets once more make it once more.
func TestSpead2RepeatedHeap(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 3, 100)
	r.feed(0, p...)
	r.feed(0, p...)
	r.feed(0, p[2], p[1], p[0])
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 3, ledger.Duplicate: 6})
}

// §2.2: as in spead2, heaps are delivered in the order in which they are complete.
func TestSpead2OrderOfCompletion(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	for cnt := uint64(1); cnt <= 4; cnt++ {
		r.feed(0, parts(cnt, 2, 100)[0])
	}
	for _, cnt := range []uint64{3, 1, 4, 2} {
		r.feed(0, parts(cnt, 2, 100)[1])
	}
	wantCounts(t, r.end(), 3, 1, 4, 2)
}

// §2.2: as in spead2, the heaps that are live when a stream ends go out substream by
// substream, each from its oldest.
func TestSpead2FlushOrder(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 9, Ring: 16}, Config{Substreams: 3, Incomplete: true})
	for _, cnt := range []uint64{8, 3, 7, 2, 0, 4, 1} {
		r.feed(0, parts(cnt, 2, 100)[0])
	}
	wantCounts(t, r.end(), 3, 0, 7, 4, 1, 8, 2)
	if s := r.Stats(); s.Counts[ledger.HeapsFlushed] != 7 {
		t.Errorf("%d flushed", s.Counts[ledger.HeapsFlushed])
	}
}

// §2.2: a difference. A heap for which nothing comes leaves after MaxAge; in spead2 it
// stays as long as its sender pauses, as it does here with a negative MaxAge.
func TestSpead2Timer(t *testing.T) {
	for maxAge, want := range map[time.Duration]uint64{0: 1, -1: 0} {
		r := newRig(t, pool.ShareConfig{}, Config{MaxAge: maxAge})
		r.feed(0, parts(1, 2, 100)[0])
		r.Feeder(0).Tick(r.now + 1000*second)
		if s := r.Stats(); s.Counts[ledger.HeapsAged] != want {
			t.Errorf("MaxAge %d: %d heaps left by age, want %d", maxAge, s.Counts[ledger.HeapsAged], want)
		}
		r.end()
	}
}

// §2.4: the counters that have spead2's names count what they count there: heaps that have
// left in any way but as stop heaps, and all packets that decode. Packets that do not are
// counted here too.
func TestSpead2Statistics(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 1, Ring: 8}, Config{})
	r.feed(0, parts(1, 2, 100)[0])
	r.feed(0, parts(2, 2, 100)...)                                       // evicts 1
	r.feed(0, parts(3, 2, 100)[0], parts(4, 1, 100)[0])                  // flushed; of one packet
	r.feed(0, parts(3, 2, 100)[0], control(spead.CtrlStop, 9), nil, nil) // a repeat, and two that do not decode
	r.end()
	s := r.Stats()
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"heaps", s.Counts[ledger.HeapsComplete] + s.Counts[ledger.HeapsIncomplete], 4},
		{"incomplete_heaps_evicted", s.Counts[ledger.HeapsEvicted], 1},
		{"incomplete_heaps_flushed", s.Counts[ledger.HeapsFlushed], 1},
		{"packets that decode", s.Counts[ledger.PacketsFed] - s.Fates[ledger.TooShort], 7},
		{"packets", s.Counts[ledger.PacketsFed], 9},
		{"batches", s.Counts[ledger.BatchesFed], 4},
		{"max_batch", s.Counts[ledger.BatchMax], 4},
		{"single_packet_heaps", s.Counts[ledger.HeapsSinglePacket], 1},
		{"worker_blocked", s.Counts[ledger.Blocked], 0},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.name, c.got, c.want)
		}
	}
}
