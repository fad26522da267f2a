// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"os"
	"testing"
)

// TestGuardTakeAfterClose: a closed pool has no slot, whether its memory is unmapped
// already or a slot is still held.
func TestGuardTakeAfterClose(t *testing.T) {
	for _, held := range []int{0, 1} {
		p, err := New(Config{
			Shares: []ShareConfig{{Live: 2, Largest: 4096, SmallBelow: 1}}, Node: -1, NoLock: true, Guard: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		s := p.Share(0)
		var slots []int
		for range held {
			slots = append(slots, take(t, s, 100))
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 { // a slot that is not given back would be missing in the third
			if slot, ok := s.Take(100); ok {
				t.Errorf("with %d held: slot %d of a closed pool", held, slot)
			}
		}
		for _, slot := range slots {
			clear(s.Bytes(slot)) // still accessible
		}
		release(t, s, slots...)
		if c := s.Counts(); c.Filling != 0 || c.Free != s.Slots() || !p.unmapped.Load() {
			t.Errorf("with %d held: %+v, unmapped %v", held, c, p.unmapped.Load())
		}
	}
}

// TestGuardPages: a guarded slot has pages of its own, also where pages are larger
// than usual. Other slots do not grow with the page.
func TestGuardPages(t *testing.T) {
	defer func(n int) { pageSize = n }(pageSize)
	for _, tt := range []struct {
		page         int
		guard        bool
		large, small int
	}{
		{4096, true, 16384, 12288},
		{4096, false, 16384, 12288},
		{64 << 10, true, 64 << 10, 0}, // a small slot would not be smaller
		{64 << 10, false, 16384, 12288},
	} {
		if tt.guard && tt.page < os.Getpagesize() {
			continue
		}
		pageSize = tt.page
		p, err := New(Config{Shares: []ShareConfig{{Live: 2, Largest: 5000, SmallBelow: 1}}, Node: -1, NoLock: true, Guard: tt.guard})
		if err != nil {
			t.Fatal(err)
		}
		s := p.Share(0)
		if s.SlotSize() != tt.large || s.SmallSize() != tt.small {
			t.Errorf("pages of %d, guarded %v: slots of %d and %d bytes, want %d and %d",
				tt.page, tt.guard, s.SlotSize(), s.SmallSize(), tt.large, tt.small)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
