// SPDX-License-Identifier: Apache-2.0

//go:build linux

package operate

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
)

// Debug serves pprof. Who can reach it can read memory and make the program slow.
type Debug struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{}
	once     sync.Once
}

// ListenDebug begins to serve pprof under /debug/pprof/. The error is a [*ListenError].
func ListenDebug(addr string, to *slog.Logger) (*Debug, error) {
	inner, err := listen(addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	const most = 8
	d := &Debug{listener: newBounded(inner, most), done: make(chan struct{})}
	d.http = newHTTP(readOnly(mux), to) // without a limit for the answer: a profile takes as long as asked for
	go func() {
		defer close(d.done)
		if err := d.http.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			to.Error("pprof is not served any more", "address", addr, "err", err)
		}
	}()
	return d, nil
}

// Addr is the address that is served.
func (d *Debug) Addr() net.Addr { return d.listener.Addr() }

// Close ends all connections. It is idempotent.
func (d *Debug) Close() error {
	var err error
	d.once.Do(func() { err = shutdown(d.http) })
	<-d.done
	return err
}
