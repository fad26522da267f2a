// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx"
)

const (
	// disturbedShare is at which part of its highest rate a receiver is disturbed.
	disturbedShare = 0.8

	stall      = 10 * time.Millisecond  // of the consumer
	stallEvery = 100 * time.Millisecond // from the end of one

	readEvery    = time.Millisecond // statistics
	collectEvery = 100              // readings
	garbage      = 64 << 10         // made at each reading, bytes

	// A ring of heaps has room for what comes in the time outlasted at a rate higher than
	// a veth takes here, bytes a second. On a busy machine a consumer that wakes up may
	// have to wait for a processor as well, for longer than the stall.
	outlasted     = 3 * stall
	outlastedRate = 12e9
)

// outlasting is a ring of heaps deep enough for a consumer's stalls, noMore one that is
// not made deeper.
func outlasting(l *load) int {
	return int(outlastedRate*outlasted.Seconds()/float64(l.heap)) + 1 + l.live()
}

func noMore(*load) int { return 0 }

// disturbance is what gets in a receiver's way. The consumer's part is its own.
type disturbance struct {
	told    Disturbed // but for Stalls
	stalls  atomic.Uint64
	stalled time.Time // until when; the consumer's
}

// consume is what the consumer does with a heap before it releases it: every now and
// then, nothing for a while.
func (d *disturbance) consume() {
	if d == nil || time.Since(d.stalled) < stallEvery {
		return
	}
	time.Sleep(stall)
	d.stalled = time.Now()
	d.stalls.Add(1)
}

// disturb reads the statistics and collects garbage until ctx ends.
func (d *disturbance) disturb(ctx context.Context, r *speadx.Receiver) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var keep [64][]byte
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		keep[i%len(keep)] = make([]byte, garbage)
		_ = r.Stats()
		d.told.Readings++
		if i%collectEvery == 0 {
			runtime.GC()
		}
		<-tick.C
	}
	runtime.ReadMemStats(&after)
	d.told.Collections = uint64(after.NumGC - before.NumGC)
	runtime.KeepAlive(keep)
}

// disturbRounds measures what is lost at a part of the rate found while the receiver is
// disturbed.
func (r *runner) disturbRounds(ctx context.Context, l load, o VethOptions) error {
	gbps, _, _ := Median(r.rates)
	if gbps == 0 {
		return nil
	}
	return receiving(l, r.open, func(w *wire, rec receiver) (err error) {
		s := rec.(*speadxReceiver)
		d := &disturbance{}
		s.disturbed.Store(d)
		disturbing, calm := context.WithCancel(ctx)
		var noise sync.WaitGroup
		noise.Go(func() { d.disturb(disturbing, s.r) })
		for range o.cpuRounds() {
			var t outcome
			var sent sent
			if t, sent, err = r.try(ctx, w, rec, disturbedShare*gbps/l.gbps(1), o.Trial*cpuTrial); err != nil {
				break
			}
			d.told.Sent += t.sent
			d.told.Lost += t.lost
			d.told.Seconds += sent.elapsed.Seconds()
		}
		calm()
		noise.Wait()
		if err != nil {
			return err
		}
		d.told.Gbps = l.gbps(float64(d.told.Sent) / d.told.Seconds)
		d.told.Stalls = d.stalls.Load()
		r.upset = &d.told
		return nil
	})
}
