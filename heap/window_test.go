// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"math/rand/v2"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// interleave is what several senders send at the same time: packets in turn, each sender with
// heaps of its own. A sender begins a part of a heap later than the one before it, and some
// packets change places with the next one of their sender. Of slow senders each packet takes
// as long as slowness packets of others.
func interleave(senders, heaps, size, slowness int) (packets [][]byte, from []int) {
	rng := rand.New(rand.NewPCG(uint64(senders), uint64(size)))
	lanes := make([][][]byte, senders)
	for s := range lanes {
		for h := range heaps {
			lanes[s] = append(lanes[s], parts(uint64(h*senders+s+1), size, 50)...)
		}
		for i := 0; i+1 < len(lanes[s]); i += 2 {
			if rng.IntN(4) == 0 {
				lanes[s][i], lanes[s][i+1] = lanes[s][i+1], lanes[s][i]
			}
		}
	}
	for turn, left := 0, senders; left > 0; turn++ {
		left = 0
		for s, lane := range lanes {
			if len(lane) == 0 {
				continue
			}
			left++
			if turn < s*size/senders || s == 0 && turn%slowness != 0 {
				continue
			}
			packets, from = append(packets, lane[0]), append(from, s)
			lanes[s] = lane[1:]
		}
	}
	return packets, from
}

// feedSenders feeds such packets, each as a batch, and returns how many heaps came.
func (r *rig) feedSenders(packets [][]byte, from []int) (heaps int) {
	for i, p := range packets {
		r.feedFrom(0, senderNo(from[i]), p)
		heaps += len(r.take())
	}
	return heaps + len(r.end())
}

// TestWindowOfSenders: the window grows with the senders, so that none evicts the heaps of
// another. Where there is no room for that, the packets that are late tell the window that
// would do.
func TestWindowOfSenders(t *testing.T) {
	const heaps, size, first = 12, 6, 4
	for _, tt := range []struct{ senders, slowness, substreams int }{
		{1, 1, 1}, {2, 1, 1}, {3, 1, 1}, {8, 1, 1}, {8, 1, 4}, {20, 1, 1}, {64, 1, 1}, {8, 3, 1},
	} {
		packets, from := interleave(tt.senders, heaps, size, tt.slowness)
		enough := WindowFor(first, tt.senders, tt.substreams)
		share := func(window int) pool.ShareConfig {
			return pool.ShareConfig{Live: window * tt.substreams, Ring: 64, Largest: 1024}
		}
		if tt.slowness == 1 {
			r := newRig(t, share(enough+5), Config{Window: first, Substreams: tt.substreams})
			got, s := r.feedSenders(packets, from), r.Stats()
			if got != tt.senders*heaps || s.Fates[ledger.Late] != 0 || s.Window != enough || s.LateBy != 0 {
				t.Errorf("%+v: %d of %d heaps, in a window of %d, want %d\n%s", tt, got, tt.senders*heaps, s.Window, enough, fates(s))
			}
		}
		if tt.senders == 1 {
			continue
		}
		narrow := newRig(t, share(1), Config{Substreams: tt.substreams})
		narrow.feedSenders(packets, from)
		s := narrow.Stats()
		if s.Window != 1 || s.LateBy < 2 || s.Fates[ledger.Late] == 0 {
			t.Fatalf("%+v: a pinned window of 1 is %d, and packets were late by %d\n%s", tt, s.Window, s.LateBy, fates(s))
		}
		for wider, lost := range map[int64]bool{s.LateBy - 1: true, s.LateBy: false} {
			r := newRig(t, share(int(wider)), Config{Substreams: tt.substreams})
			if got := r.feedSenders(packets, from); (got < tt.senders*heaps) != lost {
				t.Errorf("%+v: packets were late by %d, and %d of %d heaps come in a window of %d", tt, s.LateBy, got, tt.senders*heaps, wider)
			}
		}
	}
}

// A window grows no further than its share has room for, by however many senders.
func TestWindowStaysWithinItsShare(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 7, Ring: 64, Largest: 1024}, Config{Window: 3})
	for n := range 40 {
		r.feedFrom(0, senderNo(n), parts(uint64(n+1), 2, 100)[0])
	}
	if s, c := r.Stats(), r.cfg.Share.Counts(); s.Window != 7 || c.Filling != 7 || c.HighFilling > 8 {
		t.Errorf("a window of %d, %d slots with live heaps, and %d at most", s.Window, c.Filling, c.HighFilling)
	}
	r.end()
	if _, err := (Config{Window: 8}).TableBytes(pool.ShareConfig{Name: "s", Live: 7, Ring: 1, Held: 1, Threads: 1, Largest: 1024}); err == nil {
		t.Error("a window of 8 heaps in a share for 7 is no error")
	}
}

// The room for more senders does not change what is remembered of one.
func TestRoomForSendersKeepsTheMemory(t *testing.T) {
	for _, window := range []int{4, 5, 124, 1028} {
		if with, without := memoryOf(window, window+14), memoryOf(window, window); with != without {
			t.Errorf("a window of %d remembers %d heaps, and %d with room for senders", window, without, with)
		}
	}
	if n := memoryOf(1, 1000); n < 4000 {
		t.Errorf("of a window that may be 1000, %d heaps are remembered", n)
	}
}
