// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/pool"
)

// usual is a scenario that tests change.
func usual() Scenario {
	return Scenario{
		HeapSize: 1 << 20, Packet: 1072, Rate: 8 * (1 << 20) * 100, Streams: 1, InFlight: 1, // 100 heaps a second
		Stall: 100 * time.Millisecond, ThreadStall: 20 * time.Millisecond, SmallHeap: 16 << 10,
	}
}

func compute(t *testing.T, s Scenario) *Plan {
	t.Helper()
	p, err := Compute(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestNumbers: each number of a plan by hand.
func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Scenario)
		want   map[string]int64
	}{
		{"as it is", func(*Scenario) {}, map[string]int64{
			PacketsPerHeap: 1024, HeapRate: 100, PacketRate: 102400, Queues: 1,
			Frames: 4096, // 2049 in 20 ms and 64 in hand
			Rings:  4096, NICRing: 512,
			ConcurrentHeaps: 2, RingHeaps: 11, ConsumerHeaps: 1, Slots: 15, Cores: 4,
			UMEMBytes: 16 << 20,
		}},
		{"no stall", func(s *Scenario) { s.Stall, s.ThreadStall = 0, 0 }, map[string]int64{
			RingHeaps: 1, Frames: 128, // one packet may come at any instant, and 64 are in hand
		}},
		{"almost the next heap", func(s *Scenario) { s.Stall = 109_999 * time.Microsecond }, map[string]int64{RingHeaps: 11}},
		{"the next heap", func(s *Scenario) { s.Stall = 110 * time.Millisecond }, map[string]int64{RingHeaps: 12}},
		{"the consumer just keeps up", func(s *Scenario) { s.Consumer = 10 * time.Millisecond }, map[string]int64{ConsumerHeaps: 2, Cores: 5}},
		{"the consumer is quick", func(s *Scenario) { s.Consumer = 9 * time.Millisecond }, map[string]int64{ConsumerHeaps: 1}},
		{"several consumers", func(s *Scenario) { s.Consumer = 35 * time.Millisecond }, map[string]int64{ConsumerHeaps: 4, Slots: 18}},
		{"heaps in flight", func(s *Scenario) { s.InFlight = 8 }, map[string]int64{ConcurrentHeaps: 9}},
		{"two streams", func(s *Scenario) { s.Streams = 2 }, map[string]int64{HeapRate: 50, PacketRate: 102400, RingHeaps: 6, Slots: 10, Queues: 1}},
		{"a turn of the other stream", func(s *Scenario) {
			s.Streams, s.Consumer, s.Stall = 2, 9*time.Millisecond, 111*time.Millisecond // 5.55 heaps, and 6 with the turn
		}, map[string]int64{RingHeaps: 7}},
		{"two queues", func(s *Scenario) { s.Queues = 2 }, map[string]int64{
			Queues: 2, ConcurrentHeaps: 2 + 3, Slots: 5 + 11 + 1 + 2, Cores: 6, UMEMBytes: 32 << 20, // the stream may be one flow
		}},
		{"streams share queues", func(s *Scenario) { s.Queues, s.Streams = 2, 3 }, map[string]int64{Frames: 2048}}, // 2/3 of 2049, and 64
		{"many packets", func(s *Scenario) { s.Rate, s.Streams = 20e9, 100 }, map[string]int64{Queues: 3}},
		{"many bytes", func(s *Scenario) { s.Rate, s.Packet, s.Streams = 61e9, 8972, 100 }, map[string]int64{Queues: 4}},
		{"jumbo packets", func(s *Scenario) { s.Packet = 8972 }, map[string]int64{PacketsPerHeap: 118, Frames: 1024}}, // (237 + 64) × 3
		{"a packet that fits", func(s *Scenario) { s.Packet = 3840 - 66 }, map[string]int64{Frames: 1024}},            // 282 × 2 + … = 631
		{"a NIC in a hurry", func(s *Scenario) { s.Rate = 16e9 }, map[string]int64{NICRing: 2048}},
	} {
		s := usual()
		tt.change(&s)
		p := compute(t, s)
		for name, want := range tt.want {
			if got := p.Value(name); got != want {
				t.Errorf("%s: %s is %d, want %d", tt.name, name, got, want)
			}
		}
	}
}

// TestMemory: the memory of a plan is that which a pool of these slots takes.
func TestMemory(t *testing.T) {
	s := usual()
	s.Streams = 3
	p := compute(t, s)
	share := pool.ShareConfig{
		Live: int(p.Value(ConcurrentHeaps)), Ring: int(p.Value(RingHeaps)), Held: int(p.Value(ConsumerHeaps)), Threads: int(p.Value(Queues)),
		Largest: int(s.HeapSize), SmallBelow: int(s.SmallHeap),
	}
	var err error
	if share.Tables, err = (heap.Config{}).TableBytes(share); err != nil {
		t.Fatal(err)
	}
	bytes, _, err := pool.Size(pool.Config{Shares: []pool.ShareConfig{share, share, share}})
	if err != nil || p.Value(PoolBytes) != int64(bytes) {
		t.Errorf("%d bytes of pool, want %d, %v", p.Value(PoolBytes), bytes, err)
	}
	pages := (int64(bytes)+hugePage-1)/hugePage + p.Value(UMEMBytes)/hugePage
	if p.Value(HugePages) != pages || p.Value(LockedBytes) != pages*hugePage {
		t.Errorf("%d pages, %d bytes, want %d pages", p.Value(HugePages), p.Value(LockedBytes), pages)
	}
}

// TestErrors: each field that cannot be is named.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*Scenario)
	}{
		{"HeapSize", func(s *Scenario) { s.HeapSize = 0 }},
		{"HeapSize", func(s *Scenario) { s.HeapSize = -1 }},
		{"HeapSize", func(s *Scenario) { s.HeapSize = math.MaxInt64 }},
		{"Packet", func(s *Scenario) { s.Packet = 48 }},
		{"Packet", func(s *Scenario) { s.Packet = 9001 }},
		{"Packet", func(s *Scenario) { s.Packet = math.MinInt }},
		{"Rate", func(s *Scenario) { s.Rate = 0 }},
		{"Rate", func(s *Scenario) { s.Rate = -1 }},
		{"Rate", func(s *Scenario) { s.Rate = math.NaN() }},
		{"Rate", func(s *Scenario) { s.Rate = math.Inf(1) }},
		{"Streams", func(s *Scenario) { s.Streams = 0 }},
		{"Streams", func(s *Scenario) { s.Streams = math.MaxInt }},
		{"InFlight", func(s *Scenario) { s.InFlight = 0 }},
		{"Stall", func(s *Scenario) { s.Stall = -1 }},
		{"Stall", func(s *Scenario) { s.Stall = math.MaxInt64 }},
		{"Stall", func(s *Scenario) { s.HeapSize, s.Stall = 1, time.Minute }},              // 10^9 heaps
		{"Stall", func(s *Scenario) { s.HeapSize, s.Stall = 1000, time.Second }},           // more slots than there can be
		{"Consumer", func(s *Scenario) { s.HeapSize, s.Consumer = 1, time.Minute }},        // likewise
		{"Consumer", func(s *Scenario) { s.HeapSize, s.Consumer = 1000, time.Second }},     // likewise
		{"InFlight", func(s *Scenario) { s.HeapSize, s.InFlight = 1<<46, mostFlight }},     // more bytes than there are addresses
		{"ThreadStall", func(s *Scenario) { s.Rate, s.ThreadStall = 100e9, time.Hour }},    // frames
		{"ThreadStall", func(s *Scenario) { s.Rate, s.ThreadStall = mostRate, time.Hour }}, // likewise
		{"Queues", func(s *Scenario) { s.Queues = -1 }},
		{"Queues", func(s *Scenario) { s.Queues = math.MaxInt }},
	} {
		s := usual()
		tt.change(&s)
		p, err := Compute(s)
		var wrong *Error
		if p != nil || !errors.As(err, &wrong) || wrong.Field != tt.field || wrong.Reason == "" {
			t.Errorf("%+v: %v, want an error of %s", s, err, tt.field)
		}
	}
}

// TestWarnings: what may not work has a code, and what is needed and there.
func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		code   string
		change func(*Scenario)
	}{
		{WarnMemory, func(s *Scenario) { s.Machine.Memory = 10 << 20 }},
		{WarnCores, func(s *Scenario) { s.Machine.CPUs = 2 }},
		{WarnStream, func(s *Scenario) { s.Rate = 21e9 }},
		{WarnOnePacket, func(s *Scenario) { s.HeapSize, s.Rate = 1000, 1e6 }},
		{WarnMTU, func(s *Scenario) { s.Packet = 8973 }},
		{WarnConsumers, func(s *Scenario) { s.Consumer = 10 * time.Millisecond }},
		{WarnQueues, func(s *Scenario) { s.Queues, s.Streams, s.Rate = 2, 10, 50e9 }},
	} {
		s := usual()
		s.Machine = Machine{Memory: 1 << 40, CPUs: 1000}
		if p := compute(t, s); len(p.Warnings) != 0 {
			t.Fatalf("warnings of the usual: %+v", p.Warnings)
		}
		tt.change(&s)
		found := false
		for _, w := range compute(t, s).Warnings {
			found = found || w.Code == tt.code && w.Text != "" && w.Need != w.Have
		}
		if !found {
			t.Errorf("%s: no such warning", tt.code)
		}
	}
}

// TestLines: each line has a reason, and what can be lost has a stage.
func TestLines(t *testing.T) {
	p := compute(t, usual())
	seen := map[string]bool{}
	for _, l := range p.Lines {
		if seen[l.Name] || l.Unit == "" || l.Reason == "" || l.Value < 0 || (l.Fate != "" && l.Stage == "") || (l.Setting != "" && l.Fate == "") {
			t.Errorf("%+v", l)
		}
		seen[l.Name] = true
	}
	defer func() {
		if recover() == nil {
			t.Error("a line that there is not has a value")
		}
	}()
	p.Value("nothing")
}

// FuzzCompute: whatever is asked for, there is a plan or an error, and no number of a plan is
// less than nothing. More time or a higher rate never needs less.
func FuzzCompute(f *testing.F) {
	f.Add(int64(1<<20), 1072, 1e9, 1, 1, int64(1e8), int64(0), int64(2e7), 0)
	f.Add(int64(1<<47), 9000, 1e14, 4096, 1<<16, int64(time.Hour), int64(time.Hour), int64(time.Hour), 1024)
	f.Add(int64(1), 49, 1e-300, 1, 1, int64(1), int64(1), int64(1), 1)
	f.Fuzz(func(t *testing.T, size int64, packet int, rate float64, streams, flight int, stall, consumer, thread int64, queues int) {
		s := Scenario{
			HeapSize: size, Packet: packet, Rate: rate, Streams: streams, InFlight: flight,
			Stall: time.Duration(stall), Consumer: time.Duration(consumer), ThreadStall: time.Duration(thread), Queues: queues, SmallHeap: 16 << 10,
		}
		p, err := Compute(s)
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Fatalf("%+v: %v", s, err)
			}
			return
		}
		for _, l := range p.Lines {
			if math.IsNaN(l.Value) || l.Value < 0 {
				t.Fatalf("%+v: %+v", s, l)
			}
		}
		s.Stall, s.ThreadStall = s.Stall/2, s.ThreadStall/2
		less, err := Compute(s)
		if err != nil {
			t.Fatalf("%+v: %v, but twice the time has a plan", s, err)
		}
		for _, name := range []string{Frames, RingHeaps, Slots} {
			if less.Value(name) > p.Value(name) {
				t.Fatalf("%+v: %s is %d, and %d with twice the time", s, name, less.Value(name), p.Value(name))
			}
		}
	})
}
