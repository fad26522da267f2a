// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/speadx/speadx/internal/bench"
)

// Sizes, in points.
const (
	width      = 620
	margin     = 12
	rowHeight  = 19
	lineHeight = 13
	axisHeight = 34
	plotHeight = 230
)

var (
	ink   = color.NRGBA{0x17, 0x21, 0x2b, 255}
	dim   = color.NRGBA{0x56, 0x63, 0x6f, 255}
	grid  = color.NRGBA{0xd5, 0xdb, 0xe1, 255}
	paper = color.NRGBA{255, 255, 255, 255} // also on a dark page
)

// draw draws charts below each other, with lines of text below them.
func draw(charts []bench.Chart, sources []string) ([]byte, error) {
	height := vg.Length(2*margin + len(sources)*lineHeight)
	for _, c := range charts {
		height += heightOf(c)
	}
	svg := vgsvg.New(width, height)
	all := vgdraw.New(svg)
	all.FillPolygon(paper, box(0, 0, width, height))
	top := height - margin
	for _, c := range charts {
		area := vgdraw.Canvas{Canvas: all.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: margin, Y: top - heightOf(c)}, Max: vg.Point{X: width - margin, Y: top},
		}}
		if err := one(area, c); err != nil {
			return nil, fmt.Errorf("chart %q: %w", c.Title, err)
		}
		top -= heightOf(c)
	}
	for _, line := range sources {
		s := style(8, dim, text.XLeft)
		all.FillText(s, vg.Point{X: margin, Y: top - lineHeight/2}, fitted(s, line, width-2*margin))
		top -= lineHeight
	}
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return nil, err
	}
	// Who has not this font has others.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

func heightOf(c bench.Chart) vg.Length {
	h := vg.Length(lineHeight + 8 + 14) // the title, and what is between charts
	if c.Note != "" {
		h += lineHeight
	}
	if c.Series != nil {
		return h + plotHeight + lineHeight
	}
	return h + vg.Length(rows(c)*rowHeight) + axisHeight
}

// rows is the number of bars and of titles of groups.
func rows(c bench.Chart) (n int) {
	for _, g := range c.Groups {
		n += len(g.Bars)
		if g.Title != "" {
			n++
		}
	}
	return n
}

func box(x0, y0, x1, y1 vg.Length) []vg.Point {
	return []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}}
}

// style is that of text, whose middle is at the height of its place.
func style(size vg.Length, c color.Color, align text.XAlignment) text.Style {
	return text.Style{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}, XAlign: align, YAlign: text.YCenter, Handler: plot.DefaultTextHandler,
	}
}

// fitted cuts text to a width.
func fitted(s text.Style, t string, width vg.Length) string {
	if s.Width(t) <= width {
		return t
	}
	runes := []rune(t)
	for len(runes) > 1 && s.Width(string(runes)+"…") > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

func parse(hex string) color.NRGBA {
	var c color.NRGBA
	if _, err := fmt.Sscanf(hex, "#%02x%02x%02x", &c.R, &c.G, &c.B); err != nil {
		panic(err) // the colours are those of package bench
	}
	c.A = 255
	return c
}

// one draws a chart: its title, note and figures.
func one(area vgdraw.Canvas, c bench.Chart) error {
	top := area.Max.Y - lineHeight/2
	bold := style(10, ink, text.XLeft)
	bold.Font.Weight = 2 // bold
	area.FillText(bold, vg.Point{X: area.Min.X, Y: top}, fitted(bold, c.Title, area.Max.X-area.Min.X))
	top -= lineHeight/2 + 4
	if c.Note != "" {
		area.FillText(style(8.5, dim, text.XLeft), vg.Point{X: area.Min.X, Y: top - lineHeight/2}, c.Note)
		top -= lineHeight
	}
	area.Max.Y = top - 4
	area.Min.Y += 14
	if c.Series != nil {
		return lines(area, c)
	}
	bars(area, c)
	return nil
}

func newPlot(a bench.Axis) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	prepare(&p.X, a)
	prepare(&p.Y, bench.Axis{Max: 1})
	return p
}

func prepare(axis *plot.Axis, a bench.Axis) {
	axis.Label.Text = a.Title
	axis.Min, axis.Max = a.Min, a.Max
	axis.Label.TextStyle = style(9, dim, text.XCenter)
	axis.Label.TextStyle.YAlign = axisText
	axis.Tick.Label.Font = style(8.5, dim, text.XCenter).Font
	axis.Tick.Label.Color = dim
	axis.Color, axis.Tick.Color = dim, grid
	axis.Padding, axis.Label.Padding = 0, 2
	if a.Log {
		axis.Scale = plot.LogScale{}
	}
	axis.Tick.Marker = plot.TickerFunc(func(float64, float64) (ticks []plot.Tick) {
		for _, t := range a.Ticks {
			ticks = append(ticks, plot.Tick{Value: t.At, Label: t.Text})
		}
		return ticks
	})
}

// axisText is how gonum/plot places the title of an axis.
const axisText = text.YBottom

// bars draws horizontal bars, the first on top.
func bars(area vgdraw.Canvas, c bench.Chart) {
	label, value := style(9, ink, text.XLeft), style(9, ink, text.XLeft)
	names, texts := vg.Length(0), vg.Length(0)
	for _, g := range c.Groups {
		for _, b := range g.Bars {
			names, texts = max(names, label.Width(b.Name)), max(texts, value.Width(b.Text))
		}
	}
	// Who has not this font sees a wider one, and texts begin where they are put.
	names, texts = min(1.2*names, width/3), 1.2*texts
	a := c.X
	p := newPlot(a)
	inner := area.Max.X - area.Min.X - names - 12
	p.X.Max = a.Max / max(0.2, 1-float64((texts+18)/inner))
	p.HideY()
	p.Y.Min, p.Y.Max = -float64(rows(c)), 0
	lines := plotter.NewGrid()
	lines.Vertical.Color, lines.Horizontal = grid, vgdraw.LineStyle{}
	p.Add(lines, barPlotter{chart: c, names: names, label: label, value: value})
	p.Draw(vgdraw.Crop(area, names+8, -4, 0, 0))
}

// barPlotter draws bars, and to the left of its canvas their names.
type barPlotter struct {
	chart        bench.Chart
	names        vg.Length
	label, value text.Style
}

func (b barPlotter) Plot(c vgdraw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	row := 0.0
	for _, g := range b.chart.Groups {
		if g.Title != "" {
			bold := style(9, ink, text.XLeft)
			bold.Font.Weight = 2
			c.FillText(bold, vg.Point{X: c.Min.X - b.names - 8, Y: y(row - 0.5)}, g.Title)
			row--
		}
		for _, bar := range g.Bars {
			b.bar(c, bar, x, y(row-0.5))
			row--
		}
	}
}

func (b barPlotter) bar(c vgdraw.Canvas, bar bench.Bar, x func(float64) vg.Length, middle vg.Length) {
	const half = rowHeight * 0.34
	look := bench.LookOf(bar.Look)
	col := parse(look.Light)
	c.FillText(b.label, vg.Point{X: c.Min.X - b.names - 8, Y: middle}, fitted(b.label, bar.Name, b.names))
	end := x(bar.Value)
	fill(c, look, c.Min.X, middle-half, end, middle+half)
	if bar.Inner > 0 {
		at := x(bar.Inner)
		c.FillPolygon(paper, box(at-2.2, middle-half, at+2.2, middle+half))
		c.FillPolygon(ink, box(at-0.8, middle-half, at+0.8, middle+half))
	}
	far := max(end, x(bar.Inner)) + 6
	if bar.High > 0 {
		low, high := x(bar.Low), x(bar.High)
		for _, line := range []vgdraw.LineStyle{{Color: paper, Width: 3}, {Color: ink, Width: 1.2}} {
			c.StrokeLine2(line, low, middle, high, middle)
			c.StrokeLine2(line, low, middle-4, low, middle+4)
			c.StrokeLine2(line, high, middle-4, high, middle+4)
		}
		far = max(far, high)
	}
	marker(c, look, col, vg.Point{X: end, Y: middle}, 0.8)
	c.FillText(b.value, vg.Point{X: far + 5, Y: middle}, bar.Text)
}

// fill fills a bar: with its colour, lines, or crossed lines.
func fill(c vgdraw.Canvas, look bench.Look, x0, y0, x1, y1 vg.Length) {
	col := parse(look.Light)
	if look.Fill == bench.FillSolid {
		c.FillPolygon(col, box(x0, y0, x1, y1))
		return
	}
	pale := col
	mix := func(v uint8) uint8 { return uint8(255 - (255-int(v))/4) }
	pale.R, pale.G, pale.B = mix(col.R), mix(col.G), mix(col.B)
	c.FillPolygon(pale, box(x0, y0, x1, y1))
	line := vgdraw.LineStyle{Color: col, Width: 1.1}
	height := y1 - y0
	var hatch vg.Path
	for from := x0 - height; from < x1; from += 5 {
		left, right := max(from, x0), min(from+height, x1)
		if right <= left {
			continue
		}
		hatch.Move(vg.Point{X: left, Y: y0 + left - from})
		hatch.Line(vg.Point{X: right, Y: y0 + right - from})
		if look.Fill == bench.FillDotted {
			hatch.Move(vg.Point{X: left, Y: y1 - (left - from)})
			hatch.Line(vg.Point{X: right, Y: y1 - (right - from)})
		}
	}
	c.SetLineStyle(line)
	c.Stroke(hatch)
	c.StrokeLines(vgdraw.LineStyle{Color: col, Width: 0.8}, append(box(x0, y0, x1, y1), vg.Point{X: x0, Y: y0}))
}

// marker draws the marker of a look.
func marker(c vgdraw.Canvas, look bench.Look, col color.Color, at vg.Point, scale vg.Length) {
	var outline []vg.Point
	for _, p := range look.Outline {
		outline = append(outline, vg.Point{X: at.X + scale*vg.Length(p[0]), Y: at.Y - scale*vg.Length(p[1])})
	}
	closed := append(outline, outline[0])
	c.StrokeLines(vgdraw.LineStyle{Color: paper, Width: 3}, closed)
	if look.Fill == bench.FillSolid {
		c.FillPolygon(col, outline)
	} else {
		c.FillPolygon(paper, outline)
	}
	c.StrokeLines(vgdraw.LineStyle{Color: col, Width: 1.2}, closed)
	if look.Fill == bench.FillDotted {
		c.DrawGlyph(vgdraw.GlyphStyle{Color: col, Radius: 1.4 * scale, Shape: vgdraw.CircleGlyph{}}, at)
	}
}

// lines draws a line for each series, and a legend below.
func lines(area vgdraw.Canvas, c bench.Chart) error {
	p := newPlot(c.X)
	prepare(&p.Y, c.Y)
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = grid, grid
	p.Add(g)
	for _, s := range c.Series {
		p.Add(seriesPlotter{s})
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = c.X.Min, c.X.Max, c.Y.Min, c.Y.Max
	p.Draw(vgdraw.Crop(area, 0, -14, lineHeight+6, 0))
	name := style(9, ink, text.XLeft)
	at := area.Min.X + 40
	for _, s := range c.Series {
		look := bench.LookOf(s.Look)
		marker(area, look, parse(look.Light), vg.Point{X: at, Y: area.Min.Y + lineHeight/2}, 0.8)
		area.FillText(name, vg.Point{X: at + 8, Y: area.Min.Y + lineHeight/2}, s.Name)
		at += 8 + name.Width(s.Name) + 20
	}
	return nil
}

// seriesPlotter draws a line, with markers and intervals.
type seriesPlotter struct{ bench.Series }

func (s seriesPlotter) Plot(c vgdraw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	look := bench.LookOf(s.Look)
	col := parse(look.Light)
	line := vgdraw.LineStyle{Color: col, Width: 1.4}
	for _, d := range look.Dash {
		line.Dashes = append(line.Dashes, vg.Points(0.75*d))
	}
	var at []vg.Point
	for _, pt := range s.Points {
		at = append(at, vg.Point{X: x(pt.X), Y: y(pt.Y)})
	}
	c.StrokeLines(line, at)
	for i, pt := range s.Points {
		if pt.High > 0 && pt.Low >= p.Y.Min {
			c.StrokeLine2(vgdraw.LineStyle{Color: col, Width: 1.2}, at[i].X, y(pt.Low), at[i].X, y(pt.High))
		}
		marker(c, look, col, at[i], 0.8)
	}
}
