// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const docs = "../../docs/bench"

func committed(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(docs, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files with results: %v", len(files), err)
	}
	return files
}

// TestFresh: the charts in docs/ are those of the results beside them.
func TestFresh(t *testing.T) {
	made, err := chartsOf(committed(t))
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Glob(filepath.Join(docs, "*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for name, svg := range made {
		if old, err := os.ReadFile(filepath.Join(docs, name)); err != nil || !bytes.Equal(old, svg) {
			t.Errorf("%s is another one than is made now (%v): run make bench-docs", name, err)
		}
	}
	for _, file := range there {
		if made[filepath.Base(file)] == nil {
			t.Errorf("%s has no results beside it", file)
		}
	}
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range made {
		if !strings.Contains(string(text), "](bench/"+name+")") {
			t.Errorf("docs/performance.md does not show %s", name)
		}
	}
}

// TestChartsAreWhole: each is XML, needs nothing from elsewhere, has a white ground, and
// says which machine, when, and with which command.
func TestChartsAreWhole(t *testing.T) {
	made, err := chartsOf(committed(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, svg := range made {
		var texts []string
		ground := ""
		dec := xml.NewDecoder(bytes.NewReader(svg))
		for {
			token, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch e := token.(type) {
			case xml.CharData:
				texts = append(texts, string(e))
			case xml.StartElement:
				if !slices.Contains([]string{"svg", "g", "path", "text", "circle"}, e.Name.Local) {
					t.Errorf("%s has a <%s>", name, e.Name.Local)
				}
				if e.Name.Local == "path" && ground == "" {
					ground = e.Attr[slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "style" })].Value
				}
			}
		}
		if !strings.Contains(strings.ToUpper(ground), "#FFFFFF") {
			t.Errorf("%s has the ground %q", name, ground)
		}
		all := strings.Join(texts, "\n")
		for _, want := range []string{"CPUs", "Linux", "20", "speadx bench "} {
			if !strings.Contains(all, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
}

// TestBadFiles: what cannot be read is an error that names the file.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "machine-veth.json")
	if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, filepath.Join(dir, "no-such.json"), filepath.Join(dir, "noname.json")} {
		if _, err := chartsOf([]string{file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", file, err)
		}
	}
	if err := run(dir, nil); err == nil {
		t.Error("no error without files")
	}
}
