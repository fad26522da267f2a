// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// manyPointers makes a heap of three packets with n different item pointers in
// each.
func manyPointers(cnt uint64, n int) [][]byte {
	f := spead.Flavour48
	var out [][]byte
	for i := range int64(3) {
		var ptrs []spead.Pointer
		for k := range n {
			ptrs = append(ptrs, f.Immediate(0x1000+uint64(k), cnt<<8|uint64(i)))
		}
		out = append(out, raw(f, cnt, 300, i*100, content(cnt, 300)[i*100:(i+1)*100], ptrs...))
	}
	return out
}

// suspender stops one thread at its k-th step and lets all others pass.
type suspender struct {
	left    atomic.Int64 // steps until the stop; below 0: nobody is to be stopped
	stopped chan string
	resume  chan bool
}

func suspendAt(k int) *suspender {
	s := &suspender{stopped: make(chan string, 1), resume: make(chan bool)}
	s.left.Store(int64(k))
	hook := func(point string) {
		if s.left.Load() < 0 {
			return
		}
		if s.left.Add(-1) == -1 {
			s.stopped <- point
			<-s.resume
		}
	}
	StepHook, pool.StepHook = hook, hook
	return s
}

func unhook() { StepHook, pool.StepHook = nil, nil }

// A thread suspended before or after any of its atomic steps stops no other:
// the others finish their packets, start heaps, complete them and hand them on;
// and when it goes on, nothing is lost, twice, or unaccounted for.
func TestSuspendedThreadStopsNobody(t *testing.T) {
	defer unhook()
	for name, sc := range map[string]func(r *rig){
		// What the suspended thread, number 0, does.
		"starts and completes a heap": func(r *rig) { r.feed(0, parts(1, 3, 100)...) },
		"half of a shared heap": func(r *rig) {
			p := parts(2, 4, 100)
			r.feed(0, p[0], p[2])
		},
		"out of order":      func(r *rig) { p := parts(1, 5, 100); r.feed(0, p[4], p[2], p[0], p[3], p[1]) },
		"heaps of a packet": func(r *rig) { r.feed(0, parts(1, 1, 100)[0], parts(3, 1, 100)[0]) },
		"evicts": func(r *rig) {
			for cnt := uint64(60); cnt < 66; cnt++ {
				r.feed(0, parts(cnt, 2, 100)[0])
			}
		},
		"fills the ring": func(r *rig) {
			for cnt := uint64(60); cnt < 70; cnt++ {
				r.feed(0, parts(cnt, 2, 100)...)
			}
		},
		"takes heaps": func(r *rig) {
			r.feed(0, parts(1, 1, 100)[0], parts(3, 1, 100)[0])
			r.take()
		},
		"many pointers": func(r *rig) { r.feed(0, manyPointers(1, 40)...) },
	} {
		t.Run(name, func(t *testing.T) {
			for k := 0; ; k++ {
				if !suspendOnce(t, fmt.Sprintf("step %d", k), k, sc) {
					if k == 0 {
						t.Fatal("no steps")
					}
					t.Logf("%d steps", k)
					return
				}
			}
		})
	}
}

// suspendOnce runs the scenario with thread 0 suspended at its k-th step; false
// if it has no more steps than that.
func suspendOnce(t *testing.T, step string, k int, scenario func(*rig)) bool {
	r := newRig(t, pool.ShareConfig{Live: 4, Ring: 4, Held: 2, Threads: 3, Largest: 4096, SmallBelow: 200}, Config{OnFull: DropOldest, Incomplete: true})
	s := suspendAt(k)
	done := make(chan bool)
	go func() { scenario(r); close(done) }()
	select {
	case point := <-s.stopped:
		step += " (" + point + ")"
	case <-done:
		s.left.Store(-1)
		r.end()
		return false
	}

	// While it stands there, two others feed, one after the other, packets of
	// the heap it may have in its hands and of many others.
	others := make(chan []uint64)
	go func() {
		var came []uint64
		p := parts(2, 4, 100)
		r.feed(1, p[1], p[3])
		for cnt := uint64(10); cnt < 30; cnt++ {
			q := parts(cnt, 3, 100)
			r.feed(1, q[0])
			r.feed(2, q[1], q[2])
			came = append(came, r.take()...)
			r.feed(2, parts(cnt+100, 1, 50)...)
			came = append(came, r.take()...)
		}
		r.feed(1, manyPointers(50, 40)...)
		came = append(came, r.take()...)
		others <- came
	}()
	var came []uint64
	select {
	case came = <-others:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: the others wait for the suspended thread", step)
	}
	seen := map[uint64]bool{}
	for _, cnt := range came {
		if seen[cnt] {
			t.Errorf("%s: heap %d came twice", step, cnt)
		}
		seen[cnt] = true
	}
	for cnt := uint64(10); cnt < 30; cnt++ {
		// A ring of which the suspended thread has taken a cell may drop the
		// oldest heap, so it is the number of heaps that counts.
		if !seen[cnt] && r.Stats().Counts[ledger.HeapsRingFull] == 0 {
			t.Errorf("%s: heap %d of the others did not come", step, cnt)
		}
	}
	close(s.resume)
	<-done
	r.end()
	if t.Failed() {
		t.Fatal(step)
	}
	return true
}
