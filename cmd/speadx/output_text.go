package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

// textOutput prints heaps and totals as spead2_recv does, and the ledger.
type textOutput struct {
	w           io.Writer
	decoder     decoder
	descriptors bool
	values      bool
	quiet       bool
	several     bool // streams
	buf         bytes.Buffer
}

func (o *textOutput) heap(h *heap.Heap, at time.Duration) error {
	if o.quiet {
		return nil
	}
	b := &o.buf
	b.Reset()
	what := "Received"
	if !h.Complete() {
		what = "Received incomplete"
	}
	fmt.Fprintf(b, "%s heap %d at %.6f", what, h.Cnt(), at.Seconds())
	if o.several {
		fmt.Fprintf(b, " from %s", h.Stream())
	}
	if !h.Complete() {
		fmt.Fprintf(b, " (%d of %s bytes)", h.Received(), lengthText(h))
	}
	if o.decoder.bySource {
		fmt.Fprintf(b, " from %v", h.Sender())
	}
	b.WriteByte('\n')
	o.writeItems(b, h)
	_, err := o.w.Write(b.Bytes())
	return err
}

// writeItems writes the descriptors of a heap, if they are wanted, and its items.
func (o *textOutput) writeItems(b *bytes.Buffer, h *heap.Heap) {
	var g *spead.ItemGroup
	if o.descriptors || o.values {
		g = o.decoder.decode(h)
	}
	if o.descriptors {
		for _, it := range g.Described() {
			writeDescriptor(b, it)
		}
	}
	width := int64(h.Flavour().AddrBits() / 8)
	items := h.Items()
	for i := range items {
		it := &items[i]
		if it.ID == spead.IDDescriptor {
			continue
		}
		fmt.Fprintf(b, "  %#x", it.ID)
		var known *spead.Item
		if g != nil {
			if known = g.ByID(it.ID); known != nil && known.Descriptor() == nil {
				known = nil
			}
		}
		if known != nil {
			fmt.Fprintf(b, " %s", printable(known.Name()))
		}
		// Of an item that stands twice the group has the last value.
		again := slices.ContainsFunc(items[i+1:], func(o heap.Item) bool { return o.ID == it.ID && !o.Missing })
		if o.values && known != nil && known.HasValue() && !it.Missing && !again {
			v := known.Value()
			fmt.Fprintf(b, " %s = ", typeText(known, v.Shape()))
			writeValue(b, v)
			b.WriteByte('\n')
			continue
		}
		switch {
		case it.Immediate:
			fmt.Fprintf(b, " = [%d bytes] = %#x\n", width, it.Value)
		case it.Missing:
			fmt.Fprintf(b, " = [%d bytes, some missing]\n", it.Length)
		default:
			fmt.Fprintf(b, " = [%d bytes]\n", it.Length)
		}
	}
}

func lengthText(h *heap.Heap) string {
	if h.Length() < 0 {
		return "unknown"
	}
	return fmt.Sprint(h.Length())
}

func (o *textOutput) summary(s *speadx.Stats, c *reception) error {
	b := &o.buf
	b.Reset()
	t := sum(s)
	got := &c.got
	fmt.Fprintf(b, "Received %d %s", got.heaps, plural(int(got.heaps), "heap"))
	if got.incomplete > 0 {
		fmt.Fprintf(b, " (%d incomplete)", got.incomplete)
	}
	fmt.Fprintf(b, ", %d bytes in %.3f seconds: %.3f Gb/s\n", got.bytes, got.flow.Seconds(), gbps(got.bytes, got.flow))
	if c.f.verify {
		fmt.Fprintf(b, "Verified %d %s: %d wrong\n", c.verified, plural(int(c.verified), "heap"), c.mismatched)
	}
	for _, v := range []struct {
		name   string
		n      uint64
		always bool // also if it is 0
	}{
		{"heaps", t.CompleteHeaps + t.IncompleteHeaps, true},
		{"complete_heaps", t.CompleteHeaps, true},
		{"incomplete_heaps", t.IncompleteHeaps, true},
		{"incomplete_heaps_evicted", t.EvictedHeaps, true},
		{"incomplete_heaps_aged", t.AgedHeaps, false},
		{"incomplete_heaps_flushed", t.FlushedHeaps, true},
		{"overtaken_heaps", t.OvertakenHeaps, false},
		{"ring_full_heaps", t.RingFullHeaps, false},
		{"shutdown_heaps", t.ShutdownHeaps, false},
		{"single_packet_heaps", t.SinglePacketHeaps, true},
		{"packets", s.Packets, true},
		{"skipped_bytes", s.SkippedBytes, false},
		{"batches", t.Batches, true},
		{"max_batch", t.MaxBatch, true},
		{"source_conflicts", t.Conflicts, false},
		{"worker_blocked", t.Blocked, true},
	} {
		if v.always || v.n > 0 {
			fmt.Fprintf(b, "%s: %d\n", v.name, v.n)
		}
	}
	if t.Blocked > 0 {
		fmt.Fprintf(b, "blocked for %.3f s by a full ring\n", t.BlockedTime.Seconds())
	}
	writeLedger(b, s)
	for i := range s.Streams {
		st := &s.Streams[i]
		fmt.Fprintf(b, "pool of %s: live %d of %d, in the ring %d of %d, held %d of %d, least free %d of %d\n", st.Name,
			highLive(st), st.Sum.Live, highRing(st), st.Sum.Ring, st.Slots.HighHeld, st.Sum.Held,
			st.Slots.LeastFree, st.Sum.Live+st.Sum.Ring+st.Sum.Held+st.Sum.Threads)
	}
	_, err := o.w.Write(b.Bytes())
	return err
}

// writeLedger writes what became of every packet.
func writeLedger(b *bytes.Buffer, s *speadx.Stats) {
	fmt.Fprintf(b, "ledger: %d packets\n", s.Packets)
	for f, n := range s.Fates {
		if n == 0 {
			continue
		}
		note := ""
		if heap.Fate(f) == heap.KernelDropped && s.KernelDroppedAtLeast {
			note = " at least (exact with --gro=false)"
			if len(s.Devices) > 0 {
				note = " at least (several packets of one frame count as one)"
			}
		}
		fmt.Fprintf(b, "  %12d %v%s\n", n, heap.Fate(f), note)
	}
	if s.InFlight > 0 {
		fmt.Fprintf(b, "  %12d in flight\n", s.InFlight)
	}
	fmt.Fprintf(b, "  %12d unaccounted\n", s.Unaccounted)
}
