// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// TestRepeatedHeaps: whole heaps whose counts were there already are counted, and delivered on
// request. Single packets that the network sends twice are no heaps.
func TestRepeatedHeaps(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	ofSizes := func(t *testing.T, name string, feed func(r *rig, size int), came []uint64, repeated uint64) {
		t.Helper()
		for _, size := range []int{1, 2, 5} { // packets of a heap
			for _, how := range []Repeats{RepeatsDrop, RepeatsDeliver} {
				r := newRig(t, pool.ShareConfig{Ring: 64}, Config{Repeats: how})
				feed(r, size)
				want := slices.Clone(came)
				if how == RepeatsDrop {
					slices.Sort(want)
					want = slices.Compact(want)
				}
				got := r.end()
				if how == RepeatsDrop {
					slices.Sort(got)
				}
				s := r.Stats()
				if !slices.Equal(got, want) || s.Counts[ledger.HeapsRepeated] != repeated || s.Counts[ledger.HeapsMissing] != 0 || s.Repeats != how {
					t.Errorf("%s, %d packets, %v: heaps %d, want %d; %d repeated, want %d\n%s", name, size, how, got, want, s.Counts[ledger.HeapsRepeated], repeated, fates(s))
				}
				if how == RepeatsDeliver && s.Fates[ledger.Duplicate]+s.Fates[ledger.Late]+s.Fates[ledger.DiscardedIncomplete] != 0 {
					t.Errorf("%s, %d packets: not all are delivered\n%s", name, size, fates(s))
				}
			}
		}
	}
	ofSizes(t, "constant", func(r *rig, size int) {
		for range 20 {
			r.feedFrom(0, a, parts(7, size, 50)...)
		}
	}, slices.Repeat([]uint64{7}, 20), 19)
	ofSizes(t, "each twice", func(r *rig, size int) {
		for cnt := range uint64(20) {
			r.feedFrom(0, a, parts(cnt, size, 50)...)
			r.feedFrom(0, a, parts(cnt, size, 50)...)
		}
	}, func() (all []uint64) {
		for cnt := range uint64(20) {
			all = append(all, cnt, cnt)
		}
		return all
	}(), 20)
	ofSizes(t, "begun again", func(r *rig, size int) {
		for range 3 {
			for cnt := range uint64(20) {
				r.feedFrom(0, a, parts(cnt, size, 50)...)
			}
		}
	}, slices.Repeat(count(0, 19), 3), 40)
	ofSizes(t, "none", func(r *rig, size int) {
		for cnt := range uint64(20) {
			r.feedFrom(0, a, parts(cnt, size, 50)...)
		}
	}, count(0, 19), 0)
	ofSizes(t, "forgotten", func(r *rig, size int) {
		r.feedFrom(0, a, parts(7, size, 50)...)
		r.now += 3 * second
		r.feedFrom(0, b, parts(8, size, 50)...)
	}, []uint64{7, 8}, 0)

	// Copies of a heap's last packets are no heap, however many there are.
	r := newRig(t, pool.ShareConfig{Ring: 64}, Config{})
	p := parts(7, 4, 50)
	r.feedFrom(0, a, p...)
	for range 20 {
		r.feedFrom(0, a, p[2:]...)
	}
	if s := r.Stats(); s.Counts[ledger.HeapsRepeated] != 0 || s.Fates[ledger.Duplicate] != 40 {
		t.Errorf("%d heaps repeated\n%s", s.Counts[ledger.HeapsRepeated], fates(s))
	}
	// The first one is named, with both senders.
	r.feedFrom(0, b, p...)
	if s := r.Stats(); s.Counts[ledger.HeapsRepeated] != 1 || s.Repeated != (Repeated{7, [2]netip.AddrPort{a.AddrPort(), b.AddrPort()}}) {
		t.Errorf("%d heaps repeated, the first %+v", s.Counts[ledger.HeapsRepeated], s.Repeated)
	}
	r.end()
}

// Late packets of a heap that left incomplete start no heap, also where repeats are delivered.
func TestDeliveredRepeatsStartNoGhost(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 2}, Config{Repeats: RepeatsDeliver})
	for cnt := uint64(1); cnt <= 3; cnt++ {
		r.feed(0, parts(cnt, 2, 100)[0])
	}
	r.feed(0, parts(1, 2, 100)[1]) // heap 1 was evicted by heap 3
	r.feed(0, parts(2, 2, 100)[1], parts(3, 2, 100)[1])
	wantCounts(t, r.end(), 2, 3)
	r.wantFate(ledger.Late, 1)
}

func TestParseRepeats(t *testing.T) {
	for _, r := range []Repeats{RepeatsDrop, RepeatsDeliver} {
		if got, err := ParseRepeats(r.String()); got != r || err != nil {
			t.Errorf("%v comes back as %v, %v", r, got, err)
		}
	}
	if _, err := ParseRepeats("twice"); err == nil {
		t.Error("twice is no error")
	}
}
