// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/binary"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

const (
	headerSize   = 8 // of a SPEAD packet, before its item pointers
	magicVersion = 0x5304

	// scratchSize holds the headers that lie across two segments of one batch.
	// One header is shorter than a datagram, so any fits into an empty scratch.
	scratchSize = 128 << 10

	// arenaSize is how many segments after the first the packets of a batch
	// may have together: 64 frames of 64 KiB.
	arenaSize = 64 * 18
)

// splitter makes packets out of a datagram that lies in one or more segments: cut
// where SPEAD packets end, if split is set, and each with its header in one
// piece.
//
//	segments   |hhhppppp hhhppppp hh| |hppppp hhhppppp|
//	packets     hhhppppp
//	                     hhhppppp
//	                              hhh            ppppp      First is a copy
//	                                        hhhppppp
//
// It holds one datagram at a time. What it makes refers to the datagram's own
// memory and to that of the splitter, and is valid until reset.
type splitter struct {
	split bool

	// The datagram in hand: what is left of the current segment, the segments
	// after it, and how many bytes of all that belong to the datagram.
	active bool
	first  []byte
	rest   [][]byte
	left   int
	stream int32
	from   heap.Sender

	arena   [][]byte // len is what packets of this batch use
	scratch []byte   // likewise
	packet  spead.Packet
}

func newSplitter(split bool) splitter {
	return splitter{split: split, arena: make([][]byte, 0, arenaSize), scratch: make([]byte, 0, scratchSize)}
}

// reset forgets the packets made so far; the datagram in hand stays.
func (c *splitter) reset() { c.arena, c.scratch = c.arena[:0], c.scratch[:0] }

// begin takes a datagram of length bytes in hand, which are in first and rest
// and may be followed by others.
func (c *splitter) begin(first []byte, rest [][]byte, length int, stream int32, from heap.Sender) {
	c.active, c.first, c.rest, c.left, c.stream, c.from = true, first, rest, length, stream, from
}

// next moves one packet of the datagram in hand to b, which has room for it. It
// returns false if the splitter's own memory has no more room in this batch. The
// last packet ends the datagram.
func (c *splitter) next(b *Batch) bool {
	for len(c.first) == 0 && len(c.rest) > 0 {
		c.first, c.rest = c.rest[0], c.rest[1:]
	}
	header := c.first[:min(len(c.first), c.left)]
	straddles := c.headerNeed()
	if straddles > 0 {
		if cap(c.scratch)-len(c.scratch) < straddles {
			return false
		}
		header = c.peek(straddles)
	}
	if cap(c.arena)-len(c.arena) < len(c.rest)+1 {
		if len(c.arena) > 0 {
			return false
		}
		// A chain longer than any datagram needs, once.
		c.arena = make([][]byte, 0, 2*len(c.rest)+1)
	}

	size := c.left
	if c.split {
		if c.packet.Decode(header, c.left) == spead.OK && c.isPacketAt(c.packet.Size()) {
			size = c.packet.Size()
		}
	}
	p := heap.Packet{Len: size, From: c.from}
	if straddles > 0 {
		c.scratch = c.scratch[:len(c.scratch)+straddles]
		p.First = header
		c.skip(straddles)
	} else {
		p.First = c.chunk(size)
	}
	from := len(c.arena)
	for n := size - len(p.First); n > 0; {
		part := c.chunk(n)
		if part == nil {
			break // the caller's length is not that of the segments
		}
		c.arena = append(c.arena, part)
		n -= len(part)
	}
	if to := len(c.arena); to > from {
		p.Rest = c.arena[from:to:to]
	}
	c.left -= size
	if c.left == 0 {
		c.active, c.first, c.rest = false, nil, nil
	}
	b.add(p, c.stream)
	return true
}

// headerLies reports whether first has the whole SPEAD header and all item
// pointers of the packet that begins there.
func headerLies(first []byte) bool {
	return len(first) >= headerSize && len(first) >= headerSize+8*int(binary.BigEndian.Uint16(first[6:]))
}

// headerNeed is how many bytes of SPEAD header and item pointers have to be put
// in one piece at the cursor, 0 if they are.
func (c *splitter) headerNeed() int {
	if len(c.first) >= c.left || len(c.rest) == 0 {
		return 0
	}
	var fixed [headerSize]byte
	n := min(headerSize, c.left)
	c.copyOut(fixed[:n], 0)
	if n < headerSize || binary.BigEndian.Uint16(fixed[:]) != magicVersion {
		if len(c.first) < n {
			return n
		}
		return 0
	}
	if whole := headerSize + 8*int(binary.BigEndian.Uint16(fixed[6:])); whole <= c.left {
		n = whole
	}
	if len(c.first) < n {
		return n
	}
	return 0
}

// peek copies the next n bytes to the free part of the scratch, which has room.
func (c *splitter) peek(n int) []byte {
	free := c.scratch[len(c.scratch):]
	out := free[:n:n]
	c.copyOut(out, 0)
	return out
}

// isPacketAt reports whether another SPEAD packet seems to begin n bytes after
// the cursor, inside the datagram.
func (c *splitter) isPacketAt(n int) bool {
	if n <= 0 || c.left-n < headerSize {
		return false
	}
	var magic [2]byte
	c.copyOut(magic[:], n)
	return binary.BigEndian.Uint16(magic[:]) == magicVersion
}

// copyOut copies what is offset bytes after the cursor, without moving it.
func (c *splitter) copyOut(dst []byte, offset int) {
	segment, rest := c.first, c.rest
	for {
		if offset < len(segment) {
			n := copy(dst, segment[offset:])
			dst, offset = dst[n:], 0
		} else {
			offset -= len(segment)
		}
		if len(dst) == 0 || len(rest) == 0 {
			return
		}
		segment, rest = rest[0], rest[1:]
	}
}

// chunk takes up to n bytes that lie together from the cursor; nil at the end.
func (c *splitter) chunk(n int) []byte {
	for len(c.first) == 0 {
		if len(c.rest) == 0 {
			return nil
		}
		c.first, c.rest = c.rest[0], c.rest[1:]
	}
	n = min(n, len(c.first))
	part := c.first[:n:n]
	c.first = c.first[n:]
	return part
}

// skip moves the cursor n bytes on.
func (c *splitter) skip(n int) {
	for n > 0 {
		part := c.chunk(n)
		if part == nil {
			return
		}
		n -= len(part)
	}
}
