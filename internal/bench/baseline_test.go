package bench

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

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
	allocs := func(n uint64) Result { return Result{Allocs: &n} }
	for _, tt := range []struct {
		name        string
		before, now Result
		want        []string // measure and verdict
	}{
		{"equal", ratio("copy", 1, 0.9, 1.1), ratio("copy", 1, 0.9, 1.1), []string{"ratio same"}},
		{"slower", ratio("copy", 1, 0.95, 1.05), ratio("copy", 0.8, 0.75, 0.85), []string{"ratio slower"}},
		{"faster", ratio("copy", 1, 0.95, 1.05), ratio("copy", 1.2, 1.15, 1.25), []string{"ratio faster"}},
		{"intervals meet", ratio("copy", 1, 0.8, 1.05), ratio("copy", 0.7, 0.65, 0.8), []string{"ratio same"}},
		{"within the tolerance", ratio("copy", 1, 0.999, 1.001), ratio("copy", 0.951, 0.950, 0.952), []string{"ratio same"}},
		{"measured once", ratio("copy", 1, 0, 0), ratio("copy", 0.5, 0, 0), []string{"ratio same"}},
		{"measured once before", Result{Trials: 1, Ratio: &Ratio{"copy", 1, 1, 1}}, ratio("copy", 0.5, 0.4, 0.6), []string{"ratio same"}},
		{"ratio to another", ratio("copy", 1, 1, 1), ratio("make", 0.5, 0.5, 0.5), []string{"ratio unlike"}},
		{"ratio is gone", ratio("copy", 1, 1, 1), Result{}, []string{"ratio missing"}},
		{"ratio is new", Result{}, ratio("copy", 1, 1, 1), []string{"ratio new"}},
		{"rate on one machine", gbps(machine, 10, 9, 11), gbps(later, 5, 4, 6), []string{"gbps slower"}},
		{"rate of another hour", gbps(machine, 10, 9.9, 10.1), gbps(later, 7, 6.9, 7.1), []string{"gbps same"}},
		{"rate on another machine", gbps(machine, 10, 9, 11), gbps(other, 5, 4, 6), []string{" unlike"}},
		{"rate on unknown machines", gbps(nil, 10, 9, 11), gbps(nil, 5, 4, 6), []string{" unlike"}},
		{"rate is gone, elsewhere", gbps(machine, 10, 9, 11), gbps(other, 0, 0, 0), []string{"gbps missing"}},
		{"time", ns(machine, 10, 9, 11), ns(later, 20, 19, 21), []string{"ns_per_op slower"}},
		{"less time", ns(machine, 20, 19, 21), ns(later, 10, 9, 11), []string{"ns_per_op faster"}},
		{"time, measured once", ns(machine, 10, 0, 0), ns(later, 20, 19, 21), []string{"ns_per_op same"}},
		{"time, intervals meet", ns(machine, 10, 9, 15), ns(later, 20, 14, 21), []string{"ns_per_op same"}},
		{"allocates now", allocs(0), allocs(1), []string{"allocs slower"}},
		{"allocates no more", allocs(7), allocs(0), []string{"allocs faster"}},
		{"allocates nothing", allocs(0), allocs(0), []string{"allocs same"}},
		{"allocates more", allocs(7), allocs(700), []string{" unlike"}},
		{"allocations not counted", allocs(0), Result{}, []string{"allocs missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// One that can be compared goes with it, or there may be nothing in common.
			companion := ratio("copy", 1, 1, 1)
			companion.Bench, companion.Contestant = "memory", "companion"
			tt.before.Bench, tt.before.Contestant = "memory", "speadx"
			tt.now.Bench, tt.now.Contestant = "memory", "speadx"
			all, err := Compare([]Result{companion, tt.before}, []Result{tt.now, companion})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range all {
				if c.Contestant == "speadx" {
					got = append(got, c.Measure+" "+string(c.Verdict))
				}
			}
			if !slices.Equal(got, tt.want) || len(all) != len(got)+1 {
				t.Errorf("%q, want %q", got, tt.want)
			}
			bad := strings.Contains(tt.want[0], "slower") || strings.Contains(tt.want[0], "missing")
			if n := Regressions(all); bad != (n == 1) || n > 1 {
				t.Errorf("%d regressions", n)
			}
		})
	}
}

func TestCompareOneSided(t *testing.T) {
	r := func(contestant string, packet int) Result {
		return Result{Bench: "memory", Contestant: contestant, Conditions: Conditions{Packet: packet}, Ratio: &Ratio{"copy", 1, 0.9, 1.1}}
	}
	slow := r("c", 1)
	slow.Ratio = &Ratio{"copy", 0.5, 0.4, 0.6}
	all, err := Compare([]Result{r("a", 1), r("a", 2), r("c", 1)}, []Result{r("a", 1), r("b", 1), slow})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteComparison(&b, all); err != nil {
		t.Fatal(err)
	}
	const want = `same     memory a packet 1: ratio 1.00 -> 1.00 (+0.0 %)
new      memory b packet 1
slower   memory c packet 1: ratio 1.00 -> 0.500 (-50.0 %)
missing  memory a packet 2
compared with the baseline: 1 slower, 1 same, 1 missing, 1 new
`
	if b.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", &b, want)
	}
}

func TestCompareRefused(t *testing.T) {
	a := []Result{{Bench: "pool", Contestant: "a", Ratio: &Ratio{"x", 1, 1, 1}}}
	b := []Result{{Bench: "pool", Contestant: "b", Ratio: &Ratio{"x", 1, 1, 1}}}
	for name, pair := range map[string][2][]Result{"others": {a, b}, "none before": {nil, a}, "none now": {a, nil}, "none": {}} {
		if all, err := Compare(pair[0], pair[1]); !errors.Is(err, ErrNothingInCommon) {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	twice := append(slices.Clone(a), a...)
	if _, err := Compare(twice, a); err == nil || !strings.Contains(err.Error(), "the baseline has two results of pool a") {
		t.Errorf("error %v", err)
	}
	if _, err := Compare(a, twice); err == nil || !strings.Contains(err.Error(), "this run has two results of pool a") {
		t.Errorf("error %v", err)
	}
}

func TestCompareWithin(t *testing.T) {
	a := []Result{{Bench: "pool", Contestant: "speadx", Ratio: &Ratio{"x", 1, 0.99, 1.01}}}
	b := []Result{{Bench: "pool", Contestant: "speadx", Ratio: &Ratio{"x", 0.8, 0.79, 0.81}}}
	for tolerance, want := range map[float64]int{0: 1, 0.1: 1, 0.3: 0} {
		if all, err := CompareWithin(a, b, tolerance); err != nil || Regressions(all) != want {
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
		{"one of ours could not be measured", []Result{r("speadx native", 1, 1), r("speadx udp", 1, 0)}, 1},
	} {
		all, err := Compare(before, tt.now)
		if n := Regressions(all); err != nil || n != tt.want {
			t.Errorf("%s: %d regressions, %v: %+v", tt.name, n, err, all)
		}
	}
}

// TestAllocates: several threads may make the runtime allocate.
func TestAllocates(t *testing.T) {
	none, one, some := uint64(0), uint64(1), uint64(17)
	for _, tt := range []struct {
		threads int
		now     *uint64
		want    Verdict
	}{{1, &none, Same}, {1, &one, Slower}, {2, &one, Same}, {2, &some, Slower}} {
		c := Conditions{Threads: tt.threads}
		all, err := Compare([]Result{{Bench: "memory", Contestant: "speadx", Conditions: c, Allocs: &none}},
			[]Result{{Bench: "memory", Contestant: "speadx", Conditions: c, Allocs: tt.now}})
		if err != nil || len(all) != 1 || all[0].Verdict != tt.want {
			t.Errorf("%d allocations of %d threads: %+v, %v", *tt.now, tt.threads, all, err)
		}
	}
}
