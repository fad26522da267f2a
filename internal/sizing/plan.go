// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// Names of the lines of a plan.
const (
	PacketsPerHeap  = "packets_per_heap"
	HeapRate        = "heaps_per_second"
	PacketRate      = "packets_per_second"
	Queues          = "queues"
	NICRing         = "nic_ring"
	Frames          = "frames"
	Rings           = "rx_and_fill_ring"
	ConcurrentHeaps = "concurrent_heaps"
	RingHeaps       = "ring_heaps"
	ConsumerHeaps   = "consumer_heaps"
	Slots           = "slots"
	PoolBytes       = "pool_bytes"
	UMEMBytes       = "umem_bytes"
	HugePages       = "huge_pages"
	LockedBytes     = "locked_bytes"
	Cores           = "cores"
	StartSeconds    = "start_seconds"
)

// Line is one number of a plan.
type Line struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Reason  string  `json:"reason"`
	Setting string  `json:"-"`               // field of speadx.Config that it is the value of; "": none
	Stage   string  `json:"stage,omitempty"` // where it loses if it is less; "": it does not
	Fate    string  `json:"fate,omitempty"`  // of the packets that are lost then
	Command string  `json:"command,omitempty"`
}

// Warning is a reason why the scenario may not work.
type Warning struct {
	Code string  `json:"code"`
	Need float64 `json:"need"`
	Have float64 `json:"have"`
	Text string  `json:"text"`
}

// Codes of warnings.
const (
	WarnMemory    = "memory"     // more memory than the machine has
	WarnCores     = "cores"      // more processors than the process may use
	WarnStream    = "stream"     // one stream is more than one queue takes
	WarnOnePacket = "one_packet" // a heap is smaller than a packet
	WarnMTU       = "mtu"        // packets are larger than an MTU of 9000 allows
	WarnConsumers = "consumers"  // one goroutine is not enough to consume
	WarnQueues    = "queues"     // fewer queues than the rate needs
)

// Plan is what a scenario needs.
type Plan struct {
	Scenario Scenario  `json:"-"`
	Lines    []Line    `json:"lines"`
	Warnings []Warning `json:"warnings"`
}

// Value is that of a line; it panics if there is no such line.
func (p *Plan) Value(name string) int64 { return int64(p.line(name).Value) }

func (p *Plan) line(name string) *Line {
	for i := range p.Lines {
		if p.Lines[i].Name == name {
			return &p.Lines[i]
		}
	}
	panic("sizing: no line " + name)
}

// What one receiving thread takes. Both are half of what docs/performance.md has for a veth pair,
// without loss: packets a second of small packets, and bits of large ones. So a thread has time
// to catch up.
const (
	threadPackets = 1e6  // a second
	threadBits    = 20e9 // payload a second
)

const (
	// frameBytes is the room for a packet in each 4 KiB frame of the UMEM: the kernel keeps 256
	// bytes for the XDP program.
	frameBytes = 4096 - 256
	chunkBytes = 4096
	// batch is how many packets a thread has in hand, and so off the ring, when it stalls.
	batch = 64
	// leastFrames is the smallest number that is worth having.
	leastFrames = 64
	mostFrames  = 1 << 24
	// nicStall is for how long the kernel may not serve a NIC: a few turns of softirq.
	nicStall     = time.Millisecond
	leastNICRing = 512

	hugePage = 2 << 20
	// touchRate is how many bytes a second one thread touches, where the memory was not used
	// before, on pages of 4 KiB: see docs/tuning.md.
	touchRate = 512 << 20
	// touchThreads bounds how many threads touch memory.
	touchThreads = 16

	// mostHeaps bounds the number of heaps of each kind, as Config does.
	mostHeaps = 1 << 20
)

// stageOf is the stage that a fate belongs to.
func stageOf(f ledger.Fate) string { return f.Row().Stage.String() }

// events is how many of some that come at a rate (per second) come in a time, at most. A
// product that is a whole number but for rounding counts as whole.
func events(rate float64, t time.Duration) float64 {
	n := rate * t.Seconds()
	return math.Floor(n*(1+1e-12)+1e-12) + 1
}

// powerOfTwo is the least power of two that is n or more. n is below 2^62.
func powerOfTwo(n float64) float64 {
	if n <= 1 {
		return 1
	}
	return float64(uint64(1) << bits.Len64(uint64(math.Ceil(n))-1))
}

// Compute works out what a scenario needs. Its error is an [*Error] where a field is to blame.
func Compute(s Scenario) (*Plan, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	p := &Plan{Scenario: s, Warnings: []Warning{}}
	c := &computation{plan: p, s: &p.Scenario}
	c.rates()
	c.queuesNeeded()
	if err := c.packetBuffers(); err != nil {
		return nil, err
	}
	if err := c.heaps(); err != nil {
		return nil, err
	}
	if err := c.memory(); err != nil {
		return nil, err
	}
	c.cores()
	c.start()
	return p, nil
}

type computation struct {
	plan *Plan
	s    *Scenario

	perHeap    float64 // packets of a heap
	packet     int     // bytes of UDP payload of the largest packet that comes
	heapRate   float64 // heaps per second of one stream
	packetRate float64 // packets per second of all streams
	queueRate  float64 // packets per second of the busiest queue
	queues     int
	frames     float64 // of a queue
	workers    float64 // heaps that the consumer holds
	blame      Error   // which field most of the slots are for
	share      pool.ShareConfig
	pool, umem int64
}

func (c *computation) add(l Line) { c.plan.Lines = append(c.plan.Lines, l) }

func (c *computation) warn(code string, need, have float64, format string, args ...any) {
	c.plan.Warnings = append(c.plan.Warnings, Warning{code, need, have, fmt.Sprintf(format, args...)})
}

func (c *computation) rates() {
	s := c.s
	payload := int64(s.Packet - headerBytes)
	c.packet = s.Packet
	c.perHeap = math.Ceil(float64(s.HeapSize) / float64(payload))
	if s.HeapSize < payload {
		c.packet = int(s.HeapSize) + headerBytes
		c.warn(WarnOnePacket, float64(payload), float64(s.HeapSize), "A heap of %d bytes fits into one packet, which could carry %d. Larger heaps cost less.", s.HeapSize, payload)
	}
	if s.Packet > jumboPacket {
		c.warn(WarnMTU, float64(s.Packet), jumboPacket, "A packet of %d bytes needs an MTU of %d or more. With an MTU of 9000 a packet has %d bytes at most.", s.Packet, s.Packet+28, jumboPacket)
	}
	c.heapRate = s.Rate / float64(s.Streams) / (8 * float64(s.HeapSize))
	c.packetRate = c.heapRate * c.perHeap * float64(s.Streams)
	c.add(Line{
		Name: PacketsPerHeap, Value: c.perHeap, Unit: "packets",
		Reason: fmt.Sprintf("a heap of %d bytes, and %d bytes of payload in a packet of %d", s.HeapSize, payload, s.Packet),
	})
	c.add(Line{
		Name: HeapRate, Value: c.heapRate, Unit: "heaps/s",
		Reason: fmt.Sprintf("of each stream: %g Gb/s / %d / 8 × %d bits", s.Rate/1e9, s.Streams, s.HeapSize),
	})
	c.add(Line{
		Name: PacketRate, Value: c.packetRate, Unit: "packets/s",
		Reason: fmt.Sprintf("of all streams: %.6g heaps/s × %.0f packets × %d", c.heapRate, c.perHeap, s.Streams),
	})
}

func (c *computation) queuesNeeded() {
	s := c.s
	need := max(math.Ceil(c.packetRate/threadPackets), math.Ceil(s.Rate/threadBits))
	reason := fmt.Sprintf("one thread reads one queue; it is planned with %g million packets/s and %g Gb/s, of which there are %.3g and %g",
		threadPackets/1e6, threadBits/1e9, c.packetRate/1e6, s.Rate/1e9)
	c.queues = int(min(need, mostQueues))
	if s.Queues > 0 {
		c.queues = s.Queues
		reason = "as given; " + reason
	}
	if float64(c.queues) < need {
		c.warn(WarnQueues, need, float64(c.queues), "The rate needs %.0f queues, each with a thread, and there are %d. Packets are lost if a thread cannot keep up.", need, c.queues)
	}
	// A stream that is one flow comes on one queue. The fullest queue has that many of them.
	perQueue := math.Ceil(float64(s.Streams) / float64(c.queues))
	c.queueRate = c.packetRate / float64(s.Streams) * perQueue
	one := max(c.packetRate/threadPackets, s.Rate/threadBits) / float64(s.Streams)
	if one > 1 {
		c.warn(WarnStream, one, 1, "One stream is %.1f × what one queue is planned for. The NIC brings the packets of one sender's port to one address on one queue. So the stream needs that many senders, ports or groups.", one)
	}
	c.add(Line{
		Name: Queues, Value: float64(c.queues), Unit: "queues", Reason: reason,
		Stage: stageOf(ledger.KernelDropped), Fate: ledger.KernelDropped.String(), Command: fmt.Sprintf("ethtool -L IFACE combined %d", c.queues),
	})
}

func (c *computation) packetBuffers() error {
	s := c.s
	waiting := events(c.queueRate, nicStall)
	ring := max(powerOfTwo(waiting), leastNICRing)
	c.add(Line{
		Name: NICRing, Value: ring, Unit: "packets",
		Reason: fmt.Sprintf("the kernel may come %v late, in which %.0f packets arrive on a queue; a power of two, %d at least", nicStall, waiting, leastNICRing),
		Stage:  stageOf(ledger.NICDropped), Fate: ledger.NICDropped.String(), Command: fmt.Sprintf("ethtool -G IFACE rx %.0f", ring),
	})
	chunks := math.Ceil(float64(c.packet+frameOverhead) / frameBytes)
	arriving := events(c.queueRate, s.ThreadStall)
	need := (arriving + batch) * chunks
	c.frames = max(powerOfTwo(need), leastFrames)
	if c.frames > mostFrames {
		return &Error{"ThreadStall", s.ThreadStall, fmt.Sprintf("at %.3g packets/s is more packets than a queue can hold (%.0f frames of %d)", c.queueRate, need, mostFrames)}
	}
	c.add(Line{
		Name: Frames, Value: c.frames, Unit: "frames", Setting: "Frames",
		Reason: fmt.Sprintf("of each queue: %.0f packets arrive while the thread does not run for %v, and it has %d in hand; each packet takes %.0f of 4 KiB; a power of two",
			arriving, s.ThreadStall, batch, chunks),
		Stage: stageOf(ledger.KernelDropped), Fate: ledger.KernelDropped.String(),
	})
	c.add(Line{
		Name: Rings, Value: c.frames, Unit: "descriptors",
		Reason: "fill ring and RX ring have a place for each frame, so that neither can overflow; they follow from the frames",
	})
	return nil
}

func (c *computation) heaps() error {
	s := c.s
	live := float64(s.InFlight) + 1
	reason := fmt.Sprintf("of each stream: %d sent at the same time, and one that begins before the last packet of another", s.InFlight)
	lag := 0.0
	if c.queues > 1 {
		lag = events(c.heapRate, s.ThreadStall)
		live += lag
		reason += fmt.Sprintf("; %.0f more begin while one of %d threads does not run for %v", lag, c.queues, s.ThreadStall)
	}
	all := c.heapRate * float64(s.Streams)
	// Strictly more than come in that time, or what waits after a stall never gets less.
	c.workers = math.Floor(all*s.Consumer.Seconds()*(1+1e-12)) + 1
	turn := time.Duration(float64(s.Streams-1) * float64(s.Consumer) / c.workers)
	ring := events(c.heapRate, s.Stall+turn)
	ringReason := fmt.Sprintf("of each stream: heaps that are finished while the consumer takes none for %v", s.Stall)
	if turn > 0 {
		ringReason += fmt.Sprintf(", and for %v in which it takes heaps of the other streams", turn.Round(time.Microsecond))
	}
	// What most of the heaps are there for is to blame if they are too many.
	most := max(lag, float64(s.InFlight), ring, c.workers)
	switch most {
	case ring:
		c.blame = Error{Field: "Stall", Value: s.Stall}
	case c.workers:
		c.blame = Error{Field: "Consumer", Value: s.Consumer}
	case lag:
		c.blame = Error{Field: "ThreadStall", Value: s.ThreadStall}
	default:
		c.blame = Error{Field: "InFlight", Value: s.InFlight}
	}
	if most > mostHeaps {
		c.blame.Reason = fmt.Sprintf("at %.4g heaps/s comes to %.0f heaps of a stream, more than there can be (%d)", c.heapRate, most, mostHeaps)
		return &c.blame
	}
	c.add(Line{
		Name: ConcurrentHeaps, Value: live, Unit: "heaps", Setting: "ConcurrentHeaps", Reason: reason,
		Stage: stageOf(ledger.DiscardedIncomplete), Fate: ledger.DiscardedIncomplete.String(),
	})
	c.add(Line{
		Name: RingHeaps, Value: ring, Unit: "heaps", Setting: "RingHeaps", Reason: ringReason,
		Stage: stageOf(ledger.RingFull), Fate: ledger.RingFull.String(),
	})
	heldReason := "the consumer releases each heap at once"
	if s.Consumer > 0 {
		heldReason = fmt.Sprintf("the consumer holds each for %v, and %.6g of all streams come a second: more than %.4g at once, so that what waits gets less",
			s.Consumer, all, all*s.Consumer.Seconds())
	}
	c.add(Line{
		Name: ConsumerHeaps, Value: c.workers, Unit: "heaps", Setting: "ConsumerHeaps", Reason: heldReason,
		Stage: stageOf(ledger.NoSlot), Fate: ledger.NoSlot.String(),
	})
	if c.workers > 1 {
		c.warn(WarnConsumers, c.workers, 1, "One goroutine that holds one heap for %v after the other is too slow. %.0f goroutines are needed.", s.Consumer, c.workers)
	}
	c.share = pool.ShareConfig{
		Name: "stream", Live: int(live), Ring: int(ring), Held: int(c.workers), Threads: c.queues,
		Largest: int(s.HeapSize), SmallBelow: int(s.SmallHeap),
	}
	return nil
}

func (c *computation) memory() error {
	s := c.s
	slots := c.share.Live + c.share.Ring + c.share.Held + c.share.Threads
	tables, err := heap.Config{}.TableBytes(c.share)
	if err == nil {
		c.share.Tables = tables
		var n int
		if n, _, err = pool.Size(pool.Config{Shares: []pool.ShareConfig{c.share}}); err == nil {
			if int64(n) > math.MaxInt64/int64(s.Streams)/2 {
				err = errors.New("the pools of all streams exceed the address space")
			}
			c.pool = int64(n) * int64(s.Streams)
		}
	}
	if err != nil {
		c.blame.Reason = fmt.Sprintf("comes to %d slots of %d bytes for a stream: %v", slots, s.HeapSize, err)
		return &c.blame
	}
	c.add(Line{
		Name: Slots, Value: float64(slots), Unit: "slots",
		Reason: fmt.Sprintf("of each stream: %d incomplete + %d in the ring + %d held + %d in the hands of threads", c.share.Live, c.share.Ring, c.share.Held, c.share.Threads),
		Stage:  stageOf(ledger.NoSlot), Fate: ledger.NoSlot.String(),
	})
	c.umem = int64(c.queues) * int64(c.frames) * chunkBytes
	c.add(Line{
		Name: PoolBytes, Value: float64(c.pool), Unit: "bytes",
		Reason: fmt.Sprintf("%d × %d slots of %d bytes, 8 KiB in each for descriptors, slots of small heaps, and tables", s.Streams, slots, s.HeapSize),
	})
	c.add(Line{
		Name: UMEMBytes, Value: float64(c.umem), Unit: "bytes",
		Reason: fmt.Sprintf("%d queues × %.0f frames of 4 KiB", c.queues, c.frames),
	})
	pages := math.Ceil(float64(c.pool)/hugePage) + float64(c.queues)*math.Ceil(c.frames*chunkBytes/hugePage)
	c.add(Line{
		Name: HugePages, Value: pages, Unit: "pages of 2 MiB",
		Reason: "pool and UMEM, each in whole pages, so that few TLB entries cover them", Command: fmt.Sprintf("sysctl -w vm.nr_hugepages=%.0f", pages),
	})
	locked := pages * hugePage
	c.add(Line{
		Name: LockedBytes, Value: locked, Unit: "bytes",
		Reason: "the UMEM counts as locked, and the pool is locked where it has no huge pages of its own (LimitMEMLOCK)",
	})
	if m := s.Machine.Memory; m > 0 && locked > float64(m) {
		c.warn(WarnMemory, locked, float64(m), "This needs %.1f GiB of memory, and the machine has %.1f. Smaller heaps, a shorter stall or a lower rate need less.",
			locked/(1<<30), float64(m)/(1<<30))
	}
	return nil
}

func (c *computation) cores() {
	threads, kernel := float64(c.queues), float64(c.queues)
	need := threads + kernel + c.workers + 1
	c.add(Line{
		Name: Cores, Value: need, Unit: "processors",
		Reason: fmt.Sprintf("%.0f for receiving threads, %.0f for the kernel's side of their queues, %.0f for the consumer, 1 for all else", threads, kernel, c.workers),
	})
	if m := c.s.Machine.CPUs; m > 0 && need > float64(m) {
		c.warn(WarnCores, need, float64(m), "This needs %.0f processors for the full rate, and there are %d. Parts of the receiver then wait for each other.", need, m)
	}
}

func (c *computation) start() {
	threads := touchThreads
	if m := c.s.Machine.CPUs; m > 0 {
		threads = min(threads, m)
	} else {
		threads = int(min(float64(threads), c.plan.line(Cores).Value))
	}
	seconds := float64(c.pool+c.umem) / touchRate / float64(threads)
	c.add(Line{
		Name: StartSeconds, Value: seconds, Unit: "s",
		Reason: fmt.Sprintf("%d threads touch 0.5 GiB a second each, or more on huge pages; a NIC whose link is reset takes some seconds besides", threads),
	})
}
