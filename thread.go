// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pulse"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/xsk"
)

const (
	// batchPackets is how many packets a thread takes from its source at once.
	batchPackets = 256
	// tick is how long a thread waits for packets before it looks around.
	tick = 100 * time.Millisecond
	// workOff is for how long, at most, a thread goes on reading a socket after a
	// stop.
	workOff = time.Second
	// stalled is how long a thread must not have read for its streams to be told.
	stalled = int64(time.Second)
)

// stop is what a source held when a stop was seen.
type stop struct {
	seen     bool
	mark     uint64    // the position up to which it is to be worked off
	deadline time.Time // of a source that cannot tell its position
	waited   bool      // a Receive has begun since
}

// over reports whether the source is worked off since the stop was seen, which is
// now at the latest; empty that the last Receive found nothing.
func (s *stop) over(src source.Source, empty bool) bool {
	if !s.seen {
		s.seen, s.mark = true, src.Mark()
		if s.mark == math.MaxUint64 {
			s.deadline = time.Now().Add(workOff)
		}
	} else {
		s.waited = true
	}
	if s.mark != math.MaxUint64 {
		return src.Position() >= s.mark
	}
	// What a socket holds cannot be known: it is worked off when it was found
	// empty after the stop, and others may go on sending to it.
	return s.waited && (empty || time.Now().After(s.deadline))
}

// thread reads one source and feeds the streams whose packets come from it.
type thread struct {
	src     source.Source
	cpus    []int          // may run on; none: wherever the process may
	feeders []*heap.Feeder // by stream; nil where the source has nothing of it
	streams []*stream      // by stream, likewise

	stops  []stop // by stream: what is left to do before its stop takes effect
	file   bool   // the source is a file, and its time not ours
	sleeps bool   // it waits for packets asleep
	ticked int64  // when its streams last looked for old heaps
	looked int64  // when it last looked for packets

	pulse pulse.Pulse

	downs chan<- struct{}       // told when the thread finds its interface down; it has room for one
	down  atomic.Pointer[error] // why nothing comes, while that is so

	quit    atomic.Bool   // stop when the source is worked off
	started chan struct{} // closed when the thread has its processors and its priority
	done    chan struct{}
	err     error // why the source ended, after done; nil for its natural end
}

// ofQueue reports whether the source is a queue of a device.
func (t *thread) ofQueue() bool {
	_, ok := t.src.(*source.AFXDP)
	return ok
}

// run reads until the source ends or it is told to quit. It runs on a thread of
// its own.
func (t *thread) run() {
	defer close(t.done)
	defer func() { t.pulse.Enter(pulse.Ended, source.Now) }()
	runtime.LockOSThread() // never unlocked: the thread, with its affinity, ends with us
	if len(t.cpus) > 0 {
		if err := sched.Bind(t.cpus...); err != nil {
			t.err = fmt.Errorf("cannot run on processors %v: %w (see taskset -p $$ for those allowed)", t.cpus, err)
			close(t.started)
			t.finish()
			return
		}
	}
	if t.sleeps {
		defer sched.Hasten()()
	}
	if !t.file {
		defer sched.Receive()()
	}
	close(t.started)
	batch := source.NewBatch(batchPackets)
	batch.Pulse = &t.pulse
	var quit stop
	working := false // a stop is being worked off
	for {
		wait := tick
		if working || t.quit.Load() {
			wait = 0 // what is not there yet came after the stop
		}
		n, err := t.src.Receive(batch, wait)
		t.turn(batch, n)
		if n > 0 && !t.file {
			t.notice(batch.Now)
		}
		for i := 0; i < n; {
			j := i + 1
			for j < n && batch.Streams[j] == batch.Streams[i] {
				j++
			}
			t.feeders[batch.Streams[i]].Feed(batch.Packets[i:j], batch.Now, batch.Wall)
			i = j
		}
		t.src.Release()
		if err = t.outlast(err, n > 0 || wait > 0); err != nil {
			if !errors.Is(err, io.EOF) {
				t.err = err
			}
			break
		}
		empty := n == 0 && !t.file
		if empty || n > 0 && batch.Now-t.ticked >= int64(tick) {
			t.tick(batch, empty)
		}
		working = t.heedStops(empty)
		if t.quit.Load() {
			if t.file || quit.over(t.src, empty) {
				break
			}
		}
	}
	t.finish()
}

// outlast makes a thread of a queue outlast the absence of its interface: it looks again and
// again whether that is back. The receiver ends it if there is nothing else to receive from.
// tried says that no error means that packets can come.
func (t *thread) outlast(err error, tried bool) error {
	if !errors.Is(err, xsk.ErrDown) || !t.ofQueue() {
		if err == nil && tried && t.down.Load() != nil {
			t.down.Store(nil)
		}
		return err
	}
	why := err // the parameter itself would be allocated at each call
	if t.down.Swap(&why) == nil {
		select {
		case t.downs <- struct{}{}:
		default: // it is to be looked at anyway
		}
	}
	if !t.quit.Load() {
		time.Sleep(downPause)
	}
	return nil
}

// downError is why nothing comes now; nil while something can.
func (t *thread) downError() error {
	if err := t.down.Load(); err != nil {
		return *err
	}
	return nil
}

// over reports whether the thread has ended.
func (t *thread) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// reads reports whether the thread reads a queue's source.
func (t *thread) reads(s *source.AFXDP) bool { return t.src == source.Source(s) }

// turn shows that the thread came round its loop. A batch from a network has the time.
func (t *thread) turn(batch *source.Batch, n int) {
	now := batch.Now
	if n == 0 || t.file {
		now = source.Now()
	}
	t.pulse.Turn(now)
}

// heedStops ends this thread's part in the streams whose stop has been seen and
// of which it has worked off what its source held then; working says that it has
// not yet for some.
func (t *thread) heedStops(empty bool) (working bool) {
	for i, f := range t.feeders {
		if f == nil || f.Finished() || !t.streams[i].assembler.Stopping() {
			continue
		}
		// A capture is read to its end if the stop came from another source.
		if t.file && !f.SawStop() {
			continue
		}
		if t.stops[i].over(t.src, empty) {
			f.Finish()
		} else {
			working = true
		}
	}
	return working
}

// notice tells the streams when this thread has come back from waiting for room
// in a ring for long: their packets waited too, and no heap is old for that.
func (t *thread) notice(now int64) {
	if t.looked != 0 && now-t.looked > stalled {
		for _, f := range t.feeders {
			if f != nil {
				f.Stalled(time.Duration(now - t.looked))
			}
		}
	}
	t.looked = now
}

// tick lets each stream look for heaps that have become too old, also one that
// nothing comes for while others are busy.
func (t *thread) tick(batch *source.Batch, empty bool) {
	t.ticked = batch.Now
	if empty && !t.file { // a pipe's time is that of its packets
		t.ticked, _ = source.Clock()
		t.notice(t.ticked)
	}
	for _, f := range t.feeders {
		if f != nil {
			f.Tick(t.ticked)
		}
	}
}

func (t *thread) finish() {
	for _, f := range t.feeders {
		if f != nil {
			f.Finish()
		}
	}
}

// stop makes run return when the source is worked off.
func (t *thread) stop() {
	t.quit.Store(true)
	t.src.Wake()
}
