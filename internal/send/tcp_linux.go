// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// connectWait is how long a connection may take to come about: longer than it
// takes to ask three times.
const connectWait = 10 * time.Second

// tcpEngine sends through one TCP connection per destination, in which packets
// follow each other with nothing between. As many of them as there is room for are
// one system call. A receiver that does not read makes it wait.
type tcpEngine struct {
	conns   []tcpConn
	message []mmsghdr // the one of a call
	iovs    []unix.Iovec
}

type tcpConn struct {
	fd   int
	dest netip.AddrPort
	rest []byte // of a packet that was taken, and sent in part
}

func openTCP(c *Config) (_ engine, err error) {
	e := &tcpEngine{message: make([]mmsghdr, 1), iovs: make([]unix.Iovec, ioVectors)}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	for _, dest := range c.Destinations {
		fd, err := openConnection(c, dest)
		if err != nil {
			return nil, fmt.Errorf("connection to %v: %w", dest, err)
		}
		e.conns = append(e.conns, tcpConn{fd: fd, dest: dest})
	}
	return e, nil
}

// openConnection gives a socket connected to dest that sends where and as c says.
func openConnection(c *Config, dest netip.AddrPort) (_ int, err error) {
	family, v4 := unix.AF_INET6, dest.Addr().Is4()
	if v4 {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	if err := useInterface(fd, c.Interface); err != nil {
		return -1, err
	}
	if err := setHops(fd, v4, false, c.TTL); err != nil {
		return -1, err
	}
	// The end of a burst shall not wait for its beginning to be acknowledged.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, os.NewSyscallError("setsockopt TCP_NODELAY", err)
	}
	if err := useSource(fd, c.Bind); err != nil {
		return -1, err
	}
	to, err := sockaddr(dest)
	if err != nil {
		return -1, err
	}
	return fd, connect(fd, to, connectWait)
}

// connect waits for a connection to come about.
func connect(fd int, to unix.Sockaddr, wait time.Duration) error {
	err := unix.Connect(fd, to)
	if errors.Is(err, unix.EINPROGRESS) {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err = awaitRoom(ctx, fd); errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %v (is it up, and does no firewall drop what is sent to it?)", wait)
		}
		if err == nil {
			err = socketError(fd)
		}
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("connect: %w (nobody listens there: a receiver is started first, and takes one connection)", err)
	}
	return os.NewSyscallError("connect", err)
}

// socketError is what has become of the connection.
func socketError(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

func (e *tcpEngine) about() string {
	if len(e.conns) > 1 {
		return "TCP connections"
	}
	return "TCP connection"
}

func (e *tcpEngine) send(ctx context.Context, packets []packet) (int, error) {
	return byDestination(packets, func(dest int, packets []packet) (int, error) {
		return e.sendTo(ctx, &e.conns[dest], packets)
	})
}

// sendTo sends packets of one destination. One that ctx cuts short is taken, for
// the receiver could not tell where another begins.
func (e *tcpEngine) sendTo(ctx context.Context, c *tcpConn, packets []packet) (sent int, err error) {
	if err := e.sendRest(ctx, c); err != nil {
		return 0, err
	}
	done := 0 // bytes of the packet that comes next
	for sent < len(packets) {
		n, err := e.write(ctx, c, e.gather(packets[sent:], done))
		if err != nil {
			if done > 0 && ctx.Err() != nil {
				var p packet
				p.copyFrom(&packets[sent])
				c.rest = p.hdr[done:]
				sent++
			}
			return sent, err
		}
		for done += n; sent < len(packets) && done >= packets[sent].size; sent++ {
			done -= packets[sent].size
		}
	}
	return sent, nil
}

// gather points at the pieces of as many packets as fit into the table, but for
// their first done bytes, and gives the number of pieces.
func (e *tcpEngine) gather(packets []packet, done int) (pieces int) {
	add := func(b []byte) {
		if done >= len(b) {
			done -= len(b)
			return
		}
		setBase(&e.iovs[pieces], b[done:])
		pieces, done = pieces+1, 0
	}
	for i := range packets {
		p := &packets[i]
		if pieces+1+len(p.segs) > len(e.iovs) {
			break
		}
		add(p.hdr)
		for _, s := range p.segs {
			add(s)
		}
	}
	return pieces
}

// sendRest sends what is left of a packet that was taken.
func (e *tcpEngine) sendRest(ctx context.Context, c *tcpConn) error {
	for len(c.rest) > 0 {
		setBase(&e.iovs[0], c.rest)
		n, err := e.write(ctx, c, 1)
		if err != nil {
			return err
		}
		c.rest = c.rest[n:]
	}
	return nil
}

// write sends what the first pieces point at, or the beginning of it, and gives
// how many bytes were sent.
func (e *tcpEngine) write(ctx context.Context, c *tcpConn, pieces int) (int, error) {
	m := &e.message[0]
	m.hdr.Iov = &e.iovs[0]
	m.hdr.SetIovlen(pieces)
	for {
		_, err := sendmmsg(c.fd, e.message)
		switch {
		case err == nil:
			return int(m.sent), nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			if err := awaitRoom(ctx, c.fd); err != nil {
				return 0, fmt.Errorf("connection to %v: the receiver takes nothing: %w", c.dest, err)
			}
			continue
		}
		err = os.NewSyscallError("sendmmsg", err)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return 0, fmt.Errorf("connection to %v: %w (the receiver has closed it)", c.dest, err)
		}
		return 0, fmt.Errorf("connection to %v: %w", c.dest, err)
	}
}

// drain sends what is left of packets. The kernel sends on after close.
func (e *tcpEngine) drain(ctx context.Context) error {
	var errs []error
	for i := range e.conns {
		errs = append(errs, e.sendRest(ctx, &e.conns[i]))
	}
	return errors.Join(errs...)
}

func (e *tcpEngine) close() error {
	var errs []error
	for _, c := range e.conns {
		errs = append(errs, os.NewSyscallError("close", unix.Close(c.fd)))
	}
	e.conns = nil
	return errors.Join(errs...)
}
