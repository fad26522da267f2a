// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Owner says whose an address is.
type Owner struct {
	// Local says that this machine takes packets to it: it is an address of an interface,
	// of a network that is local as a whole, or a broadcast address.
	Local bool
	// Interface is the interface that has the address; "" if none has.
	Interface string
}

// OwnerOf says whose an address is that is not a group.
func OwnerOf(addr netip.Addr) (Owner, error) {
	addr = addr.Unmap()
	list, err := netlink.AddrList(nil, family(addr))
	if err != nil {
		return Owner{}, fmt.Errorf("netif: addresses of this machine: %w", err)
	}
	zone := ""
	if addr.Zone() != "" {
		if zone, err = byZone(addr); err != nil {
			return Owner{}, err
		}
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); !ok || ip.Unmap() != addr.WithZone("") {
			continue
		}
		name, err := nameOf(a.LinkIndex)
		if err != nil {
			return Owner{}, err
		}
		if zone == "" || zone == name {
			return Owner{Local: true, Interface: name}, nil
		}
	}
	if zone != "" {
		return Owner{}, nil
	}
	routes, err := netlink.RouteGet(addr.AsSlice())
	if err != nil || len(routes) == 0 {
		return Owner{}, nil // no route leads there: nobody's, for all that is known here
	}
	return Owner{Local: routes[0].Type == unix.RTN_LOCAL || routes[0].Type == unix.RTN_BROADCAST}, nil
}

// Ethernet says that the interface's packets begin with an Ethernet header, as the XDP
// program expects. Tunnels of IP packets (tun, WireGuard, GRE, IPIP), PPP and InfiniBand
// have others, or none.
func (i *Interface) Ethernet() bool { return i.LinkType == "ether" || i.LinkType == "loopback" }

// Inward says that no packet ever comes in on the interface from outside: lo and dummies,
// which hold addresses that are reached through any other interface.
func (i *Interface) Inward() bool { return i.LinkType == "loopback" || i.Kind == "dummy" }

// Masters are the interfaces of which the named one is a part, from the nearest on:
// the bridge of a port, the bond of a leg. For IP, packets that the network stack takes
// from such a part have come in on its master. So the master has to answer the queries of
// IGMP and MLD.
func Masters(name string) ([]*Interface, error) {
	link, err := linkByName(name)
	if err != nil {
		return nil, err
	}
	var masters []*Interface
	for range maxStack {
		index := link.Attrs().MasterIndex
		if index == 0 {
			return masters, nil
		}
		if link, err = netlink.LinkByIndex(index); err != nil {
			if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
				return masters, nil // it was taken away meanwhile
			}
			return nil, fmt.Errorf("netif: master of %s: %w", name, err)
		}
		if kind := link.Type(); kind == "vrf" {
			continue // a table of routes: IP is at home in its parts
		}
		attrs := link.Attrs()
		masters = append(masters, &Interface{
			Name: attrs.Name, Index: attrs.Index, Kind: link.Type(), LinkType: attrs.EncapType,
			Up: attrs.RawFlags&unix.IFF_UP != 0, Carrier: attrs.RawFlags&unix.IFF_LOWER_UP != 0, Node: -1,
		})
	}
	return masters, nil
}

// Over reports whether the packets of the interface upper pass the interface lower. They do
// if upper is lower, or a VLAN, bond, bridge or macvlan that lies on it, also over others.
func Over(upper, lower string) (bool, error) {
	top, err := linkByName(upper)
	if err != nil {
		return false, err
	}
	all, err := netlink.LinkList()
	if err != nil {
		return false, fmt.Errorf("netif: devices under %s: %w", upper, err)
	}
	level := []netlink.Link{top}
	for range maxStack {
		if slices.ContainsFunc(level, func(l netlink.Link) bool {
			return l.Attrs().Name == lower || slices.Contains(l.Attrs().AltNames, lower)
		}) {
			return true, nil
		}
		var next []netlink.Link
		for _, l := range level {
			next = append(next, parts(l, all)...)
		}
		if len(next) == 0 {
			return false, nil
		}
		level = next
	}
	return false, nil
}

// parts are all links that lie directly under l, as members or as its parent.
func parts(l netlink.Link, all []netlink.Link) (list []netlink.Link) {
	attrs := l.Attrs()
	for _, m := range all {
		switch {
		case m.Attrs().MasterIndex == attrs.Index:
			list = append(list, m)
		case l.Type() != "veth" && attrs.ParentIndex != 0 && m.Attrs().Index == attrs.ParentIndex && attrs.NetNsID < 0:
			list = append(list, m)
		}
	}
	return list
}

// VLANs says which packets of the devices at its bottom belong to an interface.
type VLANs struct {
	Tags  []int // ids of their tags, the outer one first; none for an interface of no VLAN
	Above bool  // VLAN interfaces lie directly on it
}

// VLANsOf follows an interface of a VLAN down to the devices that [Lowers] names.
func VLANsOf(name string) (v VLANs, err error) {
	link, err := linkByName(name)
	if err != nil {
		return v, err
	}
	all, err := netlink.LinkList()
	if err != nil {
		return v, fmt.Errorf("netif: devices under %s: %w", name, err)
	}
	return vlansOf(link, all), nil
}

func vlansOf(link netlink.Link, all []netlink.Link) (v VLANs) {
	for _, l := range all {
		if vlan, ok := l.(*netlink.Vlan); ok && vlan.ParentIndex == link.Attrs().Index && vlan.NetNsID < 0 {
			v.Above = true
		}
	}
	for range maxStack {
		if vlan, ok := link.(*netlink.Vlan); ok {
			v.Tags = slices.Insert(v.Tags, 0, vlan.VlanId)
		}
		lower := under(link, all)
		if !isStacked(link) || len(lower) == 0 {
			return v
		}
		link = lower[0]
	}
	return v
}

// hidesTags reports whether an interface may give its packets to an XDP program without
// their VLAN tags. NICs take them off unless rxvlan is off. What comes over a veth may have
// lost them at the sender's end, and what comes over a bridge or macvlan, in the kernel.
func hidesTags(name, kind string) bool {
	switch kind {
	case "veth", "bridge", "macvlan", "macvtap", "ipvlan", "openvswitch", "vxlan", "geneve":
		return true
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return true
	}
	defer e.Close()
	features, err := e.Features(name)
	return err != nil || features["rx-vlan-hw-parse"]
}
