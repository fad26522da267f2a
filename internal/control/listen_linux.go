// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longestPath is that of struct sockaddr_un, without the 0 at its end.
const longestPath = 107

// Listen makes a Unix socket that only its owner may connect to. A socket that is left of a
// process that has ended is replaced. Anything else at that path is an error.
func Listen(path string) (*Socket, error) {
	failed := func(format string, args ...any) (*Socket, error) {
		return nil, fmt.Errorf("control socket %s: %w", path, fmt.Errorf(format, args...))
	}
	if len(path) > longestPath || path == "" {
		return failed("the path has %d bytes (1 to %d)", len(path), longestPath)
	}
	if err := replaceStale(path); err != nil {
		return failed("%w", err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// The file gets the mode of the socket: it is never open to others.
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		var call *os.SyscallError
		if errors.As(err, &call) {
			err = call.Err
		}
		return failed("%w (the directory must be there, and writable for the user of this process)", err)
	}
	s := &Socket{listener: l.(*net.UnixListener), path: path}
	s.listener.SetUnlinkOnClose(false) // by then the path may be another's
	if s.file, err = os.Lstat(path); err != nil {
		l.Close()
		return failed("%w", err)
	}
	return s, nil
}

// Socket is a listening socket.
type Socket struct {
	listener *net.UnixListener
	path     string
	file     os.FileInfo
	once     sync.Once
}

// Close closes the socket and removes its file, if it is still this one. It may be called
// again; nil is no socket.
func (s *Socket) Close() (err error) {
	if s == nil {
		return nil
	}
	s.once.Do(func() {
		err = s.listener.Close()
		if now, e := os.Lstat(s.path); e == nil && os.SameFile(now, s.file) {
			err = errors.Join(err, os.Remove(s.path))
		}
	})
	return err
}

// dialTime is how long a process may take to accept a connection.
const dialTime = time.Second

// replaceStale removes a socket at the path that no process listens on.
func replaceStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("there is a file that is not a socket (give another path)")
	}
	c, err := net.DialTimeout("unix", path, dialTime)
	if err == nil {
		c.Close()
		return errors.New("another process listens there (give another path)")
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("a socket is there that may be in use: %w", err)
	}
	return os.Remove(path)
}

// peer is the user of the process at the other end.
func peer(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
