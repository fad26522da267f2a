// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

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
	// still read, as if they had waited in a ring. In a network packets overtake
	// each other, so the last ones of a stream may stand behind its stop.
	fileLookahead = 1024
)

// PCAP reads capture files, pcap or pcapng, plain or compressed by gzip or zstd, or a pipe.
// Several files are read as one, in the order of time. [Batch.Now] is when the packets were
// captured, and never goes back.
//
// A file that ends inside a record, or is damaged, gives what stands before, and then an
// error. Position counts records. Receive waits for a pipe only.
type PCAP struct {
	name     string
	close    func() error
	pipe     *pipe   // the only capture, if that is one
	pipes    []*pipe // all captures that are
	records  recordReader
	wants    []*wants // by file
	accept   func(*frame.Datagram) bool
	splitter splitter
	counters counters

	arena []byte // len is what the batch, and the datagram in the splitter, use
	now   int64

	// The record that was read and belongs to the next batch.
	held     bool
	rec      record
	datagram frame.Datagram // of the record; here, as accept could keep it
	foreign  bool           // the last first fragment was for another destination

	read    uint64 // records taken into batches
	settled atomic.Uint64
	err     error // the end
}

var _ Source = (*PCAP)(nil)

// Capture is a file or pipe, and what of it is wanted.
type Capture struct {
	Path string // "-" is standard input
	// Wanted are the destinations that are handed on, each with its stream. None: all are,
	// with Stream.
	Wanted []Wanted
	Stream int32
}

// Wanted is a destination in a capture.
type Wanted struct {
	Addr   netip.AddrPort // an unspecified address stands for every address
	VLAN   int            // 0 is no tag; -1 is any
	Stream int32
}

// wants finds the stream of a datagram. It belongs to one goroutine.
type wants struct {
	any    lookup // of every VLAN
	byVLAN map[int]*lookup
}

func newWants(c *Capture) (*wants, error) {
	w := &wants{any: newLookup(nil, c.Stream), byVLAN: map[int]*lookup{}}
	if len(c.Wanted) == 0 {
		return w, nil
	}
	lists := map[int][]Endpoint{-1: nil}
	for _, d := range c.Wanted {
		lists[d.VLAN] = append(lists[d.VLAN], Endpoint{d.Addr, d.Stream})
	}
	for vlan, list := range lists {
		e, err := NewEndpoints(list)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
		if l := newLookup(e, 0); vlan < 0 {
			w.any = l
		} else {
			w.byVLAN[vlan] = &l
		}
	}
	return w, nil
}

func (w *wants) find(d *frame.Datagram) (int32, bool) {
	if len(w.byVLAN) > 0 {
		if l := w.byVLAN[max(d.VLAN, 0)]; l != nil {
			if stream, ok := l.find(d.Dst); ok {
				return stream, true
			}
		}
	}
	return w.any.find(d.Dst)
}

// OpenPCAP opens captures. Several are merged by time. accept, if it is not nil, says of each
// datagram whether it is handed on; the others are counted as OtherEndpoint.
func OpenPCAP(captures []Capture, accept func(*frame.Datagram) bool) (*PCAP, error) {
	var files []*captureFile
	var all []*wants
	for i, c := range captures {
		files = append(files, &captureFile{name: c.Path, index: i})
		w, err := newWants(&c)
		if err != nil {
			return nil, fmt.Errorf("capture file: %w", err)
		}
		all = append(all, w)
	}
	if len(files) == 1 {
		f := files[0]
		if err := f.open(); err != nil {
			return nil, err
		}
		p := newPCAP(f, f.name, all, accept)
		p.close, p.pipe = f.close, f.in.pipe
		if p.pipe != nil {
			p.pipes = []*pipe{p.pipe}
		}
		return p, nil
	}
	m, err := newMerge(files)
	if err != nil {
		return nil, err
	}
	p := newPCAP(m, fmt.Sprintf("%s and %d more", files[0].name, len(files)-1), all, accept)
	p.close = m.close
	for _, f := range files {
		if f.opened && f.in.pipe != nil {
			p.pipes = append(p.pipes, f.in.pipe)
		}
	}
	return p, nil
}

func newPCAP(records recordReader, name string, all []*wants, accept func(*frame.Datagram) bool) *PCAP {
	return &PCAP{
		name:     name,
		close:    func() error { return nil },
		records:  records,
		wants:    all,
		accept:   accept,
		splitter: newSplitter(true),
		arena:    make([]byte, 0, pcapArena),
	}
}

// Receive implements [Source].
func (p *PCAP) Receive(b *Batch, timeout time.Duration) (int, error) {
	b.reset()
	p.splitter.reset()
	if !p.splitter.active {
		p.arena = p.arena[:0]
	}
	if p.idle() {
		b.wait()
		ready, err := p.pipe.wait(timeout)
		b.work()
		if err != nil {
			p.err = fmt.Errorf("capture file: %s: %w", p.name, err)
		}
		if !ready {
			return 0, p.err
		}
	}
	for _, pipe := range p.pipes {
		pipe.pulse = b.Pulse
	}
	p.fill(b)
	b.Now, b.Wall = p.now, p.now
	b.count(&p.counters)
	if len(b.Packets) == 0 && p.err != nil {
		return 0, p.err
	}
	return len(b.Packets), nil
}

// idle reports whether there is nothing to do but wait for a pipe.
func (p *PCAP) idle() bool {
	if p.pipe == nil || p.err != nil || p.held || p.splitter.active {
		return false
	}
	f := p.records.(*captureFile)
	return buffered(f.records) == 0
}

// buffered is how many bytes of a plain capture have been read and not looked at. Of a
// compressed one nothing can be said: its Receive waits for a record.
func buffered(r recordReader) int {
	switch r := r.(type) {
	case nil:
		return 0 // not even the header
	case *classicRecords:
		return r.r.Buffered()
	case *ngRecords:
		return r.guard.r.Buffered() + len(r.guard.block) - r.guard.off
	}
	return 1
}

func (p *PCAP) fill(b *Batch) {
	for end := p.read + batchRecords; b.room() > 0 && p.read < end; {
		if p.splitter.active {
			if !p.splitter.next(b) {
				return
			}
			if p.splitter.active {
				p.counters.superFrames.Add(1)
			}
			continue
		}
		if !p.held {
			if p.err != nil {
				return
			}
			if p.idle() && p.read+batchRecords > end {
				return // what has come is not kept waiting for more
			}
			if p.rec, p.err = p.records.next(); p.err != nil {
				return
			}
			p.held = true
		}
		late := p.rec.at > p.now+batchSpan && len(b.Packets) > 0
		if late || cap(p.arena)-len(p.arena) < len(p.rec.data) {
			return
		}
		p.held = false
		p.read++
		p.now = max(p.now, p.rec.at)
		p.parse()
	}
}

// parse takes the record in hand into the splitter, if it is a datagram of ours.
func (p *PCAP) parse() {
	r, d := &p.rec, &p.datagram
	switch parseLink(r.link, r.data, d) {
	case frame.NotIPUDP:
		p.counters.notIPUDP.Add(1)
		return
	case frame.Fragment:
		// The first one names the port. The others mostly follow it.
		if d.Dst.IsValid() {
			_, ours := p.wants[r.file].find(d)
			p.foreign = !ours || p.accept != nil && !p.accept(d)
		}
		if p.foreign {
			p.counters.otherEndpoint.Add(1)
		} else {
			p.counters.fragment.Add(1)
		}
		return
	case frame.Truncated:
		if r.cut {
			p.counters.captureCut.Add(1)
		} else {
			p.counters.truncated.Add(1)
		}
		return
	}
	stream, ok := p.wants[r.file].find(d)
	if !ok || p.accept != nil && !p.accept(d) {
		p.counters.otherEndpoint.Add(1)
		return
	}
	from := len(p.arena)
	p.arena = append(p.arena, r.data[d.Offset:d.Offset+d.Len]...)
	p.splitter.begin(p.arena[from:], nil, d.Len, stream, heap.SenderOf(d.Src))
}

// Release implements [Source].
func (p *PCAP) Release() { p.settled.Store(p.read) }

// Mark implements [Source]. A pipe cannot know what is still to come.
func (p *PCAP) Mark() uint64 {
	if len(p.pipes) > 0 {
		return math.MaxUint64
	}
	return p.settled.Load() + fileLookahead
}

// Position implements [Source].
func (p *PCAP) Position() uint64 { return p.settled.Load() }

// Wake implements [Source].
func (p *PCAP) Wake() {
	for _, pipe := range p.pipes {
		pipe.wake()
	}
}

// Counts implements [Source].
func (p *PCAP) Counts() Counts { return p.counters.snapshot() }

// Close implements [Source].
func (p *PCAP) Close() error { return p.close() }

// Name implements [Source].
func (p *PCAP) Name() string { return p.name }
