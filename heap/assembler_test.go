// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

func TestHeapOfEveryFlavour(t *testing.T) {
	for f := spead.Flavour(24); f <= 48; f += 8 {
		r := newRig(t, pool.ShareConfig{}, Config{Name: "s"})
		r.feed(0, packetsOf(t, f, 7, 5000, 512)...)
		h := r.TryNext()
		if h == nil {
			t.Fatalf("SPEAD-%v: no heap\n%s", f, fates(r.Stats()))
		}
		if h.Cnt() != 7 || h.Flavour() != f || !h.Complete() || h.Received() != h.Length() || h.Stream() != "s" || h.ReceiveTime().UnixNano() != r.now {
			t.Errorf("SPEAD-%v: %+v", f, h)
		}
		items := h.Items()
		if len(items) != 2 || items[0].ID != itemData || len(items[0].Data) != 5000 || items[1].ID != itemTime || items[1].Value != 7 {
			t.Errorf("SPEAD-%v: items %+v", f, items)
		}
		r.check(h)
		h.Release()
		r.end()
	}
}

func TestOrderOfPacketsDoesNotMatter(t *testing.T) {
	for name, order := range map[string][]int{
		"backwards":    {5, 4, 3, 2, 1, 0},
		"inside out":   {2, 3, 1, 4, 0, 5},
		"every second": {0, 2, 4, 1, 3, 5},
	} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		p := parts(1, 6, 1000)
		for _, i := range order {
			r.feed(0, p[i])
		}
		wantCounts(t, r.take(), 1)
		r.end()
		if s := r.Stats(); s.Fates[ledger.Delivered] != 6 {
			t.Errorf("%s: %s", name, fates(s))
		}
	}
}

func TestDuplicates(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	p := parts(1, 3, 100)
	r.feed(0, p[0], p[0], p[2], p[2], p[0])
	r.feed(0, p[1], p[1], p[2]) // the last two repeat packets of a heap that has left
	single := parts(2, 1, 100)[0]
	r.feed(0, single, single)
	r.feed(0, single)
	wantCounts(t, r.end(), 1, 2)
	r.wantFate(ledger.Duplicate, 7)
	r.wantFate(ledger.Delivered, 4)
}

func TestOverlapNeverCompletesAHeapWithAHole(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0,
		raw(f, 1, 300, 0, make([]byte, 100)),
		raw(f, 1, 300, 50, make([]byte, 100)), // 50 bytes new, 50 old
		raw(f, 1, 300, 200, make([]byte, 100)),
		raw(f, 1, 300, 90, make([]byte, 120)), // covers the hole and more
	)
	if got := r.take(); got != nil {
		t.Errorf("heap %v with a hole is complete", got)
	}
	r.Feeder(0).Finish()
	h := r.TryNext()
	if h == nil || h.Complete() || h.Received() != 200 || len(h.Ranges()) != 2 || h.Ranges()[1] != (Range{200, 300}) {
		t.Fatalf("%+v", h)
	}
	h.Release()
	r.wantFate(ledger.Overlap, 2)
	r.wantFate(ledger.DeliveredIncomplete, 2)
	r.end()
}

func TestLatePacketsStartNoGhost(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2}, Config{})
	for cnt := uint64(1); cnt <= 3; cnt++ {
		r.feed(0, parts(cnt, 2, 100)[0])
	}
	r.feed(0, parts(1, 2, 100)[1]) // heap 1 was evicted by heap 3
	r.feed(0, parts(1, 2, 100)[0])
	r.feed(0, parts(2, 2, 100)[1], parts(3, 2, 100)[1])
	wantCounts(t, r.end(), 2, 3)
	r.wantFate(ledger.Late, 2)
	r.wantFate(ledger.DiscardedIncomplete, 1)
	if s := r.Stats(); s.Counts[ledger.HeapsOvertaken] != 1 || s.Counts[ledger.HeapsEvicted] != 1 {
		t.Errorf("%d heaps overtaken, %d evicted; want 1 and 1", s.Counts[ledger.HeapsOvertaken], s.Counts[ledger.HeapsEvicted])
	}
}

func TestMemoryLastsTwoSeconds(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, parts(1, 2, 100)...)
	r.now += 2*second - 1e6
	r.feed(0, parts(1, 2, 100)...)
	wantCounts(t, r.take(), 1)
	r.now += 2e6
	r.feed(0, parts(1, 2, 100)...)
	wantCounts(t, r.end(), 1)
	r.wantFate(ledger.Duplicate, 2)
}

// A thread that is held up for long makes nothing be forgotten: the packets behind it
// belong to the heaps that have left meanwhile.
func TestStallMakesNothingForgotten(t *testing.T) {
	const window = 4
	r := newRig(t, pool.ShareConfig{Live: window, Ring: 2 * window, Threads: 2}, Config{})
	half := func(i int, from, to uint64) (out [][]byte) {
		for cnt := from; cnt <= to; cnt++ {
			out = append(out, parts(cnt, 2, 100)[i])
		}
		return out
	}
	r.feed(1, half(1, 1, 8)...) // feeder 0, which has the other halves, is held up
	r.now += 3 * second
	r.Feeder(0).Stalled(3 * time.Second)
	r.now += second
	r.feed(0, half(0, 1, 8)...)
	wantCounts(t, r.take(), 5, 6, 7, 8)
	if s := r.Stats(); s.Counts[ledger.HeapsEvicted] != 4 || s.Counts[ledger.HeapsOvertaken] != 4 {
		t.Errorf("%d heaps evicted, %d overtaken; want 4 and 4", s.Counts[ledger.HeapsEvicted], s.Counts[ledger.HeapsOvertaken])
	}
	r.now += 3 * second // a second stall, behind the first
	r.Feeder(0).Stalled(3 * time.Second)
	r.feed(0, half(0, 1, 4)...)
	r.wantFate(ledger.Late, 8)
	r.now += 2 * second
	r.feed(0, half(0, 1, 1)...) // it is forgotten now
	r.wantFate(ledger.Late, 8)
	r.end()
}

// Nor does it make a repeat of a stop heap another sender's stop.
func TestStallAndRepeatedStop(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Threads: 2}, Config{Stops: 2})
	a := senderNo(1)
	r.feedFrom(1, a, control(spead.CtrlStop, 7))
	r.now += 3 * second
	r.Feeder(0).Stalled(3 * time.Second)
	r.feedFrom(0, a, control(spead.CtrlStop, 7))
	if r.Stopping() {
		t.Error("a repeat of the first stop counts as the second")
	}
	r.end()
}

// blockFor makes feeder 0 wait that long for room in the ring, by the clock of the rig. The
// packets finish one heap more than there is room for.
func (r *rig) blockFor(d time.Duration, packets ...[]byte) {
	r.tb.Helper()
	var clock atomic.Int64
	r.since = func() time.Duration { return time.Duration(clock.Load()) }
	fed := make(chan bool)
	go func() { r.feed(0, packets...); close(fed) }()
	for r.blocked.Load() == 0 {
		select {
		case <-fed:
			r.tb.Fatal("it did not wait")
		default:
			runtime.Gosched()
		}
	}
	clock.Store(int64(d))
	r.heap().Release()
	<-fed
	r.now += int64(d)
}

// While a thread waits for the consumer, no time passes in a capture file: what is
// remembered must not depend on how fast the consumer is. Elsewhere the time of the wait
// does not count.
func TestWaitingAndRecordedTime(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		r := newRig(t, pool.ShareConfig{Ring: 1}, Config{Recorded: recorded})
		r.feed(0, parts(1, 2, 100)...)
		r.now += second
		r.blockFor(3*time.Second, parts(2, 2, 100)...)
		r.take()
		r.feed(0, parts(1, 2, 100)...)
		if again := len(r.take()) == 1; again != recorded {
			t.Errorf("recorded %v: heap 1 came again after 4 s, 3 of them waiting: taken for a new one %v", recorded, again)
		}
		r.end()
	}
}

// A wait takes off its own time and no more: waits of a microsecond now and then keep
// no heap from being forgotten, and none from ageing.
func TestShortWaitsMakeNothingYoung(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Ring: 1, Live: 64}, Config{})
	r.feed(0, parts(1, 2, 100)...)
	r.take()
	r.feed(0, parts(2, 2, 100)[0]) // never complete
	cnt := uint64(10)
	for range 11 {
		r.now += second
		r.feed(0, parts(cnt, 2, 100)...)
		r.blockFor(time.Microsecond, parts(cnt+1, 2, 100)...)
		r.take()
		cnt += 2
	}
	r.feed(0, parts(1, 2, 100)...) // 11 s later
	wantCounts(t, r.take(), 1)
	r.Feeder(0).Tick(r.now)
	if s := r.Stats(); s.Counts[ledger.HeapsAged] != 1 {
		t.Errorf("%d heaps aged, want 1", s.Counts[ledger.HeapsAged])
	}
	r.end()
}

// Of threads that are held up at the same time, the time counts once.
func TestThreadsHeldUpAtOneTime(t *testing.T) {
	const threads = 8
	r := newRig(t, pool.ShareConfig{Threads: threads}, Config{})
	r.feed(0, parts(1, 2, 100)...)
	r.take()
	for range 4 {
		for i := range threads {
			r.Feeder(i).Tick(r.now)
		}
		r.now += 2 * second
		for i := range threads { // each for 1.4 s of the 2
			r.Feeder(i).Stalled(1400 * time.Millisecond)
		}
	}
	r.feed(0, parts(1, 2, 100)...) // 8 s later, of which 5.6 do not count
	wantCounts(t, r.take(), 1)
	r.end()
}

// The times of two captures have nothing to do with each other.
func TestRecordedTimesOfTwoFeeders(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Threads: 2}, Config{Recorded: true})
	p := parts(1, 2, 100)
	r.feed(0, p[0])
	r.now += 1000 * second
	r.feed(1, p[1])
	r.Feeder(1).Tick(r.now)
	wantCounts(t, r.take(), 1)
	r.now += 1000 * second
	r.feed(1, p...)
	r.wantFate(ledger.Duplicate, 2)
	r.feed(1, parts(2, 2, 100)[0])
	r.Feeder(1).Tick(r.now + 1000*second)
	r.feed(0, parts(2, 2, 100)[1])
	wantCounts(t, r.end(), 2)
}

// A sender that begins again at count 1 loses nothing, whether it says so, or
// had gone far enough for the memory to be past it.
func TestSenderRestartedAtOne(t *testing.T) {
	for _, tt := range []struct {
		window int
		sent   uint64
	}{{4, 10}, {4, 300}, {4, 5000}, {5, 330}, {5, 500}, {9, 600}} {
		sent := tt.sent
		for _, size := range []int{1, 2} { // heaps of one packet, and of two
			r := newRig(t, pool.ShareConfig{Live: tt.window, Ring: 64}, Config{IgnoreStop: true})
			heaps := 0
			for range 3 {
				for cnt := uint64(1); cnt <= sent; cnt++ {
					r.feed(0, parts(cnt, size, 50)...)
					heaps += len(r.take())
				}
				if sent < 300 {
					r.feed(0, control(spead.CtrlStop, sent+1))
					heaps += len(r.take()) - 1
				}
			}
			if heaps != int(3*sent) {
				t.Errorf("window %d: %d heaps of %d packets sent three times: %d came\n%s", tt.window, sent, size, heaps, fates(r.Stats()))
			}
			r.end()
		}
	}
}

func TestStartOfStreamClearsTheMemory(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Ring: 64}, Config{})
	for range 2 {
		r.feed(0, control(spead.CtrlStart, 1))
		for cnt := uint64(2); cnt < 12; cnt++ {
			r.feed(0, parts(cnt, 2, 50)...)
		}
	}
	r.feed(0, parts(11, 2, 50)[1], control(spead.CtrlStart, 1)) // a repeat, and a start that is none
	if got := len(r.take()); got != 23 {
		t.Errorf("%d heaps, want 23\n%s", got, fates(r.Stats()))
	}
	r.end()
}

// A stream whose counts have 8 bits wraps every 256 heaps.
func TestCountsWrap(t *testing.T) {
	f := spead.Flavour(8)
	for _, step := range []uint64{1, 2} {
		r := newRig(t, pool.ShareConfig{}, Config{})
		heaps := 0
		for cnt := uint64(0); cnt < 2000*step; cnt += step {
			r.feed(0, raw(f, cnt&0xff, 40, 0, make([]byte, 20)), raw(f, cnt&0xff, 40, 20, make([]byte, 20)))
			heaps += len(r.take())
		}
		if heaps != 2000 {
			t.Errorf("step %d: %d of 2000 heaps\n%s", step, heaps, fates(r.Stats()))
		}
		r.end()
	}
}

func TestWindow(t *testing.T) {
	t.Run("singles take no place", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Live: 1, Ring: 8}, Config{})
		p := parts(1, 2, 100)
		r.feed(0, p[0])
		heaps := 0
		for cnt := uint64(2); cnt < 2000; cnt++ {
			r.feed(0, parts(cnt, 1, 100)...)
			heaps += len(r.take())
		}
		r.feed(0, p[1])
		heaps += len(r.end())
		if heaps != 1999 {
			t.Errorf("%d of 1999 heaps\n%s", heaps, fates(r.Stats()))
		}
	})
	t.Run("substreams have their own", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Live: 4}, Config{Substreams: 4})
		p := parts(1, 2, 100)
		r.feed(0, p[0])
		for _, cnt := range []uint64{2, 3, 4, 6, 7, 8} {
			r.feed(0, parts(cnt, 2, 100)...)
			r.take()
		}
		r.feed(0, p[1])
		wantCounts(t, r.end(), 1)
	})
	t.Run("complete heaps move it too", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Live: 2}, Config{Incomplete: true})
		r.feed(0, parts(1, 2, 100)[0])
		r.feed(0, parts(2, 2, 100)...)
		r.feed(0, parts(3, 2, 100)...)
		wantCounts(t, r.take(), 2, 1, 3)
		r.end()
	})
}

func TestAge(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{MaxAge: time.Second, Incomplete: true})
	r.feed(0, parts(1, 2, 100)[0])
	r.now += second
	r.Feeder(0).Tick(r.now)
	if got := r.take(); got != nil {
		t.Errorf("heaps %v left before their time", got)
	}
	r.now += 1
	r.Feeder(0).Tick(r.now)
	wantCounts(t, r.take(), 1)
	r.feed(0, parts(1, 2, 100)[1])
	r.wantFate(ledger.Late, 1)
	r.end()
	if s := r.Stats(); s.Counts[ledger.HeapsAged] != 1 {
		t.Errorf("%d heaps aged", s.Counts[ledger.HeapsAged])
	}
}

func TestUnsizedHeaps(t *testing.T) {
	f := spead.Flavour48
	data := content(1, 300)
	ptr := f.Addressed(itemData, 0)
	t.Run("contiguous is complete, when it leaves", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f, 1, -1, 100, data[100:300]), raw(f, 1, -1, 0, data[:100], ptr))
		if got := r.take(); got != nil {
			t.Errorf("heaps %v complete before the end", got)
		}
		wantCounts(t, r.end(), 1)
		r.wantFate(ledger.Delivered, 2)
	})
	t.Run("length told later", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f, 1, -1, 0, data[:100], ptr), raw(f, 1, 300, 100, data[100:]))
		wantCounts(t, r.take(), 1)
		r.end()
	})
	t.Run("with a hole", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f, 1, -1, 100, data[100:]))
		wantCounts(t, r.end())
		r.wantFate(ledger.DiscardedIncomplete, 1)
	})
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{}, Config{RefuseUnsized: true})
		r.feed(0, raw(f, 1, -1, 0, data))
		r.wantFate(ledger.UnsizedRefused, 1)
		r.end()
	})
	t.Run("larger than any slot", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{}, Config{})
		r.feed(0, raw(f, 1, -1, 1<<20, data), raw(f, 1, -1, 1<<47, data))
		r.wantFate(ledger.OversizeHeap, 2)
		r.end()
	})
}

func TestLengthsAndFlavoursThatDisagree(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0,
		raw(f, 1, 200, 0, make([]byte, 100), f.Addressed(itemData, 0)),
		raw(f, 1, 300, 100, make([]byte, 100)),               // another length
		raw(f, 1, -1, 150, make([]byte, 100)),                // beyond it
		raw(spead.Flavour40, 1, 200, 100, make([]byte, 100)), // another flavour
		raw(f, 2, -1, 0, make([]byte, 100), f.Addressed(itemData, 500)),
		raw(f, 2, 400, 100, make([]byte, 100)), // shorter than its item pointer says
		raw(f, 3, 1<<30, 0, make([]byte, 100)),
	)
	r.wantFate(ledger.LengthConflict, 3)
	r.wantFate(ledger.FlavourDiffers, 1)
	r.wantFate(ledger.OversizeHeap, 1)
	if s := r.Stats(); s.Oversize != 1<<30 {
		t.Errorf("the heap refused had %d bytes", s.Oversize)
	}
	r.end()
}

// Packets without a length may not reach beyond that of a heap in a small slot.
func TestUnsizedPacketsOfASizedHeap(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Largest: 1 << 20, SmallBelow: 64}, Config{})
	r.feed(0, raw(f, 1, 40, 0, make([]byte, 10)))
	var long [][]byte
	for off := int64(10); off < 20000; off += 1000 {
		long = append(long, raw(f, 1, -1, off, make([]byte, 1000)))
	}
	r.feed(0, raw(f, 1, -1, 10, make([]byte, 10)), raw(f, 1, -1, 20, make([]byte, 15000)), raw(f, 1, -1, 15020, make([]byte, 15000)))
	r.feed(0, long...)
	if s := r.Stats(); s.Fates[ledger.LengthConflict] == 0 {
		t.Error(fates(s))
	}
	r.end()
}

// A pointer beyond the heap's length makes it never complete, as in spead2.
func TestPointerBeyondTheHeap(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
	r.feed(0, raw(f, 1, 200, 0, make([]byte, 100), f.Addressed(itemData, 1<<40)))
	r.feed(0, raw(f, 1, 200, 100, make([]byte, 100)))
	r.Feeder(0).Finish()
	h := r.TryNext()
	if h == nil || h.Complete() {
		t.Fatalf("heap %+v", h)
	}
	if len(h.Items()) != 0 {
		t.Errorf("items %+v of a heap whose only item lies outside", h.Items())
	}
	h.Release()
	r.end()
}

func TestEmptyPacketsAndHeaps(t *testing.T) {
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0,
		raw(f, 1, 100, 0, nil, f.Immediate(itemTime, 9)),
		raw(f, 1, 100, 0, make([]byte, 50)),
		raw(f, 1, 100, 50, make([]byte, 50)),
		raw(f, 2, 0, 0, nil, f.Immediate(itemTime, 10)),
	)
	h := r.TryNext()
	if h == nil || len(h.Items()) != 1 || h.Items()[0].Value != 9 {
		t.Fatalf("%+v", h)
	}
	h.Release()
	h = r.TryNext()
	if h == nil || !h.Complete() || h.Length() != 0 || len(h.Items()) != 1 || h.Items()[0].Value != 10 {
		t.Fatalf("heap of length 0: %+v", h)
	}
	h.Release()
	r.wantFate(ledger.Empty, 1)
	r.end()
}

func TestRingFull(t *testing.T) {
	fill := func(t *testing.T, p Policy, r *rig) {
		for cnt := uint64(1); cnt <= 5; cnt++ {
			r.feed(0, parts(cnt, 2, 100)...)
		}
	}
	t.Run("drop-newest", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Ring: 3}, Config{OnFull: DropNewest})
		fill(t, DropNewest, r)
		wantCounts(t, r.end(), 1, 2, 3)
		r.wantFate(ledger.RingFull, 4)
	})
	t.Run("drop-oldest", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Ring: 3}, Config{OnFull: DropOldest})
		fill(t, DropOldest, r)
		wantCounts(t, r.end(), 3, 4, 5)
		r.wantFate(ledger.RingFull, 4)
	})
	t.Run("block", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Ring: 3}, Config{})
		done := make(chan bool)
		go func() { fill(t, Block, r); close(done) }()
		var got []uint64
		for len(got) < 5 {
			if r.Stats().Counts[ledger.Blocked] == 0 { // not before the feeder waits
				time.Sleep(time.Millisecond)
				continue
			}
			got = append(got, r.take()...)
		}
		<-done
		wantCounts(t, got, 1, 2, 3, 4, 5)
		r.end()
		if s := r.Stats(); s.Counts[ledger.BlockedTime] <= 0 || s.Fates[ledger.Delivered] != 10 {
			t.Errorf("blocked for %v\n%s", s.Counts[ledger.BlockedTime], fates(s))
		}
	})
	t.Run("block and close", func(t *testing.T) {
		r := newRig(t, pool.ShareConfig{Ring: 3}, Config{})
		done := make(chan bool)
		go func() { fill(t, Block, r); r.Feeder(0).Finish(); close(done) }()
		for r.Stats().Counts[ledger.Blocked] == 0 {
			time.Sleep(time.Millisecond)
		}
		r.Abort()
		<-done
		r.Close()
		r.wantFate(ledger.Shutdown, 10)
		r.balance()
	})
}

func TestStopOverSeveralQueues(t *testing.T) {
	stops := 0
	r := newRig(t, pool.ShareConfig{Threads: 2}, Config{OnStop: func() { stops++ }})
	p := parts(1, 2, 100)
	r.feed(0, p[0])
	r.feed(0, control(spead.CtrlStop, 9), control(spead.CtrlStop, 9))
	if !r.Stopping() || stops != 1 {
		t.Errorf("stop seen: %v, told %d times", r.Stopping(), stops)
	}
	r.Feeder(0).Finish()
	r.feed(0, parts(7, 1, 10)...)
	if r.ended() {
		t.Error("the stream has ended before its second queue was worked off")
	}
	r.feed(1, p[1]) // was in the other queue when the stop was seen
	wantCounts(t, r.take(), 1)
	r.Feeder(1).Finish()
	wantCounts(t, r.end())
	r.wantFate(ledger.StreamControl, 2)
	r.wantFate(ledger.AfterStop, 1)
}

func TestStopHeapOfSeveralPackets(t *testing.T) {
	f := spead.Flavour48
	stop := f.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	for _, whole := range []bool{true, false} {
		r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true})
		r.feed(0, raw(f, 1, 200, 0, make([]byte, 100), stop))
		if whole {
			r.feed(0, raw(f, 1, 200, 100, make([]byte, 100)))
		}
		if !r.Stopping() {
			t.Error("not stopping")
		}
		if got := len(r.end()); (got == 0) != whole {
			t.Errorf("stop heap, complete %v: %d heaps came out", whole, got)
		}
	}
}

func TestReleaseTwicePanics(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, parts(1, 1, 10)...)
	h := r.TryNext()
	h.Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
		r.end()
	}()
	h.Release()
}

// The consumer holds all it may and more: heaps are refused, counted, and come
// again once it has released.
func TestConsumerHoldsTooMuch(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 1, Ring: 1, Held: 1, Threads: 1, SmallBelow: 10}, Config{OnFull: DropNewest})
	var held []*Heap
	for cnt := uint64(1); cnt <= 4; cnt++ {
		r.feed(0, parts(cnt, 2, 100)...)
		if h := r.TryNext(); h != nil {
			held = append(held, h)
		}
	}
	r.feed(0, parts(5, 2, 100)...)
	if s := r.Stats(); s.Fates[ledger.NoSlot] != 2 || len(held) != 4 {
		t.Errorf("%d heaps held, %d packets without a slot", len(held), s.Fates[ledger.NoSlot])
	}
	if c := r.cfg.Share.Counts(); c.HighHeld != 4 || c.LeastFree != 0 {
		t.Errorf("%+v", c)
	}
	for _, h := range held {
		r.check(h)
		h.Release()
	}
	r.feed(0, parts(6, 2, 100)...)
	wantCounts(t, r.take(), 6)
}

func TestNoAllocations(t *testing.T) {
	r := newRig(t, pool.ShareConfig{SmallBelow: 1024}, Config{Clock: func() int64 { return 0 }})
	const heaps = 20
	var batches [][]Packet
	for cnt := uint64(1); cnt <= heaps; cnt++ {
		var b []Packet
		for i, p := range parts(cnt, 10, 1000) {
			b = append(b, split(p, i))
		}
		b = append(b, split(parts(cnt+heaps, 1, 100)[0], 0))
		b[3], b[4] = b[4], b[3]
		batches = append(batches, b)
	}
	feed := func() {
		r.now += 3 * second // or they would be repeats
		for _, b := range batches {
			r.Feeder(0).Feed(b, r.now, r.now)
			for h := r.TryNext(); h != nil; h = r.TryNext() {
				_ = h.Items()
				h.Release()
			}
		}
	}
	feed()
	if n := testing.AllocsPerRun(20, feed); n != 0 {
		t.Errorf("%v allocations for %d packets in %d heaps", n, heaps*11, 2*heaps)
	}
	r.end()
}

// One of two queues whose thread stands still, while the other goes on with the
// same heaps, loses nothing as long as its ring holds what comes: the window
// covers as many heaps as the ring does.
func TestOneOfTwoThreadsStopped(t *testing.T) {
	const (
		perHeap  = 16                     // packets, every second one on either queue
		ringSize = 256                    // packets
		lag      = ringSize / perHeap * 2 // heaps that stand in one ring
		heaps    = 10 * lag
	)
	r := newRig(t, pool.ShareConfig{Live: 4 + lag, Ring: 2 * lag, Threads: 2, Largest: perHeap * 100}, Config{})
	var waiting [][]byte // in the ring of thread 1
	came := 0
	for cnt := uint64(1); cnt <= heaps; cnt++ {
		for i, p := range parts(cnt, perHeap, 100) {
			if i%2 == 0 {
				r.feed(0, p)
			} else {
				waiting = append(waiting, p)
			}
		}
		if len(waiting) == ringSize { // it wakes up just in time
			r.feed(1, waiting...)
			waiting = waiting[:0]
			came += len(r.take())
		}
	}
	r.feed(1, waiting...)
	if came += len(r.end()); came != heaps {
		t.Errorf("%d of %d heaps\n%s", came, heaps, fates(r.Stats()))
	}
}

// The same with threads that run: one sleeps for 10 ms, over and over, while
// packets wait in its ring.
func TestOneOfTwoThreadsSleeps(t *testing.T) {
	const heaps, perHeap = 2000, 8
	r := newRig(t, pool.ShareConfig{Live: 300, Ring: 64, Threads: 2, Largest: perHeap * 100}, Config{})
	rings := [2]chan []byte{make(chan []byte, 1000), make(chan []byte, 1000)}
	go func() {
		for cnt := uint64(1); cnt <= heaps; cnt++ {
			for i, p := range parts(cnt, perHeap, 100) {
				rings[i%2] <- p
			}
		}
		close(rings[0])
		close(rings[1])
	}()
	for q, ring := range rings {
		go func() {
			n := 0
			for p := range ring {
				r.feed(q, p)
				if n++; q == 1 && n%2000 == 0 {
					time.Sleep(10 * time.Millisecond)
				}
			}
			r.Feeder(q).Finish()
		}()
	}
	came := 0
	for !r.ended() {
		came += len(r.take())
		runtime.Gosched()
	}
	if came += len(r.take()); came != heaps {
		t.Errorf("%d of %d heaps\n%s", came, heaps, fates(r.Stats()))
	}
	r.balance()
}
