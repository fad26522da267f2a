package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/frame"
)

const (
	// maxRecord is the longest frame that a capture may hold: libpcap's
	// MAXIMUM_SNAPLEN, which pcapgo goes by as well.
	maxRecord = 256 << 10

	// pcapArena is the memory for the frames of a batch.
	pcapArena = 4 * maxRecord

	// batchSpan is how much stream time a batch may span, since all of it gets
	// one time stamp.
	batchSpan = int64(10 * time.Millisecond)

	// batchRecords is how many records a batch looks at, so that a file of
	// others' packets does not hold up whoever wants to stop.
	batchRecords = 4096

	// fileLookahead is how many packets after the one that stops a stream are
	// still read, as if they had waited in a ring: in a network packets overtake
	// each other, and the last ones of a stream may stand behind its stop.
	fileLookahead = 1024
)

// PCAP reads a capture file, pcap or pcapng, with Ethernet or Linux cooked link
// layer. Time is the file's: [Batch.Now] is when the packets were captured, and
// never goes back.
//
// A file that ends inside a record, or is damaged, gives what stands before, and
// then an error. Position counts the file's records. Receive never waits.
type PCAP struct {
	name      string
	file      io.Closer
	records   recordReader
	endpoints lookup
	cutter    cutter
	counters  counters

	arena []byte // len is what the batch, and the datagram in the cutter, use
	now   int64

	// The record that was read and belongs to the next batch.
	held bool
	data []byte
	at   int64
	link layers.LinkType

	read    uint64 // records taken into batches
	settled atomic.Uint64
	err     error // the end
}

var _ Source = (*PCAP)(nil)

// OpenPCAP opens a capture file. Datagrams to endpoints are handed on with their
// stream; without endpoints all datagrams are, with the given stream.
func OpenPCAP(path string, endpoints *Endpoints, stream int32) (*PCAP, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	var p *PCAP
	if err == nil {
		p, err = newPCAP(f, path, endpoints, stream)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("capture file: %w", err)
	}
	p.file = f
	return p, nil
}

func newPCAP(r io.Reader, name string, endpoints *Endpoints, stream int32) (*PCAP, error) {
	records, err := newRecordReader(r)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return &PCAP{
		name:      name,
		records:   records,
		endpoints: newLookup(endpoints, stream),
		cutter:    newCutter(true),
		arena:     make([]byte, 0, pcapArena),
	}, nil
}

// Receive implements [Source].
func (p *PCAP) Receive(b *Batch, _ time.Duration) (int, error) {
	b.reset()
	p.cutter.reset()
	if !p.cutter.active {
		p.arena = p.arena[:0]
	}
	p.fill(b)
	b.Now, b.Wall = p.now, p.now
	b.count(&p.counters)
	if len(b.Packets) == 0 && p.err != nil {
		return 0, p.err
	}
	return len(b.Packets), nil
}

func (p *PCAP) fill(b *Batch) {
	for end := p.read + batchRecords; b.room() > 0 && p.read < end; {
		if p.cutter.active {
			if !p.cutter.next(b) {
				return
			}
			if p.cutter.active {
				p.counters.superFrames.Add(1)
			}
			continue
		}
		if !p.held {
			if p.err != nil {
				return
			}
			if p.data, p.at, p.link, p.err = p.records.next(); p.err != nil {
				if p.err != io.EOF {
					p.err = fmt.Errorf("capture file: %s: record %d: %w", p.name, p.read+1, p.err)
				}
				return
			}
			p.held = true
		}
		late := p.at > p.now+batchSpan && len(b.Packets) > 0
		if late || cap(p.arena)-len(p.arena) < len(p.data) {
			return
		}
		p.held = false
		p.read++
		p.now = max(p.now, p.at)
		p.parse()
	}
}

// parse takes the record in hand into the cutter, if it is a datagram of ours.
func (p *PCAP) parse() {
	var d frame.Datagram
	switch parseLink(p.link, p.data, &d) {
	case frame.NotIPUDP:
		p.counters.notIPUDP.Add(1)
		return
	case frame.Fragment:
		p.counters.fragment.Add(1)
		return
	case frame.Truncated:
		p.counters.truncated.Add(1)
		return
	}
	stream, ok := p.endpoints.find(d.Dst)
	if !ok {
		p.counters.otherEndpoint.Add(1)
		return
	}
	from := len(p.arena)
	p.arena = append(p.arena, p.data[d.Offset:d.Offset+d.Len]...)
	p.cutter.begin(p.arena[from:], nil, d.Len, stream, heap.SenderOf(d.Src))
}

// parseLink parses a captured frame behind its link layer.
func parseLink(link layers.LinkType, data []byte, d *frame.Datagram) frame.Verdict {
	// Linux cooked: what the frame holds, as an EtherType, and where.
	typeAt, offset := 14, 16
	switch link {
	case layers.LinkTypeEthernet:
		return frame.Parse(data, len(data), d)
	case layers.LinkTypeLinuxSLL:
	case layers.LinkTypeLinuxSLL2:
		typeAt, offset = 0, 20
	default:
		return frame.NotIPUDP
	}
	if len(data) < offset {
		return frame.Truncated
	}
	return frame.ParseNetwork(binary.BigEndian.Uint16(data[typeAt:]), data, offset, len(data), d)
}

// Release implements [Source].
func (p *PCAP) Release() { p.settled.Store(p.read) }

// Mark implements [Source].
func (p *PCAP) Mark() uint64 { return p.settled.Load() + fileLookahead }

// Position implements [Source].
func (p *PCAP) Position() uint64 { return p.settled.Load() }

// Wake implements [Source]. Receive never waits.
func (p *PCAP) Wake() {}

// Counts implements [Source].
func (p *PCAP) Counts() Counts { return p.counters.snapshot() }

// Close implements [Source].
func (p *PCAP) Close() error {
	if p.file == nil {
		return nil
	}
	f := p.file
	p.file = nil
	return f.Close()
}

// Name implements [Source].
func (p *PCAP) Name() string { return p.name }

// recordReader reads the records of a capture file.
type recordReader interface {
	// next is the next captured frame, valid until the call after, and its time
	// in ns since 1970. io.EOF is the end of the file between two records.
	next() (data []byte, at int64, link layers.LinkType, err error)
}

var (
	errEndsInside = errors.New("the file ends inside it (it was cut off, or is still being written)")
	errEmpty      = errors.New("is empty")
	errShort      = errors.New("ends inside its header")
)

// newRecordReader looks at the file's first bytes.
func newRecordReader(r io.Reader) (recordReader, error) {
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
	case n>>16 == 0x1f8b:
		return nil, errors.New("is compressed by gzip (gunzip it first)")
	case n == 0x28b52ffd:
		return nil, errors.New("is compressed by zstd (unzstd it first)")
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
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errShort
	}
	if err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	// What the header says of lengths is not believed: some writers do not keep
	// to it, and others ask for gigabytes. maxRecord holds instead.
	reader.SetSnaplen(0)
	if link := reader.LinkType(); !isKnownLink(link) {
		return nil, fmt.Errorf("has link type %d (%v): Ethernet and Linux cooked can be read", link, link)
	}
	return &classicRecords{r: br, reader: reader}, nil
}

func isKnownLink(link layers.LinkType) bool {
	return link == layers.LinkTypeEthernet || link == layers.LinkTypeLinuxSLL || link == layers.LinkTypeLinuxSLL2
}

func (c *classicRecords) next() ([]byte, int64, layers.LinkType, error) {
	if _, err := c.r.Peek(1); err != nil {
		return nil, 0, 0, err // io.EOF between records is the end
	}
	data, info, err := c.reader.ZeroCopyReadPacketData()
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errEndsInside
	}
	if err != nil {
		return nil, 0, 0, err
	}
	return data, nanoseconds(info), c.reader.LinkType(), nil
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
