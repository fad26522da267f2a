// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"math"
	"time"
)

// Scenario is what is to be received, and how late the parts of the receiver may be. Check
// names the fields in its errors.
type Scenario struct {
	HeapSize int64   // payload of a heap, bytes
	Packet   int     // largest packet, bytes of UDP payload: SPEAD header, item pointers and payload
	Rate     float64 // payload of heaps, bits per second, of all streams together
	Streams  int     // each with an equal part of the rate
	InFlight int     // heaps of a stream that are sent at the same time, packets in turn

	Stall       time.Duration // for how long, at most, the consumer takes no heap
	Consumer    time.Duration // for how long the consumer holds each heap
	ThreadStall time.Duration // for how long, at most, a receiving thread does not run

	Queues    int   // receive queues; 0: as many as the rate needs
	SmallHeap int64 // heaps below have slots of their own, as by Config.PoolMin; 0: none have
	Machine   Machine
}

// Machine is what there is. Fields that are 0 are unknown, and nothing is compared with them.
type Machine struct {
	Memory int64 // bytes
	CPUs   int   // that the process may use
}

// Defaults of a Scenario for what people seldom know.
const (
	DefaultStall       = 100 * time.Millisecond
	DefaultThreadStall = 20 * time.Millisecond
	DefaultInFlight    = 1
)

// Error says which field of a Scenario cannot be, and why.
type Error struct {
	Field  string
	Value  any
	Reason string // such as "is too small (the least is 1)"
}

// Error names the field, its value and the reason.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v %s", e.Field, e.Value, e.Reason) }

// headerBytes is the header of a packet with five item pointers: heap count, heap size, offset,
// payload length and one item.
const headerBytes = 8 + 5*8

// frameOverhead is what stands before the UDP payload: Ethernet with a VLAN tag, IPv6, UDP.
const frameOverhead = 18 + 40 + 8

const (
	mostPacket  = 9000          // no network carries larger frames than jumbo frames
	mostRate    = 100_000e9     // bits per second
	mostTime    = 1 * time.Hour // of each delay
	mostStreams = 4096
	mostQueues  = 1024
	mostHeap    = 1 << 47
	mostFlight  = 1 << 16
)

// jumboPacket is the largest UDP payload at an MTU of 9000, over IPv4.
const jumboPacket = 9000 - 28

// Check reports the first field that cannot be, as an [*Error].
func (s *Scenario) Check() error {
	for _, v := range []struct {
		field       string
		value       any
		n           float64
		least, most float64
	}{
		{"HeapSize", s.HeapSize, float64(s.HeapSize), 1, mostHeap},
		{"Packet", s.Packet, float64(s.Packet), headerBytes + 1, mostPacket},
		{"Streams", s.Streams, float64(s.Streams), 1, mostStreams},
		{"InFlight", s.InFlight, float64(s.InFlight), 1, mostFlight},
		{"Stall", s.Stall, float64(s.Stall), 0, float64(mostTime)},
		{"Consumer", s.Consumer, float64(s.Consumer), 0, float64(mostTime)},
		{"ThreadStall", s.ThreadStall, float64(s.ThreadStall), 0, float64(mostTime)},
		{"Queues", s.Queues, float64(s.Queues), 0, mostQueues},
		{"SmallHeap", s.SmallHeap, float64(s.SmallHeap), 0, mostHeap},
	} {
		switch {
		case v.n < v.least:
			return &Error{v.field, v.value, fmt.Sprintf("is too small (the least is %s)", bound(v.field, v.least))}
		case v.n > v.most:
			return &Error{v.field, v.value, fmt.Sprintf("is too large (the most is %s)", bound(v.field, v.most))}
		}
	}
	switch {
	case math.IsNaN(s.Rate) || s.Rate <= 0:
		return &Error{"Rate", s.Rate / 1e9, "Gb/s is no rate (it must be above 0)"}
	case s.Rate > mostRate:
		return &Error{"Rate", s.Rate / 1e9, fmt.Sprintf("Gb/s is too large (the most is %.0f)", mostRate/1e9)}
	}
	return nil
}

// bound writes a bound of a field as its values are written.
func bound(field string, n float64) string {
	switch field {
	case "Stall", "Consumer", "ThreadStall":
		return time.Duration(n).String()
	default:
		return fmt.Sprintf("%.0f", n)
	}
}
