// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// StandardInput is the path that stands for standard input.
const StandardInput = "-"

// input is what a capture is read from: a file, or a pipe that may have nothing for a while.
type input struct {
	io.Reader
	closer io.Closer
	pipe   *pipe // nil: a file, which never waits
}

// openInput opens a file, a named pipe, or standard input.
func openInput(path string) (*input, error) {
	if path == StandardInput {
		p, err := openStandardInput()
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return &input{p, p, p}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return &input{f, f, nil}, nil
	case mode&(os.ModeNamedPipe|os.ModeCharDevice) != 0:
		p, err := openPipe(path)
		if err != nil {
			return nil, err
		}
		return &input{p, p, p}, nil
	}
	return nil, fmt.Errorf("%s is neither a file nor a pipe", path)
}

// IsPipe reports whether a capture comes through a pipe: it cannot be read twice.
func IsPipe(path string) bool {
	if path == StandardInput {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular()
}

// stopGrace is for how long the rest of a record is waited for when reception is to end.
const stopGrace = time.Second

// errStopped ends the reading of a pipe in the middle of a record.
var errStopped = errors.New("reception was stopped while more of it was to come")
