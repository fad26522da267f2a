// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"net/netip"

	"github.com/speadx/speadx/ledger"
)

// Repeats says what happens to a heap whose count was there already: all its bytes came, and
// less than 2 s ago.
type Repeats uint8

const (
	// RepeatsDrop takes the packets of such a heap for duplicates, which they are if the
	// network has two paths. Whole heaps that came again are counted.
	RepeatsDrop Repeats = iota
	// RepeatsDeliver takes such a heap for a new one.
	RepeatsDeliver
)

var repeatsNames = [...]string{"drop", "deliver"}

// String is the name on the command line.
func (r Repeats) String() string {
	if int(r) < len(repeatsNames) {
		return repeatsNames[r]
	}
	return fmt.Sprintf("repeats %d", uint8(r))
}

// ParseRepeats is the inverse of Repeats.String.
func ParseRepeats(s string) (Repeats, error) {
	for i, n := range repeatsNames {
		if s == n {
			return Repeats(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of drop, deliver", s)
}

// Repeated is a heap that came again, and who sent it first and then.
type Repeated struct {
	Cnt     uint64
	Senders [2]netip.AddrPort
}

// noteRepeat counts a whole heap that came again.
func (f *Feeder) noteRepeat(cnt uint64, first uint32) {
	a := f.a
	f.count.stream[ledger.HeapsRepeated]++
	if a.repeated.Load() == nil {
		a.repeated.CompareAndSwap(nil, &Repeated{cnt, [2]netip.AddrPort{a.senders.list[first].AddrPort(), a.senders.list[f.from].AddrPort()}})
	}
}

// wasComplete reports whether a heap of the history has left with all its bytes.
func (f *Feeder) wasComplete(e entry) bool {
	if e.left != 0 {
		return e.left&leftComplete != 0
	}
	s := f.a.records[e.ref&recordMask].state.Load() // it was closed just now, and is perhaps gone
	return s>>genShift == e.ref>>recordBits && howOf(s) == complete
}

// startsAgain reports whether a packet of a heap that has left starts a new heap.
func (f *Feeder) startsAgain(e entry) bool {
	return f.a.cfg.Repeats == RepeatsDeliver && f.wasComplete(e) && e.left&leftStop == 0
}

// A heap has come again when a packet with its first byte has, and then as many bytes as it
// has. So packets that the network sends twice make no heap, unless it does so with each
// packet of a heap, after the last one. The word is bytes<<1, and 1 if the first byte came.
const againBegun = 1

// cameAgain notes bytes of a heap that has left, and reports whether the whole heap has come
// again by that.
func (h *history) cameAgain(e entry, offset, bytes, length int64) bool {
	w := h.cell(e.seq).Load()
	if w>>nodeBits != h.lap(e.seq) {
		return false
	}
	again := &h.nodes[w&nodeMask].again
	for {
		old := again.Load()
		now := old
		if offset == 0 {
			now = againBegun
		}
		now += uint64(bytes) << 1
		whole := now&againBegun != 0 && int64(now>>1) >= length
		if whole {
			now = 0
		}
		if again.CompareAndSwap(old, now) {
			return whole
		}
	}
}
