// SPDX-License-Identifier: Apache-2.0

package send

import "github.com/speadx/speadx/spead"

const (
	// A batch goes to the engine when it has this many packets or bytes. That is
	// enough for system calls not to count. It is little enough to stay in the
	// cache, and to react to a signal.
	batchPackets = 512
	batchBytes   = 1 << 20

	// maxSegments bounds what one packet asks of the kernel's gather lists,
	// however small the items are. More payload slices than that are copied.
	maxSegments = 8
)

// packet is one packet in pieces: hdr and then segs.
type packet struct {
	dest int // index of the destination
	hdr  []byte
	segs [][]byte
	size int
}

// make fills p with the next packet of the heap. p's memory is used again.
func (p *packet) make(from *spead.Packetiser, dest int) (ok bool) {
	p.dest = dest
	p.hdr, p.segs, ok = from.Next(p.hdr[:0], p.segs[:0])
	p.size = len(p.hdr)
	for _, s := range p.segs {
		p.size += len(s)
	}
	if len(p.segs) > maxSegments {
		for _, s := range p.segs {
			p.hdr = append(p.hdr, s...)
		}
		p.segs = p.segs[:0]
	}
	return ok
}

// copyFrom makes p one piece of memory of its own with the bytes of q.
func (p *packet) copyFrom(q *packet) {
	p.dest, p.size = q.dest, q.size
	p.hdr = append(p.hdr[:0], q.hdr...)
	for _, s := range q.segs {
		p.hdr = append(p.hdr, s...)
	}
	p.segs = p.segs[:0]
}

// batch is the packets that go to the engine next. Their memory is used again
// and again, so that nothing is allocated per packet.
type batch struct {
	packets [batchPackets]packet
	n       int
	bytes   int
	limit   int // of bytes, at most batchBytes
}

// next is a packet to fill. It becomes part of the batch by add.
func (b *batch) next() *packet { return &b.packets[b.n] }

// add takes the packet that next gave, and reports whether the batch is full.
func (b *batch) add() (full bool) {
	b.bytes += b.packets[b.n].size
	b.n++
	return b.n == len(b.packets) || b.bytes >= b.limit
}

// byDestination hands packets that follow each other to one destination to send,
// which says how many it has sent. It stops at the first error.
func byDestination(packets []packet, send func(dest int, packets []packet) (int, error)) (sent int, err error) {
	for sent < len(packets) && err == nil {
		dest, end := packets[sent].dest, sent+1
		for end < len(packets) && packets[end].dest == dest {
			end++
		}
		var n int
		n, err = send(dest, packets[sent:end])
		sent += n
	}
	return sent, err
}
