// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"net/netip"
)

// Endpoint is a destination of packets and the stream it belongs to. An
// unspecified or invalid address stands for every address.
type Endpoint struct {
	Addr   netip.AddrPort
	Stream int32
}

// String is the address and port, ":7148" for any address.
func (e Endpoint) String() string {
	if isAny(e.Addr.Addr()) {
		return fmt.Sprintf(":%d", e.Addr.Port())
	}
	return e.Addr.String()
}

// Endpoints finds the stream of a destination. It never changes and may be used
// by any number of goroutines.
type Endpoints struct {
	exact   map[netip.AddrPort]int32
	anyAddr map[uint16]int32 // by port
}

// NewEndpoints refuses a destination that stands twice in list.
func NewEndpoints(list []Endpoint) (*Endpoints, error) {
	e := &Endpoints{exact: make(map[netip.AddrPort]int32), anyAddr: make(map[uint16]int32)}
	for _, p := range list {
		port := p.Addr.Port()
		if isAny(p.Addr.Addr()) {
			if _, ok := e.anyAddr[port]; ok {
				return nil, fmt.Errorf("endpoint %v stands twice", p)
			}
			e.anyAddr[port] = p.Stream
			continue
		}
		addr := canonical(p.Addr)
		if _, ok := e.exact[addr]; ok {
			return nil, fmt.Errorf("endpoint %v stands twice", p)
		}
		e.exact[addr] = p.Stream
	}
	return e, nil
}

// Lookup is the stream of packets to dst: that of the endpoint with this
// address and port, else of the one with this port and any address.
func (e *Endpoints) Lookup(dst netip.AddrPort) (stream int32, ok bool) {
	if stream, ok = e.exact[dst]; !ok {
		stream, ok = e.anyAddr[dst.Port()]
	}
	return stream, ok
}

// lookup is Endpoints with a memory of one, for one goroutine: packets come in
// trains to one destination, and comparing costs less than hashing. Without
// Endpoints every destination belongs to stream.
type lookup struct {
	endpoints *Endpoints
	last      netip.AddrPort
	stream    int32
	ok        bool
}

func newLookup(e *Endpoints, stream int32) lookup {
	return lookup{endpoints: e, stream: stream, ok: e == nil}
}

func (l *lookup) find(dst netip.AddrPort) (stream int32, ok bool) {
	if l.endpoints != nil && dst != l.last {
		l.last = dst
		l.stream, l.ok = l.endpoints.Lookup(dst)
	}
	return l.stream, l.ok
}

func isAny(a netip.Addr) bool { return !a.IsValid() || a.Unmap().IsUnspecified() }

// canonical is an address as it stands in a packet: IPv4 as such, and without
// the zone that says where the packet comes in.
func canonical(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
