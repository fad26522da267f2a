// SPDX-License-Identifier: Apache-2.0

package pulse

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func at(now time.Duration) func() int64 { return func() int64 { return int64(now) } }

// TestTimes: each span of time is in one of the states, the one under way included.
func TestTimes(t *testing.T) {
	const s = time.Second
	var p Pulse
	p.Begin(int64(10 * s))
	p.Enter(Waiting, at(11*s)) // 1 s of work
	p.Enter(Working, at(14*s)) // 3 s of waiting
	p.Turn(int64(14 * s))
	p.Enter(Blocked, at(16*s)) // 2 s of work
	for _, c := range []struct {
		now  time.Duration
		want Reading
	}{
		{16 * s, Reading{State: Blocked, Turns: 1, Beat: 2 * s, Working: 3 * s, Waiting: 3 * s}},
		{21 * s, Reading{State: Blocked, Turns: 1, Beat: 7 * s, Working: 3 * s, Waiting: 3 * s, Blocked: 5 * s}},
	} {
		if got := p.Read(at(c.now)); got != c.want {
			t.Errorf("at %v: %+v, want %+v", c.now, got, c.want)
		}
	}
	p.Enter(Working, at(22*s)) // 6 s of blocking
	p.Turn(int64(22 * s))
	p.Enter(Ended, at(22*s))
	want := Reading{State: Ended, Turns: 2, Beat: 78 * s, Working: 3 * s, Waiting: 3 * s, Blocked: 6 * s}
	if got := p.Read(at(100 * s)); got != want {
		t.Errorf("long after its end: %+v, want %+v", got, want)
	}
}

// TestAlive: who waits for packets comes round its loop, and who does not is stuck. Who
// waits for the consumer is not.
func TestAlive(t *testing.T) {
	const limit = time.Second
	for _, c := range []struct {
		name  string
		state State
		beat  time.Duration
		want  bool
	}{
		{"it works", Working, limit, true},
		{"a turn takes too long", Working, limit + 1, false},
		{"it waits for packets", Waiting, limit, true},
		{"its wait does not end", Waiting, limit + 1, false},
		{"the consumer is slow", Blocked, time.Hour, true},
		{"it has ended", Ended, time.Hour, true},
	} {
		var p Pulse
		p.Begin(0)
		p.Enter(c.state, at(0))
		r := p.Read(at(c.beat))
		if got := r.Alive(limit); got != c.want {
			t.Errorf("%s: alive %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNil: a source that nobody looks at has no pulse.
func TestNil(t *testing.T) {
	var p *Pulse
	p.Enter(Waiting, at(1))
	p.Turn(1)
}

// TestReadings: while the thread writes, no reading has less of anything than the one
// before, and the times add up to that since the beginning.
func TestReadings(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1)
	var p Pulse
	p.Begin(1)
	var stop atomic.Bool
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; !stop.Load(); i++ {
			p.Turn(clock.Add(3))
			p.Enter(State(i%3), func() int64 { return clock.Add(7) })
		}
	})
	var last Reading
	var now int64
	for range 20000 {
		r := p.Read(func() int64 { now = clock.Add(1); return now })
		if r.Working < last.Working || r.Waiting < last.Waiting || r.Blocked < last.Blocked || r.Turns < last.Turns {
			t.Fatalf("%+v after %+v", r, last)
		}
		if sum := int64(r.Working + r.Waiting + r.Blocked); sum != now-1 {
			t.Fatalf("%+v: %d ns of %d", r, sum, now-1)
		}
		last = r
	}
	stop.Store(true)
	writing.Wait()
}

func TestNoAllocations(t *testing.T) {
	var p Pulse
	clock := at(time.Second)
	n := testing.AllocsPerRun(100, func() {
		p.Enter(Waiting, clock)
		p.Enter(Working, clock)
		p.Turn(2)
		_ = p.Read(clock)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
