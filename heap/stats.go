package heap

import (
	"runtime"
	"sync/atomic"
	"time"
)

// The counters of a thread: the fates, then these.
const (
	cPackets = int(NumFates) + iota
	cBytes
	cPayload
	cBatches
	cMaxBatch
	cComplete
	cIncomplete
	cEvicted
	cAged
	cFlushed
	cSinglePacket
	cStopHeaps
	cDelivered
	cDiscarded
	cRingFullHeaps
	cShutdownHeaps
	cOvertaken
	cConflicts
	cBlocked
	cBlockedNs
	numCounters
)

type counters [numCounters]uint64

// board shows one thread's counters to others as one consistent set: a
// sequence lock, odd while it is being written. Only its owner writes.
type board struct {
	_    [64]byte
	seq  atomic.Uint64
	show [numCounters]atomic.Uint64
	last counters // what show holds, to store only what changed
	_    [64]byte
}

func (b *board) publish(c *counters) {
	if *c == b.last {
		return
	}
	b.seq.Add(1)
	for i, v := range c {
		if v != b.last[i] {
			b.show[i].Store(v)
		}
	}
	b.last = *c
	b.seq.Add(1)
}

// addTo adds the counters shown to sum. A writer stopped in the middle makes it
// wait; no writer ever waits for it.
func (b *board) addTo(sum *counters) {
	var c counters
	for {
		seq := b.seq.Load()
		for i := range c {
			c[i] = b.show[i].Load()
		}
		if seq&1 == 0 && b.seq.Load() == seq {
			break
		}
		runtime.Gosched()
	}
	for i, v := range c {
		if i == cMaxBatch {
			sum[i] = max(sum[i], v)
		} else {
			sum[i] += v
		}
	}
}

// Stats are the counters of an assembler since it was made. They never go
// back. Each thread's part is one consistent set; at rest
//
//	Packets = Σ Fates + InFlight
type Stats struct {
	Packets  uint64 // given to Feed
	Bytes    uint64 // UDP or TCP payload of those packets
	Payload  uint64 // heap payload placed
	Batches  uint64 // calls of Feed
	MaxBatch uint64 // most packets in one call

	Fates    [NumFates]uint64 // packets, by what became of them
	InFlight uint64           // packets in live heaps and in heaps not yet taken

	CompleteHeaps     uint64 // heaps of which every byte came, but for stop heaps
	IncompleteHeaps   uint64 // heaps that left with bytes missing
	EvictedHeaps      uint64 // heaps closed because the window had to move on
	AgedHeaps         uint64 // heaps closed because no packet came for MaxAge
	FlushedHeaps      uint64 // heaps closed by the end of the stream
	SinglePacketHeaps uint64 // heaps of one packet, which take no place in the window
	StopHeaps         uint64 // stop heaps seen
	DeliveredHeaps    uint64 // heaps that a consumer took
	DiscardedHeaps    uint64 // incomplete heaps that nobody asked for
	RingFullHeaps     uint64 // heaps dropped because the ring was full
	ShutdownHeaps     uint64 // finished heaps that nobody took before the receiver closed
	OvertakenHeaps    uint64 // heaps evicted that a lagging thread or sender then still fed

	// Conflicts are packets of a heap, or with the count of a heap, that another
	// sender had started: senders whose counts collide, if not one that uses
	// several ports. Their fates are those of any packet. Conflict is the first.
	// With BySender there are none.
	Conflicts uint64
	Conflict  Conflict
	Senders   int // senders heard; the 1025th and all after it are one

	Blocked     uint64        // times a thread found the ring full and waited
	BlockedTime time.Duration // time that threads have waited so

	Oversize int64 // length of the first heap refused for its size, bytes; 0: none was
}

// Stats may be called from any goroutine, at any time.
func (a *Assembler) Stats() Stats {
	var c counters
	for i := range a.feeders {
		a.feeders[i].board.addTo(&c)
	}
	a.consumed.board.addTo(&c)
	s := Stats{
		Packets:           c[cPackets],
		Bytes:             c[cBytes],
		Payload:           c[cPayload],
		Batches:           c[cBatches],
		MaxBatch:          c[cMaxBatch],
		CompleteHeaps:     c[cComplete],
		IncompleteHeaps:   c[cIncomplete],
		EvictedHeaps:      c[cEvicted],
		AgedHeaps:         c[cAged],
		FlushedHeaps:      c[cFlushed],
		SinglePacketHeaps: c[cSinglePacket],
		StopHeaps:         c[cStopHeaps],
		DeliveredHeaps:    c[cDelivered],
		DiscardedHeaps:    c[cDiscarded],
		RingFullHeaps:     c[cRingFullHeaps],
		ShutdownHeaps:     c[cShutdownHeaps],
		OvertakenHeaps:    c[cOvertaken],
		Conflicts:         c[cConflicts],
		Senders:           int(a.senders.heard.Load()),
		Blocked:           c[cBlocked],
		BlockedTime:       time.Duration(c[cBlockedNs]),
		Oversize:          a.oversize.Load(),
	}
	if first := a.conflict.Load(); first != nil {
		s.Conflict = *first
	}
	copy(s.Fates[:], c[:NumFates])
	for i := range a.records {
		s.InFlight += uint64(a.records[i].packets.Load())
	}
	return s
}

// Settled is how many packets have a fate.
func (s *Stats) Settled() uint64 {
	var n uint64
	for _, v := range s.Fates {
		n += v
	}
	return n
}
