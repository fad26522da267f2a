// SPDX-License-Identifier: Apache-2.0

package ledger

import "strings"

// Row describes one fate or counter.
type Row struct {
	Name string // JSON key and metric label; an interface
	// Title is the name in the text report, where spead2_recv has another. Default: Name.
	Title   string
	Stage   Stage
	Unit    Unit
	Loss    bool   // whether a rise means that something was lost that was meant for us
	Max     bool   // several parts have the greatest of theirs, not the sum
	Rare    bool   // the text report leaves it out if it is 0
	Meaning string // one sentence
	Remedy  string // one sentence: what to do if it rises; "" if nothing needs doing
}

// Label is the name in the text report.
func (r *Row) Label() string {
	if r.Title != "" {
		return r.Title
	}
	return r.Name
}

// Stage is a place on the way from the NIC to the consumer.
type Stage uint8

// The stages, in the order in which a packet passes them.
const (
	Network  Stage = iota // the senders, the switches and the links: no counter of this machine
	NIC                   // the network interface and its driver
	Program               // the XDP program
	Socket                // the AF_XDP socket, UDP socket or TCP connection
	Parse                 // headers and item pointers
	Assembly              // packets are placed in heaps
	Pool                  // slots for heaps
	Ring                  // finished heaps on their way to the consumer
	Consumer              // the program that takes the heaps
	NumStages
)

var stageNames = [NumStages]string{"network", "nic", "program", "socket", "parse", "assembly", "pool", "ring", "consumer"}

// String is the stage's name in JSON and metrics.
func (s Stage) String() string {
	if s < NumStages {
		return stageNames[s]
	}
	return "unknown"
}

// Unit is what a counter counts. Its String is the unit's name.
type Unit string

// The units.
const (
	Packets     Unit = "packets"
	Frames      Unit = "frames"
	Bytes       Unit = "bytes"
	Heaps       Unit = "heaps"
	Batches     Unit = "batches"
	Times       Unit = "times"
	Descriptors Unit = "descriptors"
	Chunks      Unit = "chunks"
	Calls       Unit = "calls"
	// Seconds are counted as nanoseconds; [Value] converts them.
	Seconds Unit = "seconds"
)

// Value is a count in its row's unit.
func (r *Row) Value(n uint64) float64 {
	if r.Unit == Seconds {
		return float64(n) / 1e9
	}
	return float64(n)
}

// Fill replaces the names in braces in a text, {RingHeaps}, by what name returns for them.
// With nil they become Config.RingHeaps.
func Fill(text string, name func(setting string) string) string {
	if name == nil {
		name = func(s string) string { return "Config." + s }
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		inner, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString("{" + rest)
			return b.String()
		}
		b.WriteString(name(inner))
		text = after
	}
}
