// SPDX-License-Identifier: Apache-2.0

// Package page is the page for people that a receiver serves at "/".
//
// It is one HTML file, one style sheet and one script, embedded. Package uplot draws the plots.
// The script reads /status once a second. It reads ledger.json once: the table of package ledger,
// so that names, stages and remedies are not written down a second time. The browser may
// load nothing from elsewhere, and runs no script that is not one of these files.
//
// All addresses in the page are relative, so it also works below a path of a proxy.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/speadx/speadx/internal/uplot"
)

//go:embed static
var static embed.FS

// policy is the Content-Security-Policy of every file.
const policy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

// contentTypes are the types of the files by extension. The system's table of types may
// have others, or none.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
	".json": "application/json",
}

// file is what is served at one path.
type file struct {
	content     []byte
	contentType string
	tag         string
}

// Handler serves the page at "/" and its files beside it. Every other path is not found.
// The names of settings in ledger.json are given by setting; nil is for Config.Field. It
// may be used by several goroutines.
func Handler(setting func(field string) string) http.Handler {
	files := map[string]file{}
	entries, err := fs.ReadDir(static, "static")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	for _, e := range entries {
		b, err := fs.ReadFile(static, "static/"+e.Name())
		if err != nil {
			panic(err)
		}
		files["/"+e.Name()] = newFile(e.Name(), b)
	}
	for name, text := range map[string]string{
		"uPlot.iife.min.js": uplot.Script, "uPlot.min.css": uplot.Style, "uPlot.LICENSE.txt": uplot.License,
	} {
		files["/"+name] = newFile(name, []byte(text))
	}
	files["/"] = files["/index.html"]
	delete(files, "/index.html")
	b, err := json.Marshal(table(setting))
	if err != nil {
		panic(err) // strings and booleans always can be
	}
	files["/ledger.json"] = newFile("ledger.json", b)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, fmt.Sprintf("%s is not allowed: the page is read only", r.Method), http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // ask each time: another version may run here
		h.Set("ETag", f.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})
}

func newFile(name string, b []byte) file {
	contentType := contentTypes[path.Ext(name)]
	if contentType == "" {
		panic("page: no type for " + name)
	}
	sum := sha256.Sum256(b)
	return file{content: b, contentType: contentType, tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}
