// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

type brokenWriter struct{ calls int }

func (w *brokenWriter) Write([]byte) (int, error) { w.calls++; return 0, syscall.EIO }

// TestWriteTotals: what cannot go to standard output goes to standard error, once.
func TestWriteTotals(t *testing.T) {
	write := func(w io.Writer) error { _, err := io.WriteString(w, "totals\n"); return err }
	var out, errs bytes.Buffer
	if err := writeTotals(&steadyWriter{w: &out}, &errs, write); err != nil || out.String() != "totals\n" || errs.Len() != 0 {
		t.Errorf("%v, %q, %q", err, &out, &errs)
	}
	broken := &brokenWriter{}
	stdout := &steadyWriter{w: broken}
	_ = write(stdout)
	if err := writeTotals(stdout, &errs, write); !errors.Is(err, syscall.EIO) || broken.calls != 1 || !strings.HasSuffix(errs.String(), "\ntotals\n") {
		t.Errorf("%v after %d writes, %q", err, broken.calls, &errs)
	}
	if err := writeTotals(stdout, broken, write); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
}

// TestEndsAtOnce: a second signal ends the process, unless it belongs to the first.
func TestEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		s     os.Signal
		after time.Duration
		want  bool
	}{
		{os.Interrupt, 0, false}, {os.Interrupt, time.Second, true}, {syscall.SIGTERM, time.Millisecond, false}, {syscall.SIGTERM, time.Second, true},
		{syscall.SIGHUP, time.Second, false}, {syscall.SIGXCPU, time.Second, false},
	} {
		if got := endsAtOnce(tt.s, tt.after); got != tt.want {
			t.Errorf("%v after %v: %v", tt.s, tt.after, got)
		}
	}
}
