// SPDX-License-Identifier: Apache-2.0

// Package histogram counts time spans in buckets, without locks and without allocation.
//
// Four buckets make a factor of two, so that a quantile is at most 19 % too large. The bounds
// are those of a Prometheus native histogram of schema 2: a bucket goes over as it is.
package histogram

import (
	"math"
	"sync/atomic"
	"time"
)

// Schema is that of the buckets as a native histogram: bucket i ends at 2^(Key(i)/4) seconds.
const Schema = 2

const (
	perOctave = 1 << Schema
	leastKey  = -24 * perOctave // 60 ns: the first bucket holds everything below too
	mostKey   = 10 * perOctave  // 1024 s: the last bucket holds everything above too

	// Buckets is their number.
	Buckets = mostKey - leastKey + 1
)

// Key is the key of bucket i in a native histogram.
func Key(i int) int { return i + leastKey }

// Bound is the upper bound of bucket i in seconds, which belongs to the bucket. The last bucket
// also holds what is longer.
func Bound(i int) float64 { return math.Exp2(float64(Key(i)) / perOctave) }

// bucketOf is the bucket of a time span.
func bucketOf(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	// seconds = frac·2^exp with frac in [0.5, 1). The bounds of that octave are
	// 2^(exp-1+j/4): the comparisons say how many quarters are below.
	frac, exp := math.Frexp(d.Seconds())
	key := (exp - 1) * perOctave
	for _, bound := range quarters {
		if frac > bound {
			key++
		}
	}
	return min(max(key-leastKey, 0), Buckets-1)
}

// quarters are the bounds of the buckets of one octave, but for its end.
var quarters = [perOctave]float64{math.Exp2(-1), math.Exp2(-0.75), math.Exp2(-0.5), math.Exp2(-0.25)}

// Histogram counts time spans. Any number of goroutines may observe and read it. The zero value
// is ready for use.
type Histogram struct {
	buckets [Buckets]atomic.Uint64
	sum     atomic.Int64 // ns
	longest atomic.Int64 // ns
}

// Observe counts one time span. One that is negative counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.sum.Add(int64(d)) // before the bucket: see Snapshot
	for {
		old := h.longest.Load()
		if int64(d) <= old || h.longest.CompareAndSwap(old, int64(d)) {
			break
		}
	}
	h.buckets[bucketOf(d)].Add(1)
}

// Snapshot is a reading of a histogram. While spans are observed its sum may hold some that its
// buckets do not have yet. It never goes back.
type Snapshot struct {
	Buckets [Buckets]uint64
	Count   uint64        // of all buckets
	Sum     time.Duration // of all spans
	Longest time.Duration // of all spans ever
}

// Snapshot reads the histogram.
func (h *Histogram) Snapshot() Snapshot {
	var s Snapshot
	h.AddTo(&s)
	return s
}

// AddTo adds the histogram to a reading, which then is of several.
func (h *Histogram) AddTo(s *Snapshot) {
	for i := range h.buckets {
		n := h.buckets[i].Load()
		s.Buckets[i] += n
		s.Count += n
	}
	s.Sum += time.Duration(h.sum.Load())
	s.Longest = max(s.Longest, time.Duration(h.longest.Load()))
}

// Since is what was observed since an earlier reading. Longest stays that of all time.
func (s *Snapshot) Since(earlier *Snapshot) Snapshot {
	out := Snapshot{Sum: s.Sum - earlier.Sum, Longest: s.Longest}
	for i, n := range s.Buckets {
		out.Buckets[i] = n - earlier.Buckets[i]
		out.Count += out.Buckets[i]
	}
	return out
}

// Mean is the mean of all spans; 0 if there are none.
func (s *Snapshot) Mean() time.Duration {
	if s.Count == 0 {
		return 0
	}
	return s.Sum / time.Duration(min(s.Count, math.MaxInt64))
}

// Quantile is a time that at least the part q of all spans does not exceed: 0.99 is p99. It is
// the upper bound of a bucket, or the longest span if that is less. Without spans it is 0.
func (s *Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	want := uint64(math.Ceil(min(max(q, 0), 1) * float64(s.Count)))
	var n uint64
	for i, c := range s.Buckets {
		if n += c; n >= max(want, 1) && i < Buckets-1 {
			return min(time.Duration(Bound(i)*1e9), s.Longest)
		}
	}
	return s.Longest
}

// AtMost is the number of spans in the buckets that end at d or below. It is exact where d is
// the bound of a bucket, such as a power of two in seconds.
func (s *Snapshot) AtMost(d time.Duration) uint64 {
	var n uint64
	for i, c := range s.Buckets[:Buckets-1] {
		if Bound(i) > d.Seconds() {
			break
		}
		n += c
	}
	return n
}
