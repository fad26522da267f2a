package heap

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

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
		r.wantFate(TooManyRanges, 1<<16-DefaultMaxRanges)
		// The rest in order: the pieces grow together and the heap is complete.
		feed(func(i int64) int64 { return i }, size)
	})
	h := r.TryNext()
	if h == nil || !h.Complete() || bytes.Count(h.Payload(), []byte{1}) != int(size) {
		t.Fatalf("no complete heap\n%s", fates(r.Stats()))
	}
	h.Release()
	r.wantFate(Duplicate, DefaultMaxRanges)
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
	r.wantFate(TooManyItems, 80)
	if s := r.Stats(); s.CompleteHeaps != 0 {
		t.Errorf("%d heaps without their items are complete", s.CompleteHeaps)
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
	r.wantFate(DiscardedIncomplete, n)
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
		if s := r.Stats(); s.Packets != n || s.InFlight != 0 {
			t.Errorf("%d packets fed, %d counted, %d in flight", n, s.Packets, s.InFlight)
		}
		r.balance()
	})
}
