package heap

import (
	"testing"

	"github.com/speadx/speadx/spead"
)

// Heaps are written past the cache where those that are filled at once are too large
// for it, also when just those that began together have ended together.
func TestCrowd(t *testing.T) {
	for _, c := range []struct {
		size int64
		live []int // when each heap begins
		past bool  // the last of them
	}{
		{1 << 20, []int{1, 1, 1, 1}, false},
		{8 << 20, []int{1}, false},
		{16 << 20, []int{1}, true},
		{1 << 40, []int{1 << 16}, true},
		{1 << 20, count(1, 15), false},
		{1 << 20, count(1, 16), true},
		{1 << 20, append(count(1, 64), 1), true},
		{1 << 20, append(count(1, 64), count(1, 60)...), true},
		{1 << 20, append(count(1, 64), make([]int, 400)...), false},
		{64 << 10, append(count(1, 64), 1), false},
		{-1, count(1, 64), false},
	} {
		var w crowd
		h := spead.Packet{HeapLength: c.size}
		for _, n := range c.live {
			w.see(n)
		}
		if w.past(&h) != c.past {
			t.Errorf("heaps of %d bytes, %v at once: past the cache is %v", c.size, c.live, !c.past)
		}
	}
}

func count(from, to int) (all []int) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}
