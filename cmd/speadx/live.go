// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
)

// liveLine prints a line a second while heaps come.
type liveLine struct {
	end  chan struct{}
	done chan struct{}
	once sync.Once

	print func(w io.Writer, a, b *speadx.Stats, d, since time.Duration)
}

// live1s starts to print once a second what happened since the last time.
func (c *reception) live1s(w io.Writer, print func(w io.Writer, a, b *speadx.Stats, d, since time.Duration)) *liveLine {
	l := &liveLine{end: make(chan struct{}), done: make(chan struct{}), print: print}
	c.live = l
	go l.run(w, c.r, c.began)
	return l
}

func (l *liveLine) run(w io.Writer, r *speadx.Receiver, began time.Time) {
	defer close(l.done)
	every := time.NewTicker(time.Second)
	defer every.Stop()
	last, at := r.Stats(), time.Now()
	for {
		select {
		case <-l.end:
			return
		case now := <-every.C:
			s := r.Stats()
			l.print(w, &last, &s, now.Sub(at), now.Sub(began))
			last, at = s, now
		}
	}
}

// stop ends the line; nil has none.
func (l *liveLine) stop() {
	if l == nil {
		return
	}
	l.once.Do(func() { close(l.end) })
	<-l.done
}

// printRates prints what happened between two looks at the counters: rate,
// packets and heaps of that time, and loss in it and in all.
func printRates(w io.Writer, a, b *speadx.Stats, d, since time.Duration) {
	before, now := a.Heaps(), b.Heaps()
	sec := d.Seconds()
	fmt.Fprintf(w, "%5.0f s %8.3f Gb/s %8.1f kp/s %8.1f heaps/s %9d heaps  %s\n",
		since.Seconds(), report.Gbps(b.Payload-a.Payload, d), float64(b.Packets-a.Packets)/sec/1e3,
		float64(now[ledger.HeapsComplete]-before[ledger.HeapsComplete])/sec, now[ledger.HeapsComplete], lossText(a, b, now[ledger.HeapsIncomplete]))
}

// lossText is the loss since a, and in all until b. Without a loss no heap is lost.
func lossText(a, b *speadx.Stats, incomplete uint64) string {
	all, h := b.Fates.Lost(), b.Heaps()
	missing := h[ledger.HeapsMissing]
	if all == 0 && incomplete == 0 && missing == 0 && h[ledger.HeapsRingFull] == 0 {
		if n := report.DroppedRepeats(b); n > 0 {
			return fmt.Sprintf("%d repeated heaps dropped", n)
		}
		if n := h[ledger.SourceConflicts]; n > 0 {
			return fmt.Sprintf("%d packets of senders that collide", n)
		}
		return "no loss"
	}
	late := all - min(all, a.Fates.Lost())
	text := fmt.Sprintf("lost %d packets (%.3g %%), in all %d (%.3g %%), %d heaps incomplete",
		late, percent(late, b.Packets-a.Packets), all, percent(all, b.Packets), incomplete)
	if missing > 0 {
		text += fmt.Sprintf(", %d missing", missing)
	}
	if n := report.DroppedRepeats(b); n > 0 {
		text += fmt.Sprintf(", %d repeated", n)
	}
	return text
}

func percent(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}
