// SPDX-License-Identifier: Apache-2.0

package spead

import "encoding/binary"

const (
	headerSize  = 8 // before the item pointers
	pointerSize = 8

	magicVersion = 0x5304 // the first two bytes of every packet
)

// Packet is what the headers of one packet say. It is filled by
// [Packet.Decode] and belongs to one goroutine; the zero value is ready.
type Packet struct {
	Cnt           uint64  // number of the heap
	HeapLength    int64   // bytes of payload in the whole heap, -1 if the packet does not say
	PayloadOffset int64   // where in the heap's payload this packet's goes
	PayloadLength int64   // bytes of payload in this packet
	Control       int64   // value of the stream control item, -1 if there is none
	Pointers      []byte  // the item pointers, a part of Decode's input
	HeaderLen     int     // bytes before the payload
	Flavour       Flavour // of all the packet's pointers

	// Extra counts the pointers besides the immediate items 1 to 4: those
	// that a heap has to look at. Among them can be NULLs, which end the item
	// before them, and addressed items 1 to 4, which mean nothing but raise
	// the length of a heap that does not state it.
	Extra int

	plain bool // the four pointers that place a packet, in the usual order, and no others
}

// Decode reads the packet that begins with first and is size bytes long in
// all, in this segment and those that follow it. It accepts what spead2
// accepts and rejects in the same order; every item pointer must lie in
// first. Bytes after the payload are allowed: a caller that holds exactly one
// datagram compares [Packet.Size] with its size. Where an item stands twice
// the last counts.
//
// Pointers refers to first afterwards. After a reject the fields mean
// nothing. Decode does not allocate, whatever the input.
func (p *Packet) Decode(first []byte, size int) Reason {
	if size < headerSize {
		return TooShort
	}
	if len(first) < headerSize {
		return HeadersSplit
	}
	header := binary.BigEndian.Uint64(first)
	if header>>48 != magicVersion {
		return BadMagic
	}
	idBytes, addrBytes := header>>40&0xff, header>>32&0xff
	if idBytes == 0 || addrBytes == 0 || idBytes+addrBytes != 8 {
		return BadFlavour
	}
	f := Flavour(addrBytes * 8)
	headerLen := headerSize + pointerSize*int(header&0xffff)
	if headerLen > size {
		return ItemsOverflow
	}
	if headerLen > len(first) {
		return HeadersSplit
	}

	p.Flavour = f
	p.HeaderLen = headerLen
	p.Pointers = first[headerSize:headerLen]

	var (
		cnt, heapLength  int64 = -1, -1
		offset, length   int64 = -1, -1
		control          int64 = -1
		specials         int
		plain            bool
		modeBit, maximum = f.MaxID() + 1, f.MaxValue()
	)
	b := p.Pointers
	if len(b) >= 4*pointerSize {
		// Senders put first what places a packet, and in this order, spead2 at
		// least. That is one comparison instead of four.
		w0, w1 := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[pointerSize:])
		w2, w3 := binary.BigEndian.Uint64(b[2*pointerSize:]), binary.BigEndian.Uint64(b[3*pointerSize:])
		s := f & 63
		if (w0>>s^(modeBit|IDHeapCnt))|(w1>>s^(modeBit|IDHeapLength))|(w2>>s^(modeBit|IDPayloadOffset))|(w3>>s^(modeBit|IDPayloadLength)) == 0 {
			cnt, heapLength = int64(w0&maximum), int64(w1&maximum)
			offset, length = int64(w2&maximum), int64(w3&maximum)
			specials = 4
			b = b[4*pointerSize:]
			plain = len(b) == 0
		}
	}
	for ; len(b) >= pointerSize; b = b[pointerSize:] {
		v := binary.BigEndian.Uint64(b)
		value := int64(v & maximum)
		// The mode bit is flipped to 0 for immediates, so that only they can
		// equal one of the constants.
		switch v>>f ^ modeBit {
		case IDHeapCnt:
			cnt = value
		case IDHeapLength:
			heapLength = value
		case IDPayloadOffset:
			offset = value
		case IDPayloadLength:
			length = value
		case IDStreamCtrl:
			control = value
			continue
		default:
			continue
		}
		specials++
	}
	if cnt < 0 || offset < 0 || length < 0 {
		return MissingItems
	}
	// No sum below can overflow: values have at most 56 bits.
	if length > int64(size-headerLen) {
		return PayloadOverflow
	}
	if heapLength >= 0 && offset+length > heapLength {
		return HeapOverflow
	}
	p.Cnt = uint64(cnt)
	p.HeapLength = heapLength
	p.PayloadOffset = offset
	p.PayloadLength = length
	p.Control = control
	p.Extra = p.NumPointers() - specials
	p.plain = plain
	return OK
}

// DecodeNext is Decode for a packet that continues prev, as most packets continue the one
// before them. Such a packet is of the same heap. Its payload has the same length, and
// begins where prev's ends. Both have no pointers but the four that place a packet, in the
// order in which spead2 sends them. DecodeNext reports whether that is so; if not, p means
// nothing. It costs a fraction of what Decode does.
func (p *Packet) DecodeNext(prev *Packet, first []byte, size int) bool {
	if !prev.plain || size != prev.Size() || len(first) < headerSize+4*pointerSize {
		return false
	}
	a, b := prev.Pointers[:4*pointerSize], first[headerSize:headerSize+4*pointerSize:headerSize+4*pointerSize]
	f, step := uint64(prev.Flavour), uint64(prev.PayloadLength)
	if binary.BigEndian.Uint64(first) != magicVersion<<48|(8-f/8)<<40|f/8<<32|4 ||
		binary.BigEndian.Uint64(b) != binary.BigEndian.Uint64(a) ||
		binary.BigEndian.Uint64(b[pointerSize:]) != binary.BigEndian.Uint64(a[pointerSize:]) ||
		binary.BigEndian.Uint64(b[2*pointerSize:]) != binary.BigEndian.Uint64(a[2*pointerSize:])+step ||
		binary.BigEndian.Uint64(b[3*pointerSize:]) != binary.BigEndian.Uint64(a[3*pointerSize:]) {
		return false
	}
	if prev.PayloadOffset+2*prev.PayloadLength > prev.HeapLength { // also if that is not known
		return false
	}
	*p = *prev
	p.PayloadOffset += prev.PayloadLength
	p.Pointers = b
	return true
}

// Size is the packet's size in bytes, headers and payload.
func (p *Packet) Size() int { return p.HeaderLen + int(p.PayloadLength) }

// NumPointers is the number of item pointers, those of the items 1 to 4
// included.
func (p *Packet) NumPointers() int { return len(p.Pointers) / pointerSize }

// Pointer is the i-th item pointer, from 0.
func (p *Packet) Pointer(i int) Pointer {
	return Pointer(binary.BigEndian.Uint64(p.Pointers[i*pointerSize:]))
}
