// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"golang.org/x/sys/unix"
)

const (
	// tcpMemory is what a connection's bytes come into, and how many are read at
	// once at most. The longest header has room in it many times.
	tcpMemory = 4 << 20

	// tcpBacklog is how many connections may wait to be accepted. One becomes the
	// connection, and then the others are closed.
	tcpBacklog = maxSilent
)

// What the poller calls the sockets of a TCP. Connections without data are numbered from
// tcpSilent on.
const (
	tcpListener = iota
	tcpConnection
	tcpSilent
)

// maxSilent is how many connections without data there may be. When one more comes the
// oldest is closed.
const maxSilent = 16

// acceptPause is the time between two tries to accept a connection for which there is no
// descriptor or memory.
const acceptPause = 100 * time.Millisecond

// TCPConfig says where a connection is awaited.
type TCPConfig struct {
	Endpoint

	// Buffer is the receive buffer in bytes; 0 leaves it to the kernel, which
	// makes it larger as it is needed. What was got stands in [TCPInfo].
	Buffer int
}

// TCPInfo says what was got.
type TCPInfo struct {
	Addr   netip.AddrPort // listened on, with the port that was found where 0 was asked for
	Buffer int            // bytes of receive buffer; 0: the kernel's choice
	Notes  []string       // what could not be had, and the remedy
}

// TCP receives on one connection, as spead2 does: it listens on an address, takes the first
// connection on which data comes, and listens no more. Connections that close without data
// are ignored: monitoring programs probe a port so. SPEAD packets follow each
// other in the connection's bytes. Nothing is lost on the way: while nobody calls
// Receive the kernel's buffer fills up, and then the sender has to wait.
//
// The end of the connection is io.EOF, once all that came before it has been
// handed on. A connection that breaks off is an error, which comes then.
//
// The packets of a batch lie where the kernel wrote them, one behind the other.
// Where no packet begins, bytes are passed over until one does; see framer.
//
// Position counts packets. How many wait in the kernel's buffer is not known: Mark
// is math.MaxUint64.
type TCP struct {
	name     string
	info     TCPInfo
	listener int            // -1 once there is a connection
	conn     int            // -1 before and after
	silent   [maxSilent]int // accepted, and no data has come; -1: none
	peers    [maxSilent]netip.AddrPort
	nextSlot int // of silent, that is used next
	peer     netip.AddrPort
	poller   *poller
	memory   []byte
	framer   framer
	ready    []int32
	err      error // the end

	counters counters
	position uint64 // received; published by Release
	settled  atomic.Uint64
	closed   bool
}

var _ Source = (*TCP)(nil)

// ListenTCP opens the listening socket in the network namespace of the calling
// thread.
func ListenTCP(c TCPConfig) (*TCP, error) {
	t := &TCP{name: "tcp " + c.String(), listener: -1, conn: -1}
	for i := range t.silent {
		t.silent[i] = -1
	}
	if err := t.open(c); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	return t, nil
}

func (t *TCP) open(c TCPConfig) (err error) {
	if t.poller, err = newPoller(2 + maxSilent); err != nil {
		return err
	}
	if err := t.listen(c); err != nil {
		return err
	}
	if err := t.poller.watch(t.listener, tcpListener); err != nil {
		return err
	}
	if t.memory, err = unix.Mmap(-1, 0, tcpMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("map receive buffer: %w", err)
	}
	t.framer = newFramer(t.memory, c.Stream, &t.counters)
	t.ready = make([]int32, 0, 2+maxSilent)
	return nil
}

// listen opens the listening socket and notes in info what was got.
func (t *TCP) listen(c TCPConfig) error {
	addr := c.Addr.Addr().Unmap()
	fd, domain, err := newSocket(addr, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	t.listener = fd
	// A connection that was closed here keeps its port for a minute.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if c.Buffer > 0 { // the connection inherits it, and tells the sender at once
		if t.info.Buffer, err = setReceiveBuffer(fd, c.Buffer); err != nil {
			return fmt.Errorf("set receive buffer: %w", err)
		}
		if t.info.Buffer < c.Buffer {
			t.info.Notes = append(t.info.Notes, smallBuffer(t.info.Buffer, c.Buffer))
		}
	}
	if err := bind(fd, domain, "tcp", netip.AddrPortFrom(addr, c.Addr.Port()), 0); err != nil {
		return err
	}
	if err := unix.Listen(fd, tcpBacklog); err != nil {
		return fmt.Errorf("listen: %w", explain(err, "tcp", int(c.Addr.Port())))
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("ask for the address: %w", err)
	}
	t.info.Addr = netip.AddrPortFrom(addr, addrPortOf(at).Port())
	return nil
}

// addrPortOf is the address and port of a socket, which are not valid if it is of
// another family.
func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// Info says what was got.
func (t *TCP) Info() TCPInfo { return t.info }

// Receive implements [Source]. It waits also while nobody has connected.
func (t *TCP) Receive(b *Batch, timeout time.Duration) (int, error) {
	b.reset()
	t.framer.cut(b)
	if len(b.Packets) == 0 {
		if err := t.take(b, timeout); err != nil {
			return 0, err
		}
	}
	if len(b.Packets) == 0 {
		return 0, nil
	}
	b.Now, b.Wall = Clock()
	b.count(&t.counters)
	t.position += uint64(len(b.Packets))
	return len(b.Packets), nil
}

// take reads packets, waiting for the first. Most of the time there are some, and
// the read is tried first.
func (t *TCP) take(b *Batch, timeout time.Duration) error {
	if err := t.read(b); err != nil || len(b.Packets) > 0 {
		return err
	}
	var err error
	b.wait()
	t.ready, err = t.poller.wait(timeout, t.ready[:0])
	b.work()
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	for _, name := range t.ready {
		var err error
		switch {
		case name == tcpListener && t.listener >= 0:
			err = t.accept()
		case name >= tcpSilent:
			err = t.hear(int(name - tcpSilent))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return t.read(b)
}

// accept takes the connection that waits, if it still does. Nothing has come on it yet.
func (t *TCP) accept() error {
	fd, peer, err := unix.Accept4(t.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENOPROTOOPT, unix.ENETDOWN, unix.ENETUNREACH,
		unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET, unix.EOPNOTSUPP:
		return nil // accept(2): it is this connection's error, and another may come
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		time.Sleep(acceptPause) // the connection goes on waiting
		return nil
	default:
		return fmt.Errorf("accept: %w", err)
	}
	// A free place, or that of the oldest: places are taken in turn while none is free.
	slot := slices.Index(t.silent[:], -1)
	if slot < 0 {
		slot = t.nextSlot
		t.nextSlot = (slot + 1) % maxSilent
		t.closeSilent(slot)
	}
	t.silent[slot], t.peers[slot] = fd, addrPortOf(peer)
	return t.poller.watch(fd, int32(tcpSilent+slot))
}

// hear looks at a connection on which something has happened: data, with which it becomes
// the connection, or its end.
func (t *TCP) hear(slot int) error {
	fd := t.silent[slot]
	if fd < 0 {
		return nil
	}
	var first [1]byte
	n, _, err := unix.Recvfrom(fd, first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN, err == unix.EINTR:
		return nil
	case err != nil, n == 0:
		t.closeSilent(slot)
		return nil
	}
	t.silent[slot] = -1
	t.conn, t.peer = fd, t.peers[slot]
	t.framer.sender = heap.SenderOf(t.peer)
	for i := range t.silent {
		t.closeSilent(i)
	}
	unix.Close(t.listener)
	t.listener = -1
	return nil
}

func (t *TCP) closeSilent(slot int) {
	if fd := t.silent[slot]; fd >= 0 {
		unix.Close(fd)
		t.silent[slot] = -1
	}
}

// read reads what the connection has, without waiting, until there are packets. It
// gives up after as much as there is memory for, so that a sender of something
// else cannot keep us here.
func (t *TCP) read(b *Batch) error {
	for left := tcpMemory; left > 0 && len(b.Packets) == 0; {
		if t.err != nil || t.conn < 0 {
			return t.err
		}
		n, err := unix.Read(t.conn, t.framer.space())
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return t.end(fmt.Errorf("%s: connection from %v: receive: %w", t.name, t.peer, err))
		case n == 0:
			return t.end(io.EOF)
		default:
			t.framer.filled(n)
			t.framer.cut(b)
			left -= n
		}
	}
	return nil
}

// end closes the connection, which has ended with err.
func (t *TCP) end(err error) error {
	t.framer.end()
	unix.Close(t.conn)
	t.conn, t.err = -1, err
	return err
}

// Release implements [Source].
func (t *TCP) Release() { t.settled.Store(t.position) }

// Mark implements [Source].
func (t *TCP) Mark() uint64 { return math.MaxUint64 }

// Position implements [Source].
func (t *TCP) Position() uint64 { return t.settled.Load() }

// Wake implements [Source].
func (t *TCP) Wake() { t.poller.wake() }

// Counts implements [Source].
func (t *TCP) Counts() Counts { return t.counters.snapshot() }

// Close implements [Source].
func (t *TCP) Close() error {
	if t.closed {
		return nil
	}
	t.closed = true
	errs := []error{t.poller.close()}
	for i := range t.silent {
		t.closeSilent(i)
	}
	for _, fd := range []int{t.listener, t.conn} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	if t.memory != nil {
		errs = append(errs, unix.Munmap(t.memory))
		t.memory, t.framer = nil, framer{}
	}
	return errors.Join(errs...)
}

// Name implements [Source].
func (t *TCP) Name() string { return t.name }
