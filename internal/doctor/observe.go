// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/speadx/speadx/internal/frame"
	"github.com/speadx/speadx/spead"
)

// Bounds of what is kept of a source.
const (
	maxSenders = 64
	maxHeaps   = 4096
)

// observer sorts the packets of one device by source and looks at them. It belongs to one
// goroutine.
type observer struct {
	exact map[netip.AddrPort][]*sight
	any   map[uint16][]*sight
}

// sight is what is seen of one source on one interface.
type sight struct {
	*Traffic
	senders map[netip.AddrPort]int
	heaps   map[uint64]netip.AddrPort // who sent a packet of that heap first
}

func newObserver() *observer {
	return &observer{map[netip.AddrPort][]*sight{}, map[uint16][]*sight{}}
}

func newSight(t *Traffic) *sight {
	return &sight{t, map[netip.AddrPort]int{}, map[uint64]netip.AddrPort{}}
}

// add makes the observer look for the endpoints of a source.
func (o *observer) add(s *sight) {
	for _, ep := range s.Endpoints {
		if a := ep.Addr(); a.IsUnspecified() {
			o.any[ep.Port()] = append(o.any[ep.Port()], s)
		} else {
			k := netip.AddrPortFrom(a.Unmap().WithZone(""), ep.Port())
			o.exact[k] = append(o.exact[k], s)
		}
	}
}

// packet looks at a packet.
//
//	first  the bytes at hand, from the Ethernet header on
//	size   bytes of the whole packet
//	vlan   the id of a tag that the kernel took out, or -1
//	queue  the receive queue, or -1 if it is not known
func (o *observer) packet(first []byte, size, vlan, queue int) {
	if vlan < 0 && len(first) >= 18 {
		if t := binary.BigEndian.Uint16(first[12:]); t == frame.TypeVLAN || t == frame.TypeSVLAN {
			vlan = int(binary.BigEndian.Uint16(first[14:]) & 0xfff)
		}
	}
	var d frame.Datagram
	switch frame.Parse(first, max(size, len(first)), &d) {
	case frame.OK:
		o.each(d.Dst, func(s *sight) { s.datagram(&d, first[d.Offset:], vlan, queue) })
	case frame.Fragment:
		if d.Dst.IsValid() { // later fragments do not tell their port
			o.each(d.Dst, func(s *sight) { s.Fragments++ })
		}
	}
}

func (o *observer) each(to netip.AddrPort, f func(*sight)) {
	for _, s := range o.exact[to] {
		f(s)
	}
	for _, s := range o.any[to.Port()] {
		f(s)
	}
}

// datagram counts the packets of a datagram. payload are the bytes of it at hand.
//
// A datagram is one packet, or a train of them. GRO joins packets, and so does the kernel
// of a sender on this machine. A packet socket sees the train as one. A packet that ends
// where another seems to begin is one of a train, as in recv.
func (s *sight) datagram(d *frame.Datagram, payload []byte, vlan, queue int) {
	payload = payload[:min(len(payload), d.Len)]
	for left := d.Len; ; {
		var p spead.Packet
		reason := p.Decode(payload, left)
		size := left
		if n := p.Size(); reason == spead.OK && n < left {
			if n+2 <= len(payload) && binary.BigEndian.Uint16(payload[n:]) == speadMagic {
				size = n
			} else {
				reason = spead.SizeMismatch
			}
		}
		s.packet(d, &p, reason, size, vlan, queue)
		if left -= size; left == 0 {
			return
		}
		payload = payload[size:]
	}
}

// speadMagic is how each SPEAD packet begins: magic and version.
const speadMagic = 0x5304

// packet counts one packet of size bytes; p is what its headers say, if the reason is OK.
func (s *sight) packet(d *frame.Datagram, p *spead.Packet, reason spead.Reason, size, vlan, queue int) {
	if s.Packets == 0 || size < s.MinPacket {
		s.MinPacket = size
	}
	s.MaxPacket = max(s.MaxPacket, size)
	s.Packets++
	s.Bytes += uint64(size)
	if vlan >= 0 {
		bump(&s.VLANs, vlan)
	}
	if queue >= 0 {
		bump(&s.Queues, queue)
	} else {
		s.NoQueue++
	}
	s.from(d, queue)
	if reason != spead.OK {
		bump(&s.Foreign, reason.String())
		return
	}
	s.SPEAD++
	bump(&s.Flavours, p.Flavour.String())
	if p.HeapLength < 0 {
		s.Unsized++
	}
	s.HeapSize = max(s.HeapSize, uint64(max(p.HeapLength, p.PayloadOffset+p.PayloadLength, 0)))
	first, seen := s.heaps[p.Cnt]
	switch {
	case seen:
		s.Colliding = s.Colliding || first != d.Src
	case len(s.heaps) < maxHeaps:
		s.heaps[p.Cnt] = d.Src
		s.Heaps++
	}
}

// from counts a packet of its sender.
func (s *sight) from(d *frame.Datagram, queue int) {
	k, known := s.senders[d.Src]
	switch {
	case known:
	case len(s.Senders) < maxSenders:
		k = len(s.Senders)
		s.senders[d.Src] = k
		s.Senders = append(s.Senders, Sender{Addr: d.Src, To: d.Dst})
	default:
		s.More++
		return
	}
	sender := &s.Senders[k]
	sender.Packets++
	if queue >= 0 && !slices.Contains(sender.Queues, queue) {
		sender.Queues = append(sender.Queues, queue)
		slices.Sort(sender.Queues)
	}
}

// bump counts one more.
func bump[K comparable, N int | uint64](m *map[K]N, k K) {
	if *m == nil {
		*m = map[K]N{}
	}
	(*m)[k]++
}

// ended fills in what is known at the end.
func (t *Traffic) ended(after time.Duration) {
	t.Duration = after.Round(time.Millisecond)
	t.Seconds = after.Seconds()
	t.BitRate = t.rate() * 8
}
