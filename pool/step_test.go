// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestSuspended stops a goroutine at each of its atomic steps in turn. While
// it stands there, others run whole histories on the same share: they must
// finish, find every slot but the one in the stopped goroutine's hands, and
// leave lists and counts that are right when it goes on.
func TestSuspended(t *testing.T) {
	const slots = 4
	type world struct {
		p     *Pool
		s     *Share
		mine  int   // the slot the operation works on
		holds []int // what the operation left in the hands of its goroutine
	}
	taken := func(marks int) func(w *world) {
		return func(w *world) {
			w.mine, _ = w.s.Take(1)
			if marks > 0 {
				w.s.MarkReady(w.mine)
			}
			if marks > 1 {
				w.s.MarkHeld(w.mine)
			}
		}
	}
	nothing := func(*world) {}
	doTake := func(w *world) {
		if slot, ok := w.s.Take(1); ok {
			w.holds = append(w.holds, slot)
		}
	}
	doFree := func(w *world) {
		if err := w.s.Free(w.mine); err != nil {
			t.Error(err)
		}
	}
	operations := []struct {
		name   string
		before func(*world)
		do     func(*world)
	}{
		{"take", nothing, doTake},
		{"free filling", taken(0), doFree},
		{"free ready", taken(1), doFree},
		{"free held", taken(2), doFree},
		{"mark ready", taken(0), func(w *world) { w.s.MarkReady(w.mine); w.holds = append(w.holds, w.mine) }},
		{"mark held", taken(1), func(w *world) { w.s.MarkHeld(w.mine); w.holds = append(w.holds, w.mine) }},
		{"take, free, take", nothing, func(w *world) {
			if slot, ok := w.s.Take(1); ok {
				w.mine = slot
				doFree(w)
			}
			doTake(w)
		}},
	}

	// What the others do meanwhile; they return the slots they go on holding.
	takeAll := func(s *Share) (all []int) {
		for {
			slot, ok := s.Take(1)
			if !ok {
				return all
			}
			all = append(all, slot)
		}
	}
	freeAll := func(s *Share, all []int) {
		for _, slot := range all {
			if err := s.Free(slot); err != nil {
				t.Error(err)
			}
		}
	}
	meanwhile := []struct {
		name string
		do   func(s *Share) []int
	}{
		{"whole lives", func(s *Share) []int {
			for range 3 {
				all := takeAll(s)
				if len(all) < slots-1 {
					t.Errorf("one stopped goroutine leaves %d of %d slots", len(all), slots)
				}
				for _, slot := range all {
					s.MarkReady(slot)
					s.MarkHeld(slot)
				}
				freeAll(s, all)
				all = takeAll(s)
				slices.Reverse(all)
				freeAll(s, all)
			}
			return nil
		}},
		{"all taken and kept", takeAll},
		// The top slot comes back, the one below it does not: a swap that
		// looked only at the top would make a taken slot the new top.
		{"top back, second kept", func(s *Share) []int {
			all := takeAll(s)
			for i, slot := range all {
				if i != 1 {
					defer freeAll(s, []int{slot})
				}
			}
			return all[1:2]
		}},
	}

	for _, op := range operations {
		for _, other := range meanwhile {
			t.Run(op.name+"/"+other.name, func(t *testing.T) {
				for n := 0; ; n++ {
					w := &world{p: newPool(t, ShareConfig{Live: slots, Largest: 1})}
					w.s = w.p.Share(0)
					op.before(w)
					point, resume, done := suspend(n, func() { op.do(w) })
					if point == "" {
						if n == 0 {
							t.Fatal("the operation has no steps")
						}
						break // n is beyond the last step
					}
					kept := other.do(w.s)
					if c := w.s.Counts(); c.LeastFree != 0 {
						t.Errorf("stopped at %s: LeastFree is %d after a Take that found nothing", point, c.LeastFree)
					}
					close(resume)
					<-done

					hands := map[int]bool{}
					for _, slot := range slices.Concat(kept, w.holds) {
						if hands[slot] {
							t.Errorf("stopped at %s: slot %d has two owners", point, slot)
						}
						hands[slot] = true
					}
					c := w.s.Counts()
					if c.Free != slots-len(hands) || c.Filling+c.Ready+c.Held != len(hands) {
						t.Errorf("stopped at %s: counts %+v with %d slots out", point, c, len(hands))
					}
					freeAll(w.s, slices.Concat(kept, w.holds))
					all := takeAll(w.s)
					if slices.Sort(all); !slices.Equal(all, []int{0, 1, 2, 3}) {
						t.Errorf("stopped at %s: afterwards the list gives %v", point, all)
					}
					freeAll(w.s, all)
				}
			})
		}
	}
}

// TestSuspendedFree stops a goroutine at each step of a Free while another
// frees the same slot: one of the two is refused.
func TestSuspendedFree(t *testing.T) {
	for n := 0; ; n++ {
		s := newPool(t, ShareConfig{Live: 2, Largest: 1}).Share(0)
		slot := take(t, s, 1)
		var first error
		point, resume, done := suspend(n, func() { first = s.Free(slot) })
		if point == "" {
			break
		}
		second := s.Free(slot)
		close(resume)
		<-done
		if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), ErrNotTaken) {
			t.Errorf("stopped at %s: the two frees gave %v and %v", point, first, second)
		}
		if c := s.Counts(); c.Free != 2 {
			t.Errorf("stopped at %s: counts %+v", point, c)
		}
	}
}

// TestSuspendedClose stops a goroutine at each step of a Take, a Free or the
// Close, while another does what is missing to the end of the pool: one of them
// unmaps, whoever it is, and not while a slot is out.
func TestSuspendedClose(t *testing.T) {
	for _, op := range []string{"take", "free", "close", "take, guarded", "free, guarded", "close, guarded"} {
		t.Run(op, func(t *testing.T) {
			op, guarded := strings.CutSuffix(op, ", guarded")
			for n := 0; ; n++ {
				p, err := New(Config{
					Shares: []ShareConfig{{Live: 2, Largest: 1}, {Live: 1, Largest: 1}},
					Pages:  PagesOff, Node: -1, NoLock: true, Guard: guarded,
				})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				s, far := p.Share(0), p.Share(1)
				mine, theirs := take(t, s, 1), take(t, far, 1)
				got := -1
				point, resume, done := suspend(n, func() {
					switch op {
					case "take":
						if slot, ok := s.Take(1); ok {
							got = slot
						}
					case "free":
						release(t, s, mine)
					case "close":
						_ = p.Close()
					}
				})
				if point == "" {
					break
				}
				if op != "close" {
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
				}
				far.Bytes(theirs)[0] = 1
				release(t, far, theirs)
				if op != "free" {
					s.Bytes(mine)[0] = 1
					release(t, s, mine)
				}
				close(resume)
				<-done
				if slot, ok := far.Take(1); ok {
					t.Errorf("stopped at %s: took slot %d of a closed pool", point, slot)
				}
				if got >= 0 {
					s.Bytes(got)[0] = 1
					release(t, s, got)
				}
				if !p.unmapped.Load() || p.mapping.Bytes != nil {
					t.Errorf("stopped at %s: the memory is still mapped", point)
				}
			}
		})
	}
}

// TestSuspendedUnmap stops a goroutine at each step of a call that unmaps, and
// closes the pool meanwhile: once one has begun to unmap, no other does.
func TestSuspendedUnmap(t *testing.T) {
	for _, last := range []string{"close", "free"} {
		t.Run(last, func(t *testing.T) {
			won := false
			for n := 0; ; n++ {
				p := newPool(t, ShareConfig{Live: 1, Largest: 1}, ShareConfig{Live: 1, Largest: 1})
				do := p.Close
				if last == "free" {
					s := p.Share(1)
					slot := take(t, s, 1)
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
					do = func() error { return s.Free(slot) }
				}
				var err error
				point, resume, done := suspend(n, func() { err = do() })
				if point == "" {
					break
				}
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				if point == "unmap.won" {
					won = true
					if p.mapping.Bytes == nil {
						t.Error("another goroutine unmapped what this one was about to")
					}
				}
				close(resume)
				<-done
				if err != nil || p.mapping.Bytes != nil {
					t.Errorf("stopped at %s: %v; still mapped: %v", point, err, p.mapping.Bytes != nil)
				}
			}
			if !won {
				t.Error("the call never unmapped")
			}
		})
	}
}

// suspend runs f in a goroutine and stops it at its n-th step, counted from 0.
// It returns the name of the place, "" if f was over before; closing resume
// lets it go on, and done is closed when f has returned.
func suspend(n int, f func()) (point string, resume, done chan struct{}) {
	resume, done = make(chan struct{}), make(chan struct{})
	stopped := make(chan string)
	StepHook = func(at string) {
		if n--; n == -1 {
			stopped <- at
			<-resume
		}
	}
	go func() {
		defer close(done)
		f()
	}()
	select {
	case point = <-stopped:
	case <-done:
	}
	// The stopped goroutine is the only one that was in the hook; from now on
	// it and all others pass.
	StepHook = nil
	return point, resume, done
}

// TestInterleavings runs goroutines one step at a time, in an order drawn at
// random, so that a seed is one exact interleaving. At every step the counts
// must be one consistent set, and the marks must be the extremes they had.
func TestInterleavings(t *testing.T) {
	seeds := 2000
	if testing.Short() {
		seeds = 200
	}
	for seed := range seeds {
		if !interleave(t, uint64(seed)) {
			t.Fatalf("seed %d fails", seed)
		}
	}
}

func interleave(t *testing.T, seed uint64) (ok bool) {
	const goroutines, lives = 3, 4
	rng := rand.New(rand.NewPCG(seed, 0))
	p, err := New(Config{Shares: []ShareConfig{{Live: 1 + rng.IntN(3), Largest: 1}}, Pages: PagesOff, Node: -1, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Share(0)
	owner := make([]int, s.Slots()) // goroutine+1; 0: none. One goroutine runs at a time.
	var fault error

	var (
		running int // whose turn it is
		turn    [goroutines]chan struct{}
		yield   = make(chan bool) // true: the goroutine is over
	)
	StepHook = func(string) {
		me := running
		yield <- false
		<-turn[me]
	}
	defer func() { StepHook = nil }()
	for me := range goroutines {
		turn[me] = make(chan struct{})
		script := rand.New(rand.NewPCG(seed, uint64(me+1)))
		go func() {
			<-turn[me]
			for range lives {
				slot, ok := s.Take(1)
				if !ok {
					continue
				}
				if owner[slot] != 0 {
					fault = fmt.Errorf("slot %d has two owners", slot)
				}
				owner[slot] = me + 1
				switch script.IntN(3) {
				case 2:
					s.MarkReady(slot)
					s.MarkHeld(slot)
				case 1:
					s.MarkReady(slot)
				}
				owner[slot] = 0
				if err := s.Free(slot); err != nil {
					fault = err
				}
			}
			yield <- true
		}()
	}

	want := Counts{LeastFree: s.Slots()}
	alive := []int{0, 1, 2}
	for len(alive) > 0 {
		i := rng.IntN(len(alive))
		running = alive[i]
		turn[running] <- struct{}{}
		if <-yield {
			alive = slices.Delete(alive, i, i+1)
		}
		c := s.Counts()
		if c.Free < 0 || c.Filling+c.Ready+c.Held+c.Free != s.Slots() {
			fault = fmt.Errorf("counts %+v", c)
		}
		want.HighFilling = max(want.HighFilling, c.Filling)
		want.HighReady = max(want.HighReady, c.Ready)
		want.HighHeld = max(want.HighHeld, c.Held)
		want.LeastFree = min(want.LeastFree, int(s.large.free.Load()), c.LeastFree)
	}
	want.Free = s.Slots()
	if got := s.Counts(); fault == nil && got != want {
		fault = fmt.Errorf("at rest %+v, want %+v", got, want)
	}
	StepHook = nil
	if err := p.Close(); fault == nil {
		fault = err
	}
	if fault != nil {
		t.Errorf("seed %d: %v", seed, fault)
	}
	return fault == nil
}
