// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/klauspost/compress/zstd"
)

// record is one captured frame. Its data is valid until the next call of next.
type record struct {
	data []byte
	at   int64 // when it was captured, ns since 1970
	link layers.LinkType
	cut  bool // the capture holds only the frame's beginning
	file int  // which of several files it is from
}

// recordReader reads the records of captures.
type recordReader interface {
	// next is the next captured frame. io.EOF is the end between two records.
	next() (record, error)
}

var (
	errEndsInside = errors.New("the file ends inside it (it was cut off, or is still being written)")
	errEmpty      = errors.New("is empty")
	errShort      = errors.New("ends inside its header")
)

// Magic numbers of what a capture may begin with.
const (
	magicGzip = 0x1f8b // of two bytes
	magicZstd = 0x28b52ffd
)

// zstdWindow bounds the memory of a zstd stream. It is what zstd itself accepts without
// --long.
const zstdWindow = 128 << 20

// newRecordReader looks at the first bytes, which may be those of a compressed file.
func newRecordReader(r io.Reader) (recordReader, error) { return sniff(r, false) }

func sniff(r io.Reader, unpacked bool) (recordReader, error) {
	br := bufio.NewReaderSize(r, maxRecord)
	magic, err := br.Peek(4)
	switch {
	case err == io.EOF && len(magic) == 0:
		return nil, errEmpty
	case err == io.EOF:
		return nil, errShort
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	switch n := binary.BigEndian.Uint32(magic); {
	case n == ngSectionHeader:
		return newNgRecords(br)
	case n == 0xa1b2c3d4, n == 0xd4c3b2a1, n == 0xa1b23c4d, n == 0x4d3cb2a1: // µs and ns, either byte order
		return newClassicRecords(br)
	case n == 0xa1b2cd34, n == 0x34cdb2a1:
		return nil, errors.New("is of the modified pcap format of old Linux libpcap (editcap -F pcap converts it)")
	case unpacked && (n>>16 == magicGzip || n == magicZstd):
		return nil, errors.New("is compressed twice (unpack it first)")
	case n>>16 == magicGzip:
		z, err := gzip.NewReader(br)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // io.EOF is the end of the records
		}
		if err != nil {
			return nil, fmt.Errorf("cannot be unpacked by gzip: %w", err)
		}
		return sniff(z, true)
	case n == magicZstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("cannot be unpacked by zstd: %w", err)
		}
		return sniff(z, true)
	}
	return nil, fmt.Errorf("is neither a pcap nor a pcapng file: it begins with %x", magic)
}

// classicRecords reads the original format.
type classicRecords struct {
	r      *bufio.Reader
	reader *pcapgo.Reader
}

func newClassicRecords(br *bufio.Reader) (*classicRecords, error) {
	// The reader buffers no further: br is large enough for it.
	reader, err := pcapgo.NewReader(br)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errShort
	}
	if err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	// What the header says of lengths is not believed: some writers do not keep
	// to it, and others ask for gigabytes. maxRecord holds instead.
	reader.SetSnaplen(0)
	if link := reader.LinkType(); !isKnownLink(link) {
		return nil, fmt.Errorf("has link type %d (%v): Ethernet, Linux cooked, raw IP, null, loop and PPP can be read", link, link)
	}
	return &classicRecords{r: br, reader: reader}, nil
}

func (c *classicRecords) next() (record, error) {
	if _, err := c.r.Peek(1); err != nil {
		return record{}, err // io.EOF between records is the end
	}
	data, info, err := c.reader.ZeroCopyReadPacketData()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errEndsInside
	}
	if err != nil {
		return record{}, err
	}
	return record{data: data, at: nanoseconds(info), link: c.reader.LinkType(), cut: info.CaptureLength < info.Length}, nil
}

// nanoseconds is the time of a record since 1970, 0 if it has none. What does
// not fit is bounded.
func nanoseconds(info gopacket.CaptureInfo) int64 {
	const last = 1 << 33 // s, in the year 2242
	s := info.Timestamp.Unix()
	switch {
	case s < 0:
		return 0
	case s >= last:
		return last * int64(time.Second)
	}
	return s*int64(time.Second) + int64(info.Timestamp.Nanosecond())
}
