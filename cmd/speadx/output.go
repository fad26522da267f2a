package main

import (
	"io"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

// output is a format in which heaps and totals are printed. Each call writes
// at once, so that who reads a pipe sees a heap when it has come.
type output interface {
	heap(h *heap.Heap, at time.Duration) error
	summary(s *speadx.Stats, c *reception) error
}

func newOutput(stdout, stderr io.Writer, f *recvFlags, streams int) output {
	d := decoder{bySource: f.bySource, stderr: stderr}
	if f.pyspead {
		d.compat = spead.CompatPySPEAD
	}
	if f.format == "json" {
		return &jsonOutput{w: stdout, decoder: d, hash: f.hash, values: f.values, quiet: f.quiet}
	}
	return &textOutput{w: stdout, decoder: d, descriptors: f.descriptors, values: f.values, quiet: f.quiet, several: streams > 1}
}

// sum adds up the counters of all streams.
func sum(s *speadx.Stats) heap.Stats {
	var t heap.Stats
	for i := range s.Streams {
		st := &s.Streams[i].Stats
		t.Packets += st.Packets
		t.Bytes += st.Bytes
		t.Payload += st.Payload
		t.Batches += st.Batches
		t.MaxBatch = max(t.MaxBatch, st.MaxBatch)
		t.CompleteHeaps += st.CompleteHeaps
		t.IncompleteHeaps += st.IncompleteHeaps
		t.EvictedHeaps += st.EvictedHeaps
		t.AgedHeaps += st.AgedHeaps
		t.FlushedHeaps += st.FlushedHeaps
		t.SinglePacketHeaps += st.SinglePacketHeaps
		t.StopHeaps += st.StopHeaps
		t.DeliveredHeaps += st.DeliveredHeaps
		t.DiscardedHeaps += st.DiscardedHeaps
		t.RingFullHeaps += st.RingFullHeaps
		t.ShutdownHeaps += st.ShutdownHeaps
		t.OvertakenHeaps += st.OvertakenHeaps
		t.Conflicts += st.Conflicts
		t.Blocked += st.Blocked
		t.BlockedTime += st.BlockedTime
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
