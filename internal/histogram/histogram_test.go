// SPDX-License-Identifier: Apache-2.0

package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// Each span is in the bucket whose bounds enclose it.
func TestBuckets(t *testing.T) {
	check := func(d time.Duration) {
		t.Helper()
		i := bucketOf(d)
		if s := d.Seconds(); i < Buckets-1 && s > Bound(i) || i > 0 && s <= Bound(i-1) {
			t.Errorf("%v is in bucket %d, which ends at %v s", d, i, Bound(i))
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 59, 60, time.Microsecond, time.Second, 1024 * time.Second, time.Hour, math.MaxInt64, math.MinInt64} {
		check(d)
	}
	for k := range 34 {
		d := time.Duration(math.Exp2(float64(k-24)) * 1e9)
		check(d - 1)
		check(d)
		check(d + 1)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		check(time.Duration(math.Exp(r.Float64() * math.Log(math.MaxInt64))))
	}
}

// A quantile is never below the true one, and at most one bucket above it.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h Histogram
	var all []time.Duration
	var sum time.Duration
	for range 1000 {
		d := time.Duration(math.Exp(r.NormFloat64()+15) + 100)
		h.Observe(d)
		all = append(all, d)
		sum += d
	}
	slices.Sort(all)
	s := h.Snapshot()
	if s.Count != 1000 || s.Sum != sum || s.Mean() != sum/1000 || s.Longest != all[999] {
		t.Errorf("%d spans, sum %v, longest %v", s.Count, s.Sum, s.Longest)
	}
	for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(math.Ceil(q*1000))-1, 0)]
		if got := s.Quantile(q); got < want-1 || float64(got) > float64(want)*math.Exp2(0.25)+1 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}

func TestEdges(t *testing.T) {
	var h Histogram
	s := h.Snapshot()
	if s.Quantile(0.99) != 0 || s.Mean() != 0 {
		t.Errorf("without spans: %v, %v", s.Quantile(0.99), s.Mean())
	}
	h.Observe(-time.Second)
	h.Observe(time.Hour) // beyond the last bucket
	s = h.Snapshot()
	if s.Count != 2 || s.Sum != time.Hour || s.Quantile(1) != time.Hour || s.Quantile(0.5) > 100 {
		t.Errorf("%d spans, sum %v, %v, %v", s.Count, s.Sum, s.Quantile(1), s.Quantile(0.5))
	}
}

func TestSince(t *testing.T) {
	var h, other Histogram
	h.Observe(time.Second)
	before := h.Snapshot()
	h.Observe(time.Millisecond)
	h.Observe(2 * time.Second)
	now := h.Snapshot()
	d := now.Since(&before)
	if d.Count != 2 || d.Sum != 2001*time.Millisecond || d.AtMost(time.Second) != 1 || now.AtMost(time.Second) != 2 {
		t.Errorf("%d spans, sum %v, %d and %d at most 1 s", d.Count, d.Sum, d.AtMost(time.Second), now.AtMost(time.Second))
	}
	other.Observe(time.Minute)
	other.AddTo(&now)
	if now.Count != 4 || now.Longest != time.Minute || now.AtMost(time.Hour) != 4 {
		t.Errorf("of both: %d spans, longest %v", now.Count, now.Longest)
	}
}

func TestConcurrently(t *testing.T) {
	var h Histogram
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 10000 {
				h.Observe(time.Duration(n * (i + 1)))
			}
		})
	}
	wg.Wait()
	if s := h.Snapshot(); s.Count != 40000 || s.Longest != 39996 || s.Sum != 10*9999*10000/2 {
		t.Errorf("%d spans, longest %v, sum %v", s.Count, s.Longest, s.Sum)
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Observe(time.Duration(i))
	}
}
