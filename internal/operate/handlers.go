// SPDX-License-Identifier: Apache-2.0

//go:build linux

package operate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/speadx/speadx/metrics"
)

// handler serves all endpoints.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	work := make(chan struct{}, 1)
	mux.Handle("/metrics", whole(work, s.metrics))
	mux.Handle("/status", whole(work, http.HandlerFunc(s.status)))
	for _, path := range []string{"/livez", "/healthz", "/-/healthy"} {
		mux.HandleFunc(path, s.livez)
	}
	for _, path := range []string{"/readyz", "/-/ready"} {
		mux.HandleFunc(path, s.readyz)
	}
	mux.Handle("/", s.c.Page)
	return readOnly(mux)
}

// readOnly refuses everything but GET and HEAD.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, r.Method+" is not allowed: this port is read-only", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// whole lets a handler answer one request at a time, into memory. What is sent then needs
// no more work, however slowly it is read.
func whole(work chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case work <- struct{}{}:
		case <-r.Context().Done(): // the client has gone, or was closed
			return
		}
		answer := &answer{header: http.Header{}, status: http.StatusOK}
		func() {
			defer func() { <-work }()
			next.ServeHTTP(answer, r)
		}()
		maps.Copy(w.Header(), answer.header)
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body.Bytes())
	})
}

// answer is an answer in memory.
type answer struct {
	header http.Header
	body   bytes.Buffer
	status int
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// scraper serves /metrics.
type scraper struct {
	http.Handler
	process  *prometheus.Registry // of the runtime and the process
	receiver atomic.Pointer[metrics.Collector]
}

func newScraper() *scraper {
	s := &scraper{process: prometheus.NewRegistry()}
	s.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.Handler = promhttp.HandlerFor(s, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
	})
	return s
}

// Gather implements [prometheus.Gatherer]. The collector of the receiver is in no registry,
// which would check each of its series at each scrape. The tests do that.
func (s *scraper) Gather() ([]*dto.MetricFamily, error) {
	out, err := s.process.Gather()
	if c := s.receiver.Load(); c != nil && err == nil {
		var of []*dto.MetricFamily
		of, err = c.Gather()
		out = append(out, of...)
	}
	return out, err
}

// add shows a receiver; false if one is shown already.
func (s *scraper) add(c *metrics.Collector) bool { return s.receiver.CompareAndSwap(nil, c) }

// status answers with the totals so far.
func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	run := s.running.Load()
	if run == nil {
		http.Error(w, "reception has not begun", http.StatusServiceUnavailable)
		return
	}
	b, err := json.Marshal(run.report())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(b, '\n'))
}

// livez reports whether every receiving thread makes progress. The start, which touches
// memory for seconds, is no lack of progress, and neither is the end.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	var wrong []string
	if run := s.running.Load(); run != nil {
		if err := run.r.Alive(s.alive); err != nil {
			wrong = append(wrong, strings.TrimPrefix(err.Error(), "speadx: "))
		}
	}
	health(w, wrong)
}

// readyz reports whether everything is bound and joined and, if asked, whether data comes.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	data := false
	if query.Has("data") {
		var err error
		if data, err = strconv.ParseBool(query.Get("data")); err != nil {
			// A probe that is spelled wrongly must not pass.
			http.Error(w, fmt.Sprintf("data=%.20q is neither 1 nor 0", query.Get("data")), http.StatusBadRequest)
			return
		}
	}
	health(w, s.missing(data))
}

// missing is what reception lacks.
func (s *Server) missing(data bool) (wrong []string) {
	run := s.running.Load()
	if run == nil {
		return []string{"reception has not begun"}
	}
	select {
	case <-run.r.Done():
		return []string{"reception has ended"}
	default:
	}
	for _, g := range run.r.Groups() {
		if !g.Joined {
			wrong = append(wrong, fmt.Sprintf("group %v is not joined on %s", g.Group, g.Interface))
		}
	}
	if !data {
		return wrong
	}
	for _, t := range run.r.Times() {
		age, expected := t.Silent(time.Now())
		switch {
		case !expected:
		case t.LastData.IsZero():
			wrong = append(wrong, fmt.Sprintf("stream %s has had no packet yet", t.Name))
		case age > s.recent:
			wrong = append(wrong, fmt.Sprintf("stream %s has had no packet for %v", t.Name, age.Round(time.Second)))
		}
	}
	return wrong
}

// health answers a probe: 200 if nothing is wrong. Otherwise 503, and a line for each fault.
func health(w http.ResponseWriter, wrong []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if wrong == nil {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(strings.Join(wrong, "\n") + "\n"))
}
