package bench

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
)

func html(t *testing.T, results []Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, results); err != nil {
		t.Fatal(err)
	}
	return b.String()
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
		"2026-01-02 03:04:05", "<code>speadx bench</code>",
		"<h2>bench memory</h2>", "<h2>bench veth</h2>", "<h2>bench pool</h2>",
		"<th>x copy</th>", `<td>0.910</td><td class="left">[0.890, 0.925]</td>`, "<td>512/2048</td>",
		"socket &amp; &lt;b&gt;GRO&lt;/b&gt;", "spead2_recv is not on this machine",
		"<figcaption>Trials with loss: blast, packet 8192</figcaption>",
		"<figcaption>Packets lost: udp, packet 8192</figcaption>",
		"<figcaption>Most frames waiting on the RX ring: udp, packet 8192</figcaption>",
		"<figcaption>CPU time of the machine for a GB</figcaption>",
		"<figcaption>CPU time of the process for a GB</figcaption>",
		"<figcaption>Rate by number of threads (memory): packet 8972, heap 4MiB</figcaption>",
		"<figcaption>Rate by size of packets (memory): heap 4MiB, threads 1</figcaption>",
		"<figcaption>Allocate and release a buffer</figcaption>",
		"<figcaption>Allocate a buffer, fill it, release</figcaption>",
		">rate offered, Gb/s</text>", ">trials with loss, %</text>", ">64MiB</text>", ">100 µs</text>", "color: #0072b2",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if n := strings.Count(page, "<svg "); n != 6+2+3+1+2 {
		t.Errorf("%d plots", n)
	}
	for _, never := range []string{"http:", "https:", "<b>GRO", "<angles>", "ZgotmplZ", "<script", "url(", "src=", "href=", "@import", "<link", "NaN", "Inf"} {
		if strings.Contains(page, never) {
			t.Errorf("the report has %q in it", never)
		}
	}
}

// wellFormed checks that tags are balanced and entities known: the page is written so
// that it is XML too, but for its void elements.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	body := strings.TrimPrefix(page, "<!DOCTYPE html>\n")
	body = regexp.MustCompile(`<meta [^>]*>`).ReplaceAllString(body, "")
	dec := xml.NewDecoder(strings.NewReader(body))
	dec.Entity = xml.HTMLEntity
	for {
		_, err := dec.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("line %d: %v", 1+strings.Count(body[:dec.InputOffset()], "\n"), err)
		}
	}
}

// TestHTMLOfLittle: no plot where there is nothing to plot, nor a fault where the
// figures leave no room for an axis.
func TestHTMLOfLittle(t *testing.T) {
	for _, tt := range []struct {
		name  string
		r     Result
		plots int
	}{
		{"note only", Result{Bench: "memory", Contestant: "x", Note: "failed"}, 0},
		{"one number of threads", Result{Bench: "veth", Contestant: "x", Gbps: 3, Conditions: Conditions{Threads: 4}}, 0},
		{"empty veth", Result{Bench: "veth", Contestant: "x", Veth: &Veth{}}, 0},
		{"points without trials", Result{Bench: "veth", Contestant: "x", Veth: &Veth{Curve: []Point{{}, {}}}}, 0},
		{"a point at 0", Result{Bench: "veth", Contestant: "x", Veth: &Veth{Curve: []Point{{Trials: 1, Sent: 1}}}}, 2},
		{"one size", Result{Bench: "pool", Contestant: "x", NsPerOp: 1, Conditions: Conditions{Heap: 1}}, 1},
		{"extremes", Result{Bench: "pool", Contestant: "x", NsPerOp: maxFigure, Conditions: Conditions{Heap: maxCount}}, 1},
		{"tiny", Result{Bench: "pool", Contestant: "x", NsPerOp: math.SmallestNonzeroFloat64, Conditions: Conditions{Heap: 1}}, 1},
		{"one packet", Result{Bench: "memory", Contestant: "x", Gbps: 1e-300, Conditions: Conditions{Packet: 1}}, 1},
		{"large", Result{Bench: "memory", Contestant: "x", Gbps: maxFigure, Conditions: Conditions{Packet: maxCount}}, 1},
		{"strange names", Result{Bench: "veth", Contestant: "\x1b[2J\u202e😀\xff", Veth: &Veth{MachineCPUPerGB: 1}, Conditions: Conditions{Generator: "</text>\x00😀", Packet: 1}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := html(t, []Result{tt.r})
			wellFormed(t, page)
			if n := strings.Count(page, "<svg "); n != tt.plots {
				t.Errorf("%d plots, want %d", n, tt.plots)
			}
			if strings.ContainsAny(page, "\x1b\x00") || strings.Contains(page, "ZgotmplZ") {
				t.Error("it has control characters in it")
			}
		})
	}
}
