// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/sizing"
)

// TestPlanAbsurd: what cannot be is an error of usage that names the flag and its value.
func TestPlanAbsurd(t *testing.T) {
	usual := map[string]string{"--heap-size": "1MiB", "--packet": "1472", "--rate": "1"}
	for _, tt := range []struct {
		flag, value string
		want        string
	}{
		{"--rate", "0", "--rate 0 Gb/s"},
		{"--rate", "-3", "--rate -3 Gb/s"},
		{"--rate", "NaN", "--rate NaN Gb/s"},
		{"--rate", "1e6", "--rate 1e+06 Gb/s"},
		{"--rate", "fast", "--rate fast is not a number"},
		{"--packet", "0", "--packet 0 is too small (the least is 49)"},
		{"--packet", "48", "--packet 48 is too small (the least is 49)"},
		{"--packet", "9001", "--packet 9001 is too large (the most is 9000)"},
		{"--packet", "1e3", "--packet 1e3 is not a whole number"},
		{"--heap-size", "0", "--heap-size 0 is too small"},
		{"--heap-size", "8388607Ti", "--heap-size 9223370937343148032 is too large"},
		{"--heap-size", "99999999Ti", "does not fit into 63 bits"},
		{"--streams", "0", "--streams 0 is too small"},
		{"--streams", "1000000", "--streams 1000000 is too large"},
		{"--in-flight", "0", "--in-flight 0 is too small"},
		{"--stall", "-1s", "--stall -1s is too small"},
		{"--stall", "48h", "--stall 48h0m0s is too large (the most is 1h0m0s)"},
		{"--consumer", "never", "--consumer never is not a time"},
		{"--thread-stall", "2h", "--thread-stall 2h0m0s is too large"},
		{"--queues", "-1", "--queues -1 is too small"},
		{"--format", "yaml", `--format "yaml" is none of text, json, command, unit`},
	} {
		args := []string{"plan"}
		for _, flag := range []string{"--heap-size", "--packet", "--rate"} {
			if flag != tt.flag {
				args = append(args, flag+"="+usual[flag])
			}
		}
		r := program(append(args, tt.flag+"="+tt.value)...)
		r.check(t, exitUsage, tt.want)
		if r.stdout != "" {
			t.Errorf("%s %s prints a plan", tt.flag, tt.value)
		}
	}
	program("plan", "-H", "1MiB", "--packet", "1472").check(t, exitUsage, "--rate is required")
	program("plan", "-H", "1MiB", "--packet", "1472", "--rate", "1", "--streams", "3", "7148").check(t, exitUsage, "--streams 3: there are 1 sources")
	program("plan", "-H", "1MiB", "--packet", "1472", "--rate", "1", "7148", "7148").check(t, exitUsage, `source "7148"`)
	program("plan", "-H", "1MiB", "--packet", "1472", "--rate", "1", "nowhere:").check(t, exitUsage, `"nowhere:"`)
	// Each number is possible, and what they come to is not.
	program("plan", "-H", "1000", "--packet", "1000", "--rate", "100", "--stall", "1h").check(t, exitUsage, "--stall 1h0m0s at 1.25e+07 heaps/s comes to")
}

// TestPlanWarns: what the machine has not got is a warning, and the plan is printed.
func TestPlanWarns(t *testing.T) {
	r := program("plan", "-H", "1TiB", "--packet", "8972", "--rate", "1", "7148")
	r.check(t, 0)
	if !regexp.MustCompile(`(?m)^warning: This needs \d+\.\d GiB of memory, and the machine has \d+\.\d\.`).MatchString(r.stdout) {
		t.Errorf("%s", r.stdout)
	}
	r = program("plan", "-H", "1000", "--packet", "8972", "--rate", "0.01", "-i", "nosuch0", "7148")
	r.check(t, 0)
	for _, want := range []string{"warning: A heap of 1000 bytes fits into one packet", "note: this machine has no interface nosuch0", "ethtool -L nosuch0 combined 1"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
}

// TestPlanJSON: the numbers, the flags and the command of the object belong together.
func TestPlanJSON(t *testing.T) {
	r := program("plan", "-H", "4MiB", "--packet", "8972", "--rate", "20", "--format", "json", "--stall", "1s", "7148", "7149")
	r.check(t, 0)
	var p struct {
		Stall    float64 `json:"stall_seconds"`
		Streams  int     `json:"streams"`
		Warnings []sizing.Warning
		Lines    []struct {
			Name, Unit, Reason, Stage, Fate, Flag string
			Value                                 float64
		}
		Command []string
	}
	d := json.NewDecoder(strings.NewReader(r.stdout))
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Stall != 1 || p.Streams != 2 || p.Warnings == nil {
		t.Errorf("%+v", p)
	}
	flags := 0
	for _, l := range p.Lines {
		if l.Name == "" || l.Unit == "" || l.Reason == "" {
			t.Errorf("%+v", l)
		}
		if l.Flag == "" {
			continue
		}
		flags++
		if i := slices.Index(p.Command, l.Flag); i < 0 || p.Command[i+1] != fmt.Sprint(int64(l.Value)) || l.Fate == "" {
			t.Errorf("%+v: the command is %q", l, p.Command)
		}
	}
	if flags != 4 {
		t.Errorf("%d lines have a flag", flags)
	}
	if cfg, err := parseRecv(p.Command[2:]); err != nil || len(cfg.Streams) != 2 || cfg.HeapSize != 4<<20 || cfg.RingHeaps != 299 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// TestPlanNotes: what is left open has a code.
func TestPlanNotes(t *testing.T) {
	r := program("plan", "-H", "4MiB", "--packet", "8972", "--rate", "20", "--format", "json", "-i", "no-such-card")
	r.check(t, 0)
	var p struct{ Notes []planNote }
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, n := range p.Notes {
		codes = append(codes, n.Code)
		if n.Text == "" {
			t.Errorf("%+v", n)
		}
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []string{"example_sources", "no_interface"}) {
		t.Errorf("notes %q", codes)
	}
}

// TestPlanCommand: recv takes the printed command, whatever the sources are called. A shell
// reads it as it was meant.
func TestPlanCommand(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, `a 'b" $HOME %n*.pcap`)
	if err := os.WriteFile(odd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"plan", "-H", "1MiB", "--packet", "1472", "--rate", "1", "--format", "command", "[ff15::1]:7148", odd, "239.1.2.3+7:7148"}
	r := program(args...)
	r.check(t, 0)
	out, err := exec.Command("sh", "-c", "speadx() { printf '%s\\n' \"$@\"; }\n"+r.stdout).Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	cfg, err := parseRecv(words[1:])
	if err != nil || len(cfg.Streams) != 3 || cfg.Streams[1].Source != odd || cfg.Streams[2].Source != "239.1.2.3+7:7148" {
		t.Errorf("%q: %+v, %v", r.stdout, cfg.Streams, err)
	}
	// Sources that nobody has named are there, as many as streams.
	r = program("plan", "-H", "1MiB", "--packet", "1472", "--rate", "1", "--streams", "9", "--format", "command")
	r.check(t, 0)
	if cfg, err := parseRecv(strings.Fields(r.stdout)[2:]); err != nil || len(cfg.Streams) != 9 {
		t.Errorf("%q: %v", r.stdout, err)
	}
}

// TestPlanUnit: the unit starts the same command, and systemd has nothing against it.
func TestPlanUnit(t *testing.T) {
	r := program("plan", "-H", "4MiB", "--packet", "8972", "--rate", "20", "--format", "unit", "-i", "lo", "239.1.2.3:7148")
	r.check(t, 0)
	unit := r.stdout
	exe := regexp.MustCompile(`(?m)^ExecStart=(/usr/bin/speadx) recv --quiet (.*)$`).FindStringSubmatch(unit)
	if exe == nil {
		t.Fatalf("no command in\n%s", unit)
	}
	command := program("plan", "-H", "4MiB", "--packet", "8972", "--rate", "20", "--format", "command", "-i", "lo", "239.1.2.3:7148")
	if "speadx recv "+exe[2]+"\n" != command.stdout {
		t.Errorf("%q, and the command is %q", exe[2], command.stdout)
	}
	for _, want := range []string{`LimitMEMLOCK=\d{9}`, `CPUAffinity=\d+`, `TimeoutStartSec=\d+`, `Type=notify`, `# Before it starts, as root: sysctl -w vm.nr_hugepages=\d+`} {
		if !regexp.MustCompile(`(?m)^` + want).MatchString(unit) {
			t.Errorf("no %s in\n%s", want, unit)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: the unit is not verified")
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "speadx.service")
	if err := os.WriteFile(file, []byte(strings.Replace(unit, exe[1], self, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), "speadx.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestSystemdQuote(t *testing.T) {
	for a, want := range map[string]string{
		"--ring-heaps": "--ring-heaps", "239.1.2.3+7:7148": "239.1.2.3+7:7148", "": `""`, "[::1]:1": `"[::1]:1"`,
		`a b`: `"a b"`, `"\`: `"\"\\"`, "100%$x": `"100%%$$x"`, "a\nb": `"a\x0ab"`, "é": `"é"`,
	} {
		if got := systemdQuote(a); got != want {
			t.Errorf("%q is quoted %s, want %s", a, got, want)
		}
	}
}

func TestCPUList(t *testing.T) {
	for _, tt := range []struct {
		cpus []int
		want string
	}{{nil, ""}, {[]int{3}, "3"}, {[]int{0, 1}, "0-1"}, {[]int{0, 2, 4, 5, 6, 9}, "0,2,4-6,9"}} {
		if got := cpuList(tt.cpus); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.cpus, got, tt.want)
		}
	}
}

// TestTuningShowsThePlan: the plan in docs/tuning.md is what the command there prints, but for
// what depends on the machine.
func TestTuningShowsThePlan(t *testing.T) {
	doc, err := os.ReadFile("../../docs/tuning.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(doc), "    $ speadx plan ")
	if !ok {
		t.Fatal("no command")
	}
	command, shown, _ := strings.Cut(shown, "\n")
	r := program(append([]string{"plan"}, strings.Fields(command)...)...)
	r.check(t, 0)
	fixed, _, ok := strings.Cut(r.stdout, "start seconds:")
	if !ok {
		t.Fatal("no time of a start")
	}
	for l := range strings.Lines(fixed) {
		line, rest, _ := strings.Cut(shown, "\n")
		if shown = rest; line != "    "+strings.TrimSuffix(l, "\n") {
			t.Fatalf("the document shows\n%s\nin place of\n    %s", line, l)
		}
	}
	last := strings.TrimSuffix(r.stdout, "\n")
	if last = last[strings.LastIndexByte(last, '\n')+1:]; !strings.Contains(shown, "\n    "+last+"\n") {
		t.Errorf("the document does not show %s", last)
	}
}
