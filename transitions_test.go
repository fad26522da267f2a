// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/blast"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// transitions is how often [TestTransitions] goes from idle to full, unless
// SPEADX_TRANSITIONS says otherwise.
const transitions = 2000

// processors lets as many goroutines run at once as the program does, on a machine with
// two CPUs one more than that: else a receiving thread that comes back from a system
// call may have to wait, for up to 10 ms, until one of them lets go.
func processors(t *testing.T) {
	before := runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 3))
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// blastAt opens blast towards a wire's receiver, of heaps of 64 packets of 1408 bytes.
func blastAt(t *testing.T, n *testnet.Net) (b *blast.Generator) {
	t.Helper()
	err := n.A.Do(func() {
		var err error
		b, _, err = send.OpenBlast(send.Config{
			Destinations: []netip.AddrPort{netip.MustParseAddrPort(endpoint(n, port))}, HeapSize: 64 * 1408, MaxPacket: 1408 + 48,
		})
		testnet.NeedPrivilege(t, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// releaseAll releases whatever comes, after a while that pause gives, until the receiver
// is closed.
func releaseAll(r *speadx.Receiver, pause func(heaps uint64) time.Duration) (stopped *sync.WaitGroup) {
	stopped = &sync.WaitGroup{}
	stopped.Go(func() {
		for heaps := uint64(1); ; heaps++ {
			h, err := r.Next(context.Background())
			if err != nil {
				return
			}
			if d := pause(heaps); d > 0 {
				time.Sleep(d)
			}
			h.Release()
		}
	})
	return stopped
}

// delivered waits until so many packets were delivered, or nothing moves any more.
func delivered(t *testing.T, r *speadx.Receiver, packets uint64) speadx.Stats {
	t.Helper()
	s := r.Stats()
	for moved := time.Now(); s.Fates[ledger.Delivered] < packets && time.Since(moved) < time.Second; {
		time.Sleep(time.Millisecond)
		now := r.Stats()
		if now.Fates[ledger.Delivered] != s.Fates[ledger.Delivered] {
			moved = time.Now()
		}
		s = now
	}
	return s
}

// lost is how many packets have any fate but to be delivered.
func lost(s speadx.Stats) (packets uint64) {
	for f, n := range s.Fates {
		if ledger.Fate(f) != ledger.Delivered {
			packets += n
		}
	}
	return packets
}

// losses is the ledger, and what the rings say about where packets were lost.
func losses(s speadx.Stats) string {
	text := account(s)
	for _, d := range s.Devices {
		text += fmt.Sprintf("\n%s: missed %d", d.Name, d.Counts[ledger.DeviceMissed])
		for _, q := range d.Queues {
			text += fmt.Sprintf("\nqueue %d: %v", q.Queue, q.Counts)
		}
	}
	return text
}

// settling is far longer than a burst takes, and shorter than a heap that lacks packets
// stays.
const settling = 5 * time.Second

// Bursts of 1 to 10,000 packets, as fast as the kernel makes them, with pauses between
// them that let the receiving thread nap or fall asleep: nothing is lost on the way
// from idle to full, however often.
func TestTransitions(t *testing.T) {
	count := transitions
	if s := os.Getenv("SPEADX_TRANSITIONS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SPEADX_TRANSITIONS: %v", err)
		}
	}
	processors(t)
	n := testnet.New(t, testnet.Options{})
	cfg := one(n)
	cfg.HeapSize, cfg.RingHeaps = 64*1408, 512 // the consumer may be late, too
	cfg.Frames = 0                             // its default, which holds a whole burst
	r := open(t, n, cfg)
	stopped := releaseAll(r, func(uint64) time.Duration { return 0 })
	b := blastAt(t, n)

	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan blast.Counts, 1)
	b.SetBursts(1, time.Hour)
	go func() {
		c, err := b.Run(ctx, 0)
		if err != nil {
			t.Error(err)
		}
		sent <- c
	}()
	rnd := rand.New(rand.NewPCG(4, 1))
	logUniform := func(low, high float64) float64 { return low * math.Pow(high/low, rnd.Float64()) }
	// burst waits until so many packets, in all, were made and the receiver has them. It
	// polls, so that pauses are as long as drawn.
	burst := func(packets uint64) {
		began := time.Now()
		for b.Counts().Attempted < packets {
			if took := time.Since(began); took > settling {
				t.Errorf("of %d packets %d were sent after %v", packets, b.Counts().Attempted, took)
				return
			}
			runtime.Gosched()
		}
		for {
			s := r.Stats()
			if took := time.Since(began); lost(s) > 0 || took > settling {
				t.Errorf("of %d packets %d were delivered and %d lost after %v", packets, s.Fates[ledger.Delivered], lost(s), took)
				return
			}
			if s.Fates[ledger.Delivered] >= packets-packets%64 { // the rest is no whole heap
				return
			}
			runtime.Gosched()
		}
	}
	total := uint64(1)
	burst(total)
	done := 0
	for ; done < count && !t.Failed() && t.Context().Err() == nil; done++ {
		time.Sleep(time.Duration(logUniform(10e3, 2e6)))
		n := int(logUniform(1, 10_001))
		b.SetBursts(n, time.Hour) // a new pace begins at once
		total += uint64(n)
		burst(total)
	}
	cancel()
	b.SetRate(0) // for the rest of the last heap
	c := <-sent
	s := delivered(t, r, c.Attempted)
	if c.Refused != 0 || s.Packets != c.Attempted || s.Fates[ledger.Delivered] != c.Attempted {
		t.Errorf("%d transitions, sent %+v\nreceived %s", done, c, losses(s))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	stopped.Wait()
}

// At a moderate rate nothing is lost to garbage collection, to those who read the
// statistics, or to a consumer that stops for 10 ms, for whom the ring has room. At 0.8
// of the highest rate, "speadx bench veth" disturbs its contestant speadx default so.
func TestDisturbed(t *testing.T) {
	processors(t)
	n := testnet.New(t, testnet.Options{})
	c := one(n)
	c.HeapSize, c.RingHeaps, c.Frames = 64*1408, 512, 0
	r := open(t, n, c)
	stopped := releaseAll(r, func(heaps uint64) time.Duration {
		if heaps%500 == 0 {
			return 10 * time.Millisecond
		}
		return 0
	})
	b := blastAt(t, n)
	b.SetBursts(64, 64*time.Second/disturbedRate)

	ctx, cancel := context.WithCancel(t.Context())
	var noise sync.WaitGroup
	noise.Go(func() {
		var keep [64][]byte
		for i := 0; ctx.Err() == nil; i++ {
			keep[i%len(keep)] = make([]byte, 1<<16)
			_ = r.Stats()
			if i%50 == 0 {
				runtime.GC()
			}
			time.Sleep(100 * time.Microsecond)
		}
		runtime.KeepAlive(keep)
	})
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	sent, err := b.Run(t.Context(), disturbedRate/64/2)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	noise.Wait()
	debug.ReadGCStats(&after)
	s := delivered(t, r, sent.Attempted)
	if s.Fates[ledger.Delivered] != sent.Attempted || sent.Refused != 0 {
		t.Errorf("sent %+v\nreceived %s", sent, losses(s))
	}
	if after.NumGC == before.NumGC {
		t.Error("no garbage was collected")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	stopped.Wait()
}

// disturbedRate is in packets a second: slow for the machines that this was written
// on, which take 2 million, since others run the tests too.
const disturbedRate = 200_000
