// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// TestSpin: a thread that does not sleep receives, and ends, like the others.
func TestSpin(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Wait = speadx.WaitSpin
	r := open(t, n, cfg)
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Heaps: 5, HeapSize: 100_000})
	checkHeaps(t, list(), 5)
	settle(t, r)
}

// TestMaxAge: a heap that lacks packets leaves by its age, also when nothing comes
// any more.
func TestMaxAge(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode, cfg.MaxAge, cfg.Incomplete = mode, 20*time.Millisecond, true
			r := open(t, n, cfg)
			sent := sendHeaps(t, n, send.Config{Heaps: 1, HeapSize: 200_000, NoDescriptors: true, NoStop: true, Faults: send.Faults{Drop: 0.3}})
			h, err := r.Next(t.Context()) // and no stop before
			if err != nil {
				t.Fatal(err)
			}
			if h.Complete() || h.Length() != 200_000 || h.Received() == 0 || h.Received() == h.Length() || h.Packets() != int64(sent.Packets) {
				t.Errorf("complete %v, %d of %d bytes, %d packets", h.Complete(), h.Received(), h.Length(), h.Packets())
			}
			var present int64
			for _, p := range h.Ranges() {
				present += p.End - p.Start
			}
			if present != h.Received() || len(h.Ranges()) < 2 {
				t.Errorf("ranges %v have %d bytes, not %d", h.Ranges(), present, h.Received())
			}
			h.Release()
			r.Stop()
			s := settle(t, r)
			checkFates(t, &s, map[ledger.Fate]uint64{ledger.DeliveredIncomplete: sent.Packets})
			if s.Streams[0].Counts[ledger.HeapsAged] != 1 {
				t.Errorf("%d heaps left by age", s.Streams[0].Counts[ledger.HeapsAged])
			}
		})
	}
}

// TestIgnoreStop: a stop item is an item like others, and the stream goes on.
func TestIgnoreStop(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.IgnoreStop = true
	r := open(t, n, cfg)
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Heaps: 2, HeapSize: heapBytes})
	awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsDelivered] == 3 })
	select {
	case <-r.Done():
		t.Error("the stream has ended")
	default:
	}
	r.Stop()
	if got := list(); len(got) != 3 || got[2].cnt != 3 || got[2].items != 1 || !got[2].complete {
		t.Errorf("heaps %+v", got)
	}
	settle(t, r)
}

// TestSubstreams: each substream has a window of its own, so that one that stands
// still is not overtaken by another.
func TestSubstreams(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Substreams, cfg.ConcurrentHeaps, cfg.Incomplete, cfg.HeapSize = 4, 1, true, heapBytes
	r := open(t, n, cfg)
	if live := r.Info().Streams[0].Sum.Live; live != 4 {
		t.Errorf("%d live heaps, want 4", live)
	}
	list := receiveAside(t, r)
	sent := sendHeaps(t, n, send.Config{Heaps: 40, HeapSize: heapBytes, MaxPacket: heapPacket, Faults: send.Faults{Reorder: 0.9, Seed: 3}, NoStop: true})
	awaitPackets(t, r, sent.Packets)
	r.Stop()
	// Packets are late by 8 at most: those of two heaps, and so of two substreams.
	checkHeaps(t, list(), 40)
	settle(t, r)
}

// TestOversizeHeap: a heap that is larger than there is room for is refused, and
// the log says what makes room for it.
func TestOversizeHeap(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.HeapSize = heapBytes
	log := &logBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := open(t, n, cfg)
	list := receiveAside(t, r)
	const size = 2 * heapBytes
	sent := sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: size, MaxPacket: heapPacket, NoDescriptors: true})
	if got := list(); len(got) != 0 {
		t.Errorf("%d heaps", len(got))
	}
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{ledger.OversizeHeap: sent.Packets - 1, ledger.StreamControl: 1})
	if s.Streams[0].Oversize != size || !log.contains(fmt.Sprintf("suggested=%d", size)) {
		t.Errorf("the first had %d bytes, and the log says %q", s.Streams[0].Oversize, log)
	}
}
