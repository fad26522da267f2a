// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/speadx/speadx/ledger"
)

// findings looks at the counters once a second. It logs each diagnosis, and remembers all of
// them for [Receiver.Diagnoses].
type findings struct {
	log  *slog.Logger
	last Stats
	lost map[string]bool // interfaces without a carrier

	mixed     map[finding]int // destinations that were reported
	downLinks map[string]bool // interfaces of sockets that are down

	mu       sync.Mutex
	found    map[finding]*ledger.Diagnosis
	seen     map[string]seen // by stream
	lastLoss time.Time

	unserved map[string]map[int]uint64 // packets on queues without a socket, at the last look
}

// finding is what makes two diagnoses one that lasts.
type finding struct {
	code                   ledger.Code
	stream, device, source string
	queue                  int
}

func newFindings(l *slog.Logger) *findings {
	return &findings{log: l, found: map[finding]*ledger.Diagnosis{}}
}

// look diagnoses what happened since the last look.
func (w *findings) look(r *Receiver) {
	now := r.Stats()
	r.readMore(&now)
	f := r.facts()
	f.unserved, w.unserved = rise(f.unserved, w.unserved), f.unserved
	w.destinations(r.devices)
	for _, d := range diagnose(&w.last, &now, f) {
		w.report(d)
	}
	w.mu.Lock()
	w.note(&w.last, &now, time.Now())
	w.mu.Unlock()
	w.last = now
}

// destinations reports several destinations of one endpoint at any address, and again when there are
// more.
func (w *findings) destinations(devices []*device) {
	for _, d := range devices {
		byPort := map[uint16][]string{}
		for _, s := range d.sources {
			for _, to := range s.Destinations() {
				if text := to.String(); !slices.Contains(byPort[to.Port()], text) {
					byPort[to.Port()] = append(byPort[to.Port()], text)
				}
			}
		}
		for port, list := range byPort {
			key := finding{code: ledger.DestinationsMixed, device: d.plan.facts.Name, source: fmt.Sprintf(":%d", port), queue: -1}
			if len(list) < 2 || len(list) <= w.mixed[key] {
				continue
			}
			if w.mixed == nil {
				w.mixed = map[finding]int{}
			}
			w.mixed[key] = len(list)
			slices.Sort(list)
			w.report(ledger.Diagnosis{Code: key.code, Device: key.device, Source: key.source, Queue: -1, Other: strings.Join(list, ", ")})
		}
	}
}

// rise is by how much counts have risen, of each queue of each device.
func rise(now, before map[string]map[int]uint64) map[string]map[int]uint64 {
	out := map[string]map[int]uint64{}
	for device, queues := range now {
		out[device] = map[int]uint64{}
		for q, n := range queues {
			if old := before[device][q]; n > old {
				out[device][q] = n - old
			}
		}
	}
	return out
}

// report logs a diagnosis and adds it to what was found before.
func (w *findings) report(d ledger.Diagnosis) {
	d.First = time.Now()
	d.Last = d.First
	key := finding{d.Code, d.Stream, d.Device, d.Source, d.Queue}
	w.mu.Lock()
	if old := w.found[key]; old != nil {
		sum := d
		sum.First = old.First
		sum.Count += old.Count
		sum.Of += old.Of
		sum.Blocked += old.Blocked
		sum.Duration = max(d.Duration, old.Duration)
		sum.Suggested = max(sum.Suggested, old.Suggested)
		*old = sum
	} else {
		w.found[key] = &d
	}
	w.mu.Unlock()
	// The message is constant, and the values are attributes. A program that words them
	// otherwise finds the Diagnosis itself as the value.
	w.log.LogAttrs(context.Background(), d.Code.Row().Severity, "receiver diagnosis", slog.Any("", d))
}

// Diagnoses are what the receiver has found wrong since Open, with the counts of all this
// time, the latest first. It looks once a second, and once more when reception ends. The
// slice is the caller's.
func (r *Receiver) Diagnoses() []ledger.Diagnosis {
	r.findings.mu.Lock()
	defer r.findings.mu.Unlock()
	out := make([]ledger.Diagnosis, 0, len(r.findings.found))
	for _, d := range r.findings.found {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b ledger.Diagnosis) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Stream, b.Stream),
			cmp.Compare(a.Device, b.Device), cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// facts are those of the receiver for [diagnose].
func (r *Receiver) facts() *facts {
	f := &facts{
		slotSize: map[string]int64{}, live: map[string]bool{}, maxFrame: map[string]int{}, frames: map[string]int{},
		unserved: map[string]map[int]uint64{}, over: r.over.Load(), substreams: r.cfg.Substreams,
	}
	for _, s := range r.streams {
		f.slotSize[s.name()] = int64(s.share.SlotSize())
		f.live[s.name()] = s.plan.live()
	}
	for _, d := range r.devices {
		name := d.plan.facts.Name
		for _, q := range d.queues {
			info := q.Info()
			f.maxFrame[name] = info.MaxFrame
			f.frames[name] += info.Frames
		}
		f.unserved[name] = d.unserved()
	}
	return f
}

// checkFrames reports queues whose frames are not each in one place at the end: a driver
// has handed one out twice, or has lost it. What was received may then be damaged.
func (w *findings) checkFrames(devices []*device) {
	for _, d := range devices {
		for _, q := range d.queues {
			if err := q.Conserved(); err != nil {
				w.report(ledger.Diagnosis{Code: ledger.FramesNotConserved, Device: d.plan.facts.Name, Queue: q.Info().Queue, Err: err, Setting: "Mode"})
			}
		}
	}
}

// carrier reports when an interface has lost its carrier, and when it is back.
func (w *findings) carrier(name string, up bool) {
	if w.lost == nil {
		w.lost = map[string]bool{}
	}
	if w.lost[name] == !up {
		return
	}
	w.lost[name] = !up
	code := ledger.CarrierLost
	if up {
		code = ledger.CarrierBack
	}
	w.report(ledger.Diagnosis{Code: code, Device: name, Queue: -1})
}

// unserved is how many packets came on each queue of the device that has no socket.
func (d *device) unserved() map[int]uint64 {
	out := map[int]uint64{}
	served := map[int]bool{}
	for _, q := range d.queues {
		served[q.Info().Queue] = true
	}
	for q := range d.steer.queues() + 1 { // the last one stands for all above
		if n := d.steer.program.Counters(q).NoSocket; n > 0 && !served[q] {
			out[q] = n
		}
	}
	return out
}
