// SPDX-License-Identifier: Apache-2.0

package pool

import "sync/atomic"

// Counts is how a share's slots are used, of both classes together unless said
// otherwise. Free + Filling + Ready + Held is always Slots().
type Counts struct {
	Free, Filling, Ready, Held int

	// The most there have been at once. HighFilling stands against
	// Live + Threads of [ShareConfig], HighReady against Ring, HighHeld against
	// Held.
	HighFilling, HighReady, HighHeld int

	// The least free slots there have been: large ones, and small ones, where
	// 0 also means that the share has none. 0 is exact: it says that the last
	// slot was taken. Higher values may leave out slots that other goroutines
	// were taking or freeing at that moment.
	LeastFree, LeastFreeSmall int
}

// Counts returns the counts now. Any goroutine may call it at any time. The
// four states are of one moment; the marks are read after it, so that none is
// behind them at rest.
func (s *Share) Counts() Counts {
	states := s.states.Load()
	c := Counts{
		Filling:        int(count(states, filling)),
		Ready:          int(count(states, ready)),
		Held:           int(count(states, held)),
		HighFilling:    int(s.high[filling].Load()),
		HighReady:      int(s.high[ready].Load()),
		HighHeld:       int(s.high[held].Load()),
		LeastFree:      int(s.large.least.Load()),
		LeastFreeSmall: int(s.small.least.Load()),
	}
	c.Free = len(s.slots) - c.Filling - c.Ready - c.Held
	return c
}

// one is what a slot in state x adds to Share.states.
func one(x state) uint64 { return 1 << (fieldBits * (x - filling)) }

// count reads the field of x out of Share.states.
func count(states uint64, x state) int64 {
	return int64(states >> (fieldBits * (x - filling)) & fieldMask)
}

// raise makes mark at least n.
func raise(mark *atomic.Int64, n int64) {
	for {
		step("raise.load")
		most := mark.Load()
		if most >= n {
			return
		}
		step("raise.swap")
		if mark.CompareAndSwap(most, n) {
			step("raise.swapped")
			return
		}
	}
}

// lower makes mark at most n.
func lower(mark *atomic.Int64, n int64) {
	for {
		step("lower.load")
		least := mark.Load()
		if least <= n {
			return
		}
		step("lower.swap")
		if mark.CompareAndSwap(least, n) {
			step("lower.swapped")
			return
		}
	}
}
