// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	stdhtml "html"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/uplot"
)

func html(t *testing.T, results []Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// scripts are the texts of the script elements of a page, and the page without them.
func scripts(t *testing.T, page string) (texts []string, rest string) {
	t.Helper()
	rest = regexp.MustCompile(`(?s)<script[^>]*>(.*?)</script>`).ReplaceAllStringFunc(page, func(s string) string {
		s = s[strings.IndexByte(s, '>')+1:]
		texts = append(texts, strings.TrimSuffix(s, "</script>"))
		return ""
	})
	if strings.Contains(strings.ToLower(rest), "<script") || strings.Contains(strings.ToLower(rest), "</script") {
		t.Error("a script element is not closed, or closed twice")
	}
	return texts, rest
}

// charted are the figures that a page gives to its script.
func charted(t *testing.T, page string) (d data) {
	t.Helper()
	texts, _ := scripts(t, page)
	if len(texts) == 0 {
		return data{}
	}
	if len(texts) != 3 || texts[1] != uplot.Script || texts[2] != reportScript {
		t.Fatalf("%d scripts, or others than ours", len(texts))
	}
	if err := json.Unmarshal([]byte(texts[0]), &d); err != nil {
		t.Fatalf("the script's figures: %v", err)
	}
	return d
}

func TestHTML(t *testing.T) {
	page := html(t, sample())
	if file := os.Getenv("SPEADX_REPORT"); file != "" { // to be looked at
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wellFormed(t, page)
	for _, want := range []string{
		"<dd>A CPU with &lt;angles&gt; &amp; more</dd>", "<dd>24 GiB</dd>", "<dd>32 MiB, as the machine tells</dd>", "<dd>2M</dd>",
		"2026-01-02 03:04:05", `<p class="machine">A CPU with &lt;angles&gt; &amp; more, 2 CPUs, 2026-01-02</p>`, "<code>speadx bench</code>",
		"<h2>bench memory</h2>", "<h2>bench veth</h2>", "<h2>bench pool</h2>",
		"<th>x copy</th>", `<td>0.910</td><td class="left">[0.890, 0.925]</td>`, "<td>512/2048</td>",
		"socket &amp; &lt;b&gt;GRO&lt;/b&gt;", "spead2_recv is not on this machine", "MIT License",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	var got []string
	d := charted(t, page)
	for i, c := range d.Charts {
		got = append(got, c.Title)
		if n := strings.Count(page, fmt.Sprintf(`data-chart="%d"`, i)); n != 1 {
			t.Errorf("chart %d has %d elements", i, n)
		}
	}
	// The answer comes first, single trials last.
	want := []string{
		"Highest rate without loss: blast, packet 8192", "Highest rate without loss: udp, packet 8192",
		"Rate from memory: heap 4MiB, threads 1",
		"CPU time of the machine for a GB: blast, packet 8192", "CPU time of the machine for a GB: udp, packet 8192",
		"Rate by number of threads (memory): packet 1472, heap 4MiB", "Rate by number of threads (memory): packet 4096, heap 4MiB",
		"Rate by number of threads (memory): packet 8972, heap 4MiB",
		"Allocate and release a buffer", "Allocate a buffer, fill it, release",
		"Trials with loss: blast, packet 8192", "Packets lost: blast, packet 8192", "Most frames waiting on the RX ring: blast, packet 8192",
		"Trials with loss: udp, packet 8192", "Packets lost: udp, packet 8192", "Most frames waiting on the RX ring: udp, packet 8192",
	}
	if !slices.Equal(got, want) {
		t.Errorf("charts %q, want %q", got, want)
	}
	order := []string{`id="chart0"`, `class="answer"`, `id="chart9"`, "<details>", `id="chart10"`, "</details>", "<h2>bench memory</h2>", "<dl>"}
	at := make([]int, len(order))
	for i, part := range order {
		at[i] = strings.Index(page, part)
	}
	if !slices.IsSorted(at) || at[0] < 0 {
		t.Errorf("%q stand at %d", order, at)
	}
	_, rest := scripts(t, page)
	for _, never := range []string{"http:", "https:", "<b>GRO", "<angles>", "ZgotmplZ", "url(", "src=", "href=", "@import", "<link", "NaN", "Inf"} {
		if strings.Contains(rest, never) {
			t.Errorf("the report has %q in it", never)
		}
	}
	for _, never := range []string{"http:", "innerHTML", "insertAdjacentHTML", "document.write", "eval(", "import(", "fetch(", "XMLHttpRequest"} {
		if strings.Contains(reportScript, never) {
			t.Errorf("the script has %q in it", never)
		}
	}
}

// TestHTMLRatio: a bar beside that of spead2_recv has the quotient of both, and so has the
// sentence above.
func TestHTMLRatio(t *testing.T) {
	c := Conditions{Generator: "blast", Senders: 1, Packet: 3072}
	of := func(name string, gbps float64) Result {
		return Result{Bench: "veth", Contestant: name, Conditions: c, Gbps: gbps, GbpsLow: gbps - 1, GbpsHigh: gbps + 1, Veth: &Veth{MachineCPUPerGB: 10 / gbps}}
	}
	page := html(t, []Result{of(Drain, 50), of(Native, 40), of(Spead2, 10), of(Spead2Tuned, 20)})
	d := charted(t, page)
	var got []string
	for _, c := range d.Charts {
		for _, b := range c.Groups[0].Bars {
			got = append(got, b.Name+" "+b.Text)
		}
	}
	want := []string{
		"drain 50.0 (5.00 ×)", "speadx native 40.0 (4.00 ×)", "spead2_recv tuned 20.0 (2.00 ×)", "spead2_recv 10.0 (1.00 ×)",
		"drain 0.200 (0.200 ×)", "speadx native 0.250 (0.250 ×)", "spead2_recv tuned 0.500 (0.500 ×)", "spead2_recv 1.00 (1.00 ×)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("bars %q, want %q", got, want)
	}
	for _, answer := range []string{
		"speadx native 40.0 Gb/s, 4.00 × spead2_recv, 2.00 × spead2_recv tuned.",
		"speadx native 0.250 s/GB, 0.250 × spead2_recv, 0.500 × spead2_recv tuned.",
		"<th>divided by spead2_recv</th>",
	} {
		if !strings.Contains(page, answer) {
			t.Errorf("the report lacks %q", answer)
		}
	}
}

// TestHTMLPolicy: the browser is allowed the style and the scripts by their sums, and no
// other.
func TestHTMLPolicy(t *testing.T) {
	page := html(t, sample())
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("there is none")
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	want := fmt.Sprintf("default-src 'none'; script-src %s %s; style-src %s; base-uri 'none'; form-action 'none'",
		allowed(uplot.Script), allowed(reportScript), allowed(style[1]))
	if got := stdhtml.UnescapeString(policy[1]); got != want {
		t.Errorf("policy %q, want %q", got, want)
	}
}

// wellFormed checks that tags are balanced and entities known: the page is written so
// that it is XML too, but for its void elements.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	body := strings.TrimPrefix(page, "<!DOCTYPE html>\n")
	_, body = scripts(t, body)
	body = regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(body, "")
	body = regexp.MustCompile(`(?s)<style>.*</style>`).ReplaceAllString(body, "")
	dec := xml.NewDecoder(strings.NewReader(body))
	dec.Entity = xml.HTMLEntity
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("line %d: %v", 1+strings.Count(body[:dec.InputOffset()], "\n"), err)
		}
	}
}

// extremes are results that leave no room for an axis, or have nothing to draw.
var extremes = []struct {
	name   string
	r      Result
	charts int
}{
	{"note only", Result{Bench: "memory", Contestant: "x", Note: "failed"}, 0},
	{"one number of threads", Result{Bench: "veth", Contestant: "x", Gbps: 3, Conditions: Conditions{Threads: 4}}, 1},
	{"empty veth", Result{Bench: "veth", Contestant: "x", Veth: &Veth{}}, 0},
	{"points without trials", Result{Bench: "veth", Contestant: "x", Veth: &Veth{Curve: []Point{{}, {}}}}, 0},
	{"a point at 0", Result{Bench: "veth", Contestant: "x", Veth: &Veth{Curve: []Point{{Trials: 1, Sent: 1}}}}, 2},
	{"one size", Result{Bench: "pool", Contestant: "x", NsPerOp: 1, Conditions: Conditions{Heap: 1}}, 1},
	{"largest", Result{Bench: "pool", Contestant: "x", NsPerOp: maxFigure, Conditions: Conditions{Heap: maxCount}}, 1},
	{"tiny", Result{Bench: "pool", Contestant: "x", NsPerOp: math.SmallestNonzeroFloat64, Conditions: Conditions{Heap: 1}}, 1},
	{"one packet", Result{Bench: "memory", Contestant: "x", Gbps: 1e-300, Conditions: Conditions{Packet: 1}}, 1},
	{"large", Result{Bench: "memory", Contestant: "x", Gbps: maxFigure, Conditions: Conditions{Packet: maxCount}}, 1},
	{"no number", Result{Bench: "veth", Contestant: "x", Gbps: math.NaN(), GbpsHigh: math.Inf(1), Veth: &Veth{MachineCPUPerGB: math.Inf(1)}}, 0},
	{"no interval", Result{Bench: "veth", Contestant: "x", Gbps: 1, GbpsLow: math.Inf(-1), GbpsHigh: math.Inf(1)}, 1},
	{"strange names", Result{Bench: "veth", Contestant: "\x1b[2J\u202e😀\xff", Veth: &Veth{MachineCPUPerGB: 1}, Conditions: Conditions{Generator: "</text>\x00😀", Packet: 1}}, 1},
	{"a name that ends the script", Result{Bench: "veth", Contestant: "</script><script>alert(1)</script><!--", Gbps: 1, Note: "</style><script>"}, 1},
	{"a name that is markup", Result{Bench: "\"><img src=x onerror=alert(1)>", Contestant: "' onload='\u2028", Gbps: 1, Machine: &Machine{CPU: "</p><script>"}}, 1},
}

// TestHTMLOfLittle: no chart where there is nothing to draw, nor a fault where the
// figures leave no room for an axis.
func TestHTMLOfLittle(t *testing.T) {
	for _, tt := range extremes {
		t.Run(tt.name, func(t *testing.T) {
			page := html(t, []Result{tt.r})
			wellFormed(t, page)
			d := charted(t, page)
			if n := strings.Count(page, "data-chart="); n != tt.charts || len(d.Charts) != n {
				t.Errorf("%d elements for charts and %d charts, want %d", n, len(d.Charts), tt.charts)
			}
			if strings.ContainsAny(page, "\x1b\x00") || strings.Contains(page, "ZgotmplZ") {
				t.Error("it has control characters in it")
			}
			for _, c := range d.Charts {
				checkAxis(t, c.X)
				if c.Series != nil {
					checkAxis(t, c.Y)
				}
			}
		})
	}
}

// checkAxis checks that an axis has a length, and its ticks lie on it.
func checkAxis(t *testing.T, a Axis) {
	t.Helper()
	if !(a.Max > a.Min) || a.Log && a.Min <= 0 || !finite(a.Max) || len(a.Ticks) > 30 {
		t.Errorf("axis %+v", a)
	}
	for _, tick := range a.Ticks {
		if tick.At < a.Min || tick.At > a.Max*(1+1e-6) || tick.Text == "" {
			t.Errorf("tick %+v on an axis from %v to %v", tick, a.Min, a.Max)
		}
	}
}
