package bench

import (
	"bytes"
	_ "embed" // of the template
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// report is what the template gets.
type report struct {
	Runs    []run
	Tables  []table
	Figures []figureOf
}

// run is a machine that results are of, without what differs among those of one run.
type run struct {
	Machine
	MemoryText, L3Text string
	When               string
}

// WriteHTML writes a report: one file that needs no other, with the machine's facts,
// the tables and the plots. Plots for which there are no figures are left out.
func WriteHTML(w io.Writer, results []Result) error {
	all, err := figures(results)
	if err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, report{Runs: runs(results), Tables: tables(results), Figures: all}); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
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
