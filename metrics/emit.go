// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/speadx/speadx/internal/histogram"
)

// emitter hands samples to a scrape. Scrapes follow each other with the same series in the
// same order, so that the labels of the last one are used again.
type emitter struct {
	out     func(f *family, s *sample)
	created *timestamppb.Timestamp
	known   *[]series
	n       int // series of this scrape so far
	slab    []sample
}

// sample is a new one.
func (e *emitter) sample(desc *prometheus.Desc) *sample {
	if len(e.slab) == 0 {
		e.slab = make([]sample, 64)
	}
	s := &e.slab[0]
	e.slab = e.slab[1:]
	s.desc = desc
	return s
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
	s := e.sample(f.desc)
	s.value = v
	s.metric.Label = e.labels(f, values)
	if f.kind == counter {
		s.counter.Value = &s.value
		s.metric.Counter = &s.counter
	} else {
		s.gauge.Value = &s.value
		s.metric.Gauge = &s.gauge
	}
	e.out(f, s)
}

// sample is a metric with its value, in one piece of memory.
type sample struct {
	desc    *prometheus.Desc
	metric  dto.Metric
	value   float64
	counter dto.Counter
	gauge   dto.Gauge
}

// Desc implements [prometheus.Metric].
func (s *sample) Desc() *prometheus.Desc { return s.desc }

// Write implements [prometheus.Metric].
func (s *sample) Write(out *dto.Metric) error {
	m := &s.metric
	out.Label, out.Counter, out.Gauge, out.Histogram = m.Label, m.Counter, m.Gauge, m.Histogram
	return nil
}

// The classic buckets are a factor of 4 wide, from 15 µs to 64 s.
const (
	classicEvery = 2 << histogram.Schema // native buckets
	classicFirst = -16 << histogram.Schema
	classicLast  = 6 << histogram.Schema
	numClassic   = (classicLast-classicFirst)/classicEvery + 1
)

var (
	schema        = int32(histogram.Schema)
	zeroThreshold = histogram.Bound(0)
	classicBounds = func() (b [numClassic]float64) {
		for i := range histogram.Buckets {
			if k := histogram.Key(i) - classicFirst; k >= 0 && k%classicEvery == 0 && k/classicEvery < numClassic {
				b[k/classicEvery] = histogram.Bound(i)
			}
		}
		return b
	}()
)

// distributionSample is a histogram in one piece of memory.
type distributionSample struct {
	h           dto.Histogram
	sum         float64
	count, zero uint64
	buckets     [numClassic]dto.Bucket
	list        [numClassic]*dto.Bucket
	seen        [numClassic]uint64
}

// spans shows a distribution as a native histogram that has classic buckets too. Classic
// bounds are bounds of native buckets, so that both say the same.
func (e *emitter) spans(f *family, of *histogram.Snapshot, values ...string) {
	all := &distributionSample{sum: of.Sum.Seconds(), zero: of.Buckets[0]}
	h := &all.h
	h.SampleSum, h.ZeroCount, h.SampleCount = &all.sum, &all.zero, &all.count
	h.CreatedTimestamp, h.Schema, h.ZeroThreshold = e.created, &schema, &zeroThreshold
	var last int64
	end, seen := 0, uint64(0) // end: behind the last bucket that has a place
	for i, n := range of.Buckets {
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
			k := (key - classicFirst) / classicEvery
			all.seen[k] = seen
			all.buckets[k].CumulativeCount, all.buckets[k].UpperBound = &all.seen[k], &classicBounds[k]
			all.list[k] = &all.buckets[k]
		}
	}
	h.Bucket, all.count = all.list[:], seen
	s := e.sample(f.desc)
	s.metric.Label, s.metric.Histogram = e.labels(f, values), h
	e.out(f, s)
}
