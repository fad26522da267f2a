// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/filter"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Config says what to receive and with which resources. The zero value of each
// field means its default.
type Config struct {
	// Streams are what is received, each with a numbering of heaps of its own.
	Streams []Stream

	// SpareStreams is how many streams [Receiver.Add] can make later. The pool has slots
	// for them from the start, since it never grows. Default: 0.
	SpareStreams int

	// Interfaces name the network interfaces to receive on, for the streams
	// that do not name their own; a VLAN or bond stands for the devices under
	// it. Default: the one that has the stream's address, or that the route to
	// its group leads out of.
	Interfaces []string

	// AllVLANs receives on a named interface the packets of all VLANs, with AF_XDP. Default:
	// an interface of a VLAN, such as eth1.7, receives that VLAN only, and eth1 only packets
	// without a tag. Where the NIC takes the tags off, VLANs cannot be told apart: see Diagnoses.
	AllVLANs bool

	// Mode is the way to receive. Default: the best that works.
	Mode Mode
	// Queues are the receive queues to take packets from. Default: all, as a
	// stream's packets arrive on the queue that the NIC's hash picks.
	Queues []int
	// Frames is the number of packet buffers of 4 KiB of each queue, a power of
	// two. Default: 8192, or twice the hardware ring if that is more; 32768
	// for all queues together of an interface without hardware.
	Frames int
	// Wait says how a queue's thread waits for packets. Default: [WaitPoll], by which a
	// heap may come 0.4 ms late. Sockets are always waited for in that way.
	Wait Wait
	// CPUs are the processors that the receiving threads are pinned to, in turn.
	// Default: each thread may run on all those near its NIC.
	CPUs []int
	// CarrierWait is how long Open waits at most for the carriers of all interfaces, when the
	// XDP program is attached: that resets some NICs, and their link is down for seconds.
	// An interface receives as soon as it has a carrier. When the wait is over the others do,
	// without one. Default: 10 s; negative: no wait.
	CarrierWait time.Duration
	// Filter chooses datagrams in capture files, by an expression as tcpdump has them: "dst
	// host 239.1.2.3 and udp port 7148", "vlan 7". Default: all.
	Filter string
	// NoGRO makes UDP sockets take packets one by one, so that the kernel's
	// losses are counted exactly, at more cost for each packet.
	NoGRO bool
	// SocketBuffer is the receive buffer of a UDP or TCP socket in bytes. Default:
	// 64 MiB; for TCP as many as the kernel finds right.
	SocketBuffer int

	// HeapSize is the largest heap payload in bytes. Default: 4 MiB.
	HeapSize int64
	// ConcurrentHeaps is how many heaps of a substream may be incomplete at
	// once; the oldest has to leave when one more starts. Default: 4, and two more for
	// each sender after the first, divided among the substreams. The pool has room for 8
	// senders of a stream, or fewer: that room takes 256 MiB at most for all streams.
	// For more senders set it; a diagnosis, window_too_small, has the value. Where several
	// queues feed a stream, the default is as many more as all these queues can hold of
	// HeapSize each, so that a thread that lags is not overtaken: up to 1024 heaps of a
	// stream, and up to 1 GiB for all streams. If that is not all, Info has a note. Set it
	// then, or where heaps are smaller than HeapSize. A value that is set is used as it
	// is: it does not grow.
	ConcurrentHeaps int
	// Substreams divide a stream's heaps by count modulo Substreams, each with
	// its own concurrent heaps. Default: 1.
	Substreams int
	// RingHeaps is how many finished heaps may wait for the consumer. Default: 4.
	RingHeaps int
	// ConsumerHeaps is how many heaps the consumer holds at once, from Next to
	// Release. Default: 2.
	ConsumerHeaps int
	// PoolMin is the payload in bytes below which a heap takes a slot of a
	// small class. Default: 16 KiB; negative: there is no small class.
	PoolMin int
	// Hugepages chooses the pages of the pool and of the packet buffers.
	// Default: the largest there are.
	Hugepages pool.Pages

	// MaxItems is how many item pointers a heap may have, where one that packets repeat
	// counts once. MaxRanges is in how many separate pieces a heap may be while it is
	// assembled. Both take memory in the pool
	// for each slot: see Info.TableBytes. Default: by heap size, at most 4096 and 1024.
	MaxItems, MaxRanges int

	// OnFull says what happens to a finished heap when the ring is full.
	// Default: [heap.Block].
	OnFull heap.Policy
	// Repeats says what happens to a heap whose count was there already, as a whole heap, less
	// than 2 s before. Default: [heap.RepeatsDrop], and a diagnosis. With [heap.RepeatsDeliver]
	// packets that the network sends twice can start heaps that stay incomplete.
	Repeats heap.Repeats
	// MaxAge evicts a heap for which no packet came for so long. Default: 10 s;
	// negative: never.
	MaxAge time.Duration
	// IgnoreStop makes a stream go on after its stop item, and hands over the heap
	// that it is in.
	IgnoreStop bool
	// Stops is with which stop item a stream ends, where several senders feed it
	// and each sends one. Default: 1, the first.
	Stops int
	// BySender tells heaps of different senders apart, by address and port, also
	// where their counts are the same. They share the concurrent heaps. A stream
	// then ends when each sender it has heard has sent its stop item, and at least
	// Stops of them have. The first 1024 senders are kept apart. All after them
	// count as one.
	BySender bool
	// Incomplete hands over incomplete heaps too.
	Incomplete bool
	// RefuseUnsized refuses heaps that do not tell their length.
	RefuseUnsized bool

	// ExpectStep is by how much the counts of heaps that follow each other differ, of all
	// senders of a stream together, or of each sender with BySender. Heaps missing entirely are
	// found by it. Default: what the first heaps show.
	ExpectStep int64
	// ExpectItem is the id of an immediate item, such as a timestamp, that has this step instead
	// of the heap count, for each sender. It needs ExpectStep. Default: the heap count.
	ExpectItem uint64

	// GuardReleased makes the memory of a heap inaccessible when it is released: a
	// program that still uses it gets a fault at that very place. For finding such
	// a use: it costs system calls for each heap, and huge pages.
	GuardReleased bool

	// Progress is called while Open works: at the begin of each stage, and ten times a second
	// while memory is touched, which takes seconds if there is much. It is called by several
	// goroutines, but never by two at once, and it must not wait. Default: none.
	Progress func(Progress) `json:"-"`

	// Logger gets what an operator should know while packets flow, at most once
	// a second of each kind. Default: nothing is logged.
	Logger *slog.Logger
}

// Stream is one numbering of heaps, from one or more sources.
type Stream struct {
	// Name is what the stream is called. Default: its first source.
	Name string
	// Source is where the packets come from, as [ParseSource] reads it: an
	// address and port to receive on, several of them, one to listen on for a
	// TCP connection, or a capture file.
	Source string
	// Sources are further sources of the same stream. Capture files are merged by time.
	Sources []string
	// Joint makes one stream of all destinations in a capture file. Default: each
	// destination that gets SPEAD packets is a stream of its own. With Sources it is true.
	Joint bool
	// Interfaces are those to receive this stream on. Default: Config's.
	Interfaces []string
}

// Mode is a way to receive.
type Mode uint8

// The modes. ModeAuto takes the best that works; each of the others is had or is
// an error.
const (
	ModeAuto     Mode = iota
	ModeZeroCopy      // AF_XDP, the NIC writes into our memory
	ModeNative        // AF_XDP, the driver runs our program and the kernel copies
	ModeGeneric       // AF_XDP, the network stack runs our program and the kernel copies
	ModeUDP           // UDP sockets
)

var modeNames = [...]string{"auto", "zerocopy", "native", "generic", "udp"}

// String is the mode's name on the command line.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// ParseMode is the inverse of Mode.String.
func ParseMode(s string) (Mode, error) {
	for i, n := range modeNames {
		if s == n {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("mode %q is none of auto, zerocopy, native, generic, udp", s)
}

// Wait is how a thread waits for packets.
type Wait = xsk.Wait

// The ways to wait.
const (
	WaitPoll = xsk.WaitPoll // look every 50 to 400 µs while packets come, else sleep until the kernel wakes it
	WaitSpin = xsk.WaitSpin // look again and again: quickest, costs a core
	WaitBusy = xsk.WaitBusy // poll the driver, where it can be
)

// Defaults of Config.
const (
	DefaultHeapSize        = 4 << 20
	DefaultConcurrentHeaps = 4
	DefaultRingHeaps       = 4
	DefaultConsumerHeaps   = 2
	DefaultPoolMin         = 16 << 10
	DefaultCarrierWait     = 10 * time.Second
)

// SettingError is one fault that [Config.Validate] finds: a field of Config that is out of
// range on every machine.
type SettingError struct {
	Setting string // the field's name
	Value   any    // of the field, or of its wrong element
	Range   string // what is allowed, such as "1 to 1024" or "a power of two from 2 to 16777216"
	Reason  string // such as "is too small (the least is 1)"
}

// Error names the setting, its value and the reason.
func (e *SettingError) Error() string {
	return fmt.Sprintf("speadx: Config.%s: %v %s", e.Setting, e.Value, e.Reason)
}

// maxSpareStreams bounds SpareStreams. Each thread looks at each stream.
const maxSpareStreams = 1024

// most is how many there may be of anything that takes memory for each.
const most = 1 << 20

// Validate finds every setting that is out of range on every machine. The error joins them,
// each as a [*SettingError]; it is nil if there is none. It does not read the sources of the
// streams. Open calls it first.
func (c *Config) Validate() error {
	var faults []error
	fault := func(setting string, value any, allowed, reason string) {
		faults = append(faults, &SettingError{Setting: setting, Value: value, Range: allowed, Reason: reason})
	}
	if len(c.Streams) == 0 {
		fault("Streams", "[]", "1 or more", "is empty: there is no stream to receive")
	}
	// number is about a setting of which 0 is the default.
	number := func(setting string, n, least, most int64) {
		allowed := fmt.Sprintf("%d to %d", least, most)
		switch {
		case n == 0:
		case n < least:
			fault(setting, n, allowed, fmt.Sprintf("is too small (the least is %d)", least))
		case n > most:
			fault(setting, n, allowed, fmt.Sprintf("is too large (the most is %d)", most))
		}
	}
	number("HeapSize", c.HeapSize, 1, 1<<47)
	number("ConcurrentHeaps", int64(c.ConcurrentHeaps), 1, most)
	number("Substreams", int64(c.Substreams), 1, most)
	number("RingHeaps", int64(c.RingHeaps), 1, most)
	number("ConsumerHeaps", int64(c.ConsumerHeaps), 1, most)
	number("Stops", int64(c.Stops), 1, most)
	number("SpareStreams", int64(c.SpareStreams), 1, maxSpareStreams)
	number("MaxItems", int64(c.MaxItems), 1, most)
	number("MaxRanges", int64(c.MaxRanges), 2, most)
	number("ExpectStep", c.ExpectStep, 1, 1<<55)
	number("SocketBuffer", int64(c.SocketBuffer), 1, math.MaxInt32)
	number("Mode", int64(c.Mode), 0, int64(ModeUDP))
	number("Wait", int64(c.Wait), 0, int64(WaitBusy))
	number("OnFull", int64(c.OnFull), 0, int64(heap.DropOldest))
	number("Repeats", int64(c.Repeats), 0, int64(heap.RepeatsDeliver))
	number("Hugepages", int64(c.Hugepages), 0, int64(pool.PagesOff))
	for _, q := range c.Queues {
		number("Queues", int64(q), 0, math.MaxInt32)
	}
	for _, cpu := range c.CPUs {
		number("CPUs", int64(cpu), 0, math.MaxInt32)
	}
	if c.ExpectItem != 0 && c.ExpectStep == 0 {
		fault("ExpectItem", c.ExpectItem, "0 without ExpectStep", "needs ExpectStep, the step of its values")
	}
	if c.Filter != "" {
		var wrong *filter.Error
		if _, err := filter.Parse(c.Filter); errors.As(err, &wrong) {
			fault("Filter", strconv.Quote(c.Filter), "an expression as tcpdump has them", fmt.Sprintf("is wrong from byte %d on: %s", wrong.Position, wrong.Reason))
		}
	}
	if n := c.Frames; n != 0 && (n < xsk.MinFrames || n > xsk.MaxFrames || bits.OnesCount(uint(n)) != 1) {
		allowed := fmt.Sprintf("a power of two from %d to %d", xsk.MinFrames, xsk.MaxFrames)
		reason := "is not " + allowed
		if n > xsk.MinFrames && n < xsk.MaxFrames {
			reason += fmt.Sprintf(" (the next is %d)", 1<<bits.Len(uint(n)))
		}
		fault("Frames", n, allowed, reason)
	}
	return errors.Join(faults...)
}

// withDefaults checks the settings and fills in the defaults that depend on
// nothing else.
func (c Config) withDefaults() (Config, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	if c.HeapSize == 0 {
		c.HeapSize = DefaultHeapSize
	}
	if c.RingHeaps == 0 {
		c.RingHeaps = DefaultRingHeaps
	}
	if c.ConsumerHeaps == 0 {
		c.ConsumerHeaps = DefaultConsumerHeaps
	}
	if c.Substreams == 0 {
		c.Substreams = 1
	}
	if c.PoolMin == 0 {
		c.PoolMin = DefaultPoolMin
	}
	if c.CarrierWait == 0 {
		c.CarrierWait = DefaultCarrierWait
	}
	c.PoolMin = max(c.PoolMin, 0)
	if len(c.Queues) == 0 {
		c.Queues = nil
	}
	if len(c.CPUs) == 0 {
		c.CPUs = nil
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
