package source

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/speadx/speadx/internal/netif"
	"golang.org/x/sys/unix"
)

// openSocket opens, sets up and binds the socket of one endpoint, and closes it
// again if that fails. It notes in info what was got.
func (u *UDP) openSocket(e UDPEndpoint, c UDPConfig) (int, error) {
	addr, domain := e.Addr.Addr().Unmap(), unix.AF_INET
	if isAny(addr) || addr.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if isAny(addr) && errors.Is(err, unix.EAFNOSUPPORT) {
		// Without IPv6 in the kernel any address is any IPv4 address.
		domain = unix.AF_INET
		fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := u.setUp(fd, domain, addr, e, c); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (u *UDP) setUp(fd, domain int, addr netip.Addr, e UDPEndpoint, c UDPConfig) error {
	got, err := setReceiveBuffer(fd, c.Buffer)
	if err != nil {
		return fmt.Errorf("set receive buffer: %w", err)
	}
	u.info.Buffer = min(u.info.Buffer, got)
	if c.GRO && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) != nil {
		u.info.GRO = false
	}
	if domain == unix.AF_INET6 {
		// Any address means of both families; an address means itself.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, boolInt(!isAny(addr))); err != nil {
			return fmt.Errorf("set IPV6_V6ONLY: %w", err)
		}
	}
	if !addr.IsMulticast() {
		return bind(fd, domain, addr, e)
	}
	if err := prepareGroup(fd, domain, e.Interface); err != nil {
		return err
	}
	if err := bind(fd, domain, addr, e); err != nil {
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
	// IPV6_MULTICAST_ALL does not look at the interface (inet6_mc_check). A
	// kernel before 5.7 may refuse what follows; then all interfaces are heard.
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, ifindex)
	if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("bind to interface %d: %w", ifindex, err)
	}
	return nil
}

func bind(fd, domain int, addr netip.Addr, e UDPEndpoint) error {
	var sa unix.Sockaddr
	port := int(e.Addr.Port())
	switch {
	case domain == unix.AF_INET && isAny(addr):
		sa = &unix.SockaddrInet4{Port: port}
	case domain == unix.AF_INET:
		sa = &unix.SockaddrInet4{Port: port, Addr: addr.As4()}
	case isAny(addr):
		sa = &unix.SockaddrInet6{Port: port}
	default:
		scope, err := scopeOf(addr, e.Interface)
		if err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: port, Addr: addr.As16(), ZoneId: scope}
	}
	err := unix.Bind(fd, sa)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("bind: %w (%s)", err, portTakenBy(port))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("bind: %w (no interface of this machine has the address)", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("bind: %w (ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE)", err)
	}
	return fmt.Errorf("bind: %w", err)
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

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
