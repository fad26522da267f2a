// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbidden are packages for plots, terminals, command lines and configuration files. A
// program that imports the library must not get them. An entry that ends in "/" is for
// all below it.
var forbidden = []string{
	"gonum.org/", "codeberg.org/go-fonts/", "codeberg.org/go-latex/", "git.sr.ht/~sbinet/", "github.com/ajstarks/svgo", "golang.org/x/image/",
	"golang.org/x/term", "github.com/spf13/", "go.yaml.in/", "gopkg.in/yaml", "github.com/BurntSushi/toml",
	"github.com/chromedp/", "github.com/speadx/speadx/internal/uplot", "github.com/speadx/speadx/internal/bench", "github.com/speadx/speadx/internal/page",
}

// TestDependencies: what the library and the program import, also by others, is what
// they are for.
func TestDependencies(t *testing.T) {
	const module = "github.com/speadx/speadx"
	library := []string{module}
	for _, p := range []string{"heap", "pool", "spead", "xsk", "bpf", "ledger", "metrics"} {
		library = append(library, module+"/"+p)
	}
	for _, tt := range []struct {
		name     string
		packages []string
		never    []string
		some     string // one that is there, so that the list is one
	}{
		{"library", library, forbidden, "github.com/cilium/ebpf"},
		{"program", []string{module + "/cmd/speadx"}, []string{"gonum.org/", "codeberg.org/go-fonts/", "github.com/ajstarks/svgo", "github.com/chromedp/"}, module + "/internal/uplot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := exec.Command("go", append([]string{"list", "-deps"}, tt.packages...)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, dep := range strings.Fields(string(out)) {
				found = found || dep == tt.some
				for _, f := range tt.never {
					if dep == f || strings.HasSuffix(f, "/") && strings.HasPrefix(dep, f) || strings.HasPrefix(dep, f+"/") || strings.HasPrefix(dep, f+".") {
						t.Errorf("%s imports %s", strings.Join(tt.packages, ", "), dep)
					}
				}
			}
			if !found {
				t.Errorf("%s is not among %d dependencies", tt.some, len(strings.Fields(string(out))))
			}
		})
	}
}

// TestImports: what a package of this module may import. Test files count too, unless a rule
// says otherwise.
func TestImports(t *testing.T) {
	const module = "github.com/speadx/speadx/"
	under := func(dirs ...string) func(string) bool {
		return func(file string) bool {
			return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(file, d+"/") })
		}
	}
	never := func(string) bool { return false }
	code := func(file string) bool { return !strings.HasSuffix(file, "_test.go") }
	rules := []struct {
		path    string            // imported
		from    func(string) bool // the files that the rule is about
		allowed func(string) bool // those of them that may
	}{
		{"unsafe", func(string) bool { return true }, regexp.MustCompile(`_unsafe(_linux|_other)?(_test)?\.go$`).MatchString},
		{"C", func(string) bool { return true }, never},
		{module + "xsk", under("heap", "pool", "spead", "ledger", "bpf"), never},
		{module + "bpf", under("heap", "pool", "spead", "ledger", "xsk"), never},
		{module + "heap", under("pool", "spead", "ledger", "xsk", "bpf"), never},
		{module + "spead", under("pool", "ledger", "xsk", "bpf"), func(file string) bool { return !code(file) }},
		{"github.com/spf13/cobra", func(string) bool { return true }, under("cmd", "internal")},
		{"github.com/asavie/xdp", func(string) bool { return true }, under("cmd", "internal")},
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || path == "hack" || path == "deploy" || path != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(path)
		for _, i := range parsed.Imports {
			for _, r := range rules {
				if i.Path.Value == strconv.Quote(r.path) && r.from(name) && !r.allowed(name) {
					t.Errorf("%s imports %s", name, r.path)
				}
			}
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}
