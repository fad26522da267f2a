// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/xsk"
)

// What a monitor needs beside Stats, Info and Threads. All of it reads memory only, and
// no receiving thread waits for it.

// StreamTimes says when packets of a stream came, and how long its heaps took.
type StreamTimes struct {
	Name string
	heap.Times
	// LastData is when the last packet came, and LastLoss when the last one was lost in the
	// assembly or after it. Both are exact to a second; zero is never.
	LastData, LastLoss time.Time
	// Since is when the stream began to be received. It is zero while the stream has no
	// endpoint, as after [Receiver.Remove]: no data is expected then.
	Since time.Time
	Ended bool // by its stop item, its file or its connection
}

// Silent is for how long no packet has come at a time, exact to a second. It is false if
// none is expected: the stream has ended, or has no endpoint.
func (t *StreamTimes) Silent(now time.Time) (d time.Duration, expected bool) {
	if t.Ended || t.Since.IsZero() {
		return 0, false
	}
	last := t.LastData
	if last.Before(t.Since) {
		last = t.Since
	}
	return max(0, now.Sub(last)), true
}

// seen is when something happened last.
type seen struct{ data, loss time.Time }

// note compares two looks at the counters. The caller holds w.mu.
func (w *findings) note(before, now *Stats, at time.Time) {
	if w.seen == nil {
		w.seen = map[string]seen{}
	}
	for i := range now.Streams {
		var last StreamStats
		if i < len(before.Streams) {
			last = before.Streams[i]
		}
		st := &now.Streams[i]
		s := w.seen[st.Name]
		if st.Counts[ledger.PacketsFed] > last.Counts[ledger.PacketsFed] {
			s.data = at
		}
		if st.Fates.Lost() > last.Fates.Lost() {
			s.loss = at
		}
		w.seen[st.Name] = s
	}
	if now.Fates.Lost() > before.Fates.Lost() {
		w.lastLoss = at
	}
}

// Times are those of each stream, in the order of Stats. It may be called at any time, from
// any goroutine, also after Close. The counts never go back.
func (r *Receiver) Times() []StreamTimes {
	var out []StreamTimes
	for _, s := range r.streams[:r.changes.used.Load()] {
		t := StreamTimes{Name: s.name(), Times: s.assembler.Times()}
		if ns := s.since.Load(); ns != 0 {
			t.Since = time.Unix(0, ns)
		}
		select {
		case <-s.assembler.Done():
			t.Ended = true
		default:
		}
		out = append(out, t)
	}
	r.findings.mu.Lock()
	defer r.findings.mu.Unlock()
	for i := range out {
		s := r.findings.seen[out[i].Name]
		out[i].LastData, out[i].LastLoss = s.data, s.loss
	}
	return out
}

// LastLoss is when the last packet was lost, at any stage, exact to a second; zero is never.
func (r *Receiver) LastLoss() time.Time {
	r.findings.mu.Lock()
	defer r.findings.mu.Unlock()
	return r.findings.lastLoss
}

// QueueFrames are the packet buffers of one queue.
type QueueFrames struct {
	Device string
	Queue  int
	xsk.FrameCounts
}

// Frames says where the packet buffers of each queue are now.
func (r *Receiver) Frames() []QueueFrames {
	var out []QueueFrames
	for _, d := range r.devices {
		for _, q := range d.queues {
			out = append(out, QueueFrames{Device: d.plan.facts.Name, Queue: q.Info().Queue, FrameCounts: q.FrameCounts()})
		}
	}
	return out
}

// GroupState is the membership of a multicast group on an interface.
type GroupState struct {
	Interface string
	Group     netip.Addr
	Joined    bool
}

// Groups are the multicast groups that are received now. Each is joined before its packets
// are received, and left when reception ends.
func (r *Receiver) Groups() []GroupState {
	r.received.mu.Lock()
	defer r.received.mu.Unlock()
	r.look()
	joined := !r.over.Load()
	select {
	case <-r.stopping:
		joined = false
	default:
	}
	out := slices.Clone(r.received.groups)
	for i := range out {
		out[i].Joined = joined
	}
	return out
}

// Sockets are the UDP sockets that are received on now, by stream. Spare streams have none
// until they are used.
func (r *Receiver) Sockets() []SocketInfo {
	r.received.mu.Lock()
	defer r.received.mu.Unlock()
	r.look()
	return slices.Clone(r.received.sockets)
}

// received is what was received at the last look.
type received struct {
	mu      sync.Mutex
	groups  []GroupState
	sockets []SocketInfo
}

// look lists what is received. A change of the endpoints may take a second. Who asks meanwhile
// gets what was before it. The caller holds received.mu.
func (r *Receiver) look() {
	if r.changes.mu.TryLock() {
		r.received.groups, r.received.sockets = r.listGroups(), r.listSockets()
		r.changes.mu.Unlock()
	}
}

// listSockets lists the streams with UDP sockets. The caller holds changes.mu.
func (r *Receiver) listSockets() (out []SocketInfo) {
	for _, s := range r.streams[:r.changes.used.Load()] {
		var addrs []netip.AddrPort
		for i := range s.live {
			for _, ep := range s.live[i].sockets {
				addrs = append(addrs, ep.addr)
			}
		}
		if len(addrs) > 0 {
			si := s.socketInfo(s.name())
			si.Endpoints = addrs
			out = append(out, si)
		}
	}
	return out
}

// listGroups lists each group once for each interface. The caller holds changes.mu.
func (r *Receiver) listGroups() (out []GroupState) {
	add := func(name string, addr netip.AddrPort) {
		g := GroupState{Interface: name, Group: addr.Addr().Unmap()}
		if g.Group.IsMulticast() && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	for _, s := range r.streams[:r.changes.used.Load()] {
		for i := range s.live {
			e := &s.live[i]
			for _, l := range e.links {
				add(l.name, e.addr)
			}
			for _, ep := range e.sockets {
				add(cmp.Or(e.watched[ep.ifindex], s.plan.links[ep.ifindex]), e.addr)
			}
		}
	}
	return out
}
