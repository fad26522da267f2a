// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

import (
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// Threads that add the same pointers at a time take no more room than a packet of each. The
// heap has each pointer once, wherever one of the threads is stopped.
func TestPointersOfTwoThreads(t *testing.T) {
	defer unhook()
	const n, packets = 6, 12
	p := many(n)
	reversed := slices.Clone(p)
	slices.Reverse(reversed)
	feed := func(r *rig, thread, i int) {
		ptrs := slices.Concat(p[i%n:], p[:i%n])
		if i%3 == 1 {
			ptrs = reversed
		}
		r.feed(thread, raw(f48, 1, packets*8, int64(i)*8, make([]byte, 8), ptrs...))
	}
	points := 0
	for k := 0; ; k++ {
		r := newRig(t, pool.ShareConfig{Threads: 2, Largest: 4096}, Config{MaxItems: 2 * n})
		s := suspendAt(k)
		done := make(chan bool)
		go func() { feed(r, 0, packets-1); close(done) }()
		suspended := false
		select {
		case point := <-s.stopped:
			suspended = true
			if strings.HasPrefix(point, "pointers.") {
				points++
			}
		case <-done:
			s.left.Store(-1)
		}
		for i := range packets - 1 {
			feed(r, 1, i)
		}
		if suspended {
			close(s.resume)
			<-done
		}
		unhook()
		r.wantFate(ledger.TooManyItems, 0)
		h := r.heap()
		if len(h.Items()) != n {
			t.Errorf("stopped at step %d: %d items, want %d", k, len(h.Items()), n)
		}
		h.Release()
		r.end()
		r.close()
		if !suspended {
			break
		}
	}
	if points < 3+2*n {
		t.Errorf("stopped at %d steps of the log: this tests too little", points)
	}
}
