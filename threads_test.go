// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pulse"
	"github.com/speadx/speadx/internal/source"
)

// stuckSource hangs in one of its calls until it is let go.
type stuckSource struct {
	ringSource
	hang            chan struct{}
	reached         chan struct{}
	inReceive       bool
	sawTheTurnAfter bool
}

func (s *stuckSource) Receive(b *source.Batch, t time.Duration) (int, error) {
	if s.inReceive {
		close(s.reached)
		b.Pulse.Enter(pulse.Waiting, source.Now)
		<-s.hang
		b.Pulse.Enter(pulse.Working, source.Now)
		s.inReceive = false
	}
	return s.ringSource.Receive(b, t)
}

func (s *stuckSource) Release() {
	if !s.inReceive && !s.sawTheTurnAfter {
		s.sawTheTurnAfter = true
		close(s.reached)
		<-s.hang
	}
	s.ringSource.Release()
}

// start runs a thread that feeds s from src.
func start(t *testing.T, s *stream, src source.Source) *thread {
	t.Helper()
	th := &thread{src: src, feeders: make([]*heap.Feeder, 1), streams: make([]*stream, 1), stops: make([]stop, 1), started: make(chan struct{}), done: make(chan struct{})}
	th.feed(0, s)
	th.pulse.Begin(source.Now())
	go th.run()
	return th
}

// later is a clock that is ahead.
func later(d time.Duration) func() int64 { return func() int64 { return source.Now() + int64(d) } }

func TestStuckThread(t *testing.T) {
	const limit = time.Minute // which the test never reaches by itself
	for _, c := range []struct {
		name      string
		inReceive bool
		state     ThreadState
	}{
		{"in a wait that does not end", true, ThreadWaiting},
		{"at work", false, ThreadWorking},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := &stuckSource{hang: make(chan struct{}), reached: make(chan struct{}), inReceive: c.inReceive, sawTheTurnAfter: c.inReceive}
			src.per = 64
			th := start(t, ringStream(t, 1, 4), src)
			<-src.reached
			if err := alive([]*thread{th}, limit, source.Now); err != nil {
				t.Errorf("at first: %v", err)
			}
			var stuck *StuckError
			if err := alive([]*thread{th}, limit, later(limit)); !errors.As(err, &stuck) {
				t.Fatalf("after %v without a turn: %v", limit, err)
			}
			if len(stuck.Threads) != 1 || stuck.Threads[0].Name != "ring" || stuck.Threads[0].State != c.state || stuck.Threads[0].SinceTurn < limit {
				t.Errorf("stuck: %+v", stuck.Threads)
			}
			turns := stuck.Threads[0].Turns
			src.over.Store(true)
			close(src.hang)
			<-th.done
			if err := alive([]*thread{th}, limit, later(time.Hour)); err != nil {
				t.Errorf("after its end: %v", err)
			}
			if s := th.stats(source.Now); s.State != ThreadEnded || s.Turns <= turns {
				t.Errorf("after its end: %+v, after %d turns", s, turns)
			}
		})
	}
}

// TestBlockedThreadIsAlive: to wait for the consumer is the policy, and no fault of the
// thread. It says so, and how long it has waited.
func TestBlockedThreadIsAlive(t *testing.T) {
	s := ringStream(t, 1, 2)
	src := &ringSource{per: 64}
	for cnt := uint64(1); cnt <= 5; cnt++ {
		src.ring = append(src.ring, rawPacket(cnt, 100, 0, make([]byte, 50)), rawPacket(cnt, 100, 50, make([]byte, 50)))
	}
	src.over.Store(true)
	th := start(t, s, src)
	for th.stats(source.Now).State != ThreadBlocked {
		select {
		case <-th.done:
			t.Fatal("5 heaps went into a ring of 2")
		default:
			time.Sleep(time.Millisecond)
		}
	}
	if err := alive([]*thread{th}, time.Second, later(time.Hour)); err != nil {
		t.Error(err)
	}
	if got := th.stats(later(time.Hour)); got.State != ThreadBlocked || got.Blocked < time.Hour || got.SinceTurn < time.Hour || got.Busy > time.Hour {
		t.Errorf("%+v", got)
	}
	for taken := 0; taken < 5; {
		if h := s.assembler.TryNext(); h != nil {
			h.Release()
			taken++
		}
	}
	<-th.done
	end := th.stats(source.Now)
	if end.State != ThreadEnded || end.Blocked == 0 || end.Turns < 2 {
		t.Errorf("at the end: %+v", end)
	}
	if now := th.stats(later(time.Hour)); now.Busy != end.Busy || now.Idle != end.Idle || now.Blocked != end.Blocked {
		t.Errorf("time goes on after the end: %+v, then %+v", end, now)
	}
}
