// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"sync/atomic"
)

// Stats counts since Open. While packets arrive the fields may be one batch apart.
// At rest, in copy mode, every packet that the XDP program redirected here is in
// Packets, ChainTooLong, InvalidPackets or one of the kernel's two.
type Stats struct {
	Packets        uint64 // handed out by Receive
	Chunks         uint64 // descriptors taken from the RX ring
	Batches        uint64 // Receives that found something
	ChainTooLong   uint64 // packets dropped for spanning more than MaxChain frames
	InvalidPackets uint64 // packets dropped for a descriptor outside its frame
	InvalidDesc    uint64 // such descriptors: a fault of kernel or driver
	LostFrames     uint64 // frames out of use since, their address being nonsense
	Kicks          uint64 // system calls to wake the driver or look after the link
	RingHigh       uint64 // most descriptors Receive ever found waiting
	Kernel         KernelStats
}

// KernelStats is XDP_STATISTICS: what the kernel did not deliver.
type KernelStats struct {
	RxDropped       uint64 // packets dropped: no frame free, or longer than one without MultiBuffer
	RxRingFull      uint64 // packets dropped: RX ring full
	RxInvalidDescs  uint64 // addresses on the fill ring that the kernel refused
	RxFillRingEmpty uint64 // times the kernel found the fill ring empty; in zero-copy no loss in itself
}

// published is what other goroutines may read: running totals, stored once a
// batch by the receiving goroutine and by nobody else. It keeps its distance from
// the fields that goroutine works with.
type published struct {
	_ [128]byte

	position       atomic.Uint64
	packets        atomic.Uint64
	batches        atomic.Uint64
	chainTooLong   atomic.Uint64
	invalidDesc    atomic.Uint64
	invalidPackets atomic.Uint64
	lostFrames     atomic.Uint64
	kicks          atomic.Uint64
	high           atomic.Uint64

	_ [128]byte

	wake atomic.Bool // set by Wake, cleared by Wait
}

// publish ends a batch. A store costs some ns, so what rarely changes is looked at
// first.
func (q *Queue) publish() {
	p, h := &q.pub, &q.held
	if p.high.Load() != q.high {
		p.high.Store(q.high)
	}
	if p.chainTooLong.Load() != h.chainTooLong {
		p.chainTooLong.Store(h.chainTooLong)
	}
	if p.invalidDesc.Load() != h.invalidDesc {
		p.invalidDesc.Store(h.invalidDesc)
		p.invalidPackets.Store(h.invalidPackets)
		p.lostFrames.Store(h.lostFrames)
	}
	p.packets.Store(h.packets)
	p.batches.Store(q.batches)
	p.position.Store(q.consumed)
}

// Stats may be called from any goroutine. After Close the numbers stay.
func (q *Queue) Stats() Stats {
	q.mu.RLock()
	defer q.mu.RUnlock()
	s := Stats{
		Packets:        q.pub.packets.Load(),
		Chunks:         q.pub.position.Load(),
		Batches:        q.pub.batches.Load(),
		ChainTooLong:   q.pub.chainTooLong.Load(),
		InvalidPackets: q.pub.invalidPackets.Load(),
		InvalidDesc:    q.pub.invalidDesc.Load(),
		LostFrames:     q.pub.lostFrames.Load(),
		Kicks:          q.pub.kicks.Load(),
		RingHigh:       q.pub.high.Load(),
		Kernel:         q.last,
	}
	if q.opened {
		s.Kernel = q.kernelStats()
	}
	return s
}

// kernelStats asks the kernel. The call fails for a wrong descriptor only, so its
// error says nothing.
func (q *Queue) kernelStats() KernelStats {
	s, _ := q.sys.statistics(q.fd)
	return KernelStats{
		RxDropped:       s.Rx_dropped,
		RxRingFull:      s.Rx_ring_full,
		RxInvalidDescs:  s.Rx_invalid_descs,
		RxFillRingEmpty: s.Rx_fill_ring_empty_descs,
	}
}

// Info is what a Queue got.
type Info struct {
	Ifname      string
	Ifindex     int
	Queue       int
	Mode        Mode // as XDP_OPTIONS confirmed it
	MultiBuffer bool
	MaxChain    int
	Wait        Wait
	NAPI        int // id of the queue's NAPI instance; 0: none, so no busy polling

	Frames     int
	ChunkBytes int
	MaxFrame   int // longest Ethernet frame that is received, bytes; 0: MaxChain frames' worth
	UMEMBytes  int
	Pages      string
	PageBytes  int
	Node       int      // NUMA node of the UMEM; -1: any
	Notes      []string // why the UMEM has no better pages, and the like
}

// Info may be called from any goroutine.
func (q *Queue) Info() Info {
	longest := maxFrame
	if q.config.MultiBuffer {
		longest = 0
	}
	return Info{
		MaxFrame:    longest,
		Ifname:      q.config.Ifname,
		Ifindex:     q.config.Ifindex,
		Queue:       q.config.Queue,
		Mode:        q.config.Mode,
		MultiBuffer: q.config.MultiBuffer,
		MaxChain:    q.config.MaxChain,
		Wait:        q.config.Wait,
		NAPI:        q.napi,
		Frames:      q.config.Frames,
		ChunkBytes:  chunkBytes,
		UMEMBytes:   q.config.Frames * chunkBytes,
		Pages:       q.umem.Kind.String(),
		PageBytes:   q.umem.PageBytes,
		Node:        q.umem.Node,
		Notes:       q.umem.Notes,
	}
}
