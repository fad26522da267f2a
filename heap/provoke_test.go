// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"encoding/binary"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// provoked are the fates that the assembler gives, each with what provokes it. The others are
// given on the way to it: see TestEachFateBeforeTheAssembler of package speadx.
var provoked = map[ledger.Fate]struct {
	share pool.ShareConfig
	cfg   Config
	feed  func(r *rig)
	n     uint64 // packets of that fate
}{
	ledger.Delivered: {feed: func(r *rig) { r.feed(0, parts(1, 3, 100)...) }, n: 3},
	ledger.DeliveredIncomplete: {cfg: Config{Incomplete: true},
		feed: func(r *rig) { r.feed(0, parts(1, 3, 100)[:2]...) }, n: 2},
	ledger.DiscardedIncomplete: {feed: func(r *rig) { r.feed(0, parts(1, 3, 100)[:2]...) }, n: 2},
	ledger.RingFull: {share: pool.ShareConfig{Ring: 1}, cfg: Config{OnFull: DropNewest},
		feed: func(r *rig) { r.feed(0, one(1), one(2), one(3)) }, n: 2},
	ledger.Duplicate: {feed: func(r *rig) { r.feed(0, parts(1, 3, 100)[0], parts(1, 3, 100)[0]) }, n: 1},
	ledger.Overlap: {feed: func(r *rig) {
		r.feed(0, raw(f48, 1, 300, 0, make([]byte, 100)), raw(f48, 1, 300, 50, make([]byte, 100)))
	}, n: 1},
	ledger.Late: {share: pool.ShareConfig{Live: 1}, feed: func(r *rig) {
		r.feed(0, parts(1, 2, 100)[0])
		r.feed(0, parts(2, 2, 100)...)
		r.feed(0, parts(1, 2, 100)[1])
	}, n: 1},
	ledger.Empty:         {feed: func(r *rig) { r.feed(0, raw(f48, 1, 100, 0, nil)) }, n: 1},
	ledger.StreamControl: {feed: func(r *rig) { r.feed(0, control(spead.CtrlStop, 9)) }, n: 1},
	ledger.TooShort:      {feed: func(r *rig) { r.feed(0, one(1)[:7]) }, n: 1},
	ledger.BadMagic:      {feed: func(r *rig) { r.feed(0, changed(one(1), 0, 0x54)) }, n: 1},
	ledger.BadFlavour:    {feed: func(r *rig) { r.feed(0, changed(one(1), 2, 9)) }, n: 1},
	ledger.FlavourDiffers: {feed: func(r *rig) {
		r.feed(0, parts(1, 2, 100)[0], raw(spead.Flavour(40), 1, 200, 100, make([]byte, 100)))
	}, n: 1},
	ledger.ItemsOverflow:   {feed: func(r *rig) { r.feed(0, changed(one(1), 7, 200)) }, n: 1},
	ledger.MissingItems:    {feed: func(r *rig) { r.feed(0, without(one(1))) }, n: 1},
	ledger.PayloadOverflow: {feed: func(r *rig) { p := one(1); r.feed(0, p[:len(p)-1]) }, n: 1},
	ledger.SizeMismatch:    {feed: func(r *rig) { r.feed(0, append(one(1), 0)) }, n: 1},
	ledger.HeapOverflow:    {feed: func(r *rig) { r.feed(0, raw(f48, 1, 100, 50, make([]byte, 100))) }, n: 1},
	ledger.LengthConflict: {feed: func(r *rig) {
		r.feed(0, parts(1, 2, 100)[0], raw(f48, 1, 300, 100, make([]byte, 100)))
	}, n: 1},
	ledger.UnsizedRefused: {cfg: Config{RefuseUnsized: true}, feed: func(r *rig) { r.feed(0, raw(f48, 1, -1, 0, make([]byte, 10))) }, n: 1},
	ledger.OversizeHeap:   {feed: func(r *rig) { r.feed(0, raw(f48, 1, 1<<20, 0, make([]byte, 10))) }, n: 1},
	ledger.TooManyItems: {cfg: Config{MaxItems: 2}, feed: func(r *rig) {
		r.feed(0, raw(f48, 1, 10, 0, make([]byte, 10), f48.Immediate(0x1001, 1), f48.Immediate(0x1002, 2), f48.Immediate(0x1003, 3)))
	}, n: 1},
	ledger.TooManyRanges: {cfg: Config{MaxRanges: 2}, feed: func(r *rig) {
		for i := range int64(8) {
			r.feed(0, raw(f48, 1, 4096, 512*i, make([]byte, 64)))
		}
	}, n: 6},
	ledger.HeadersSplit: {feed: func(r *rig) {
		p := one(1)
		r.Feeder(0).Feed([]Packet{{First: p[:16], Rest: [][]byte{p[16:]}, Len: len(p)}}, r.now, r.now)
	}, n: 1},
	ledger.NoSlot: {feed: func(r *rig) {
		var held []*Heap
		for i := range uint64(100) {
			r.feed(0, one(i))
			if h := r.TryNext(); h != nil {
				held = append(held, h)
			}
		}
		for _, h := range held {
			h.Release()
		}
	}, n: 89},
	ledger.AfterStop: {feed: func(r *rig) {
		r.Feeder(0).Finish()
		r.feed(0, one(1))
	}, n: 1},
}

// changed is a packet with another byte.
func changed(p []byte, at int, b byte) []byte {
	p[at] = b
	return p
}

// without is a packet whose heap count is another item.
func without(p []byte) []byte {
	binary.BigEndian.PutUint64(p[8:], uint64(f48.Immediate(0x1234, 1)))
	return p
}

// TestEachFate provokes each fate that the assembler gives, and checks its counter and the sums.
// It fails if there is a fate that nothing provokes.
func TestEachFate(t *testing.T) {
	for f := range ledger.AfterStop + 1 {
		s, ok := provoked[f]
		if !ok {
			t.Errorf("nothing provokes %v", f)
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			r := newRig(t, s.share, s.cfg)
			s.feed(r)
			r.Feeder(0).Finish()
			r.take()
			got := r.Stats()
			if got.Fates[f] != s.n {
				t.Errorf("%d packets, want %d\n%s", got.Fates[f], s.n, fates(got))
			}
			if got.Counts[ledger.PacketsFed] != got.Fates.Settled() || got.InFlight != 0 {
				t.Errorf("%d packets, %d with a fate, %d in flight", got.Counts[ledger.PacketsFed], got.Fates.Settled(), got.InFlight)
			}
		})
	}
}
