package main

import (
	"io"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
)

// output is a format in which heaps and totals are printed. Each call writes
// at once, so that who reads a pipe sees a heap when it has come.
type output interface {
	heap(h *heap.Heap, at time.Duration) error
	summary(s *speadx.Stats, c *reception, elapsed time.Duration) error
}

func newOutput(w io.Writer, f *recvFlags) output {
	if f.format == "json" {
		return &jsonOutput{w: w, hash: f.hash, quiet: f.quiet}
	}
	return &textOutput{w: w, quiet: f.quiet}
}

// totals are the sums over all streams that both formats print.
type totals struct {
	complete, incomplete, delivered, discarded  uint64
	evicted, aged, flushed, ringFull, singles   uint64
	stops, overtaken, batches, maxBatch, refuse uint64
	blocked                                     uint64
	blockedTime                                 time.Duration
}

func totalsOf(s *speadx.Stats) totals {
	var t totals
	for i := range s.Streams {
		st := &s.Streams[i]
		t.complete += st.CompleteHeaps
		t.incomplete += st.IncompleteHeaps
		t.delivered += st.DeliveredHeaps
		t.discarded += st.DiscardedHeaps
		t.evicted += st.EvictedHeaps
		t.aged += st.AgedHeaps
		t.flushed += st.FlushedHeaps
		t.ringFull += st.RingFullHeaps
		t.singles += st.SinglePacketHeaps
		t.stops += st.StopHeaps
		t.overtaken += st.OvertakenHeaps
		t.batches += st.Batches
		t.maxBatch = max(t.maxBatch, st.MaxBatch)
		t.blocked += st.Blocked
		t.blockedTime += st.BlockedTime
	}
	return t
}

// lost is how many packets did not get into a heap that was or will be handed
// over, though they should have.
func lost(s *speadx.Stats) uint64 {
	var n uint64
	for f := range heap.NumFates {
		switch f {
		case heap.Delivered, heap.DeliveredIncomplete, heap.Duplicate, heap.Empty, heap.StreamControl,
			heap.AfterStop, heap.NotIPUDP, heap.OtherEndpoint:
		default:
			n += s.Fates[f]
		}
	}
	return n
}

// gbps is a rate in Gb/s.
func gbps(bytes uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(bytes) * 8 / d.Seconds() / 1e9
}

// highLive is the most heaps that were live at once. What the pool counts
// beyond the window was in threads' hands, for which it has slots of their own.
func highLive(s *speadx.StreamStats) int { return min(s.Slots.HighFilling, s.Sum.Live) }

// highRing is the most heaps that waited in the ring, likewise.
func highRing(s *speadx.StreamStats) int { return min(s.Slots.HighReady, s.Sum.Ring) }
