// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/xsk"
)

// made is a reading of so many streams, queues and threads, in which all numbers differ.
func made(streams, queues int) (speadx.Info, *reading) {
	n := uint64(0)
	next := func() uint64 { n++; return n }
	var info speadx.Info
	now := &reading{receiving: true, lastLoss: time.Unix(1000, 5e8)}
	s := &now.stats
	s.Packets, s.SkippedBytes, s.SuperFrames, s.InFlight, s.Unaccounted = next(), next(), next(), next(), int64(next())
	for i := range s.Fates {
		s.Fates[i] = next()
	}
	for i := range s.Missing {
		s.Missing[i] = next()
	}
	for i := range streams {
		st := speadx.StreamStats{Name: fmt.Sprintf("239.1.2.%d:7148", i)}
		for k := range st.Counts {
			st.Counts[k] = next()
		}
		for k := range st.Fates {
			st.Fates[k] = next()
		}
		s.Streams = append(s.Streams, st)
		t := speadx.StreamTimes{Name: st.Name, LastData: time.Unix(2000, 0)}
		var assembly, waiting histogram.Histogram
		for d := time.Microsecond; d < time.Minute; d += d / 8 {
			assembly.Observe(d)
			waiting.Observe(d)
		}
		t.Assembly, t.Waiting, t.Consumer = assembly.Snapshot(), waiting.Snapshot(), waiting.Snapshot()
		now.times = append(now.times, t)
		now.groups = append(now.groups, speadx.GroupState{Interface: "eth1", Group: netip.AddrFrom4([4]byte{239, 1, 2, byte(i)}), Joined: true})
		now.sockets = append(now.sockets, speadx.SocketInfo{Stream: st.Name})
	}
	d, di := speadx.DeviceStats{Name: "eth1"}, speadx.DeviceInfo{Name: "eth1", Driver: "mlx5_core"}
	for k := range d.Counts {
		d.Counts[k] = next()
	}
	for q := range queues {
		qs := speadx.QueueStats{Queue: q}
		for k := range qs.Counts {
			qs.Counts[k] = next()
		}
		d.Queues = append(d.Queues, qs)
		di.Queues = append(di.Queues, xsk.Info{Queue: q})
		now.frames = append(now.frames, speadx.QueueFrames{Device: "eth1", Queue: q, FrameCounts: xsk.FrameCounts{Fill: 10}})
		now.threads = append(now.threads, speadx.ThreadStats{Name: fmt.Sprintf("eth1 queue %d", q), Busy: time.Second, Turns: next()})
	}
	s.Devices, info.Devices = append(s.Devices, d), append(info.Devices, di)
	for _, row := range ledger.Codes() {
		now.diagnoses = append(now.diagnoses, ledger.Diagnosis{Code: row.Code, Last: time.Unix(3000, 0)})
	}
	return info, now
}

func fixed(info speadx.Info, now *reading, o Options) *Collector {
	return newCollector(info, func() *reading { copied := *now; return &copied }, o)
}

func gather(t testing.TB, c prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	list, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range list {
		out[f.GetName()] = f
	}
	return out
}

// value is that of the series that has these labels.
func value(t testing.TB, all map[string]*dto.MetricFamily, name string, want map[string]string) float64 {
	t.Helper()
	for _, m := range all[name].GetMetric() {
		left := len(want)
		for _, l := range m.GetLabel() {
			if v, ok := want[l.GetName()]; ok && v == l.GetValue() {
				left--
			}
		}
		if left == 0 {
			if m.Counter != nil {
				return m.Counter.GetValue()
			}
			return m.Gauge.GetValue()
		}
	}
	t.Errorf("there is no %s%v", name, want)
	return math.NaN()
}

// A stream whose endpoints were removed is not received: an alert of silence does not count it.
func TestReceivingSince(t *testing.T) {
	info, now := made(2, 1)
	now.times[0].Since = time.Unix(1500, 0)
	all := gather(t, fixed(info, now, Options{}))
	for i, want := range []float64{1500, 0} {
		stream := map[string]string{"stream": now.times[i].Name}
		if got := value(t, all, "speadx_input_receiving_since_timestamp_seconds", stream); got != want {
			t.Errorf("stream %d: received since %v, want %v", i, got, want)
		}
	}
}

func TestLint(t *testing.T) {
	for _, namespace := range []string{"", "xbgpu"} {
		reg := prometheus.NewPedanticRegistry()
		info, now := made(2, 2)
		if err := reg.Register(fixed(info, now, Options{Namespace: namespace})); err != nil {
			t.Fatal(err)
		}
		problems, err := testutil.GatherAndLint(reg)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestStems: dashboards of the telescopes ask for these names.
func TestStems(t *testing.T) {
	info, now := made(1, 1)
	all := gather(t, fixed(info, now, Options{Namespace: "xbgpu"}))
	c := &now.stats.Streams[0].Counts
	for stem, want := range map[string]uint64{
		"heaps":            c.Heaps(),
		"bytes":            c[ledger.PayloadPlaced],
		"packets":          c[ledger.PacketsFed],
		"batches":          c[ledger.BatchesFed],
		"missing_heaps":    c[ledger.HeapsMissing],
		"incomplete_heaps": c[ledger.HeapsIncomplete],
		"too_old_heaps":    c[ledger.HeapsOvertaken],
	} {
		if got := value(t, all, "xbgpu_input_"+stem+"_total", map[string]string{"stream": "239.1.2.0:7148"}); got != float64(want) {
			t.Errorf("%s: %v, want %v", stem, got, want)
		}
	}
	if got := value(t, all, "xbgpu_input_max_batch_packets", nil); got != float64(c[ledger.BatchMax]) {
		t.Errorf("max_batch: %v", got)
	}
	for name := range all {
		if !strings.HasPrefix(name, "xbgpu_") {
			t.Errorf("%s has another prefix", name)
		}
	}
}

// TestRows: each row of the ledger is a metric with its meaning and its value, and each fate
// is a series.
func TestRows(t *testing.T) {
	info, now := made(1, 1)
	all := gather(t, fixed(info, now, Options{}))
	f := newFamilies()
	check := func(f *family, row *ledger.Row, n uint64, labels map[string]string) {
		t.Helper()
		name := "speadx_" + f.name
		if help := all[name].GetHelp(); help != ledger.Fill(row.Meaning, nil) {
			t.Errorf("%s: help %q", name, help)
		}
		if got := value(t, all, name, labels); got != row.Value(n) {
			t.Errorf("%s: %v, want %v", name, got, row.Value(n))
		}
	}
	st, d := &now.stats.Streams[0], &now.stats.Devices[0]
	stream := map[string]string{"stream": st.Name}
	for i, n := range st.Counts {
		check(&f.stream[i], ledger.StreamCounter(i).Row(), n, stream)
	}
	for i, n := range d.Counts {
		check(&f.device[i], ledger.DeviceCounter(i).Row(), n, map[string]string{"device": "eth1"})
	}
	for i, n := range d.Queues[0].Counts {
		check(&f.queue[i], ledger.QueueCounter(i).Row(), n, map[string]string{"device": "eth1", "queue": "0"})
	}
	var lost float64
	for i, n := range now.stats.Fates {
		row := ledger.Fate(i).Row()
		labels := map[string]string{"fate": row.Name, "stage": row.Stage.String(), "loss": fmt.Sprint(row.Loss)}
		got := value(t, all, "speadx_fate_packets_total", labels)
		if got != float64(n) {
			t.Errorf("%v: %v, want %d", labels, got, n)
		}
		if row.Loss {
			lost += got
		}
		labels = map[string]string{"stream": st.Name, "fate": row.Name}
		if got := value(t, all, "speadx_input_fate_packets_total", labels); got != float64(st.Fates[i]) {
			t.Errorf("%v: %v, want %d", labels, got, st.Fates[i])
		}
	}
	if lost != float64(now.stats.Fates.Lost()) {
		t.Errorf("%v lost, want %d", lost, now.stats.Fates.Lost())
	}
	missing := 0.0
	for i, n := range now.stats.Missing {
		got := value(t, all, "speadx_missing_bytes_total", map[string]string{"cause": ledger.Stage(i).String()})
		if missing += got; got != float64(n) {
			t.Errorf("%v: %v missing, want %d", ledger.Stage(i), got, n)
		}
	}
	if missing != float64(now.stats.Missing.Sum()) {
		t.Errorf("%v bytes missing", missing)
	}
	for _, row := range ledger.Codes() {
		if got := value(t, all, "speadx_diagnosis_timestamp_seconds", map[string]string{"code": string(row.Code)}); got != 3000 {
			t.Errorf("%s: %v", row.Code, got)
		}
	}
	if got := value(t, all, "speadx_last_loss_timestamp_seconds", nil); got != 1000.5 {
		t.Errorf("last loss %v", got)
	}
}

// TestFatesBeforeAStream: what is lost before a packet is read is no stream's, as long as it
// is 0 there.
func TestFatesBeforeAStream(t *testing.T) {
	now := &reading{stats: speadx.Stats{Streams: []speadx.StreamStats{{Name: "s"}}}}
	var got []string
	for _, m := range gather(t, fixed(speadx.Info{}, now, Options{}))["speadx_input_fate_packets_total"].Metric {
		for _, l := range m.Label {
			if l.GetName() == "fate" {
				got = append(got, l.GetValue())
			}
		}
	}
	for f := range ledger.NumFates {
		if slices.Contains(got, f.String()) != (f.Row().Stage >= ledger.Parse) {
			t.Errorf("%v of stage %v", f, f.Row().Stage)
		}
	}
}

// TestGather: it gives what a registry gives, also the second time.
func TestGather(t *testing.T) {
	info, now := made(3, 2)
	c := fixed(info, now, Options{})
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Gather()
		if err != nil || len(got) != len(want) {
			t.Fatalf("%v: %d families of %d", err, len(got), len(want))
		}
		text := func(f *dto.MetricFamily) (out []string) {
			for _, m := range f.Metric {
				out = append(out, m.String())
			}
			slices.Sort(out)
			return append(out, f.GetName(), f.GetHelp(), f.GetType().String())
		}
		for i := range want {
			if a, b := text(got[i]), text(want[i]); !slices.Equal(a, b) {
				t.Errorf("%s\n%s", a, b)
			}
		}
	}
}

func TestSettingsInHelp(t *testing.T) {
	info, now := made(1, 1)
	all := gather(t, fixed(info, now, Options{Setting: func(field string) string { return "--" + strings.ToLower(field) }}))
	if help := all["speadx_input_aged_heaps_total"].GetHelp(); !strings.Contains(help, "--maxage") {
		t.Errorf("help %q", help)
	}
}

// TestHistogram: the native histogram and its classic buckets say the same.
func TestHistogram(t *testing.T) {
	now := &reading{stats: speadx.Stats{Streams: []speadx.StreamStats{{Name: "s"}}}, times: []speadx.StreamTimes{{Name: "s"}}}
	spans := []time.Duration{0, time.Nanosecond, 3 * time.Millisecond, 3 * time.Millisecond, 20 * time.Millisecond, time.Second, time.Hour}
	var waiting histogram.Histogram
	for _, d := range spans {
		waiting.Observe(d)
	}
	now.times[0].Waiting = waiting.Snapshot()
	all := gather(t, fixed(speadx.Info{}, now, Options{}))
	if n := all["speadx_heap_assembly_seconds"].Metric[0].Histogram.GetSampleCount(); n != 0 {
		t.Errorf("%d heaps were assembled", n)
	}
	h := all["speadx_heap_wait_seconds"].Metric[0].Histogram
	if h.GetSampleCount() != 7 || h.GetSampleSum() != 3601.026000001 || h.GetSchema() != histogram.Schema || h.GetZeroCount() != 2 {
		t.Errorf("%v", h)
	}
	if len(h.Bucket) < 10 {
		t.Errorf("%d classic buckets", len(h.Bucket))
	}
	for _, b := range h.Bucket {
		want := uint64(0)
		for _, d := range spans {
			if d.Seconds() <= b.GetUpperBound() {
				want++
			}
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("%d up to %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
		}
	}
	// The native buckets, from their spans and differences.
	total, n, index := h.GetZeroCount(), int64(0), int32(0)
	delta := h.PositiveDelta
	for _, s := range h.PositiveSpan {
		index += s.GetOffset()
		for range s.GetLength() {
			n += delta[0]
			delta = delta[1:]
			total += uint64(n)
			if upper := math.Exp2(float64(index) / 4); n > 0 && !slices.ContainsFunc(spans, func(d time.Duration) bool {
				return d.Seconds() <= upper*1.0001 && d.Seconds() > upper/1.1893 || d == time.Hour && upper == 1024
			}) {
				t.Errorf("%d in the bucket up to %v s", n, upper)
			}
			index++
		}
	}
	if total != 7 {
		t.Errorf("%d in native buckets", total)
	}
}

// TestSeries: their number depends on the configuration only.
func TestSeries(t *testing.T) {
	for _, v := range []struct{ streams, queues int }{{1, 1}, {64, 16}} {
		info, now := made(v.streams, v.queues)
		for i := range now.stats.Streams { // as it is: no stream has a fate of before it
			for f := range ledger.NumFates {
				if f.Row().Stage < ledger.Parse {
					now.stats.Streams[i].Fates[f] = 0
				}
			}
		}
		w := httptest.NewRecorder()
		serve(info, now).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		n := 0
		for line := range strings.Lines(w.Body.String()) {
			if !strings.HasPrefix(line, "#") {
				n++
			}
		}
		t.Logf("%d streams, %d queues: %d series", v.streams, v.queues, n)
		if most := 110 + 125*v.streams + 32*v.queues; n > most {
			t.Errorf("%d streams, %d queues: %d series, more than %d", v.streams, v.queues, n, most)
		}
	}
}

// TestNames: a name that is no UTF-8, or that two have, does not end a scrape.
func TestNames(t *testing.T) {
	_, now := made(2, 2)
	for i := range 2 {
		now.stats.Streams[i].Name, now.threads[i].Name = "a\xff\"\n", "same"
	}
	now.sockets = []speadx.SocketInfo{{Stream: "a\xff"}, {Stream: "a\xff"}}
	all := gather(t, fixed(speadx.Info{}, now, Options{}))
	for i, name := range []string{"a\uFFFD\"\n", "a\uFFFD\"\n (2)"} {
		if got := value(t, all, "speadx_input_packets_total", map[string]string{"stream": name}); got != float64(now.stats.Streams[i].Counts[ledger.PacketsFed]) {
			t.Errorf("%q: %v", name, got)
		}
	}
	value(t, all, "speadx_thread_turns_total", map[string]string{"thread": "same (2)"})
}

// TestNeverDecrease: a reading whose parts are older than those shown before.
func TestNeverDecrease(t *testing.T) {
	info, high := made(2, 2)
	_, low := made(2, 2)
	low.stats.Packets, low.stats.Missing, low.stats.Fates, low.stats.Streams[1].Counts, low.stats.Devices[0].Counts = 0, ledger.Causes{}, ledger.Fates{}, ledger.StreamCounts{}, ledger.DeviceCounts{}
	low.stats.Devices[0].Queues[1].Counts, low.times[0].Assembly, low.threads[1].Busy = ledger.QueueCounts{}, histogram.Snapshot{}, 0
	now := high
	c := newCollector(info, func() *reading { copied := *now; return &copied }, Options{})
	before := gather(t, c)
	now = low
	after := gather(t, c)
	for name, f := range before {
		for i, m := range f.Metric {
			is := after[name].Metric[i]
			if m.Counter.GetValue() > is.Counter.GetValue() || m.Histogram.GetSampleCount() > is.Histogram.GetSampleCount() {
				t.Errorf("%s: %v after %v", name, is, m)
			}
		}
	}
}

func serve(info speadx.Info, now *reading) http.Handler {
	return promhttp.HandlerFor(fixed(info, now, Options{}), promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// processorTime is what this process has used: on a busy machine it says more than the clock.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScrape is a scrape of 64 streams on 16 queues, from the reading to the response.
// BenchmarkReceiver has a real receiver.
func BenchmarkScrape(b *testing.B) {
	info, now := made(64, 16)
	h := serve(info, now)
	for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"} {
		b.Run(strings.Split(accept+"text/plain;", ";")[0], func(b *testing.B) {
			began := processorTime(b)
			for b.Loop() {
				r := httptest.NewRequest("GET", "/metrics", nil)
				r.Header.Set("Accept", accept)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if n, _ := io.Copy(io.Discard, w.Body); n < 1000 {
					b.Fatal(n)
				}
			}
			b.ReportMetric((processorTime(b)-began).Seconds()*1e3/float64(b.N), "cpu-ms/scrape")
		})
	}
}
