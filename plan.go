// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/ledger"
)

// plan is what Open will open: the sources of all streams, sorted by the way
// their packets come.
type plan struct {
	machine resolver
	streams []planStream
	devices []*planDevice // to attach to, in the order they were named
	joins   []planLink    // groups to join for the devices, on the interfaces that were named
	notes   []string      // why something does not go the best way
	found   []ledger.Diagnosis
	refused []RefusedDevice
}

// resolver is what a plan asks the machine about its interfaces: package netif.
// Tests have machines with other interfaces.
type resolver struct {
	lookup   func(name string) (*netif.Interface, error)
	lowers   func(name string) ([]string, error)
	masters  func(name string) ([]*netif.Interface, error)
	over     func(upper, lower string) (bool, error)
	vlans    func(name string) (netif.VLANs, error)
	forRoute func(netip.Addr) (string, error)
	owner    func(netip.Addr) (netif.Owner, error)
	bindable func() bool
}

var thisMachine = resolver{netif.Lookup, netif.Lowers, netif.Masters, netif.Over, netif.VLANsOf, netif.ForRoute, netif.OwnerOf, netif.Bindable}

// planStream is one stream.
type planStream struct {
	name    string
	spare   bool // it has no sources yet
	files   []planFile
	tcp     []netip.AddrPort                  // listened on, for a connection each
	udp     []planEndpoint                    // received on UDP sockets
	links   map[int]string                    // interfaces that the latter come in on, by index
	watched map[netip.AddrPort]map[int]string // those of each address
	devices []*planDevice                     // that carry the others
	xdp     []planLink                        // the others, on the interfaces that were named
}

// planFile is a capture, and what of it is wanted.
type planFile struct {
	path      string
	endpoints []netip.AddrPort // none: all
	vlan      int              // -1: any
}

// live reports whether packets come from a network that does not wait for us. A file
// waits, and so does the sender of a TCP connection.
func (s *planStream) live() bool { return s.hasSockets() || len(s.devices) > 0 }

// queues is how many queues of AF_XDP feed the stream.
func (s *planStream) queues() (n int) {
	for _, d := range s.devices {
		n += d.queues
	}
	return n
}

// threads is how many threads feed the stream: one for each queue and
// connection, one for all files, and one for all UDP sockets.
func (s *planStream) threads() int {
	n := s.queues() + min(len(s.files), 1) + len(s.tcp)
	if s.hasSockets() {
		n++
	}
	return n
}

// hasSockets reports whether a source of UDP sockets feeds the stream. A spare stream has one
// where nothing comes over AF_XDP.
func (s *planStream) hasSockets() bool {
	return len(s.udp) > 0 || s.spare && len(s.devices) == 0
}

// planEndpoint is an address and port, and the interface it belongs to.
type planEndpoint struct {
	addr    netip.AddrPort
	ifindex int // 0: the kernel's choice
}

// planLink is an endpoint and the name of its interface: that which was named, or
// which was found for it. Its packets may come in on devices below that.
type planLink struct {
	planEndpoint
	name    string
	heard   int          // the interface whose packets a UDP socket would hear; 0: all
	vlan    bpf.VLAN     // that the interface is of
	masters []planMaster // of a group: where it is joined too
	part    string       // of a master: the part of it that was named
}

// planMaster is an interface that another one is a part of.
type planMaster struct {
	ifindex int
	name    string
}

// planDevice is a network device that an XDP program goes on. It sees the packets of
// all interfaces that lie on the device, and has one endpoint for each destination.
type planDevice struct {
	facts     *netif.Interface
	endpoints []planDeviceEndpoint
	allVLANs  bool  // tags are overlooked
	asked     []int // queues that were asked for; none: all
	queues    int   // how many there are of them; attaching the program may change that
	frames    int   // of each queue
}

type planDeviceEndpoint struct {
	addr   netip.AddrPort
	stream int
	vlan   bpf.VLAN // zero: without a tag
}

// same reports whether two endpoints are one in the packets of a device.
func (e planDeviceEndpoint) same(o planDeviceEndpoint) bool {
	return e.stream == o.stream && e.vlan == o.vlan && inPacket(e.addr) == inPacket(o.addr)
}

// makePlan resolves the streams of a configuration. It opens nothing.
func makePlan(c *Config, machine resolver) (*plan, error) {
	p := &plan{machine: machine}
	type destination struct {
		netip.AddrPort
		tcp bool
	}
	seen := map[destination]string{}
	for i := range c.Streams {
		s := &c.Streams[i]
		ps := planStream{name: s.Name}
		interfaces := s.Interfaces
		if len(interfaces) == 0 {
			interfaces = c.Interfaces
		}
		for _, text := range append([]string{s.Source}, s.Sources...) {
			if ps.name == "" {
				ps.name = text
			}
			src, err := ParseSource(text)
			if err != nil {
				return nil, fmt.Errorf("speadx: %w", err)
			}
			if src.File != "" {
				ps.files = append(ps.files, planFile{src.File, src.Endpoints, src.VLAN})
				continue
			}
			for _, ep := range src.Endpoints {
				d := destination{ep, src.TCP}
				if other, ok := seen[d]; ok {
					return nil, fmt.Errorf("speadx: %v is received by source %s already, and a packet belongs to one stream", ep, other)
				}
				seen[d] = text
				if src.TCP {
					ps.tcp = append(ps.tcp, ep)
					continue
				}
				if err := p.addEndpoint(c, &ps, i, ep, interfaces); err != nil {
					return nil, err
				}
			}
		}
		p.streams = append(p.streams, ps)
	}
	for i := range c.SpareStreams {
		p.streams = append(p.streams, planStream{name: fmt.Sprintf("spare stream %d", i+1), spare: true, devices: slices.Clone(p.devices)})
	}
	for _, d := range p.devices {
		d.allVLANs = c.AllVLANs
		if err := d.size(c); err != nil {
			return nil, fmt.Errorf("speadx: %w", err)
		}
	}
	return p, nil
}

// addEndpoint finds the interfaces on which an endpoint's packets come in.
func (p *plan) addEndpoint(c *Config, s *planStream, stream int, ep netip.AddrPort, interfaces []string) error {
	named := len(interfaces) > 0
	if !named {
		if ep.Addr().IsUnspecified() {
			if c.Mode != ModeAuto && c.Mode != ModeUDP {
				return fmt.Errorf("speadx: source :%d names no interface for mode %v (--interface)", ep.Port(), c.Mode)
			}
			if c.Mode == ModeAuto {
				p.notes = append(p.notes, fmt.Sprintf("source :%d names neither an address nor an interface, so it uses a UDP socket (--interface for AF_XDP)", ep.Port()))
			}
			s.udp = append(s.udp, planEndpoint{addr: ep})
			return nil
		}
		name, err := p.machine.forRoute(ep.Addr())
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		if sockets, err := p.checkRouted(c, ep, name); err != nil {
			return err
		} else if sockets {
			s.udp = append(s.udp, planEndpoint{addr: ep})
			return nil
		}
		interfaces = []string{name}
	}
	for _, name := range interfaces {
		facts, err := p.machine.lookup(name)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		if !facts.Up {
			return fmt.Errorf("speadx: interface %s is down (ip link set %s up)", name, name)
		}
		link := planLink{planEndpoint: planEndpoint{ep, facts.Index}, name: name}
		if link.heard, err = p.heardOn(c, link, named); err != nil {
			return err
		}
		if c.Mode == ModeUDP {
			s.addUDP(link)
			continue
		}
		if err := p.checkNamed(c, ep, name); err != nil {
			return err
		}
		if sockets, err := p.checkLinkType(c, ep, name); err != nil {
			return err
		} else if sockets {
			s.addUDP(link)
			continue
		}
		if slices.ContainsFunc(s.xdp, func(l planLink) bool { return l.planEndpoint == link.planEndpoint }) {
			continue // the interface was named twice
		}
		if link.masters, err = p.mastersFor(ep, name); err != nil {
			return err
		}
		if link.vlan, err = p.vlanOf(c, name); err != nil {
			return err
		}
		s.xdp = append(s.xdp, link)
		p.addJoin(link)
		lowers, err := p.machine.lowers(name)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		for _, lower := range lowers {
			d, err := p.device(lower)
			if err != nil {
				return err
			}
			for _, vlan := range d.vlans(link.vlan) {
				d.addEndpoint(planDeviceEndpoint{ep, stream, vlan})
			}
			if !slices.Contains(s.devices, d) {
				s.devices = append(s.devices, d)
			}
		}
	}
	return nil
}

// addJoin adds the group of an endpoint, if it is one, to those to join.
func (p *plan) addJoin(link planLink) {
	group := link.addr.Addr()
	for _, on := range link.joins() {
		if !slices.ContainsFunc(p.joins, func(l planLink) bool { return l.addr.Addr() == group && l.ifindex == on.ifindex }) {
			p.joins = append(p.joins, on)
		}
	}
}

// addEndpoint adds an endpoint unless the device has it, for another interface that
// lies on the device.
func (d *planDevice) addEndpoint(e planDeviceEndpoint) {
	if !slices.ContainsFunc(d.endpoints, e.same) {
		d.endpoints = append(d.endpoints, e)
	}
}

// inPacket is an address as a packet has it: IPv4 as such, and without a zone.
func inPacket(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// addUDP adds an endpoint to be received on a socket.
func (s *planStream) addUDP(link planLink) {
	if s.links == nil {
		s.links, s.watched = map[int]string{}, map[netip.AddrPort]map[int]string{}
	}
	s.links[link.ifindex] = link.name
	if s.watched[link.addr] == nil {
		s.watched[link.addr] = map[int]string{}
	}
	s.watched[link.addr][link.ifindex] = link.name
	ep := link.planEndpoint
	ep.ifindex = link.heard
	if ep.ifindex == 0 { // it hears all that the others do
		s.udp = slices.DeleteFunc(s.udp, func(o planEndpoint) bool { return o.addr == ep.addr })
	} else if slices.Contains(s.udp, planEndpoint{addr: ep.addr}) {
		return
	}
	if !slices.Contains(s.udp, ep) {
		s.udp = append(s.udp, ep)
	}
}

// device is the device of that name, looked up once.
func (p *plan) device(name string) (*planDevice, error) {
	for _, d := range p.devices {
		if d.facts.Name == name {
			return d, nil
		}
	}
	facts, err := p.machine.lookup(name)
	if err != nil {
		return nil, fmt.Errorf("speadx: %w", err)
	}
	d := &planDevice{facts: facts}
	p.devices = append(p.devices, d)
	return d, nil
}

// useSockets makes everything that was to come over AF_XDP come over UDP
// sockets, on the interfaces that were named.
func (p *plan) useSockets() {
	for i := range p.streams {
		s := &p.streams[i]
		for _, link := range s.xdp {
			s.addUDP(link)
		}
		s.xdp, s.devices = nil, nil
	}
	p.devices, p.joins = nil, nil // a socket joins its group itself
}

// node is the NUMA node near the devices, -1 if there is no such one.
func (p *plan) node() int {
	for _, d := range p.devices {
		if d.facts.Node >= 0 {
			return d.facts.Node
		}
	}
	return -1
}
