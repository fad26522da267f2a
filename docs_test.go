// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCompatibilityTests: each test that docs/compatibility.md names exists, and it
// names each one that holds a behaviour of spead2's.
func TestCompatibilityTests(t *testing.T) {
	const doc = "docs/compatibility.md"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(string(text), -1) {
		named[name] = true
	}
	defined := map[string]string{} // the file it is in
	function := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(source, -1) {
			defined[string(m[1])] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range named {
		if defined[name] == "" {
			t.Errorf("%s names %s, which there is not", doc, name)
		}
	}
	held := 0
	for name, path := range defined {
		if strings.HasPrefix(name, "TestSpead2") {
			if held++; !named[name] {
				t.Errorf("%s does not name %s of %s", doc, name, path)
			}
		}
	}
	if held < 50 {
		t.Errorf("%d tests hold spead2's behaviours: where are the others?", held)
	}
}

// TestTwoHops: each file that the table of docs/architecture.md sends a reader to is
// there, and defines what the table names.
func TestTwoHops(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Two hops\n")
	section, _, _ = strings.Cut(section, "\n## ")
	code := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		files, names := code.FindAllStringSubmatch(cells[2], -1), code.FindAllStringSubmatch(cells[3], -1)
		if len(files) != len(names) {
			t.Errorf("%d files and %d names: %s", len(files), len(names), line)
			continue
		}
		for i := range files {
			source, err := os.ReadFile(files[i][1])
			if err != nil {
				t.Error(err)
				continue
			}
			defined := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type )` + names[i][1] + `\b`)
			if !defined.Match(source) {
				t.Errorf("%s does not define %s", files[i][1], names[i][1])
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows", rows)
	}
}
