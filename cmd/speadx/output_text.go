// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/report"
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

func (o *textOutput) summary(w io.Writer, r *report.Report) error { return r.WriteText(w) }
