// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestChartLooks: a contestant has one look in all charts, and no two of a chart have
// the same.
func TestChartLooks(t *testing.T) {
	looks := map[string]int{}
	for _, c := range Charts(sample()) {
		here := map[int]string{}
		see := func(name string, look int) {
			if before, ok := looks[name]; ok && before != look {
				t.Errorf("%s: %s has look %d, and %d elsewhere", c.Title, name, look, before)
			}
			looks[name] = look
			if other, ok := here[look]; ok && other != name {
				t.Errorf("%s: %s and %s have look %d", c.Title, name, other, look)
			}
			here[look] = name
		}
		for _, g := range c.Groups {
			for _, b := range g.Bars {
				see(b.Name, b.Look)
			}
		}
		for _, s := range c.Series {
			see(s.Name, s.Look)
		}
	}
	if len(looks) < 6 {
		t.Errorf("%d contestants", len(looks))
	}
}

// TestBarsInOrder: the best is on top, and each size of packets is a group.
func TestBarsInOrder(t *testing.T) {
	charts := Charts(sample())
	at := slices.IndexFunc(charts, func(c Chart) bool { return c.Section == MemorySection })
	if at < 0 || len(charts[at].Groups) != 3 || charts[at].Reference != "copy" {
		t.Fatalf("memory: %+v", charts[max(at, 0)])
	}
	for i, g := range charts[at].Groups {
		want := []string{"packets of 1472 bytes", "packets of 4096 bytes", "packets of 8972 bytes"}[i]
		if g.Title != want || len(g.Bars) != 2 || g.Bars[0].Name != "copy" || g.Bars[1].Text[len(g.Bars[1].Text)-len(" (0.909 ×)"):] != " (0.909 ×)" {
			t.Errorf("group %d: %+v", i, g)
		}
	}
	at = slices.IndexFunc(charts, func(c Chart) bool { return c.Section == CPUSection })
	if bars := charts[at].Groups[0].Bars; bars[0].Name != "speadx" || !(bars[0].Inner > 0 && bars[0].Inner < bars[0].Value) || !charts[at].HasInner {
		t.Errorf("CPU time: %+v", bars)
	}
}

// TestSmooth: the curve stays within the points, follows them, and spans their range.
func TestSmooth(t *testing.T) {
	var step, flat []DataPoint
	for x := 1.0; x <= 40; x++ {
		y := 0.0
		if x > 20 {
			y = 100
		}
		step, flat = append(step, DataPoint{X: x, Y: y}), append(flat, DataPoint{X: x, Y: 7})
	}
	curve := smooth(step)
	if len(curve) < 20 || curve[0].X != 1 || curve[len(curve)-1].X != 40 || curve[0].Y > 1 || curve[len(curve)-1].Y < 99 {
		t.Errorf("%d points from %+v to %+v", len(curve), curve[0], curve[len(curve)-1])
	}
	for i, p := range curve {
		if p.Y < 0 || p.Y > 100+1e-9 || i > 0 && (p.Y < curve[i-1].Y-1e-9 || p.X <= curve[i-1].X) {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	for _, p := range smooth(flat) {
		if p.Y < 7-1e-9 || p.Y > 7+1e-9 {
			t.Errorf("the mean of 7 is %v at %v", p.Y, p.X)
		}
	}
	// Rates far from all others, and rates that are the same.
	far := smooth([]DataPoint{{X: 1, Y: 1}, {X: 2, Y: 2}, {X: 1e6, Y: 3}})
	for _, p := range far {
		if !(p.Y >= 1 && p.Y <= 3) {
			t.Errorf("%v at %v", p.Y, p.X)
		}
	}
	if len(far) == 0 || smooth([]DataPoint{{X: 1, Y: 1}, {X: 1, Y: 2}, {X: 1, Y: 3}}) != nil || smooth(nil) != nil {
		t.Error("a curve where there is none, or none where there is one")
	}
}

// TestManyContestants: a file may have more contestants than a chart has room for. They
// are left out of it, which the chart says.
func TestManyContestants(t *testing.T) {
	var results []Result
	for i := range most + 7 {
		name := fmt.Sprint("contestant ", i)
		results = append(results,
			Result{Bench: "veth", Contestant: name, Gbps: float64(1 + i)},
			Result{Bench: "memory", Contestant: name, Gbps: 1, Conditions: Conditions{Packet: 1 + i%2}},
			Result{Bench: "pool", Contestant: name, NsPerOp: 1, Conditions: Conditions{Heap: 1}})
	}
	charts := Charts(results)
	if len(charts) != 3 {
		t.Fatalf("%d charts", len(charts))
	}
	for _, c := range charts {
		n := len(c.Series)
		for _, g := range c.Groups {
			n += len(g.Bars)
		}
		if n != most || !strings.Contains(c.Note, "7 more") {
			t.Errorf("%s: %d contestants, note %q", c.Title, n, c.Note)
		}
	}
}
