// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLicenceLines: each source file of ours names its licence in its first lines.
func TestLicenceLines(t *testing.T) {
	const line = "SPDX-License-Identifier: Apache-2.0"
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains([]string{"testdata", "bin", "dist", "bench-out"}, d.Name()) || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".c", ".h", ".js", ".css", ".yml", ".yaml"}, filepath.Ext(path)) || strings.HasPrefix(d.Name(), "uPlot"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if !bytes.Contains(text[:min(len(text), 200)], []byte(line)) && !bytes.HasPrefix(text, []byte("// Code generated")) {
			t.Errorf("%s does not begin with %q", path, line)
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}
