// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// Report is one reading of a receiver. It is a value, and belongs to one goroutine.
type Report struct {
	Stats     speadx.Stats
	Delivered Delivered
	Diagnoses []ledger.Diagnosis
	Threads   []speadx.ThreadStats
	Groups    []speadx.GroupState
	// Times are those of the streams of Stats, in the same order; there may be more.
	Times []speadx.StreamTimes
	// Devices are what the devices of Stats were opened with, in the same order.
	Devices []speadx.DeviceInfo
	// Time is when the counters were read.
	Time time.Time
	// Expected is how many complete heaps were expected. Default: any number.
	Expected *uint64
	// Setting names a field of speadx.Config as the user knows it. Default: the field.
	Setting func(field string) string
}

// Delivered is what the consumer took and did with it.
type Delivered struct {
	Heaps      uint64 // heaps that it took
	Incomplete uint64 // of these, incomplete ones
	Bytes      uint64 // payload of these heaps that came
	Verify     bool   // whether heaps are compared with the pattern of the sender
	Verified   uint64 // heaps compared
	Mismatched uint64 // of these, those that differ

	Elapsed time.Duration // since reception began
	Flow    time.Duration // from the first packet of the first heap to the last heap
}

// Gbps is a rate in Gb/s: 10⁹ bits a second.
func Gbps(bytes uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) * 8 / d.Seconds() / 1e9
}

// HighLive is the most heaps of a stream that were live at once. What the pool counts beyond
// the window was in threads' hands, for which it has slots of their own.
func HighLive(s *speadx.StreamStats) int { return min(s.Slots.HighFilling, s.Sum.Live) }

// HighRing is the most heaps that waited in the ring, likewise.
func HighRing(s *speadx.StreamStats) int { return min(s.Slots.HighReady, s.Sum.Ring) }

// total is the sum over all streams, with what did not reach one.
func total(s *speadx.Stats) ledger.StreamCounts {
	t := s.Heaps()
	t[ledger.PacketsFed], t[ledger.BytesFed], t[ledger.PayloadPlaced] = s.Packets, s.Bytes, s.Payload
	return t
}

// micro rounds to six digits behind the point.
func micro(v float64) float64 { return math.Round(v*1e6) / 1e6 }
