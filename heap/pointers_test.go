// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// §1.5: a difference. Of two items at one offset the first in the sender's order is the empty one, also if
// the pointers are in different packets and those come in any order. In spead2 the order
// of arrival decides, so that packets in reverse give the empty item the other's data.
func TestSpead2TwoItemsAtOneOffset(t *testing.T) {
	const empty, full, behind = 0x20, 0x21, 0x22
	items := []spead.OutItem{
		{ID: 0x10, Immediate: true, Value: 1}, {ID: empty},
		{ID: full, Data: content(1, 40)}, {ID: 0x11, Immediate: true, Value: 2},
		{ID: behind, Data: content(2, 30)}, {ID: 0x12, Immediate: true, Value: 3},
	}
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: f48, MaxPacket: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(1, items); err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	apart := map[uint64]int{} // in which packet a pointer is
	for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(nil) {
		var h spead.Packet
		if r := h.Decode(b, len(b)); r != spead.OK {
			t.Fatal(r)
		}
		for i := range h.NumPointers() {
			apart[f48.ID(h.Pointer(i))] = len(packets)
		}
		packets = append(packets, b)
	}
	if apart[empty] == apart[full] {
		t.Fatal("both pointers are in one packet: this tests nothing")
	}
	const want = "[0x21[0:40] 0x22[40:70] 0x10=1 0x11=2 0x12=3]"
	feed := func(name string, order []int, batch int) {
		r := newRig(t, pool.ShareConfig{}, Config{})
		defer r.close()
		for len(order) > 0 {
			n := min(batch, len(order))
			var b [][]byte
			for _, i := range order[:n] {
				b = append(b, packets[i])
			}
			r.feed(0, b...)
			order = order[n:]
		}
		h := r.heap()
		if got := described(h); got != want {
			t.Errorf("%s: items %s, want %s", name, got, want)
		}
		h.Release()
		r.end()
	}
	var reverse []int
	for i := range packets {
		reverse = append(reverse, len(packets)-1-i)
	}
	feed("in reverse", reverse, 1)
	feed("in reverse, in one batch", reverse, len(packets))
	rng := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		feed("in some order", rng.Perm(len(packets)), 1+rng.IntN(4))
	}
}

// The same with more pointers than the list takes, where some packets repeat those of one
// before them. Immediate items of one value show the order of all.
func TestPlacesInTheTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const n, each = 12, 3
	for range 50 {
		r := newRig(t, pool.ShareConfig{}, Config{})
		var packets [][]byte
		var want []uint64
		for i := range n {
			var ptrs []spead.Pointer
			own := func(of int) {
				for k := range each {
					ptrs = append(ptrs, f48.Immediate(uint64(0x100+each*of+k), 7))
				}
			}
			if other := rng.IntN(n); other < i {
				own(other)
			}
			own(i)
			for k := range uint64(each) {
				want = append(want, uint64(0x100+each*i)+k)
			}
			packets = append(packets, raw(f48, 1, n*8, int64(i)*8, make([]byte, 8), ptrs...))
		}
		for _, i := range rng.Perm(n) {
			r.feed(0, packets[i])
		}
		h := r.heap()
		var got []uint64
		for _, it := range h.Items() {
			got = append(got, it.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("items in the order %#x", got)
		}
		h.Release()
		r.end()
		r.close()
	}
}

// An item of an incomplete heap is Missing if bytes of it did not come, or if a packet
// that did not come can have held the pointer that ends it.
func TestMissing(t *testing.T) {
	a, b, c := f48.Addressed(0x20, 0), f48.Addressed(0x21, 100), f48.Addressed(0x22, 200)
	now := f48.Immediate(itemTime, 5)
	pack := func(length, offset, n int64, ptrs ...spead.Pointer) []byte {
		return raw(f48, 1, length, offset, make([]byte, n), ptrs...)
	}
	for _, tt := range []struct {
		name    string
		packets [][]byte
		want    string
	}{
		{"all pointers in the first packet", [][]byte{pack(300, 0, 100, a, b, c, now), pack(300, 200, 100)},
			"[0x20[0:100] 0x21[100:200]? 0x22[200:300] 0x1600=5]"},
		{"part of the bytes", [][]byte{pack(300, 0, 250, a, b, c)},
			"[0x20[0:100] 0x21[100:200] 0x22[200:300]?]"},
		{"the first packet is lost, the pointers are repeated", [][]byte{pack(300, 100, 200, a, b, c, now)},
			"[0x20[0:100]? 0x21[100:200] 0x22[200:300] 0x1600=5]"},
		// The lost packet [100, 200) may have had a pointer to 50 as well.
		{"each packet has some of the pointers", [][]byte{pack(300, 0, 100, a), pack(300, 200, 100, c)},
			"[0x20[0:200]? 0x22[200:300]?]"},
		// A packet filled with pointers has a word of payload: others followed.
		{"a packet full of pointers", [][]byte{pack(300, 0, 8, a, b), pack(300, 16, 284)},
			"[0x20[0:100]? 0x21[100:300]?]"},
		{"pointers spill over, one packet of them lost", [][]byte{pack(300, 0, 8, a, now), pack(300, 16, 284, c)},
			"[0x20[0:200]? 0x22[200:300]? 0x1600=5]"},
		{"no pointers came", [][]byte{pack(300, 100, 200)}, "[]"},
		{"only immediate items", [][]byte{pack(300, 0, 8, now)}, "[0x1600=5]"},
		{"bytes of no item are lost", [][]byte{pack(300, 0, 150, a, b, f48.Addressed(spead.IDNull, 150))},
			"[0x20[0:100] 0x21[100:150]]"},
		{"kept from being complete by a pointer beyond", [][]byte{pack(300, 0, 300, a, f48.Addressed(0x30, 301))},
			"[0x20[0:300]]"},
		// Nobody knows how long such a heap is, so that its last item may go on.
		{"without a length", [][]byte{pack(-1, 0, 100, a, b, c), pack(-1, 200, 50)},
			"[0x20[0:100] 0x21[100:200]? 0x22[200:250]?]"},
		{"without a length, ended by a NULL", [][]byte{pack(-1, 0, 100, a, b, c, f48.Addressed(spead.IDNull, 240)), pack(-1, 200, 50)},
			"[0x20[0:100] 0x21[100:200]? 0x22[200:240]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
			r.feed(0, tt.packets...)
			r.Feeder(0).Finish()
			h := r.heap()
			if h.Complete() {
				t.Error("complete")
			}
			wantItems(t, h, tt.want)
			h.Release()
			r.end()
		})
	}
}

// In a complete heap nothing is missing.
func TestNothingMissing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f48, 1, 24, 16, make([]byte, 8), f48.Addressed(0x22, 16)))
	r.feed(0, raw(f48, 1, 24, 0, make([]byte, 8), f48.Addressed(0x20, 0)))
	r.feed(0, raw(f48, 1, 24, 8, make([]byte, 8), f48.Addressed(0x21, 8)))
	h := r.heap()
	wantItems(t, h, "[0x20[0:8] 0x21[8:16] 0x22[16:24]]")
	h.Release()
	r.end()
}

// Pointers that found no room are as good as lost: they may have ended any item.
func TestMissingForWantOfRoom(t *testing.T) {
	var many []spead.Pointer
	for i := range uint64(20) {
		many = append(many, f48.Addressed(0x100+i, 50+i))
	}
	for name, second := range map[string][]byte{
		"with payload":    raw(f48, 1, 300, 200, make([]byte, 100), many...),
		"without payload": raw(f48, 1, 300, 200, nil, many...),
	} {
		r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true, MaxItems: 20})
		r.feed(0, raw(f48, 1, 300, 0, make([]byte, 200), f48.Addressed(0x20, 0), f48.Addressed(0x21, 100)))
		r.feed(0, second)
		r.wantFate(ledger.TooManyItems, 1)
		r.Feeder(0).Finish()
		h := r.heap()
		if got := described(h); got != "[0x20[0:100]? 0x21[100:300]?]" {
			t.Errorf("%s: items %s", name, got)
		}
		h.Release()
		r.end()
	}
}

// An item pointer is one item however many packets repeat it, at the same place or at
// another, few of them or many.
func TestRepeatedPointers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, n := range []int{1, 3, 20, 64, 65, 300} {
		all := many(n)
		packets := [][]spead.Pointer{all, all, slices.Repeat(all[:1], 3), append(slices.Clone(all[n/2:]), all[:n/2]...)}
		for range 3 {
			var some []spead.Pointer
			for range n {
				some = append(some, all[rng.IntN(n)])
			}
			packets = append(packets, some)
		}
		size := int64(8 * len(packets))
		for range 10 {
			r := newRig(t, pool.ShareConfig{}, Config{MaxItems: 2*n + 2}) // a packet's own repeats need room until it is added
			for _, i := range rng.Perm(len(packets)) {
				r.feed(0, raw(f48, 1, size, int64(8*i), make([]byte, 8), packets[i]...))
			}
			h := r.heap()
			if len(h.Items()) != n {
				t.Errorf("%d items of %d pointers", len(h.Items()), n)
			}
			for i, it := range h.Items() { // by value, each with its own
				if it.ID != 0x1000+uint64(i) {
					t.Fatalf("item %d of %d has the id %#x", i, n, it.ID)
				}
			}
			h.Release()
			r.end()
			r.close()
		}
	}
}

// A pointer that is in the log takes no room, wherever in its packet it is and whichever packet
// had it first.
func TestRepeatedPointersTakeNoRoom(t *testing.T) {
	const n, shared = 100, 30
	common := many(shared)
	own := func(i int) spead.Pointer { return f48.Immediate(0x4000, uint64(i)) }
	reversed := slices.Clone(common)
	slices.Reverse(reversed)
	for name, tt := range map[string]struct {
		packet   func(i int) []spead.Pointer
		distinct int
	}{
		"one behind in each packet":   {func(i int) []spead.Pointer { return append(slices.Clone(common), own(i)) }, shared + n},
		"one in front of each packet": {func(i int) []spead.Pointer { return append([]spead.Pointer{own(i)}, common...) }, shared + n},
		"one in the middle":           {func(i int) []spead.Pointer { return slices.Insert(slices.Clone(common), i%shared, own(i)) }, shared + n},
		"one in front of one packet":  {func(i int) []spead.Pointer { return append([]spead.Pointer{own(0)}[:i/(n-1)], common...) }, shared + 1},
		"one missing in one packet":   {func(i int) []spead.Pointer { return common[i/(n-1):] }, shared},
		"none of them in the first": {func(i int) []spead.Pointer {
			return append([]spead.Pointer{own(0)}, common...)[i/(n-1):][:shared*min(n-1-i, 1)+1]
		}, shared + 1},
		"each packet begins elsewhere":                              {func(i int) []spead.Pointer { return slices.Concat(common[i%shared:], common[:i%shared]) }, shared},
		"every other packet in reverse":                             {func(i int) []spead.Pointer { return [][]spead.Pointer{common, reversed}[i%2] }, shared},
		"two sets of them, by turns":                                {func(i int) []spead.Pointer { return [][]spead.Pointer{common[:shared/2], common[shared/2:]}[i%2] }, shared},
		"a part of them in each packet":                             {func(i int) []spead.Pointer { return common[i%shared:][:1] }, shared},
		"as many packets as there is room for, with one of its own": {func(i int) []spead.Pointer { return []spead.Pointer{own(i)} }, n},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{MaxItems: tt.distinct})
			for i := range n { // the last packet of the heap comes first
				k := n - 1 - i
				r.feed(0, raw(f48, 1, n*8, int64(k)*8, make([]byte, 8), tt.packet(k)...))
			}
			r.wantFate(ledger.TooManyItems, 0)
			h := r.heap()
			if len(h.Items()) != tt.distinct {
				t.Errorf("%d items, want %d", len(h.Items()), tt.distinct)
			}
			h.Release()
			r.end()
			r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: n})
		})
	}
}

// The order of items is the sender's where a packet with some of the pointers comes before
// one that has more of them.
func TestOrderOfRepeatedPointers(t *testing.T) {
	p := []spead.Pointer{f48.Immediate(0x10, 7), f48.Immediate(0x11, 7), f48.Immediate(0x12, 7)}
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, raw(f48, 1, 24, 16, make([]byte, 8), p[2]))
	r.feed(0, raw(f48, 1, 24, 8, make([]byte, 8), p[1], p[2]))
	r.feed(0, raw(f48, 1, 24, 0, make([]byte, 8), p...))
	h := r.heap()
	wantItems(t, h, "[0x10=7 0x11=7 0x12=7]")
	h.Release()
	r.end()
}

// All of the room can be used, and no more.
func TestRoomForPointers(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{MaxItems: 20, Incomplete: true})
	p := many(21)
	r.feed(0, raw(f48, 1, 300, 0, make([]byte, 100), p[:12]...), raw(f48, 1, 300, 100, make([]byte, 100), p[12:20]...))
	r.wantFate(ledger.TooManyItems, 0)
	r.feed(0, raw(f48, 1, 300, 200, make([]byte, 100), p[20]))
	r.wantFate(ledger.TooManyItems, 1)
	r.Feeder(0).Finish()
	h := r.heap()
	if len(h.Items()) != 20 {
		t.Errorf("%d items, want 20", len(h.Items()))
	}
	h.Release()
	r.end()
}
