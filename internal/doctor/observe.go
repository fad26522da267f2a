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

// packet looks at a packet that begins with its Ethernet header, of which the first bytes
// are at hand; it is size bytes long. vlan is the id of a tag that was taken out, -1: none
// was. queue is -1 if it is not known.
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

// datagram counts one packet of the source. payload are the bytes of it at hand.
func (s *sight) datagram(d *frame.Datagram, payload []byte, vlan, queue int) {
	if s.Packets == 0 || d.Len < s.MinPacket {
		s.MinPacket = d.Len
	}
	s.MaxPacket = max(s.MaxPacket, d.Len)
	s.Packets++
	s.Bytes += uint64(d.Len)
	if vlan >= 0 {
		bump(&s.VLANs, vlan)
	}
	if queue >= 0 {
		bump(&s.Queues, queue)
	} else {
		s.NoQueue++
	}
	k, known := s.senders[d.Src]
	switch {
	case known:
	case len(s.Senders) < maxSenders:
		k, known = len(s.Senders), true
		s.senders[d.Src] = k
		s.Senders = append(s.Senders, Sender{Addr: d.Src, To: d.Dst})
	default:
		s.More++
	}
	if known {
		sender := &s.Senders[k]
		sender.Packets++
		if queue >= 0 && !slices.Contains(sender.Queues, queue) {
			sender.Queues = append(sender.Queues, queue)
			slices.Sort(sender.Queues)
		}
	}
	var p spead.Packet
	reason := p.Decode(payload[:min(len(payload), d.Len)], d.Len)
	if reason == spead.OK && p.Size() != d.Len {
		reason = spead.SizeMismatch
	}
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
