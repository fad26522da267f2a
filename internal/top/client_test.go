// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"localhost:9717":                 "http://localhost:9717/status",
		"10.0.0.1:9717":                  "http://10.0.0.1:9717/status",
		"[::1]:9717":                     "http://[::1]:9717/status",
		"receiver":                       "http://receiver/status",
		"https://r:1/":                   "https://r:1/status",
		"http://r/speadx/":               "http://r/speadx/status",
		"http://r/status":                "http://r/status",
		"http://u:p@r:1?x=1#y":           "http://u:p@r:1/status",
		"ftp://r":                        "",
		"http://":                        "",
		"":                               "",
		":9717":                          "",
		"http://r:port":                  "",
		"http://u:secret@r:port":         "",
		"http://r/\x7f":                  "",
		"unix:///run/speadx/metrics.sck": "",
	} {
		u, err := ParseURL(in)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: %v, want an error", in, u)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%q: %v, %v, want %s", in, u, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%q: the error has the password: %v", in, err)
		}
	}
}

func client(t *testing.T, address, ca string) *Client {
	t.Helper()
	u, err := ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(u, ca)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestFetch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); r.URL.Path != "/status" || user != "u" || pass != "p" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(scene(t, 3, 60, true))
	}))
	defer s.Close()
	got, err := client(t, "http://u:p@"+s.Listener.Addr().String(), "").Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Streams) != 3 || got.Streams[1].IncompleteHeaps != 600 || got.Packets != 2376780 || got.Fates["kernel_dropped"] != 180 ||
		got.Streams[0].Pool.HighRing != 5 || got.Devices[0].Queues[1]["ring_size"] != 8192 || got.Devices[0].Mode != "zerocopy" ||
		got.Threads[1].CPU != 1 || got.Threads[1].Busy != 24 || len(got.Diagnoses) != 2 || got.Seconds != 60 {
		t.Errorf("got %+v", got)
	}
	if lost(got.Fates) != got.LostPackets {
		t.Errorf("%d packets lost by the ledger, %d by the receiver", lost(got.Fates), got.LostPackets)
	}
}

// Each thing that can be wrong has an error that names the address and the thing.
func TestFetchErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"status", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "reception has not begun\n"+strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
		}, "503 Service Unavailable: reception has not begun"},
		{"not found", http.NotFound, "--metrics"},
		{"password", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "USER:PASSWORD"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/", http.StatusFound)
		}, "http://elsewhere/"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\x1b[2J") }, `<html>\x1b[2J`},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"type":"\u001b"}`) }, `"\\x1b"`},
		{"other type", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"type":"summary","packets":-1}`) }, "packets"},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			b := bytes.Repeat([]byte{' '}, 1<<20)
			for {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, "larger than 16 MiB"},
		{"deep", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 1<<20)) }, "no JSON"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			got, err := client(t, s.URL, "").Fetch(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Listener.Addr().String()) {
				t.Errorf("got %v, %v, want an error with %q and the address", got, err, c.want)
			}
			if err != nil && clean(err.Error()) != err.Error() {
				t.Errorf("the error is not printable: %q", err)
			}
		})
	}
}

func TestFetchNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	if _, err := client(t, "http://u:secret@"+address, "").Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "--metrics") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(scene(t, 1, 1, false)) }))
	defer s.Close()
	s.Config.ErrorLog = nil
	if _, err := client(t, s.URL, "").Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "--ca") {
		t.Errorf("got %v, want an error that names --ca", err)
	}
	if _, err := client(t, "http://"+s.Listener.Addr().String(), "").Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("got %v, want an error that names https", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, s.URL, file).Fetch(t.Context()); err != nil {
		t.Error(err)
	}
	u, _ := ParseURL(s.URL)
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(u, file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if _, err := NewClient(u, file+"x"); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

// The text of --once has rates of two answers, and no escape sequences.
func TestOnce(t *testing.T) {
	sec := 59.0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(scene(t, 2, sec, false))
		sec++
	}))
	defer s.Close()
	var b bytes.Buffer
	if err := Once(t.Context(), client(t, s.URL, ""), &b, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); !strings.Contains(text, "1.68 Gb/s") || !strings.Contains(text, "No loss") || strings.Contains(text, "\x1b") {
		t.Errorf("got\n%s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Once(ctx, client(t, s.URL, ""), &b, time.Hour); err == nil {
		t.Error("no error of a context that has ended")
	}
}

// An answer of many small parts is shown in time that grows with it, and no faster.
func TestManyParts(t *testing.T) {
	const parts = 200_000
	b := []byte(`{"type":"summary","streams":[{}` + strings.Repeat(`,{}`, parts) + `],"threads":[{}` + strings.Repeat(`,{}`, parts) +
		`],"devices":[{"queues":[{}` + strings.Repeat(`,{}`, parts) + `]}]}`)
	var h history
	for range 2 {
		s, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		h.take(s, "h")
	}
	if lines := h.view.Render(80, 24, false); len(lines) > 24 {
		t.Errorf("%d lines", len(lines))
	}
}

// Counters that went back are of another run: rates begin anew.
func TestAnotherRun(t *testing.T) {
	var h history
	for _, sec := range []float64{100, 101, 2, 3} {
		s, err := decode(scene(t, 2, sec, false))
		if err != nil {
			t.Fatal(err)
		}
		h.take(s, "h")
		if sec == 2 && (h.view.Before != nil || h.view.Past != s) {
			t.Errorf("the run before is not forgotten: %+v", h.view)
		}
	}
	if h.view.Before == nil || h.view.Past.Seconds != 2 || h.view.Silent != 0 {
		t.Errorf("got %+v", h.view)
	}
}
