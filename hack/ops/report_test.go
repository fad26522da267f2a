// SPDX-License-Identifier: Apache-2.0

//go:build ops

package ops

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/speadx/speadx/internal/bench"
)

// A name from a file may be anything.
const hostile = `</script><script>document.title="owned"</script><img src=x onerror="document.title='owned'">`

// measured are results of every sort, with made-up figures.
func measured() (all []bench.Result) {
	machine := &bench.Machine{CPU: "A CPU", CPUs: 2, Time: "2026-01-02T03:04:05Z", Command: "speadx bench " + hostile}
	add := func(r bench.Result) {
		r.Machine = machine
		all = append(all, r)
	}
	for _, senders := range []int{1, 64} {
		for i, name := range append(bench.VethContestants(), hostile) {
			limit := 60 / (1 + 0.3*float64(i))
			v := &bench.Veth{PacedGbps: 2, MachineCPUPerGB: 6 / limit, ProcessCPUPerGB: 3 / limit}
			for rate := 2.0; rate < 1.5*limit; rate *= 1.1 {
				p := bench.Point{OfferedGbps: rate, Trials: 5, Sent: 1000, RingPeak: int(rate * 10)}
				if rate > limit {
					p.Lossy, p.Lost = 4, uint64(rate-limit)
				}
				v.Curve = append(v.Curve, p)
			}
			add(bench.Result{
				Bench: "veth", Contestant: name, Conditions: bench.Conditions{Generator: "blast", Senders: senders, Packet: 3072, Heap: 1 << 20},
				Gbps: limit, GbpsLow: limit * 0.9, GbpsHigh: limit * 1.05, Trials: 5, Veth: v,
			})
		}
	}
	for _, packet := range []int{1472, 8972} {
		for _, threads := range []int{1, 2} {
			for i, name := range []string{"speadx", "copy", "spead2_bench"} {
				add(bench.Result{
					Bench: "memory", Contestant: name, Conditions: bench.Conditions{Packet: packet, Heap: 1 << 20, Threads: threads},
					Gbps: float64(packet) / 50 * float64(threads) / float64(1+i),
				})
			}
		}
	}
	for _, size := range []int64{16 << 10, 1 << 20, 64 << 20} {
		for i, name := range []string{"speadx", "make", "sync.Pool", "mmap"} {
			add(bench.Result{Bench: "pool", Contestant: name, Conditions: bench.Conditions{Heap: size, Touch: bench.TouchFill}, NsPerOp: float64(size) / 8 * float64(1+i)})
		}
	}
	return all
}

// extremes are results that leave no room for an axis, or stretch it as far as can be.
func extremes() []bench.Result {
	return []bench.Result{
		{Bench: "pool", Contestant: "a", NsPerOp: 1e12, Conditions: bench.Conditions{Heap: 1 << 50}},
		{Bench: "pool", Contestant: "b", NsPerOp: 5e-324, Conditions: bench.Conditions{Heap: 1}},
		{Bench: "pool", Contestant: "b", NsPerOp: 5e-324, Conditions: bench.Conditions{Heap: 1, Touch: "x"}},
		{Bench: "memory", Contestant: "a", Gbps: 1e-300, Conditions: bench.Conditions{Packet: 1}},
		{Bench: "memory", Contestant: strings.Repeat("long ", 100), Gbps: 1e12, Conditions: bench.Conditions{Packet: 1 << 50}},
		{Bench: "veth", Contestant: "a", Veth: &bench.Veth{Curve: []bench.Point{{Trials: 1, Sent: 1}}}},
		{Bench: "veth", Contestant: strings.Repeat("W", 300), Gbps: 1, GbpsLow: 0.5, GbpsHigh: 1e12, Conditions: bench.Conditions{Senders: 1}},
	}
}

// writeReport writes a report to a file and returns its address.
func writeReport(t *testing.T, results []bench.Result) string {
	t.Helper()
	var page bytes.Buffer
	if err := bench.WriteHTML(&page, results); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + file
}

// pixels is a function in the page that reads a copy of a canvas. Chromium warns on its
// console if the canvas itself is read.
const pixels = `const pixels = (c, width) => {
	const copy = document.createElement("canvas");
	copy.width = width;
	copy.height = c.height;
	const ctx = copy.getContext("2d", { willReadFrequently: true });
	ctx.drawImage(c, 0, 0);
	return ctx.getImageData(0, 0, width, c.height).data;
};`

// blank finds charts whose canvas shows nothing but its ground.
const blank = `(() => {` + pixels + `
	return [...document.querySelectorAll("[data-chart]")].filter(box => {
		const c = box.querySelector("canvas");
		return !c || c.width < 100 || c.height < 60 || new Set(new Uint32Array(pixels(c, c.width).buffer)).size < 8;
	}).map(box => box.dataset.chart).join();
})()`

// textLuminance is that of the text beside the first bars, of 255.
const textLuminance = `(() => {` + pixels + `
	const d = pixels(document.querySelector("[data-chart] canvas"), 60);
	let strongest = 0, luminance = 0;
	for (let i = 0; i < d.length; i += 4) {
		if (d[i + 3] <= strongest) continue;
		strongest = d[i + 3];
		luminance = 0.2 * d[i] + 0.7 * d[i + 1] + 0.1 * d[i + 2];
	}
	return luminance;
})()`

// The report in both colours, on a phone and on paper: every chart is drawn, no name becomes
// an element, and nothing is wider than the screen.
func TestReport(t *testing.T) {
	for _, c := range []struct {
		name          string
		results       []bench.Result
		width, height int64
		scheme        string
	}{
		{"light", measured(), 1280, 900, "light"},
		{"dark", measured(), 1280, 900, "dark"},
		{"phone", measured(), 390, 844, "light"},
		{"extremes", extremes(), 390, 844, "dark"},
	} {
		t.Run(c.name, func(t *testing.T) {
			charts := bench.Charts(c.results)
			var folded int
			for _, ch := range charts {
				if ch.Section == bench.TrialsSection {
					folded++
				}
			}
			b := newFileBrowser(t)
			b.view(c.width, c.height, c.scheme)
			b.open(writeReport(t, c.results))
			b.wait(fmt.Sprintf("document.documentElement.dataset.drawn === %q", fmt.Sprint(len(charts)-folded)))
			b.picture("report-" + c.name + "-folded.png")
			// What is folded away is drawn when it is unfolded.
			eval[bool](b, `(document.querySelectorAll("details").forEach(d => d.open = true), true)`)
			b.wait(fmt.Sprintf("document.documentElement.dataset.drawn === %q", fmt.Sprint(len(charts))))
			if got := eval[string](b, blank); got != "" {
				t.Errorf("charts %s are blank", got)
			}
			if got := eval[int64](b, "document.documentElement.scrollWidth"); got > c.width {
				t.Errorf("the page is %d pixels wide, the screen %d", got, c.width)
			}
			if title := eval[string](b, "document.title"); title != "speadx bench" {
				t.Errorf("the page is called %q now", title)
			}
			if n := eval[int](b, `document.querySelectorAll("img, iframe, object, script:not([type])").length`); n != 2 {
				t.Errorf("%d scripts and foreign elements", n)
			}
			b.picture("report-" + c.name + ".png")
			luminance := eval[float64](b, textLuminance)
			if c.scheme == "dark" && luminance < 200 || c.scheme == "light" && luminance > 60 {
				t.Errorf("text has luminance %.0f in %s colors", luminance, c.scheme)
			}
			b.media("print", c.scheme)
			b.wait(`document.documentElement.dataset.colors === "light" && document.querySelector("[data-chart] .u-wrap").clientWidth === 640`)
			if got := eval[string](b, blank); got != "" {
				t.Errorf("on paper charts %s are blank", got)
			}
			if luminance := eval[float64](b, textLuminance); luminance > 60 {
				t.Errorf("text has luminance %.0f on paper", luminance)
			}
			b.picture("report-" + c.name + "-print.png")
			b.media("", c.scheme)
			b.wait(fmt.Sprintf("document.documentElement.dataset.colors === %q", c.scheme))
		})
	}
}

// Without scripts every figure of a bar can be read in a table.
func TestReportWithoutScripts(t *testing.T) {
	b := newFileBrowser(t)
	b.view(390, 844, "light")
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.open(writeReport(t, measured()))
	bars := 0
	for _, c := range bench.Charts(measured()) {
		for _, g := range c.Groups {
			bars += len(g.Bars)
		}
	}
	const visible = `[...document.querySelectorAll(".figures tr:has(td)")].filter(r => r.closest("div").clientHeight > 20 && r.clientHeight > 5).length`
	if got := eval[int](b, visible); got != bars || bars == 0 {
		t.Errorf("%d rows can be seen, want %d", got, bars)
	}
	if got := eval[int](b, `document.querySelectorAll("canvas").length`); got != 0 {
		t.Errorf("%d charts are drawn", got)
	}
	if got := eval[int64](b, "document.documentElement.scrollWidth"); got > 390 {
		t.Errorf("the page is %d pixels wide", got)
	}
	b.picture("report-without-scripts.png")
}
