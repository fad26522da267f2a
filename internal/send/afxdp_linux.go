// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"
)

const (
	afxdpFrame = 4096 // bytes; the kernel allows no larger ones than a page
	afxdpRing  = 2048 // descriptors in the TX and the completion ring

	// The receive side is not used, but asavie/xdp needs rings there.
	afxdpUnusedRing = 64

	// afxdpQueue is the queue of the interface to send on. In copy mode it
	// only must not have another AF_XDP socket.
	afxdpQueue = 0
)

// afxdpEngine sends Ethernet frames of its own making through an AF_XDP socket
// in copy mode, which every driver has. The socket is that of asavie/xdp, an
// implementation other than our receiver's. It needs care:
//
//   - Transmit panics on errors it does not know. See transmit.
//   - Transmit cuts off descriptors for which the ring has no room, in the
//     middle of a packet too. There is always room when it is called.
//   - One system call sends 32 descriptors. It is repeated until the ring is
//     empty. Transmit of none is that call alone.
//   - Its rings have no memory barriers. Only amd64 can do without.
//   - Close leaves ring mappings behind that keep the kernel's socket alive. So
//     a queue can be opened only once in the life of a process.
//
// A packet that is larger than a frame is a chain of them (XDP_PKT_CONTD).
type afxdpEngine struct {
	socket  *xdp.Socket
	iface   string
	headers []*frameHeader // by destination

	// port keeps the source port from being given to another program.
	port *net.UDPConn
}

// afxdpOpen guards the options of asavie/xdp, which are global variables.
var afxdpOpen sync.Mutex

func openAFXDP(c *Config) (_ engine, err error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("engine afxdp is not supported on %s (its rings have no memory barriers)", runtime.GOARCH)
	}
	e := &afxdpEngine{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()

	paths, err := framePaths(c)
	if err != nil {
		return nil, err
	}
	first := paths[0]
	if e.port, err = reservePort(first); err != nil {
		return nil, fmt.Errorf("source address %v: %w", first.src, err)
	}
	port := e.port.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	for i, p := range paths {
		e.headers = append(e.headers, p.frameHeader(c, port, c.Destinations[i]))
	}
	attrs := first.link.Attrs()
	e.iface = attrs.Name

	flags := uint16(unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP)
	if attrs.MTU+ethernetHeader > afxdpFrame {
		flags |= unix.XDP_USE_SG // since Linux 6.6
	}
	e.socket, err = newXDPSocket(attrs.Index, flags)
	if err != nil {
		return nil, fmt.Errorf("AF_XDP socket on %s queue %d: %w%s", e.iface, afxdpQueue, err, afxdpHint(err))
	}
	return e, nil
}

// reservePort opens a socket that nobody uses on the source address.
func reservePort(p *path) (*net.UDPConn, error) {
	addr := p.src
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(p.link.Attrs().Name)
	}
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
}

func newXDPSocket(ifindex int, flags uint16) (*xdp.Socket, error) {
	afxdpOpen.Lock()
	defer afxdpOpen.Unlock()
	old := xdp.DefaultSocketFlags
	xdp.DefaultSocketFlags = flags
	defer func() { xdp.DefaultSocketFlags = old }()
	return xdp.NewSocket(ifindex, afxdpQueue, &xdp.SocketOptions{
		NumFrames:              afxdpUnusedRing + afxdpRing,
		FrameSize:              afxdpFrame,
		FillRingNumDescs:       afxdpUnusedRing,
		CompletionRingNumDescs: afxdpRing,
		RxRingNumDescs:         afxdpUnusedRing,
		TxRingNumDescs:         afxdpRing,
	})
}

// afxdpHint is the remedy for an error of NewSocket, whose text is all there is.
func afxdpHint(err error) string {
	for _, h := range []struct {
		errno unix.Errno
		hint  string
	}{
		{unix.EBUSY, "the queue has an AF_XDP socket already"},
		{unix.EPERM, "needs CAP_NET_RAW"},
		{unix.EINVAL, "the kernel may be too old for packets beyond a page: Linux 6.6"},
		{unix.ENOBUFS, "RLIMIT_MEMLOCK is smaller than the UMEM"},
	} {
		if strings.HasSuffix(err.Error(), h.errno.Error()) {
			return " (" + h.hint + ")"
		}
	}
	return ""
}

func (e *afxdpEngine) about() string {
	return fmt.Sprintf("AF_XDP on %s queue %d in copy mode", e.iface, afxdpQueue)
}

func (e *afxdpEngine) send(ctx context.Context, packets []packet) (sent int, err error) {
	for sent < len(packets) {
		e.socket.Complete(e.socket.NumCompleted())
		descs := e.socket.GetDescs(e.socket.NumFreeTxSlots(), false)
		used, count := 0, 0
		for ; sent+count < len(packets); count++ {
			p := &packets[sent+count]
			n := e.put(descs[used:], p)
			if n == 0 {
				break
			}
			used += n
		}
		if count == 0 {
			// The driver has all the frames.
			if err := e.wait(ctx); err != nil {
				return sent, err
			}
			continue
		}
		if err := e.transmit(descs[:used]); err != nil {
			return sent, err
		}
		sent += count
		if err := e.empty(ctx); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// put writes p into the frames of the first descriptors and gives how many it
// needed: none if there are too few.
func (e *afxdpEngine) put(descs []xdp.Desc, p *packet) (used int) {
	h := e.headers[p.dest]
	size := len(h.bytes) + p.size
	chunks := (size + afxdpFrame - 1) / afxdpFrame
	if chunks > len(descs) {
		return 0
	}
	descs = descs[:chunks]
	for i := range descs {
		descs[i].Len = uint32(min(size, afxdpFrame))
		descs[i].Options = unix.XDP_PKT_CONTD
		size -= afxdpFrame
	}
	descs[chunks-1].Options = 0

	first := e.socket.GetFrame(descs[0])
	h.put(first, p.size)
	rest, i := first[len(h.bytes):], 0
	for piece := range 1 + len(p.segs) {
		b := p.hdr
		if piece > 0 {
			b = p.segs[piece-1]
		}
		for len(b) > 0 {
			if len(rest) == 0 {
				i++
				rest = e.socket.GetFrame(descs[i])
			}
			n := copy(rest, b)
			b, rest = b[n:], rest[n:]
		}
	}

	// Frames have an even length but for the last, and so has what stands
	// before the UDP header: the sum may be taken frame by frame.
	sum := addSum(0, first[len(h.bytes)-udpHeader:])
	for _, d := range descs[1:] {
		sum = addSum(sum, e.socket.GetFrame(d))
	}
	h.putChecksum(first, sum, p.size)
	return chunks
}

// transmit puts descriptors on the TX ring, which has room for them, and
// makes the kernel send some. A panic of asavie/xdp becomes an error.
func (e *afxdpEngine) transmit(descs []xdp.Desc) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("AF_XDP transmit on %s queue %d: %w", e.iface, afxdpQueue, transmitError(r))
		}
	}()
	e.socket.Transmit(descs)
	return nil
}

// transmitError finds the errno in what Transmit has panicked with.
func transmitError(r any) error {
	text := fmt.Sprint(r)
	var rc uint64
	var errno int
	if _, err := fmt.Sscanf(text, "sendto failed with rc=%d and errno=%d", &rc, &errno); err != nil {
		return errors.New(text)
	}
	switch err := unix.Errno(errno); err {
	case unix.ENETDOWN, unix.ENXIO:
		return fmt.Errorf("%w (the interface is down or gone)", err)
	default:
		return err
	}
}

// empty makes the kernel send until the TX ring is empty. Frames come back
// when the driver is done with them.
func (e *afxdpEngine) empty(ctx context.Context) error {
	for free := e.socket.NumFreeTxSlots(); free < afxdpRing; {
		if err := e.transmit(nil); err != nil {
			return err
		}
		now := e.socket.NumFreeTxSlots()
		if now == free {
			if err := e.wait(ctx); err != nil {
				return err
			}
		}
		free = now
	}
	return nil
}

// wait waits until the socket may be written to: the kernel takes no more
// than its send buffer holds.
func (e *afxdpEngine) wait(ctx context.Context) error {
	e.socket.Complete(e.socket.NumCompleted())
	if err := ctx.Err(); err != nil {
		return err
	}
	fds := [1]unix.PollFd{{Fd: int32(e.socket.FD()), Events: unix.POLLOUT}}
	if _, err := unix.Poll(fds[:], 10); err != nil && err != unix.EINTR {
		return fmt.Errorf("poll of the AF_XDP socket: %w", err)
	}
	return nil
}

// drain waits until the driver is done with all frames.
func (e *afxdpEngine) drain(ctx context.Context) error {
	for {
		e.socket.Complete(e.socket.NumCompleted())
		if e.socket.NumTransmitted() == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d frames are still with %s: %w", e.socket.NumTransmitted(), e.iface, err)
		}
		sleep(100 * time.Microsecond)
	}
}

func (e *afxdpEngine) close() error {
	var errs []error
	if e.socket != nil {
		errs = append(errs, e.socket.Close())
	}
	if e.port != nil {
		errs = append(errs, e.port.Close())
	}
	return errors.Join(errs...)
}
