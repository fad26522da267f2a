// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// DefaultMaxPacket is what fits into an Ethernet frame of 1500 bytes.
	DefaultMaxPacket = 1472

	// prefixSize is the header with the four pointers every packet begins with.
	prefixSize = headerSize + 4*pointerSize

	// minMaxPacket leaves room for one pointer of an item and one word of payload.
	minMaxPacket = prefixSize + pointerSize + wordSize

	// maxMaxPacket is beyond any UDP datagram, and below where a packet full
	// of item pointers would have more than its 16-bit count can say.
	maxMaxPacket = 65535

	// Payload is cut at multiples of a word, for the receiver's copies.
	wordSize = 8
)

// ErrRepeatPointers says that the item pointers of a heap do not fit into one
// packet, though each packet shall repeat them all.
var ErrRepeatPointers = errors.New("packet size is too small to repeat item pointers")

// OutItem is an item to send.
type OutItem struct {
	ID        uint64
	Immediate bool   // Value is sent in the pointer itself; Data is not used
	Value     uint64 // at most the flavour's MaxValue
	Data      []byte // of an addressed item, any length; not copied

	// Fixed says that the item's shape never varies. Then it is sent as an
	// immediate item if Data has no more bytes than a value has, H/8, as
	// spead2 does.
	Fixed bool
}

// ControlItem is the item that makes a heap a start, stop or other control
// heap: code is [CtrlStart] and so on. The usual stop heap holds it alone.
func ControlItem(code uint64) OutItem {
	return OutItem{ID: IDStreamCtrl, Immediate: true, Value: code}
}

// PacketiserConfig says how packets are made. Only Flavour must be given.
type PacketiserConfig struct {
	Flavour Flavour

	// MaxPacket is the largest UDP payload in bytes, 56 to 65535. It is
	// rounded down to a multiple of 8. Default: 1472.
	MaxPacket int

	// RepeatPointers puts the pointers of all items into each packet, not only
	// into the first ones: a receiver then knows every item from any packet.
	RepeatPointers bool
}

// Packetiser cuts heaps into packets, one heap after the other:
//
//	for each heap: Start, then Next (or AppendNext) until it reports false
//
// The packets are those of spead2's sender. Each has the four pointers that make it
// part of the heap. The first ones then have the items' pointers. All have payload, so
// no two packets of a heap have the same offset, and a lost one leaves a hole. A heap
// with too little payload for that, or with none, is padded with zeros. A NULL pointer
// keeps them out of the last item. Every packet but the last of a heap holds a multiple
// of 8 bytes.
//
// A Packetiser belongs to one goroutine. After its construction it allocates
// nothing.
type Packetiser struct {
	flavour      Flavour
	maxPacket    int // multiple of 8
	maxPointers  int // items' pointers in one packet
	immediateMax int // bytes of an immediate value
	repeat       bool

	// The heap under way.
	items    []OutItem
	cnt      uint64
	length   uint64 // of the payload, padding included
	data     uint64 // of the payload, padding not included
	pad      bool   // a NULL pointer follows the items
	sent     uint64 // payload that packets have been made of
	pointer  int    // item whose pointer comes next, len(items) for the NULL
	address  uint64 // its offset if it is addressed
	item     int    // item whose payload comes next
	itemSent int    // of that payload
}

// NewPacketiser checks c. The result has no heap to send yet.
func NewPacketiser(c PacketiserConfig) (*Packetiser, error) {
	if !c.Flavour.Valid() {
		return nil, fmt.Errorf("spead: %d heap address bits are no flavour (8, 16, … or 56)", c.Flavour)
	}
	if c.MaxPacket == 0 {
		c.MaxPacket = DefaultMaxPacket
	}
	if c.MaxPacket < minMaxPacket || c.MaxPacket > maxMaxPacket {
		return nil, fmt.Errorf("spead: packet size %d is not within %d to %d", c.MaxPacket, minMaxPacket, maxMaxPacket)
	}
	maxPacket := c.MaxPacket &^ (wordSize - 1)
	return &Packetiser{
		flavour:      c.Flavour,
		maxPacket:    maxPacket,
		maxPointers:  (maxPacket - prefixSize - wordSize) / pointerSize,
		immediateMax: c.Flavour.AddrBits() / 8,
		repeat:       c.RepeatPointers,
	}, nil
}

// MaxPacket is the size of the largest packet that can come.
func (p *Packetiser) MaxPacket() int { return p.maxPacket }

// Start begins the heap cnt, of which the lowest H bits are sent. What was
// left of the heap before is dropped. It keeps items and their data, which must
// not change until the last packet of the heap has been sent; their order is
// that of their pointers and of their payload. The error says which item is
// impossible in this flavour, or is [ErrRepeatPointers]; there is no heap to
// send then.
func (p *Packetiser) Start(cnt uint64, items []OutItem) error {
	p.items = nil
	p.length, p.sent = 0, 0
	var data uint64
	for i := range items {
		it := &items[i]
		if it.ID > p.flavour.MaxID() || it.ID >= IDHeapCnt && it.ID <= IDPayloadLength {
			return fmt.Errorf("spead: item %d: id %#x cannot be sent in flavour %v (5 to %#x, or 0)", i, it.ID, p.flavour, p.flavour.MaxID())
		}
		if it.Immediate && it.Value > p.flavour.MaxValue() {
			return fmt.Errorf("spead: item %d, id %#x: value %#x has more than %d bits", i, it.ID, it.Value, p.flavour)
		}
		if !p.immediate(it) {
			data += uint64(len(it.Data))
		}
	}

	// The items' pointers need this many packets, counting a NULL with them.
	packets := len(items)/p.maxPointers + 1
	if p.repeat && packets > 1 {
		return fmt.Errorf("spead: %d items, packet size %d: %w", len(items), p.maxPacket, ErrRepeatPointers)
	}
	length := max(data, uint64(packets-1)*wordSize+1)
	if length > p.flavour.MaxValue() {
		return fmt.Errorf("spead: heap payload of %d bytes is more than flavour %v can address (%d)", length, p.flavour, p.flavour.MaxValue())
	}

	p.items = items
	p.cnt = cnt
	p.length, p.data, p.pad = length, data, length > data
	p.pointer, p.address = 0, 0
	p.item, p.itemSent = 0, 0
	return nil
}

// immediate reports whether it goes into its pointer.
func (p *Packetiser) immediate(it *OutItem) bool {
	return it.Immediate || it.Fixed && len(it.Data) <= p.immediateMax
}

// Next makes the next packet of the heap. It appends the header and the item pointers to
// hdr and the payload to segs. The payload is slices of the items' data and, where it is
// padded, of constant zeros. Nobody may write to these. Next reports false, and appends
// nothing, when the heap has no more packets.
func (p *Packetiser) Next(hdr []byte, segs [][]byte) ([]byte, [][]byte, bool) {
	if p.sent == p.length {
		return hdr, segs, false
	}
	if p.repeat {
		p.pointer, p.address = 0, 0
	}
	pointers := len(p.items) - p.pointer
	if p.pad {
		pointers++
	}
	pointers = min(pointers, p.maxPointers)
	payload := min(p.length-p.sent, uint64(p.maxPacket-prefixSize-pointers*pointerSize))

	hdr = appendHeader(hdr, p.flavour, 4+pointers)
	hdr = appendSpecials(hdr, p.flavour, p.cnt, p.length, p.sent, payload)
	for range pointers {
		hdr = appendPointer(hdr, p.nextPointer())
	}
	p.sent += payload
	return hdr, p.appendPayload(segs, int(payload)), true
}

// nextPointer makes the pointer of the item p.pointer and goes on to the next.
func (p *Packetiser) nextPointer() Pointer {
	if p.pointer == len(p.items) {
		p.pointer++
		return p.flavour.Addressed(IDNull, p.data)
	}
	it := &p.items[p.pointer]
	p.pointer++
	switch {
	case it.Immediate:
		return p.flavour.Immediate(it.ID, it.Value)
	case p.immediate(it):
		var value uint64
		for _, b := range it.Data {
			value = value<<8 | uint64(b)
		}
		return p.flavour.Immediate(it.ID, value)
	default:
		ptr := p.flavour.Addressed(it.ID, p.address)
		p.address += uint64(len(it.Data))
		return ptr
	}
}

// padding is what heaps are padded with: at most a word in any packet.
var padding [wordSize]byte

// appendPayload appends the next n bytes of the heap's payload to segs.
func (p *Packetiser) appendPayload(segs [][]byte, n int) [][]byte {
	for n > 0 && p.item < len(p.items) {
		it := &p.items[p.item]
		if p.immediate(it) || p.itemSent == len(it.Data) {
			p.item++
			p.itemSent = 0
			continue
		}
		part := it.Data[p.itemSent:]
		part = part[:min(n, len(part))]
		segs = append(segs, part)
		p.itemSent += len(part)
		n -= len(part)
	}
	if n > 0 {
		segs = append(segs, padding[:n])
	}
	return segs
}

// AppendNext is Next for those who want the packet in one piece: it appends a
// copy of the whole packet to dst.
func (p *Packetiser) AppendNext(dst []byte) ([]byte, bool) {
	var few [8][]byte
	dst, segs, ok := p.Next(dst, few[:0])
	for _, s := range segs {
		dst = append(dst, s...)
	}
	return dst, ok
}

// appendHeader appends the header of a packet with that many item pointers.
func appendHeader(dst []byte, f Flavour, pointers int) []byte {
	addrBytes := uint64(f.AddrBits() / 8)
	return binary.BigEndian.AppendUint64(dst,
		magicVersion<<48|(8-addrBytes)<<40|addrBytes<<32|uint64(pointers))
}

// appendSpecials appends the four pointers that make a packet part of a heap.
func appendSpecials(dst []byte, f Flavour, cnt, heapLength, offset, length uint64) []byte {
	dst = appendPointer(dst, f.Immediate(IDHeapCnt, cnt))
	dst = appendPointer(dst, f.Immediate(IDHeapLength, heapLength))
	dst = appendPointer(dst, f.Immediate(IDPayloadOffset, offset))
	return appendPointer(dst, f.Immediate(IDPayloadLength, length))
}

func appendPointer(dst []byte, p Pointer) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(p))
}
