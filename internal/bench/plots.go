package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/speadx/speadx/internal/units"
)

// figureOf is a plot with what belongs to it. The legend is no part of the plot: in it,
// it would hide what is drawn, or be cut off.
type figureOf struct {
	Title  string
	SVG    template.HTML
	Legend []legendEntry
}

type legendEntry struct {
	Color  template.CSS
	Symbol string
	Name   string
}

// look is how a contestant is drawn, in all plots of a bench alike. Who cannot tell the colours
// apart has the shapes.
type look struct {
	color  color.RGBA
	shape  draw.GlyphDrawer
	symbol string // of the shape, as text
}

// The colours are those of Okabe and Ito, for all sorts of colour vision.
var looks = []look{
	{color.RGBA{0x00, 0x72, 0xb2, 255}, draw.CircleGlyph{}, "●"},
	{color.RGBA{0xd5, 0x5e, 0x00, 255}, draw.BoxGlyph{}, "■"},
	{color.RGBA{0x00, 0x9e, 0x73, 255}, draw.PyramidGlyph{}, "▲"},
	{color.RGBA{0xcc, 0x79, 0xa7, 255}, draw.RingGlyph{}, "○"},
	{color.RGBA{0xe6, 0x9f, 0x00, 255}, draw.SquareGlyph{}, "□"},
	{color.RGBA{0x56, 0xb4, 0xe9, 255}, draw.TriangleGlyph{}, "△"},
	{color.RGBA{0x00, 0x00, 0x00, 255}, draw.CrossGlyph{}, "✕"},
	{color.RGBA{0x99, 0x99, 0x99, 255}, draw.PlusGlyph{}, "✚"},
}

// Size of a plot.
const (
	plotWidth  = 440 * vg.Length(1)
	plotHeight = 280 * vg.Length(1)
)

// plots are those made so far.
type plots struct {
	looks map[string]look // of the contestants of the bench at hand
	all   []figureOf
}

// figures makes all plots for which there is something in results.
func figures(results []Result) ([]figureOf, error) {
	var p plots
	for _, bench := range benches(results) {
		names := []string{"speadx"} // always has the first look
		for i := range bench.results {
			if n := bench.results[i].Contestant; !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		p.looks = map[string]look{}
		for i, n := range names {
			p.looks[n] = looks[i%len(looks)]
		}
		for _, f := range []func(results []Result) error{p.curves, p.cpu, p.scaling, p.packets, p.pool} {
			if err := f(bench.results); err != nil {
				return nil, err
			}
		}
	}
	return p.all, nil
}

// series is what one contestant has in one plot.
type series struct {
	name   string
	points []point
}

// point has an interval if high is not 0.
type point struct{ x, y, low, high float64 }

// axes says what a plot's axes are.
type axes struct {
	title  string
	x, y   string // with the unit
	logX   bool
	logY   bool
	ticksX plot.Ticker // nil: as they come
	ticksY plot.Ticker
	top    float64 // least end of the y axis
}

// lines makes a plot with a line for each series.
func (p *plots) lines(a axes, all []series) error {
	all = slices.DeleteFunc(all, func(s series) bool { return len(s.points) == 0 })
	if len(all) == 0 {
		return nil
	}
	pl := newPlot(a)
	for _, s := range all {
		slices.SortStableFunc(s.points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
		xys := make(plotter.XYs, len(s.points))
		for i, pt := range s.points {
			xys[i] = plotter.XY{X: pt.x, Y: pt.y}
		}
		line, marks, err := plotter.NewLinePoints(xys)
		if err != nil {
			return fmt.Errorf("plot %q: %w", a.title, err)
		}
		l := p.looks[s.name]
		line.Color, line.Width = l.color, vg.Points(1.5)
		marks.GlyphStyle = draw.GlyphStyle{Color: l.color, Radius: vg.Points(3), Shape: l.shape}
		pl.Add(line, marks)
		if err := addIntervals(pl, s.points, l.color, 0); err != nil {
			return fmt.Errorf("plot %q: %w", a.title, err)
		}
	}
	return p.finish(pl, a, all)
}

// bars makes a plot with a group of bars for each of groups, in which each series has
// one: its point's x is the group's number.
func (p *plots) bars(a axes, groups []string, all []series) error {
	all = slices.DeleteFunc(all, func(s series) bool { return len(s.points) == 0 })
	if len(all) == 0 {
		return nil
	}
	pl := newPlot(a)
	// Three quarters of what a group has, less the axis beside it.
	width := min(0.75*(plotWidth-60)/vg.Length(len(groups)*len(all)), 40)
	for i, s := range all {
		values := make(plotter.Values, len(groups))
		for _, pt := range s.points {
			values[int(pt.x)] = pt.y
		}
		bar, err := plotter.NewBarChart(values, width)
		if err != nil {
			return fmt.Errorf("plot %q: %w", a.title, err)
		}
		bar.Color, bar.LineStyle.Width = p.looks[s.name].color, 0
		bar.Offset = width * vg.Length(float64(i)-float64(len(all)-1)/2)
		pl.Add(bar)
		if err := addIntervals(pl, s.points, color.Gray{0x30}, bar.Offset); err != nil {
			return fmt.Errorf("plot %q: %w", a.title, err)
		}
	}
	pl.NominalX(groups...)
	pl.X.Padding = vg.Points(5) // or the labels touch the bars
	pl.X.Min, pl.X.Max = -0.5, float64(len(groups))-0.5
	if widest := slices.MaxFunc(groups, func(a, b string) int { return cmp.Compare(len(a), len(b)) }); len(groups)*len(widest) > 60 {
		pl.X.Tick.Label.Rotation = math.Pi / 8
		pl.X.Tick.Label.XAlign, pl.X.Tick.Label.YAlign = draw.XRight, draw.YTop
	}
	return p.finish(pl, a, all)
}

// shifted moves error bars to the bar they belong to.
type shifted struct {
	*plotter.YErrorBars
	by vg.Length
}

func (s shifted) Plot(c draw.Canvas, p *plot.Plot) {
	c.Min.X += s.by
	c.Max.X += s.by
	s.YErrorBars.Plot(c, p)
}

func (s shifted) GlyphBoxes(p *plot.Plot) []plot.GlyphBox {
	boxes := s.YErrorBars.GlyphBoxes(p)
	for i := range boxes {
		boxes[i].Rectangle.Min.X += s.by
		boxes[i].Rectangle.Max.X += s.by
	}
	return boxes
}

// withIntervals are points of which each has an interval.
type withIntervals struct {
	plotter.XYs
	plotter.YErrors
}

func addIntervals(pl *plot.Plot, points []point, c color.Color, by vg.Length) error {
	var w withIntervals
	for _, pt := range points {
		if pt.high > pt.low {
			w.XYs = append(w.XYs, plotter.XY{X: pt.x, Y: pt.y})
			w.YErrors = append(w.YErrors, struct{ Low, High float64 }{pt.y - pt.low, pt.high - pt.y})
		}
	}
	if w.XYs == nil {
		return nil
	}
	bars, err := plotter.NewYErrorBars(w)
	if err != nil {
		return err
	}
	bars.Color, bars.CapWidth = c, vg.Points(4)
	pl.Add(shifted{bars, by})
	return nil
}

func newPlot(a axes) *plot.Plot {
	pl := plot.New()
	sans := func(size vg.Length) font.Font {
		return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	}
	pl.X.Label.Text, pl.Y.Label.Text = a.x, a.y
	for _, axis := range []*plot.Axis{&pl.X, &pl.Y} {
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = sans(10), sans(9)
		axis.Label.Padding = vg.Points(4)
		axis.Padding = 0
		axis.Color, axis.Tick.Color = color.Gray{0x60}, color.Gray{0x60}
	}
	pl.X.Tick.Marker, pl.Y.Tick.Marker = plot.TickerFunc(evenTicks), plot.TickerFunc(evenTicks)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xe4}, color.Gray{0xe4}
	pl.Add(grid)
	return pl
}

func (p *plots) finish(pl *plot.Plot, a axes, all []series) error {
	if a.logX {
		pl.X.Scale = plot.LogScale{}
		pl.X.Min, pl.X.Max = pl.X.Min/1.3, pl.X.Max*1.3
	} else if pl.X.Min > 0 {
		pl.X.Min = 0
	}
	if a.logY {
		pl.Y.Scale = plot.LogScale{}
		pl.Y.Min, pl.Y.Max = pl.Y.Min/1.5, pl.Y.Max*1.5
	} else {
		// All of ours are amounts: seen from 0.
		pl.Y.Min = min(pl.Y.Min, 0)
		pl.Y.Max = max(pl.Y.Max+(pl.Y.Max-pl.Y.Min)*0.05, a.top, pl.Y.Min+1e-9)
	}
	if pl.X.Max <= pl.X.Min {
		pl.X.Max = pl.X.Min + 1
	}
	if a.ticksX != nil {
		pl.X.Tick.Marker = a.ticksX
	}
	if a.ticksY != nil {
		pl.Y.Tick.Marker = a.ticksY
	}
	svg := vgsvg.New(plotWidth, plotHeight)
	pl.Draw(draw.Crop(draw.New(svg), 4, -10, 4, -6))
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return fmt.Errorf("plot %q: %w", a.title, err)
	}
	f := figureOf{Title: a.title, SVG: inline(b.String(), a.title)}
	for _, s := range all {
		l := p.looks[s.name]
		f.Legend = append(f.Legend, legendEntry{
			Color: template.CSS(fmt.Sprintf("#%02x%02x%02x", l.color.R, l.color.G, l.color.B)), Symbol: l.symbol, Name: clean(s.name),
		})
	}
	p.all = append(p.all, f)
	return nil
}

// inline makes of an SVG document what stands in HTML: there the namespace is known,
// and a font that may not be there has others to take its place. The text in it was
// escaped when it was drawn.
func inline(svg, title string) template.HTML {
	if i := strings.Index(svg, "<svg "); i >= 0 {
		svg = svg[i:]
	}
	end := strings.IndexByte(svg, '>')
	head := fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s"`, plotWidth.Points(), plotHeight.Points(), template.HTMLEscapeString(title))
	svg = head + svg[end:]
	svg = strings.ReplaceAll(svg, "font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;")
	return template.HTML(svg)
}

// group is results that go into one plot.
type group struct {
	Conditions
	results []Result
}

// groupBy puts those results together whose conditions are the same after without has
// taken away what the plot shows on its axis.
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

// seriesOf makes a series for each contestant.
func (g *group) seriesOf(points func(r *Result) []point) []series {
	var all []series
	for i := range g.results {
		r := &g.results[i]
		at := slices.IndexFunc(all, func(s series) bool { return s.name == r.Contestant })
		if at < 0 {
			at = len(all)
			all = append(all, series{name: r.Contestant})
		}
		all[at].points = append(all[at].points, points(r)...)
	}
	return all
}

func (g *group) title(what string) string {
	if s := g.Conditions.String(); s != "" {
		return what + ": " + s
	}
	return what
}

// curves plots what bench veth did at each rate.
func (p *plots) curves(results []Result) error {
	groups := groupBy(results, func(r *Result) bool { return r.Veth != nil && len(r.Veth.Curve) > 0 }, func(*Conditions) {})
	const rate = "rate offered, Gb/s"
	for _, g := range groups {
		each := func(f func(pt *Point) (y float64, ok bool)) []series {
			return g.seriesOf(func(r *Result) (all []point) {
				for i := range r.Veth.Curve {
					pt := &r.Veth.Curve[i]
					if y, ok := f(pt); ok {
						all = append(all, point{x: pt.OfferedGbps, y: y})
					}
				}
				return all
			})
		}
		if err := p.lines(axes{title: g.title("Trials with loss"), x: rate, y: "trials with loss, %", top: 105},
			each(func(pt *Point) (float64, bool) {
				return 100 * float64(pt.Lossy) / float64(max(pt.Trials, 1)), pt.Trials > 0
			})); err != nil {
			return err
		}
		if err := p.lines(axes{title: g.title("Packets lost"), x: rate, y: "packets lost, %"},
			each(func(pt *Point) (float64, bool) {
				return 100 * float64(pt.Lost) / float64(max(pt.Sent, 1)), pt.Sent > 0
			})); err != nil {
			return err
		}
		if err := p.lines(axes{title: g.title("Most frames waiting on the RX ring"), x: rate, y: "frames"},
			each(func(pt *Point) (float64, bool) { return float64(pt.RingPeak), pt.RingPeak > 0 })); err != nil {
			return err
		}
	}
	return nil
}

// cpu plots the CPU time of bench veth.
func (p *plots) cpu(results []Result) error {
	for _, of := range []struct {
		title string
		value func(v *Veth) float64
	}{
		{"CPU time of the machine for a GB", func(v *Veth) float64 { return v.MachineCPUPerGB }},
		{"CPU time of the process for a GB", func(v *Veth) float64 { return v.ProcessCPUPerGB }},
	} {
		has := func(r *Result) bool { return r.Veth != nil && of.value(r.Veth) > 0 }
		for _, g := range groupBy(results, has, func(c *Conditions) { c.Packet, c.Heap, c.Senders, c.Generator = 0, 0, 0, "" }) {
			labels, at := axisOf(g.results, func(r *Result) string {
				label := strings.TrimSpace(clean(r.Generator) + " " + integer(r.Packet))
				if r.Senders > 1 {
					label += fmt.Sprintf(" × %d", r.Senders)
				}
				return label
			})
			s := g.seriesOf(func(r *Result) []point { return []point{{x: at(r), y: of.value(r.Veth)}} })
			if err := p.bars(axes{title: g.title(of.title), x: "generator, bytes of payload in a packet × senders", y: "s/GB"}, labels, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// axisOf returns the different labels of results, as they come, and the place of each.
func axisOf(results []Result, label func(r *Result) string) (labels []string, at func(r *Result) float64) {
	for i := range results {
		if l := label(&results[i]); !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	return labels, func(r *Result) float64 { return float64(slices.Index(labels, label(r))) }
}

// scaling plots rates over the number of threads, where there are several.
func (p *plots) scaling(results []Result) error {
	take := func(r *Result) bool { return r.Threads > 0 && r.Gbps > 0 }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Threads = 0 }) {
		if !slices.ContainsFunc(g.results, func(r Result) bool { return r.Threads != g.results[0].Threads }) {
			continue
		}
		s := g.seriesOf(func(r *Result) []point {
			return []point{{x: float64(r.Threads), y: r.Gbps, low: r.GbpsLow, high: r.GbpsHigh}}
		})
		title := g.title(fmt.Sprintf("Rate by number of threads (%s)", clean(g.results[0].Bench)))
		if err := p.lines(axes{title: title, x: "threads", y: "Gb/s of payload", ticksX: plot.TickerFunc(wholeTicks)}, s); err != nil {
			return err
		}
	}
	return nil
}

// packets plots the rates of bench memory by the size of packets, of one thread.
func (p *plots) packets(results []Result) error {
	take := func(r *Result) bool { return r.Bench == "memory" && r.Packet > 0 && r.Threads <= 1 && r.Gbps > 0 }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Packet = 0 }) {
		slices.SortStableFunc(g.results, func(a, b Result) int { return cmp.Compare(a.Packet, b.Packet) })
		labels, at := axisOf(g.results, func(r *Result) string { return strconv.Itoa(r.Packet) })
		s := g.seriesOf(func(r *Result) []point {
			return []point{{x: at(r), y: r.Gbps, low: r.GbpsLow, high: r.GbpsHigh}}
		})
		if err := p.bars(axes{title: g.title("Rate by size of packets (memory)"), x: "packet, bytes of UDP payload", y: "Gb/s of payload"}, labels, s); err != nil {
			return err
		}
	}
	return nil
}

// pool plots the times of bench pool.
func (p *plots) pool(results []Result) error {
	what := map[string]string{
		TouchNone: "Allocate and release a buffer",
		TouchPage: "Allocate a buffer, write to each page, release",
		TouchFill: "Allocate a buffer, fill it, release",
	}
	take := func(r *Result) bool { return r.Bench == "pool" && r.Heap > 0 && r.NsPerOp > 0 }
	for _, g := range groupBy(results, take, func(c *Conditions) { c.Heap = 0 }) {
		s := g.seriesOf(func(r *Result) []point {
			return []point{{x: float64(r.Heap), y: r.NsPerOp}}
		})
		title := what[g.Touch]
		if title == "" {
			title = g.title("Time for a buffer")
		}
		if err := p.lines(axes{
			title: title, x: "size of the buffer", y: "time for a buffer", logX: true, logY: true,
			ticksX: plot.TickerFunc(sizeTicks), ticksY: plot.TickerFunc(timeTicks),
		}, s); err != nil {
			return err
		}
	}
	return nil
}

// evenTicks labels multiples of 1, 2 or 5 times a power of 10: five to ten of them.
func evenTicks(low, high float64) []plot.Tick { return ticks(low, high, 0) }

// wholeTicks labels whole numbers only.
func wholeTicks(low, high float64) []plot.Tick { return ticks(low, high, 1) }

func ticks(low, high, least float64) []plot.Tick {
	power := math.Floor(math.Log10((high - low) / 5))
	step := math.Pow(10, power)
	switch n := (high - low) / step; {
	case n > 25:
		step *= 5
	case n > 10:
		step *= 2
	}
	step = max(step, least)
	digits := max(0, -int(math.Floor(math.Log10(step))))
	var all []plot.Tick
	for i := math.Ceil(low / step); i*step <= high*(1+1e-9) && len(all) < 20; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'f', min(digits, 9), 64)})
	}
	return all
}

// sizeTicks labels each power of 4.
func sizeTicks(low, high float64) []plot.Tick {
	var all []plot.Tick
	for v := int64(1); v <= maxCount && float64(v) <= high; v *= 4 {
		if float64(v) >= low {
			all = append(all, plot.Tick{Value: float64(v), Label: units.Size(v).String()})
		}
	}
	return all
}

// timeTicks labels each power of 10 of a time in ns.
func timeTicks(low, high float64) []plot.Tick {
	var all []plot.Tick
	units := []string{"ns", "µs", "ms", "s"}
	for e := 0; e <= 12; e++ {
		if v := math.Pow10(e); v >= low && v <= high {
			unit := min(e/3, len(units)-1)
			label := strconv.FormatFloat(math.Pow10(e-3*unit), 'f', -1, 64) + " " + units[unit]
			all = append(all, plot.Tick{Value: v, Label: label})
		}
	}
	return all
}
