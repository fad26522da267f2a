package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

// textOutput prints heaps and totals as spead2_recv does, and the ledger.
type textOutput struct {
	w     io.Writer
	quiet bool
	buf   bytes.Buffer
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
	if !h.Complete() {
		fmt.Fprintf(b, " (%d of %s bytes)", h.Received(), lengthText(h))
	}
	b.WriteByte('\n')
	width := h.Flavour().AddrBits() / 8
	for _, it := range h.Items() {
		if it.Immediate {
			fmt.Fprintf(b, "  %#x = [%d bytes] = %#x\n", it.ID, width, it.Value)
		} else if it.ID != spead.IDDescriptor {
			fmt.Fprintf(b, "  %#x = [%d bytes]\n", it.ID, it.Length)
		}
	}
	_, err := o.w.Write(b.Bytes())
	return err
}

func lengthText(h *heap.Heap) string {
	if h.Length() < 0 {
		return "unknown"
	}
	return fmt.Sprint(h.Length())
}

func (o *textOutput) summary(s *speadx.Stats, c *reception, elapsed time.Duration) error {
	b := &o.buf
	b.Reset()
	t := totalsOf(s)
	fmt.Fprintf(b, "Received %d heaps, %d bytes in %.3f seconds: %.3f Gb/s\n", t.complete, s.Payload, elapsed.Seconds(), gbps(s.Payload, elapsed))
	if c.f.verify {
		fmt.Fprintf(b, "Verified %d heaps: %d wrong\n", c.verified, c.mismatched)
	}
	for _, v := range []struct {
		name string
		n    uint64
	}{
		{"heaps", t.complete + t.incomplete},
		{"complete_heaps", t.complete},
		{"incomplete_heaps", t.incomplete},
		{"incomplete_heaps_evicted", t.evicted},
		{"incomplete_heaps_aged", t.aged},
		{"incomplete_heaps_flushed", t.flushed},
		{"single_packet_heaps", t.singles},
		{"packets", s.Packets},
		{"batches", t.batches},
		{"max_batch", t.maxBatch},
		{"worker_blocked", t.blocked},
	} {
		fmt.Fprintf(b, "%s: %d\n", v.name, v.n)
	}
	if t.blocked > 0 {
		fmt.Fprintf(b, "blocked for %.3f s by a full ring\n", t.blockedTime.Seconds())
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
		}
		fmt.Fprintf(b, "  %12d %v%s\n", n, heap.Fate(f), note)
	}
	if s.InFlight > 0 {
		fmt.Fprintf(b, "  %12d in flight\n", s.InFlight)
	}
	fmt.Fprintf(b, "  %12d unaccounted\n", s.Unaccounted)
}
