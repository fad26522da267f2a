// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/speadx/speadx/internal/units"
)

// column is one of a table.
type column struct {
	title string
	left  bool                   // text begins at the left; numbers end at the right
	cell  func(r *Result) string // "": does not apply
	each  bool                   // every row has it, so that it says nothing of its own
}

// columns of all tables; one appears where some result has something in it.
func columns(results []Result) []column {
	ratioTitle, ratioCell := "ratio", func(r *Result) string {
		if r.Ratio == nil {
			return ""
		}
		return figure(r.Ratio.Value) + " x " + clean(r.Ratio.To)
	}
	if to, ok := oneReference(results); ok {
		ratioTitle, ratioCell = "x "+clean(to), func(r *Result) string {
			if r.Ratio == nil {
				return ""
			}
			return figure(r.Ratio.Value)
		}
	}
	return []column{
		{title: "generator", left: true, cell: func(r *Result) string { return clean(r.Generator) }},
		{title: "senders", cell: func(r *Result) string { return integer(r.Senders) }},
		{title: "packet", cell: func(r *Result) string { return integer(r.Packet) }},
		{title: "heap", cell: func(r *Result) string {
			if r.Heap == 0 {
				return ""
			}
			return units.Size(r.Heap).String()
		}},
		{title: "threads", cell: func(r *Result) string { return integer(r.Threads) }},
		{title: "same heap", left: true, cell: func(r *Result) string {
			if !r.SameHeap {
				return ""
			}
			return "yes"
		}},
		{title: "touch", left: true, cell: func(r *Result) string { return clean(r.Touch) }},
		{title: "contestant", left: true, each: true, cell: func(r *Result) string { return clean(r.Contestant) }},
		{title: "Gb/s", cell: func(r *Result) string { return measured(r.Gbps) }},
		{title: "95 %", left: true, cell: func(r *Result) string { return interval(r.GbpsLow, r.GbpsHigh) }},
		{title: "Mpps", cell: func(r *Result) string { return measured(r.Mpps) }},
		{title: "ns/op", cell: func(r *Result) string { return measured(r.NsPerOp) }},
		{title: "95 %", left: true, cell: func(r *Result) string { return interval(r.NsLow, r.NsHigh) }},
		{title: ratioTitle, cell: ratioCell},
		{title: "95 %", left: true, cell: func(r *Result) string {
			if r.Ratio == nil {
				return ""
			}
			return interval(r.Ratio.Low, r.Ratio.High)
		}},
		{title: "gain", cell: func(r *Result) string { return measured(r.Gain) }},
		{title: "gain ratio", cell: func(r *Result) string {
			if r.GainRatio == nil {
				return ""
			}
			return figure(r.GainRatio.Value) + " x " + clean(r.GainRatio.To) + "'s"
		}},
		{title: "95 %", left: true, cell: func(r *Result) string {
			if r.GainRatio == nil {
				return ""
			}
			return interval(r.GainRatio.Low, r.GainRatio.High)
		}},
		{title: "allocs", cell: func(r *Result) string {
			if r.Allocs == nil {
				return ""
			}
			return strconv.FormatUint(*r.Allocs, 10)
		}},
		{title: "paced Gb/s", cell: ofVeth(func(v *Veth) string { return measured(v.PacedGbps) })},
		{title: "machine CPU s/GB", cell: ofVeth(func(v *Veth) string { return measured(v.MachineCPUPerGB) })},
		{title: "process CPU s/GB", cell: ofVeth(func(v *Veth) string { return measured(v.ProcessCPUPerGB) })},
		{title: "lost paced", cell: ofVeth(func(v *Veth) string {
			if v.PacedGbps == 0 {
				return ""
			}
			return strconv.FormatUint(v.PacedLost, 10)
		})},
		{title: "disturbed Gb/s", cell: ofVeth(func(v *Veth) string {
			if v.Disturbed == nil {
				return ""
			}
			return measured(v.Disturbed.Gbps)
		})},
		{title: "lost disturbed", cell: ofVeth(func(v *Veth) string {
			if v.Disturbed == nil {
				return ""
			}
			return strconv.FormatUint(v.Disturbed.Lost, 10)
		})},
		{title: "lost", cell: ofVeth(func(v *Veth) string { return total(v.Curve, func(p *Point) uint64 { return p.Lost }) })},
		{title: "refused", cell: ofVeth(func(v *Veth) string { return total(v.Curve, func(p *Point) uint64 { return p.Refused }) })},
		{title: "ring peak", cell: ofVeth(func(v *Veth) string {
			if v.RingSize == 0 {
				return integer(v.RingPeak)
			}
			return fmt.Sprintf("%d/%d", v.RingPeak, v.RingSize)
		})},
		{title: "note", left: true, cell: func(r *Result) string { return clean(r.Note) }},
	}
}

// oneReference returns whom all ratios are to, if that is one.
func oneReference(results []Result) (to string, ok bool) {
	for i := range results {
		switch r := results[i].Ratio; {
		case r == nil:
		case ok && r.To != to:
			return "", false
		default:
			to, ok = r.To, true
		}
	}
	return to, ok
}

func ofVeth(f func(v *Veth) string) func(r *Result) string {
	return func(r *Result) string {
		if r.Veth == nil {
			return ""
		}
		return f(r.Veth)
	}
}

// total sums something over all trials.
func total(curve []Point, of func(p *Point) uint64) string {
	if len(curve) == 0 {
		return ""
	}
	sum := uint64(0)
	for i := range curve {
		sum += of(&curve[i])
	}
	return strconv.FormatUint(sum, 10)
}

// table is text in rows and columns: those of one bench.
type table struct {
	Bench  string
	Titles []string
	Left   []bool // by column
	Rows   []row
}

type row struct {
	Cells []string
	First bool // of its conditions
}

// tables makes one for each bench, in the order in which they first come. The results
// of the same conditions stand together.
func tables(results []Result) []table {
	var all []table
	for _, bench := range benches(results) {
		all = append(all, newTable(bench.name, bench.results))
	}
	return all
}

// ofBench are the results of one bench, those of equal conditions together.
type ofBench struct {
	name    string
	results []Result
}

func benches(results []Result) []ofBench {
	var names []string
	by := map[string]map[Conditions][]Result{}
	order := map[string][]Conditions{}
	for i := range results {
		r := &results[i]
		if by[r.Bench] == nil {
			names = append(names, r.Bench)
			by[r.Bench] = map[Conditions][]Result{}
		}
		if by[r.Bench][r.Conditions] == nil {
			order[r.Bench] = append(order[r.Bench], r.Conditions)
		}
		by[r.Bench][r.Conditions] = append(by[r.Bench][r.Conditions], *r)
	}
	var all []ofBench
	for _, name := range names {
		b := ofBench{name: name}
		for _, c := range order[name] {
			b.results = append(b.results, by[name][c]...)
		}
		all = append(all, b)
	}
	return all
}

func newTable(bench string, results []Result) table {
	t := table{Bench: clean(bench), Rows: make([]row, len(results))}
	for i := range results {
		t.Rows[i].First = i == 0 || results[i].Conditions != results[i-1].Conditions
	}
	for _, c := range columns(results) {
		cells := make([]string, len(results))
		some := c.each
		for i := range results {
			cells[i] = c.cell(&results[i])
			some = some || cells[i] != ""
		}
		if !some {
			continue
		}
		t.Titles = append(t.Titles, c.title)
		t.Left = append(t.Left, c.left)
		for i := range cells {
			t.Rows[i].Cells = append(t.Rows[i].Cells, cells[i])
		}
	}
	return t
}

// WriteTable writes results as text: a block for each bench, in which the results of
// the same conditions stand together. A column is there if some result of the block
// has something in it. It may be called for the results of a whole run, or each time
// some have come.
func WriteTable(w io.Writer, results []Result) error {
	var b bytes.Buffer
	for i, t := range tables(results) {
		if i > 0 {
			b.WriteByte('\n')
		}
		t.write(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (t *table) write(b *bytes.Buffer) {
	width := make([]int, len(t.Titles))
	for i, title := range t.Titles {
		width[i] = utf8.RuneCountInString(title)
		for _, r := range t.Rows {
			width[i] = max(width[i], utf8.RuneCountInString(r.Cells[i]))
		}
	}
	line := func(cells []string) {
		var s strings.Builder
		for i, c := range cells {
			if i > 0 {
				s.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.Left[i] {
				s.WriteString(c + pad)
			} else {
				s.WriteString(pad + c)
			}
		}
		b.WriteString(strings.TrimRight(s.String(), " "))
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "bench %s\n", t.Bench)
	line(t.Titles)
	// Lines between groups help where there are groups.
	groups := 0
	for _, r := range t.Rows {
		if r.First {
			groups++
		}
	}
	for i, r := range t.Rows {
		if i > 0 && r.First && groups < len(t.Rows) {
			b.WriteByte('\n')
		}
		line(r.Cells)
	}
}

// measured is a figure of which 0 means that there is none.
func measured(v float64) string {
	if v == 0 {
		return ""
	}
	return figure(v)
}

// figure writes v with three digits that count, and all before the point.
func figure(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	// Of what it is rounded to: 9.996 is 10.0.
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	digits := 2 - int(math.Floor(math.Log10(math.Abs(rounded))))
	return strconv.FormatFloat(v, 'f', min(max(digits, 0), 9), 64)
}

func interval(low, high float64) string {
	if low == 0 && high == 0 {
		return ""
	}
	return "[" + figure(low) + ", " + figure(high) + "]"
}

func integer(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// clean takes from s what would move a terminal's cursor: results may come from a
// file of anybody's.
func clean(s string) string {
	if !slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, s)
}
