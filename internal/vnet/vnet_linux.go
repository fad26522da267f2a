// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Options describe the wire. The zero value is one queue and an MTU of 9000.
type Options struct {
	Queues int // receive and transmit queues of each end; 0: 1
	MTU    int // bytes of IP packet, on both ends; 0: 9000

	// SenderQueues are the transmit queues of A, where they shall differ from
	// Queues. More of them than B has receive queues is what native XDP on B
	// refuses.
	SenderQueues int

	// RealChecksums makes A's kernel write whole UDP checksums. Otherwise it
	// leaves them to hardware that a veth does not have, and B sees frames that
	// hold only the sum of the pseudo header.
	RealChecksums bool

	// GRO switches generic receive offload on at B: without it, or an XDP program
	// there, a veth takes no frames that are redirected to it.
	GRO bool
}

func (o *Options) setDefaults() error {
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.SenderQueues == 0 {
		o.SenderQueues = o.Queues
	}
	if o.MTU == 0 {
		o.MTU = 9000
	}
	if o.Queues < 0 || o.SenderQueues < 0 {
		return fmt.Errorf("vnet: %d queues, %d of the sender", o.Queues, o.SenderQueues)
	}
	if o.MTU < 1280 || o.MTU > 65535 {
		return fmt.Errorf("vnet: MTU %d is outside 1280 to 65535", o.MTU)
	}
	return nil
}

// Net is a wire with its two ends. Its methods may be called from any goroutine,
// Close when no other is under way.
type Net struct {
	A Iface // the sender's end
	B Iface // the receiver's end
}

// Iface is one end of the wire.
type Iface struct {
	Name  string
	Index int // within its own namespace
	MAC   net.HardwareAddr
	Addr4 netip.Addr
	Addr6 netip.Addr

	ns *namespace
}

var ends = [2]Iface{
	{
		Name:  "sx-a",
		MAC:   net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Addr4: netip.AddrFrom4([4]byte{10, 77, 0, 1}),
		Addr6: netip.MustParseAddr("fd77::1"),
	},
	{
		Name:  "sx-b",
		MAC:   net.HardwareAddr{2, 0, 0, 0, 0, 2},
		Addr4: netip.AddrFrom4([4]byte{10, 77, 0, 2}),
		Addr6: netip.MustParseAddr("fd77::2"),
	},
}

// Make makes the two namespaces and the wire between them and returns when frames
// pass. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN; without them the error is an
// [os.ErrPermission]. Close gives everything back.
func Make(o Options) (_ *Net, err error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	n := &Net{A: ends[0], B: ends[1]}
	defer func() {
		if err != nil {
			_ = n.Close()
			err = fmt.Errorf("vnet: %w", err)
		}
	}()
	for _, end := range []*Iface{&n.A, &n.B} {
		if end.ns, err = newNamespace(); err != nil {
			return nil, err
		}
	}
	if err := n.makePair(o); err != nil {
		return nil, err
	}
	if err := n.A.configure(&n.B, o); err != nil {
		return nil, err
	}
	if err := n.B.configure(&n.A, o); err != nil {
		return nil, err
	}
	if o.RealChecksums {
		if err := n.A.setOffload("tx-checksum-ip-generic", false); err != nil {
			return nil, err
		}
	}
	if o.GRO {
		if err := n.B.setOffload("rx-gro", true); err != nil {
			return nil, err
		}
	}
	for _, end := range []*Iface{&n.A, &n.B} {
		if err := end.awaitUp(5 * time.Second); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Close takes the wire and its namespaces away. Functions that still run in
// them by Go keep their namespace until they return, without the wire. It is
// idempotent.
func (n *Net) Close() error {
	var errs []error
	if n.B.ns != nil && n.B.ns.fd >= 0 && n.B.Index != 0 {
		// Deleting the pair is immediate; the kernel would otherwise do it some
		// time after the last reference to the namespace.
		err := n.B.netlink(func(h *netlink.Handle) error {
			link, err := h.LinkByIndex(n.B.Index)
			if err != nil {
				return err
			}
			return h.LinkDel(link)
		})
		var gone netlink.LinkNotFoundError
		if err != nil && !errors.As(err, &gone) {
			errs = append(errs, fmt.Errorf("vnet: delete %s: %w", n.B.Name, err))
		}
	}
	for _, end := range []*Iface{&n.A, &n.B} {
		if end.ns != nil {
			errs = append(errs, end.ns.close())
		}
	}
	return errors.Join(errs...)
}

// Do runs f inside the namespace of B, the receiver: see [Iface.Do].
func (n *Net) Do(f func()) error { return n.B.Do(f) }

// Go runs f inside the namespace of B, the receiver: see [Iface.Go].
func (n *Net) Go(f func()) error { return n.B.Go(f) }

// Enter puts the calling goroutine, locked to its thread, into the namespace of
// this end until it calls leave.
func (i *Iface) Enter() (leave func(), err error) { return i.ns.enter() }

// Do runs f on the calling goroutine, locked to its thread inside the namespace
// of this end, and returns to where it was. Goroutines that f starts are not in
// the namespace, but sockets that f opens stay in it wherever they are used.
func (i *Iface) Do(f func()) error {
	leave, err := i.Enter()
	if err != nil {
		return err
	}
	defer leave()
	f()
	return nil
}

// Go runs f on a new goroutine, locked to its thread inside the namespace of this
// end. It returns once the goroutine is inside.
func (i *Iface) Go(f func()) error {
	entered := make(chan error)
	go func() {
		leave, err := i.Enter()
		entered <- err
		if err != nil {
			return
		}
		defer leave()
		f()
	}()
	return <-entered
}

// netlink runs f with a netlink handle of this end's namespace.
func (i *Iface) netlink(f func(*netlink.Handle) error) error {
	var h *netlink.Handle
	var err error
	if nsErr := i.Do(func() { h, err = netlink.NewHandle(unix.NETLINK_ROUTE) }); nsErr != nil {
		return nsErr
	}
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	return f(h)
}

// makePair makes the wire, from B's side.
func (n *Net) makePair(o Options) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.B.Name
	attrs.HardwareAddr = n.B.MAC
	attrs.MTU = o.MTU
	// Queues can only be chosen here: a veth cannot be given more of them later.
	attrs.NumRxQueues = o.Queues
	attrs.NumTxQueues = o.Queues
	veth := netlink.NewVeth(attrs)
	veth.PeerName = n.A.Name
	veth.PeerHardwareAddr = n.A.MAC
	veth.PeerMTU = uint32(o.MTU)
	veth.PeerNumRxQueues = uint32(o.Queues)
	veth.PeerNumTxQueues = uint32(o.SenderQueues)
	veth.PeerNamespace = netlink.NsFd(n.A.ns.fd)
	return n.B.netlink(func(h *netlink.Handle) error {
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("make a veth pair: %w", err)
		}
		return nil
	})
}

// configure brings the end up with its addresses, its neighbour and lo.
func (i *Iface) configure(peer *Iface, o Options) error {
	return i.netlink(func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		if err := h.LinkSetUp(lo); err != nil {
			return fmt.Errorf("set lo up: %w", err)
		}
		link, err := h.LinkByName(i.Name)
		if err != nil {
			return fmt.Errorf("find %s: %w", i.Name, err)
		}
		i.Index = link.Attrs().Index
		if got := link.Attrs().MTU; got != o.MTU {
			return fmt.Errorf("%s has MTU %d instead of %d", i.Name, got, o.MTU)
		}
		// Without ARP the kernel joins no solicited-node groups either, so it has
		// no multicast memberships to report.
		if err := h.LinkSetARPOff(link); err != nil {
			return fmt.Errorf("switch ARP off on %s: %w", i.Name, err)
		}
		if err := h.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE); err != nil {
			return fmt.Errorf("switch link-local addresses off on %s: %w", i.Name, err)
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", i.Name, err)
		}
		for _, p := range []netip.Prefix{netip.PrefixFrom(i.Addr4, 24), netip.PrefixFrom(i.Addr6, 64)} {
			addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
			if err := h.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("give %s the address %v: %w", i.Name, p, err)
			}
		}
		for _, a := range []netip.Addr{peer.Addr4, peer.Addr6} {
			neigh := &netlink.Neigh{
				LinkIndex: i.Index, State: netlink.NUD_PERMANENT,
				IP: a.AsSlice(), HardwareAddr: peer.MAC,
			}
			if err := h.NeighSet(neigh); err != nil {
				return fmt.Errorf("tell %s where %v is: %w", i.Name, a, err)
			}
		}
		// By default to the wire: sends multicast there, and lets a strict reverse
		// path filter accept frames from any source.
		everything := ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
		if err := h.RouteAdd(&netlink.Route{LinkIndex: i.Index, Scope: netlink.SCOPE_LINK, Dst: everything}); err != nil {
			return fmt.Errorf("route everything to %s: %w", i.Name, err)
		}
		return nil
	})
}

// setOffload switches an offload, by its ethtool name, on or off.
func (i *Iface) setOffload(name string, on bool) (err error) {
	change := func() {
		var tool *ethtool.Ethtool
		if tool, err = ethtool.NewEthtool(); err == nil {
			defer tool.Close()
			err = tool.Change(i.Name, map[string]bool{name: on})
		}
	}
	if err := i.Do(change); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("set offload %s of %s to %v: %w", name, i.Name, on, err)
	}
	return nil
}

// awaitUp waits for what the kernel puts off. Until its link watch has seen the carrier, the
// interface has no real transmit queue, and frames vanish without an error. Until its IPv6
// work has run, the address takes no packets.
func (i *Iface) awaitUp(limit time.Duration) error {
	return i.netlink(func(h *netlink.Handle) error {
		for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
			link, err := h.LinkByIndex(i.Index)
			if err != nil {
				return fmt.Errorf("find %s: %w", i.Name, err)
			}
			routes, err := h.RouteGet(i.Addr6.AsSlice())
			if err != nil && !errors.Is(err, unix.ENETUNREACH) {
				return fmt.Errorf("find the route to %v: %w", i.Addr6, err)
			}
			local := err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
			if link.Attrs().OperState == netlink.OperUp && local {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is not ready after %v: it is %v, its route to %v is %v",
					i.Name, limit, link.Attrs().OperState, i.Addr6, routes)
			}
		}
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
