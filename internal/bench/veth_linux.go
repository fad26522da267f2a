// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/speadx/speadx"
)

// wants reports whether a contestant is to be measured.
func (o *VethOptions) wants(name string) bool { return o.Only == nil || slices.Contains(o.Only, name) }

func (o *VethOptions) contestants() []contestant {
	native := func(wait speadx.Wait, frames int, ringHeaps func(*load) int) func(w *wire) (receiver, error) {
		return openSpeadx(speadx.ModeNative, wait, frames, ringHeaps)
	}
	all := []contestant{
		{name: Drain, open: openDrain(o.Frames, false, false), jumbo: true, many: true},
		{name: DrainNap, open: openDrain(o.Frames, true, false), jumbo: true},
		{name: DrainCopy, open: openDrain(o.Frames, true, true), jumbo: true, many: true},
		{name: Native, open: native(speadx.WaitPoll, o.Frames, noMore), jumbo: true, many: true},
		{name: Spin, open: native(speadx.WaitSpin, o.Frames, noMore), jumbo: true},
		{name: Default, open: native(speadx.WaitPoll, 0, outlasting), disturb: true},
		{name: Generic, open: openSpeadx(speadx.ModeGeneric, speadx.WaitPoll, o.Frames, noMore), jumbo: true, many: true},
		{name: Sockets, open: openSpeadx(speadx.ModeUDP, speadx.WaitPoll, 0, noMore), jumbo: true, many: true},
		{name: Asavie, open: openAsavie, many: true, rival: true},
	}
	if o.Spead2 != "" {
		all = append(all,
			contestant{name: Spead2, open: openSpead2(o.Spead2, 0, false), jumbo: true, many: true, rival: true},
			contestant{name: Spead2Stock, open: openSpead2(o.Spead2, stockBuffer, false), rival: true},
			contestant{name: Spead2Tuned, open: openSpead2(o.Spead2, tunedBuffer, true), jumbo: true, many: true, rival: true})
	}
	return all
}

// Receive measures what can be received from a veth pair without loss: the highest
// rate, and the CPU time at a rate that all contestants take.
//
// The packets are blast's, and jumbo ones from a kernel's socket. Each contestant has
// a pair of its own, made in the same way, with the generator on the last processor
// and its own thread on the first. What the kernel does for the receiving end, it does
// on the generator's.
func Receive(ctx context.Context, o VethOptions, emit func(Result)) error {
	if err := o.Complete(); err != nil {
		return err
	}
	if len(allCPUs) < 2 {
		return errors.New("bench veth needs two processors, one for the generator and one for who receives")
	}
	// As the program does, with one receiving thread: see runRecv in cmd/speadx.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 3)))
	loads := []load{}
	for _, senders := range o.Senders {
		for _, n := range o.Payloads {
			loads = append(loads, newLoad("blast", senders, n, o.Heap))
		}
	}
	if o.Jumbo > 0 {
		loads = append(loads, newLoad("udp", 1, o.Jumbo, o.Heap))
	}
	for _, l := range loads {
		if err := vethLoad(ctx, l, o, emit); err != nil {
			return fmt.Errorf("bench veth: %s, %d bytes of payload, senders: %d: %w", l.generator, l.payload, l.senders, err)
		}
	}
	return nil
}

// runner is a contestant under way.
type runner struct {
	contestant
	guess    float64   // pps
	rates    []float64 // Gb/s, of each round
	limited  int       // rounds in which the generator was the limit
	trials   []outcome
	ringSize int
	pace     float64   // Gb/s at which CPU time is measured; 0: it is not
	machine  []float64 // CPU seconds for a GB, of each round
	process  []float64
	paced    outcome
	upset    *Disturbed
	failed   error
}

func vethLoad(ctx context.Context, l load, o VethOptions, emit func(Result)) error {
	var all []*runner
	for _, c := range o.contestants() {
		if l.generator == "udp" && !c.jumbo || l.senders > 1 && !c.many || !o.wants(c.name) {
			continue
		}
		all = append(all, &runner{contestant: c, guess: 5e5})
	}
	if l.generator == "blast" {
		if _, err := idleNs(); err != nil {
			return err
		}
	}
	for round := range o.Rounds {
		for i := range all { // another one is the first in each round
			r := all[(round+i)%len(all)]
			if err := ctx.Err(); err != nil {
				return err
			}
			if r.failed == nil {
				r.failed = r.round(ctx, l, o.Trial)
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	pace(all, o.Paced)
	if err := cpuRounds(ctx, l, all, o); err != nil {
		return err
	}
	var drain *runner
	for _, r := range all {
		if r.name == Drain {
			drain = r
		}
		if r.disturb && r.failed == nil {
			if r.failed = r.disturbRounds(ctx, l, o); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	if l.generator == "udp" && o.Spead2Bench != "" && o.wants(Spead2Bench) {
		r, err := spead2Bench(ctx, o.Spead2Bench, l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.Note = err.Error()
		}
		defer emit(r) // last
	}
	var failed []error // of ours; a rival that cannot be measured only says so
	failures := 0
	for _, r := range all {
		emit(r.result(l, drain))
		if r.failed != nil {
			failures++
			if !r.rival {
				failed = append(failed, fmt.Errorf("%s: %w", r.name, r.failed))
			}
		}
	}
	if failures > 0 && failures == len(all) {
		return fmt.Errorf("nobody could be measured: %w", all[0].failed)
	}
	return errors.Join(failed...)
}

// receiving gives do a wire with a receiver at its end, which begins no trial by itself.
func receiving(l load, open func(w *wire) (receiver, error), do func(w *wire, rec receiver) error) (err error) {
	w, err := newWire(l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var rec receiver
	if err := w.in(func() (err error) { rec, err = open(w); return err }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()
	return do(w, rec)
}

// round is one search.
func (r *runner) round(ctx context.Context, l load, d time.Duration) error {
	return receiving(l, r.open, func(w *wire, rec receiver) error {
		try := func(pps float64) (outcome, error) {
			o, _, err := r.try(ctx, w, rec, pps, d)
			return o, err
		}
		if len(r.rates) == 0 {
			if _, err := try(leastPps * 10); err != nil { // warms up
				return err
			}
		}
		c, err := search(try, r.guess)
		r.trials = append(r.trials, c.trials...)
		if err != nil {
			return err
		}
		if c.limited {
			r.limited++
		}
		r.guess = c.pps
		r.rates = append(r.rates, l.gbps(c.pps))
		_, r.ringSize = rec.ring()
		return nil
	})
}

// try is one trial.
func (r *runner) try(ctx context.Context, w *wire, rec receiver, pps float64, d time.Duration) (o outcome, s sent, err error) {
	if err := ctx.Err(); err != nil {
		return o, s, err
	}
	if err := rec.begin(); err != nil {
		return o, s, err
	}
	s, err = w.generator.send(ctx, pps, d)
	received, endErr := rec.end(s.packets)
	if err = errors.Join(err, endErr); err != nil {
		return o, s, err
	}
	o = outcome{pps: s.pps(), sent: s.packets, refused: s.refused, lost: s.packets - min(received, s.packets)}
	o.ringPeak, _ = rec.ring()
	return o, s, nil
}

// cpuTrial is how long packets are sent at a pace to measure CPU time, whose unit in
// /proc/stat is 10 ms, in trials.
const cpuTrial = 20

// cpuRounds is how often CPU time is measured.
func (o *VethOptions) cpuRounds() int { return max(1, min(5, o.Rounds/2)) }

const (
	// pacedShare is at which part of a highest rate CPU time is measured.
	pacedShare = 0.7
	// tooSlow is the part of the median's rate below which a contestant is paced by
	// itself: CPU time at a rate so low would say little of the others.
	tooSlow = 0.25
)

// pace says at which rate each contestant's CPU time is measured: the one that was
// asked for, or one that all take but those that are far behind.
func pace(all []*runner, asked float64) {
	var rates []float64
	for _, r := range all {
		if m, _, _ := Median(r.rates); m > 0 {
			rates = append(rates, m)
		}
	}
	middle, _, _ := Median(rates)
	slowest := math.Inf(1)
	for _, m := range rates {
		if m >= tooSlow*middle {
			slowest = min(slowest, m)
		}
	}
	for _, r := range all {
		switch m, _, _ := Median(r.rates); {
		case asked > 0:
			r.pace = asked
		case m > 0:
			r.pace = pacedShare * min(slowest, m)
		}
	}
}

// cpuRounds measures CPU time at the contestants' paces.
func cpuRounds(ctx context.Context, l load, all []*runner, o VethOptions) error {
	drop := &runner{contestant: contestant{name: "drop", open: openDrop}}
	for range o.cpuRounds() {
		bases := map[float64]float64{}
		for _, r := range all {
			if r.failed != nil || r.pace == 0 {
				continue
			}
			pps := r.pace / l.gbps(1)
			base, ok := bases[r.pace]
			if !ok {
				var err error
				if base, _, _, err = drop.cost(ctx, l, pps, o.Trial*cpuTrial); err != nil {
					return err
				}
				bases[r.pace] = base
			}
			machine, process, out, err := r.cost(ctx, l, pps, o.Trial*cpuTrial)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				r.failed = fmt.Errorf("at %.1f Gb/s: %w", r.pace, err) // what was found before stands
				continue
			}
			r.machine = append(r.machine, machine-base)
			r.process = append(r.process, process)
			r.paced.lost += out.lost
			r.paced.sent += out.sent
		}
	}
	return nil
}

// cost is the CPU time of the whole machine and of the receiver, in seconds for a GB
// of payload.
func (r *runner) cost(ctx context.Context, l load, pps float64, d time.Duration) (machine, process float64, o outcome, err error) {
	err = receiving(l, r.open, func(w *wire, rec receiver) error {
		// What a process does to begin is not counted: nothing waits for it here, as begin
		// returns when it is ready.
		if err := rec.begin(); err != nil {
			return err
		}
		began := time.Now()
		before, err := othersIdle(l)
		if err != nil {
			return err
		}
		s, err := w.generator.send(ctx, pps, d)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if s.packets == 0 {
			return errNothing
		}
		after, err := othersIdle(l)
		if err != nil {
			return err
		}
		all := time.Since(began)*time.Duration(len(others(l))) - (after - before)
		received, err := rec.end(s.packets)
		if err != nil {
			return err
		}
		used, own := rec.cpu()
		if own {
			used -= s.thread
		}
		gb := float64(s.packets) * float64(l.payload) / 1e9
		if l.generator == "blast" {
			ns, err := idleNs()
			if err != nil {
				return err
			}
			all += max(0, s.elapsed-time.Duration(float64(s.idle)*ns))
		}
		o = outcome{pps: s.pps(), sent: s.packets, lost: s.packets - min(received, s.packets)}
		machine, process = all.Seconds()/gb, max(0, used.Seconds())/gb
		return nil
	})
	return machine, process, o, err
}

// others are the processors of which it is known how long they were idle: with blast,
// which waits spinning, all but its own.
func others(l load) []int {
	return slices.DeleteFunc(slices.Clone(allCPUs), func(cpu int) bool { return l.generator == "blast" && cpu == generatorCPU() })
}

// othersIdle is how long they have been idle, together.
func othersIdle(l load) (sum time.Duration, err error) {
	for _, cpu := range others(l) {
		d, err := idleTime(cpu)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (r *runner) result(l load, drain *runner) Result {
	res := Result{
		Bench: "veth", Contestant: r.name,
		Conditions: Conditions{Generator: l.generator, Senders: l.senders, Packet: l.payload, Heap: l.heap},
		Trials:     len(r.rates),
	}
	res.Gbps, res.GbpsLow, res.GbpsHigh = Median(r.rates)
	res.Mpps = res.Gbps / l.gbps(1) / 1e6
	if drain != nil && drain != r && len(r.rates) > 0 {
		ratio := RatioOf(r.rates, drain.rates)
		ratio.To = Drain
		res.Ratio = &ratio
	}
	v := &Veth{Curve: curve(l, r.trials), RingSize: r.ringSize, Disturbed: r.upset}
	for _, p := range v.Curve {
		v.RingPeak = max(v.RingPeak, p.RingPeak)
	}
	if len(r.machine) > 0 {
		v.PacedGbps = r.pace
		v.MachineCPUPerGB, _, _ = Median(r.machine)
		v.MachineCPUPerGB = max(0, v.MachineCPUPerGB)
		v.ProcessCPUPerGB, _, _ = Median(r.process)
		v.PacedLost = r.paced.lost
	}
	res.Veth = v
	switch {
	case r.failed != nil:
		res.Note = r.failed.Error()
	case r.limited > len(r.rates)/2:
		res.Note = "the generator was the limit"
	}
	return res
}

// curvePoints is how many rates a curve shows at most.
const curvePoints = 24

// curve puts trials at rates near each other together.
func curve(l load, trials []outcome) []Point {
	if len(trials) == 0 {
		return nil
	}
	sorted := slices.Clone(trials)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].pps < sorted[j].pps })
	low, high := math.Log(max(sorted[0].pps, 1)), math.Log(max(sorted[len(sorted)-1].pps, 1))
	width := max((high-low)/curvePoints, 0.01)
	var points []Point
	bin := -1
	for _, t := range sorted {
		if b := int((math.Log(max(t.pps, 1)) - low) / width); b != bin {
			bin = b
			points = append(points, Point{})
		}
		p := &points[len(points)-1]
		p.OfferedGbps += (l.gbps(t.pps) - p.OfferedGbps) / float64(p.Trials+1)
		p.Trials++
		if t.lost > 0 {
			p.Lossy++
		}
		p.Sent += t.sent
		p.Refused += t.refused
		p.Lost += t.lost
		p.RingPeak = max(p.RingPeak, t.ringPeak)
	}
	return points
}

// idleNs is what the generator's CPU takes to find that no packet is due, ns: measured
// once, by blasting next to nothing.
var idleNs = sync.OnceValues(measureIdle)

func measureIdle() (ns float64, err error) {
	err = receiving(newLoad("blast", 1, 1408, 1408), openDrop, func(w *wire, _ receiver) error {
		b := w.generator.(*blaster).blast
		b.SetRate(1000)
		c, err := b.Run(context.Background(), 300)
		if err != nil {
			return err
		}
		if c.Idle == 0 {
			return errors.New("the generator was never idle at 1000 packets a second")
		}
		ns = float64(c.Elapsed) / float64(c.Idle)
		return nil
	})
	return ns, err
}
