// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// grow runs f and fails if it made memory grow.
func grow(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 1<<20 {
		t.Errorf("memory grew by %d bytes", n)
	}
}

func TestHeapInPacketsOfOneByte(t *testing.T) {
	size := int64(64 << 20)
	if testing.Short() || raceEnabled {
		size = 1 << 20
	}
	r := newRig(t, pool.ShareConfig{Live: 1, Ring: 1, Held: 1, Largest: int(size)}, Config{})
	f := spead.Flavour48
	p := raw(f, 1, size, 0, []byte{1})
	offset := p[8+2*8 : 8+3*8]
	batch := make([]Packet, 64)
	packets := make([]byte, 64*len(p))
	feed := func(at func(int64) int64, n int64) {
		for i := int64(0); i < n; i += 64 {
			for j := range batch {
				binary.BigEndian.PutUint64(offset, uint64(f.Immediate(spead.IDPayloadOffset, uint64(at(i+int64(j))))))
				q := packets[j*len(p) : (j+1)*len(p)]
				copy(q, p)
				batch[j] = Packet{First: q, Len: len(q)}
			}
			r.Feeder(0).Feed(batch, r.now, r.now)
		}
	}
	grow(t, func() {
		// With a hole after each byte, until there is no room for more pieces.
		feed(func(i int64) int64 { return 2 * i }, 1<<16)
		r.wantFate(ledger.TooManyRanges, 1<<16-DefaultMaxRanges)
		// The rest in order: the pieces grow together and the heap is complete.
		feed(func(i int64) int64 { return i }, size)
	})
	h := r.TryNext()
	if h == nil || !h.Complete() || bytes.Count(h.Payload(), []byte{1}) != int(size) {
		t.Fatalf("no complete heap\n%s", fates(r.Stats()))
	}
	h.Release()
	r.wantFate(ledger.Duplicate, DefaultMaxRanges)
	r.end()
}

func TestThousandsOfPointers(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{})
	grow(t, func() {
		for cnt := range uint64(20) {
			f := spead.Flavour48
			for i := range uint64(4) {
				ptrs := make([]spead.Pointer, 8000)
				for k := range ptrs {
					ptrs[k] = f.Immediate(0x1000+uint64(k)%100, cnt<<20|i<<16|uint64(k))
				}
				r.feed(0, raw(f, cnt, 400, int64(i)*100, make([]byte, 100), ptrs...))
			}
		}
	})
	r.end()
	r.wantFate(ledger.TooManyItems, 80)
	if s := r.Stats(); s.Counts[ledger.HeapsComplete] != 0 {
		t.Errorf("%d heaps without their items are complete", s.Counts[ledger.HeapsComplete])
	}
}

func TestEveryPacketAnotherHeap(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{})
	f := spead.Flavour48
	const n = 300000
	grow(t, func() {
		cnt := uint64(1)
		for range n {
			cnt = cnt*6364136223846793005 + 1442695040888963407
			r.feed(0, raw(f, cnt&f.MaxValue(), 4000, int64(cnt%39)*100, make([]byte, 100)))
		}
	})
	r.end()
	r.wantFate(ledger.DiscardedIncomplete, n)
}

// many returns n different item pointers.
func many(n int) (ptrs []spead.Pointer) {
	for i := range uint64(n) {
		ptrs = append(ptrs, f48.Immediate(0x1000+i, i))
	}
	return ptrs
}

// A packet that is refused starts no heap, evicts none, hands none over, and makes nothing be
// forgotten.
func TestRefusedPacketChangesNothing(t *testing.T) {
	const room = 20
	few := []spead.Pointer{f48.Immediate(itemTime, 1)}
	for name, tt := range map[string]struct {
		packets [][]byte
		want    ledger.Fate
	}{
		"beyond a slot, without a length": {[][]byte{raw(f48, 10, -1, 1<<40, make([]byte, 8)), raw(f48, 11, -1, 1<<40, nil, few...)}, ledger.OversizeHeap},
		"beyond a slot, a run":            {[][]byte{raw(f48, 10, -1, 1<<40, make([]byte, 8)), raw(f48, 10, -1, 1<<40+8, make([]byte, 8))}, ledger.OversizeHeap},
		"beyond a slot, with a length":    {[][]byte{raw(f48, 10, 1<<40, 0, make([]byte, 8))}, ledger.OversizeHeap},
		"pointers":                        {[][]byte{raw(f48, 10, 100, 0, make([]byte, 8), many(room+1)...), raw(f48, 11, 100, 0, nil, many(room+1)...)}, ledger.TooManyItems},
		"pointers, without a length":      {[][]byte{raw(f48, 10, -1, 0, make([]byte, 8), many(room+1)...), raw(f48, 11, -1, 0, nil, many(room+1)...)}, ledger.TooManyItems},
		"pointers, a heap by itself":      {[][]byte{raw(f48, 1<<30, 8, 0, make([]byte, 8), many(room+1)...), raw(f48, 10, 8, 0, make([]byte, 8), many(room+1)...)}, ledger.TooManyItems},
		"pointers, a start": {[][]byte{
			raw(f48, 10, 8, 0, make([]byte, 8), append(many(room), f48.Immediate(spead.IDStreamCtrl, spead.CtrlStart))...),
			raw(f48, 11, 100, 0, make([]byte, 8), append(many(room), f48.Immediate(spead.IDStreamCtrl, spead.CtrlStart))...),
		}, ledger.TooManyItems},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{Live: 2, Ring: 8}, Config{Incomplete: true, MaxItems: room})
			const far = 1 << 20 // the counts of the packets refused lie far behind
			left := parts(far, 2, 100)
			r.feed(0, left...)
			r.take()
			p, q := parts(far+1, 2, 100), parts(far+2, 2, 100)
			r.feed(0, p[0], q[0])
			r.feed(0, tt.packets...)
			r.wantFate(tt.want, uint64(len(tt.packets)))
			r.feed(0, left...) // remembered still
			r.wantFate(ledger.Duplicate, 2)
			r.feed(0, p[1], q[1])
			wantCounts(t, r.take(), far+1, far+2)
			wantCounts(t, r.end())
			if s := r.Stats(); s.Counts[ledger.HeapsEvicted] != 0 || s.Counts[ledger.HeapsIncomplete] != 0 || s.Counts[ledger.HeapsComplete] != 3 {
				t.Errorf("%d heaps evicted, %d incomplete, %d complete; want 0, 0, 3", s.Counts[ledger.HeapsEvicted], s.Counts[ledger.HeapsIncomplete], s.Counts[ledger.HeapsComplete])
			}
		})
	}
}

// Nor does a packet for which there is no slot make anything be forgotten.
func TestNoSlotForgetsNothing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 1, Ring: 1, Held: 1, Largest: 4096}, Config{})
	const far = 1 << 20
	var held []*Heap
	for i := range uint64(4) {
		r.feed(0, parts(far+i, 1, 50)...)
		held = append(held, r.heap())
	}
	r.feed(0, parts(1, 1, 50)[0])
	r.feed(0, parts(2, 2, 50)[0])
	r.wantFate(ledger.NoSlot, 2)
	r.feed(0, parts(far, 1, 50)[0])
	r.wantFate(ledger.Duplicate, 1)
	for _, h := range held {
		h.Release()
	}
}

// Packets of a run are judged one by one where the first has too many pointers.
func TestPointersWithinARun(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{MaxItems: 20, Incomplete: true})
	r.feed(0, raw(f48, 1, 300, 0, make([]byte, 100), many(21)...), raw(f48, 1, 300, 100, make([]byte, 100)), raw(f48, 1, 300, 200, make([]byte, 100)))
	wantCounts(t, r.end(), 1)
	r.wantFates(map[ledger.Fate]uint64{ledger.TooManyItems: 1, ledger.DeliveredIncomplete: 2})
}

// A heap without a length is not taken for complete if its first packet was refused.
// TestUnsizedHeapFarPartFirst is about one whose far part comes first.
func TestUnsizedHeapRefusedAtFirst(t *testing.T) {
	for _, bySender := range []bool{false, true} {
		r := newRig(t, pool.ShareConfig{}, Config{MaxItems: 20, BySender: bySender})
		r.feed(0, raw(f48, 1, -1, 100, make([]byte, 100), many(21)...))
		r.feed(0, raw(f48, 1, -1, 0, make([]byte, 100)))
		r.feed(0, raw(f48, 2, -1, 0, make([]byte, 100))) // another heap is
		wantCounts(t, r.end(), 2)
	}
	// The note is of no use to a heap of the same count that comes long after.
	r := newRig(t, pool.ShareConfig{}, Config{MaxItems: 20})
	r.feed(0, raw(f48, 1, -1, 100, make([]byte, 100), many(21)...))
	r.now += 3 * second
	r.feed(0, raw(f48, 1, -1, 0, make([]byte, 100)))
	wantCounts(t, r.end(), 1)
}

// A heap without payload and item pointers is not handed over, whether its length is known
// or not.
func TestHeapOfNothing(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f48, 1, 100, 0, nil), raw(f48, 2, -1, 0, nil), raw(f48, 3, 100, 0, nil, f48.Immediate(itemTime, 1)))
	wantCounts(t, r.end(), 3)
	if s := r.Stats(); s.Counts[ledger.HeapsComplete] != 0 || s.Counts[ledger.HeapsIncomplete] != 3 || s.Counts[ledger.HeapsDiscarded] != 2 || s.Counts[ledger.HeapsDelivered] != 1 {
		t.Errorf("%d heaps complete, %d incomplete, %d discarded, %d delivered; want 0, 3, 2, 1", s.Counts[ledger.HeapsComplete], s.Counts[ledger.HeapsIncomplete], s.Counts[ledger.HeapsDiscarded], s.Counts[ledger.HeapsDelivered])
	}
}

// FuzzFeed feeds whatever comes: nothing may panic, and the accounts close.
func FuzzFeed(f *testing.F) {
	for _, p := range parts(1, 3, 40) {
		f.Add(p, uint8(40))
	}
	f.Add(raw(spead.Flavour48, 1, -1, 10, make([]byte, 30)), uint8(7))
	f.Add(control(spead.CtrlStop, 1), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		r := newRig(t, pool.ShareConfig{Live: 2, Ring: 2, Held: 1, Threads: 2, Largest: 4096, SmallBelow: 64},
			Config{Incomplete: true, OnFull: DropOldest, MaxItems: 20, MaxRanges: 4})
		n := uint64(0)
		for i := 0; len(data) > 0; i++ {
			k := min(len(data), int(cut)+1)
			r.feed(i%2, data[:k], data)
			data = data[k:]
			n += 2
		}
		for i := range 2 {
			r.Feeder(i).Finish()
		}
		for h := r.TryNext(); h != nil; h = r.TryNext() {
			for _, it := range h.Items() {
				_ = append([]byte(nil), it.Data...)
			}
			h.Release()
		}
		if s := r.Stats(); s.Counts[ledger.PacketsFed] != n || s.InFlight != 0 {
			t.Errorf("%d packets fed, %d counted, %d in flight", n, s.Counts[ledger.PacketsFed], s.InFlight)
		}
		r.balance()
	})
}
