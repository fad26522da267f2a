//go:build linux

package speadx

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/internal/netif"
)

// plan is what Open will open: the sources of all streams, sorted by the way
// their packets come.
type plan struct {
	streams []planStream
	devices []*planDevice // to attach to, in the order they were named
	notes   []string      // why something does not go the best way
	refused []RefusedDevice
}

// planStream is one stream.
type planStream struct {
	name    string
	files   []string
	tcp     []netip.AddrPort // listened on, for a connection each
	udp     []planEndpoint   // received on UDP sockets
	links   map[int]string   // interfaces that the latter come in on, by index
	devices []*planDevice    // that carry the others
}

// live says whether packets come from a network that does not wait for us. A file
// waits, and so does the sender of a TCP connection.
func (s *planStream) live() bool { return len(s.udp)+len(s.devices) > 0 }

// planEndpoint is an address and port, and the interface it belongs to.
type planEndpoint struct {
	addr    netip.AddrPort
	ifindex int // 0: the kernel's choice
}

// planDevice is a network device that an XDP program goes on.
type planDevice struct {
	facts     *netif.Interface
	endpoints []planDeviceEndpoint
	joins     []planEndpoint // groups to join, on the interface that was named
}

type planDeviceEndpoint struct {
	planEndpoint
	stream int
}

// makePlan resolves the streams of a configuration. It opens nothing.
func makePlan(c *Config) (*plan, error) {
	p := &plan{}
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
				ps.files = append(ps.files, src.File)
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
	return p, nil
}

// addEndpoint finds the interfaces on which an endpoint's packets come in.
func (p *plan) addEndpoint(c *Config, s *planStream, stream int, ep netip.AddrPort, interfaces []string) error {
	if len(interfaces) == 0 {
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
		name, err := netif.ForRoute(ep.Addr())
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		if a := ep.Addr(); !a.IsMulticast() && !a.IsLoopback() {
			if _, err := netif.ByAddress(a); err != nil {
				p.notes = append(p.notes, fmt.Sprintf("%v is no address of this machine: a sender's packets to it may not come this way", a))
			}
		}
		interfaces = []string{name}
	}
	for _, name := range interfaces {
		facts, err := netif.Lookup(name)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		if !facts.Up {
			return fmt.Errorf("speadx: interface %s is down (ip link set %s up)", name, name)
		}
		if c.Mode == ModeUDP {
			s.addUDP(planEndpoint{ep, facts.Index}, name)
			continue
		}
		lowers, err := netif.Lowers(name)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		for i, lower := range lowers {
			d, err := p.device(lower)
			if err != nil {
				return err
			}
			e := planDeviceEndpoint{planEndpoint{ep, facts.Index}, stream}
			if slices.Contains(d.endpoints, e) {
				continue // the interface was named twice
			}
			d.endpoints = append(d.endpoints, e)
			if i == 0 && ep.Addr().IsMulticast() {
				d.joins = append(d.joins, e.planEndpoint)
			}
			if !slices.Contains(s.devices, d) {
				s.devices = append(s.devices, d)
			}
		}
	}
	return nil
}

// addUDP adds an endpoint to be received on a socket. One socket serves an
// address that is no group on every interface.
func (s *planStream) addUDP(ep planEndpoint, link string) {
	if s.links == nil {
		s.links = map[int]string{}
	}
	s.links[ep.ifindex] = link
	if a := ep.addr.Addr(); !a.IsMulticast() && !a.IsLinkLocalUnicast() {
		ep.ifindex = 0
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
	facts, err := netif.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("speadx: %w", err)
	}
	d := &planDevice{facts: facts}
	p.devices = append(p.devices, d)
	return d, nil
}

// useSockets makes everything that was to come over AF_XDP come over UDP
// sockets.
func (p *plan) useSockets() {
	for _, d := range p.devices {
		for _, ep := range d.endpoints {
			p.streams[ep.stream].addUDP(ep.planEndpoint, d.facts.Name)
		}
	}
	for i := range p.streams {
		p.streams[i].devices = nil
	}
	p.devices = nil
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
