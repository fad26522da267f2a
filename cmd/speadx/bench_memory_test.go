// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/bench"
)

// tinyMemory are the flags of a measurement that is over at once.
var tinyMemory = []string{"bench", "memory", "--packet", "1472,4096", "-H", "64KiB", "--heap-size", "256Ki", "--threads", "1", "--bytes", "2MiB", "--rounds", "2"}

func TestBenchMemory(t *testing.T) {
	html := filepath.Join(t.TempDir(), "report.html")
	r := program(append(tinyMemory, "--spead2=false", "--format", "json", "--html", html)...)
	r.check(t, 0)
	results, err := bench.ReadResults(strings.NewReader(r.stdout))
	if err != nil || r.stderr != "" {
		t.Fatalf("%v, stderr %q\n%s", err, r.stderr, r.stdout)
	}
	var got []string
	for i := range results {
		got = append(got, results[i].String())
		if m := results[i].Machine; m == nil || m.Command != "speadx bench memory --bytes=2MiB --format=json --heap-size=64KiB,256KiB --html="+html+
			" --packet=1472,4096 --rounds=2 --spead2=false --threads=1" {
			t.Errorf("%v is of machine %+v", &results[i], m)
		}
	}
	want := []string{
		"memory speadx packet 1472 heap 64KiB threads 1", "memory copy packet 1472 heap 64KiB threads 1",
		"memory speadx packet 4096 heap 64KiB threads 1", "memory copy packet 4096 heap 64KiB threads 1",
		"memory speadx packet 1472 heap 256KiB threads 1", "memory copy packet 1472 heap 256KiB threads 1",
		"memory speadx packet 4096 heap 256KiB threads 1", "memory copy packet 4096 heap 256KiB threads 1",
	}
	if !slices.Equal(got, want) {
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
		if keys["contestant"] == "speadx" && keys["allocs"] != 0.0 {
			t.Errorf("allocs %v", keys["allocs"])
		}
	}
	if page, err := os.ReadFile(html); err != nil || !strings.Contains(string(page), "<h2>bench memory</h2>") {
		t.Errorf("report: %v, %.100s", err, page)
	}
}

// TestBenchMemorySpead2: spead2_bench is measured where it is on PATH, unless it is
// left out; to ask for it where it is not is an error.
func TestBenchMemorySpead2(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	once := []string{"bench", "memory", "--short", "--packet", "1472", "--bytes", "2MiB", "--rounds", "1"}
	r := program(once...)
	if r.check(t, 0); strings.Contains(r.stdout, "spead2") || !strings.Contains(r.stdout, "x copy") {
		t.Errorf("without it:\n%s", r.stdout)
	}
	program(append(once, "--spead2")...).check(t, exitError, `--spead2: exec: "spead2_bench": executable file not found`)
	if err := os.WriteFile(filepath.Join(dir, "spead2_bench"), []byte("#!/bin/sh\necho 50\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r = program(once...)
	if r.check(t, 0); !strings.Contains(r.stdout, "spead2_bench") || !strings.Contains(r.stdout, " x this\n") {
		t.Errorf("with it:\n%s", r.stdout)
	}
	r = program(append(once, "--spead2=false")...)
	if r.check(t, 0); strings.Contains(r.stdout, "spead2") {
		t.Errorf("left out:\n%s", r.stdout)
	}
}

func TestBenchMemoryRefused(t *testing.T) {
	html := filepath.Join(t.TempDir(), "no.html")
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--packet", "few"}, exitUsage, `--packet: "few" is not a whole number`},
		{[]string{"--packet", "1472,"}, exitUsage, `--packet: "" is not a whole number`},
		{[]string{"--packet", "0"}, exitUsage, "a packet of 0 bytes does not lie within 56"},
		{[]string{"--packet", "1472", "--packet", "1472"}, exitUsage, "stands there twice"},
		{[]string{"-H", "1M"}, exitUsage, `--heap-size: size "1M" is ambiguous`},
		{[]string{"-H", "64MiB", "--bytes", "1MiB"}, exitUsage, "a heap of 67108864 bytes does not lie within 1 and the 1048576 bytes of packets (--bytes)"},
		{[]string{"--bytes", "0"}, exitUsage, "--bytes 0 is no measurement"},
		{[]string{"--threads", "0"}, exitUsage, "0 threads cannot be measured"},
		{[]string{"--threads", "100000"}, exitUsage, "100000 threads cannot be measured"},
		{[]string{"--rounds", "0"}, exitUsage, "--rounds 0 is not a number from 1"},
		{[]string{"--short", "--rounds", "-1"}, exitUsage, "--rounds -1 is not"},
		{[]string{"now"}, exitUsage, `bench memory takes no argument, and "now" was given`},
	} {
		r := program(append([]string{"bench", "memory", "--html", html}, tt.args...)...)
		if r.check(t, tt.status, tt.want); r.stdout != "" {
			t.Errorf("%q prints %q", tt.args, r.stdout)
		}
	}
	if _, err := os.Stat(html); !os.IsNotExist(err) {
		t.Errorf("a report was left: %v", err)
	}
}

// TestBenchMemoryAllocates: allocations fail the command, which says when there were
// how many.
func TestBenchMemoryAllocates(t *testing.T) {
	j := allocationJudge{o: &bench.MemoryOptions{Bytes: 128 << 20}}
	see := func(contestant string, heap int64, allocs uint64) {
		j.see(&bench.Result{Bench: "memory", Contestant: contestant, Conditions: bench.Conditions{Packet: 1472, Heap: heap, Threads: 1}, Allocs: &allocs})
	}
	see("speadx", 1<<20, 0)
	see("copy", 1<<20, 7)
	if err := j.verdict(); err != nil {
		t.Errorf("nothing allocated: %v", err)
	}
	see("speadx", 1<<20, 128)
	see("speadx", 64<<20, 3)
	want := "speadx allocated memory while packets flowed: 128 times in 128 heaps with packet 1472, heap 1MiB, threads 1; 3 times in 2 heaps with packet 1472, heap 64MiB, threads 1"
	if err := j.verdict(); err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}
