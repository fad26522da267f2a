// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
)

// A receiver that listens where nothing arrives is silent, and so looks like one whose
// sender is. So the plan asks, of each endpoint, whether its packets can come in where
// they are looked for.

// DiagnosisError is the error of [Open] for a configuration by which nothing could be
// received. The same finding is only a warning where something may be.
type DiagnosisError struct {
	Diagnosis ledger.Diagnosis
}

// Error is the sentence of the diagnosis, with the names of settings.
func (e *DiagnosisError) Error() string { return "speadx: " + e.Diagnosis.Sentence(nil) }

func (p *plan) find(d ledger.Diagnosis) {
	d.Queue = -1
	if !slices.ContainsFunc(p.found, func(have ledger.Diagnosis) bool {
		return have.Code == d.Code && have.Device == d.Device && have.Source == d.Source && have.Other == d.Other
	}) {
		p.found = append(p.found, d)
	}
}

// pinned reports whether only AF_XDP will do.
func (c *Config) pinned() bool { return c.Mode != ModeAuto && c.Mode != ModeUDP || c.Queues != nil }

// checkRouted looks at an endpoint for which no interface was named, where routes lead to
// the interface with that name. sockets says that only a UDP socket hears it.
func (p *plan) checkRouted(c *Config, ep netip.AddrPort, name string) (sockets bool, err error) {
	addr := ep.Addr().Unmap()
	if addr.IsMulticast() || addr.IsLoopback() {
		return false, nil
	}
	owner, err := p.machine.owner(addr)
	if err != nil {
		return false, fmt.Errorf("speadx: %w", err)
	}
	if !owner.Local {
		return false, &DiagnosisError{ledger.Diagnosis{Code: ledger.ForeignAddress, Source: ep.String(), Queue: -1, Setting: "Interfaces"}}
	}
	facts, err := p.machine.lookup(name)
	if err != nil {
		return false, fmt.Errorf("speadx: %w", err)
	}
	if !facts.Inward() {
		return false, nil
	}
	d := ledger.Diagnosis{Code: ledger.InwardAddress, Device: name, Queue: -1, Source: ep.String(), Setting: "Interfaces"}
	if c.pinned() {
		return false, &DiagnosisError{d}
	}
	if c.Mode == ModeAuto {
		p.find(d)
	}
	return true, nil
}

// checkNamed looks at an endpoint that is received on an interface for AF_XDP. An address
// may be received on another interface than its own, but mostly that is an error.
func (p *plan) checkNamed(c *Config, ep netip.AddrPort, name string) error {
	addr := ep.Addr().Unmap()
	if addr.IsMulticast() || addr.IsUnspecified() || addr.IsLoopback() {
		return nil
	}
	owner, err := p.machine.owner(addr)
	if err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	if !owner.Local {
		p.find(ledger.Diagnosis{Code: ledger.ForeignAddress, Device: name, Source: ep.String(), Setting: "Interfaces"})
		return nil
	}
	if owner.Interface == "" {
		return nil
	}
	home, err := p.machine.lookup(owner.Interface)
	if err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	if home.Inward() {
		return nil // it has to be received elsewhere
	}
	over, err := p.machine.over(owner.Interface, name)
	if err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	if over && !c.AllVLANs {
		if over, err = p.sameVLAN(owner.Interface, name); err != nil {
			return err
		}
	}
	if !over {
		p.find(ledger.Diagnosis{Code: ledger.AddressElsewhere, Device: name, Source: ep.String(), Other: owner.Interface, Setting: "Interfaces"})
	}
	return nil
}

// checkLinkType looks whether the XDP program can read the packets of an interface.
func (p *plan) checkLinkType(c *Config, ep netip.AddrPort, name string) (sockets bool, err error) {
	lowers, err := p.machine.lowers(name)
	if err != nil {
		return false, fmt.Errorf("speadx: %w", err)
	}
	for _, lower := range lowers {
		facts, err := p.machine.lookup(lower)
		if err != nil {
			return false, fmt.Errorf("speadx: %w", err)
		}
		if facts.Ethernet() {
			continue
		}
		d := ledger.Diagnosis{Code: ledger.NotEthernet, Device: lower, Queue: -1, Other: facts.LinkType, Setting: "Mode"}
		if c.pinned() {
			return false, &DiagnosisError{d}
		}
		p.find(d)
		sockets = true
	}
	return sockets, nil
}

// mastersFor are the interfaces beside the named one on which the group of an endpoint is
// joined. The network stack takes the queries of IGMP and MLD from a port of a bridge as
// packets of the bridge, so the port's own membership does not answer them.
func (p *plan) mastersFor(ep netip.AddrPort, name string) (list []planMaster, err error) {
	if !ep.Addr().IsMulticast() {
		return nil, nil
	}
	masters, err := p.machine.masters(name)
	if err != nil {
		return nil, fmt.Errorf("speadx: %w", err)
	}
	for _, m := range masters {
		why := error(nil)
		switch {
		case m.Kind == "openvswitch":
			why = errors.New("it is a switch without addresses")
		case !m.Up:
			why = errors.New("it is down")
		}
		if why != nil {
			p.find(ledger.Diagnosis{Code: ledger.GroupUnanswered, Device: name, Source: ep.String(), Other: m.Name, Err: why, Setting: "Interfaces"})
		}
		if m.Kind != "openvswitch" {
			list = append(list, planMaster{m.Index, m.Name})
		}
	}
	return list, nil
}

// joins are the interfaces on which the group of the endpoint is joined; none if it is not
// a group.
func (l *planLink) joins() []planLink {
	if !l.addr.Addr().IsMulticast() {
		return nil
	}
	list := []planLink{*l}
	for _, m := range l.masters {
		list = append(list, planLink{planEndpoint: planEndpoint{l.addr, m.ifindex}, name: m.name, part: l.name})
	}
	return list
}

// heardOn is the interface whose packets a UDP socket hears of an endpoint that is received on the
// interface with that name; 0: those of all. AF_XDP hears one interface, and so does the socket
// where the kernel says that the packets come in there. It names another one for those of a
// bridge port, a leg of a bond, or the address of a macvlan above.
func (p *plan) heardOn(c *Config, link planLink, named bool) (int, error) {
	addr := link.addr.Addr().Unmap()
	if addr.IsLinkLocalUnicast() && !addr.IsMulticast() {
		return link.ifindex, nil
	}
	masters, err := p.machine.masters(link.name)
	if err != nil {
		return 0, fmt.Errorf("speadx: %w", err)
	}
	switch {
	case addr.IsMulticast() && len(masters) > 0 && masters[len(masters)-1].Kind != "openvswitch":
		return masters[len(masters)-1].Index, nil // for IP the packets have come in there
	case addr.IsMulticast():
		return link.ifindex, nil
	case !named, c.AllVLANs, len(masters) > 0, !p.machine.bindable():
		return 0, nil
	}
	if addr.IsUnspecified() || !addr.IsValid() {
		return link.ifindex, nil
	}
	owner, err := p.machine.owner(addr)
	if err != nil {
		return 0, fmt.Errorf("speadx: %w", err)
	}
	if owner.Interface == "" || owner.Interface == link.name {
		return link.ifindex, nil
	}
	above, err := p.machine.over(owner.Interface, link.name)
	if err != nil {
		return 0, fmt.Errorf("speadx: %w", err)
	}
	if above {
		if above, err = p.sameVLAN(owner.Interface, link.name); err != nil {
			return 0, err
		}
	}
	if above {
		return 0, nil
	}
	return link.ifindex, nil
}

// shares reports whether UDP sockets of several addresses have the port of this one. AF_XDP
// tells them apart, and so do sockets that share the port.
func (p *plan) shares(addr netip.AddrPort) bool {
	for i := range p.streams {
		for _, ep := range p.streams[i].udp {
			if ep.addr.Port() == addr.Port() && ep.addr.Addr() != addr.Addr() {
				return true
			}
		}
	}
	return false
}

// unshare keeps other processes from the ports that our sockets share.
func (r *Receiver) unshare() error {
	for _, u := range r.udp {
		for i := range r.plan.streams {
			for _, ep := range r.plan.streams[i].udp {
				if err := u.Share(ep.addr.Port(), false); err != nil {
					return fmt.Errorf("speadx: %w", err)
				}
			}
		}
	}
	return nil
}

// addSocket opens the socket of one more endpoint of stream i, beside others of its port.
func (r *Receiver) addSocket(i int, ep planEndpoint) (_ source.UDPInfo, err error) {
	share := func(on bool) error {
		for _, u := range r.udp {
			if err := u.Share(ep.addr.Port(), on); err != nil {
				return err
			}
		}
		return nil
	}
	if err := share(true); err != nil {
		return source.UDPInfo{}, err
	}
	defer func() { err = errors.Join(err, share(false)) }()
	return r.streams[i].udp.Add(source.UDPEndpoint{
		Endpoint: source.Endpoint{Addr: ep.addr, Stream: int32(i)}, Interface: ep.ifindex, Shared: true,
	})
}

// vlans are those in which an endpoint of an interface of that VLAN is looked for. Where the
// tags have been taken off, its packets look as if they had none.
func (d *planDevice) vlans(of bpf.VLAN) []bpf.VLAN {
	if d.facts.HiddenTags && of != (bpf.VLAN{}) {
		return []bpf.VLAN{of, {}}
	}
	return []bpf.VLAN{of}
}

// vlanOf is the VLAN that an interface receives, and warns if others come with it.
func (p *plan) vlanOf(c *Config, name string) (vlan bpf.VLAN, err error) {
	if c.AllVLANs {
		return vlan, nil
	}
	on, err := p.machine.vlans(name)
	if err != nil {
		return vlan, fmt.Errorf("speadx: %w", err)
	}
	switch len(on.Tags) {
	case 0:
		if !on.Above {
			return vlan, nil
		}
	case 1:
		vlan.Outer = uint16(on.Tags[0])
	case 2:
		vlan.Outer, vlan.Inner = uint16(on.Tags[0]), uint16(on.Tags[1])
	default:
		return vlan, fmt.Errorf("speadx: packets of interface %s have %d VLAN tags, and the XDP program reads two (--mode udp)", name, len(on.Tags))
	}
	lowers, err := p.machine.lowers(name)
	if err != nil {
		return vlan, fmt.Errorf("speadx: %w", err)
	}
	for _, lower := range lowers {
		facts, err := p.machine.lookup(lower)
		if err != nil {
			return vlan, fmt.Errorf("speadx: %w", err)
		}
		if facts.HiddenTags {
			p.find(ledger.Diagnosis{Code: ledger.VLANTagsHidden, Device: lower, Other: name, Setting: "Mode"})
		}
	}
	return vlan, nil
}

// sameVLAN reports whether two interfaces on one device have the same packets.
func (p *plan) sameVLAN(a, b string) (bool, error) {
	onA, err := p.machine.vlans(a)
	if err != nil {
		return false, fmt.Errorf("speadx: %w", err)
	}
	onB, err := p.machine.vlans(b)
	if err != nil {
		return false, fmt.Errorf("speadx: %w", err)
	}
	return slices.Equal(onA.Tags, onB.Tags), nil
}
