// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/binary"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

const (
	// maxStreamPacket is how long a packet in a stream of bytes may be, as in
	// spead2: longer than any UDP datagram.
	maxStreamPacket = 64 << 10

	// maxStreamHeader is the longest header there can be, with all the item
	// pointers that its 16-bit count can say.
	maxStreamHeader = headerSize + pointerSize*0xffff

	// pointerSize is that of an item pointer.
	pointerSize = 8
)

// framer finds the packets in a stream of bytes, in which they follow each
// other and nothing but their own lengths says where one ends. It has a piece
// of memory that the bytes come into, of which the packets are parts:
//
//	         from            to
//	┌─────────┬───────────────┬──────────────┐
//	│ lent to │ to be cut     │ to be filled │
//	│ a batch │ into packets  │              │
//	└─────────┴───────────────┴──────────────┘
//
// Where no packet begins, sync is lost, and each 8 bytes are tried in turn until
// one begins again. Such a stretch, however long, counts as one packet: the
// header at which it begins is handed on, so that the assembler gives it the fate
// that says why. What is too long is passed over as a whole.
type framer struct {
	memory   []byte // at least twice maxStreamHeader
	from, to int
	need     int       // bytes to be cut that must be there before another look is of use
	pass     int       // bytes of a packet that is too long, which are still to come
	lost     bool      // the last bytes cut belonged to no packet
	bare     bareBytes // of the bytes to be cut, while sync is lost
	stream   int32
	sender   heap.Sender
	counters *counters
}

func newFramer(memory []byte, stream int32, c *counters) framer {
	return framer{memory: memory, need: headerSize, stream: stream, counters: c}
}

// space is where the next bytes of the stream go. No packets may be lent: what is
// not cut yet is moved to the front where there is little room behind it.
func (f *framer) space() []byte {
	switch {
	case f.from == f.to:
		f.from, f.to = 0, 0
	case len(f.memory)-f.to < maxStreamPacket:
		f.to = copy(f.memory, f.memory[f.from:f.to])
		f.from = 0
	}
	return f.memory[f.to:]
}

// filled says that n bytes have been written to space.
func (f *framer) filled(n int) { f.to += n }

// cut moves packets to b until it is full, or the next packet is not whole yet.
func (f *framer) cut(b *Batch) {
	for b.room() > 0 {
		n := min(f.pass, f.to-f.from)
		f.pass -= n
		f.from += n
		data := f.memory[f.from:f.to]
		if len(data) < f.need {
			return
		}
		f.need = headerSize
		what, n := measure(data, &f.bare)
		switch {
		case what == noPacket:
			if !f.lost {
				f.add(b, data[:n:n])
			}
			f.lose(headerSize)
		case what == partOfHeader || n <= maxStreamPacket && n > len(data):
			f.need = n
			return
		case n > maxStreamPacket:
			f.counters.tooLong.Add(1)
			f.pass = n
			f.find()
		default:
			f.add(b, data[:n:n])
			f.from += n
			f.find()
		}
	}
}

func (f *framer) add(b *Batch, packet []byte) {
	b.add(heap.Packet{First: packet, Len: len(packet), From: f.sender}, f.stream)
}

// lose passes over n bytes in which no packet begins.
func (f *framer) lose(n int) {
	f.lost = true
	f.from += n
	f.counters.skippedBytes.Add(uint64(n))
	for i := range f.bare {
		f.bare[i] -= n
	}
}

// find is called where a packet begins. What follows it need not be a multiple of
// 8 bytes away, and is searched anew.
func (f *framer) find() {
	if f.lost {
		f.lost, f.bare = false, bareBytes{}
	}
}

// end is the end of the stream. Nothing is left to be cut then but a packet of
// which the end is missing.
func (f *framer) end() {
	left := f.to - f.from
	switch {
	case left == 0: // also where not all of a packet that is too long has come
	case f.lost && left < headerSize: // too few to look for a packet in
		f.lose(left)
	default:
		f.counters.truncated.Add(1)
	}
	f.from, f.to, f.pass, f.need = 0, 0, 0, headerSize
}

// bareBytes says, by the bytes of an address in the header's flavour, how many of the next
// bytes were searched and hold no item of payload length. Where sync is lost, headers of
// many item pointers may begin 8 bytes apart. Without bareBytes the same pointers would be
// searched again for each of them. A sender of such headers would keep the thread for
// minutes. Below 8 it says nothing.
type bareBytes [8]int

// What measure finds at the beginning of some bytes, and what it measures.
type finding uint8

const (
	wholeHeader  finding = iota // the packet's size, which may be more than is there
	partOfHeader                // as much as is needed to say more
	noPacket                    // the header in which that shows
)

// measure looks for a packet at the beginning of data, which has 8 bytes at least.
// Its size follows from the first item of payload length, as in spead2; where
// another follows it, which counts for the assembler, the packet is refused there.
func measure(data []byte, bare *bareBytes) (what finding, n int) {
	header := binary.BigEndian.Uint64(data)
	if header>>48 != magicVersion {
		return noPacket, headerSize
	}
	idBytes, addrBytes := header>>40&0xff, header>>32&0xff
	if idBytes == 0 || addrBytes == 0 || idBytes+addrBytes != 8 {
		return noPacket, headerSize
	}
	n = headerSize + pointerSize*int(header&0xffff)
	if n > len(data) {
		return partOfHeader, n
	}
	flavour := spead.Flavour(8 * addrBytes)
	at := max(headerSize, bare[addrBytes])
	for ; at < n; at += pointerSize {
		p := spead.Pointer(binary.BigEndian.Uint64(data[at:]))
		if p.IsImmediate() && flavour.ID(p) == spead.IDPayloadLength {
			// No sum can overflow: values have at most 56 bits.
			return wholeHeader, n + int(flavour.Value(p))
		}
	}
	bare[addrBytes] = at
	return noPacket, n
}
