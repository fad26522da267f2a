// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/bench"
)

// quick are the flags of a measurement that is over at once.
var quick = []string{"bench", "pool", "--sizes", "16KiB", "--rounds", "2", "--round", "1us"}

func TestBenchPool(t *testing.T) {
	dir := t.TempDir()
	html := filepath.Join(dir, "report.html")
	r := program(append(quick, "--format", "json", "--html", html)...)
	r.check(t, 0)
	results, err := bench.ReadResults(strings.NewReader(r.stdout))
	if err != nil || len(results) != 12 || r.stderr != "" {
		t.Fatalf("%d results, %v, stderr %q\n%s", len(results), err, r.stderr, r.stdout)
	}
	for i := range results {
		m := results[i].Machine
		if m == nil || m.Command != "speadx bench pool --format=json --html="+html+" --round=1µs --rounds=2 --sizes=16KiB" || m.Version != version {
			t.Errorf("%v is of machine %+v", &results[i], m)
		}
		if ours := results[i].Contestant == "speadx"; ours != (m.Pages != "") {
			t.Errorf("%v is on pages %q", &results[i], m.Pages)
		}
	}
	page, err := os.ReadFile(html)
	if err != nil || !strings.Contains(string(page), "<h2>bench pool</h2>") {
		t.Errorf("report: %v, %.100s", err, page)
	}

	saved := filepath.Join(dir, "saved.json")
	write(t, saved, r.stdout)
	again := filepath.Join(dir, "again.html")
	r = program("bench", "report", saved, "--html", again)
	if r.check(t, 0); !strings.Contains(r.stdout, "\nbench pool\n") || !strings.Contains(r.stdout, "x make") {
		t.Errorf("bench report prints\n%s", r.stdout)
	}
	if second, err := os.ReadFile(again); err != nil || !bytes.Equal(second, page) {
		t.Errorf("the report of the same results is another (%v)", err)
	}
	program("bench", "report", saved, saved).check(t, exitError, "saved.json: pool speadx heap 16KiB touch none stands in an earlier file too")
}

// TestBenchPoolShort: --short changes what nothing else was asked for.
func TestBenchPoolShort(t *testing.T) {
	r := program("bench", "pool", "--short", "--sizes", "16KiB", "--round", "1us", "--format", "json")
	r.check(t, 0)
	results, err := bench.ReadResults(strings.NewReader(r.stdout))
	if err != nil || len(results) != 12 || results[0].Heap != 16<<10 || results[0].Trials != 7 {
		t.Errorf("%d results, %v\n%s", len(results), err, r.stdout)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBenchBefore: what is wrong is found before anything is measured, and leaves
// everything as it was.
func TestBenchBefore(t *testing.T) {
	dir := t.TempDir()
	bad, good := filepath.Join(dir, "bad.json"), filepath.Join(dir, "good.json")
	write(t, bad, "{\"bench\":\"pool\",\"contestant\":\"x\"}\n{\"bench\":\"pool\",\"contestant\":\"y\",\"gbps\":-1}\n")
	write(t, good, `{"bench":"pool","contestant":"x"}`)
	html := filepath.Join(dir, "no.html")
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--baseline", filepath.Join(dir, "none.json")}, exitError, "--baseline: open "},
		{[]string{"--baseline", bad, "--html", html}, exitError, `bad.json: line 2: key "gbps": -1 is negative`},
		{[]string{"--baseline", good, "--html", dir + "/none/report.html"}, exitError, "--html: open "},
		{[]string{"--html", dir}, exitError, "is a directory"},
		{[]string{"--format", "xml", "--html", html}, exitUsage, `--format "xml" is neither text nor json`},
		{[]string{"--absolute"}, exitUsage, "--absolute says how to compare, and needs --baseline"},
		{[]string{"--tolerance", "-1"}, exitUsage, "--tolerance -1 is not a percentage below 100"},
		{[]string{"--tolerance", "NaN"}, exitUsage, "--tolerance NaN is not"},
		{[]string{"--sizes", "4K"}, exitUsage, `--sizes: size "4K" is ambiguous`},
		{[]string{"--sizes", "4KiB,0"}, exitUsage, "--sizes: a buffer of 0 cannot be"},
		{[]string{"--sizes", "4KiB,4096"}, exitUsage, "--sizes: 4KiB stands there twice"},
		{[]string{"--rounds", "0"}, exitUsage, "--rounds 0 is not a number from 1"},
		{[]string{"--round", "0s"}, exitUsage, "--round 0s is too short"},
		{[]string{"now"}, exitUsage, `bench pool takes no argument, and "now" was given`},
	} {
		r := program(append([]string{"bench", "pool"}, tt.args...)...)
		if r.check(t, tt.status, tt.want); r.stdout != "" {
			t.Errorf("%q prints %q", tt.args, r.stdout)
		}
	}
	if _, err := os.Stat(html); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a report was left: %v", err)
	}
	program("bench", "nothing").check(t, exitUsage, `unknown command "nothing" (there are: memory, pool, report, veth)`)
	program("bench", "report").check(t, exitUsage, "at least one FILE with results is required")
	program("bench", "report", bad).check(t, exitError, "bad.json: line 2")
}

// measured runs what all benches share, with results that are known.
func measured(t *testing.T, f benchFlags, measure func(ctx context.Context, emit func(bench.Result)) error) (stdout, stderr string, err error) {
	t.Helper()
	if f.format == "" {
		f.format = "text"
	}
	if f.tolerance == 0 {
		f.tolerance = 5
	}
	var out, errOut bytes.Buffer
	cmd := &cobra.Command{Use: "test", RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd, &f, measure) }}
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{})
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func ratioOf(v float64) bench.Result {
	return bench.Result{Bench: "pool", Contestant: "speadx", Ratio: &bench.Ratio{To: "make", Value: v, Low: v, High: v}}
}

func TestBenchBaseline(t *testing.T) {
	baseline := filepath.Join(t.TempDir(), "baseline.json")
	var b bytes.Buffer
	if err := bench.WriteJSON(&b, ratioOf(2)); err != nil {
		t.Fatal(err)
	}
	write(t, baseline, b.String())
	emits := func(r bench.Result) func(context.Context, func(bench.Result)) error {
		return func(_ context.Context, emit func(bench.Result)) error { emit(r); return nil }
	}
	stdout, _, err := measured(t, benchFlags{baseline: baseline}, emits(ratioOf(2.5)))
	if err != nil || !strings.Contains(stdout, "\nfaster   pool speadx: ratio 2.00 -> 2.50 (+25.0 %)\n") {
		t.Errorf("faster: %v\n%s", err, stdout)
	}
	stdout, _, err = measured(t, benchFlags{baseline: baseline}, emits(ratioOf(1)))
	if err == nil || err.Error() != "1 measure slower than in the baseline, or gone" || !strings.Contains(stdout, "\nslower   pool speadx: ratio 2.00 -> 1.00 (-50.0 %)\n") {
		t.Errorf("slower: %v\n%s", err, stdout)
	}
	if _, _, err = measured(t, benchFlags{baseline: baseline, tolerance: 60}, emits(ratioOf(1))); err != nil {
		t.Errorf("slower, and tolerated: %v", err)
	}
	// As JSON, standard output has the results and nothing else.
	stdout, stderr, err := measured(t, benchFlags{baseline: baseline, format: "json"}, emits(ratioOf(1)))
	if err == nil || !strings.Contains(stderr, "slower ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("JSON: %v\n%s%s", err, stdout, stderr)
	}
	// A rate decides where it is told to.
	rateOf := func(gbps float64) bench.Result {
		r := ratioOf(2)
		r.Gbps, r.GbpsLow, r.GbpsHigh = gbps, gbps, gbps
		return r
	}
	saved, _, err := measured(t, benchFlags{format: "json"}, emits(rateOf(10)))
	if err != nil {
		t.Fatal(err)
	}
	rates := filepath.Join(t.TempDir(), "rates.json")
	write(t, rates, saved)
	stdout, _, err = measured(t, benchFlags{baseline: rates}, emits(rateOf(7)))
	if err != nil || !strings.Contains(stdout, "\nslower   pool speadx: gbps 10.0 -> 7.00 (-30.0 %), shown only\n") {
		t.Errorf("a lower rate: %v\n%s", err, stdout)
	}
	if _, _, err = measured(t, benchFlags{baseline: rates, absolute: true}, emits(rateOf(7))); err == nil {
		t.Error("a lower rate, with --absolute: no error")
	}
	other := ratioOf(1)
	other.Bench = "other"
	if _, _, err = measured(t, benchFlags{baseline: baseline}, emits(other)); !errors.Is(err, bench.ErrNothingInCommon) {
		t.Errorf("nothing in common: %v", err)
	}
}

// TestBenchBaselineOnly: what was not asked for is not missed, and what was is.
func TestBenchBaselineOnly(t *testing.T) {
	drain, native, udp := ratioOf(0), ratioOf(0.9), ratioOf(0.5)
	drain.Contestant, native.Contestant, udp.Contestant = "drain", "speadx native", "speadx udp"
	drain.Ratio, native.Ratio.To, udp.Ratio.To = nil, "drain", "drain"
	drain.Gbps, native.Gbps, udp.Gbps = 10, 9, 5
	baseline := filepath.Join(t.TempDir(), "baseline.json")
	var b bytes.Buffer
	if err := bench.WriteJSON(&b, drain, native, udp); err != nil {
		t.Fatal(err)
	}
	write(t, baseline, b.String())
	alone := native // for want of a drain
	alone.Ratio = nil
	for _, tt := range []struct {
		name string
		only []string
		now  []bench.Result
		want string
	}{
		{"all", nil, []bench.Result{drain, native}, "1 measure slower than in the baseline, or gone"},
		{"two", []string{"drain", "speadx native"}, []bench.Result{drain, native}, ""},
		{"without the drain", []string{"speadx native", "speadx udp"}, []bench.Result{alone}, "1 measure slower than in the baseline, or gone"},
	} {
		_, _, err := measured(t, benchFlags{baseline: baseline, only: tt.only}, func(_ context.Context, emit func(bench.Result)) error {
			for _, r := range tt.now {
				emit(r)
			}
			return nil
		})
		if got := fmt.Sprint(err); got != tt.want && !(err == nil && tt.want == "") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestBenchFails: what was measured before an error is printed, and stands in the
// report; of nothing there is no report, and an old one stays.
func TestBenchFails(t *testing.T) {
	failure := errors.New("no such luck")
	html := filepath.Join(t.TempDir(), "report.html")
	_, _, err := measured(t, benchFlags{html: html}, func(context.Context, func(bench.Result)) error { return failure })
	if _, statErr := os.Stat(html); !errors.Is(err, failure) || !errors.Is(statErr, os.ErrNotExist) {
		t.Errorf("error %v, report %v", err, statErr)
	}
	old := strings.Repeat("old ", 100000)
	write(t, html, old)
	if _, _, err = measured(t, benchFlags{html: html}, func(context.Context, func(bench.Result)) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	if text, _ := os.ReadFile(html); string(text) != old {
		t.Error("the old report is gone")
	}
	stdout, _, err := measured(t, benchFlags{html: html}, func(_ context.Context, emit func(bench.Result)) error {
		emit(ratioOf(2))
		return failure
	})
	text, _ := os.ReadFile(html)
	if !errors.Is(err, failure) || !strings.Contains(stdout, "speadx") || !strings.HasSuffix(string(text), "</html>\n") || strings.Contains(string(text), "old ") {
		t.Errorf("error %v\n%s", err, stdout)
	}
}

// TestBenchInterrupted: a signal ends the measurement, and what there is by then is
// whole.
func TestBenchInterrupted(t *testing.T) {
	p := start(t, options{}, "bench", "pool", "--rounds", "50", "--sizes", "16KiB,64MiB", "--round", "1us", "--format", "json")
	p.await(t, &p.stdout, `"touch":"fill"`) // of the first size; the second takes long
	p.signal(t, os.Interrupt)
	r := p.wait(t)
	r.check(t, exitError, "speadx: it was interrupted")
	if results, err := bench.ReadResults(strings.NewReader(r.stdout)); err != nil || len(results) < 12 || len(results) == 24 {
		t.Errorf("%d results, %v", len(results), err)
	}
}
