// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sendBuffer is asked for as SO_SNDBUF: a few milliseconds of a fast link.
	sendBuffer = 4 << 20

	// A message that the kernel cuts into datagrams (UDP_SEGMENT) has at most
	// so many, UDP_MAX_SEGMENTS of older kernels, and so many bytes, what one
	// datagram may have.
	gsoSegments = 64
	gsoBytes    = 65507

	// ioVectors is UIO_MAXIOV: pieces of memory in one message.
	ioVectors = 1024
)

// udpEngine sends through one connected UDP socket per destination. Several
// datagrams of a destination are one message where UDP_SEGMENT works, and many
// messages are one system call.
type udpEngine struct {
	sockets []udpSocket
	largest int  // bytes of a packet; UDP_SEGMENT is set to it
	gso     bool // UDP_SEGMENT is set

	// The messages of one call. packets[i] is how many of the packets the i-th
	// message holds.
	messages []mmsghdr
	packets  []int
	iovs     []unix.Iovec
}

type udpSocket struct {
	fd   int
	dest netip.AddrPort
}

func openUDP(c *Config) (_ engine, err error) {
	e := &udpEngine{
		largest:  c.MaxPacket &^ 7,
		gso:      !c.NoGSO,
		messages: make([]mmsghdr, batchPackets),
		packets:  make([]int, batchPackets),
		iovs:     make([]unix.Iovec, batchPackets*(1+maxSegments)),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	for _, dest := range c.Destinations {
		fd, err := openUDPSocket(c, dest)
		if err != nil {
			return nil, fmt.Errorf("socket to %v: %w", dest, err)
		}
		e.sockets = append(e.sockets, udpSocket{fd, dest})
		if e.gso {
			// Kernels before 4.18 do not know it.
			e.gso = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, e.largest) == nil
		}
	}
	if !e.gso {
		e.disableGSO()
	}
	return e, nil
}

// openUDPSocket gives a socket connected to dest that sends where and as c says.
func openUDPSocket(c *Config, dest netip.AddrPort) (_ int, err error) {
	family, v4 := unix.AF_INET6, dest.Addr().Is4()
	if v4 {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()

	// Beyond net.core.wmem_max only with CAP_NET_ADMIN.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
			return -1, os.NewSyscallError("setsockopt SO_SNDBUF", err)
		}
	}
	if err := useInterface(fd, c.Interface); err != nil {
		return -1, err
	}
	if err := setHops(fd, v4, dest.Addr().IsMulticast(), c.TTL); err != nil {
		return -1, err
	}

	// Never fragment: a packet that is too large shall be an error.
	if v4 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	}
	if err != nil {
		return -1, os.NewSyscallError("setsockopt IP_MTU_DISCOVER", err)
	}

	if c.Bind.IsValid() && dest.Addr().IsMulticast() && c.Interface == "" {
		if err := setMulticastInterface(fd, c.Bind); err != nil {
			return -1, err
		}
	}
	if err := useSource(fd, c.Bind); err != nil {
		return -1, err
	}
	to, err := sockaddr(dest)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, to); err != nil {
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, checkMTU(c, v4, pathMTU(fd, v4), "the way to "+dest.Addr().String())
}

// useInterface sends out of the interface with that name; "" is no one's.
func useInterface(fd int, name string) error {
	if name == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("interface %s: %w", name, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err))
	}
	return nil
}

// useSource sends from the source address, if it is valid.
func useSource(fd int, addr netip.Addr) error {
	if !addr.IsValid() {
		return nil
	}
	from, err := sockaddr(netip.AddrPortFrom(addr, 0))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, from); err != nil {
		return fmt.Errorf("source address %v: %w", addr, os.NewSyscallError("bind", err))
	}
	return nil
}

// setHops sets the TTL or hop limit: multicast 1 unless told otherwise, the
// system's for unicast.
func setHops(fd int, v4, multicast bool, ttl int) error {
	level, option := unix.IPPROTO_IP, unix.IP_TTL
	switch {
	case v4 && multicast:
		option = unix.IP_MULTICAST_TTL
	case !v4 && multicast:
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS
	case !v4:
		level, option = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	if ttl == 0 {
		if !multicast {
			return nil
		}
		ttl = 1
	}
	return os.NewSyscallError("setsockopt IP_TTL", unix.SetsockoptInt(fd, level, option, ttl))
}

// setMulticastInterface sends groups out of the interface that has the address.
func setMulticastInterface(fd int, addr netip.Addr) error {
	name, index, err := interfaceOf(addr)
	if err != nil {
		return err
	}
	if addr.Is4() {
		mreq := &unix.IPMreqn{Ifindex: int32(index)}
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, mreq)
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index)
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, os.NewSyscallError("setsockopt IP_MULTICAST_IF", err))
	}
	return nil
}

// interfaceOf finds the interface that has the address.
func interfaceOf(addr netip.Addr) (name string, index int, err error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return "", 0, err
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it may be gone by now
		}
		for _, a := range addrs {
			if prefix, ok := a.(*net.IPNet); ok && prefix.IP.Equal(addr.AsSlice()) {
				return i.Name, i.Index, nil
			}
		}
	}
	return "", 0, fmt.Errorf("no interface has the source address %v", addr)
}

// sockaddr converts an address; an IPv6 zone may be an interface's name.
func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if ip := a.Addr(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("zone of %v: %w", a.Addr(), err)
		}
		sa.ZoneId = uint32(i.Index)
	}
	return sa, nil
}

// pathMTU is what the kernel knows of the way to where the socket is connected,
// or 0.
func pathMTU(fd int, v4 bool) int {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if !v4 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		return 0
	}
	return mtu
}

func (e *udpEngine) about() string {
	if e.gso {
		return "UDP sockets with GSO"
	}
	return "UDP sockets"
}

func (e *udpEngine) send(ctx context.Context, packets []packet) (int, error) {
	return byDestination(packets, func(dest int, packets []packet) (int, error) {
		return e.sendTo(ctx, &e.sockets[dest], packets)
	})
}

// sendTo sends packets of one destination.
func (e *udpEngine) sendTo(ctx context.Context, s *udpSocket, packets []packet) (sent int, err error) {
	for sent < len(packets) {
		messages := e.gather(packets[sent:])
		for done := 0; done < messages; {
			n, err := sendmmsg(s.fd, e.messages[done:messages])
			if err == nil {
				for _, packets := range e.packets[done : done+n] {
					sent += packets
				}
				done += n
				continue
			}
			if e.gso && gsoRefused(err) {
				// The device may lack the checksum offload that segmentation
				// needs. If it was for another reason, that will show again.
				e.disableGSO()
				break // gather what is left anew
			}
			if err := e.recover(ctx, s, packets[sent].size, err); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

// gather makes messages of as many packets as fit into the tables and gives
// their number. Packets become one message if all but the last have the size
// of a segment.
func (e *udpEngine) gather(packets []packet) (messages int) {
	iovs := e.iovs
	for i := 0; i < len(packets) && messages < len(e.messages); messages++ {
		p := &packets[i]
		pieces := gatherPacket(iovs, p)
		bytes, count, last := p.size, 1, p.size
		for e.gso && last == e.largest && count < gsoSegments && i+count < len(packets) {
			p := &packets[i+count]
			if p.size > e.largest || bytes+p.size > gsoBytes || pieces+1+maxSegments > ioVectors {
				break
			}
			pieces += gatherPacket(iovs[pieces:], p)
			bytes, last = bytes+p.size, p.size
			count++
		}
		m := &e.messages[messages]
		m.hdr.Iov = &iovs[0]
		m.hdr.SetIovlen(pieces)
		e.packets[messages] = count
		iovs = iovs[pieces:]
		i += count
	}
	return messages
}

// gatherPacket points the first of iovs at the pieces of p.
func gatherPacket(iovs []unix.Iovec, p *packet) (pieces int) {
	setBase(&iovs[0], p.hdr)
	for i, s := range p.segs {
		setBase(&iovs[1+i], s)
	}
	return 1 + len(p.segs)
}

// gsoRefused reports whether an error can come from UDP_SEGMENT alone, and the
// same packets may go one by one.
func gsoRefused(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EOPNOTSUPP)
}

// disableGSO makes datagrams go one by one from now on.
func (e *udpEngine) disableGSO() {
	e.gso = false
	for _, s := range e.sockets {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_SEGMENT, 0) // unknown to kernels that have no GSO
	}
}

// recover deals with an error of sendmmsg: it waits, and gives nil if the
// packets can be sent again, or says what is wrong.
func (e *udpEngine) recover(ctx context.Context, s *udpSocket, size int, err error) error {
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		// Nobody listened to an earlier datagram. That is its sender's
		// business as little as with an unconnected socket.
		return nil
	case errors.Is(err, unix.EAGAIN):
		return awaitRoom(ctx, s.fd)
	case errors.Is(err, unix.ENOBUFS):
		// The queue of the device is full, which no poll tells the end of.
		sleep(100 * time.Microsecond)
		return ctx.Err()
	}
	err = os.NewSyscallError("sendmmsg", err)
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("packet of %d bytes to %v: %w (the MTU on the way is %d: raise it, or lower the packet size)",
			size, s.dest, err, pathMTU(s.fd, s.dest.Addr().Is4()))
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("packet to %v: %w (a firewall rule of this machine drops it)", s.dest, err)
	case errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV):
		return fmt.Errorf("packet to %v: %w (the interface is down)", s.dest, err)
	}
	return fmt.Errorf("packet to %v: %w", s.dest, err)
}

// awaitRoom waits until a socket takes more, or ctx ends.
func awaitRoom(ctx context.Context, fd int) error {
	for ctx.Err() == nil {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(fds[:], 100); n > 0 || err != nil && err != unix.EINTR {
			return err
		}
	}
	return ctx.Err()
}

// drain has nothing to wait for: the kernel sends on after close.
func (e *udpEngine) drain(context.Context) error { return nil }

func (e *udpEngine) close() error {
	var errs []error
	for _, s := range e.sockets {
		errs = append(errs, os.NewSyscallError("close", unix.Close(s.fd)))
	}
	e.sockets = nil
	return errors.Join(errs...)
}
