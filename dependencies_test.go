package speadx_test

import (
	"os/exec"
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
