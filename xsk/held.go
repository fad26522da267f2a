// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import "golang.org/x/sys/unix"

// Packet is one received Ethernet frame: one segment, or several where it did not
// fit one frame of the UMEM. The segments are views into the UMEM, valid until
// the next [Queue.Release].
type Packet struct {
	First []byte   // begins with the Ethernet header
	Rest  [][]byte // the segments after First; nil for most packets
	Len   int      // bytes in First and Rest together
}

// heldFrames are those that are ours: taken from the RX ring and not yet on the
// fill ring again. It puts packets together. A frame moves from right to left:
//
//	frames: | waiting | in packets | in an unfinished chain |  unused  |
//	        0      waiting        done                      n     len(frames)
//
// The caller may look at the packets until release; waiting frames found no room
// on the fill ring and go first next time. There are as many slots as frames in
// the UMEM, so there is room unless the kernel names a frame twice,
// and then room says so.
type heldFrames struct {
	umem      []byte
	chunkMask uint64 // bytes in a chunk, minus 1
	maxChain  int

	frames []uint64 // addresses of chunks
	segs   [][]byte // segs[i] is the data in frames[i], where that is part of a chain

	waiting, done, n int

	out    int  // packets handed out since the last release
	length int  // bytes in the unfinished chain
	skip   bool // the rest of the chain goes the way of its beginning: dropped

	// Running totals.
	packets        uint64 // handed out
	chainTooLong   uint64 // packets dropped for having more than maxChain chunks
	invalidDesc    uint64 // descriptors that do not lie inside one chunk
	invalidPackets uint64 // packets dropped for such a descriptor
	lostFrames     uint64 // frames we cannot give back: their descriptor named no frame
}

func newHeldFrames(umem []byte, chunk, maxChain int) heldFrames {
	nFrames := len(umem) / chunk
	return heldFrames{
		umem:      umem,
		chunkMask: uint64(chunk) - 1,
		maxChain:  maxChain,
		frames:    make([]uint64, nFrames),
		segs:      make([][]byte, nFrames),
	}
}

// fillUp gives every frame of the UMEM to the kernel: the start of their life.
func (h *heldFrames) fillUp(fill *fillRing) {
	for i := range h.frames {
		h.frames[i] = uint64(i) * (h.chunkMask + 1)
	}
	h.n = len(h.frames)
	h.done = h.n
	h.release(fill)
}

// room is the number of descriptors that take may be given.
func (h *heldFrames) room() int { return len(h.frames) - h.n }

// take adds a descriptor from the RX ring. It reports whether *p now holds a whole
// packet. There must be room.
func (h *heldFrames) take(d unix.XDPDesc, p *Packet) bool {
	more := d.Options&unix.XDP_PKT_CONTD != 0
	end := d.Addr&h.chunkMask + uint64(d.Len)
	if d.Addr >= uint64(len(h.umem)) || end > h.chunkMask+1 {
		h.invalid(d.Addr, more)
		return false
	}
	data := h.umem[d.Addr : d.Addr+uint64(d.Len) : d.Addr+uint64(d.Len)]
	h.frames[h.n] = d.Addr &^ h.chunkMask
	if more || h.n != h.done || h.skip {
		return h.link(data, more, p)
	}
	h.n++
	h.done = h.n
	h.packets++
	h.out++
	p.First, p.Rest, p.Len = data, nil, len(data)
	return true
}

// link is the part of take for chains. The frame is in frames[n] already.
func (h *heldFrames) link(data []byte, more bool, p *Packet) bool {
	h.segs[h.n] = data
	h.n++
	if h.skip {
		h.drop(more)
		return false
	}
	if h.n-h.done > h.maxChain {
		h.chainTooLong++
		h.drop(more)
		return false
	}
	h.length += len(data)
	if more {
		return false
	}
	chain := h.segs[h.done:h.n:h.n]
	p.First, p.Rest, p.Len = chain[0], chain[1:], h.length
	h.length = 0
	h.done = h.n
	h.packets++
	h.out++
	return true
}

// invalid deals with a descriptor that cannot be believed: its packet is dropped.
func (h *heldFrames) invalid(addr uint64, more bool) {
	h.invalidDesc++
	if !h.skip {
		h.invalidPackets++
	}
	if addr < uint64(len(h.umem)) {
		h.frames[h.n] = addr &^ h.chunkMask
		h.n++
	} else {
		h.lostFrames++
	}
	h.drop(more)
}

// drop lets go of the chain so far, and of the rest if more is to come.
func (h *heldFrames) drop(more bool) {
	h.done = h.n
	h.length = 0
	h.skip = more
}

// release gives the frames of all packets so far to the fill ring, and keeps
// those for which there is no room until the next time.
func (h *heldFrames) release(fill *fillRing) {
	pushed := fill.push(h.frames[:h.done])
	h.waiting = h.done - pushed
	// Mostly nothing is left; else the unfinished chain, a few frames.
	copy(h.segs[h.waiting:], h.segs[h.done:h.n])
	copy(h.frames, h.frames[pushed:h.n])
	h.n -= pushed
	h.done = h.waiting
	h.out = 0
}

// idle says that frames could be released without the caller, who has no packet:
// dropped ones, and those that found no room before.
func (h *heldFrames) idle() bool { return h.out == 0 && h.done > 0 }
