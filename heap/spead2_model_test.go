// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// liveHeap is spead2's live heap with packets in any order, as §1.4 has it, with what
// is done otherwise here marked as such. It knows each byte, and nothing of ranges.
type liveHeap struct {
	flavour spead.Flavour
	length  int64 // -1: not told
	reach   int64 // beyond what the length says: min_length is the larger of both
	there   [400]bool
	items   map[spead.Pointer]bool
}

// modelPacket is a packet of the heap in hand.
type modelPacket struct {
	flavour            spead.Flavour
	length, start, end int64
	pointers           []spead.Pointer
}

func (m *liveHeap) received() (n int64) {
	for _, b := range m.there {
		if b {
			n++
		}
	}
	return n
}

func (m *liveHeap) complete() bool {
	return m.length >= 0 && m.received() == m.length && m.reach <= m.length
}

// take says what becomes of a packet; placed if the heap takes it.
func (m *liveHeap) take(p modelPacket) ledger.Fate {
	switch {
	case p.flavour != m.flavour: // a difference: before the lengths
		return ledger.FlavourDiffers
	case p.length >= 0 && m.length >= 0 && p.length != m.length:
		return ledger.LengthConflict
	case p.length >= 0 && p.length < m.reach:
		return ledger.LengthConflict
	case p.length < 0 && m.length >= 0 && p.end > m.length: // a difference: spead2 takes it
		return ledger.LengthConflict
	}
	if m.length < 0 { // a difference: also of a packet that is refused below
		m.length = p.length
	}
	had := 0
	for _, b := range m.there[p.start:p.end] {
		if b {
			had++
		}
	}
	switch {
	case p.start == p.end: // a difference: it has no place among the ranges
	case had == int(p.end-p.start):
		return ledger.Duplicate
	case had > 0:
		if p.length < 0 { // a difference: what it would have brought is missing
			m.reach = max(m.reach, p.end)
		}
		return ledger.Overlap
	}
	for i := p.start; i < p.end; i++ {
		m.there[i] = true
	}
	if p.length < 0 {
		m.reach = max(m.reach, p.end)
	}
	for _, q := range p.pointers {
		m.items[q] = true
		if !q.IsImmediate() {
			m.reach = max(m.reach, int64(m.flavour.Value(q)))
		}
	}
	if p.start == p.end {
		return ledger.Empty
	}
	return placed
}

// drawPackets draws packets of one heap that often disagree, and often continue each other.
// None is a heap by itself.
func drawPackets(rng *rand.Rand, pointersBeyond bool) []modelPacket {
	const step = 10
	size := int64(step * (5 + rng.IntN(20)))
	unsized, odd := rng.Float64(), rng.Float64()*0.2
	if rng.IntN(4) == 0 { // no length at all, and mostly in order
		unsized, odd = 1, odd/4
	}
	var out []modelPacket
	at := int64(0)
	for range 4 + rng.IntN(40) {
		p := modelPacket{flavour: f48, length: size}
		if rng.IntN(4) == 0 {
			at = step * int64(rng.IntN(int(size/step)))
		}
		p.start, p.end = at, at+step*int64(1+rng.IntN(2))
		if rng.Float64() < odd {
			p.start += int64(rng.IntN(9))
		}
		if rng.Float64() < odd {
			p.end = p.start
		}
		if rng.Float64() < odd {
			p.flavour = spead.Flavour40
		}
		if rng.Float64() < odd {
			p.length += step * int64(rng.IntN(5)-2)
		}
		if rng.Float64() < unsized {
			p.length = -1
		}
		if p.length >= 0 {
			p.end = min(p.end, p.length)
			p.start = min(p.start, p.end)
		}
		for rng.IntN(5) == 0 {
			reach := size
			if pointersBeyond {
				reach += 3
			}
			p.pointers = append(p.pointers, p.flavour.Addressed(0x20+rng.Uint64N(4), rng.Uint64N(uint64(reach+1))), p.flavour.Immediate(itemTime, rng.Uint64N(5)))
		}
		out = append(out, p)
		at = p.end
		if at >= size+3*step {
			at = 0
		}
	}
	return out
}

func (p modelPacket) bytes() []byte {
	return raw(p.flavour, 1, p.length, p.start, content(1, 400)[p.start:p.end], p.pointers...)
}

// §1.4: a heap as a whole, against a model of spead2's: which packets it takes, in
// what state it is after each, and what is delivered in the end. Where this receiver does
// otherwise the model says so.
func TestSpead2LiveHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	seen := [ledger.NumFates + 1]int{}
	completed, contiguous := 0, 0
	for round := range 1500 {
		packets := drawPackets(rng, round%2 == 0)
		r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{Incomplete: true})
		m := &liveHeap{flavour: packets[0].flavour, length: -1, items: map[spead.Pointer]bool{}}
		want := map[ledger.Fate]uint64{}
		took := uint64(0)
		for i, p := range packets {
			fate := m.take(p)
			seen[fate]++
			if fate == placed {
				took++
			} else {
				want[fate]++
			}
			r.feed(0, p.bytes())
			if s := r.Stats(); fate != placed && s.Fates[fate] != want[fate] {
				t.Fatalf("round %d: packet %d of %+v is not %v\n%s", round, i, packets[:i+1], fate, fates(s))
			}
			if done := r.Stats().Counts[ledger.HeapsComplete] == 1; done != m.complete() {
				t.Fatalf("round %d: after packet %d of %+v the heap is complete: %v", round, i, packets[:i+1], done)
			}
			if m.complete() {
				break
			}
		}
		r.Feeder(0).Finish()
		if took == 0 && len(m.items) == 0 { // a difference: there is nothing to hand over
			if h := r.TryNext(); h != nil {
				t.Fatalf("round %d: of %+v a heap is handed over", round, packets)
			}
			r.end()
			r.close()
			continue
		}
		h := r.heap()
		whole := m.complete() || m.length < 0 && m.received() == m.reach
		if m.complete() {
			completed++
		} else if whole {
			contiguous++
		}
		if h.Complete() != whole || h.Length() != m.length || h.Received() != m.received() {
			t.Errorf("round %d: complete %v, length %d, %d bytes; want %v, %d, %d", round, h.Complete(), h.Length(), h.Received(), whole, m.length, m.received())
		}
		if want := max(m.length, 0); m.length >= 0 && int64(len(h.Payload())) != want || m.length < 0 && int64(len(h.Payload())) != m.reach {
			t.Errorf("round %d: payload of %d bytes, length %d, reach %d", round, len(h.Payload()), m.length, m.reach)
		}
		var there [400]bool
		for _, g := range h.Ranges() {
			for i := g.Start; i < g.End; i++ {
				there[i] = true
			}
		}
		for i := range h.Payload() {
			if there[i] != m.there[i] {
				t.Fatalf("round %d: ranges %v are not those of the packets taken", round, h.Ranges())
			}
		}
		if !slices.Equal(itemsOf(h), m.itemsBySize(int64(len(h.Payload())))) {
			t.Errorf("round %d: items %v, want %v", round, itemsOf(h), m.itemsBySize(int64(len(h.Payload()))))
		}
		h.Release()
		fate := ledger.DeliveredIncomplete
		if whole {
			fate = ledger.Delivered
		}
		want[fate] = took
		r.wantFates(want)
		r.end()
		r.close()
		if t.Failed() {
			return
		}
	}
	for _, f := range []ledger.Fate{ledger.FlavourDiffers, ledger.LengthConflict, ledger.Duplicate, ledger.Overlap, ledger.Empty, placed} {
		if seen[f] < 500 {
			t.Errorf("only %d packets with fate number %d: this tests too little", seen[f], f)
		}
	}
	if completed < 30 || contiguous < 30 {
		t.Errorf("%d heaps complete and %d contiguous: this tests too little", completed, contiguous)
	}
}

// itemsBySize are the values of the items that the pointers give, by §1.5, without regard to
// order: how many bytes there are at each offset that begins an item, and the immediates.
func (m *liveHeap) itemsBySize(size int64) (out []string) {
	var starts []int64
	for q := range m.items {
		if q.IsImmediate() {
			out = append(out, fmt.Sprint("value ", m.flavour.Value(q)))
		} else {
			starts = append(starts, int64(m.flavour.Value(q)))
		}
	}
	slices.Sort(starts)
	starts = append(slices.Compact(starts), size)
	for i, s := range starts[:len(starts)-1] {
		if end := min(starts[i+1], size); end > s {
			out = append(out, fmt.Sprintf("bytes [%d, %d)", s, end))
		}
	}
	slices.Sort(out)
	return out
}

func itemsOf(h *Heap) (out []string) {
	for _, it := range h.Items() {
		if it.Immediate {
			out = append(out, fmt.Sprint("value ", it.Value))
		} else {
			out = append(out, fmt.Sprintf("bytes [%d, %d)", it.Offset, it.Offset+it.Length))
		}
	}
	slices.Sort(out)
	return out
}

// What becomes of packets does not depend on how they are batched, also where they
// disagree: packets that continue each other are placed as one, if all of them can be.
func TestBatchesDoNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range 500 {
		packets := drawPackets(rng, false)
		results := map[string]int{}
		for _, most := range []int{1, 3, 100} {
			r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{Incomplete: true})
			for left := packets; len(left) > 0; {
				n := min(most, len(left))
				var batch [][]byte
				for _, p := range left[:n] {
					batch = append(batch, p.bytes())
				}
				r.feed(0, batch...)
				left = left[n:]
			}
			r.Feeder(0).Finish()
			result := ""
			for h := r.TryNext(); h != nil; h = r.TryNext() {
				result += fmt.Sprintln(h.Cnt(), h.Complete(), h.Length(), h.Ranges(), described(h))
				h.Release()
			}
			r.end()
			results[result+fates(r.Stats())] = most
			r.close()
		}
		if len(results) != 1 {
			t.Fatalf("round %d: the packets %+v give, by packets in a batch:\n%v", round, packets, results)
		}
	}
}
