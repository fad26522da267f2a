package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/speadx/speadx/internal/histogram"
)

// emitter hands metrics to a scrape. Scrapes follow each other with the same series in the
// same order, so that the labels of the last one are used again.
type emitter struct {
	ch      chan<- prometheus.Metric
	created *timestamppb.Timestamp
	known   *[]series
	n       int // series of this scrape so far
}

// series is one that was in the last scrape.
type series struct {
	f      *family
	values []string
	labels []*dto.LabelPair
}

// labels are the labels of the next series.
func (e *emitter) labels(f *family, values []string) []*dto.LabelPair {
	i := e.n
	e.n++
	if i < len(*e.known) {
		if s := &(*e.known)[i]; s.f == f && slices.Equal(s.values, values) {
			return s.labels
		}
		*e.known = (*e.known)[:i]
	}
	s := series{f: f, values: slices.Clone(values)}
	s.labels = prometheus.MakeLabelPairs(f.desc, s.values)
	*e.known = append(*e.known, s)
	return s.labels
}

func (e *emitter) put(f *family, v float64, values ...string) {
	s := &sample{desc: f.desc, labels: e.labels(f, values), value: v}
	if f.kind == counter {
		s.counter = &dto.Counter{Value: &s.value}
	} else {
		s.gauge = &dto.Gauge{Value: &s.value}
	}
	e.ch <- s
}

// sample is a metric with its value.
type sample struct {
	desc      *prometheus.Desc
	labels    []*dto.LabelPair
	value     float64
	counter   *dto.Counter
	gauge     *dto.Gauge
	histogram *dto.Histogram
}

// Desc implements [prometheus.Metric].
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *sample) Write(out *dto.Metric) error {
	out.Label, out.Counter, out.Gauge, out.Histogram = s.labels, s.counter, s.gauge, s.histogram
	return nil
}

// The classic buckets are a factor of 4 wide, from 15 µs to 64 s.
const (
	classicEvery = 2 << histogram.Schema // native buckets
	classicFirst = -16 << histogram.Schema
	classicLast  = 6 << histogram.Schema
)

// spans shows a distribution as a native histogram that has classic buckets too. Classic
// bounds are bounds of native buckets, so that both say the same.
func (e *emitter) spans(f *family, s *histogram.Snapshot, values ...string) {
	h := &dto.Histogram{
		SampleSum: new(s.Sum.Seconds()), CreatedTimestamp: e.created,
		Schema: new(int32(histogram.Schema)), ZeroThreshold: new(histogram.Bound(0)), ZeroCount: new(s.Buckets[0]),
	}
	var last int64
	end, seen := 0, uint64(0) // end: behind the last bucket that has a place
	for i, n := range s.Buckets {
		seen += n
		if i > 0 && n > 0 {
			if k := len(h.PositiveSpan); k > 0 && i-end <= 2 { // a small gap costs less than a span
				for ; end < i; end++ {
					h.PositiveDelta = append(h.PositiveDelta, -last)
					*h.PositiveSpan[k-1].Length++
					last = 0
				}
				*h.PositiveSpan[k-1].Length++
			} else {
				offset := histogram.Key(i)
				if k > 0 {
					offset = i - end
				}
				h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: new(int32(offset)), Length: new(uint32(1))})
			}
			h.PositiveDelta = append(h.PositiveDelta, int64(n)-last)
			last, end = int64(n), i+1
		}
		if key := histogram.Key(i); key%classicEvery == 0 && key >= classicFirst && key <= classicLast {
			h.Bucket = append(h.Bucket, &dto.Bucket{CumulativeCount: new(seen), UpperBound: new(histogram.Bound(i))})
		}
	}
	h.SampleCount = new(seen)
	e.ch <- &sample{desc: f.desc, labels: e.labels(f, values), histogram: h}
}
