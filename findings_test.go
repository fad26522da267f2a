// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// codes is a logger's handler that keeps the code of each warning.
type codes struct {
	mu   sync.Mutex
	list []ledger.Code
}

func (*codes) Enabled(context.Context, slog.Level) bool { return true }
func (c *codes) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c *codes) WithGroup(string) slog.Handler          { return c }

func (c *codes) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if d, ok := a.Value.Any().(ledger.Diagnosis); ok {
			c.list = append(c.list, d.Code)
		}
		return true
	})
	return nil
}

func (c *codes) count(code ledger.Code) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.list {
		if s == code {
			n++
		}
	}
	return n
}

// Packets that a driver drops after XDP_REDIRECT are in no counter of the socket. Here the
// kernel drops them, since the socket in a queue's place is of another queue. They are
// reported once, when there are more of them than the rings have room for.
func TestRedirectLost(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	log := &codes{}
	const frames = 64
	var r *Receiver
	var err error
	n.Do(func() {
		r, err = Open(t.Context(), Config{
			Streams:    []Stream{{Source: netip.AddrPortFrom(n.B.Addr4, 7148).String()}},
			Interfaces: []string{n.B.Name}, Mode: ModeNative, Frames: frames, HeapSize: 64 << 10,
			Hugepages: pool.PagesOff, Logger: slog.New(log),
		})
	})
	testnet.NeedPrivilege(t, err)
	defer r.Close() // again, if nothing fails
	queues := r.devices[0].queues
	for q := range queues { // each other's
		if err := r.devices[0].steer.SetSocket(q, queues[1-q].FD()); err != nil {
			t.Fatal(err)
		}
	}
	send1000 := func() {
		t.Helper()
		var s *send.Sender
		if e := n.A.Do(func() {
			s, err = send.Open(send.Config{
				Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)},
				Heaps:        25, HeapSize: 40 * 1000, MaxPacket: 1040, Rate: 1e9, NoStop: true, NoGSO: true,
			})
		}); e != nil || err != nil {
			t.Fatal(e, err)
		}
		defer s.Close()
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	send1000()
	for deadline := time.Now().Add(time.Minute); log.count(ledger.RedirectLost) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s := r.Stats()
			t.Fatalf("no warning: %d packets in flight, %v", s.InFlight, s.Devices)
		}
	}
	s := r.Stats()
	if lost := s.Devices[0].vanished(2 * frames); lost == 0 || s.Packets < 1000 || s.Fates[ledger.Delivered] != 0 {
		t.Errorf("%d of %d packets vanished", lost, s.Packets)
	}
	if err := r.Close(); err != nil { // it looks once more
		t.Fatal(err)
	}
	if got := log.count(ledger.RedirectLost); got != 1 {
		t.Errorf("%d warnings, want 1", got)
	}
}

// What is on the rings has not vanished, and a packet longer than a frame is told apart
// from one that found no frame.
func TestDeviceLosses(t *testing.T) {
	stats := func(matched, read, dropped, empty uint64) DeviceStats {
		q := QueueStats{Counts: ledger.QueueCounts{ledger.QueuePackets: read, ledger.QueueRxDropped: dropped, ledger.QueueRxFillRingEmpty: empty}}
		return DeviceStats{Counts: ledger.DeviceCounts{ledger.DeviceMatched: matched}, Queues: []QueueStats{q}}
	}
	for _, tt := range []struct {
		matched, read, dropped, empty uint64
		vanished, tooLong             uint64
	}{
		{1000, 900, 0, 0, 0, 0},     // 100 on a ring of 100
		{1000, 899, 0, 0, 1, 0},     // one too many
		{1000, 800, 100, 100, 0, 0}, // found no frame
		{1000, 800, 150, 100, 0, 50},
		{1000, 800, 100, 300, 0, 0}, // zero-copy counts attempts
		{1000, 0, 0, 0, 900, 0},
	} {
		d := stats(tt.matched, tt.read, tt.dropped, tt.empty)
		if got := []uint64{d.vanished(100), d.tooLong()}; !slices.Equal(got, []uint64{tt.vanished, tt.tooLong}) {
			t.Errorf("%+v: vanished and too long %d", tt, got)
		}
	}
}

// What falls between two readings is no loss: the kernel reads the counters of a socket one
// after the other, and a driver may reset its own.
func TestDiagnosisOfCountersThatFall(t *testing.T) {
	reading := func(matched, nic, dropped, empty uint64) *Stats {
		s := &Stats{Packets: matched + nic, Devices: []DeviceStats{{
			Name:   "eth0",
			Counts: ledger.DeviceCounts{ledger.DeviceMatched: matched, ledger.DeviceMissed: nic},
			Queues: []QueueStats{{Counts: ledger.QueueCounts{ledger.QueuePackets: matched - dropped, ledger.QueueRxDropped: dropped, ledger.QueueRxFillRingEmpty: empty}}},
		}}}
		s.Fates[ledger.NICDropped], s.Fates[ledger.KernelDropped] = nic, dropped
		return s
	}
	f := &facts{maxFrame: map[string]int{"eth0": 3000}, frames: map[string]int{"eth0": 64}}
	before := reading(1000, 50, 5, 3)
	for _, tt := range []struct {
		now  *Stats
		want []ledger.Code
	}{
		{reading(1000, 50, 5, 4), nil},                                                     // the second counter is read later
		{reading(1000, 7, 5, 3), nil},                                                      // the driver has reset its counter
		{reading(1100, 50, 8, 7), []ledger.Code{ledger.KernelDrops}},                       // both
		{reading(1100, 60, 5, 3), []ledger.Code{ledger.NICDrops}},                          // it has risen
		{reading(1100, 50, 9, 4), []ledger.Code{ledger.FrameTooSmall, ledger.KernelDrops}}, // 3 of 4 were too long
	} {
		var got []ledger.Code
		for _, d := range diagnose(before, tt.now, f) {
			got = append(got, d.Code)
			if d.Count > 100 || d.Of > 150 {
				t.Errorf("%v: %d of %d packets", d.Code, d.Count, d.Of)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v: diagnoses %v, want %v", tt.now.Devices[0].Queues[0].Counts, got, tt.want)
		}
	}
}

// Packets on a queue without a socket are counted once, whatever the other queues do.
func TestRise(t *testing.T) {
	type counts = map[string]map[int]uint64
	got := rise(counts{"a": {0: 10, 1: 7}, "b": {2: 5}}, counts{"a": {0: 4, 1: 7}})
	if got["a"][0] != 6 || got["a"][1] != 0 || got["b"][2] != 5 || len(got["a"]) != 1 {
		t.Errorf("%v", got)
	}
}
