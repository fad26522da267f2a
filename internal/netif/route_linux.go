// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ByAddress names the interface that has the address addr.
func ByAddress(addr netip.Addr) (string, error) {
	addr = addr.Unmap()
	if addr.Zone() != "" {
		return byZone(addr)
	}
	list, err := netlink.AddrList(nil, family(addr))
	if err != nil {
		return "", fmt.Errorf("netif: addresses of this machine: %w", err)
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == addr {
			return nameOf(a.LinkIndex)
		}
	}
	return "", fmt.Errorf("netif: no interface has the address %v", addr)
}

// ForRoute names the interface on which packets to dst arrive here: for a
// multicast group the one its route leads out of, which is where the kernel
// would join it; for an address of this machine the one that has it.
func ForRoute(dst netip.Addr) (string, error) {
	dst = dst.Unmap()
	if dst.Zone() != "" {
		return byZone(dst)
	}
	routes, err := netlink.RouteGet(dst.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), err == nil && len(routes) == 0:
		return "", fmt.Errorf("netif: no route to %v (--interface names the one to receive on)", dst)
	case err != nil:
		return "", fmt.Errorf("netif: route to %v: %w", dst, err)
	}
	if routes[0].Type == unix.RTN_LOCAL {
		// The route of an own address leads to lo, whoever has it. Of lo, all
		// of 127.0.0.0/8 is local without being an address.
		if name, err := ByAddress(dst); err == nil {
			return name, nil
		}
	}
	return nameOf(routes[0].LinkIndex)
}

// byZone names the interface that an IPv6 address names itself.
func byZone(addr netip.Addr) (string, error) {
	if index, err := strconv.Atoi(addr.Zone()); err == nil {
		return nameOf(index)
	}
	link, err := linkByName(addr.Zone())
	if err != nil {
		return "", err
	}
	return link.Attrs().Name, nil
}

func nameOf(index int) (string, error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("netif: interface with index %d: %w", index, err)
	}
	return link.Attrs().Name, nil
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
