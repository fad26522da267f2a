// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/operate"
	"github.com/speadx/speadx/internal/page"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/metrics"
)

// monitorFlags are the flags of recv for those who watch it.
type monitorFlags struct {
	listen, webConfig, namespace, debug string
}

func (m *monitorFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&m.listen, "metrics", "", "serve metrics, health and a page for people on `ADDR`, such as :9717; docs/metrics.md lists the endpoints")
	fs.StringVar(&m.webConfig, "metrics-config", "", "serve --metrics with TLS and passwords as `FILE` says, in the format of the Prometheus exporters")
	fs.StringVar(&m.namespace, "metrics-namespace", metrics.DefaultNamespace, "begin the names of all metrics with `WORD`")
	fs.StringVar(&m.debug, "debug-listen", "", "serve pprof on `ADDR`, such as localhost:6060; who can reach it can read memory")
}

// word is what a namespace can be: names of metrics are joined by underscores.
var word = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// check finds what is wrong with the flags on every machine.
func (m *monitorFlags) check() error {
	for _, v := range []struct{ flag, addr string }{{"metrics", m.listen}, {"debug-listen", m.debug}} {
		if v.addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(v.addr)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n > 1<<16-1 {
			return wrongFlag(v.flag, " %q is no address and port, such as :9717 or 10.0.0.2:9717", v.addr)
		}
	}
	if !word.MatchString(m.namespace) {
		return wrongFlag("metrics-namespace", " %q is no word of letters, digits and underscores", m.namespace)
	}
	return nil
}

// monitor are the servers of a run.
type monitor struct {
	server *operate.Server // nil: not asked for
	debug  *operate.Debug  // likewise
}

// start begins to serve. Nothing is received yet.
func (m *monitorFlags) start(stderr io.Writer, quiet bool) (_ *monitor, err error) {
	log := slog.New(newNotices(stderr))
	mon := &monitor{}
	defer func() {
		if err != nil {
			mon.stop()
		}
	}()
	if m.listen != "" {
		mon.server, err = operate.Listen(operate.Config{
			Listen: m.listen, WebConfig: m.webConfig, Page: page.Handler(flagname.Name), Log: log,
			Metrics: metrics.Options{Namespace: m.namespace, Setting: flagname.Name, Version: version},
		})
		var file *operate.WebConfigError
		switch {
		case errors.As(err, &file) && errors.Is(err, os.ErrPermission):
			return nil, fmt.Errorf("--metrics-config: %w", err)
		case errors.As(err, &file):
			return nil, usageError{fmt.Errorf("--metrics-config: %w", err)}
		case err != nil:
			return nil, fmt.Errorf("--metrics: %w", err)
		}
		if !quiet {
			fmt.Fprintf(stderr, "metrics: on %v\n", mon.server.Addr())
		}
	}
	if m.debug != "" {
		if mon.debug, err = operate.ListenDebug(m.debug, log); err != nil {
			return nil, fmt.Errorf("--debug-listen: %w", err)
		}
		if !quiet {
			fmt.Fprintf(stderr, "pprof: on %v\n", mon.debug.Addr())
		}
	}
	return mon, nil
}

// attach shows the receiver.
func (m *monitor) attach(r *speadx.Receiver, totals func() *report.Report) error {
	if m.server == nil {
		return nil
	}
	return m.server.Attach(r, totals)
}

// stop ends the servers. Their errors are not reported: reception is over.
func (m *monitor) stop() {
	if m.server != nil {
		_ = m.server.Close()
	}
	if m.debug != nil {
		_ = m.debug.Close()
	}
}
