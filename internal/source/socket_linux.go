// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/speadx/speadx/internal/netif"
	"golang.org/x/sys/unix"
)

// newSocket opens a socket of that type to be bound to addr: any address means
// that of both families, an address means itself.
func newSocket(addr netip.Addr, typ int) (fd, domain int, err error) {
	domain = unix.AF_INET
	if isAny(addr) || addr.Is6() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if isAny(addr) && errors.Is(err, unix.EAFNOSUPPORT) {
		// Without IPv6 in the kernel any address is any IPv4 address.
		domain = unix.AF_INET
		fd, err = unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return -1, domain, fmt.Errorf("open socket: %w", err)
	}
	if domain == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, boolInt(!isAny(addr))); err != nil {
			unix.Close(fd)
			return -1, domain, fmt.Errorf("set IPV6_V6ONLY: %w", err)
		}
	}
	return fd, domain, nil
}

// bind binds a socket of network, udp or tcp, to an address and port. The interface
// is that of a link-local address, 0 if its zone names it.
func bind(fd, domain int, network string, to netip.AddrPort, ifindex int) error {
	var sa unix.Sockaddr
	addr, port := to.Addr(), int(to.Port())
	switch {
	case domain == unix.AF_INET && isAny(addr):
		sa = &unix.SockaddrInet4{Port: port}
	case domain == unix.AF_INET:
		sa = &unix.SockaddrInet4{Port: port, Addr: addr.As4()}
	case isAny(addr):
		sa = &unix.SockaddrInet6{Port: port}
	default:
		scope, err := scopeOf(addr, ifindex)
		if err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: port, Addr: addr.As16(), ZoneId: scope}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind: %w", explain(err, network, port))
	}
	return nil
}

// explain adds to the kernel's refusal of a port what there is to know of it.
func explain(err error, network string, port int) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w (%s)", err, PortTakenBy(network, port))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w (no interface of this machine has the address)", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE)", err)
	}
	return err
}

// scopeOf is the index of the interface that a link-local address belongs to.
func scopeOf(addr netip.Addr, ifindex int) (uint32, error) {
	if addr.Zone() == "" {
		return uint32(ifindex), nil
	}
	name, err := netif.ForRoute(addr)
	if err != nil {
		return 0, err
	}
	i, err := netif.Lookup(name)
	if err != nil {
		return 0, err
	}
	return uint32(i.Index), nil
}

// setReceiveBuffer asks for a buffer of that many bytes and says how many there
// are. The kernel doubles what is asked, for its own bookkeeping, and says so.
func setReceiveBuffer(fd, bytes int) (int, error) {
	// FORCE goes past net.core.rmem_max and needs CAP_NET_ADMIN.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes); err != nil {
			return 0, err
		}
	}
	doubled, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return doubled / 2, err
}

// smallBuffer says how to have a receive buffer of the size that was asked for.
func smallBuffer(got, asked int) string {
	return fmt.Sprintf("the socket receive buffer is %d bytes, not %d (sysctl -w net.core.rmem_max=%d)", got, asked, asked)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
