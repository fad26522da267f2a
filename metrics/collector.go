// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// DefaultNamespace is the first word of all names.
const DefaultNamespace = "speadx"

// Options say how a [Collector] names things.
type Options struct {
	// Namespace is the first word of all names. Default: DefaultNamespace.
	Namespace string
	// Setting names a field of speadx.Config in help texts. Default: Config.Field.
	Setting func(field string) string
	// Version is that of the program, for build_info. Default: that of the main module.
	Version string
}

// Collector shows a receiver's counters. It implements [prometheus.Collector], for a registry,
// and [prometheus.Gatherer], for those who serve it by itself or with others. Its methods may be called from any goroutine, also when the receiver has been closed.
type Collector struct {
	f       *families
	info    speadx.Info
	read    func() *reading
	build   [3]string
	created *timestamppb.Timestamp

	mu    sync.Mutex // one scrape after the other
	floor *floor
	known []series
}

var (
	_ prometheus.Collector = (*Collector)(nil)
	_ prometheus.Gatherer  = (*Collector)(nil)
)

// NewCollector makes a collector for a receiver. Register one for each receiver, in a
// registry of its own or with labels that differ (prometheus.WrapRegistererWith).
func NewCollector(r *speadx.Receiver, o Options) *Collector {
	return newCollector(r.Info(), func() *reading { return read(r) }, o)
}

func newCollector(info speadx.Info, read func() *reading, o Options) *Collector {
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	c := &Collector{f: newFamilies(), info: info, read: read, created: timestamppb.Now(), floor: newFloor()}
	c.f.describe(o.Namespace, o.Setting)
	c.build = buildOf(o.Version)
	return c
}

// buildOf is the version, the revision and the version of Go.
func buildOf(version string) [3]string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return [3]string{version, "unknown", "unknown"}
	}
	if version == "" {
		version = b.Main.Version
	}
	revision := "unknown"
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return [3]string{label(version), revision, b.GoVersion}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range c.f.all() {
		for _, f := range s.families {
			ch <- f.desc
		}
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.scrape(func(_ *family, s *sample) { ch <- s })
}

// Gather implements [prometheus.Gatherer]. It gives what a registry with only this collector
// does, at half the cost: a registry checks each series of each scrape.
func (c *Collector) Gather() ([]*dto.MetricFamily, error) {
	byFamily := map[*family]*dto.MetricFamily{}
	var out []*dto.MetricFamily
	c.scrape(func(f *family, s *sample) {
		mf := byFamily[f]
		if mf == nil {
			mf = &dto.MetricFamily{Name: &f.fullName, Help: &f.fullHelp, Type: f.kind.dto(), Metric: make([]*dto.Metric, 0, f.shown)}
			byFamily[f] = mf
			out = append(out, mf)
		}
		mf.Metric = append(mf.Metric, &s.metric)
		f.shown = len(mf.Metric)
	})
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

// scrape reads the receiver, and gives every sample to out.
func (c *Collector) scrape(out func(f *family, s *sample)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	streams := labels(now.stats.Streams, func(s *speadx.StreamStats) string { return s.Name })
	threads := labels(now.threads, func(t *speadx.ThreadStats) string { return t.Name })
	c.floor.hold(now, streams, threads)
	e := &emitter{out: out, created: c.created, known: &c.known}
	c.receiver(e, now)
	for i, name := range streams {
		c.stream(e, now, i, name)
	}
	c.devices(e, now)
	c.sockets(e, now)
	for i, name := range threads {
		t := &now.threads[i]
		e.put(&c.f.busy, t.Busy.Seconds(), name)
		e.put(&c.f.idle, t.Idle.Seconds(), name)
		e.put(&c.f.blocked, t.Blocked.Seconds(), name)
		e.put(&c.f.turns, float64(t.Turns), name)
		e.put(&c.f.turnAge, t.SinceTurn.Seconds(), name)
	}
}

func (c *Collector) receiver(e *emitter, now *reading) {
	f, s := c.f, &now.stats
	e.put(&f.receiving, bit(now.receiving))
	e.put(&f.packets, float64(s.Packets))
	for i, n := range s.Fates {
		row := ledger.Fate(i).Row()
		e.put(&f.fates, float64(n), row.Name, row.Stage.String(), strconv.FormatBool(row.Loss))
	}
	for i, n := range s.Missing {
		e.put(&f.missing, float64(n), ledger.CauseRow(ledger.Stage(i)).Name)
	}
	e.put(&f.inFlight, float64(s.InFlight))
	e.put(&f.unaccounted, float64(s.Unaccounted))
	e.put(&f.skipped, float64(s.SkippedBytes))
	e.put(&f.superFrames, float64(s.SuperFrames))
	e.put(&f.lastLoss, seconds(now.lastLoss))
	found := map[ledger.Code]bool{}
	for i := range now.diagnoses { // the latest first
		d := &now.diagnoses[i]
		if !found[d.Code] {
			found[d.Code] = true
			e.put(&f.diagnosis, seconds(d.Last), string(d.Code), severity(d.Code))
		}
	}
	e.put(&f.build, 1, c.build[:]...)
}

func (c *Collector) stream(e *emitter, now *reading, i int, name string) {
	f, s := c.f, &now.stats.Streams[i]
	e.put(&f.heaps, float64(s.Counts.Heaps()), name)
	for k, n := range s.Counts {
		e.put(&f.stream[k], ledger.StreamCounter(k).Row().Value(n), name)
	}
	for k, n := range s.Fates {
		// What is lost before a packet is read is lost for the receiver, not for a stream.
		if row := ledger.Fate(k).Row(); row.Stage >= ledger.Parse || n > 0 {
			e.put(&f.streamFates, float64(n), name, row.Name)
		}
	}
	e.put(&f.streamInFlight, float64(s.InFlight), name)
	e.put(&f.senders, float64(s.Senders), name)
	if i < len(now.times) {
		t := &now.times[i]
		e.put(&f.lastData, seconds(t.LastData), name)
		e.put(&f.since, seconds(t.Since), name)
		e.put(&f.streamLastLoss, seconds(t.LastLoss), name)
		e.put(&f.ended, bit(t.Ended), name)
		e.spans(&f.assembly, &t.Assembly, name)
		e.spans(&f.waiting, &t.Waiting, name)
		e.spans(&f.consumer, &t.Consumer, name)
	}
	for _, v := range []struct {
		state string
		n     int
	}{{"free", s.Slots.Free}, {"filling", s.Slots.Filling}, {"ready", s.Slots.Ready}, {"held", s.Slots.Held}} {
		e.put(&f.slots, float64(v.n), name, v.state)
	}
	for _, v := range []struct {
		state string
		n     int
	}{{"filling", s.Slots.HighFilling}, {"ready", s.Slots.HighReady}, {"held", s.Slots.HighHeld}} {
		e.put(&f.highSlots, float64(v.n), name, v.state)
	}
	for _, v := range []struct {
		use string
		n   int
	}{{"live", s.Sum.Live}, {"ring", s.Sum.Ring}, {"held", s.Sum.Held}, {"threads", s.Sum.Threads}} {
		e.put(&f.plannedSlots, float64(v.n), name, v.use)
	}
	e.put(&f.leastFree, float64(s.Slots.LeastFree), name)
	e.put(&f.ring, float64(s.Slots.Ready), name)
	e.put(&f.ringCapacity, float64(s.Sum.Ring), name)
}

func (c *Collector) devices(e *emitter, now *reading) {
	f := c.f
	for i := range now.stats.Devices {
		d := &now.stats.Devices[i]
		for k, n := range d.Counts {
			e.put(&f.device[k], ledger.DeviceCounter(k).Row().Value(n), d.Name)
		}
		for j := range d.Queues {
			queue := strconv.Itoa(d.Queues[j].Queue)
			for k, n := range d.Queues[j].Counts {
				e.put(&f.queue[k], ledger.QueueCounter(k).Row().Value(n), d.Name, queue)
			}
		}
	}
	for i := range c.info.Devices {
		d := &c.info.Devices[i]
		for j := range d.Queues {
			q := &d.Queues[j]
			e.put(&f.queueInfo, 1, d.Name, strconv.Itoa(q.Queue), d.Driver, q.Mode.String(), strconv.FormatBool(q.MultiBuffer), q.Pages)
		}
	}
	for i := range now.frames {
		q := &now.frames[i]
		queue := strconv.Itoa(q.Queue)
		for _, v := range []struct {
			state string
			n     int
		}{{"fill", q.Fill}, {"driver", q.Driver}, {"ring", q.Ring}, {"hand", q.Hand}, {"lost", q.Lost}} {
			e.put(&f.frames, float64(v.n), q.Device, queue, v.state)
		}
	}
}

// sockets shows the streams that come by kernel sockets, and the groups.
func (c *Collector) sockets(e *emitter, now *reading) {
	type key struct{ stream, transport, gro string }
	shown := map[key]bool{}
	put := func(k key) {
		if !shown[k] { // two streams may have one name
			shown[k] = true
			e.put(&c.f.socketInfo, 1, k.stream, k.transport, k.gro)
		}
	}
	for i := range now.sockets {
		s := &now.sockets[i]
		put(key{label(s.Stream), "udp", strconv.FormatBool(s.GRO)})
	}
	for i := range c.info.Listeners {
		put(key{label(c.info.Listeners[i].Stream), "tcp", "false"})
	}
	for _, g := range now.groups {
		e.put(&c.f.joined, bit(g.Joined), g.Interface, g.Group.String())
	}
}

func severity(code ledger.Code) string {
	if code.Row().Severity > 0 { // slog.LevelInfo
		return "warn"
	}
	return "info"
}

func bit(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// seconds are those since 1970; 0 for never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
