// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Rings are shared with the kernel. Each has one producer and one consumer, whose
// indices run freely and wrap at 2^32: producer-consumer is the fill level and
// index&mask the slot. The number of slots is a power of two.
//
// Each side keeps a private copy of both indices. Its own copy is authoritative. It
// refreshes the copy of the other side's index only when it seems that there is nothing
// left to do. So a batch costs one load and one store of shared memory.
//
// Ordering, with the labels of the kernel's net/xdp/xsk_queue.h:
//
//	(C) The consumer loads the producer index before it reads a slot that the
//	    index covers. Pairs with the producer's store (B): a slot that can be
//	    seen is a slot that is filled.
//	(D) The consumer stores its index after the last read of the slots that it
//	    returns by that. Pairs with the producer's check (A): no slot is written
//	    while it is still read.
//
// Package sync/atomic is sequentially consistent, which is more than that needs.

// rxRing is our end of the RX ring: the kernel produces, we consume. Slots in
// [consumer, producer) are ours to read, all others the kernel's.
type rxRing struct {
	producer, consumer *atomic.Uint32 // in the mapping
	desc               []unix.XDPDesc // in the mapping
	mask               uint32
	seen               uint32 // the last producer index we loaded
	next               uint32 // the consumer index: the next slot to read
}

// available says how many descriptors can be read. It looks at the kernel's index
// only if fewer than wanted are known of.
func (r *rxRing) available(wanted uint32) uint32 {
	n := r.seen - r.next
	if n < wanted {
		r.seen = r.producer.Load() // (C)
		n = r.backlog()
	}
	return n
}

// backlog is the number of published descriptors we know of. It never exceeds the
// ring, whatever the index in shared memory says.
func (r *rxRing) backlog() uint32 {
	return min(r.seen-r.next, uint32(len(r.desc)))
}

// at returns the i-th of the available descriptors.
func (r *rxRing) at(i uint32) unix.XDPDesc {
	return r.desc[(r.next+i)&r.mask]
}

// release gives the n oldest slots back. The frames they name stay with us.
func (r *rxRing) release(n uint32) {
	r.next += n
	r.consumer.Store(r.next) // (D)
}

// fillRing is our end of the fill ring: we produce, the kernel consumes. Slots in
// [consumer, producer) are the kernel's to read, all others ours to write.
type fillRing struct {
	producer, consumer *atomic.Uint32 // in the mapping
	flags              *atomic.Uint32 // in the mapping: XDP_RING_NEED_WAKEUP
	addr               []uint64       // in the mapping
	mask               uint32
	seen               uint32 // the last consumer index we loaded
	next               uint32 // the producer index: the next slot to write
}

// push publishes the first of addrs for which there is room and says how many.
// From then on these frames are the kernel's: nothing may read them any more.
func (r *fillRing) push(addrs []uint64) int {
	n := len(addrs)
	if n > r.room() {
		r.seen = r.consumer.Load() // (A)
		n = min(n, r.room())
	}
	if n == 0 {
		return 0
	}
	// Up to the end of the ring, then from its beginning.
	head := copy(r.addr[r.next&r.mask:], addrs[:n])
	copy(r.addr, addrs[head:n])
	r.next += uint32(n)
	r.producer.Store(r.next) // (B)
	return n
}

// room is the number of slots that are free for all we know; 0 if the kernel's
// index makes no sense.
func (r *fillRing) room() int {
	return max(0, len(r.addr)-int(r.next-r.seen))
}

// needWakeup says that the kernel does nothing until it is kicked. It has to be
// asked after push: the kernel raises the flag, then looks at the ring once more.
func (r *fillRing) needWakeup() bool {
	return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0
}
