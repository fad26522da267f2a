// SPDX-License-Identifier: Apache-2.0

package heap

import "testing"

// What was regular about the gaps is forgotten with the sequence. A count that does not fit
// ends it, and its step with it.
func TestRegularGapsEndWithTheirSequence(t *testing.T) {
	cfg := &Config{}
	c := &account{}
	const depth = 256
	now := int64(0)
	see := func(value uint64) {
		now += 1e6
		c.see(cfg, &startEntry{value: value, length: 100, at: now, wall: now, bits: 48}, depth, false)
	}
	for i := uint64(0); i < 8000; i++ {
		if i < 100 || i%4 != 0 { // every second count is used, and each fourth of those is missing
			see(2 * i)
		}
	}
	if g := c.found(); g.Every != 4 || c.step != 2 {
		t.Fatalf("each %d-th of step %d is missing, want 4 of 2", g.Every, c.step)
	}
	see(2*8000 + 1)
	if g := c.found(); g.Every != 0 || c.step != 0 {
		t.Errorf("after a count that does not fit: each %d-th of step %d", g.Every, c.step)
	}
}
