// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
)

// TestTop: where the output is no terminal, the state is printed once.
func TestTop(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r := &report.Report{Threads: []speadx.ThreadStats{{Name: "7148", CPU: -1, State: speadx.ThreadEnded}}}
		r.Stats.Packets, r.Stats.Fates[ledger.Delivered], r.Stats.Fates[ledger.TooShort] = 1234, 1230, 4
		r.Stats.Streams = []speadx.StreamStats{{Name: "7148"}}
		_ = json.NewEncoder(w).Encode(r)
	}))
	defer s.Close()
	for _, args := range [][]string{{"top", s.URL}, {"top", "--once", s.Listener.Addr().String()}} {
		r := program(args...)
		r.check(t, 0)
		for _, want := range []string{"Reception has ended", "1,234", "too_short 4"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%q is not in\n%s", want, r.stdout)
			}
		}
	}
}

func TestTopErrors(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"top"}, exitUsage, "localhost:9717"},
		{[]string{"top", "a:1", "b:2"}, exitUsage, "2 were given"},
		{[]string{"top", "ftp://a"}, exitUsage, `"ftp"`},
		{[]string{"top", "--ca", "/nonexistent/ca.pem", "a:1"}, exitUsage, "/nonexistent/ca.pem"},
		{[]string{"top", s.URL}, exitError, "404"},
	} {
		r := program(c.args...)
		r.check(t, c.status)
		if !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%q: %q is not in %q", c.args, c.want, r.stderr)
		}
	}
}
