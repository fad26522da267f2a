// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math/rand/v2"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		name              string
		xs                []float64
		median, low, high float64
	}{
		{"none", nil, 0, 0, 0},
		{"one", []float64{3}, 3, 3, 3},
		{"two", []float64{4, 1}, 2.5, 1, 4},
		{"three", []float64{9, 1, 2}, 2, 1, 9},
		{"six: the range has 96.9 %", []float64{6, 5, 4, 3, 2, 1}, 3.5, 1, 6},
		// Ranks of the interval, as tables of the sign test have them.
		{"eight", ascending(8), 4.5, 1, 8},
		{"nine", ascending(9), 5, 2, 8},
		{"ten", ascending(10), 5.5, 2, 9},
		{"twelve", ascending(12), 6.5, 3, 10},
		{"twenty", ascending(20), 10.5, 6, 15},
		{"hundred", ascending(100), 50.5, 40, 61},
	} {
		t.Run(tt.name, func(t *testing.T) {
			median, low, high := Median(tt.xs)
			if median != tt.median || low != tt.low || high != tt.high {
				t.Errorf("Median = %v [%v, %v]; want %v [%v, %v]", median, low, high, tt.median, tt.low, tt.high)
			}
		})
	}
}

func ascending(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(i + 1)
	}
	return xs
}

func TestMedianLeavesItsArgument(t *testing.T) {
	xs := []float64{3, 1, 2}
	if Median(xs); xs[0] != 3 || xs[1] != 1 || xs[2] != 2 {
		t.Errorf("xs is now %v", xs)
	}
}

// TestMedianCoverage: of many samples the interval misses the true median in at most
// 5 % (the binomial is coarse, so in fewer), and is not needlessly wide.
func TestMedianCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{6, 9, 15, 40} {
		const samples = 4000
		missed := 0
		xs := make([]float64, n)
		for range samples {
			for i := range xs {
				xs[i] = r.ExpFloat64() - 0.6931471805599453 // median 0, and skewed
			}
			if _, low, high := Median(xs); low > 0 || high < 0 {
				missed++
			}
		}
		if share := float64(missed) / samples; share > 0.06 || share < 0.01 {
			t.Errorf("of %d values the interval misses the median in %.1f %%", n, 100*share)
		}
	}
}

func TestRank(t *testing.T) {
	for n := 1; n < 3000; n = n*5/4 + 1 {
		if k := rank(n); k < 1 || k > n/2+1 || n-k < k-1 {
			t.Errorf("rank(%d) = %d", n, k)
		}
	}
}

func TestRatioOf(t *testing.T) {
	// The machine halves its speed in the middle: each rate has two values, the
	// ratio one.
	a := []float64{30, 30, 30, 15, 15, 15, 99}
	b := []float64{10, 10, 10, 5, 5, 5}
	if r := RatioOf(a, b); r != (Ratio{Value: 3, Low: 3, High: 3}) {
		t.Errorf("RatioOf = %+v", r)
	}
	if r := RatioOf([]float64{1, 4}, []float64{0, 2}); r != (Ratio{Value: 2, Low: 2, High: 2}) {
		t.Errorf("with a rate of 0: %+v", r)
	}
	if r := RatioOf(nil, b); r != (Ratio{}) {
		t.Errorf("of nothing: %+v", r)
	}
}
