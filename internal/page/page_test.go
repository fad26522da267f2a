// SPDX-License-Identifier: Apache-2.0

package page

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/ledger"
)

func get(t *testing.T, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(flagname.Name).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFiles(t *testing.T) {
	for path, want := range map[string]string{
		"/":                   "text/html; charset=utf-8",
		"/page.css":           "text/css; charset=utf-8",
		"/page.js":            "text/javascript; charset=utf-8",
		"/uPlot.iife.min.js":  "text/javascript; charset=utf-8",
		"/uPlot.min.css":      "text/css; charset=utf-8",
		"/uPlot.LICENSE.txt":  "text/plain; charset=utf-8",
		"/icon.svg":           "image/svg+xml",
		"/ledger.json":        "application/json",
		"/index.html":         "",
		"/static/page.js":     "",
		"/../page.go":         "",
		"/nothing":            "",
		"/status/../page.css": "",
	} {
		r := get(t, "GET", path)
		if want == "" {
			if r.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d", path, r.StatusCode)
			}
			continue
		}
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != want || body(t, r) == "" {
			t.Errorf("%s: status %d, type %q", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
		csp := r.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'self';") || strings.Contains(csp, "unsafe") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, r.Header)
		}
	}
}

func TestMethods(t *testing.T) {
	if r := get(t, "HEAD", "/"); r.StatusCode != http.StatusOK || body(t, r) != "" {
		t.Errorf("HEAD: status %d", r.StatusCode)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if r := get(t, method, "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, headers %v", method, r.StatusCode, r.Header)
		}
	}
}

// A browser that has the file asks whether it is another one now.
func TestUnchanged(t *testing.T) {
	tag := get(t, "GET", "/page.js").Header.Get("ETag")
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/page.js", nil)
	r.Header.Set("If-None-Match", tag)
	Handler(nil).ServeHTTP(w, r)
	if tag == "" || w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("tag %q, status %d, %d bytes", tag, w.Code, w.Body.Len())
	}
}

// The policy forbids what these would find, and a browser would only say so on its console.
// Names of a receiver must not become elements.
func TestNothingInlineOrForeign(t *testing.T) {
	html := body(t, get(t, "GET", "/"))
	css := body(t, get(t, "GET", "/page.css"))
	js := body(t, get(t, "GET", "/page.js"))
	for _, c := range []struct{ what, text, pattern string }{
		{"script without src", html, `<script(?:>|\s[^>]*>)[^<]`},
		{"style element or attribute", html, `(?i)<style|\sstyle=`},
		{"event attribute", html, `(?i)\son[a-z]+=`},
		{"absolute address", html, `(?i)(?:src|href)="(?:[a-z]+:|/)`},
		{"foreign style", css, `(?i)@import|url\(|https?:`},
		{"HTML from text", js, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc`},
		{"code from text", js, `\beval\b|new Function|setTimeout\("|javascript:`},
		{"style attribute", js, `setAttribute\("style"|cssText`},
		{"absolute address", js, `https?:`},
	} {
		if m := regexp.MustCompile(c.pattern).FindString(c.text); m != "" {
			t.Errorf("%s: %q", c.what, m)
		}
	}
}

// Each element that the script asks for is in the page.
func TestElementsExist(t *testing.T) {
	html, js := body(t, get(t, "GET", "/")), body(t, get(t, "GET", "/page.js"))
	ids := regexp.MustCompile(`\$\("([a-z-]+)"\)`).FindAllStringSubmatch(js, -1)
	if len(ids) < 10 {
		t.Fatalf("%d ids", len(ids))
	}
	for _, id := range ids {
		if !strings.Contains(html, `id="`+id[1]+`"`) {
			t.Errorf("no element %q", id[1])
		}
	}
	for _, id := range []string{"streams", "pool", "queues", "threads"} {
		for _, suffix := range []string{"", "-filter", "-section", "-title"} {
			if !strings.Contains(html, `id="`+id+suffix+`"`) {
				t.Errorf("no element %q", id+suffix)
			}
		}
	}
}

func TestLedger(t *testing.T) {
	var got ledgerTable
	if err := json.Unmarshal([]byte(body(t, get(t, "GET", "/ledger.json"))), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stages) != int(ledger.NumStages) || len(got.Fates) != int(ledger.NumFates) || len(got.Stream) != int(ledger.NumStreamCounters) ||
		len(got.Device) != int(ledger.NumDeviceCounters) || len(got.Queue) != int(ledger.NumQueueCounters) || len(got.Diagnoses) != len(ledger.Codes()) {
		t.Errorf("%d stages, %d fates, %d, %d and %d counters, %d diagnoses", len(got.Stages), len(got.Fates), len(got.Stream), len(got.Device), len(got.Queue), len(got.Diagnoses))
	}
	stages := map[string]bool{}
	for _, s := range got.Stages {
		if s.Meaning == "" {
			t.Errorf("stage %s has no meaning", s.Name)
		}
		stages[s.Name] = true
	}
	if len(got.Causes) != len(got.Stages) {
		t.Fatalf("%d causes for %d stages", len(got.Causes), len(got.Stages))
	}
	for i, c := range got.Causes {
		if c.Name != got.Stages[i].Name || c.Meaning == "" {
			t.Errorf("cause %+v of stage %s", c, got.Stages[i].Name)
		}
	}
	for f, row := range got.Fates {
		want := ledger.Fate(f).Row()
		if row.Name != want.Name || row.Loss != want.Loss || !stages[row.Stage] || strings.ContainsAny(row.Meaning+row.Remedy, "{}") {
			t.Errorf("fate %d: %+v", f, row)
		}
	}
	if r := got.Fates[ledger.RingFull]; !strings.Contains(r.Remedy, "--ring-heaps") {
		t.Errorf("ring_full: %q does not name the flag", r.Remedy)
	}
}

// Text has the contrast that WCAG 2.1 asks for (AA, 4.5), in both sets of colours.
func TestContrast(t *testing.T) {
	css := body(t, get(t, "GET", "/page.css"))
	sets := regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(css, -1)
	if len(sets) != 2 {
		t.Fatalf("%d sets of colours", len(sets))
	}
	for i, set := range sets {
		colour := map[string]float64{} // its relative luminance
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(set, -1) {
			n, err := strconv.ParseUint(m[2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			for j, weight := range []float64{0.0722, 0.7152, 0.2126} {
				c := float64(n>>(8*j)&0xff) / 255
				if c <= 0.04045 {
					c /= 12.92
				} else {
					c = math.Pow((c+0.055)/1.055, 2.4)
				}
				colour[m[1]] += weight * c
			}
		}
		for _, pair := range [][2]string{
			{"text", "ground"}, {"text", "card"}, {"dim", "ground"}, {"dim", "card"}, {"dim", "bad-ground"}, {"accent", "ground"}, {"accent", "card"},
			{"text", "good-ground"}, {"text", "warn-ground"}, {"text", "bad-ground"}, {"good", "good-ground"}, {"warn", "warn-ground"}, {"bad", "bad-ground"},
			{"good", "card"}, {"warn", "card"}, {"bad", "card"}, {"accent", "bad-ground"},
		} {
			a, okA := colour[pair[0]]
			b, okB := colour[pair[1]]
			if !okA || !okB {
				t.Fatalf("no colour %q or %q in set %d", pair[0], pair[1], i)
			}
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
				t.Errorf("set %d: %s on %s has contrast %.2f", i, pair[0], pair[1], ratio)
			}
		}
	}
}
