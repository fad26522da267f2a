// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/internal/pulse"

	"golang.org/x/sys/unix"
)

// pipe reads a pipe, a terminal or another descriptor that may have nothing for a while. It
// belongs to one goroutine, but for wake and close.
type pipe struct {
	file   *os.File
	fd     int
	poller *poller
	woken  atomic.Bool
	list   []int32
	pulse  *pulse.Pulse // shows that its reader waits; nil shows nothing
	plain  bool         // it is a file after all, as standard input may be: epoll refuses it
}

// openPipe opens a named pipe. It does not wait for a writer: a read does.
func openPipe(path string) (*pipe, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return newPipe(fd, path)
}

// openStandardInput reads a copy of descriptor 0, which stays open.
func openStandardInput() (*pipe, error) {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return newPipe(fd, StandardInput)
}

func newPipe(fd int, name string) (*pipe, error) {
	p := &pipe{file: os.NewFile(uintptr(fd), name), fd: fd}
	var err error
	if p.poller, err = newPoller(1); err == nil {
		err = p.poller.watch(fd, 0)
	}
	if errors.Is(err, unix.EPERM) {
		p.plain, err = true, nil
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// wait reports whether there is something to read, or the end, within the timeout.
func (p *pipe) wait(timeout time.Duration) (bool, error) {
	if p.plain {
		return true, nil
	}
	var err error
	p.list, err = p.poller.wait(timeout, p.list[:0])
	return len(p.list) > 0, err
}

// Read waits for data. After wake it waits for stopGrace at most.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		timeout := 100 * time.Millisecond
		if p.woken.Load() {
			timeout = stopGrace
		}
		began := time.Now()
		p.pulse.Enter(pulse.Waiting, Now)
		ready, err := p.wait(timeout)
		p.pulse.Enter(pulse.Working, Now)
		p.pulse.Turn(Now())
		if err != nil {
			return 0, err
		}
		if !ready {
			if p.woken.Load() && time.Since(began) >= stopGrace {
				return 0, errStopped
			}
			continue
		}
		n, err := unix.Read(p.fd, b)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// wake ends a wait.
func (p *pipe) wake() {
	p.woken.Store(true)
	p.poller.wake()
}

// Close may be called again.
func (p *pipe) Close() error {
	return errors.Join(p.poller.close(), p.file.Close())
}
