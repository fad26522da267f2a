// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

import (
	"testing"

	"github.com/speadx/speadx/pool"
)

// Of the history a packet has a few heaps looked at, however many are remembered and
// wherever its count lies.
func TestFewHeapsLookedAt(t *testing.T) {
	defer unhook()
	const window, most = 64, 100 // chains of the hash table vary; all that are remembered are 4096
	r := newRig(t, pool.ShareConfig{Live: window, Ring: 8, Largest: 4096}, Config{})
	looked := 0
	StepHook = func(point string) {
		if point == "history.at" {
			looked++
		}
	}
	feed := func(cnt uint64) {
		t.Helper()
		looked = 0
		r.feed(0, parts(cnt, 2, 50)...)
		r.feed(0, parts(cnt+1<<40, 1, 50)...)
		r.take()
		if looked > most {
			t.Fatalf("%d heaps were looked at for packets of heap %d, want %d at most", looked, cnt, most)
		}
	}
	const high = 1 << 30
	n := uint64(memoryOf(window, window))
	for cnt := uint64(high); cnt < high+n; cnt++ {
		feed(cnt)
	}
	feed(1) // begins again, or is another sender
	for cnt := high + n; cnt < high+2*n; cnt++ {
		feed(cnt)
		if cnt%100 == 0 {
			feed(cnt / 100 % 50) // all but one of those remembered are ahead of it
		}
	}
	r.end()
}
