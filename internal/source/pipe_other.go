//go:build !linux

package source

import (
	"os"
	"time"
)

// pipe reads a pipe. On this system a read that waits cannot be ended.
type pipe struct{ *os.File }

func openPipe(path string) (*pipe, error) {
	f, err := os.Open(path)
	return &pipe{f}, err
}

func openStandardInput() (*pipe, error) { return &pipe{os.Stdin}, nil }

func (*pipe) wait(time.Duration) (bool, error) { return true, nil }

func (*pipe) wake() {}
