// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
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
	Packets     uint64       // packets that were there for us
	Bytes       uint64       // UDP or TCP payload of those that were read
	Payload     uint64       // heap payload placed
	Fates       ledger.Fates // packets, by what became of them
	InFlight    uint64       // packets on the rings, in live heaps and in heaps not yet taken
	Unaccounted int64        // Packets − Σ Fates − InFlight

	// SkippedBytes are the bytes of TCP connections in which no packet began. Each
	// stretch of them is one packet, whose fate says why.
	SkippedBytes uint64

	// SuperFrames is how many more packets there were than frames, where a
	// frame held several packets of a sender that uses UDP segmentation offload.
	SuperFrames uint64
	// KernelDroppedAtLeast says that trains of packets counted as one when the
	// kernel dropped them: on a socket with GRO, or as SuperFrames.
	KernelDroppedAtLeast bool

	// Missing are the bytes that should have come to the consumer and did not, by cause. A byte
	// is in it when its cause has been decided: some two seconds after its heap left, and at
	// the end of reception. Then their sum is MissingBytes.
	Missing ledger.Causes

	Streams []StreamStats
	Devices []DeviceStats
}

// MissingBytes is the number of bytes that should have come to the consumer and did not, as the
// streams have counted them. Those of heaps that are missing entirely are an estimate.
func (s *Stats) MissingBytes() uint64 {
	h := s.Heaps()
	return h[ledger.IncompleteBytes] + h[ledger.MissingHeapBytes] + h[ledger.DiscardedBytes] + h[ledger.RingFullBytes] + h[ledger.ShutdownBytes]
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

	more *streamMore // of a reading of the watch
}

// streamMore is what the diagnoses of a stream need beside its counters.
type streamMore struct {
	at       time.Time
	sources  []heap.Source
	sequence heap.Sequence
	consumer histogram.Snapshot
}

// DeviceStats are the counters of one network device.
type DeviceStats struct {
	Name   string
	Counts ledger.DeviceCounts
	Queues []QueueStats
}

// QueueStats are the counters of one receive queue.
type QueueStats struct {
	Queue  int
	Counts ledger.QueueCounts
}

// ExpectedBytes is the payload of all heaps, with what is missing.
func (s *Stats) ExpectedBytes() uint64 {
	h := s.Heaps()
	return s.Payload + h[ledger.IncompleteBytes] + h[ledger.MissingHeapBytes]
}

// Heaps are the counters of all streams together.
func (s *Stats) Heaps() ledger.StreamCounts {
	var sum ledger.StreamCounts
	for i := range s.Streams {
		sum.Add(&s.Streams[i].Counts)
	}
	return sum
}

// Stats may be called at any time, also after Close. While packets flow its
// parts are not of the same instant; at rest they add up.
func (r *Receiver) Stats() Stats {
	var s Stats
	var fed, handed uint64 // packets that assemblers have counted, and that sources have handed on
	for _, st := range r.streams[:r.changes.used.Load()] {
		h := st.assembler.Stats()
		fed += h.Counts[ledger.PacketsFed]
		s.Streams = append(s.Streams, StreamStats{Name: st.name(), Stats: h, Sum: st.share.Config(), Slots: st.share.Counts()})
		s.Bytes += h.Counts[ledger.BytesFed]
		s.Payload += h.Counts[ledger.PayloadPlaced]
		s.InFlight += h.InFlight
		s.Fates.Add(&h.Fates)
	}
	for _, t := range r.threads {
		c := t.src.Counts()
		handed += c.Packets
		s.SuperFrames += c.SuperFrames
		s.SkippedBytes += c.SkippedBytes
		s.Fates[ledger.NotIPUDP] += c.NotIPUDP
		s.Fates[ledger.OtherEndpoint] += c.OtherEndpoint
		s.Fates[ledger.Fragment] += c.Fragment
		s.Fates[ledger.ChainTooLong] += c.TooLong
		s.Fates[ledger.CaptureCut] += c.CaptureCut
		// The datagram, or the connection, ends before the packet in it does.
		s.Fates[ledger.PayloadOverflow] += c.Truncated
		s.Fates[ledger.KernelDropped] += c.KernelDropped
		s.KernelDroppedAtLeast = s.KernelDroppedAtLeast || c.KernelDroppedAtLeast && c.KernelDropped > 0
		if _, queue := t.src.(*source.AFXDP); queue {
			// Each of its frames is counted where the program saw it, below, and
			// not where the thread read it.
			s.Packets += c.SuperFrames
			continue
		}
		s.Packets += c.Packets + c.NotIPUDP + c.OtherEndpoint + c.Fragment + c.Truncated + c.CaptureCut + c.TooLong + c.KernelDropped
	}
	over := r.over.Load()
	if !over {
		s.InFlight += handed - fed // in the threads' hands
	}
	for _, d := range r.devices {
		ds := d.stats()
		var dropped, tooLong uint64
		for i := range ds.Queues {
			c := &ds.Queues[i].Counts
			dropped += c[ledger.QueueRxDropped] + c[ledger.QueueRxRingFull] + c[ledger.QueueInvalidPackets]
			tooLong += c[ledger.QueueChainTooLong]
		}
		c := &ds.Counts
		s.Packets += c[ledger.DeviceMatched] + c[ledger.DeviceFragments] + c[ledger.DeviceMissed]
		s.Fates[ledger.NICDropped] += c[ledger.DeviceMissed]
		s.Fates[ledger.NoSocket] += c[ledger.DeviceNoSocket]
		s.Fates[ledger.Fragment] += c[ledger.DeviceFragments]
		s.Fates[ledger.KernelDropped] += dropped
		s.Fates[ledger.ChainTooLong] += tooLong
		if dropped > 0 && s.SuperFrames > 0 && d.link.Mode() == xsk.ModeGeneric {
			s.KernelDroppedAtLeast = true
		}
		if unread := ds.unread(); !over {
			s.InFlight += unread
		}
		s.Devices = append(s.Devices, ds)
	}
	s.Fates[ledger.Shutdown] += r.leftover.Load()
	s.Unaccounted = int64(s.Packets - s.InFlight - s.Fates.Settled())
	s.Missing = r.causes.update(&s, time.Now(), over || r.settled.Load())
	return s
}

func (d *device) stats() DeviceStats {
	ds := DeviceStats{Name: d.plan.facts.Name}
	nic := d.drops.Count()
	for _, q := range d.queues {
		n := q.Info().Queue
		// What was read is read before what was seen, which is so never less.
		read, seen := q.Stats(), d.steer.program.Counters(n)
		ds.Queues = append(ds.Queues, QueueStats{Queue: n, Counts: ledger.QueueCounts{
			ledger.QueueMatched:            seen.Matched,
			ledger.QueueNoSocket:           seen.NoSocket,
			ledger.QueuePackets:            read.Packets,
			ledger.QueueChunks:             read.Chunks,
			ledger.QueueBatches:            read.Batches,
			ledger.QueueChainTooLong:       read.ChainTooLong,
			ledger.QueueInvalidPackets:     read.InvalidPackets,
			ledger.QueueInvalidDescriptors: read.InvalidDesc,
			ledger.QueueLostFrames:         read.LostFrames,
			ledger.QueueKicks:              read.Kicks,
			ledger.QueueRingHigh:           read.RingHigh,
			ledger.QueueRxDropped:          read.Kernel.RxDropped,
			ledger.QueueRxRingFull:         read.Kernel.RxRingFull,
			ledger.QueueRxInvalidDescs:     read.Kernel.RxInvalidDescs,
			ledger.QueueRxFillRingEmpty:    read.Kernel.RxFillRingEmpty,
			ledger.QueueNICDrops:           nic.Queues[n].Drops,
			ledger.QueueAllocFail:          nic.Queues[n].AllocFail,
		}})
	}
	t := d.steer.program.Total()
	ds.Counts = ledger.DeviceCounts{
		ledger.DeviceMatched:   t.Matched,
		ledger.DeviceNoSocket:  t.NoSocket,
		ledger.DeviceFragments: t.Fragments,
		ledger.DeviceMissed:    max(d.missed.Count(), nic.Missed) + nic.Drops,
		ledger.DevicePassed:    t.Other,
		ledger.DeviceAllocFail: nic.AllocFail,
	}
	return ds
}

// unread is how many packets were redirected to a socket and neither read from
// it nor dropped.
func (d *DeviceStats) unread() uint64 {
	n := int64(d.Counts[ledger.DeviceMatched] - d.Counts[ledger.DeviceNoSocket])
	for i := range d.Queues {
		c := &d.Queues[i].Counts
		n -= int64(c[ledger.QueuePackets] + c[ledger.QueueChainTooLong] + c[ledger.QueueInvalidPackets] +
			c[ledger.QueueRxDropped] + c[ledger.QueueRxRingFull])
	}
	return uint64(max(n, 0))
}

func (d *device) unread() uint64 {
	s := d.stats()
	return s.unread()
}
