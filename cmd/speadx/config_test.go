// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/settings"
)

// configFile writes a configuration file.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "obs.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// printed is the output of config print --format json, by key.
func printed(t *testing.T, r result) map[string]setting {
	t.Helper()
	r.check(t, 0)
	var list []setting
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("%v of\n%s", err, r.stdout)
	}
	out := map[string]setting{}
	for _, s := range list {
		out[s.Key] = s
	}
	return out
}

func TestConfigPrint(t *testing.T) {
	path := configFile(t, "heap-size: 64MiB\nframes: 128\nformat: json\nqueues: [0, 2-3]\nsources: [239.1.2.3:7148]\n")
	t.Setenv("SPEADX_FRAMES", "256")
	t.Setenv("SPEADX_RING_HEAPS", "8")
	got := printed(t, program("config", "print", "--config", path, "--ring-heaps", "16", "--format", "json"))
	inFile := func(line int) settings.Origin {
		return settings.Origin{Kind: settings.InFile, File: path, Line: line}
	}
	flag := settings.Origin{Kind: settings.Flag}
	for _, want := range []setting{
		{"sources", []any{"239.1.2.3:7148"}, inFile(5)},
		{"heap-size", "64MiB", inFile(1)},
		{"frames", "256", settings.Origin{Kind: settings.Environment, Variable: "SPEADX_FRAMES"}},
		{"ring-heaps", "16", flag},
		{"format", "json", inFile(3)}, // of recv, not of this output
		{"queues", "0,2-3", inFile(4)},
		{"config", path, flag},
		{"max-age", "10s", settings.Origin{Kind: settings.Default}},
		{"concurrent-heaps", "automatic", settings.Origin{Kind: settings.Default}},
		{"interface", []any{}, settings.Origin{Kind: settings.Default}},
	} {
		if g := got[want.Key]; fmt.Sprint(g) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", g, want)
		}
	}
	if _, ok := got["ibv"]; ok {
		t.Error("a flag that does nothing is listed")
	}
	r := program("config", "print", "--config", path)
	r.check(t, 0)
	for _, want := range []string{"\nheap-size 64MiB " + path + ":1\n", "\nframes 256 SPEADX_FRAMES\n", "\ngro true default\n", "\nconfig " + path + " flag\n"} {
		if !strings.Contains(fields(r.stdout), want) {
			t.Errorf("no line %q in\n%s", want, r.stdout)
		}
	}
}

// fields has one space between the columns.
func fields(text string) string {
	var b strings.Builder
	for line := range strings.Lines("\n" + text) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

// TestEveryFlagInFile: each flag of recv can be set by a file and by a variable, with the
// same outcome as on the command line.
func TestEveryFlagInFile(t *testing.T) {
	values := map[string]string{"bool": "true", "int": "64", "int64": "64", "duration": "3s", "size": "1MiB", "stringSlice": "eth9", "string": "auto", "step": "64", "count": "64"}
	fs := pflag.NewFlagSet("all", pflag.ContinueOnError)
	for _, g := range newRecvFlags().groups() {
		fs.AddFlagSet(g.flags)
	}
	n := 0
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == configFlag {
			return
		}
		n++
		value := values[f.Value.Type()]
		if value == "" {
			t.Fatalf("no value for --%s of type %s", f.Name, f.Value.Type())
		}
		check := func(r *recvFlags, own *pflag.FlagSet, args []string, environ []string, kind settings.Kind) {
			t.Helper()
			if err := own.Parse(args); err != nil {
				t.Fatal(err)
			}
			if err := r.operate.layers(own, nil, environ); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if got := own.Lookup(f.Name).Value.String(); strings.Trim(got, "[]") != value || r.operate.resolved.Origins[f.Name].Kind != kind {
				t.Errorf("%s is %q of %v, want %q of %s", f.Name, got, r.operate.resolved.Origins[f.Name], value, kind)
			}
		}
		fresh := func() (*recvFlags, *pflag.FlagSet) {
			r, own := newRecvFlags(), pflag.NewFlagSet("own", pflag.ContinueOnError)
			for _, g := range r.groups() {
				own.AddFlagSet(g.flags)
			}
			return r, own
		}
		r, own := fresh()
		check(r, own, []string{"--config", configFile(t, f.Name+": "+value+"\n")}, nil, settings.InFile)
		r, own = fresh()
		check(r, own, nil, []string{settings.Variable(f.Name) + "=" + value}, settings.Environment)
	})
	if n < 40 {
		t.Errorf("only %d flags were looked at", n)
	}
}

// TestConfigErrors: recv and config print refuse the same, and name the place.
func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // behind the name of the file
	}{
		{"mode: udp\nheap-szie: 1\n", ":2: heap-szie: there is no such key (did you mean heap-size?)"},
		{"heap-size: 64M\n", ":1: heap-size: 64M cannot be used: "},
		{"\nframes: 7\nsources: [7148]\n", ":2: frames 7 is not a power of two from "},
		{"mode: fast\nsources: [7148]\n", `:1: mode "fast" is none of auto, zerocopy`},
		{"queues: [0, x]\nsources: [7148]\n", ":1: queues: "},
		{"mode: udp\nsources:\n- 7148\n- nowhere.pcap\n", `:2: sources: source "nowhere.pcap" has no port number`},
		{"joint: true\n", ""}, // no source
	} {
		path := configFile(t, tt.text)
		r := program("recv", "--config", path)
		if tt.want == "" {
			r.check(t, exitUsage, "at least one source is required")
			continue
		}
		r.check(t, exitUsage, "speadx: "+path+tt.want)
		program("config", "print", "--config", path).check(t, exitUsage, "speadx: "+path+tt.want)
	}
	r := program("recv", "--config", filepath.Join(t.TempDir(), "absent.yaml"))
	r.check(t, exitUsage, "absent.yaml: no such file or directory")
	program("recv", "--config", t.TempDir()).check(t, exitUsage, "is a directory")
	program("recv", "--config", "").check(t, exitUsage, `--config "" names no file`)
	t.Setenv("SPEADX_MODE", "fast")
	program("recv", "7148").check(t, exitUsage, `speadx: SPEADX_MODE "fast" is none of auto`)
	t.Setenv("SPEADX_MODE", "udp")
	t.Setenv("SPEADX_FRMAES", "128")
	program("recv", "--duration", "1ms", freePort(t)).check(t, 0, "warning: environment variable SPEADX_FRMAES is no setting", "SPEADX_FRAMES")
}

// TestUnknownFlags: of each command the nearest flag is named.
func TestUnknownFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		near string
	}{
		{[]string{"recv", "--heapsize", "4"}, "(did you mean --heap-size?)"},
		{[]string{"recv", "--ring_heaps=4"}, "(did you mean --ring-heaps?)"},
		{[]string{"send", "--rtae", "4"}, "(did you mean --rate?)"},
		{[]string{"config", "print", "--formt", "json"}, "(did you mean --format?)"},
	} {
		program(tt.args...).check(t, exitUsage, "unknown flag: ", tt.near)
	}
	r := program("recv", "--zzzzz")
	if r.check(t, exitUsage, "unknown flag: --zzzzz\n"); strings.Contains(r.stderr, "did you mean") {
		t.Errorf("messages:\n%s", r.stderr)
	}
}

// TestConfigReceives: a file and a variable alone say what to receive.
func TestConfigReceives(t *testing.T) {
	t.Setenv("SPEADX_CONFIG", configFile(t, fmt.Sprintf("format: json\nsources: [%s]\n", capturePath("plain-64-48"))))
	r := program("recv")
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps == 0 {
		t.Errorf("summary %+v", s)
	}
}
