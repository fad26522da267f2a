// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// sent is one packet on its way, and where it belongs.
type sent struct {
	bytes      []byte
	cnt        uint64
	start, end int64
}

// traffic is what a network makes of the heaps of several senders.
type traffic struct {
	packets []sent
	heaps   map[uint64]int64 // payload length by count
}

// drawTraffic draws heaps, packets them, loses some, repeats some, and reorders
// them over a distance of up to reach packets.
func drawTraffic(t *rapid.T, maxHeaps int) traffic {
	tr := traffic{heaps: map[uint64]int64{}}
	seed := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	loss := rapid.SampledFrom([]float64{0, 0, 0.02, 0.3}).Draw(t, "loss")
	repeat := rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(t, "repeat")
	reach := rapid.SampledFrom([]int{1, 2, 8, 1000}).Draw(t, "reach")
	f := rapid.SampledFrom([]spead.Flavour{32, 40, 48}).Draw(t, "flavour")
	senders := rapid.IntRange(1, 3).Draw(t, "senders")
	unsized := rapid.Bool().Draw(t, "unsized")
	streams := make([][]sent, senders)
	for cnt := range uint64(rapid.IntRange(1, maxHeaps).Draw(t, "heaps")) {
		// Not so small that there is padding, whose pointer may be lost.
		size := rapid.IntRange(64, 6000).Draw(t, "size")
		maxPacket := rapid.IntRange(8, 180).Draw(t, "packet") * 8
		pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: f, MaxPacket: maxPacket})
		if err != nil {
			t.Fatal(err)
		}
		items := []spead.OutItem{{ID: itemTime, Immediate: true, Value: cnt}, {ID: itemData, Data: content(cnt, size)}}
		if err := pk.Start(cnt, items); err != nil {
			t.Fatal(err)
		}
		for b, ok := pk.AppendNext(nil); ok; b, ok = pk.AppendNext(nil) {
			var h spead.Packet
			if r := h.Decode(b, len(b)); r != spead.OK {
				t.Fatal(r)
			}
			tr.heaps[cnt] = h.HeapLength
			if unsized && cnt%3 == 0 && h.HeapLength != h.PayloadLength {
				b = raw(f, cnt, -1, h.PayloadOffset, b[h.HeaderLen:], pointersOf(&h)...)
			}
			s := &streams[int(cnt)%senders]
			*s = append(*s, sent{b, cnt, h.PayloadOffset, h.PayloadOffset + h.PayloadLength})
		}
	}
	for more := true; more; { // the senders take turns
		more = false
		for i := range streams {
			n := min(len(streams[i]), 1+seed.IntN(5))
			for _, p := range streams[i][:n] {
				if seed.Float64() < loss {
					continue
				}
				tr.packets = append(tr.packets, p)
				for seed.Float64() < repeat {
					tr.packets = append(tr.packets, p)
				}
			}
			streams[i] = streams[i][n:]
			more = more || len(streams[i]) > 0
		}
	}
	for i := range tr.packets {
		j := i + seed.IntN(min(reach, len(tr.packets)-i))
		tr.packets[i], tr.packets[j] = tr.packets[j], tr.packets[i]
	}
	return tr
}

func pointersOf(h *spead.Packet) []spead.Pointer {
	var out []spead.Pointer
	for i := range h.NumPointers() {
		if p := h.Pointer(i); kept(h.Flavour, p) {
			out = append(out, p)
		}
	}
	return out
}

// oracle says what must become of traffic if every heap has a place in the
// window: nothing of it depends on the order, or on how many threads feed.
type oracle struct {
	complete           []uint64
	incomplete         map[uint64][]Range
	delivered, partial uint64
	repeats            uint64
}

func (tr *traffic) oracle() oracle {
	o := oracle{incomplete: map[uint64][]Range{}}
	came := map[uint64]map[Range]int{}
	for _, p := range tr.packets {
		if came[p.cnt] == nil {
			came[p.cnt] = map[Range]int{}
		}
		came[p.cnt][Range{p.start, p.end}]++
	}
	for cnt, packets := range came {
		var got int64
		var ranges []Range
		for r, n := range packets {
			got += r.End - r.Start
			o.repeats += uint64(n - 1)
			ranges = append(ranges, r)
		}
		if got == tr.heaps[cnt] {
			o.complete = append(o.complete, cnt)
			o.delivered += uint64(len(packets))
			continue
		}
		slices.SortFunc(ranges, func(a, b Range) int { return int(a.Start - b.Start) })
		merged := ranges[:1]
		for _, r := range ranges[1:] {
			if last := &merged[len(merged)-1]; last.End == r.Start {
				last.End = r.End
			} else {
				merged = append(merged, r)
			}
		}
		o.incomplete[cnt] = merged
		o.partial += uint64(len(packets))
	}
	slices.Sort(o.complete)
	return o
}

// collector takes heaps and notes what they are.
type collector struct {
	complete   []uint64
	incomplete map[uint64][]Range
}

func (c *collector) take(r *rig) {
	for h := r.TryNext(); h != nil; h = r.TryNext() {
		r.check(h)
		if h.Complete() {
			c.complete = append(c.complete, h.Cnt())
			if len(h.Items()) == 0 || h.Items()[len(h.Items())-1].Value != h.Cnt() {
				r.tb.Errorf("heap %d has items %+v", h.Cnt(), h.Items())
			}
		} else {
			c.incomplete[h.Cnt()] = append(c.incomplete[h.Cnt()], h.Ranges()...)
		}
		h.Release()
	}
}

func (o *oracle) compare(t *rapid.T, c *collector, s Stats) {
	slices.Sort(c.complete)
	if !slices.Equal(c.complete, o.complete) {
		t.Errorf("complete: %v\nwant      %v", c.complete, o.complete)
	}
	// An unsized heap whose tail is missing cannot know it: it is complete as
	// far as anyone can tell. drawTraffic's oracle knows, so those are put aside.
	if fmt.Sprint(c.incomplete) != fmt.Sprint(o.incomplete) {
		t.Errorf("incomplete: %v\nwant        %v", c.incomplete, o.incomplete)
	}
	if s.Fates[ledger.Delivered] != o.delivered || s.Fates[ledger.DeliveredIncomplete] != o.partial || s.Fates[ledger.Duplicate] != o.repeats {
		t.Errorf("want delivered %d, delivered_incomplete %d, duplicate %d\n%s", o.delivered, o.partial, o.repeats, fates(s))
	}
}

// sizeTail makes the last packet of each unsized heap that came tell nothing
// the oracle would have to guess: heaps that lost their tail are dropped whole.
func (tr *traffic) sizeTail() {
	tails := map[uint64]bool{}
	for _, p := range tr.packets {
		tails[p.cnt] = tails[p.cnt] || p.end == tr.heaps[p.cnt]
	}
	tr.packets = slices.DeleteFunc(tr.packets, func(p sent) bool { return !tails[p.cnt] })
}

// maybePast has heaps written past the cache, or as those of their size usually are.
func (r *rig) maybePast(t *rapid.T) {
	if rapid.Bool().Draw(t, "past") {
		r.pastCache = 1
	}
}

// Whatever the network does, and however many threads feed in whatever turns,
// the heaps that come out are those of the oracle.
func TestAgainstOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := drawTraffic(rt, 12)
		tr.sizeTail()
		threads := rapid.IntRange(1, 4).Draw(rt, "threads")
		r := newRig(t, pool.ShareConfig{Live: 12, Ring: 12, Threads: threads, Largest: 8192, SmallBelow: 512}, Config{Incomplete: true, MaxItems: 64, MaxRanges: 256})
		r.maybePast(rt)
		turns := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "turns"), 2))
		c := collector{incomplete: map[uint64][]Range{}}
		queues := make([][]sent, threads)
		for _, p := range tr.packets {
			i := turns.IntN(threads)
			queues[i] = append(queues[i], p)
		}
		for left := len(tr.packets); left > 0; {
			i := turns.IntN(threads)
			n := min(len(queues[i]), 1+turns.IntN(100))
			var batch [][]byte
			for _, p := range queues[i][:n] {
				batch = append(batch, p.bytes)
			}
			queues[i] = queues[i][n:]
			left -= n
			r.feed(i, batch...)
			if turns.IntN(2) == 0 {
				c.take(r)
			}
		}
		for i := range threads {
			r.Feeder(i).Finish()
			c.take(r)
		}
		r.balance()
		defer r.close()
		o := tr.oracle()
		o.compare(rt, &c, r.Stats())
	})
}

// The same with threads that run at once.
func TestAgainstOracleConcurrently(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := drawTraffic(rt, 40)
		tr.sizeTail()
		const threads = 3
		r := newRig(t, pool.ShareConfig{Live: 40, Ring: 3, Threads: threads, Largest: 8192, SmallBelow: 512}, Config{Incomplete: true, MaxItems: 64, MaxRanges: 256})
		r.maybePast(rt)
		var wg sync.WaitGroup
		for i := range threads {
			wg.Add(1)
			go func() {
				defer wg.Done()
				var batch [][]byte
				for j, p := range tr.packets {
					if j%threads == i {
						batch = append(batch, p.bytes)
					}
					if len(batch) == 7 {
						r.feed(i, batch...)
						batch = batch[:0]
						runtime.Gosched()
					}
				}
				r.feed(i, batch...)
				r.Feeder(i).Finish()
			}()
		}
		c := collector{incomplete: map[uint64][]Range{}}
		for !r.ended() {
			c.take(r)
			runtime.Gosched()
		}
		c.take(r)
		wg.Wait()
		r.balance()
		defer r.close()
		o := tr.oracle()
		o.compare(rt, &c, r.Stats())
	})
}

// With a window that is too small for the traffic heaps are lost, but never one
// twice, never wrong, and never unaccounted for.
func TestSmallWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := drawTraffic(rt, 40)
		threads := rapid.IntRange(1, 3).Draw(rt, "threads")
		policy := rapid.SampledFrom([]Policy{DropNewest, DropOldest}).Draw(rt, "policy")
		r := newRig(t, pool.ShareConfig{Live: rapid.IntRange(1, 3).Draw(rt, "live"), Ring: rapid.IntRange(1, 3).Draw(rt, "ring"), Threads: threads, Largest: 8192},
			Config{Incomplete: rapid.Bool().Draw(rt, "incomplete"), OnFull: policy, MaxItems: 64, MaxRanges: 256})
		r.maybePast(rt)
		turns := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "turns"), 2))
		c := collector{incomplete: map[uint64][]Range{}}
		for left := tr.packets; len(left) > 0; {
			n := min(len(left), 1+turns.IntN(20))
			var batch [][]byte
			for _, p := range left[:n] {
				batch = append(batch, p.bytes)
			}
			left = left[n:]
			r.feed(turns.IntN(threads), batch...)
			if turns.IntN(3) == 0 {
				c.take(r)
			}
		}
		for i := range threads {
			r.Feeder(i).Finish()
		}
		c.take(r)
		r.balance()
		defer r.close()
		slices.Sort(c.complete)
		if n := len(slices.Compact(slices.Clone(c.complete))); n != len(c.complete) {
			rt.Errorf("a heap came twice: %v", c.complete)
		}
		s := r.Stats()
		if s.InFlight != 0 || uint64(len(c.complete)) > s.Counts[ledger.HeapsComplete] {
			rt.Errorf("%d packets in flight, %d complete heaps of %d", s.InFlight, len(c.complete), s.Counts[ledger.HeapsComplete])
		}
	})
}

// How traffic of several senders is batched does not matter to what comes out, nor to
// its order, also where heaps are evicted: though heaps stay pinned, and their packets
// are copied later than they are placed.
func TestBatchesOfManyHeaps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := drawTraffic(rt, 60)
		live := rapid.SampledFrom([]int{1, 2, 5, 60}).Draw(rt, "live")
		var first string
		for _, most := range []int{1, 3, 40, 1000} {
			r := newRig(t, pool.ShareConfig{Live: live, Ring: 200, Largest: 8192}, Config{Incomplete: true, MaxItems: 64, MaxRanges: 256})
			if most > 3 { // what is written past the cache is the same
				r.pastCache = 1
			}
			for left := tr.packets; len(left) > 0; {
				n := min(len(left), most)
				var batch [][]byte
				for _, p := range left[:n] {
					batch = append(batch, p.bytes)
				}
				left = left[n:]
				r.feed(0, batch...)
			}
			r.Feeder(0).Finish()
			result := ""
			for h := r.TryNext(); h != nil; h = r.TryNext() {
				r.check(h)
				result += fmt.Sprintln(h.Cnt(), h.Complete(), h.Ranges(), h.Packets())
				h.Release()
			}
			r.balance()
			result += fates(r.Stats())
			r.close()
			if first == "" {
				first = result
			} else if result != first {
				rt.Fatalf("batches of %d packets give\n%s\nand single packets\n%s", most, result, first)
			}
		}
	})
}
