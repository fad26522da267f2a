// SPDX-License-Identifier: Apache-2.0

//go:build linux

package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/metrics"
)

// Bounds of the server.
const (
	maxConnections = 64
	maxHeaderBytes = 16 << 10
	requestTime    = 5 * time.Second  // for a request to arrive
	answerTime     = 10 * time.Second // for it to be answered, and the answer to be read
	idleTime       = 2 * time.Minute
	closeTime      = 500 * time.Millisecond // for answers under way at the end
)

// Config says what to serve, and where.
type Config struct {
	Listen    string       // address and port
	WebConfig string       // file of exporter-toolkit: TLS, users and passwords; "" for neither
	Page      http.Handler // of "/" and all that is not an endpoint; nil: not found
	Metrics   metrics.Options
	Log       *slog.Logger // is told of errors, at most once a second. Default: nobody is
}

// Server serves the endpoints. Its methods may be called from any goroutine.
type Server struct {
	c        Config
	listener net.Listener
	http     *http.Server
	metrics  *scraper
	running  atomic.Pointer[running] // nil until Attach
	done     chan struct{}
	once     sync.Once
	recent   time.Duration // how old data may be for /readyz?data=1
	alive    time.Duration // how long ago a thread's turn may be for /livez
}

// running is a receiver that has been opened.
type running struct {
	r      *speadx.Receiver
	report func() *report.Report
}

// ListenError is the error of Listen for an address that cannot be served.
type ListenError struct {
	Addr string
	Hint string // who has the port, or ""
	Err  error
}

// Error names the address.
func (e *ListenError) Error() string {
	text := fmt.Sprintf("cannot serve on %s: %v", e.Addr, e.Err)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// WebConfigError is the error of Listen for a file that cannot be used.
type WebConfigError struct {
	File string
	Err  error
}

// Error names the file.
func (e *WebConfigError) Error() string {
	text := e.Err.Error()
	if strings.Contains(text, e.File) {
		return text
	}
	return e.File + ": " + text
}

// Unwrap returns the cause.
func (e *WebConfigError) Unwrap() error { return e.Err }

// Listen begins to serve. Until Attach there are no counters, and nothing is ready. The
// error is a [*ListenError] or a [*WebConfigError].
func Listen(c Config) (*Server, error) {
	if err := web.Validate(c.WebConfig); err != nil {
		return nil, &WebConfigError{c.WebConfig, err}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Page == nil {
		c.Page = http.NotFoundHandler()
	}
	inner, err := listen(c.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{c: c, listener: newBounded(inner, maxConnections), metrics: newScraper(), done: make(chan struct{}),
		recent: 5 * time.Second, alive: 5 * time.Second}
	s.http = newHTTP(s.handler(), c.Log)
	s.http.WriteTimeout = answerTime
	go s.serve()
	return s, nil
}

// listen listens, and says who else does.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	e := &ListenError{Addr: addr, Err: err}
	var op *net.OpError
	if errors.As(err, &op) {
		e.Err = op.Err // without the address, and the word listen
		if sys := (*os.SyscallError)(nil); errors.As(op.Err, &sys) {
			e.Err = sys.Err
		}
	}
	if to, bad := net.ResolveTCPAddr("tcp", addr); errors.Is(err, syscall.EADDRINUSE) && bad == nil {
		e.Hint = source.PortTakenBy("tcp", to.Port)
	}
	return nil, e
}

func newHTTP(h http.Handler, to *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, IdleTimeout: idleTime,
		ErrorLog: log.New(&seldom{log: to}, "", 0),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 8},
	}
}

func (s *Server) serve() {
	defer close(s.done)
	err := web.Serve(s.listener, s.http, &web.FlagConfig{WebConfigFile: &s.c.WebConfig}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, http.ErrServerClosed) {
		s.c.Log.Error("metrics are not served any more", "address", s.listener.Addr().String(), "err", err)
	}
}

// Addr is the address that is served.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Attach shows a receiver that has been opened, once. report reads its totals; it is called
// from any goroutine.
func (s *Server) Attach(r *speadx.Receiver, totals func() *report.Report) error {
	if !s.metrics.add(metrics.NewCollector(r, s.c.Metrics)) {
		return errors.New("operate: a receiver is shown already")
	}
	s.running.Store(&running{r, totals})
	return nil
}

// Close ends all connections; answers under way have half a second. It is idempotent.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() { err = shutdown(s.http) })
	<-s.done
	return err
}

func shutdown(h *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		return h.Close()
	}
	return nil
}

// seldom passes lines of the HTTP server on, one a second at most: each of a thousand
// connections that fails writes one.
type seldom struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Write implements [io.Writer].
func (w *seldom) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.last) >= time.Second {
		w.last = now
		w.log.Warn("the metrics port: " + strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

var _ io.Writer = (*seldom)(nil)
