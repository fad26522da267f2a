// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package source

import (
	"os"
	"time"

	"github.com/speadx/speadx/internal/pulse"
)

// pipe reads a pipe. On this system a read that waits cannot be ended.
type pipe struct {
	*os.File
	pulse *pulse.Pulse
}

func openPipe(path string) (*pipe, error) {
	f, err := os.Open(path)
	return &pipe{File: f}, err
}

func openStandardInput() (*pipe, error) { return &pipe{File: os.Stdin}, nil }

func (*pipe) wait(time.Duration) (bool, error) { return true, nil }

func (*pipe) wake() {}
