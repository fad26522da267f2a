// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // of the template, the style and the script
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/speadx/speadx/internal/uplot"
)

//go:embed report.html.tmpl
var reportText string

//go:embed report.css
var reportStyle string

//go:embed report.js
var reportScript string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// report is what the template gets. The browser runs the two scripts and takes the style
// of Policy, and nothing else: names in results may come from anybody's file.
type report struct {
	Policy        string // the Content-Security-Policy
	Style         template.CSS
	UPlot, Script template.JS
	License       string // of uPlot
	Data          template.JS

	Machines []string // each once, with the day
	Runs     []run
	Sections []section
	Folded   []section
	Tables   []table
}

// run is a machine that results are of, without what differs among those of one run.
type run struct {
	Machine
	MemoryText, L3Text string
	When               string
}

// brief returns which machine it was, and when.
func (r *run) brief() string {
	day, _, _ := strings.Cut(r.When, " ")
	parts := slices.DeleteFunc([]string{clean(r.CPU), count(r.CPUs, "CPU"), clean(day)}, func(s string) bool { return s == "" })
	return strings.Join(parts, ", ")
}

// section is charts under one heading.
type section struct {
	Title  string
	Charts []view
}

// view is a chart with what the page shows of it where no script runs.
type view struct {
	Chart
	Number int    // in the data of the script
	Answer string // the result in a sentence; "": there is none
	Rows   []viewRow
	Legend []viewLook
}

type viewRow struct {
	Group                        string // "": that of the row before
	Name                         string
	Look                         viewLook
	Value, Interval, Ratio, Part string
}

// viewLook is a marker beside a name.
type viewLook struct {
	Class string
	Shape string
	Fill  int
	Name  string
}

// data is what the script gets.
type data struct {
	Looks  map[int]Look `json:"looks"`
	Charts []Chart      `json:"charts"`
}

var sectionTitles = map[Section]string{
	RateSection: "Rates", MemorySection: "Rates from memory", CPUSection: "CPU time for a GB",
	ThreadsSection: "By number of threads", PoolSection: "The cost of a buffer", TrialsSection: "Single trials",
}

// WriteHTML writes a report: one file that needs no other. The answer comes first, then
// charts, the tables, and the machine's facts. Charts without figures are left out.
func WriteHTML(w io.Writer, results []Result) error {
	r, err := newReport(results)
	if err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, r); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func newReport(results []Result) (*report, error) {
	d := data{Looks: map[int]Look{}, Charts: Charts(results)}
	r := &report{
		UPlot: template.JS(uplot.Script), Script: template.JS(reportScript), License: uplot.License,
		Runs: runs(results), Tables: tables(results),
	}
	for _, m := range r.Runs {
		if text := m.brief(); text != "" && !slices.Contains(r.Machines, text) {
			r.Machines = append(r.Machines, text)
		}
	}
	var last Section
	for i, c := range d.Charts {
		of := &r.Sections
		if c.Section == TrialsSection {
			of = &r.Folded
		}
		if c.Section != last {
			*of = append(*of, section{Title: sectionTitles[c.Section]})
			last = c.Section
		}
		s := &(*of)[len(*of)-1]
		s.Charts = append(s.Charts, newView(c, i, d.Looks))
	}
	text, err := json.Marshal(d) // it escapes <, > and &
	if err != nil {
		return nil, err
	}
	r.Data = template.JS(text)
	style := reportStyle + uplot.Style + "\n" + styleOf(d.Looks)
	r.Style = template.CSS(style)
	r.Policy = fmt.Sprintf("default-src 'none'; script-src %s %s; style-src %s; base-uri 'none'; form-action 'none'",
		allowed(uplot.Script), allowed(reportScript), allowed(style))
	return r, nil
}

// allowed is how a Content-Security-Policy allows text within the page.
func allowed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// styleOf has the colours of looks, on white and on a dark ground. Paper is white.
func styleOf(looks map[int]Look) string {
	var light, dark strings.Builder
	for i := range numLooks {
		if l, ok := looks[i]; ok {
			fmt.Fprintf(&light, ".look%d { color: %s; }\n", i, l.Light)
			fmt.Fprintf(&dark, ".look%d { color: %s; }\n", i, l.Dark)
		}
	}
	return light.String() + "@media screen and (prefers-color-scheme: dark) {\n" + dark.String() + "}\n"
}

// newView makes what the page shows of a chart, and notes its looks.
func newView(c Chart, number int, looks map[int]Look) view {
	v := view{Chart: c, Number: number, Answer: answer(c)}
	mark := func(name string, look int) viewLook {
		look %= numLooks
		l := lookAt(look)
		looks[look] = l
		return viewLook{Class: fmt.Sprintf("look%d", look), Shape: l.Shape, Fill: l.Fill, Name: name}
	}
	for _, g := range c.Groups {
		for i, b := range g.Bars {
			row := viewRow{Name: b.Name, Look: mark(b.Name, b.Look), Value: figure(b.Value), Interval: interval(b.Low, b.High), Ratio: measured(b.Ratio), Part: measured(b.Inner)}
			if i == 0 {
				row.Group = g.Title
			}
			v.Rows = append(v.Rows, row)
		}
	}
	for _, s := range c.Series {
		v.Legend = append(v.Legend, mark(s.Name, s.Look))
	}
	return v
}

// answer says what speadx does beside its rivals.
func answer(c Chart) string {
	var parts []string
	for _, g := range c.Groups {
		own, ok := ourBar(g)
		if !ok {
			continue
		}
		text := own.Name + " " + figure(own.Value) + " " + c.Unit + beside(g, own)
		if g.Title != "" {
			text = g.Title + ": " + text
		}
		parts = append(parts, text)
	}
	if parts == nil {
		return ""
	}
	return strings.Join(parts, "; ") + "."
}

// ourBar finds the bar that is speadx's: in native mode, or else the first.
func ourBar(g BarGroup) (Bar, bool) {
	at := slices.IndexFunc(g.Bars, func(b Bar) bool { return b.Name == Native })
	if at < 0 {
		at = slices.IndexFunc(g.Bars, func(b Bar) bool { return strings.HasPrefix(b.Name, "speadx") })
	}
	if at < 0 {
		return Bar{}, false
	}
	return g.Bars[at], true
}

// beside compares our bar with those of spead2, or else with plain copy.
func beside(g BarGroup, own Bar) (text string) {
	for _, name := range []string{Spead2, Spead2Tuned, Spead2Stock, Spead2Bench, "copy"} {
		for _, b := range g.Bars {
			if b.Name == name && (name != "copy" || text == "") && finite(own.Value/b.Value) {
				text += ", " + figure(own.Value/b.Value) + " × " + name
			}
		}
	}
	return text
}

// Machines returns the machines that results are of, each once: of those that differ
// only in the pages of a pool, the one that has any.
func Machines(results []Result) []Machine {
	var all []Machine
	for i := range results {
		m := results[i].Machine
		if m == nil {
			continue
		}
		at := slices.IndexFunc(all, func(o Machine) bool {
			o.Pages = m.Pages
			return o == *m
		})
		switch {
		case at < 0:
			all = append(all, *m)
		case all[at].Pages == "":
			all[at].Pages = m.Pages
		}
	}
	return all
}

func runs(results []Result) []run {
	var all []run
	for _, m := range Machines(results) {
		r := run{Machine: m, MemoryText: bytesText(m.Memory, ""), L3Text: bytesText(m.L3, ""), When: m.Time}
		if t, err := time.Parse(time.RFC3339, m.Time); err == nil {
			r.When = t.Format("2006-01-02 15:04:05 -07:00")
		}
		all = append(all, r)
	}
	return all
}
