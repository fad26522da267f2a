// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// An unsized heap that is longer than its slot is not complete, however its
// packets come.
func TestUnsizedHeapLongerThanASlot(t *testing.T) {
	f := spead.Flavour48
	for _, batch := range []int{1, 1000} {
		r := newRig(t, pool.ShareConfig{Largest: 60000}, Config{})
		const n, size = 100, 1000 // 100000 bytes; the slot has 69632
		data := content(1, n*size)
		var all [][]byte
		for i := 0; i < n; i++ {
			var p []spead.Pointer
			if i == 0 {
				p = append(p, f.Addressed(itemData, 0))
			}
			all = append(all, raw(f, 1, -1, int64(i*size), data[i*size:(i+1)*size], p...))
		}
		for len(all) > 0 {
			k := min(batch, len(all))
			r.feed(0, all[:k]...)
			all = all[k:]
		}
		r.Feeder(0).Finish()
		h := r.TryNext()
		if h != nil {
			t.Errorf("batch %d: heap of 100000 bytes delivered: complete=%v length=%d received=%d payload=%d", batch, h.Complete(), h.Length(), h.Received(), len(h.Payload()))
			h.Release()
		}
		t.Log(fates(r.Stats()))
		r.end()
	}
}

// Nor is one of which a packet was refused for want of room for pieces.
func TestUnsizedHeapInTooManyPieces(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Largest: 60000}, Config{MaxRanges: 2})
	data := content(1, 500)
	pk := func(i int) []byte { return raw(f, 1, -1, int64(i*100), data[i*100:(i+1)*100]) }
	r.feed(0, pk(0))
	r.feed(0, pk(2))
	r.feed(0, pk(4)) // refused: the tail
	r.feed(0, pk(1))
	r.Feeder(0).Finish()
	if h := r.TryNext(); h != nil {
		t.Errorf("500-byte heap: complete=%v payload=%d\n%s", h.Complete(), len(h.Payload()), fates(r.Stats()))
		h.Release()
	}
	r.end()
}

// 64-8 with a count step of 8 (32 counts in use).
func TestCountsWrapWithAStep(t *testing.T) {
	f := spead.Flavour(8)
	for _, step := range []uint64{1, 2, 4, 8, 16} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		heaps := 0
		for i := range uint64(2000) {
			cnt := i * step & 0xff
			r.now += 1e6
			r.feed(0, raw(f, cnt, 40, 0, make([]byte, 20)), raw(f, cnt, 40, 20, make([]byte, 20)))
			heaps += len(r.take())
		}
		if heaps != 2000 {
			t.Errorf("step %d: %d of 2000 heaps\n%s", step, heaps, fates(r.Stats()))
		}
		r.end()
	}
	// every 8th heap has two packets, the others one
	r := newRig(t, pool.ShareConfig{}, Config{})
	heaps := 0
	for i := range uint64(2000) {
		cnt := i & 0xff
		r.now += 1e6
		if i%8 == 0 {
			r.feed(0, raw(f, cnt, 40, 0, make([]byte, 20)), raw(f, cnt, 40, 20, make([]byte, 20)))
		} else {
			r.feed(0, raw(f, cnt, 20, 0, make([]byte, 20)))
		}
		heaps += len(r.take())
	}
	if heaps != 2000 {
		t.Errorf("mixed: %d of 2000 heaps\n%s", heaps, fates(r.Stats()))
	}
	r.end()
}

// A ring of no depth is refused, not divided by.
func TestRingOfNoDepth(t *testing.T) {
	_, err := Config{}.TableBytes(pool.ShareConfig{Live: 1, Ring: 0, Held: 1, Threads: 1, Largest: 100})
	if err == nil || !strings.Contains(err.Error(), "a ring of 0 heaps") {
		t.Error(err)
	}
}

// The length may be told last, by a packet without payload or a repeat.
func TestLengthToldLast(t *testing.T) {
	f := spead.Flavour48
	data := content(1, 300)
	for name, last := range map[string][]byte{
		"empty":  raw(f, 1, 300, 0, nil),
		"repeat": raw(f, 1, 300, 0, data[:100]),
	} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f, 1, -1, 0, data[:100]))
		r.feed(0, raw(f, 1, -1, 100, data[100:]))
		r.feed(0, last)
		if got := r.take(); len(got) != 1 {
			t.Errorf("%s: every byte is there, the length known: %v", name, got)
		}
		r.end()
	}
}

// A feeder that has finished evicts nothing any more: the stream may have ended.
func TestTickAfterFinish(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Threads: 2, Largest: 4096}, Config{Incomplete: true})
	r.feed(1, parts(1, 2, 50)[0])
	r.Feeder(0).Finish()
	r.Feeder(0).Tick(r.now + 11*second)
	if got := r.take(); got != nil {
		t.Errorf("heaps %v", got)
	}
	wantCounts(t, r.end(), 1)
}

// One packet without a length, beyond the slot, does not spoil a heap that has
// one.
func TestOversizePacketOfASizedHeap(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0], raw(f, 1, -1, 1<<30, make([]byte, 10)), p[1])
	wantCounts(t, r.take(), 1)
	r.end()
}

// The far part of an unsized heap that is too long for its slot may come first.
func TestUnsizedHeapFarPartFirst(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{})
	r.feed(0, raw(f, 1, -1, 12200, make([]byte, 200)))
	for off := int64(0); off < 12200; off += 200 {
		r.feed(0, raw(f, 1, -1, off, make([]byte, 200)))
	}
	wantCounts(t, r.end())
	r.wantFate(ledger.OversizeHeap, 1)
}

// A consumer that makes a thread wait for long does not make heaps old.
func TestBlockedIsNotOld(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 2, 100)
	r.feed(0, p[0])
	r.now += 20 * second
	r.Feeder(0).Stalled(20 * time.Second)
	r.Feeder(0).Tick(r.now + second)
	r.feed(0, p[1])
	wantCounts(t, r.end(), 1)
}
