// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
)

// confidence is that of every interval here.
const confidence = 0.95

// Median returns the median of xs, and the interval in which the median of the
// distribution they come from lies with 95 % confidence. It supposes only that the values
// are independent. Of n values in order, the k-th and the k-th from the end enclose the
// median unless fewer than k fall on one side of it. That is as likely as fewer than k
// heads in n tosses of a coin (David and Nagaraja, Order Statistics, section 7.1). The
// interval is the narrowest such.
//
// Fewer than 6 values have no such interval. Then least and greatest stand for it: of 5
// with a confidence of 94 %, of 3 with one of 75 %. Of none all is 0. xs is not changed.
func Median(xs []float64) (median, low, high float64) {
	n := len(xs)
	if n == 0 {
		return 0, 0, 0
	}
	sorted := slices.Clone(xs)
	slices.Sort(sorted)
	median = sorted[n/2]
	if n%2 == 0 {
		median = sorted[n/2-1] + (sorted[n/2]-sorted[n/2-1])/2
	}
	k := rank(n)
	return median, sorted[k-1], sorted[n-k]
}

// rank returns the largest k for which fewer than k heads in n tosses, or fewer than
// k tails, come with a probability of at most 5 %; at least 1.
func rank(n int) int {
	k := 1
	for outside := 0.0; k <= n/2; k++ {
		outside += 2 * math.Exp(logChoose(n, k)-float64(n)*math.Ln2)
		if k == 1 {
			outside += 2 * math.Exp(-float64(n)*math.Ln2)
		}
		if outside > 1-confidence {
			break
		}
	}
	return k
}

// logChoose is the logarithm of the number of ways to choose k of n.
func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// RatioOf returns the median of a[i]/b[i], with its interval. a[i] and b[i] are rates that
// were measured one right after the other. What slows the whole machine slows both, and does
// not show. Pairs whose b is not above 0 are left out, and so is what one list has more than
// the other. The caller says in To which contestant is divided by which.
func RatioOf(a, b []float64) Ratio {
	var quotients []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			quotients = append(quotients, a[i]/b[i])
		}
	}
	var r Ratio
	r.Value, r.Low, r.High = Median(quotients)
	return r
}
