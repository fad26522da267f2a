// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/internal/units"
	"github.com/speadx/speadx/ledger"
)

// progressModes are the values of --progress.
var progressModes = []string{"auto", "line", "json", "none"}

// checkProgress reports a value of --progress that there is not.
func checkProgress(mode string) error {
	if slices.Contains(progressModes, mode) {
		return nil
	}
	return fmt.Errorf("--progress %q is none of %s", mode, strings.Join(progressModes, ", "))
}

const (
	// shortStart is how long a start lasts at least that gets a line on a terminal.
	shortStart = 300 * time.Millisecond
	// progressInterval is how often lines are printed that stay.
	progressInterval = time.Second
)

// progress shows how far the start has come, and then what is received. The start is shown
// by Open's goroutines one after the other, and all else after Open.
type progress struct {
	mode     string // line, json, log or none
	terminal bool   // the line of the start is written over by the next
	raw      io.Writer
	stderr   io.Writer // for all other messages

	shown   bool // a line of the start is on the terminal
	stage   speadx.Stage
	printed time.Time
}

// newProgress resolves --progress. In mode auto there is a line on a terminal, and elsewhere
// what the log says.
func newProgress(f *recvFlags, stderr io.Writer) *progress {
	p := &progress{mode: f.progress, terminal: isTerminal(stderr), raw: stderr, stderr: stderr}
	if p.mode == "auto" {
		switch {
		case f.quiet:
			p.mode = "none"
		case p.terminal:
			p.mode = "line"
		default:
			p.mode = "log"
		}
	}
	if p.mode == "json" {
		locked := &lockedWriter{w: stderr}
		p.raw, p.stderr = locked, &noteWriter{w: locked}
	}
	return p
}

// handler is what the receiver logs to. Of the start it says nothing where that is shown in
// another way, or not at all.
func (p *progress) handler() slog.Handler {
	switch p.mode {
	case "json":
		h := slog.NewJSONHandler(p.raw, nil).WithAttrs([]slog.Attr{slog.String("type", "log")})
		return withoutStages{h}
	case "log":
		return newNotices(p.stderr)
	default:
		return withoutStages{newNotices(p.stderr)}
	}
}

// opening is the Progress of a configuration; nil where nothing is shown.
func (p *progress) opening() func(speadx.Progress) {
	switch p.mode {
	case "json":
		return p.openingJSON
	case "line":
		return p.openingLine
	default:
		return nil
	}
}

func (p *progress) openingLine(o speadx.Progress) {
	now := time.Now()
	switch {
	case !p.terminal:
		if o.Stage != p.stage || now.Sub(p.printed) >= progressInterval {
			p.stage, p.printed = o.Stage, now
			fmt.Fprintln(p.raw, startText(o))
		}
	case o.Stage == speadx.StageReady:
		p.opened()
	case o.Elapsed >= shortStart:
		p.shown = true
		fmt.Fprintf(p.raw, "\r%s\x1b[K", startText(o))
	}
}

// opened takes the line of the start off the terminal. It is called when Open has returned.
func (p *progress) opened() {
	if p.shown {
		fmt.Fprint(p.raw, "\r\x1b[K")
		p.shown = false
	}
}

// startText says how far the start has come.
func startText(o speadx.Progress) string {
	text := fmt.Sprintf("start: %5.1f s  %v", o.Elapsed.Seconds(), o.Stage)
	switch {
	case o.Device != "":
		text += " " + o.Device
	case o.Stage == speadx.StageMemory && o.Total > 0:
		text += fmt.Sprintf(" %3.0f %% of %s touched", 100*float64(o.Touched)/float64(o.Total), units.Size(o.Total))
	}
	return text
}

// jsonStart is a line of the start. docs/json.md explains it.
type jsonStart struct {
	Type    string  `json:"type"`
	Stage   string  `json:"stage"`
	Device  string  `json:"device,omitempty"`
	Touched int64   `json:"touched_bytes"`
	Total   int64   `json:"total_bytes"`
	Seconds float64 `json:"seconds"`
}

func (p *progress) openingJSON(o speadx.Progress) {
	writeJSON(p.raw, jsonStart{"start", o.Stage.String(), o.Device, o.Touched, o.Total, o.Elapsed.Seconds()})
}

// jsonLive is a line of each second in which packets are received.
type jsonLive struct {
	Type            string  `json:"type"`
	Seconds         float64 `json:"seconds"`
	Interval        float64 `json:"interval_seconds"`
	Gbps            float64 `json:"gbps"`
	PacketRate      float64 `json:"packets_per_second"`
	HeapRate        float64 `json:"heaps_per_second"`
	Packets         uint64  `json:"packets"`
	PayloadBytes    uint64  `json:"payload_bytes"`
	CompleteHeaps   uint64  `json:"complete_heaps"`
	IncompleteHeaps uint64  `json:"incomplete_heaps"`
	Lost            uint64  `json:"lost_packets"`
	LostInterval    uint64  `json:"interval_lost_packets"`
}

func printLiveJSON(w io.Writer, a, b *speadx.Stats, d, since time.Duration) {
	before, now := a.Heaps(), b.Heaps()
	writeJSON(w, jsonLive{
		Type: "live", Seconds: since.Seconds(), Interval: d.Seconds(), Gbps: report.Gbps(b.Payload-a.Payload, d),
		PacketRate: float64(b.Packets-a.Packets) / d.Seconds(), HeapRate: float64(now[ledger.HeapsComplete]-before[ledger.HeapsComplete]) / d.Seconds(),
		Packets: b.Packets, PayloadBytes: b.Payload, CompleteHeaps: now[ledger.HeapsComplete], IncompleteHeaps: now[ledger.HeapsIncomplete],
		Lost: b.Fates.Lost(), LostInterval: b.Fates.Lost() - a.Fates.Lost(),
	})
}

// live shows what is received, once a second; nil, which can be stopped, where that is not
// wanted.
func (p *progress) live(c *reception) *liveLine {
	switch p.mode {
	case "line":
		return c.live1s(p.raw, printRates)
	case "json":
		return c.live1s(p.raw, printLiveJSON)
	default:
		return nil
	}
}

// writeJSON writes one line. Nobody can be told that standard error is closed.
func writeJSON(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
}

// lockedWriter keeps the lines of several goroutines apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// noteWriter makes an object of each line that is written to it, so that all of standard
// error is JSON.
type noteWriter struct {
	mu   sync.Mutex
	w    io.Writer
	line []byte // that has not ended
}

func (n *noteWriter) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.line = append(n.line, b...)
	for {
		line, rest, ok := bytes.Cut(n.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		writeJSON(n.w, struct {
			Type string `json:"type"`
			Text string `json:"text"`
		}{"note", string(line)})
		n.line = rest
	}
}

// withoutStages leaves out what the receiver logs of its start.
type withoutStages struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h withoutStages) Handle(ctx context.Context, r slog.Record) error {
	ofStart := false
	r.Attrs(func(a slog.Attr) bool {
		ofStart = ofStart || a.Key == "stage"
		return !ofStart
	})
	if ofStart {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h withoutStages) WithAttrs(a []slog.Attr) slog.Handler {
	return withoutStages{h.Handler.WithAttrs(a)}
}

// WithGroup implements [slog.Handler].
func (h withoutStages) WithGroup(name string) slog.Handler {
	return withoutStages{h.Handler.WithGroup(name)}
}
