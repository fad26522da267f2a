// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/ledger"
)

// A receiver that hears nothing says where it listens, what the counters of the machine did
// meanwhile, and what that hints at.

const (
	// quietTime is for how long nothing has arrived when that is said first. It is said again
	// after twice the time.
	quietTime = 5 * time.Second
	// quietAtEnd is how long a run lasts at least that says it at its end.
	quietAtEnd = time.Second
)

// quiet watches for silence.
type quiet struct {
	mu        sync.Mutex
	protocols *netif.ProtocolCounters // nil: they cannot be read

	arrived uint64        // at the last look
	ever    bool          // anything has arrived
	since   time.Time     // nothing has
	next    time.Duration // of silence, when it is said again
	base    *quietCounts  // when it became quiet
}

// quietCounts are all the counters that tell something about silence.
type quietCounts struct {
	protocols netif.Protocols
	devices   uint64 // packets of the interfaces that are received on
	softnet   uint64
	fates     ledger.Fates
	noSocket  uint64
	passed    uint64
}

// quietFacts are what has been counted while nothing arrived.
type quietFacts struct {
	quietCounts
	sockets bool // something is received on UDP sockets
	xdp     bool // something is received by AF_XDP
	known   bool // devices are those of all places
	down    bool // no interface is up
}

// likelyCause is what the counters hint at: the evidence that is about our own packets
// first. It is a function of its argument only.
func likelyCause(f *quietFacts) ledger.Reason {
	unclaimed := f.protocols.NoPort + f.fates[ledger.OtherEndpoint]
	var parse uint64
	for fate, n := range f.fates {
		if ledger.Fate(fate).Row().Stage == ledger.Parse {
			parse += n
		}
	}
	switch {
	case f.down:
		return ledger.ReasonLinkDown
	case parse > 0:
		return ledger.ReasonNotSPEAD
	case f.noSocket > 0:
		return ledger.ReasonOtherQueue
	case f.fates[ledger.Fragment] > 0:
		return ledger.ReasonFragments
	case f.sockets && (f.protocols.ReasmFails > 0 || f.protocols.Fragments > 0 && f.protocols.Reassembled == 0):
		// The kernel waits 30 s for the rest of a datagram before it counts a failure.
		return ledger.ReasonFragmentsLost
	case f.sockets && f.protocols.BadChecksum > 0:
		return ledger.ReasonBadChecksum
	case f.sockets && f.protocols.ReversePath > 0:
		return ledger.ReasonReversePath
	case unclaimed > 0 && f.known && f.devices < unclaimed:
		return ledger.ReasonOtherDevice
	case unclaimed > 0:
		return ledger.ReasonOtherPort
	case f.known && f.devices == 0, !f.known && f.protocols.IPReceived == 0:
		return ledger.ReasonNoTraffic
	case f.known && f.devices > 2*f.protocols.IPReceived+quietNoise:
		// IP is not given packets of another VLAN or MAC address.
		return ledger.ReasonOtherVLAN
	case f.sockets && !f.xdp && f.protocols.IPReceived > 2*f.protocols.IPDelivered+quietNoise:
		return ledger.ReasonNotDelivered
	}
	return ledger.ReasonOtherTraffic
}

// quietNoise is how many packets that are not of IP an interface may get, such as those of
// ARP, LLDP and spanning tree, that do not count as packets of another VLAN.
const quietNoise = 16

// readings are the counts for people, from the wire to the program.
func (f *quietFacts) readings() ledger.Readings {
	var list ledger.Readings
	if f.known {
		list = append(list, ledger.Reading{Name: "rx_packets", N: f.devices})
	}
	if f.xdp {
		list = append(list, ledger.Reading{Name: "passed", N: f.passed})
	}
	return append(list,
		ledger.Reading{Name: "no_socket", N: f.noSocket},
		ledger.Reading{Name: "fragment", N: f.fates[ledger.Fragment]},
		ledger.Reading{Name: "not_ip_udp", N: f.fates[ledger.NotIPUDP]},
		ledger.Reading{Name: "other_endpoint", N: f.fates[ledger.OtherEndpoint]},
		ledger.Reading{Name: "softnet_drops", N: f.softnet},
		ledger.Reading{Name: "ip_received", N: f.protocols.IPReceived},
		ledger.Reading{Name: "ip_delivered", N: f.protocols.IPDelivered},
		ledger.Reading{Name: "ip_fragments", N: f.protocols.Fragments},
		ledger.Reading{Name: "ip_reassembly_fails", N: f.protocols.ReasmFails},
		ledger.Reading{Name: "ip_reverse_path_filter", N: f.protocols.ReversePath},
		ledger.Reading{Name: "udp_no_ports", N: f.protocols.NoPort},
		ledger.Reading{Name: "udp_in_errors", N: f.protocols.Errors},
		ledger.Reading{Name: "udp_in_csum_errors", N: f.protocols.BadChecksum},
	)
}

// arrived is how many packets of SPEAD have come to the streams.
func arrived(s *Stats) uint64 {
	h := s.Heaps()
	n := h[ledger.PacketsFed]
	for fate, v := range s.Fates {
		if ledger.Fate(fate).Row().Stage == ledger.Parse {
			n -= min(n, v)
		}
	}
	return n
}

// look is told how many packets have arrived by now. It returns for how long none has, if that
// is to be said, and whether the counters should be noted, as it has just become quiet.
func (q *quiet) look(now time.Time, n uint64) (silent time.Duration, note bool) {
	if n != q.arrived {
		q.arrived, q.ever, q.base = n, true, nil
		q.since, q.next = now, quietTime
		return 0, false
	}
	if q.base == nil {
		return 0, true
	}
	if d := now.Sub(q.since); d >= q.next {
		for q.next <= d {
			q.next *= 2
		}
		return d, false
	}
	return 0, false
}

// openQuiet begins to watch, in the network namespace of the calling thread.
func (r *Receiver) openQuiet() error {
	if !r.live() {
		return nil
	}
	var err error
	if r.quiet.protocols, err = netif.OpenProtocols(); err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	return nil
}

// beginQuiet starts the clock, with the counters as they are.
func (r *Receiver) beginQuiet() {
	if r.quiet.protocols == nil {
		return
	}
	s := r.Stats()
	r.quiet.arrived = arrived(&s)
	r.quiet.ever = r.quiet.arrived > 0
	r.quiet.since, r.quiet.next, r.quiet.base = time.Now(), quietTime, r.quietCounts(&s)
}

func (r *Receiver) closeQuiet() {
	r.quiet.mu.Lock()
	defer r.quiet.mu.Unlock()
	if r.quiet.protocols != nil {
		r.quiet.protocols.Close()
		r.quiet.protocols = nil
	}
}

// live reports whether any packets come from a network that does not wait for us.
func (r *Receiver) live() bool {
	return slices.ContainsFunc(r.streams, func(s *stream) bool { return s.plan.live() })
}

// listenQuiet looks whether it is quiet. At the end of reception it says so where nothing has
// arrived at all.
func (r *Receiver) listenQuiet(now time.Time, end bool) {
	r.quiet.mu.Lock()
	defer r.quiet.mu.Unlock()
	if r.quiet.protocols == nil {
		return
	}
	s := r.Stats()
	silent, note := r.quiet.look(now, arrived(&s))
	if note {
		r.quiet.base = r.quietCounts(&s)
		return
	}
	if d := now.Sub(r.quiet.since); end && silent == 0 && !r.quiet.ever && d >= quietAtEnd {
		silent = d
	}
	if silent == 0 {
		return
	}
	places := r.places()
	if len(places) == 0 {
		return
	}
	f := quietFacts{quietCounts: r.quietCounts(&s).sub(r.quiet.base), down: true, known: true}
	for _, p := range places {
		f.down = f.down && !p.Up
		f.known = f.known && p.Device != ""
		f.sockets = f.sockets || p.Mode == ModeUDP.String()
		f.xdp = f.xdp || p.Mode != ModeUDP.String()
	}
	r.findings.report(ledger.Diagnosis{
		Code: ledger.NothingArrived, Queue: -1, Duration: silent.Round(100 * time.Millisecond),
		Cause: likelyCause(&f), Silence: &ledger.Silence{Where: places, Seen: f.readings()},
	})
}

// quietCounts reads the counters. What cannot be read is 0, then and later.
func (r *Receiver) quietCounts(s *Stats) *quietCounts {
	c := &quietCounts{fates: s.Fates, softnet: r.vitals.softnet}
	c.protocols, _ = r.quiet.protocols.Read()
	r.changes.links.Lock()
	c.devices = r.vitals.gone
	for _, v := range r.vitals.list {
		c.devices += v.packets()
	}
	r.changes.links.Unlock()
	for i := range s.Devices {
		c.noSocket += s.Devices[i].Counts[ledger.DeviceNoSocket]
		c.passed += s.Devices[i].Counts[ledger.DevicePassed]
	}
	return c
}

// sub is what has been counted since another reading.
func (c *quietCounts) sub(last *quietCounts) quietCounts {
	out := quietCounts{
		protocols: c.protocols.Sub(last.protocols), devices: more(c.devices, last.devices), softnet: more(c.softnet, last.softnet),
		noSocket: more(c.noSocket, last.noSocket), passed: more(c.passed, last.passed),
	}
	for i := range out.fates {
		out.fates[i] = more(c.fates[i], last.fates[i])
	}
	return out
}

// places are where the receiver listens now, but for files and TCP connections.
func (r *Receiver) places() ledger.Places {
	names := map[int]string{}
	up := map[string]bool{}
	r.changes.links.Lock()
	for _, v := range r.vitals.list {
		names[v.index] = v.Name()
		if now, err := v.Read(); err == nil {
			up[v.Name()] = now.Up && now.Carrier
		}
	}
	r.changes.links.Unlock()
	var list ledger.Places
	add := func(p ledger.Place, addr string, group bool) {
		i := slices.IndexFunc(list, func(o ledger.Place) bool { return o.Device == p.Device && o.Mode == p.Mode })
		if i < 0 {
			p.Up = p.Device == "" || up[p.Device]
			i, list = len(list), append(list, p)
		}
		list[i].Addrs = append(list[i].Addrs, addr)
		if group {
			list[i].Groups++
		}
	}
	r.changes.mu.Lock()
	defer r.changes.mu.Unlock()
	for _, s := range r.streams[:r.changes.used.Load()] {
		for i := range s.live {
			e := &s.live[i]
			for _, l := range e.links {
				for _, d := range l.devices {
					p := ledger.Place{Device: d.plan.facts.Name, Mode: d.link.Mode().String()}
					for _, q := range d.queues {
						p.Queues = append(p.Queues, q.Info().Queue)
					}
					slices.Sort(p.Queues)
					add(p, e.addr.String(), e.addr.Addr().IsMulticast())
				}
			}
			for _, sock := range e.sockets {
				add(ledger.Place{Device: names[sock.ifindex], Mode: ModeUDP.String()}, sock.addr.String(), sock.addr.Addr().IsMulticast())
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ledger.Place) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Mode, b.Mode))
	})
	return list
}
