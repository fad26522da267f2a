// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
)

// steadyWriter writes until a write fails, and never again after that: half a line, or a
// reader that has gone, is not to be followed by more.
type steadyWriter struct {
	w   io.Writer
	err error // of the write that failed
}

func (s *steadyWriter) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}

// writeTotals writes what a command prints last to standard output. If that cannot be
// written to any more, it writes to standard error. The error is that of standard output.
func writeTotals(stdout, stderr io.Writer, write func(io.Writer) error) error {
	err := write(stdout)
	if err == nil {
		return nil
	}
	fmt.Fprintf(stderr, "the totals follow here: %s\n", message(err))
	_ = write(stderr) // nothing is left to write to
	return err
}
