// SPDX-License-Identifier: Apache-2.0

//go:build ops

package ops

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/page"
)

// handler serves the scene as recv --metrics does a receiver.
func (s Scene) handler() http.Handler {
	began := time.Now().Add(-time.Hour)
	mux := http.NewServeMux()
	mux.Handle("/", page.Handler(flagname.Name))
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) {
		b, err := json.Marshal(s.At(began, time.Since(began)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	})
	return mux
}

// gate is a server that can stop to answer.
type gate struct {
	next http.Handler
	mode atomic.Int32
}

// What the gate does with a request for /status.
const (
	open    = iota // pass it on
	closed         // 503
	foreign        // answer with what is no JSON
	strange        // answer with JSON of another kind
)

func (g *gate) set(mode int32) { g.mode.Store(mode) }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mode := g.mode.Load()
	switch {
	case r.URL.Path != "/status" || mode == open:
		g.next.ServeHTTP(w, r)
	case mode == closed:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case mode == foreign:
		_, _ = w.Write([]byte("<html>a proxy's page"))
	case mode == strange:
		_, _ = w.Write([]byte(`{"type":"summary"}`))
	}
}
