// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// rule is that of --baseline without other flags.
var rule = Rule{Tolerance: Tolerance}

func TestCompare(t *testing.T) {
	machine := &Machine{CPU: "c", CPUs: 2, Kernel: "k", Version: "1"}
	later := &Machine{CPU: "c", CPUs: 2, Kernel: "k", Version: "2"}
	other := &Machine{CPU: "c", CPUs: 4, Kernel: "k"}
	gbps := func(m *Machine, v, low, high float64) Result {
		return Result{Gbps: v, GbpsLow: low, GbpsHigh: high, Machine: m}
	}
	ns := func(m *Machine, v, low, high float64) Result {
		return Result{NsPerOp: v, NsLow: low, NsHigh: high, Machine: m}
	}
	ratio := func(to string, v, low, high float64) Result { return Result{Ratio: &Ratio{to, v, low, high}} }
	allocs := func(threads int, n uint64) Result {
		return Result{Conditions: Conditions{Threads: threads}, Allocs: &n}
	}
	for _, tt := range []struct {
		name        string
		before, now Result
		want        string // measure and verdict
		bad         int    // regressions
		absolute    int    // with --absolute
	}{
		{"equal", ratio("copy", 1, 0.9, 1.1), ratio("copy", 1, 0.9, 1.1), "ratio same", 0, 0},
		{"slower", ratio("copy", 1, 0.95, 1.05), ratio("copy", 0.8, 0.75, 0.85), "ratio slower", 1, 1},
		{"faster", ratio("copy", 1, 0.95, 1.05), ratio("copy", 1.2, 1.15, 1.25), "ratio faster", 0, 0},
		{"intervals meet", ratio("copy", 1, 0.8, 1.05), ratio("copy", 0.7, 0.65, 0.8), "ratio same", 0, 0},
		{"within the tolerance", ratio("copy", 1, 0.999, 1.001), ratio("copy", 0.951, 0.950, 0.952), "ratio same", 0, 0},
		{"measured once", ratio("copy", 1, 0, 0), ratio("copy", 0.5, 0, 0), "ratio same", 0, 0},
		{"measured once before", Result{Trials: 1, Ratio: &Ratio{"copy", 1, 1, 1}}, ratio("copy", 0.5, 0.4, 0.6), "ratio same", 0, 0},
		{"measured once now", ratio("copy", 1, 1, 1), Result{Trials: 1, Ratio: &Ratio{"copy", 0.5, 0.5, 0.5}}, "ratio same", 0, 0},
		{"ratio to another", ratio("copy", 1, 1, 1), ratio("make", 0.5, 0.5, 0.5), "ratio unlike", 0, 0},
		{"ratio is gone", ratio("copy", 1, 1, 1), Result{}, "ratio gone", 1, 1},
		{"ratio is new", Result{}, ratio("copy", 1, 1, 1), "ratio new", 0, 0},
		{"rate on one machine", gbps(machine, 10, 9, 11), gbps(later, 5, 4, 6), "gbps slower", 1, 1},
		{"rate of another hour", gbps(machine, 10, 9.9, 10.1), gbps(later, 7, 6.9, 7.1), "gbps slower", 0, 1},
		{"rate within the tolerance", gbps(machine, 10, 9.9, 10.1), gbps(later, 9.6, 9.5, 9.7), "gbps same", 0, 0},
		{"rate, measured once", gbps(machine, 10, 0, 0), gbps(later, 5, 0, 0), "gbps same", 0, 0},
		{"rate on another machine", gbps(machine, 10, 9, 11), gbps(other, 5, 4, 6), " unlike", 0, 0},
		{"rate on unknown machines", gbps(nil, 10, 9, 11), gbps(nil, 5, 4, 6), " unlike", 0, 0},
		{"rate is gone", gbps(machine, 10, 9, 11), gbps(later, 0, 0, 0), "gbps gone", 1, 1},
		{"rate is gone, elsewhere", gbps(machine, 10, 9, 11), gbps(other, 0, 0, 0), "gbps gone", 1, 1},
		{"time", ns(machine, 10, 9, 11), ns(later, 20, 19, 21), "ns_per_op slower", 1, 1},
		{"time of another hour", ns(machine, 10, 9.9, 10.1), ns(later, 14, 13.9, 14.1), "ns_per_op slower", 0, 1},
		{"less time", ns(machine, 20, 19, 21), ns(later, 10, 9, 11), "ns_per_op faster", 0, 0},
		{"time, measured once", ns(machine, 10, 0, 0), ns(later, 20, 19, 21), "ns_per_op same", 0, 0},
		{"time, intervals meet", ns(machine, 10, 9, 15), ns(later, 20, 14, 21), "ns_per_op same", 0, 0},
		{"time is gone, elsewhere", ns(machine, 10, 9, 11), ns(other, 0, 0, 0), "ns_per_op gone", 1, 1},
		{"allocates now", allocs(1, 0), allocs(1, 1), "allocs slower", 1, 1},
		{"allocates no more", allocs(1, 7), allocs(1, 0), "allocs faster", 0, 0},
		{"allocates nothing", allocs(1, 0), allocs(1, 0), "allocs same", 0, 0},
		{"allocates more", allocs(1, 7), allocs(1, 700), " unlike", 0, 0},
		{"the runtime allocates", allocs(2, 0), allocs(2, 16), "allocs same", 0, 0},
		{"more than the runtime allocates", allocs(2, 0), allocs(2, 17), "allocs slower", 1, 1},
		{"more than the runtime allocated", allocs(2, 1), allocs(2, 1000), "allocs slower", 1, 1},
		{"no more than the runtime allocates", allocs(2, 1000), allocs(2, 1), "allocs faster", 0, 0},
		{"allocations not counted", allocs(1, 0), Result{Conditions: Conditions{Threads: 1}}, "allocs gone", 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// One that can be compared goes with it, or there may be nothing in common.
			companion := ratio("copy", 1, 1, 1)
			companion.Bench, companion.Contestant = "memory", "companion"
			for _, contestant := range []string{"speadx", "speadx native", "spead2"} {
				for _, rule := range []Rule{{Tolerance: Tolerance}, {Tolerance: Tolerance, Absolute: true}} {
					before, now := tt.before, tt.now
					before.Bench, before.Contestant = "memory", contestant
					now.Bench, now.Contestant = "memory", contestant
					all, err := Compare([]Result{companion, before}, []Result{now, companion}, rule)
					if err != nil {
						t.Fatal(err)
					}
					if len(all) != 2 || all[0].Contestant != contestant || all[0].Measure+" "+string(all[0].Verdict) != tt.want {
						t.Errorf("%+v, want %s", all, tt.want)
					}
					want := tt.bad
					switch {
					case contestant == "spead2":
						want = 0
					case rule.Absolute:
						want = tt.absolute
					}
					if n := Regressions(all); n != want {
						t.Errorf("%s, %+v: %d regressions, want %d", contestant, rule, n, want)
					}
				}
			}
		})
	}
}

func TestWriteComparison(t *testing.T) {
	r := func(contestant string, packet int, ratio float64) Result {
		return Result{Bench: "memory", Contestant: contestant, Conditions: Conditions{Packet: packet}, Ratio: &Ratio{"copy", ratio, ratio, ratio}}
	}
	all, err := Compare([]Result{r("speadx", 1, 1), r("speadx", 2, 1), r("x", 1, 1), r("speadx spin", 1, 1), r("y", 1, 1)},
		[]Result{r("speadx", 1, 0.9), r("new", 1, 1), r("x", 1, 0.5)}, rule)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteComparison(&b, all); err != nil {
		t.Fatal(err)
	}
	const want = `slower   memory speadx packet 1: ratio 1.00 -> 0.900 (-10.0 %)
new      memory new packet 1
slower   memory x packet 1: ratio 1.00 -> 0.500 (-50.0 %), shown only
missing  memory speadx packet 2
gone     memory speadx spin packet 1
gone     memory y packet 1, shown only
compared with the baseline: 2 slower, 2 gone, 1 missing, 1 new; 2 of them decide
`
	if b.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", &b, want)
	}
	if n := Regressions(all); n != 2 {
		t.Errorf("%d regressions", n)
	}
}

func TestCompareRefused(t *testing.T) {
	a := []Result{{Bench: "pool", Contestant: "a", Ratio: &Ratio{"x", 1, 1, 1}}}
	b := []Result{{Bench: "pool", Contestant: "b", Ratio: &Ratio{"x", 1, 1, 1}}}
	for name, pair := range map[string][2][]Result{"others": {a, b}, "none before": {nil, a}, "none now": {a, nil}, "none": {}} {
		if all, err := Compare(pair[0], pair[1], rule); !errors.Is(err, ErrNothingInCommon) {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	twice := append(slices.Clone(a), a...)
	if _, err := Compare(twice, a, rule); err == nil || !strings.Contains(err.Error(), "the baseline has two results of pool a") {
		t.Errorf("error %v", err)
	}
	if _, err := Compare(a, twice, rule); err == nil || !strings.Contains(err.Error(), "this run has two results of pool a") {
		t.Errorf("error %v", err)
	}
}

func TestCompareTolerance(t *testing.T) {
	a := []Result{{Bench: "pool", Contestant: "speadx", Ratio: &Ratio{"x", 1, 0.99, 1.01}}}
	b := []Result{{Bench: "pool", Contestant: "speadx", Ratio: &Ratio{"x", 0.8, 0.79, 0.81}}}
	for tolerance, want := range map[float64]int{0: 1, 0.1: 1, 0.3: 0} {
		if all, err := Compare(a, b, Rule{Tolerance: tolerance}); err != nil || Regressions(all) != want {
			t.Errorf("tolerance %v: %+v, %v", tolerance, all, err)
		}
	}
}

// TestRegressions: what rivals do is theirs, and what this run has not measured at all
// is no regression; what it tried to measure is.
func TestRegressions(t *testing.T) {
	r := func(contestant string, packet int, ratio float64) Result {
		res := Result{Bench: "veth", Contestant: contestant, Conditions: Conditions{Packet: packet}}
		if ratio > 0 {
			res.Ratio = &Ratio{"drain", ratio, 0.99 * ratio, 1.01 * ratio}
		}
		return res
	}
	before := []Result{r("speadx native", 1, 1), r("speadx udp", 1, 1), r("asavie", 1, 1), r("speadxy", 1, 1), r("speadx native", 2, 1)}
	for _, tt := range []struct {
		name string
		now  []Result
		want int
	}{
		{"as before, of some conditions", []Result{r("speadx native", 1, 1), r("speadx udp", 1, 1)}, 0},
		{"a rival is slower, another gone", []Result{r("speadx native", 1, 1), r("speadx udp", 1, 1), r("asavie", 1, 0.5)}, 0},
		{"one of ours is slower", []Result{r("speadx native", 1, 0.8), r("speadx udp", 1, 1)}, 1},
		{"one of ours is gone", []Result{r("speadx native", 1, 1)}, 1},
		{"none of ours could be measured", []Result{r("speadx native", 1, 0), r("speadx udp", 1, 0)}, 2},
		{"all of ours are gone", []Result{r("asavie", 1, 0)}, 2},
		{"one of ours could not be measured", []Result{r("speadx native", 1, 1), r("speadx udp", 1, 0)}, 1},
	} {
		all, err := Compare(before, tt.now, rule)
		if n := Regressions(all); err != nil || n != tt.want {
			t.Errorf("%s: %d regressions, %v: %+v", tt.name, n, err, all)
		}
	}
}
