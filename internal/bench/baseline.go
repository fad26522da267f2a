// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/units"
)

// Tolerance is by how much medians may differ, as a fraction, without anything being
// faster or slower.
const Tolerance = 0.05

// hourly is by how much speed differs from hour to hour at most, as a fraction, where
// nothing has changed: 0.3 was seen on the virtual machine that this was written on.
const hourly = 0.35

// Rule says what makes a comparison fail. That of `--baseline` alone is [Tolerance], and
// nothing absolute but what no hour changes.
type Rule struct {
	Tolerance float64 // by how much medians may differ, as a fraction
	// Absolute lets rates and times decide by themselves with that tolerance. Without
	// it they do if a rate is less by more than 35 %, or a time more in proportion.
	Absolute bool
}

// Verdict says what became of one measure of a result since the baseline.
type Verdict string

// The verdicts.
const (
	Faster  Verdict = "faster"
	Slower  Verdict = "slower"
	Same    Verdict = "same"
	Gone    Verdict = "gone"    // the baseline has it, and this run has not, though it has others under these conditions
	Missing Verdict = "missing" // the baseline has it, and this run measured nothing under these conditions
	New     Verdict = "new"     // this run has it, and the baseline has not
	Unlike  Verdict = "unlike"  // both have it, but nothing in it that can be compared: another machine, and no ratio
)

// Comparison is one measure of one result beside that of the baseline.
type Comparison struct {
	Bench, Contestant string
	Conditions
	Measure       string // ratio, gbps, ns_per_op or allocs; "": the result as a whole
	Before, After float64
	Change        float64 // of speed: 0.1 is a tenth faster
	Verdict       Verdict
	Decides       bool // it is a regression if the verdict is [Slower] or [Gone]
}

// ErrNothingInCommon is returned by [Compare] if no measure stands in both runs.
var ErrNothingInCommon = errors.New("the baseline has nothing in common with this run")

// Compare compares each result with that of the same bench, contestant and conditions
// in the baseline. Something is faster or slower if its intervals have nothing in
// common, and the medians differ by more than the tolerance; what was measured once has
// no interval, and is neither. Ratios are compared always, as they say the same on any
// machine; rates and times where CPU, number of CPUs and kernel are the same and known.
// That something allocates memory which did not is slower in any case; other numbers of
// allocations depend on how long it ran, and are not compared.
//
// What is ours decides, by its ratios, its allocations and by being there at all; its
// rates and times do as [Rule.Absolute] says. What rivals do is theirs.
//
// The comparisons come in the order of this run, and then what it lacks. They are
// never empty: if nothing could be compared, the error is [ErrNothingInCommon].
func Compare(baseline, now []Result, rule Rule) ([]Comparison, error) {
	before := map[name]*Result{}
	for i := range baseline {
		r := &baseline[i]
		if before[r.name()] != nil {
			return nil, fmt.Errorf("the baseline has two results of %s", r.name())
		}
		before[r.name()] = r
	}
	var all []Comparison
	seen := map[name]bool{}
	measured := map[where]bool{}
	for i := range now {
		r := &now[i]
		if seen[r.name()] {
			return nil, fmt.Errorf("this run has two results of %s", r.name())
		}
		seen[r.name()] = true
		measured[r.where()] = true
		old := before[r.name()]
		if old == nil {
			all = append(all, r.comparison("", New))
			continue
		}
		measures := compare(old, r, rule)
		if measures == nil {
			measures = []Comparison{r.comparison("", Unlike)}
		}
		all = append(all, measures...)
	}
	for i := range baseline {
		r := &baseline[i]
		switch {
		case seen[r.name()]:
		case measured[r.where()]:
			all = append(all, r.comparison("", Gone))
		default:
			all = append(all, r.comparison("", Missing))
		}
	}
	if !slices.ContainsFunc(all, func(c Comparison) bool {
		return c.Decides || c.Verdict == Same || c.Verdict == Faster || c.Verdict == Slower
	}) {
		return nil, ErrNothingInCommon
	}
	return all, nil
}

// where is what those results have in common that are compared with each other in a run.
type where struct {
	bench string
	Conditions
}

func (r *Result) where() where { return where{r.Bench, r.Conditions} }

// Regressions returns how many of the comparisons decide, and say that something is
// slower or gone.
func Regressions(all []Comparison) (n int) {
	for i := range all {
		if all[i].regression() {
			n++
		}
	}
	return n
}

func (c *Comparison) regression() bool { return c.Decides && c.worse() }

func (c *Comparison) worse() bool { return c.Verdict == Slower || c.Verdict == Gone }

// ours reports whether a contestant is a receiver or a pool of ours: those are called
// speadx, with what distinguishes them.
func ours(contestant string) bool {
	return contestant == "speadx" || strings.HasPrefix(contestant, "speadx ")
}

func (r *Result) comparison(measure string, v Verdict) Comparison {
	return Comparison{
		Bench: r.Bench, Contestant: r.Contestant, Conditions: r.Conditions, Measure: measure, Verdict: v,
		Decides: v == Gone && ours(r.Contestant),
	}
}

// estimate is a median and its interval; low and high are 0 where it was measured once.
type estimate struct{ value, low, high float64 }

func (r *Result) estimate(value, low, high float64) estimate {
	if r.Trials == 1 {
		low, high = 0, 0
	}
	return estimate{value, low, high}
}

func (e estimate) once() bool { return e.low == 0 && e.high == 0 }

// inverse is that of the speed, where e is a time.
func (e estimate) inverse() estimate { return estimate{1 / e.value, 1 / e.high, 1 / e.low} }

func (r *Result) ratio() (estimate, bool) {
	if r.Ratio == nil || r.Ratio.Value == 0 {
		return estimate{}, false
	}
	return r.estimate(r.Ratio.Value, r.Ratio.Low, r.Ratio.High), true
}

func compare(old, now *Result, rule Rule) []Comparison {
	var all []Comparison
	add := func(measure string, a estimate, inOld bool, b estimate, inNow, inverse, decides bool) {
		switch {
		case inOld && inNow:
			c := now.comparison(measure, Same)
			c.Before, c.After = a.value, b.value
			once := a.once() || b.once()
			if inverse && !a.once() && !b.once() {
				a, b = a.inverse(), b.inverse()
			} else if inverse {
				a, b = estimate{value: 1 / a.value}, estimate{value: 1 / b.value}
			}
			c.Verdict, c.Change = judge(a, b, rule.Tolerance)
			c.Decides = (decides || c.Change < -hourly) && ours(now.Contestant) && !once
			all = append(all, c)
		case inOld:
			c := now.comparison(measure, Gone)
			c.Before = a.value
			all = append(all, c)
		case inNow:
			c := now.comparison(measure, New)
			c.After = b.value
			all = append(all, c)
		}
	}
	a, inOld := old.ratio()
	b, inNow := now.ratio()
	if inOld && inNow && old.Ratio.To != now.Ratio.To {
		all = append(all, now.comparison("ratio", Unlike))
	} else {
		add("ratio", a, inOld, b, inNow, false, true)
	}
	// Of another machine there is nothing to compare, but a figure that is gone is.
	same := alike(old.Machine, now.Machine)
	if same || old.Gbps > 0 && now.Gbps == 0 {
		add("gbps", old.estimate(old.Gbps, old.GbpsLow, old.GbpsHigh), old.Gbps > 0, now.estimate(now.Gbps, now.GbpsLow, now.GbpsHigh), now.Gbps > 0, false, rule.Absolute)
	}
	if same || old.NsPerOp > 0 && now.NsPerOp == 0 {
		add("ns_per_op", old.estimate(old.NsPerOp, old.NsLow, old.NsHigh), old.NsPerOp > 0, now.estimate(now.NsPerOp, now.NsLow, now.NsHigh), now.NsPerOp > 0, true, rule.Absolute)
	}
	switch {
	case old.Allocs == nil:
	case now.Allocs == nil:
		c := now.comparison("allocs", Gone)
		c.Before = float64(*old.Allocs)
		all = append(all, c)
	case old.Allocates() && now.Allocates():
	default:
		c := now.comparison("allocs", Same)
		c.Before, c.After = float64(*old.Allocs), float64(*now.Allocs)
		c.Decides = ours(now.Contestant)
		switch {
		case now.Allocates():
			c.Verdict = Slower
		case old.Allocates():
			c.Verdict = Faster
		}
		all = append(all, c)
	}
	return all
}

// judge compares two speeds.
func judge(a, b estimate, tolerance float64) (Verdict, float64) {
	change := b.value/a.value - 1
	switch {
	case math.Abs(change) <= tolerance || a.once() || b.once():
		return Same, change
	case b.low > a.high:
		return Faster, change
	case b.high < a.low:
		return Slower, change
	default:
		return Same, change
	}
}

// alike reports whether rates on a and b can be compared.
func alike(a, b *Machine) bool {
	return a != nil && b != nil && a.CPU != "" && a.Kernel != "" && a.CPUs > 0 &&
		a.CPU == b.CPU && a.CPUs == b.CPUs && a.Kernel == b.Kernel
}

func (n name) String() string {
	return strings.Join(append([]string{clean(n.bench), clean(n.contestant)}, n.texts()...), " ")
}

// String returns the conditions in words: "packet 1472, heap 4MiB".
func (c Conditions) String() string { return strings.Join(c.texts(), ", ") }

func (c Conditions) texts() []string {
	var all []string
	if c.Generator != "" {
		all = append(all, clean(c.Generator))
	}
	if c.Senders != 0 {
		all = append(all, fmt.Sprintf("senders %d", c.Senders))
	}
	if c.Packet != 0 {
		all = append(all, fmt.Sprintf("packet %d", c.Packet))
	}
	if c.Heap != 0 {
		all = append(all, fmt.Sprintf("heap %v", units.Size(c.Heap)))
	}
	if c.Threads != 0 {
		all = append(all, fmt.Sprintf("threads %d", c.Threads))
	}
	if c.SameHeap {
		all = append(all, "same heap")
	}
	if c.Touch != "" {
		all = append(all, "touch "+clean(c.Touch))
	}
	return all
}

// WriteComparison writes a line for each comparison, how many there are of each
// verdict, and how many decide.
func WriteComparison(w io.Writer, all []Comparison) error {
	var b strings.Builder
	counts := map[Verdict]int{}
	decide := 0
	for i := range all {
		c := &all[i]
		counts[c.Verdict]++
		if c.Decides {
			decide++
		}
		fmt.Fprintf(&b, "%-7s  %v", c.Verdict, name{c.Bench, c.Contestant, c.Conditions})
		if c.Measure != "" {
			fmt.Fprintf(&b, ": %s", c.Measure)
		}
		switch {
		case c.Measure == "":
		case c.Measure == "allocs" && c.Verdict != Gone:
			fmt.Fprintf(&b, " %.0f -> %.0f", c.Before, c.After)
		case c.Verdict == Gone:
			fmt.Fprintf(&b, " was %s", figure(c.Before))
		case c.Verdict == New:
			fmt.Fprintf(&b, " is %s", figure(c.After))
		case c.Verdict == Unlike:
			b.WriteString(" to another contestant")
		default:
			fmt.Fprintf(&b, " %s -> %s (%+.1f %%)", figure(c.Before), figure(c.After), 100*c.Change)
		}
		if c.worse() && !c.Decides {
			b.WriteString(", shown only")
		}
		b.WriteByte('\n')
	}
	var parts []string
	for _, v := range []Verdict{Faster, Slower, Same, Gone, Missing, New, Unlike} {
		if n := counts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	fmt.Fprintf(&b, "compared with the baseline: %s; %d of them decide\n", strings.Join(parts, ", "), decide)
	_, err := io.WriteString(w, b.String())
	return err
}
