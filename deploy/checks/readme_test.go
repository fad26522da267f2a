// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: README.md names every file, and the tests that it names are there.
func TestReadme(t *testing.T) {
	text := string(read(t, "../README.md"))
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && path == "checks" {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() && path != "README.md" && !strings.Contains(text, "\n| ["+path+"]("+path+") |") {
			t.Errorf("README.md does not name %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		code.Write(read(t, f))
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1)
	if len(named) == 0 {
		t.Error("README.md names no test")
	}
	for _, name := range named {
		if !strings.Contains(code.String(), "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}
