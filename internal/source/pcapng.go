// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	ngSectionHeader  = 0x0a0d0d0a // the same in either byte order
	ngInterface      = 1
	ngPacket         = 2 // obsolete
	ngSimplePacket   = 3
	ngEnhancedPacket = 6
)

const (
	// ngMaxBlock bounds the blocks that are read: a frame and its options.
	ngMaxBlock = maxRecord + 64<<10

	// ngMaxInterfaces bounds what the reader remembers of a section.
	ngMaxInterfaces = 1024
)

// ngRecords reads pcapng.
type ngRecords struct {
	guard  *ngGuard
	reader *pcapgo.NgReader
}

func newNgRecords(br *bufio.Reader) (*ngRecords, error) {
	guard := &ngGuard{r: br, block: make([]byte, 0, ngMaxBlock)}
	reader, err := pcapgo.NewNgReader(guard, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	switch {
	case guard.err != nil && !errors.Is(guard.err, io.EOF):
		return nil, fmt.Errorf("is damaged in its header: %w", guard.err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errShort
	case err != nil:
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	return &ngRecords{guard: guard, reader: reader}, nil
}

func (n *ngRecords) next() (record, error) {
	data, info, err := n.reader.ZeroCopyReadPacketData()
	if err != nil {
		if n.guard.err != nil {
			err = n.guard.err // the reader takes some ends for others
		}
		return record{}, err
	}
	link, _ := info.AncillaryData[0].(layers.LinkType)
	return record{data: data, at: nanoseconds(info), link: link, cut: info.CaptureLength < info.Length}, nil
}

// ngGuard passes on the blocks of a pcapng file that describe and hold packets,
// each checked as a whole before the reader sees any of it. The reader trusts
// lengths inside blocks, keeps what it reads of names and keys for ever, and
// panics on some of them.
type ngGuard struct {
	r     *bufio.Reader
	block []byte // the block being passed on
	off   int    // what of it has been
	err   error  // the end; io.EOF only between blocks

	section    bool // there has been a section header
	order      binary.ByteOrder
	interfaces int
	snaplen    uint32 // of the section's first interface; 0 if unbounded
}

// Read implements [io.Reader].
func (g *ngGuard) Read(p []byte) (int, error) {
	for g.off == len(g.block) {
		if g.err == nil {
			g.err = g.nextBlock()
		}
		if g.err != nil {
			return 0, g.err
		}
	}
	n := copy(p, g.block[g.off:])
	g.off += n
	return n, nil
}

// nextBlock reads one block, which is empty afterwards if it is to be skipped.
func (g *ngGuard) nextBlock() error {
	g.block, g.off = g.block[:0], 0
	head, err := g.r.Peek(12)
	if err == io.EOF && len(head) == 0 {
		return io.EOF
	}
	if err == io.EOF {
		return errEndsInside
	}
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(head) == ngSectionHeader {
		switch {
		case binary.BigEndian.Uint32(head[8:]) == 0x1a2b3c4d:
			g.order = binary.BigEndian
		case binary.LittleEndian.Uint32(head[8:]) == 0x1a2b3c4d:
			g.order = binary.LittleEndian
		default:
			return fmt.Errorf("section header with byte-order magic %x", head[8:12])
		}
		g.section, g.interfaces, g.snaplen = true, 0, 0
	} else if !g.section {
		return errors.New("block before the section header")
	}
	kind, length := g.order.Uint32(head), g.order.Uint32(head[4:])
	if length < 12 || length%4 != 0 {
		return fmt.Errorf("block of %d bytes", length)
	}
	switch kind {
	case ngSectionHeader, ngInterface, ngPacket, ngSimplePacket, ngEnhancedPacket:
	default:
		return discard(g.r, int64(length))
	}
	if length > ngMaxBlock {
		return fmt.Errorf("block of %d bytes (at most %d can be read)", length, ngMaxBlock)
	}
	block := g.block[:length]
	if _, err := io.ReadFull(g.r, block); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return errEndsInside
		}
		return err
	}
	if again := g.order.Uint32(block[length-4:]); again != length {
		return fmt.Errorf("block of %d bytes says at its end that it has %d", length, again)
	}
	if err := g.check(kind, block[8:length-4]); err != nil {
		return err
	}
	g.block = block
	return nil
}

// discard skips n bytes, which may be more than an int holds.
func discard(r *bufio.Reader, n int64) error {
	if m, err := io.CopyN(io.Discard, r, n); errors.Is(err, io.EOF) && m < n {
		return errEndsInside
	} else if err != nil {
		return err
	}
	return nil
}

// check looks at the body of a block: between its two lengths.
func (g *ngGuard) check(kind uint32, body []byte) error {
	fixed := 20 // of a packet, and its interface, time and lengths
	switch kind {
	case ngSectionHeader:
		fixed = 16
	case ngInterface:
		fixed = 8
	case ngSimplePacket:
		fixed = 4
	}
	if len(body) < fixed {
		return fmt.Errorf("block of type %d without its fixed part", kind)
	}
	options := body[fixed:]
	switch kind {
	case ngInterface:
		if g.interfaces++; g.interfaces > ngMaxInterfaces {
			return fmt.Errorf("more than %d interfaces", ngMaxInterfaces)
		}
		if g.interfaces == 1 {
			g.snaplen = g.order.Uint32(body[4:])
		}
	case ngSimplePacket:
		captured := g.order.Uint32(body)
		if g.snaplen > 0 {
			captured = min(captured, g.snaplen)
		}
		_, err := behind(options, captured)
		return err
	case ngPacket, ngEnhancedPacket:
		var err error
		if options, err = behind(options, g.order.Uint32(body[12:])); err != nil {
			return err
		}
	}
	return g.checkOptions(options)
}

// behind is what follows captured bytes of frame and their padding.
func behind(b []byte, captured uint32) ([]byte, error) {
	padded := (uint64(captured) + 3) &^ 3
	if padded > uint64(len(b)) || captured > maxRecord {
		return nil, fmt.Errorf("frame of %d bytes in a block with room for %d", captured, len(b))
	}
	return b[padded:], nil
}

// checkOptions sees to it that the lengths of options stay inside their block.
func (g *ngGuard) checkOptions(b []byte) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("%d bytes of options", len(b))
		}
		code, length := g.order.Uint16(b), int(g.order.Uint16(b[2:]))
		padded := (length + 3) &^ 3
		if padded > len(b)-4 {
			return fmt.Errorf("option %d of %d bytes in a block with room for %d", code, length, len(b)-4)
		}
		if code == 0 {
			return nil // the end of the options
		}
		b = b[4+padded:]
	}
	return nil
}
