// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"github.com/speadx/speadx/internal/cache"
	"github.com/speadx/speadx/spead"
)

// pinnedHeaps are those that a thread has pinned, and the copies that it owes them.
//
// An atomic operation waits until all that was stored before it has left the
// processor's store buffer, and after a copy that is a whole packet. So the thread
// claims a whole batch first, and then makes its copies together. The heaps stay pinned
// meanwhile. A heap is committed and released once for many packets, also where packets
// of many heaps alternate.
//
// A heap that another thread evicts keeps its slot until we release it. The pool has
// one slot for each thread for that, so a thread has one heap pinned. A thread that
// feeds alone may have several: nobody else evicts, and it releases all before it
// starts a heap.
type pinnedHeaps struct {
	alone bool                // no other thread feeds
	list  [maxPins]pinnedHeap // where a heap is follows from its count
	used  [maxPins]uint8      // places in list, in the order of pinning
	n     int                 // how many

	copies [batchSize]payload
	owed   int // of copies
}

// maxPins is how many heaps a thread has pinned at most.
const maxPins = 32

// pinnedHeap is a heap that is pinned, and what was placed in it and is not committed.
type pinnedHeap struct {
	r       *record // nil: none
	ref     int     // its number
	touched bool    // it was fed
	ours    bool    // to be finished
	packets int64
	bytes   int64
}

// payload is a packet that is claimed, to be copied.
type payload struct {
	r *record
	h *spead.Packet
	p *Packet
}

// pinOf is where the heap of h is, if it is pinned.
func (f *Feeder) pinOf(h *spead.Packet) int {
	key := h.Cnt
	if f.a.cfg.BySender {
		key += uint64(f.from) * 11
	}
	return int(key % maxPins)
}

// has reports whether the heap that h belongs to is pinned, and takes it in hand.
func (f *Feeder) has(h *spead.Packet) bool {
	p := &f.pinned.list[f.pinOf(h)]
	r := p.r
	if r == nil || r.cnt != h.Cnt || r.from != f.from && f.a.cfg.BySender || howOf(r.state.Load()) != open {
		return false
	}
	f.cur = p
	return true
}

// makeRoom releases what stands in the way of pinning the heap of h.
func (f *Feeder) makeRoom(h *spead.Packet, now int64) {
	if ps := &f.pinned; ps.n > 0 && (!ps.alone || ps.list[f.pinOf(h)].r != nil) {
		f.release(now)
	}
}

// hold takes the heap of h, which is pinned, in hand.
func (f *Feeder) hold(h *spead.Packet, r *record, ref int) {
	ps := &f.pinned
	i := f.pinOf(h)
	f.cur = &ps.list[i]
	*f.cur = pinnedHeap{r: r, ref: ref}
	ps.used[ps.n] = uint8(i)
	ps.n++
}

// release commits what was placed, closes the heaps that are complete by that, and
// takes off our pins. As finishing a heap may wait for the consumer, all of that is
// done before.
func (f *Feeder) release(now int64) {
	ps := &f.pinned
	f.copyOwed(nil)
	used := ps.used[:ps.n]
	ps.n, f.cur = 0, nil
	for _, i := range used {
		p := &ps.list[i]
		if p.touched {
			f.commit(p, now)
		}
		p.ours = p.r.unpin()
	}
	for _, i := range used {
		p := &ps.list[i]
		r := p.r
		p.r = nil
		if p.ours {
			f.finish(r, p.ref, now)
		}
	}
}

// commit tells a heap what was placed in it since we pinned it. What was placed has
// its pointers already, so a heap of which every byte is committed has all of them.
func (f *Feeder) commit(p *pinnedHeap, now int64) {
	r := p.r
	if r.past {
		cache.Fence()
	}
	if p.packets > 0 {
		step("feeder.commit.packets")
		r.packets.Add(p.packets)
		step("feeder.commit.bytes")
		r.committed.Add(p.bytes)
	}
	setInt(&r.lastSeen, now)
	if r.length.Load() >= 0 && r.isComplete() {
		r.close(refTo(r.state.Load(), p.ref), complete)
	}
}

// owe notes that the payload of a packet is to be copied into a heap that is pinned.
func (f *Feeder) owe(r *record, h *spead.Packet, p *Packet) {
	f.pinned.copies[f.pinned.owed] = payload{r, h, p}
	f.pinned.owed++
}

// copyOwed makes the copies. Meanwhile it fetches what is copied next, and the headers of the
// next batch. after are the packets that follow the last copy, if they are known.
func (f *Feeder) copyOwed(after []Packet) {
	copies := f.pinned.copies[:f.pinned.owed]
	f.pinned.owed = 0
	for i := range copies {
		c := &copies[i]
		if len(f.next) > 0 {
			cache.PrefetchHeaders(f.next[0].First)
			f.next = f.next[1:]
		}
		var next []byte
		if k := i + ahead(c.h); k < len(copies) {
			n := &copies[k]
			next = n.p.First[n.h.HeaderLen:]
		} else if k -= len(copies); k < len(after) {
			next = after[k].First // its headers will be as long, mostly
			next = next[min(c.h.HeaderLen, len(next)):]
		}
		c.r.copyPayload(c.h, c.p, next)
	}
}

// ahead is how many packets before its turn a payload is fetched while that of h is
// copied: some 2 KiB.
func ahead(h *spead.Packet) int {
	if h.PayloadLength < 2048 {
		return 2
	}
	return 1
}

// copyPayload copies a packet's payload to its place in a heap. next is what will be
// copied soon: of it as much is fetched as the last segment has.
func (r *record) copyPayload(h *spead.Packet, p *Packet, next []byte) {
	dst := r.memory[h.PayloadOffset : h.PayloadOffset+h.PayloadLength]
	src := p.First[h.HeaderLen:]
	for i := 0; ; i++ {
		soon := next
		if i < len(p.Rest) {
			soon = p.Rest[i]
		}
		var n int
		if r.past {
			n = cache.CopyPast(dst, src, soon)
		} else {
			n = cache.Copy(dst, src, soon)
		}
		if i == len(p.Rest) {
			return
		}
		dst, src = dst[n:], p.Rest[i]
	}
}
