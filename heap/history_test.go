// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"math/rand/v2"
	"testing"
)

// With n cells, a count is behind if it is far below the last 2n heaps, and is not if it is
// near one of the last n. Heaps that were forgotten do not count.
func TestBehind(t *testing.T) {
	const cells, depth = 16, 20
	rng := rand.New(rand.NewPCG(1, 7))
	yes, no := 0, 0
	for range 200 {
		h := newHistory(nil, cells, 1, 0x9e3779b97f4a7c15)
		spare := h.spare(0)
		var counts []uint64 // not forgotten
		at := uint64(1000)
		for range 100 {
			switch rng.IntN(20) {
			case 0:
				at = rng.Uint64N(2000)
			case 1:
				h.forget()
				counts = nil
			}
			at++
			if !h.start(h.next(), at, 1, 0, 1, &spare) {
				t.Fatal("a heap did not start")
			}
			counts = append(counts, at)
			near := func(cnt uint64, last int) bool {
				for _, c := range counts[max(0, len(counts)-last):] {
					if cnt+depth >= c {
						return true
					}
				}
				return false
			}
			for range 10 {
				cnt := rng.Uint64N(2100)
				switch got := h.behind(cnt, h.next(), depth); {
				case got && near(cnt, cells):
					t.Fatalf("%d is behind, and near one of the last of %v", cnt, counts)
				case !got && !near(cnt, 2*cells):
					t.Fatalf("%d is not behind, and near none of the last of %v", cnt, counts)
				case got:
					yes++
				default:
					no++
				}
			}
		}
	}
	if yes < 10000 || no < 10000 {
		t.Errorf("%d times behind, %d not: this tests little", yes, no)
	}
	h := newHistory(nil, cells, 1, 1)
	if h.behind(0, h.next(), depth) {
		t.Error("something is behind nothing")
	}
}
