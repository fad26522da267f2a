// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/internal/netif"
	"golang.org/x/sys/unix"
)

// openSocket opens, sets up and binds the socket of one endpoint, and closes it
// again if that fails. It notes in the info what was got.
func (in *UDPInfo) openSocket(e UDPEndpoint, c UDPConfig) (int, error) {
	addr := e.Addr.Addr().Unmap()
	fd, domain, err := newSocket(addr, unix.SOCK_DGRAM)
	if err != nil {
		return -1, err
	}
	if err := in.setUp(fd, domain, addr, e, c); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (in *UDPInfo) setUp(fd, domain int, addr netip.Addr, e UDPEndpoint, c UDPConfig) error {
	got, err := setReceiveBuffer(fd, c.Buffer)
	if err != nil {
		return fmt.Errorf("set receive buffer: %w", err)
	}
	in.Buffer = min(in.Buffer, got)
	if domain == unix.AF_INET6 {
		// AF_XDP receives packets without a checksum too, as IPv4 allows. RFC 6936 allows it for
		// IPv6. A kernel that refuses it drops them.
		_ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
	}
	if c.GRO && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) != nil {
		in.GRO = false
	}
	to := netip.AddrPortFrom(addr, e.Addr.Port())
	if !addr.IsMulticast() {
		if e.Interface != 0 {
			if err := bindToInterface(fd, e.Interface); err != nil {
				return err
			}
		}
		if e.Shared {
			if err := shareUnicast(fd, domain, addr, true); err != nil {
				return err
			}
		}
		return bind(fd, domain, "udp", to, e.Interface)
	}
	if err := prepareGroup(fd, domain, e.Interface); err != nil {
		return err
	}
	if err := bind(fd, domain, "udp", to, e.Interface); err != nil {
		return err
	}
	return netif.JoinSocket(fd, addr.WithZone(""), e.Interface)
}

// prepareGroup lets several sockets bind a group's port, and makes the socket
// deaf to the group on interfaces where somebody else has joined it.
func prepareGroup(fd, domain, ifindex int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if domain == unix.AF_INET {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
			return fmt.Errorf("set IP_MULTICAST_ALL: %w", err)
		}
		return nil
	}
	if ifindex == 0 {
		return nil
	}
	// IPV6_MULTICAST_ALL does not look at the interface (inet6_mc_check).
	return bindToInterface(fd, ifindex)
}

// bindToInterface makes a socket hear one interface only. A kernel before 5.7 may refuse it;
// then all are heard.
func bindToInterface(fd, ifindex int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, ifindex)
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("bind to interface %d: %w", ifindex, err)
	}
	return nil
}

// shareUnicast lets other sockets of the process bind the same port at other addresses, or
// not any more. A socket of any address leaves groups to the sockets that joined them.
func shareUnicast(fd, domain int, addr netip.Addr, on bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, boolInt(on)); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if !on || !isAny(addr) {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return fmt.Errorf("set IP_MULTICAST_ALL: %w", err)
	}
	if domain == unix.AF_INET6 {
		// Before Linux 4.20 the kernel does not have it.
		err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
		if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return fmt.Errorf("set IPV6_MULTICAST_ALL: %w", err)
		}
	}
	return nil
}

// Share lets other sockets of this process bind the port at other addresses than those of
// this source, or not any more: see [UDPEndpoint]. Any goroutine may call it.
func (u *UDP) Share(port uint16, on bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	for _, s := range slices.Concat(u.sockets, u.changes.fresh) {
		addr := s.endpoint.Addr.Addr().Unmap()
		if s.fd < 0 || s.endpoint.Addr.Port() != port || addr.IsMulticast() {
			continue
		}
		domain, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err == nil {
			err = shareUnicast(s.fd, domain, addr, on)
		}
		if err != nil {
			return fmt.Errorf("udp %s: %w", s.name, err)
		}
	}
	return nil
}
