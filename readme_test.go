// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeExample type-checks the example of the README against this package.
func TestReadmeExample(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```go\n")
	body, _, closed := strings.Cut(after, "```\n")
	if !found || !closed {
		t.Fatal("README.md has no example in Go")
	}
	source := "package main\nimport (\n\"context\"\n\"github.com/speadx/speadx\"\n)\n" +
		"func receive(ctx context.Context, use func(uint64, []byte)) error {\n" + body + "return nil\n}\n"
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "README.md", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: importer.ForCompiler(files, "source", nil)}
	if _, err := config.Check("main", files, []*ast.File{file}, nil); err != nil {
		t.Error(err)
	}
}

// TestReadmeIsShort holds the length of the README, which a reader in a hurry reads whole.
func TestReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(text))); n > 800 {
		t.Errorf("README.md has %d words, and 800 are allowed: move text to docs/", n)
	}
}

// TestDocumentLinks: each link to a file in the README and in docs/ leads to a file, and
// to a heading of it if the link names one.
func TestDocumentLinks(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents = append(documents, "README.md", "CHANGELOG.md")
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	links := 0
	for _, doc := range documents {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, heading, named := strings.Cut(m[1], "#")
			target := doc
			if path != "" {
				target = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
				continue
			}
			if named && !headings(t, target)[heading] {
				t.Errorf("%s links to %s, and %s has no such heading", doc, m[1], target)
			}
		}
	}
	if links < 50 {
		t.Errorf("%d links were found: where are the others?", links)
	}
}

// headings returns the anchors of a document's headings, as GitHub makes them.
func headings(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`<a (?:id|name)="([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		anchors[m[1]] = true
	}
	return anchors
}
