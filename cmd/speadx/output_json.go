// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/report"
)

// jsonOutput prints one object a line. Names and meanings are in docs/json.md;
// they are an interface.
type jsonOutput struct {
	w       io.Writer
	decoder decoder
	hash    bool
	values  bool
	quiet   bool
	buf     []byte
	items   []heap.Item
}

// largeLine is up to which length the memory of a line is kept for the next one.
const largeLine = 16 << 20

// heap is written by hand, as it is done for every heap and has to cost little.
func (o *jsonOutput) heap(h *heap.Heap, _ time.Duration) error {
	if o.quiet {
		return nil
	}
	g := o.decoder.decode(h)
	b := append(o.buf[:0], `{"type":"heap","stream":`...)
	b = appendString(b, h.Stream())
	b = append(b, `,"cnt":`...)
	b = strconv.AppendUint(b, h.Cnt(), 10)
	b = append(b, `,"flavour":"`...)
	b = append(b, h.Flavour().String()...)
	b = append(b, `","complete":`...)
	b = strconv.AppendBool(b, h.Complete())
	b = append(b, `,"length":`...)
	b = strconv.AppendInt(b, h.Length(), 10)
	b = append(b, `,"received":`...)
	b = strconv.AppendInt(b, h.Received(), 10)
	if s := h.Sender(); s.IsValid() {
		b = append(b, `,"sender":"`...)
		b = append(s.AppendTo(b), '"')
	}
	b = append(b, `,"items":[`...)
	items := o.byID(h.Items())
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = strconv.AppendUint(b, it.ID, 10)
		if it.Immediate {
			b = append(b, `,"immediate":`...)
			b = strconv.AppendUint(b, it.Value, 10)
		} else {
			b = append(b, `,"offset":`...)
			b = strconv.AppendInt(b, it.Offset, 10)
			b = append(b, `,"length":`...)
			b = strconv.AppendInt(b, it.Length, 10)
			if o.hash {
				sum := sha256.Sum256(it.Data)
				b = append(b, `,"sha256":"`...)
				b = hex.AppendEncode(b, sum[:])
				b = append(b, '"')
			}
			if it.Missing {
				b = append(b, `,"missing":true`...)
			}
		}
		if known := g.ByID(it.ID); known != nil && known.Descriptor() != nil {
			b = appendDescriptor(b, known)
		}
		if named := valueOf(g, items, i); named != nil && o.values {
			b = append(b, `,"value":`...)
			b = appendValue(b, named.Value())
		}
		b = append(b, '}')
	}
	b = append(b, ']')
	if !h.Complete() {
		b = append(b, `,"ranges":[`...)
		for i, r := range h.Ranges() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = strconv.AppendInt(b, r.Start, 10)
			b = append(b, ',')
			b = strconv.AppendInt(b, r.End, 10)
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	b = append(b, `,"time":`...)
	b = strconv.AppendFloat(b, float64(h.ReceiveTime().UnixMicro())/1e6, 'f', 6, 64)
	b = append(b, "}\n"...)
	if o.buf = b; cap(b) > largeLine {
		o.buf = nil
	}
	_, err := o.w.Write(b)
	return err
}

// byID sorts items by id, those of one id as they are in the heap. They are
// valid until the next call.
func (o *jsonOutput) byID(items []heap.Item) []heap.Item {
	o.items = append(o.items[:0], items...)
	slices.SortStableFunc(o.items, func(a, b heap.Item) int { return cmp.Compare(a.ID, b.ID) })
	return o.items
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			q, _ := json.Marshal(s) // a string always can be
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func (o *jsonOutput) summary(w io.Writer, r *report.Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
