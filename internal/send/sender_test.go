// SPDX-License-Identifier: Apache-2.0

package send

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/spead"
)

// fakeEngine keeps copies of the packets, or only counts them.
type fakeEngine struct {
	packets [][]byte
	dests   []int
	discard bool
	fail    error             // given instead of sending
	after   int               // so many packets
	onSend  func(packets int) // called first
	closed  int
}

func (e *fakeEngine) send(ctx context.Context, packets []packet) (int, error) {
	if e.onSend != nil {
		e.onSend(len(packets))
	}
	for i := range packets {
		if e.fail != nil && len(e.packets) >= e.after {
			return i, e.fail
		}
		if !e.discard {
			var p packet
			p.copyFrom(&packets[i])
			e.packets = append(e.packets, p.hdr)
			e.dests = append(e.dests, p.dest)
		}
	}
	return len(packets), nil
}

func (e *fakeEngine) drain(context.Context) error { return nil }
func (e *fakeEngine) about() string               { return "a fake" }
func (e *fakeEngine) close() error                { e.closed++; return nil }

// dests gives n destinations.
func dests(n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range n {
		all = append(all, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(7000+i)))
	}
	return all
}

// withEngine gives a sender over an engine that is not a network.
func withEngine(t testing.TB, c Config, e engine) *Sender {
	t.Helper()
	if c.Destinations == nil {
		c.Destinations = dests(1)
	}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := newSender(c, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run sends all that c says to a fake engine.
func run(t testing.TB, c Config) (*fakeEngine, Result) {
	t.Helper()
	e := &fakeEngine{}
	r, err := withEngine(t, c, e).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if int(r.Packets) != len(e.packets) {
		t.Errorf("result says %d packets, %d were sent", r.Packets, len(e.packets))
	}
	var size uint64
	for _, p := range e.packets {
		size += uint64(len(p))
	}
	if size != r.Bytes {
		t.Errorf("result says %d bytes, %d were sent", r.Bytes, size)
	}
	return e, r
}

// received is a heap as a receiver sees it.
type received struct {
	cnt     uint64
	payload []byte
	got     int // bytes of it, each packet counted once
	offsets map[int64]int
	order   []int64
	ptrs    []spead.Pointer
	stop    bool
	dest    int
}

// receive puts packets together, in order of the heaps' first packets.
func receive(t testing.TB, e *fakeEngine) []*received {
	t.Helper()
	var all []*received
	for i, b := range e.packets {
		var p spead.Packet
		if r := p.Decode(b, len(b)); r != spead.OK || p.Size() != len(b) {
			t.Fatalf("packet %d: %v", i, r)
		}
		at := slices.IndexFunc(all, func(h *received) bool { return h.cnt == p.Cnt })
		if at < 0 {
			at = len(all)
			all = append(all, &received{cnt: p.Cnt, payload: make([]byte, p.HeapLength), offsets: make(map[int64]int), dest: e.dests[i]})
		}
		h := all[at]
		if h.dest != e.dests[i] {
			t.Fatalf("heap %d goes to destinations %d and %d", p.Cnt, h.dest, e.dests[i])
		}
		h.offsets[p.PayloadOffset]++
		h.order = append(h.order, p.PayloadOffset)
		if h.offsets[p.PayloadOffset] > 1 {
			continue
		}
		h.got += copy(h.payload[p.PayloadOffset:], b[p.HeaderLen:])
		h.stop = h.stop || p.Control == spead.CtrlStop
		for j := range p.NumPointers() {
			if id := p.Flavour.ID(p.Pointer(j)); id == 0 || id > 4 {
				h.ptrs = append(h.ptrs, p.Pointer(j))
			}
		}
	}
	return all
}

// items gives the items of the pattern, and how many descriptors there are.
func (h *received) items(f spead.Flavour) (data [][]byte, descriptors int) {
	for _, it := range spead.AppendItems(nil, f, slices.Clone(h.ptrs), h.payload) {
		switch {
		case it.ID == spead.IDDescriptor:
			descriptors++
		case it.ID >= pattern.FirstID:
			data = append(data, it.Data)
		}
	}
	return data, descriptors
}

// TestHeaps checks what is sent, heap by heap, in several shapes.
func TestHeaps(t *testing.T) {
	for _, tt := range []struct {
		name        string
		config      Config
		itemSize    int
		descriptors int // in each first heap
	}{
		{"one item", Config{HeapSize: 20000, Heaps: 5, Verify: true}, 20000, 1},
		{"items do not divide", Config{HeapSize: 1000, Heaps: 4, Items: 3, Verify: true}, 332, 3},
		{"one word each, all flavours below", Config{HeapSize: 12, Heaps: 3, Items: 3, Verify: true}, 4, 3},
		{"64-40", Config{HeapSize: 10000, Heaps: 3, Flavour: spead.Flavour40, Verify: true}, 10000, 1},
		{"jumbo", Config{HeapSize: 100000, Heaps: 3, MaxPacket: 8972, Verify: true}, 100000, 1},
		{"three destinations", Config{HeapSize: 3000, Heaps: 8, Destinations: dests(3), Verify: true}, 3000, 1},
		{"more destinations than heaps", Config{HeapSize: 3000, Heaps: 2, Destinations: dests(5), Verify: true}, 3000, 1},
		{"no descriptors", Config{HeapSize: 3000, Heaps: 2, NoDescriptors: true, Verify: true}, 3000, 0},
		{"no heaps", Config{HeapSize: 3000}, 3000, 1},
		{"heap counts left out", Config{HeapSize: 3000, Heaps: 5, First: 1 << 33, Destinations: dests(2), Verify: true}, 3000, 1},
		{"many blocks of pattern", Config{HeapSize: 3 << 20, Heaps: 5, Verify: true}, 3 << 20, 1},
		{"many heaps in a block", Config{HeapSize: 1 << 20, Heaps: 9, Verify: true, MaxPacket: 65507}, 1 << 20, 1},
		{"many small items in a packet", Config{HeapSize: 8000, Items: 2000, Heaps: 3, Verify: true}, 4, 2000},
		{"paced", Config{HeapSize: 10000, Heaps: 20, Rate: 10e9, Verify: true}, 10000, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, r := run(t, tt.config)
			n := len(tt.config.Destinations)
			if n == 0 {
				n = 1
			}
			if r.Heaps != uint64(tt.config.Heaps) || r.StopHeaps != uint64(n) || r.DamagedHeaps+r.MissingHeaps+r.CutHeaps+r.Dropped+r.Duplicated+r.Reordered != 0 {
				t.Errorf("result %+v", r)
			}
			flavour, items := tt.config.Flavour, max(tt.config.Items, 1)
			if flavour == 0 {
				flavour = spead.Flavour48
			}
			heaps := receive(t, e)
			if len(heaps) != int(tt.config.Heaps)+n {
				t.Fatalf("%d heaps, want %d and %d stop heaps", len(heaps), tt.config.Heaps, n)
			}
			for i, h := range heaps {
				if h.cnt != tt.config.First+uint64(i+1) || h.dest != i%n || h.got != len(h.payload) {
					t.Fatalf("heap %d of %d bytes has count %d, destination %d and %d bytes", i, len(h.payload), h.cnt, h.dest, h.got)
				}
				data, descriptors := h.items(flavour)
				if h.stop != (i >= int(tt.config.Heaps)) || h.stop && len(data) > 0 {
					t.Errorf("heap %d: stop is %v, %d items", h.cnt, h.stop, len(data))
				}
				if h.stop {
					continue
				}
				want := 0
				if i < n {
					want = tt.descriptors
				}
				if descriptors != want || len(data) != items || len(data[0]) != tt.itemSize {
					t.Errorf("heap %d: %d descriptors, %d items of %d bytes; want %d, %d, %d", h.cnt, descriptors, len(data), len(data[0]), want, items, tt.itemSize)
				}
				if err := pattern.CheckHeap(h.cnt, data); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestZeros: without verification the payload is zeros.
func TestZeros(t *testing.T) {
	e, _ := run(t, Config{HeapSize: 5000, Heaps: 2, NoDescriptors: true, NoStop: true})
	heaps := receive(t, e)
	if len(heaps) != 2 {
		t.Fatalf("%d heaps, want 2 and no stop heap", len(heaps))
	}
	for _, h := range heaps {
		if len(bytes.Trim(h.payload, "\x00")) != 0 || len(h.payload) != 5000 {
			t.Errorf("heap %d: %d bytes, not all zero", h.cnt, len(h.payload))
		}
	}
}

// TestFaults closes the ledger between what was made, what was sent and what
// the result says, for each fault alone and for all together.
func TestFaults(t *testing.T) {
	const heaps, perHeap = 60, 14 // 20000 bytes in packets of 1432
	for _, tt := range []struct {
		name   string
		faults Faults
	}{
		{"drop", Faults{Drop: 0.05, Seed: 1}},
		{"duplicate", Faults{Duplicate: 0.2, Seed: 2}},
		{"reorder", Faults{Reorder: 0.3, Seed: 3}},
		{"all", Faults{Drop: 0.05, Reorder: 0.2, Duplicate: 0.1, Seed: 4}},
		{"always", Faults{Reorder: 1, Duplicate: 1, Seed: 5}},
		{"nothing arrives", Faults{Drop: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{HeapSize: 20000, Heaps: heaps, Verify: true, NoDescriptors: true, Faults: tt.faults}
			e, r := run(t, c)
			again, r2 := run(t, c)
			r.Elapsed, r2.Elapsed = 0, 0
			if r != r2 || !slices.EqualFunc(e.packets, again.packets, bytes.Equal) {
				t.Error("the same seed gives other faults")
			}

			got := receive(t, e)
			if last := got[len(got)-1]; !last.stop || last.cnt != heaps+1 || len(last.order) != 1 {
				t.Errorf("the last heap is not the stop heap: %+v", last)
			}
			var damaged, arrived, repeated, late uint64
			var latest [2]int64
			for _, h := range got[:len(got)-1] {
				if h.got != len(h.payload) {
					damaged++
				}
				arrived += uint64(len(h.offsets))
				repeated += uint64(len(h.order) - len(h.offsets))
				if data, _ := h.items(spead.Flavour48); h.got == len(h.payload) {
					if err := pattern.CheckHeap(h.cnt, data); err != nil {
						t.Error(err)
					}
				}
			}
			// First appearances that come after a later packet.
			seen := make(map[[2]int64]bool)
			for _, b := range e.packets {
				var p spead.Packet
				p.Decode(b, len(b))
				id := [2]int64{int64(p.Cnt), p.PayloadOffset}
				if !seen[id] && slices.Compare(id[:], latest[:]) < 0 {
					late++
				}
				seen[id] = true
				if slices.Compare(id[:], latest[:]) > 0 {
					latest = id
				}
			}
			missing := uint64(heaps + 1 - len(got))
			if r.Heaps != heaps || r.DamagedHeaps != damaged || r.MissingHeaps != missing {
				t.Errorf("%d heaps, %d damaged, %d missing; %d and %d are", r.Heaps, r.DamagedHeaps, r.MissingHeaps, damaged, missing)
			}
			if r.Dropped != heaps*perHeap-arrived || r.Duplicated != repeated {
				t.Errorf("%d dropped, %d duplicated; %d and %d are", r.Dropped, r.Duplicated, heaps*perHeap-arrived, repeated)
			}
			// A packet that was held may be overtaken by its own repetition,
			// and that is then the first.
			if f := tt.faults; f.Duplicate == 0 && r.Reordered != late || late > r.Reordered {
				t.Errorf("%d reordered, %d are", r.Reordered, late)
			}
			if r.Packets != heaps*perHeap-r.Dropped+r.Duplicated+r.StopHeaps {
				t.Errorf("%d packets do not fit to %+v", r.Packets, r)
			}
			within := func(n uint64, fraction float64) bool {
				want := fraction * heaps * perHeap
				return float64(n) > 0.6*want && float64(n) < 1.4*want || fraction == 0 && n == 0
			}
			if !within(r.Dropped, tt.faults.Drop) || !within(r.Duplicated, tt.faults.Duplicate) || tt.name == "reorder" && !within(r.Reordered, tt.faults.Reorder) {
				t.Errorf("fractions are not those asked for: %+v", r)
			}
		})
	}
}

// TestFaultWindow: nothing is sent more than the window late.
func TestFaultWindow(t *testing.T) {
	e, _ := run(t, Config{HeapSize: 1432 * 2000, Heaps: 1, NoDescriptors: true, NoStop: true, Faults: Faults{Reorder: 0.5, Duplicate: 0.5}})
	var latest int64
	for _, b := range e.packets {
		var p spead.Packet
		p.Decode(b, len(b))
		number := (p.PayloadOffset + 8) / 1432
		if number < latest-faultWindow {
			t.Fatalf("packet %d is sent after %d", number, latest)
		}
		latest = max(latest, number)
	}
}

// TestRate: the rate is never exceeded but for the first burst.
func TestRate(t *testing.T) {
	const rate = 2e9
	var at []time.Duration
	var sizes []int
	e := &fakeEngine{}
	s := withEngine(t, Config{HeapSize: 400000, Heaps: 10, Rate: rate}, e)
	e.onSend = func(n int) {
		at = append(at, time.Since(s.pacer.start))
		size := 0
		for i := range n {
			size += s.batch.packets[i].size
		}
		sizes = append(sizes, size)
	}
	r, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	before := 0
	for i, size := range sizes {
		if size > burstBytes+1472 {
			t.Errorf("burst of %d bytes", size)
		}
		if due := time.Duration(float64(before) * 8e9 / rate); at[i] < due {
			t.Errorf("%d bytes were sent in %v, not in %v", before, at[i], due)
		}
		before += size
	}
	if r.Gbps() > rate/1e9*1.02 {
		t.Errorf("rate %v Gb/s", r.Gbps())
	}
}

// TestPacerCatchesUp: after a pause the sender goes on a twentieth faster, not
// all at once.
func TestPacerCatchesUp(t *testing.T) {
	p := newPacer(8e9) // a byte per nanosecond
	p.start = p.start.Add(-time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // only what is due is of interest, not the waiting
	p.wait(ctx, 105000)
	if wait := p.burst - 1e9 + burstBytes; wait < 100000 || wait > 1e9 {
		t.Errorf("the burst after one of 105000 bytes is due after %v ns, want 100000 from one burst ago", wait)
	}
	if p.average != 105000 {
		t.Errorf("average clock at %v", p.average)
	}
}

// TestCancel: the heap under way is finished, and the stream is stopped.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	e := &fakeEngine{}
	sent := 0
	e.onSend = func(n int) {
		if sent += n; sent > 2000 {
			cancel()
		}
	}
	r, err := withEngine(t, Config{HeapSize: 1 << 20, Heaps: -1, Verify: true}, e).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	heaps := receive(t, e)
	if last := heaps[len(heaps)-1]; !last.stop || len(heaps) != int(r.Heaps)+1 || r.CutHeaps != 0 {
		t.Errorf("%d heaps received, %+v", len(heaps), r)
	}
	for _, h := range heaps {
		if h.got != len(h.payload) {
			t.Errorf("heap %d is incomplete", h.cnt)
		}
	}
}

// TestCancelSlow: a heap that takes too long is cut, and the stream is stopped
// with a count of its own.
func TestCancelSlow(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	e := &fakeEngine{}
	e.onSend = func(int) { cancel() }
	s := withEngine(t, Config{HeapSize: 1 << 20, Heaps: 3, Rate: 1e5}, e)
	s.grace = 50 * time.Millisecond
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	heaps := receive(t, e)
	if len(heaps) != 2 || heaps[0].got == len(heaps[0].payload) || !heaps[1].stop || r.CutHeaps != 1 || r.Heaps != 0 {
		t.Errorf("%d heaps, %+v", len(heaps), r)
	}
}

func TestEngineError(t *testing.T) {
	broken := errors.New("broken")
	e := &fakeEngine{fail: broken, after: 700}
	s := withEngine(t, Config{HeapSize: 1 << 20, Heaps: 3}, e)
	r, err := s.Run(context.Background())
	if !errors.Is(err, broken) || r.Packets != 700 {
		t.Errorf("Run gives %v after %d packets", err, r.Packets)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if e.closed != 1 {
		t.Errorf("the engine was closed %d times", e.closed)
	}
}

// TestEvery: fractions that engine blast can inject, and those it cannot are refused.
func TestEvery(t *testing.T) {
	for _, tt := range []struct {
		fraction float64
		want     uint64 // 0 of others than 0: refused
	}{
		{0, 0}, {1, 1}, {0.96, 1}, {0.94, 0}, {0.7, 0}, {0.53, 0}, {0.52, 2}, {0.5, 2}, {0.45, 0}, {0.4, 0}, {1. / 3, 3}, {0.333, 3}, {0.3, 0},
		{0.0953, 10}, {0.01, 100}, {0.001, 1000}, {1e-300, 1 << 62},
	} {
		c := Config{Engine: Blast, Destinations: dests(1), HeapSize: 1000, Faults: Faults{Drop: tt.fraction}}
		err := c.Check()
		if refused := tt.want == 0 && tt.fraction != 0; refused != (err != nil) {
			t.Errorf("drop fraction %v gives error %v", tt.fraction, err)
		} else if got := every(tt.fraction); !refused && got != tt.want {
			t.Errorf("%v is every %d, want %d", tt.fraction, got, tt.want)
		}
		c.Engine = UDP
		if err := c.Check(); err != nil {
			t.Errorf("engine udp: %v", err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	good := Config{Destinations: dests(1), HeapSize: 1000}
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Destinations = nil }, "no destination"},
		{func(c *Config) { c.Destinations[0] = netip.AddrPort{} }, "no address or port"},
		{func(c *Config) { c.Bind = netip.IPv6Loopback() }, "different families"},
		{func(c *Config) { c.TTL = 256 }, "TTL 256"},
		{func(c *Config) { c.HeapSize = 11; c.Items = 3 }, "heap size 11 is too small for 3 items"},
		{func(c *Config) { c.HeapSize = 0 }, "heap size 0"},
		{func(c *Config) { c.HeapSize = 256; c.Flavour = 8 }, "heap size 256 is more than flavour 64-8 can address"},
		{func(c *Config) { c.HeapSize = 1 << 46 }, "heap size 70368744177664: sending takes 1 times as much memory"},
		{func(c *Config) { c.Items = -1 }, "-1 items"},
		{func(c *Config) { c.Items = 0x7001; c.HeapSize = 1 << 30 }, "28673 items"},
		{func(c *Config) { c.Flavour = 56 }, "do not fit into flavour 64-56"},
		{func(c *Config) { c.Flavour = 44 }, "44 heap address bits are no flavour"},
		{func(c *Config) { c.MaxPacket = 50 }, "packet size 50"},
		{func(c *Config) { c.Rate = -1 }, "rate -1"},
		{func(c *Config) { c.Faults.Drop = 1.5 }, "drop fraction 1.5"},
		{func(c *Config) { c.Faults.Reorder = -0.1 }, "reorder fraction"},
		{func(c *Config) { c.Faults.Duplicate = 2 }, "duplicate fraction"},
		{func(c *Config) { c.Engine, c.Faults.Drop = Blast, 0.7 }, "drop fraction 0.7 is near no such 1/n (the nearest are 0.5 and 1)"},
		{func(c *Config) { c.Engine, c.Faults.Duplicate = Blast, 0.4 }, "duplicate fraction 0.4 is near no such 1/n (the nearest are 0.3333 and 0.5)"},
		{func(c *Config) { c.Engine, c.Faults.Reorder = Blast, 1 }, "reorder fraction 1 is near no such 1/n (the nearest is 0.5)"},
		{func(c *Config) { c.Engine, c.Faults.Reorder = Blast, math.NaN() }, "reorder fraction NaN is not within 0 to 1"},
	} {
		c := good
		c.Destinations = slices.Clone(good.Destinations)
		tt.change(&c)
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
		}
		if err := c.Check(); err == nil && c.HeapSize < 1<<46 {
			t.Errorf("Check has nothing against %s", tt.want)
		}
	}
	for _, e := range []Engine{UDP, AFXDP} {
		if got, err := ParseEngine(e.String()); err != nil || got != e {
			t.Errorf("engine %v is parsed as %v, %v", e, got, err)
		}
	}
	if _, err := ParseEngine("dpdk"); err == nil {
		t.Error("engine dpdk gives no error")
	}
}

// TestNoAllocations: nothing is allocated per packet or heap, with faults and
// without.
func TestNoAllocations(t *testing.T) {
	for _, faults := range []Faults{{}, {Drop: 0.1, Reorder: 0.2, Duplicate: 0.2}} {
		s := withEngine(t, Config{HeapSize: 1 << 20, Heaps: -1, Verify: true, NoDescriptors: true, Faults: faults}, &fakeEngine{discard: true})
		s.pacer = newPacer(0)
		ctx := context.Background()
		index := uint64(0)
		heap := func() {
			if s.heaps.turnsOver(index) {
				if err := s.flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.packetiser.Start(index+1, s.heaps.heap(index)); err != nil {
				t.Fatal(err)
			}
			if err := s.sendHeap(ctx, 0); err != nil {
				t.Fatal(err)
			}
			index++
		}
		for range 3 { // each packet of the batch gets its memory
			heap()
		}
		if n := testing.AllocsPerRun(5, heap); n != 0 {
			t.Errorf("faults %+v: %v allocations per heap", faults, n)
		}
	}
}
