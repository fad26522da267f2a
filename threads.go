// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"strings"
	"time"

	"github.com/speadx/speadx/internal/pulse"
	"github.com/speadx/speadx/internal/source"
)

// ThreadState is what a receiving thread is doing.
type ThreadState uint8

// The states of a receiving thread.
const (
	ThreadWorking ThreadState = iota // takes packets and places them in heaps
	ThreadWaiting                    // waits for packets: none is there
	ThreadBlocked                    // waits for the consumer, since the ring is full and OnFull is Block
	ThreadEnded                      // has read all it had to read
)

var threadStateNames = [...]string{"working", "waiting", "blocked", "ended"}

// String is the state as one word.
func (s ThreadState) String() string {
	if int(s) < len(threadStateNames) {
		return threadStateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s ThreadState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var threadStates = [...]ThreadState{pulse.Working: ThreadWorking, pulse.Waiting: ThreadWaiting, pulse.Blocked: ThreadBlocked, pulse.Ended: ThreadEnded}

// ThreadStats says how a receiving thread is doing. Busy + Idle + Blocked is the time
// from the start of the thread to now, or to its end.
type ThreadStats struct {
	Name  string // what it reads: an interface and queue, sockets, a connection or a file
	CPU   int    // processor it is pinned to, -1: none
	State ThreadState

	// Turns counts the times round the thread's loop. A turn is one look for packets,
	// and takes up to 256 of them. The longest wait for packets is 100 ms. So while
	// the thread is not blocked, Turns rises at least 10 times a second.
	Turns uint64
	// SinceTurn is the time since the last turn.
	SinceTurn time.Duration

	Busy    time.Duration // working
	Idle    time.Duration // waiting for packets. This includes spinning and busy polling
	Blocked time.Duration // waiting for the consumer
}

// Threads are the receiving threads, in the same order at each call. It may be called at
// any time, from any goroutine, also after Close. It reads memory only, and no thread
// waits for it. Turns and times of a thread never go back.
func (r *Receiver) Threads() []ThreadStats {
	all := make([]ThreadStats, 0, len(r.threads))
	for _, t := range r.threads {
		all = append(all, t.stats(source.Now))
	}
	return all
}

func (t *thread) stats(clock func() int64) ThreadStats {
	p := t.pulse.Read(clock)
	s := ThreadStats{
		Name: t.src.Name(), CPU: -1, State: threadStates[p.State],
		Turns: p.Turns, SinceTurn: p.Beat, Busy: p.Working, Idle: p.Waiting, Blocked: p.Blocked,
	}
	if len(t.cpus) == 1 {
		s.CPU = t.cpus[0]
	}
	return s
}

// blocked is told when the thread begins and ends to wait for the consumer.
func (t *thread) blocked(waiting bool) {
	state := pulse.Working
	if waiting {
		state = pulse.Blocked
	}
	t.pulse.Enter(state, source.Now)
}

// StuckError is the error of [Receiver.Alive].
type StuckError struct {
	Threads []ThreadStats // those that make no progress
}

// Error names the threads.
func (e *StuckError) Error() string {
	var all []string
	for _, t := range e.Threads {
		all = append(all, fmt.Sprintf("%s (%v, no turn for %v)", t.Name, t.State, t.SinceTurn.Round(time.Millisecond)))
	}
	return "speadx: receiving threads make no progress: " + strings.Join(all, ", ")
}

// Alive returns nil if every receiving thread makes progress, and else a [*StuckError]. A
// thread makes progress if its last turn is no longer ago than within, which should be a
// second or more: see [ThreadStats]. A thread that waits for the consumer makes progress
// too, for any length of time, as that is the policy [heap.Block]. Its State says so. A
// thread that has ended is not stuck.
//
// It may be called at any time, from any goroutine, also after Close.
func (r *Receiver) Alive(within time.Duration) error {
	return alive(r.threads, within, source.Now)
}

func alive(threads []*thread, within time.Duration, clock func() int64) error {
	var stuck []ThreadStats
	for _, t := range threads {
		if p := t.pulse.Read(clock); !p.Alive(within) {
			stuck = append(stuck, t.stats(clock))
		}
	}
	if stuck == nil {
		return nil
	}
	return &StuckError{Threads: stuck}
}
