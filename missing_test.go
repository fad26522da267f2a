// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

// lossReading is a reading in which a packet has 1000 bytes of payload.
func lossReading(set func(s *Stats, h *ledger.StreamCounts)) *Stats {
	s := &Stats{Payload: 1_000_000, Streams: []StreamStats{{Stats: heap.Stats{}}}}
	s.Streams[0].Fates[ledger.Delivered] = 1000
	s.Fates[ledger.Delivered] = 1000
	set(s, &s.Streams[0].Counts)
	return s
}

func TestCauses(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(s *Stats, h *ledger.StreamCounts)
		want ledger.Causes
	}{
		{"nothing is missing", func(s *Stats, _ *ledger.StreamCounts) { s.Fates[ledger.NICDropped] = 5 }, ledger.Causes{}},
		{"no counter knows", func(_ *Stats, h *ledger.StreamCounts) { h[ledger.IncompleteBytes] = 700 }, ledger.Causes{ledger.Network: 700}},
		{"heaps of known causes", func(_ *Stats, h *ledger.StreamCounts) {
			h[ledger.RingFullBytes], h[ledger.DiscardedBytes], h[ledger.ShutdownBytes] = 1, 2, 3
		}, ledger.Causes{ledger.Ring: 1, ledger.Assembly: 2, ledger.Consumer: 3}},
		{"less was dropped than is missing", func(s *Stats, h *ledger.StreamCounts) {
			s.Fates[ledger.KernelDropped], s.Fates[ledger.Late] = 2, 1
			h[ledger.IncompleteBytes], h[ledger.MissingHeapBytes] = 1500, 2000
		}, ledger.Causes{ledger.Socket: 2000, ledger.Assembly: 1000, ledger.Network: 500}},
		{"more was dropped: the nearest counts", func(s *Stats, h *ledger.StreamCounts) {
			s.Fates[ledger.NICDropped], s.Fates[ledger.KernelDropped], s.Fates[ledger.NoSlot] = 100, 2, 1
			h[ledger.IncompleteBytes] = 4000
		}, ledger.Causes{ledger.Pool: 1000, ledger.Socket: 2000, ledger.NIC: 1000}},
		{"what is no loss counts nowhere", func(s *Stats, h *ledger.StreamCounts) {
			s.Fates[ledger.Duplicate], s.Fates[ledger.OtherEndpoint] = 10, 10
			h[ledger.IncompleteBytes] = 100
		}, ledger.Causes{ledger.Network: 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c causes
			if got := c.update(lossReading(tt.set), time.Unix(1, 0), true); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// A byte has no cause yet while the counters of its cause may not have been read.
func TestCausesWait(t *testing.T) {
	var c causes
	at := time.Unix(1000, 0)
	missing := func(nic, bytes uint64) *Stats {
		return lossReading(func(s *Stats, h *ledger.StreamCounts) {
			s.Fates[ledger.NICDropped], h[ledger.IncompleteBytes] = nic, bytes
		})
	}
	c.update(missing(0, 0), at, false)
	if got := c.update(missing(0, 3000), at.Add(undecided/2), false); got.Sum() != 0 {
		t.Errorf("at once: %v", got)
	}
	if got := c.update(missing(2, 3000), at.Add(undecided), false); got != (ledger.Causes{ledger.NIC: 2000}) {
		t.Errorf("when the NIC's drops were read: %v", got)
	}
	if got := c.update(missing(2, 3000), at.Add(2*undecided), false); got != (ledger.Causes{ledger.NIC: 2000, ledger.Network: 1000}) {
		t.Errorf("later: %v", got)
	}
}

// What was dropped long ago, and what is not SPEAD, explains nothing.
func TestCausesExpire(t *testing.T) {
	at := time.Unix(1000, 0)
	reading := func(fate ledger.Fate, n, missing uint64) *Stats {
		return lossReading(func(s *Stats, h *ledger.StreamCounts) {
			s.Fates[fate], h[ledger.IncompleteBytes] = n, missing
		})
	}
	for _, tt := range []struct {
		name  string
		keep  time.Duration
		fate  ledger.Fate
		after time.Duration
		want  ledger.Causes
	}{
		{"in time", 10 * time.Second, ledger.KernelDropped, 9 * time.Second, ledger.Causes{ledger.Socket: 3000}},
		{"too late", 10 * time.Second, ledger.KernelDropped, 25 * time.Second, ledger.Causes{ledger.Network: 3000}},
		{"for ever", 0, ledger.KernelDropped, time.Hour, ledger.Causes{ledger.Socket: 3000}},
		{"no SPEAD", 0, ledger.BadMagic, time.Second, ledger.Causes{ledger.Network: 3000}},
	} {
		c := causes{keep: tt.keep}
		c.update(reading(tt.fate, 0, 0), at, false)
		c.update(reading(tt.fate, 1000, 0), at.Add(time.Second), false)
		for s := time.Second; s < tt.after; s += time.Second {
			c.update(reading(tt.fate, 1000, 0), at.Add(s), false)
		}
		if got := c.update(reading(tt.fate, 1000, 3000), at.Add(tt.after), true); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if creditTime(-1) != 0 || creditTime(0) <= heap.DefaultMaxAge || creditTime(math.MaxInt64) < 0 {
		t.Error("creditTime")
	}
}

// Whatever the counters do, no cause gets less, and at the end the sum is what is missing.
func TestCausesAddUp(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := lossReading(func(*Stats, *ledger.StreamCounts) {})
		var c causes
		var last ledger.Causes
		at := time.Unix(1000, 0)
		for step := range 30 {
			h := &s.Streams[0].Counts
			for _, k := range []ledger.StreamCounter{ledger.IncompleteBytes, ledger.MissingHeapBytes, ledger.DiscardedBytes, ledger.RingFullBytes, ledger.ShutdownBytes} {
				if r.IntN(3) == 0 {
					h[k] += r.Uint64N(5000)
				}
			}
			for f := range s.Fates {
				if r.IntN(8) == 0 {
					s.Fates[f] += r.Uint64N(4)
				}
			}
			s.Payload += r.Uint64N(100_000) // so that the mean moves
			at = at.Add(time.Duration(r.IntN(1500)) * time.Millisecond)
			got := c.update(s, at, step == 29)
			for i := range got {
				if got[i] < last[i] {
					t.Fatalf("seed %d: cause %v fell from %d to %d", seed, ledger.Stage(i), last[i], got[i])
				}
			}
			last = got
		}
		h := &s.Streams[0].Counts
		want := h[ledger.IncompleteBytes] + h[ledger.MissingHeapBytes] + h[ledger.DiscardedBytes] + h[ledger.RingFullBytes] + h[ledger.ShutdownBytes]
		if last.Sum() != want {
			t.Errorf("seed %d: %d bytes have causes, %d are missing", seed, last.Sum(), want)
		}
	}
}
