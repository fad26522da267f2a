// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// TestMonitor: groups, frames, and the times of what came and of what was lost.
func TestMonitor(t *testing.T) {
	n := newWire(t, testnet.Options{})
	began := time.Now().Add(-time.Second)
	cfg := one(n)
	cfg.Streams = append(cfg.Streams, speadx.Stream{Name: "group", Source: "239.77.0.9:7148"})
	cfg.IgnoreStop = true
	r := open(t, n, cfg)
	groups := r.Groups()
	if len(groups) != 1 || groups[0].Interface != n.B.Name || groups[0].Group.String() != "239.77.0.9" || !groups[0].Joined {
		t.Errorf("groups %+v", groups)
	}
	frames := r.Frames()
	if len(frames) != 1 || frames[0].Device != n.B.Name || frames[0].Fill+frames[0].Driver+frames[0].Ring+frames[0].Hand != cfg.Frames {
		t.Errorf("frames %+v", frames)
	}
	for _, s := range r.Times() {
		if d, expected := s.Silent(time.Now()); !expected || d > time.Since(began) {
			t.Errorf("silent for %v, expected %v", d, expected)
		}
		if !s.LastData.IsZero() || !s.LastLoss.IsZero() || s.Ended || s.Waiting.Count != 0 {
			t.Errorf("before the first packet: %+v", s.LastData)
		}
	}
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Heaps: 20, HeapSize: 64 << 10, MaxPacket: 1472, NoStop: true})
	awaitStats(t, r, "20 heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsDelivered] == 20 })
	r.Stop()
	list()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	all := r.Times()
	if s := all[0]; s.LastData.Before(began) || s.LastData.After(time.Now()) || !s.LastLoss.IsZero() || !s.Ended ||
		s.Assembly.Count != 20 || s.Waiting.Count != 20 || s.Assembly.Sum > time.Since(began) {
		t.Errorf("%s: last data %v, last loss %v, ended %v, %d heaps assembled", s.Name, s.LastData, s.LastLoss, s.Ended, s.Assembly.Count)
	}
	if s := all[1]; s.Name != "group" || !s.LastData.IsZero() || s.Waiting.Count != 0 {
		t.Errorf("%s: last data %v", s.Name, s.LastData)
	}
	if !r.LastLoss().IsZero() {
		t.Errorf("a loss at %v", r.LastLoss())
	}
	if groups := r.Groups(); groups[0].Joined {
		t.Error("joined after Close")
	}
	if frames := r.Frames(); frames[0].Fill != 0 {
		t.Errorf("after Close: %+v", frames)
	}
}
