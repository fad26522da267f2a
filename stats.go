//go:build linux

package speadx

import (
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Stats is the ledger of a receiver: what became of every packet since Open.
// Counters never go back.
//
//	Packets = Σ Fates + InFlight
//
// Packets counts what was there for our endpoints, and is measured apart from
// the fates: by the program on the interface, which sees a packet before anyone
// can lose it; on UDP sockets what was read and what the kernel says it dropped;
// in a file its datagrams; on a TCP connection the packets in it. So Unaccounted, which is 0 once the receiver is done,
// would show a packet that was lost between the two.
type Stats struct {
	Packets     uint64                // packets that were there for us
	Bytes       uint64                // UDP or TCP payload of those that were read
	Payload     uint64                // heap payload placed
	Fates       [heap.NumFates]uint64 // packets, by what became of them
	InFlight    uint64                // packets on the rings, in live heaps and in heaps not yet taken
	Unaccounted int64                 // Packets − Σ Fates − InFlight

	// SkippedBytes are the bytes of TCP connections in which no packet began. Each
	// stretch of them is one packet, whose fate says why.
	SkippedBytes uint64

	// SuperFrames is how many more packets there were than frames, where a
	// frame held several packets of a sender that uses UDP segmentation offload.
	SuperFrames uint64
	// KernelDroppedAtLeast says that trains of packets counted as one when the
	// kernel dropped them: on a socket with GRO, or as SuperFrames.
	KernelDroppedAtLeast bool

	Streams []StreamStats
	Devices []DeviceStats
}

// StreamStats are one stream's part.
type StreamStats struct {
	Name string
	heap.Stats
	// Sum is what the stream's part of the pool was sized for, and Slots what
	// is and was used of it: Sum.Live stands against Slots.Filling and
	// HighFilling, Ring against Ready, Held against Held.
	Sum   pool.ShareConfig
	Slots pool.Counts
}

// DeviceStats are the counters of one network device.
type DeviceStats struct {
	Name      string
	Passed    uint64 // frames that are not for us; the kernel got them
	Matched   uint64 // frames for our endpoints
	NoSocket  uint64 // of those, frames on a queue without a socket; the kernel got them
	Fragments uint64 // IP fragments for our endpoints; the kernel got them
	// Missed are frames that the NIC dropped, its ring being full
	// (rx_missed_errors). They may have been anybody's.
	Missed uint64
	Queues []QueueStats
}

// QueueStats are the counters of one receive queue.
type QueueStats struct {
	Queue    int
	Matched  uint64
	NoSocket uint64
	xsk.Stats
}

// Stats may be called at any time, also after Close. While packets flow its
// parts are not of the same instant; at rest they add up.
func (r *Receiver) Stats() Stats {
	var s Stats
	var fed, handed uint64 // packets that assemblers have counted, and that sources have handed on
	for _, st := range r.streams {
		h := st.assembler.Stats()
		fed += h.Packets
		s.Streams = append(s.Streams, StreamStats{Name: st.plan.name, Stats: h, Sum: st.share.Config(), Slots: st.share.Counts()})
		s.Bytes += h.Bytes
		s.Payload += h.Payload
		s.InFlight += h.InFlight
		for f, n := range h.Fates {
			s.Fates[f] += n
		}
	}
	for _, t := range r.threads {
		c := t.src.Counts()
		handed += c.Packets
		s.SuperFrames += c.SuperFrames
		s.SkippedBytes += c.SkippedBytes
		s.Fates[heap.NotIPUDP] += c.NotIPUDP
		s.Fates[heap.OtherEndpoint] += c.OtherEndpoint
		s.Fates[heap.Fragment] += c.Fragment
		s.Fates[heap.ChainTooLong] += c.TooLong
		// The datagram, or the connection, ends before the packet in it does.
		s.Fates[heap.PayloadOverflow] += c.Truncated
		s.Fates[heap.KernelDropped] += c.KernelDropped
		s.KernelDroppedAtLeast = s.KernelDroppedAtLeast || c.KernelDroppedAtLeast && c.KernelDropped > 0
		if _, queue := t.src.(*source.AFXDP); queue {
			// Each of its frames is counted where the program saw it, below, and
			// not where the thread read it.
			s.Packets += c.SuperFrames
			continue
		}
		s.Packets += c.Packets + c.NotIPUDP + c.OtherEndpoint + c.Fragment + c.Truncated + c.TooLong + c.KernelDropped
	}
	over := r.over.Load()
	if !over {
		s.InFlight += handed - fed // in the threads' hands
	}
	for _, d := range r.devices {
		ds := d.stats()
		var dropped, tooLong uint64
		for i := range ds.Queues {
			q := &ds.Queues[i]
			dropped += q.Kernel.RxDropped + q.Kernel.RxRingFull + q.InvalidPackets
			tooLong += q.ChainTooLong
		}
		s.Packets += ds.Matched + ds.Fragments + ds.Missed
		s.Fates[heap.NICDropped] += ds.Missed
		s.Fates[heap.NoSocket] += ds.NoSocket
		s.Fates[heap.Fragment] += ds.Fragments
		s.Fates[heap.KernelDropped] += dropped
		s.Fates[heap.ChainTooLong] += tooLong
		if dropped > 0 && s.SuperFrames > 0 && d.link.Mode() == xsk.ModeGeneric {
			s.KernelDroppedAtLeast = true
		}
		if unread := ds.unread(); !over {
			s.InFlight += unread
		}
		s.Devices = append(s.Devices, ds)
	}
	s.Fates[heap.Shutdown] += r.leftover.Load()
	s.Unaccounted = int64(s.Packets - s.InFlight)
	for _, n := range s.Fates {
		s.Unaccounted -= int64(n)
	}
	return s
}

func (d *device) stats() DeviceStats {
	ds := DeviceStats{Name: d.plan.facts.Name, Missed: d.missed.Count()}
	for _, q := range d.queues {
		n := q.Info().Queue
		// What was read is read before what was seen, which is so never less.
		qs := QueueStats{Queue: n, Stats: q.Stats()}
		c := d.steer.program.Counters(n)
		qs.Matched, qs.NoSocket = c.Matched, c.NoSocket
		ds.Queues = append(ds.Queues, qs)
	}
	t := d.steer.program.Total()
	ds.Passed, ds.Matched, ds.NoSocket, ds.Fragments = t.Other, t.Matched, t.NoSocket, t.Fragments
	return ds
}

// unread is how many packets were redirected to a socket and neither read from
// it nor dropped.
func (d *DeviceStats) unread() uint64 {
	n := int64(d.Matched - d.NoSocket)
	for i := range d.Queues {
		q := &d.Queues[i]
		n -= int64(q.Packets + q.ChainTooLong + q.InvalidPackets + q.Kernel.RxDropped + q.Kernel.RxRingFull)
	}
	return uint64(max(n, 0))
}

func (d *device) unread() uint64 {
	s := d.stats()
	return s.unread()
}
