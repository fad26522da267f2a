// SPDX-License-Identifier: Apache-2.0

package source

import (
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pulse"
)

// Source yields packets in batches. The methods say in [AFXDP], [UDP], [TCP] and
// [PCAP] what is particular to each.
type Source interface {
	// Receive empties b and fills it with as many packets as there are, up to
	// its capacity. It waits for the first at most timeout. It may return 0
	// early: after Wake, or when all that came was not ours. io.EOF is the end
	// of a file or of a connection, any other error the end of the source. With
	// an error there are no packets.
	Receive(b *Batch, timeout time.Duration) (n int, err error)

	// Release gives back the memory of the last batch, whose packets must not
	// be used any more. It is called before the next Receive, also after an
	// empty one.
	Release()

	// Mark is the position at which all that waits in the source now will have
	// been worked off: what the ring held when a stop was seen. Sources that
	// cannot know say math.MaxUint64; of those a Receive that waited and found
	// nothing shows that they are worked off.
	Mark() uint64

	// Position counts what has been received and released. It never goes back
	// and never passes Mark.
	Position() uint64

	// Wake makes a Receive that waits, or else the next one that would wait,
	// return now.
	Wake()

	// Counts is what has become of the source's packets so far. It can still
	// be read after Close.
	Counts() Counts

	// Close gives everything back. It may be called again, but not during
	// Receive, and nothing else but Wake, Position and Counts may follow it.
	Close() error

	// Name is what the source is called in messages.
	Name() string
}

// Counts says what became of the packets that a source has seen, apart from
// those it handed on. Each packet is in exactly one of the counters.
type Counts struct {
	Packets uint64 // handed on in batches
	Bytes   uint64 // of UDP or TCP payload in them

	NotIPUDP      uint64 // frames of something else
	OtherEndpoint uint64 // datagrams to nobody's endpoint
	Fragment      uint64 // fragments of UDP datagrams
	Truncated     uint64 // datagrams, or packets of a TCP connection, of which the end is missing
	CaptureCut    uint64 // datagrams of which a capture file holds the beginning only
	TooLong       uint64 // packets of a TCP connection that are longer than a packet may be

	// SkippedBytes are the bytes of a TCP connection in which no packet begins.
	// Each stretch of them has one packet in Packets, the header it begins with.
	SkippedBytes uint64

	// SuperFrames counts packets beyond the first of a frame or of a train of
	// the kernel's: Packets minus SuperFrames is how many the network
	// interface or the file counts.
	SuperFrames uint64

	// KernelDropped counts the datagrams that the kernel had for a socket and
	// dropped because its buffer was full. With GRO the kernel counts a train
	// of packets as one, and this is the least that can have been lost.
	KernelDropped        uint64
	KernelDroppedAtLeast bool
}

// counters are a source's own Counts, written by its goroutine alone and read
// by any.
type counters struct {
	packets, bytes, superFrames                  atomic.Uint64
	notIPUDP, otherEndpoint, fragment, truncated atomic.Uint64
	tooLong, skippedBytes, captureCut            atomic.Uint64
}

func (c *counters) snapshot() Counts {
	return Counts{
		Packets:       c.packets.Load(),
		Bytes:         c.bytes.Load(),
		NotIPUDP:      c.notIPUDP.Load(),
		OtherEndpoint: c.otherEndpoint.Load(),
		Fragment:      c.fragment.Load(),
		Truncated:     c.truncated.Load(),
		CaptureCut:    c.captureCut.Load(),
		TooLong:       c.tooLong.Load(),
		SkippedBytes:  c.skippedBytes.Load(),
		SuperFrames:   c.superFrames.Load(),
	}
}

// Batch is a number of packets received together. It is filled by a [Source]
// and valid until that source's Release.
type Batch struct {
	Packets []heap.Packet
	Streams []int32 // Packets[i] belongs to stream Streams[i]
	Now     int64   // when they were received, by Clock; of a file's, when they were captured
	Wall    int64   // the same, ns since 1970
	bytes   uint64

	// Pulse shows when Receive waits for packets. Default: nil, which shows nothing.
	Pulse *pulse.Pulse
}

// epoch is where Clock begins.
var epoch = time.Now()

// Clock reads a clock that nobody sets, in ns, and the time since 1970 besides:
// a step of the latter must not make heaps look old.
func Clock() (now, wall int64) {
	t := time.Now()
	return int64(t.Sub(epoch)), t.UnixNano()
}

// Now is the monotonic reading of Clock.
func Now() int64 { return int64(time.Since(epoch)) }

// NewBatch is a batch that holds up to n packets.
func NewBatch(n int) *Batch {
	return &Batch{Packets: make([]heap.Packet, 0, n), Streams: make([]int32, 0, n)}
}

func (b *Batch) reset() {
	b.Packets, b.Streams, b.bytes = b.Packets[:0], b.Streams[:0], 0
}

func (b *Batch) room() int {
	return min(cap(b.Packets)-len(b.Packets), cap(b.Streams)-len(b.Streams))
}

// add puts a packet into the batch, which has room for it.
func (b *Batch) add(p heap.Packet, stream int32) {
	b.Packets = append(b.Packets, p)
	b.Streams = append(b.Streams, stream)
	b.bytes += uint64(p.Len)
}

// wait and work say that the goroutine begins to wait for packets, and that it has ended
// the wait.
func (b *Batch) wait() { b.Pulse.Enter(pulse.Waiting, Now) }
func (b *Batch) work() { b.Pulse.Enter(pulse.Working, Now) }

// count adds the packets of a full batch to the totals.
func (b *Batch) count(c *counters) {
	c.packets.Add(uint64(len(b.Packets)))
	c.bytes.Add(b.bytes)
}
