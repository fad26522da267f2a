// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Membership keeps this machine in multicast groups: the kernel tells the
// network by IGMP or MLD, answers its queries, and programs the interface to
// take the groups' frames. It does so for as long as an ordinary socket is
// open that has joined. Those sockets are bound to no port, so that they
// receive nothing and take no packet from anybody.
//
// A Membership belongs to one goroutine. Its sockets live in the network
// namespace of the thread that joined; the kernel leaves the groups with the
// process, however it ends.
type Membership struct {
	v4, v6 []int           // sockets
	in     map[groupOn]int // the socket that is in a group
}

// groupOn is a group on an interface.
type groupOn struct {
	group   netip.Addr
	ifindex int
}

// Join joins a group on the interface with that index.
func Join(group netip.Addr, ifindex int) (*Membership, error) {
	m := &Membership{}
	if err := m.Add(group, ifindex); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Add joins one more group. A socket may be in 20 IPv4 groups
// (net.ipv4.igmp_max_memberships), further ones get another socket. To join a
// group twice changes nothing.
func (m *Membership) Add(group netip.Addr, ifindex int) error {
	group = group.Unmap()
	if !group.IsMulticast() {
		return fmt.Errorf("netif: %v is not a multicast group", group)
	}
	if _, ok := m.in[groupOn{group, ifindex}]; ok {
		return nil
	}
	sockets, domain := &m.v4, unix.AF_INET
	if group.Is6() {
		sockets, domain = &m.v6, unix.AF_INET6
	}
	// The last socket is the most likely to have room. Others have it where groups were
	// left.
	for _, fd := range slices.Backward(*sockets) {
		err := JoinSocket(fd, group, ifindex)
		if err == nil {
			m.remember(group, ifindex, fd)
		}
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENOMEM) {
			return err
		}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("netif: open a socket to join %v: %w", group, err)
	}
	*sockets = append(*sockets, fd)
	if err = JoinSocket(fd, group, ifindex); err == nil {
		m.remember(group, ifindex, fd)
	}
	return err
}

func (m *Membership) remember(group netip.Addr, ifindex, fd int) {
	if m.in == nil {
		m.in = map[groupOn]int{}
	}
	m.in[groupOn{group, ifindex}] = fd
}

// Leave leaves a group. It is no error if it was not joined.
func (m *Membership) Leave(group netip.Addr, ifindex int) error {
	group = group.Unmap()
	fd, ok := m.in[groupOn{group, ifindex}]
	if !ok {
		return nil
	}
	delete(m.in, groupOn{group, ifindex})
	return LeaveSocket(fd, group, ifindex)
}

// Close leaves all groups. It may be called again.
func (m *Membership) Close() error {
	var errs []error
	for _, fd := range append(m.v4, m.v6...) {
		errs = append(errs, unix.Close(fd))
	}
	m.v4, m.v6, m.in = nil, nil, nil
	return errors.Join(errs...)
}

// JoinSocket makes the socket fd, of the group's address family, a member of
// the group on the interface with that index; 0 leaves the choice to the
// routing table. ENOBUFS says that the socket is in as many groups as it can be.
func JoinSocket(fd int, group netip.Addr, ifindex int) error {
	var err error
	if group.Is4() {
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifindex)})
	} else {
		err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
			&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)})
	}
	switch {
	case err == nil, errors.Is(err, unix.EADDRINUSE):
		return nil
	case errors.Is(err, unix.ENODEV) && ifindex == 0:
		return fmt.Errorf("netif: join %v: %w (no route leads to the group: --interface names the one to receive on)", group, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("netif: join %v on interface %d: %w (the interface is gone, or in another network namespace)", group, ifindex, err)
	}
	return fmt.Errorf("netif: join %v on interface %d: %w", group, ifindex, err)
}

// LeaveSocket undoes [JoinSocket]. It is no error if the interface is gone.
func LeaveSocket(fd int, group netip.Addr, ifindex int) error {
	var err error
	if group.Is4() {
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP,
			&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifindex)})
	} else {
		err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP,
			&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)})
	}
	if err == nil || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("netif: leave %v on interface %d: %w", group, ifindex, err)
}

// Bindable reports whether a socket of this process can be bound to an interface. Before
// Linux 5.7 that takes CAP_NET_RAW.
func Bindable() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// Index 1 is lo, in each network namespace.
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, 1) == nil
}
