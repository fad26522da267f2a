// SPDX-License-Identifier: Apache-2.0

// Package pulse shows whether a receiving thread makes progress, and what it spends its
// time on.
package pulse

import (
	"runtime"
	"sync/atomic"
	"time"
)

// State is what a thread is doing.
type State uint8

// The states. A thread works until it says otherwise.
const (
	Working State = iota // it takes packets and places them
	Waiting              // it waits for packets
	Blocked              // it waits for the consumer
	Ended
	numStates
)

// Pulse is written by one thread and read by any goroutine. The thread writes it once a
// turn of its loop, and when it begins or ends a wait: nothing is written for a packet.
// The writer never waits. Reading and writing allocate nothing.
//
// Times are in ns, by one monotonic clock that the writer and the readers share.
// Methods of a nil Pulse that write do nothing.
type Pulse struct {
	_     [64]byte // other threads write what lies before
	turns atomic.Uint64
	beat  atomic.Int64 // time of the last turn

	// A sequence lock, odd while the others are written.
	seq   atomic.Uint64
	state atomic.Uint32
	since atomic.Int64 // time at which the state began
	spent [numStates]atomic.Int64
	_     [64]byte
}

// Begin is called before the thread starts. The first turn counts from then.
func (p *Pulse) Begin(now int64) {
	p.since.Store(now)
	p.beat.Store(now)
}

// Turn says that the thread came round its loop.
func (p *Pulse) Turn(now int64) {
	if p == nil {
		return
	}
	p.turns.Store(p.turns.Load() + 1) // nobody else writes it
	p.beat.Store(now)
}

// Enter says that the thread does something else from now on. The clock is read under the
// lock, so that no reading has counted more of the old state.
func (p *Pulse) Enter(s State, clock func() int64) {
	if p == nil {
		return
	}
	p.seq.Add(1)
	now := clock()
	old := &p.spent[p.state.Load()]
	old.Store(old.Load() + now - p.since.Load())
	p.state.Store(uint32(s))
	p.since.Store(now)
	p.seq.Add(1)
}

// Reading is a Pulse at one instant.
type Reading struct {
	State State
	Turns uint64        // turns so far
	Beat  time.Duration // since the last turn

	Working, Waiting, Blocked time.Duration // time spent so far, the state under way included
}

// Read reads the pulse at the time that clock gives. Times and turns of a later reading
// are never less.
func (p *Pulse) Read(clock func() int64) Reading {
	var r Reading
	var spent [numStates]int64
	for {
		seq := p.seq.Load()
		state, since := State(p.state.Load()), p.since.Load()
		for i := range spent {
			spent[i] = p.spent[i].Load()
		}
		r.Turns = p.turns.Load()
		beat := p.beat.Load() // before the clock, so that it is not later
		now := clock()
		if seq&1 == 0 && p.seq.Load() == seq {
			spent[state] += now - since
			r.State, r.Beat = state, time.Duration(now-beat)
			break
		}
		runtime.Gosched() // a thread that was stopped in the middle has to go on
	}
	r.Working, r.Waiting, r.Blocked = time.Duration(spent[Working]), time.Duration(spent[Waiting]), time.Duration(spent[Blocked])
	return r
}

// Alive reports whether the thread came round its loop within that time. A thread that
// waits for the consumer is alive, however long it takes: that is the policy it was given.
// So is one that has ended.
func (r *Reading) Alive(within time.Duration) bool {
	return r.State == Blocked || r.State == Ended || r.Beat <= within
}
