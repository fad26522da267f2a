// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Section is the part of a report that a chart is in.
type Section string

// Sections, in the order of the report: the answer is first.
const (
	RateSection    Section = "rates"
	MemorySection  Section = "memory"
	CPUSection     Section = "cpu"
	ThreadsSection Section = "threads"
	PoolSection    Section = "pool"
	TrialsSection  Section = "trials" // folded away
)

// Chart is a chart of a report. It has either bars or series.
type Chart struct {
	Section   Section    `json:"-"`
	Title     string     `json:"title"`
	Note      string     `json:"-"`                   // what a reader has to know
	Reference string     `json:"-"`                   // the contestant that bars are divided by; "": none
	Unit      string     `json:"-"`                   // of the bars
	Groups    []BarGroup `json:"groups,omitempty"`    // from top to bottom
	Series    []Series   `json:"series,omitempty"`    // of a chart with lines
	Points    bool       `json:"points,omitempty"`    // the points of Series are single ones, and Curve is drawn instead of a line through them
	X         Axis       `json:"x"`                   // the only axis of bars
	Y         Axis       `json:"y"`                   // of series
	HasInner  bool       `json:"has_inner,omitempty"` // some bar has an Inner
}

// BarGroup is bars of equal conditions.
type BarGroup struct {
	Title string `json:"title"` // "": the chart has one group
	Bars  []Bar  `json:"bars"`
}

// Bar is the figure of one contestant, with an interval if High is not 0.
type Bar struct {
	Name  string  `json:"name"`
	Look  int     `json:"look"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Inner float64 `json:"inner"` // a part of Value: the time of the process; 0: none
	Ratio float64 `json:"-"`     // Value divided by that of Reference; 0: none
	Text  string  `json:"text"`  // the value and the ratio
}

// Series is what one contestant has in a chart with lines.
type Series struct {
	Name   string      `json:"name"`
	Look   int         `json:"look"`
	Points []DataPoint `json:"points"`
	Curve  []DataPoint `json:"curve,omitempty"`
}

// DataPoint has an interval if High is not 0.
type DataPoint struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
}

// Axis is an axis of a chart.
type Axis struct {
	Title string  `json:"title"`
	Log   bool    `json:"log"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Ticks []Tick  `json:"ticks"`

	ticks func(low, high float64) []Tick // nil: evenTicks
}

// Tick is a labelled place of an axis.
type Tick struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
}

// Charts returns all charts for which results have figures, in the order of the report.
// The numbers of their looks are for [LookOf].
func Charts(results []Result) []Chart {
	c := charts{looks: looksOf(results)}
	for _, b := range benches(results) {
		c.rates(b.results)
		c.memory(b.results)
		c.cpu(b.results)
		c.scaling(b.results)
		c.pool(b.results)
		c.trials(b.results)
	}
	order := []Section{RateSection, MemorySection, CPUSection, ThreadsSection, PoolSection, TrialsSection}
	slices.SortStableFunc(c.all, func(a, b Chart) int {
		return cmp.Compare(slices.Index(order, a.Section), slices.Index(order, b.Section))
	})
	return c.all
}

// LookOf returns the look with a number that a chart has.
func LookOf(number int) Look { return lookAt(number) }

// charts are those made so far.
type charts struct {
	looks map[string]int
	all   []Chart
}

// group is results that go into one chart.
type group struct {
	Conditions
	results []Result
}

// groupBy puts those results together whose conditions are the same after without has
// taken away what the chart shows on its axis.
func groupBy(results []Result, take func(r *Result) bool, without func(c *Conditions)) []group {
	var all []group
	for i := range results {
		r := &results[i]
		if !take(r) {
			continue
		}
		c := r.Conditions
		without(&c)
		at := slices.IndexFunc(all, func(g group) bool { return g.Conditions == c })
		if at < 0 {
			at = len(all)
			all = append(all, group{Conditions: c})
		}
		all[at].results = append(all[at].results, *r)
	}
	return all
}

func (g *group) title(what string) string {
	if s := g.Conditions.String(); s != "" {
		return what + ": " + s
	}
	return what
}

// finite reports whether v can be drawn.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// references are the contestants that others are divided by. The first that was measured
// is taken.
var references = []string{Spead2, Spead2Bench, Spead2Tuned, Spead2Stock, "copy", Drain}

// bars makes a group of bars, the largest first or the smallest first.
func (c *charts) bars(g group, value func(r *Result) Bar, reference string, smallFirst bool) (all []Bar) {
	base := 0.0
	for i := range g.results {
		r := &g.results[i]
		b := value(r)
		if !finite(b.Value) || b.Value <= 0 {
			continue
		}
		if !finite(b.Low) || !finite(b.High) || b.High <= b.Low {
			b.Low, b.High = 0, 0
		}
		b.Name, b.Look = clean(r.Contestant), c.looks[r.Contestant]
		if r.Contestant == reference {
			base = b.Value
		}
		all = append(all, b)
	}
	for i := range all {
		b := &all[i]
		b.Text = figure(b.Value)
		if ratio := b.Value / base; base > 0 && finite(ratio) {
			b.Ratio = ratio
			b.Text += " (" + figure(ratio) + " ×)"
		}
	}
	slices.SortStableFunc(all, func(a, b Bar) int {
		if smallFirst {
			return cmp.Compare(a.Value, b.Value)
		}
		return cmp.Compare(b.Value, a.Value)
	})
	return all
}

// reference returns the contestant that the bars of all groups are divided by.
func reference(groups []group, has func(r *Result) bool) string {
	for _, name := range references {
		for _, g := range groups {
			if len(g.results) > 1 && slices.ContainsFunc(g.results, func(r Result) bool { return r.Contestant == name && has(&r) }) {
				return name
			}
		}
	}
	return ""
}

// most is how many bars or series a chart has at most: a browser draws no picture that is
// higher than some 30,000 pixels. The table has the others.
const most = 100

func leftOut(n int) string { return fmt.Sprintf("%d more are in the table below.", n) }

// addBars adds a chart, of the groups that have bars.
func (c *charts) addBars(ch Chart) {
	room, left := most, 0
	for i := range ch.Groups {
		bars := &ch.Groups[i].Bars
		n := min(len(*bars), room)
		left += len(*bars) - n
		*bars = (*bars)[:n]
		room -= n
	}
	if left > 0 {
		ch.Note = strings.TrimSpace(ch.Note + " " + leftOut(left))
	}
	ch.Groups = slices.DeleteFunc(ch.Groups, func(g BarGroup) bool { return len(g.Bars) == 0 })
	if len(ch.Groups) == 0 {
		return
	}
	top := 0.0
	for _, g := range ch.Groups {
		for _, b := range g.Bars {
			top = max(top, b.Value, b.High, b.Inner)
			ch.HasInner = ch.HasInner || b.Inner > 0
		}
	}
	top = max(top, 1e-9)
	ch.X.Max, ch.X.Ticks = top, evenTicks(0, top)
	if ch.Reference != "" {
		ch.Note = strings.TrimSpace(fmt.Sprintf("In brackets: divided by the figure of %s. %s", clean(ch.Reference), ch.Note))
	}
	c.all = append(c.all, ch)
}

func rateBar(r *Result) Bar { return Bar{Value: r.Gbps, Low: r.GbpsLow, High: r.GbpsHigh} }

// rates shows the rates of all benches but memory, which has groups, and pool, which
// measures times. There is a chart for each set of conditions.
func (c *charts) rates(results []Result) {
	has := func(r *Result) bool { return r.Bench != "memory" && r.Bench != "pool" && r.Gbps > 0 }
	for _, g := range groupBy(results, has, func(*Conditions) {}) {
		title := "Rate"
		if g.results[0].Bench == "veth" {
			title = "Highest rate without loss"
		}
		ref := reference([]group{g}, has)
		c.addBars(Chart{
			Section: RateSection, Title: g.title(title), Reference: ref, Unit: "Gb/s", X: Axis{Title: "Gb/s of payload"},
			Groups: []BarGroup{{Bars: c.bars(g, rateBar, ref, false)}},
		})
	}
}

// memory shows the rates of bench memory by the size of packets, of the fewest threads.
func (c *charts) memory(results []Result) {
	has := func(r *Result) bool { return r.Bench == "memory" && r.Gbps > 0 }
	fewest := math.MaxInt
	for i := range results {
		if r := &results[i]; has(r) {
			fewest = min(fewest, r.Threads)
		}
	}
	take := func(r *Result) bool { return has(r) && r.Threads == fewest }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Packet = 0 }) {
		sizes := groupBy(g.results, take, func(c *Conditions) { *c = Conditions{Packet: c.Packet} })
		slices.SortStableFunc(sizes, func(a, b group) int { return cmp.Compare(a.Packet, b.Packet) })
		ref := reference(sizes, has)
		ch := Chart{
			Section: MemorySection, Title: g.title("Rate from memory"), Reference: ref, Unit: "Gb/s", X: Axis{Title: "Gb/s of payload"},
		}
		for _, s := range sizes {
			title := ""
			if s.Packet > 0 {
				title = "packets of " + strconv.Itoa(s.Packet) + " bytes"
			}
			ch.Groups = append(ch.Groups, BarGroup{Title: title, Bars: c.bars(s, rateBar, ref, false)})
		}
		c.addBars(ch)
	}
}

// cpu shows the CPU time of bench veth.
func (c *charts) cpu(results []Result) {
	has := func(r *Result) bool {
		return r.Veth != nil && (r.Veth.MachineCPUPerGB > 0 || r.Veth.ProcessCPUPerGB > 0)
	}
	for _, g := range groupBy(results, has, func(*Conditions) {}) {
		title, note := "CPU time of the machine for a GB", "The upright mark is the time of the process alone."
		value := func(r *Result) Bar { return Bar{Value: r.Veth.MachineCPUPerGB, Inner: max(r.Veth.ProcessCPUPerGB, 0)} }
		if !slices.ContainsFunc(g.results, func(r Result) bool { return r.Veth.MachineCPUPerGB > 0 }) {
			title, note = "CPU time of the process for a GB", ""
			value = func(r *Result) Bar { return Bar{Value: r.Veth.ProcessCPUPerGB} }
		}
		ref := reference([]group{g}, func(r *Result) bool { return value(r).Value > 0 })
		c.addBars(Chart{
			Section: CPUSection, Title: g.title(title), Note: note, Reference: ref, Unit: "s/GB", X: Axis{Title: "s/GB"},
			Groups: []BarGroup{{Bars: c.bars(g, value, ref, true)}},
		})
	}
}

// seriesOf makes a series for each contestant. Points that the axes have no place for
// are left out.
func (c *charts) seriesOf(g group, logX, logY bool, points func(r *Result) []DataPoint) (all []Series) {
	for i := range g.results {
		r := &g.results[i]
		look := c.looks[r.Contestant]
		at := slices.IndexFunc(all, func(s Series) bool { return s.Look == look && s.Name == clean(r.Contestant) })
		if at < 0 {
			at = len(all)
			all = append(all, Series{Name: clean(r.Contestant), Look: look})
		}
		for _, p := range points(r) {
			if !finite(p.X) || !finite(p.Y) || logX && p.X <= 0 || logY && p.Y <= 0 {
				continue
			}
			if !finite(p.Low) || !finite(p.High) || p.High <= p.Low {
				p.Low, p.High = 0, 0
			}
			all[at].Points = append(all[at].Points, p)
		}
	}
	all = slices.DeleteFunc(all, func(s Series) bool { return len(s.Points) == 0 })
	for _, s := range all {
		slices.SortStableFunc(s.Points, func(a, b DataPoint) int { return cmp.Compare(a.X, b.X) })
	}
	return all
}

// addSeries adds a chart, if it has a point.
func (c *charts) addSeries(ch Chart) {
	if len(ch.Series) == 0 {
		return
	}
	if left := len(ch.Series) - most; left > 0 {
		ch.Series = ch.Series[:most]
		ch.Note = leftOut(left)
	}
	var xs, ys []float64
	for _, s := range ch.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, max(p.Y, p.High))
			if ch.Y.Log {
				ys = append(ys, p.Y)
			}
		}
	}
	ch.X.fit(xs)
	ch.Y.fit(ys)
	c.all = append(c.all, ch)
}

// fit sets the ends of the axis and its ticks.
func (a *Axis) fit(values []float64) {
	low, high := slices.Min(values), slices.Max(values)
	if a.Log {
		const least = 1e-3 // below it nothing can be measured
		a.Min = max(low/1.5, least)
		a.Max = max(high*1.5, 4*a.Min)
	} else {
		a.Min, a.Max = min(low, 0), max(high*1.04, a.Max, 1e-9)
	}
	if a.ticks == nil {
		a.ticks = evenTicks
	}
	a.Ticks = a.ticks(a.Min, a.Max)
}

// scaling shows rates over the number of threads, where there are several.
func (c *charts) scaling(results []Result) {
	take := func(r *Result) bool { return r.Threads > 0 && r.Gbps > 0 }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Threads = 0 }) {
		if !slices.ContainsFunc(g.results, func(r Result) bool { return r.Threads != g.results[0].Threads }) {
			continue
		}
		c.addSeries(Chart{
			Section: ThreadsSection, Title: g.title(fmt.Sprintf("Rate by number of threads (%s)", clean(g.results[0].Bench))),
			X: Axis{Title: "threads", ticks: wholeTicks}, Y: Axis{Title: "Gb/s of payload"},
			Series: c.seriesOf(g, false, false, func(r *Result) []DataPoint {
				return []DataPoint{{X: float64(r.Threads), Y: r.Gbps, Low: r.GbpsLow, High: r.GbpsHigh}}
			}),
		})
	}
}

// pool shows the times of bench pool.
func (c *charts) pool(results []Result) {
	what := map[string]string{
		TouchNone: "Allocate and release a buffer",
		TouchPage: "Allocate a buffer, write to each page, release",
		TouchFill: "Allocate a buffer, fill it, release",
	}
	take := func(r *Result) bool { return r.Bench == "pool" && r.Heap > 0 && r.NsPerOp > 0 }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Heap = 0 }) {
		title := what[g.Touch]
		if title == "" {
			title = g.title("Time for a buffer")
		}
		c.addSeries(Chart{
			Section: PoolSection, Title: title,
			X: Axis{Title: "size of the buffer", Log: true, ticks: sizeTicks}, Y: Axis{Title: "time for a buffer", Log: true, ticks: timeTicks},
			Series: c.seriesOf(g, true, true, func(r *Result) []DataPoint {
				return []DataPoint{{X: float64(r.Heap), Y: r.NsPerOp, Low: r.NsLow, High: r.NsHigh}}
			}),
		})
	}
}

// trials shows what bench veth did at each rate that was tried.
func (c *charts) trials(results []Result) {
	for _, g := range groupBy(results, func(r *Result) bool { return r.Veth != nil && len(r.Veth.Curve) > 0 }, func(*Conditions) {}) {
		for _, of := range []struct {
			title, y string
			top      float64
			value    func(p *Point) (y float64, ok bool)
		}{
			{"Trials with loss", "trials with loss, %", 105, func(p *Point) (float64, bool) {
				return 100 * float64(p.Lossy) / float64(max(p.Trials, 1)), p.Trials > 0
			}},
			{"Packets lost", "packets lost, %", 0, func(p *Point) (float64, bool) {
				return 100 * float64(p.Lost) / float64(max(p.Sent, 1)), p.Sent > 0
			}},
			{"Most frames waiting on the RX ring", "frames", 0, func(p *Point) (float64, bool) {
				return float64(p.RingPeak), p.RingPeak > 0
			}},
		} {
			ch := Chart{
				Section: TrialsSection, Title: g.title(of.title), Points: true,
				X: Axis{Title: "rate offered, Gb/s"}, Y: Axis{Title: of.y, Max: of.top},
				Series: c.seriesOf(g, false, false, func(r *Result) (all []DataPoint) {
					for i := range r.Veth.Curve {
						p := &r.Veth.Curve[i]
						if y, ok := of.value(p); ok {
							all = append(all, DataPoint{X: p.OfferedGbps, Y: y})
						}
					}
					return all
				}),
			}
			for i := range ch.Series {
				ch.Series[i].Curve = smooth(ch.Series[i].Points)
			}
			c.addSeries(ch)
		}
	}
}

// smooth returns a curve through points in the order of x: at each place the mean of all,
// weighted by a normal distribution of the distance. So the curve stays within the range
// of the points, and rises where they do.
func smooth(points []DataPoint) (curve []DataPoint) {
	const steps, width = 64, 0.03 // of the range of x
	if len(points) < 3 {
		return nil
	}
	low, high := points[0].X, points[len(points)-1].X
	if !(high > low) {
		return nil
	}
	squares := make([]float64, len(points)) // of distances, in widths
	for step := range steps + 1 {
		x := low + (high-low)*float64(step)/steps
		for i, p := range points {
			d := (p.X - x) / (width * (high - low))
			squares[i] = d * d
		}
		// Only differences count. The nearest point has weight 1, so that there is one
		// also far from all.
		nearest := slices.Min(squares)
		sum, weights := 0.0, 0.0
		for i, p := range points {
			w := math.Exp((nearest - squares[i]) / 2)
			sum, weights = sum+w*p.Y, weights+w
		}
		curve = append(curve, DataPoint{X: x, Y: sum / weights})
	}
	return curve
}
