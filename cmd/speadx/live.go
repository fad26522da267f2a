package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/speadx/speadx"
)

// liveLine prints a line a second while heaps come.
type liveLine struct {
	end  chan struct{}
	done chan struct{}
	once sync.Once
}

// progress starts the live line.
func (c *reception) progress() *liveLine {
	l := &liveLine{end: make(chan struct{}), done: make(chan struct{})}
	c.live = l
	go l.run(c.stderr, c.r, c.began)
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
			printRates(w, &last, &s, now.Sub(at), now.Sub(began))
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
// packets and heaps of the last second, and loss in it and in all.
func printRates(w io.Writer, a, b *speadx.Stats, d, since time.Duration) {
	ta, tb := totalsOf(a), totalsOf(b)
	sec := d.Seconds()
	fmt.Fprintf(w, "%6.1f s  %7.3f Gb/s  %8.1f kp/s  %7.1f heaps/s  %d heaps, %d incomplete  lost %d packets (%.4f %%), %d in all (%.4f %%)\n",
		since.Seconds(), gbps(b.Payload-a.Payload, d), float64(b.Packets-a.Packets)/sec/1e3, float64(tb.complete-ta.complete)/sec,
		tb.complete, tb.incomplete,
		lost(b)-lost(a), percent(lost(b)-lost(a), b.Packets-a.Packets), lost(b), percent(lost(b), b.Packets))
}

func percent(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}
