// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/speadx/speadx"
)

// stderrLine is an object on standard error with --progress json.
type stderrLine struct {
	Type    string
	Stage   string
	Device  string
	Text    string
	Msg     string
	Touched int64   `json:"touched_bytes"`
	Total   int64   `json:"total_bytes"`
	Seconds float64 `json:"seconds"`

	CompleteHeaps *uint64  `json:"complete_heaps"`
	Gbps          *float64 `json:"gbps"`
}

func stderrLines(t *testing.T, text string) (all []stderrLine) {
	t.Helper()
	for l := range strings.Lines(text) {
		var v stderrLine
		if err := json.Unmarshal([]byte(l), &v); err != nil || v.Type == "" {
			t.Errorf("%q is no object with a type: %v", l, err)
		}
		all = append(all, v)
	}
	return all
}

// TestProgressJSON: each line of standard error is an object: of the start, of each second,
// and the notes.
func TestProgressJSON(t *testing.T) {
	r := program("recv", "--progress", "json", "--mode", "udp", "--hugepages", "off", "--duration", "1300ms", freePort(t))
	r.check(t, 0)
	stages, types := "", map[string]int{}
	var last stderrLine
	for _, l := range stderrLines(t, r.stderr) {
		types[l.Type]++
		switch l.Type {
		case "start":
			stages += l.Stage + " "
			last = l
		case "live":
			if l.CompleteHeaps == nil || *l.CompleteHeaps != 0 || l.Gbps == nil || l.Seconds < 0.9 {
				t.Errorf("%+v", l)
			}
		}
	}
	if !regexp.MustCompile(`^(memory )+join ready $`).MatchString(stages) || last.Total == 0 || last.Touched != last.Total {
		t.Errorf("stages %q, at the end %+v", stages, last)
	}
	if types["live"] != 1 || types["note"] == 0 {
		t.Errorf("types %v", types)
	}
}

// TestProgressLine: where no terminal is, --progress line prints lines that stay; auto and
// none print none.
func TestProgressLine(t *testing.T) {
	for mode, want := range map[string]bool{"line": true, "auto": false, "none": false} {
		r := program("recv", "--progress", mode, "--mode", "udp", "--hugepages", "off", "--duration", "1300ms", freePort(t))
		r.check(t, 0)
		for _, part := range []string{"s  memory", "s  ready\n", "heaps/s"} {
			if got := strings.Contains(r.stderr, part); got != want {
				t.Errorf("--progress %s: %q is on standard error: %v\n%s", mode, part, got, r.stderr)
			}
		}
		if strings.Contains(r.stderr, "\r") {
			t.Errorf("--progress %s writes over a line: %q", mode, r.stderr)
		}
	}
}

func TestProgressUnknown(t *testing.T) {
	r := program("recv", "--progress", "bar", freePort(t))
	r.check(t, exitUsage, `--progress "bar" is none of auto, line, json, none`)
}

// TestInterruptedStart: Ctrl-C while memory is touched ends the program at once, and the
// message says how far it was. The start is on a terminal, and nothing is left there.
func TestInterruptedStart(t *testing.T) {
	if testing.Short() {
		t.Skip("touches memory")
	}
	master, slave := terminal(t)
	// So much that one thread takes a second, and so little that the machine has it.
	t.Setenv("GOMAXPROCS", "1")
	recv := start(t, options{stderr: slave}, "recv", "--progress", "line", "--mode", "udp", "--hugepages", "off", "--pool-min", "0", "-H", "256MiB", freePort(t))
	slave.Close()
	var screen strings.Builder
	buf := make([]byte, 4096)
	for signalled := false; ; {
		n, err := master.Read(buf)
		screen.Write(buf[:n])
		if !signalled && strings.Contains(screen.String(), "touched") {
			recv.signal(t, os.Interrupt)
			signalled = true
		}
		if err != nil {
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
	}
	recv.wait(t).check(t, exitError)
	if !regexp.MustCompile(`\rstart: +\d+\.\d s  memory +\d+ % of .*touched\x1b\[K`).MatchString(screen.String()) {
		t.Errorf("no line of the start on\n%q", screen.String())
	}
	if !regexp.MustCompile(`\r\x1b\[Kspeadx: the start was ended when \d+ of \d+ bytes of the pool had been touched`).MatchString(screen.String()) {
		t.Errorf("no message on\n%q", screen.String())
	}
}

// TestStartText: each stage has its words.
func TestStartText(t *testing.T) {
	for _, tt := range []struct {
		p    speadx.Progress
		want string
	}{
		{speadx.Progress{Stage: speadx.StageMemory}, "start:   0.0 s  memory"},
		{speadx.Progress{Stage: speadx.StageMemory, Touched: 1 << 30, Total: 4 << 30, Elapsed: 2500 * time.Millisecond}, "start:   2.5 s  memory  25 % of 4GiB touched"},
		{speadx.Progress{Stage: speadx.StageCarrier, Device: "eth1", Touched: 1, Total: 1}, "start:   0.0 s  carrier eth1"},
		{speadx.Progress{Stage: speadx.StageReady, Touched: 1, Total: 1}, "start:   0.0 s  ready"},
	} {
		if got := startText(tt.p); got != tt.want {
			t.Errorf("%+v is %q, want %q", tt.p, got, tt.want)
		}
	}
}

// TestLogOfStart: what the library logs of the start is a note where no line shows it.
func TestLogOfStart(t *testing.T) {
	for mode, want := range map[string]bool{"auto": true, "none": false, "line": false, "json": false} {
		var text strings.Builder
		p := newProgress(&recvFlags{progress: mode}, &text)
		log := slog.New(p.handler())
		log.Info("touching", "stage", "memory")
		if got := text.Len() > 0; got != want {
			t.Errorf("--progress %s: %q", mode, text.String())
		}
		text.Reset()
		log.Warn("amiss", "queue", 3)
		if !strings.Contains(text.String(), "amiss") {
			t.Errorf("--progress %s does not print %q", mode, text.String())
		}
	}
	quiet := newProgress(&recvFlags{progress: "auto", quiet: true}, io.Discard)
	if quiet.opening() != nil || quiet.handler().Handle(context.Background(), slog.Record{}) != nil {
		t.Error("--quiet shows the start")
	}
}

// TestNoteWriter: lines become objects, also those that come in pieces.
func TestNoteWriter(t *testing.T) {
	var text strings.Builder
	w := &noteWriter{w: &text}
	for _, part := range []string{"a", "b \"c\"\nd", "\n\n"} {
		if n, err := fmt.Fprint(w, part); n != len(part) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if want := `{"type":"note","text":"ab \"c\""}` + "\n" + `{"type":"note","text":"d"}` + "\n" + `{"type":"note","text":""}` + "\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}
