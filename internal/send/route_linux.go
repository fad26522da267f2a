// SPDX-License-Identifier: Apache-2.0

package send

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// neighbourWait is how long the resolution of a neighbour's Ethernet address
// may take: longer than the kernel's own three tries.
const neighbourWait = 3500 * time.Millisecond

// path is how frames to one destination leave.
type path struct {
	link netlink.Link
	src  netip.Addr
	mac  net.HardwareAddr // of the next hop, or of the group
}

// findPath asks the kernel for the way to dest, out of the interface and with
// the source address of c if there are any.
func findPath(c *Config, dest netip.Addr) (*path, error) {
	var options netlink.RouteGetOptions
	options.Oif = c.Interface
	if c.Interface == "" && dest.Zone() != "" {
		options.Oif = dest.Zone()
	}
	if c.Bind.IsValid() {
		options.SrcAddr = c.Bind.AsSlice()
	}
	routes, err := netlink.RouteGetWithOptions(dest.AsSlice(), &options)
	if err == nil && len(routes) == 0 {
		err = errors.New("no route")
	}
	if err != nil {
		return nil, fmt.Errorf("route to %v: %w", dest, err)
	}
	route := routes[0]
	p := &path{}
	if p.link, err = netlink.LinkByIndex(route.LinkIndex); err != nil {
		return nil, fmt.Errorf("interface of the route to %v: %w", dest, err)
	}
	attrs := p.link.Attrs()
	if attrs.EncapType != "ether" && attrs.EncapType != "loopback" {
		return nil, fmt.Errorf("interface %s is not Ethernet but %s", attrs.Name, attrs.EncapType)
	}
	p.src = c.Bind
	if !p.src.IsValid() {
		src, ok := netip.AddrFromSlice(route.Src)
		if !ok {
			return nil, fmt.Errorf("interface %s has no source address for %v (give one)", attrs.Name, dest)
		}
		p.src = src.Unmap()
	}

	nextHop := dest
	if gateway, ok := netip.AddrFromSlice(route.Gw); ok {
		nextHop = gateway.Unmap()
	}
	switch {
	case dest.IsMulticast():
		p.mac = multicastMAC(dest)
	case attrs.Flags&net.FlagLoopback != 0:
		p.mac = make(net.HardwareAddr, 6)
	default:
		p.mac, err = neighbour(attrs.Index, nextHop, neighbourWait)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", attrs.Name, err)
		}
	}
	return p, nil
}

// framePaths finds the ways to all destinations, for an engine that makes Ethernet
// frames: out of one interface and in one family.
func framePaths(c *Config) ([]*path, error) {
	var paths []*path
	for _, dest := range c.Destinations {
		p, err := findPath(c, dest.Addr())
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
		first := paths[0]
		if p == first {
			if err := checkMTU(c, dest.Addr().Is4(), p.link.Attrs().MTU, p.link.Attrs().Name); err != nil {
				return nil, err
			}
		}
		if p.link.Attrs().Index != first.link.Attrs().Index || p.src.Is4() != first.src.Is4() {
			return nil, fmt.Errorf("engine %v sends out of one interface and in one family, but %v is reached from %v over %s and %v from %v over %s",
				c.Engine, c.Destinations[0].Addr(), first.src, first.link.Attrs().Name, dest.Addr(), p.src, p.link.Attrs().Name)
		}
	}
	return paths, nil
}

// frameHeader is that of the packets from a port to dest.
func (p *path) frameHeader(c *Config, port uint16, dest netip.AddrPort) *frameHeader {
	hops := c.TTL
	if hops == 0 {
		hops = 64
		if dest.Addr().IsMulticast() {
			hops = 1
		}
	}
	return newFrameHeader(p.link.Attrs().HardwareAddr, p.mac, netip.AddrPortFrom(p.src, port), dest, hops)
}

// neighbour gives the Ethernet address of a host on the link. If the kernel
// does not know it, it is told to ask.
func neighbour(linkIndex int, addr netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	family := netlink.FAMILY_V6
	if addr.Is4() {
		family = netlink.FAMILY_V4
	}
	const usable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY |
		netlink.NUD_PROBE | netlink.NUD_PERMANENT | netlink.NUD_NOARP
	const pause = 20 * time.Millisecond
	for asked := false; ; wait -= pause {
		neighbours, err := netlink.NeighList(linkIndex, family)
		if err != nil {
			return nil, fmt.Errorf("neighbour %v: %w", addr, err)
		}
		for _, n := range neighbours {
			if n.IP.Equal(addr.AsSlice()) && n.State&usable != 0 && len(n.HardwareAddr) == 6 {
				return n.HardwareAddr, nil
			}
		}
		if wait <= 0 {
			return nil, fmt.Errorf("neighbour %v does not answer (is it up, and on this link?)", addr)
		}
		if !asked {
			asked = true
			ask := &netlink.Neigh{LinkIndex: linkIndex, Family: family, IP: addr.AsSlice(), Flags: netlink.NTF_USE}
			if err := netlink.NeighSet(ask); err != nil {
				return nil, fmt.Errorf("asking for neighbour %v: %w", addr, err)
			}
		}
		time.Sleep(pause)
	}
}
