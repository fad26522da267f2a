// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/bench"
)

// tinyVeth are the flags of a measurement that is over soon.
var tinyVeth = []string{"bench", "veth", "--payload", "1408", "--jumbo", "0", "-H", "256KiB", "--rounds", "1", "--trial", "10ms", "--paced", "0.5", "--senders", "1", "--only", "speadx native"}

func TestBenchVeth(t *testing.T) {
	wire(t) // or skip
	html := filepath.Join(t.TempDir(), "report.html")
	r := program(append(tinyVeth, "--only", "drain", "--senders", "3", "--format", "json", "--html", html)...)
	r.check(t, 0)
	results, err := bench.ReadResults(strings.NewReader(r.stdout))
	if err != nil || r.stderr != "" {
		t.Fatalf("%v, stderr %q\n%s", err, r.stderr, r.stdout)
	}
	var got []string
	for i := range results {
		got = append(got, results[i].String())
		if m := results[i].Machine; m == nil || m.Command != "speadx bench veth --format=json --heap-size=256KiB --html="+html+
			" --jumbo=0 --only=speadx native,drain --paced=0.5 --payload=1408 --rounds=1 --senders=1,3 --trial=10ms" {
			t.Errorf("%v is of machine %+v", &results[i], m)
		}
	}
	const one, three = " blast senders 1 packet 1408 heap 261888", " blast senders 3 packet 1408 heap 261888"
	if want := []string{"veth drain" + one, "veth speadx native" + one, "veth drain" + three, "veth speadx native" + three}; !slices.Equal(got, want) {
		t.Errorf("results of %q", got)
	}
	for line := range strings.Lines(r.stdout) {
		var keys map[string]any
		if err := json.Unmarshal([]byte(line), &keys); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"gbps", "mpps"} {
			if v, ok := keys[key].(float64); !ok || v <= 0 {
				t.Errorf("key %q is %v in %s", key, keys[key], line)
			}
		}
		veth, _ := keys["veth"].(map[string]any)
		if curve, _ := veth["curve"].([]any); len(curve) == 0 || veth["paced_gbps"] != 0.5 {
			t.Errorf("veth is %v", veth)
		}
	}
	if page, err := os.ReadFile(html); err != nil || !strings.Contains(string(page), "<h2>bench veth</h2>") {
		t.Errorf("report: %v, %.100s", err, page)
	}
}

// TestBenchVethBefore: what is wrong is found before anything is measured, for
// everybody; then what the user may not do.
func TestBenchVethBefore(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--payload", "7"}, exitUsage, "packets of 7 bytes of payload cannot be had from blast (8 to 3300)"},
		{[]string{"--payload", "3072,3072"}, exitUsage, "packets of 3072 bytes of payload stand there twice"},
		{[]string{"--payload", "3KiB"}, exitUsage, `"3KiB" is not a whole number`},
		{[]string{"--senders", "0"}, exitUsage, "0 senders at once cannot be had from blast (1 to 256)"},
		{[]string{"--jumbo", "9000"}, exitUsage, "do not fit an MTU of 9000"},
		{[]string{"--jumbo", "-1"}, exitUsage, "--jumbo -1 is not a number of bytes"},
		{[]string{"-H", "0"}, exitUsage, "--heap-size 0 is no measurement"},
		{[]string{"-H", "1TiB"}, exitUsage, "cannot be"},
		{[]string{"--rounds", "0"}, exitUsage, "--rounds 0 is not a number from 1"},
		{[]string{"--trial", "0s"}, exitUsage, "--trial 0s is too short"},
		{[]string{"--trial", "-1s"}, exitUsage, "--trial -1s is too short"},
		{[]string{"--frames", "-1"}, exitUsage, "--frames -1 is not a number from 1"},
		{[]string{"--paced", "NaN"}, exitUsage, "NaN Gb/s is no pace"},
		{[]string{"--only", "drain,speadx"}, exitUsage, `no contestant is called "speadx" (there are: drain, drain nap, drain copy, speadx native, `},
		{[]string{"--only", ""}, exitUsage, `no contestant is called ""`},
		{[]string{"--only", "spead2_recv"}, exitError, `--spead2: exec: "spead2_recv": executable file not found`},
		{[]string{"--only", "spead2_recv", "--spead2=false"}, exitUsage, `no contestant is called "spead2_recv"`},
		{[]string{"--only", "drain,spead2_recv tuned"}, exitError, `--spead2: exec: "spead2_recv": executable file not found`},
		{[]string{"--only", "spead2_bench"}, exitError, `--spead2: exec: "spead2_bench": executable file not found`},
		{[]string{"--spead2"}, exitError, `--spead2: exec: "spead2_recv": executable file not found`},
		{[]string{"now"}, exitUsage, `bench veth takes no argument, and "now" was given`},
	} {
		r := start(t, options{without: []int{unix.CAP_NET_ADMIN}}, append([]string{"bench", "veth"}, tt.args...)...).wait(t)
		if r.check(t, tt.status, tt.want); r.stdout != "" {
			t.Errorf("%q prints %q", tt.args, r.stdout)
		}
	}
	html := filepath.Join(t.TempDir(), "report.html")
	r := start(t, options{without: []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF}}, "bench", "veth", "--html", html).wait(t)
	r.check(t, exitError, "speadx: bench veth is missing CAP_SYS_ADMIN (", "CAP_BPF (", ": run it as root\n")
	if _, err := os.Stat(html); err == nil || r.stdout != "" {
		t.Errorf("it prints %q, and a report is there: %v", r.stdout, err)
	}
}

// TestBenchVethShort: --short changes what nothing else was asked for; spead2_recv is
// measured where it is on PATH, and named where it does not work.
func TestBenchVethShort(t *testing.T) {
	wire(t) // or skip
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := os.WriteFile(filepath.Join(dir, "spead2_recv"), []byte("#!/bin/sh\necho broken\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := program("bench", "veth", "--short", "--only", "spead2_recv", "--payload", "1408", "--jumbo", "0", "--format", "json")
	r.check(t, exitError, "nobody could be measured", "it ended at once (exit status 1): broken")
	results, err := bench.ReadResults(strings.NewReader(r.stdout))
	if err != nil || len(results) != 1 || results[0].Packet != 1408 || results[0].Gbps != 0 || !strings.Contains(results[0].Note, "it ended at once (exit status 1): broken") {
		t.Errorf("%v\n%s", err, r.stdout)
	}
}

// TestBenchVethInterrupted: a signal ends the measurement, in good order.
func TestBenchVethInterrupted(t *testing.T) {
	wire(t) // or skip
	p := start(t, options{}, "bench", "veth", "--payload", "1408,3072", "--jumbo", "0", "--only", "drain", "--rounds", "1", "--trial", "10ms", "--format", "json")
	p.await(t, &p.stdout, `"packet":1408`)
	p.signal(t, os.Interrupt)
	r := p.wait(t)
	r.check(t, exitError, "speadx: it was interrupted")
	if results, err := bench.ReadResults(strings.NewReader(r.stdout)); err != nil || len(results) != 1 {
		t.Errorf("%d results, %v", len(results), err)
	}
}
