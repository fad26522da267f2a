// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/units"
)

// flags are a command's, for tests.
func flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var size units.Size
	fs.StringSlice("interface", nil, "")
	fs.String("bind", "", "")
	fs.String("mode", "auto", "")
	fs.String("cpus", "auto", "")
	fs.Int("frames", 0, "")
	fs.Bool("gro", true, "")
	fs.Duration("max-age", 10*time.Second, "")
	fs.Var(&size, "heap-size", "")
	fs.String("config", "", "")
	fs.Bool("help", false, "")
	fs.Int("ibv-vector", 0, "")
	fs.Lookup("ibv-vector").Hidden = true
	if err := fs.SetAnnotation("cpus", List, nil); err != nil {
		panic(err)
	}
	return fs
}

func layers(fs *pflag.FlagSet, file *File, environ ...string) *Layers {
	return &Layers{
		Flags: fs, File: file, Environ: environ, Same: map[string]string{"bind": "interface"},
		NotInFile: map[string]string{"config": "cannot stand here"}, Foreign: []string{"SPEADX_MODUS"},
	}
}

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("obs.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPrecedence: each layer wins over those below it, and the origin says which did.
func TestPrecedence(t *testing.T) {
	file := parse(t, "# of the observation\nframes: 128\nheap-size: 64MiB\nmode: udp\ngro: false\nmax-age: 3s\ninterface: [eth1, eth2]\ncpus: [2, 4-5]\nsources:\n- 239.1.2.3:7148\n- 7149\n")
	fs := flags()
	if err := fs.Parse([]string{"--frames", "256"}); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(layers(fs, file, "SPEADX_FRAMES=512", "SPEADX_HEAP_SIZE=32MiB", "SPEADX_MODE=", "HOME=/"))
	if err != nil {
		t.Fatal(err)
	}
	inFile := func(line int) Origin { return Origin{Kind: InFile, File: "obs.yaml", Line: line} }
	for name, want := range map[string]struct {
		value  string
		origin Origin
	}{
		"frames":    {"256", Origin{Kind: Flag}},
		"heap-size": {"32MiB", Origin{Kind: Environment, Variable: "SPEADX_HEAP_SIZE"}},
		"mode":      {"udp", inFile(4)},
		"gro":       {"false", inFile(5)},
		"max-age":   {"3s", inFile(6)},
		"interface": {"[eth1,eth2]", inFile(7)},
		"cpus":      {"2,4-5", inFile(8)},
		"config":    {"", Origin{Kind: Default}},
	} {
		if got := fs.Lookup(name).Value.String(); got != want.value || r.Origins[name] != want.origin {
			t.Errorf("%s is %q of %+v, want %+v", name, got, r.Origins[name], want)
		}
	}
	if !slices.Equal(r.Sources, []string{"239.1.2.3:7148", "7149"}) || r.Origins[SourcesKey] != inFile(9) || len(r.Notes) != 0 {
		t.Errorf("sources %q of %v, notes %q", r.Sources, r.Origins[SourcesKey], r.Notes)
	}
	if !fs.Changed("mode") || fs.Changed("config") {
		t.Error("a flag that the file sets counts as given, and no other")
	}
}

// TestSources: they come from the strongest layer that has some.
func TestSources(t *testing.T) {
	file := parse(t, "sources: [7148]\n")
	for _, tt := range []struct {
		args, environ []string
		want          []string
		kind          Kind
	}{
		{nil, nil, []string{"7148"}, InFile},
		{nil, []string{"SPEADX_SOURCES=7149,7150"}, []string{"7149", "7150"}, Environment},
		{nil, []string{"SPEADX_SOURCES= 7149, 7150\n"}, []string{"7149", "7150"}, Environment},
		{[]string{"7151"}, []string{"SPEADX_SOURCES=7149"}, []string{"7151"}, Flag},
	} {
		l := layers(flags(), file, tt.environ...)
		l.Args = tt.args
		r, err := Resolve(l)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Sources, tt.want) || r.Origins[SourcesKey].Kind != tt.kind {
			t.Errorf("%q of %v, want %q", r.Sources, r.Origins[SourcesKey], tt.want)
		}
	}
}

// TestOtherName: a flag wins over the other name of the same setting in a weaker layer.
func TestOtherName(t *testing.T) {
	fs := flags()
	if err := fs.Parse([]string{"--bind", "10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(layers(fs, parse(t, "interface: eth1\n"), "SPEADX_INTERFACE=eth2"))
	if err != nil {
		t.Fatal(err)
	}
	if fs.Changed("interface") || r.Origins["interface"].Kind != Default {
		t.Errorf("the interface is %v of %v, though --bind was given", fs.Lookup("interface").Value, r.Origins["interface"])
	}
}

// TestVariables: what looks like a setting and is none gets a warning.
func TestVariables(t *testing.T) {
	for _, tt := range []struct {
		variable, near string
	}{
		{"SPEADX_HEAPSIZE=1", "SPEADX_HEAP_SIZE"},
		{"SPEADX_MDOE=udp", "SPEADX_MODE"},
		{"SPEADX_MODUS=1", ""},        // one of the foreign names
		{"SPEADX_PORT=tcp://1:2", ""}, // Kubernetes sets it for a service of our name
		{"SPEADX_SERVICE_HOST=1", ""},
		{"SPEADX_=1", ""},
		{"SPEADX_MODE", ""},
		{"OTHER_MODE=1", ""},
	} {
		r, err := Resolve(layers(flags(), nil, tt.variable))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tt.near == "" && len(r.Notes) > 0:
			t.Errorf("%s: %q", tt.variable, r.Notes)
		case tt.near != "" && (len(r.Notes) != 1 || !strings.HasSuffix(r.Notes[0], "is "+tt.near+")")):
			t.Errorf("%s: %q, want one about %s", tt.variable, r.Notes, tt.near)
		}
	}
}

// TestBadFiles: the error has the file, the line, the key and the value.
func TestBadFiles(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d,*a%d,*a%d,*a%d]\n", i+1, i+1, i, i, i, i)
	}
	for _, tt := range []struct {
		name, text string
		line       int
		key, value string
		mentions   string // in the reason
	}{
		{"unknown key", "mode: udp\nheap-szie: 4\n", 2, "heap-szie", "", "(did you mean heap-size?)"},
		{"hidden key is not proposed", "ibv-vectr: 4\n", 1, "ibv-vectr", "", "no such key"},
		{"help", "help: true\n", 1, "help", "", "no such key"},
		{"config in config", "\nconfig: x\n", 2, "config", "", "cannot stand here"},
		{"duplicate", "mode: udp\nframes: 64\nmode: auto\n", 3, "mode", "", "line 1"},
		{"size", "heap-size: 64M\n", 1, "heap-size", "64M", "64Mi"},
		{"number", "frames: many\n", 1, "frames", "many", "not a whole number"},
		{"fraction", "frames: 1.5\n", 1, "frames", "1.5", "not a whole number"},
		{"truth", "gro: nope\n", 1, "gro", "nope", "neither true nor false"},
		{"time", "max-age: 10\n", 1, "max-age", "10", "500ms"},
		{"no value", "mode:\n", 1, "mode", "", "no value"},
		{"list for one", "frames:\n- 1\n- 2\n", 1, "frames", "", "not a list"},
		{"empty list", "cpus: []\n", 1, "cpus", "", "empty list"},
		{"mapping", "mode:\n  udp: true\n", 2, "mode", "", "a mapping"},
		{"list in a list", "interface:\n- a\n- [b]\n", 3, "interface", "", "a list"},
		{"alias", "mode: &x udp\ncpus: *x\n", 2, "cpus", "", "alias"},
		{"alias bomb", bomb, 2, "a1", "", "alias"},
		{"merge key", "a: &a {b: c}\n<<: *a\n", 1, "a", "", "a mapping"},
		{"tag", "mode: !!binary dWRw\n", 1, "mode", "", "!!binary"},
		{"own tag", "mode: !speadx udp\n", 1, "mode", "", "!speadx"},
		{"complex key", "? [a, b]\n: c\n", 1, "", "", "no key"},
		{"list", "- 7148\n- 7149\n", 1, "", "", "a list"},
		{"word", "speadx\n", 1, "", "", "speadx"},
		{"two documents", "mode: udp\n---\nmode: auto\n", 2, "", "", "second document"},
		{"Kubernetes", "apiVersion: v1\nkind: ConfigMap\n", 1, "apiVersion", "", "no such key"},
		{"JSON", "{\"mode\": \"udp\", \"frame\": 3}\n", 1, "frame", "", "(did you mean frames?)"},
		{"TOML", "[receive]\nmode = \"udp\"\n", 2, "", "", "not YAML"},
		{"tab", "mode: udp\n\tframes: 3\n", 2, "", "", "not YAML"},
		{"control characters", "mode: udp\ncpus: \x00\x01\n", 2, "", "", "not YAML"},
		{"brackets", strings.Repeat("[", 1<<18), 0, "", "", "not YAML"},
		{"too large", "mode: " + strings.Repeat("x", maxFile), 0, "", "", "1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file, err := Parse("obs.yaml", []byte(tt.text))
			if err == nil {
				_, err = Resolve(layers(flags(), file))
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			at := e.Origin
			if at.Kind != InFile || at.File != "obs.yaml" || tt.line > 0 && at.Line != tt.line || e.Key != tt.key || e.Value != tt.value || !strings.Contains(e.Reason, tt.mentions) {
				t.Errorf("%q: %+v, want line %d, key %q, value %q and %q", err, e, tt.line, tt.key, tt.value, tt.mentions)
			}
			if s := err.Error(); !strings.HasPrefix(s, "obs.yaml") || strings.ContainsAny(s, "\n") || len(s) > 400 {
				t.Errorf("message %q", s)
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "---\n...\n", "\ufeff# BOM\n", "~\n", "{}\n"} {
		if f := parse(t, text); len(f.Entries) != 0 {
			t.Errorf("%q: %+v", text, f.Entries)
		}
	}
	f := parse(t, "mode: 'udp'\r\nframes: 0x40\r\nsources: []\r\n")
	want := []Entry{{Key: "mode", Line: 1, Values: []string{"udp"}, Lines: []int{1}}, {Key: "frames", Line: 2, Values: []string{"0x40"}, Lines: []int{2}}, {Key: "sources", Line: 3, List: true}}
	if !reflect.DeepEqual(f.Entries, want) {
		t.Errorf("%+v", f.Entries)
	}
}

// TestBadValueInEnvironment names the variable.
func TestBadValueInEnvironment(t *testing.T) {
	_, err := Resolve(layers(flags(), nil, "SPEADX_FRAMES=few"))
	var e *Error
	if !errors.As(err, &e) || e.Origin != (Origin{Kind: Environment, Variable: "SPEADX_FRAMES"}) || e.Key != "frames" || e.Value != "few" {
		t.Errorf("got %v", err)
	}
}

// TestUnreadable: what is no file for us gives an error at once.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	for path, mentions := range map[string]string{
		dir:                          "is a directory",
		pipe:                         "not a regular file",
		"/dev/zero":                  "not a regular file",
		huge:                         "1048576 bytes",
		filepath.Join(dir, "absent"): "no such file",
	} {
		_, err := Read(path)
		var e *Error
		if !errors.As(err, &e) || e.Origin.File != path || !strings.Contains(e.Reason, mentions) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"heap-size", "heaps", "hash", "frames", "interface"}
	for word, want := range map[string]string{
		"heapsize": "heap-size", "heap_size": "heap-size", "haeps": "heaps", "interfaces": "interface", "fraems": "frames",
		"x": "", "": "", "frequency": "", "hahs": "hash", strings.Repeat("heaps", 1000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

// FuzzParse: whatever a file holds, the parser ends, and what it takes has the shape that
// it promises. Each error names the file.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"mode: udp\n", "sources: [a, b]\n", "a: &a x\nb: *a\n", "? [a]\n: b\n", "- 1\n", "a: !!binary x\n", "{a: b, c: [d]}", "a: |\n  b\n", "---\n---\n", "<<: {a: b}\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Origin.File != "f" || e.Reason == "" || file != nil {
				t.Fatalf("error %#v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, e := range file.Entries {
			if e.Key == "" || seen[e.Key] || e.Line < 1 || len(e.Values) != len(e.Lines) || !e.List && len(e.Values) != 1 {
				t.Fatalf("entry %+v", e)
			}
			seen[e.Key] = true
		}
		if _, err := Resolve(layers(flags(), file)); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Origin.Line < 1 || e.Key == "" {
				t.Fatalf("error %#v", err)
			}
		}
	})
}
