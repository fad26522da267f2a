// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"testing"
)

// TestLooksDiffer: no two looks have marker and colour in common, and no two of the first
// have the marker, or dash and colour.
func TestLooksDiffer(t *testing.T) {
	if numMarkers < 16 {
		t.Fatalf("%d markers", numMarkers)
	}
	whole, markers, lines := map[string]int{}, map[string]int{}, map[string]int{}
	unique := func(seen map[string]int, key string, i int) {
		if other, ok := seen[key]; ok {
			t.Errorf("looks %d and %d are both %s", other, i, key)
		}
		seen[key] = i
	}
	path := regexp.MustCompile(`^M[-0-9. ]+(L[-0-9. ]+){2,}Z$`)
	for i := range numLooks {
		l := lookAt(i)
		marker := fmt.Sprint(l.Shape, l.Fill)
		unique(whole, l.Light+marker, i)
		if i < numMarkers {
			unique(markers, marker, i)
			unique(lines, fmt.Sprint(l.Light, l.Dash), i)
		}
		if !path.MatchString(l.Shape) {
			t.Errorf("look %d: shape %q", i, l.Shape)
		}
		for _, p := range l.Outline {
			if math.Hypot(p[0], p[1]) > 6.5 {
				t.Errorf("look %d: corner %v is too far out", i, p)
			}
		}
	}
}

// TestLookColors: each colour differs from its ground as WCAG 2.1 asks of graphics.
func TestLookColors(t *testing.T) {
	luminance := func(hex string) (sum float64) {
		n, err := strconv.ParseUint(hex[1:], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
			v := float64(n>>(8*i)&0xff) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	for _, c := range colors {
		for _, pair := range [][2]string{{c.light, "#ffffff"}, {c.dark, "#151b21"}} {
			a, b := luminance(pair[0]), luminance(pair[1])
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 3 {
				t.Errorf("%s on %s has contrast %.2f", pair[0], pair[1], ratio)
			}
		}
	}
}

// TestLooksOf: what a bench of today has looks alike in every report, and a name from
// elsewhere has a look of its own.
func TestLooksOf(t *testing.T) {
	names := VethContestants()
	names = append(names, "speadx", "copy", "make", "sync.Pool", "mmap")
	for _, n := range names {
		if _, ok := fixed[n]; !ok {
			t.Errorf("%s has no look", n)
		}
	}
	for i := range 30 {
		names = append(names, fmt.Sprintf("other %d", i))
	}
	var results []Result
	for _, n := range names {
		results = append(results, Result{Bench: "veth", Contestant: n}, Result{Bench: "memory", Contestant: n})
	}
	looks := looksOf(results)
	seen := map[int]string{}
	for _, n := range names {
		if at, ok := fixed[n]; ok && looks[n] != at {
			t.Errorf("%s has look %d, want %d", n, looks[n], at)
		}
		if other, ok := seen[looks[n]]; ok {
			t.Errorf("%s and %s have look %d", n, other, looks[n])
		}
		seen[looks[n]] = n
	}
	if got := looksOf(results[len(results)-2:]); got["other 29"] != looks["other 0"] {
		t.Errorf("alone it has look %d, want the first that is free, %d", got["other 29"], looks["other 0"])
	}
}
