// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"net/netip"
	"slices"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Info says what a receiver resolved its configuration to.
type Info struct {
	Streams []StreamInfo
	Devices []DeviceInfo
	Sockets []SocketInfo

	// Refused are the devices that AF_XDP was tried on, where UDP sockets are used instead,
	// with the reason for each mode.
	Refused []RefusedDevice

	// Listeners are the TCP sockets.
	Listeners []ListenerInfo

	// Pool is the memory for heaps: PoolSlots slots, and tables of their item
	// pointers, of the parts of them that came, and of the heaps that have left.
	PoolBytes  int // as mapped, slots and tables together, in whole pages
	TableBytes int // of these, what the tables take
	PoolSlots  int
	// GoBytes is Go memory besides, for the heaps' records and for what the
	// consumer sees of as many heaps as it holds. It is touched, but not locked.
	GoBytes    int
	PoolPages  string   // size of the pages got: 1G, 2M, thp or 4K
	PoolNode   int      // NUMA node it is bound to, -1: none
	PoolNotes  []string // for people: why not better pages, and the like
	Threads    int
	Notes      []string // for people: why something does not go the best way. Refused and Rungs have the reasons as values
	PinnedCPUs []int    // the processor each thread is pinned to, -1: none
}

// StreamInfo is one stream.
type StreamInfo struct {
	Name string
	Sum  pool.ShareConfig
	// LiveOfOne is how many heaps may be live while one sender is heard. The rest of Sum.Live
	// is room for more senders: see Config.ConcurrentHeaps.
	LiveOfOne int
	SlotSize  int // bytes
	SmallSize int // bytes of the small slots, 0: there are none
	Files     []string
	// Blocks says that a full ring makes the threads wait that feed the stream,
	// while packets come that do not, and SharesThreads that some of those
	// threads feed others too.
	Blocks, SharesThreads bool
}

// DeviceInfo is one network device with our program on it.
type DeviceInfo struct {
	Name      string
	Driver    string
	MTU       int
	Node      int
	Endpoints []netip.AddrPort
	Mode      xsk.Mode
	Rungs     []xsk.Rung // the modes tried, with what was wrong with the better ones
	Queues    []xsk.Info
	Effects   []Effect // of reception on the other traffic of the interface, as far as they show

	// Carrier is whether the interface had a carrier when reception began, and CarrierTime
	// how long Open waited for it.
	Carrier     bool
	CarrierTime time.Duration
}

// RefusedDevice is a device that AF_XDP does not work on.
type RefusedDevice struct {
	Name  string
	Rungs []xsk.Rung // the modes, best first; none where the reason is the same for all
	Err   error
}

// SocketInfo is a set of UDP sockets that one thread reads.
type SocketInfo struct {
	Stream    string
	Endpoints []netip.AddrPort
	Buffer    int // bytes of receive buffer
	GRO       bool
	Notes     []string
}

// ListenerInfo is a TCP socket that waits for a connection. It has a thread of its
// own.
type ListenerInfo struct {
	Stream string
	Addr   netip.AddrPort
	Buffer int // bytes of receive buffer; 0: as many as the kernel finds right
	Notes  []string
}

// Info does not change after Open: [Receiver.Endpoints] and [Receiver.Sockets] say what is received now.
func (r *Receiver) Info() Info {
	m := r.pool.Memory()
	in := Info{
		PoolBytes: m.Bytes, PoolPages: m.Pages, PoolNode: m.Node, PoolNotes: m.Notes,
		Threads: len(r.threads), Notes: slices.Concat(r.plan.notes, r.poolNotes), Refused: r.plan.refused,
	}
	for _, t := range r.threads {
		cpu := -1
		if len(t.cpus) == 1 {
			cpu = t.cpus[0]
		}
		in.PinnedCPUs = append(in.PinnedCPUs, cpu)
	}
	tcp := 0
	for _, s := range r.streams {
		in.PoolSlots += s.share.Slots()
		in.TableBytes += s.assembler.TableBytes()
		in.GoBytes += s.assembler.GoBytes()
		in.Streams = append(in.Streams, StreamInfo{
			Name: s.plan.name, Sum: s.share.Config(), LiveOfOne: s.assembler.Config().Window * r.cfg.Substreams, SlotSize: s.share.SlotSize(), SmallSize: s.share.SmallSize(), Files: s.plan.paths(),
			Blocks: r.cfg.OnFull == heap.Block && s.plan.live(), SharesThreads: r.sharesThreads(s),
		})
		for range s.plan.tcp {
			l := r.tcp[tcp].Info()
			tcp++
			in.Listeners = append(in.Listeners, ListenerInfo{Stream: s.plan.name, Addr: l.Addr, Buffer: l.Buffer, Notes: l.Notes})
		}
		if len(s.plan.udp) > 0 {
			si := s.socketInfo(s.plan.name)
			for _, ep := range s.plan.udp {
				si.Endpoints = append(si.Endpoints, ep.addr)
			}
			in.Sockets = append(in.Sockets, si)
		}
	}
	for _, d := range r.devices {
		f := d.plan.facts
		di := DeviceInfo{Name: f.Name, Driver: f.Driver, MTU: f.MTU, Node: f.Node, Mode: d.link.Mode(), Rungs: d.link.Rungs(), Carrier: d.carrier, CarrierTime: d.carrierTime, Effects: d.effects()}
		for _, ep := range withoutVLANs(d.plan.endpoints) {
			di.Endpoints = append(di.Endpoints, ep.addr)
		}
		for _, q := range d.queues {
			di.Queues = append(di.Queues, q.Info())
		}
		in.Devices = append(in.Devices, di)
	}
	return in
}

// socketInfo describes the UDP sockets of a stream, without their endpoints.
func (s *stream) socketInfo(name string) SocketInfo {
	u := s.udp.Info()
	return SocketInfo{Stream: name, Buffer: u.Buffer, GRO: u.GRO, Notes: u.Notes}
}

// sharesThreads reports whether a thread that feeds the stream feeds others too.
func (r *Receiver) sharesThreads(s *stream) bool {
	for _, other := range r.streams {
		if other != s && slices.ContainsFunc(other.plan.devices, func(d *planDevice) bool { return slices.Contains(s.plan.devices, d) }) {
			return true
		}
	}
	return false
}
