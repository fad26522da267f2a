// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/speadx/speadx/spead"
)

// valueWidth is about how many characters of a value are printed.
const valueWidth = 72

// writeDescriptor writes what a descriptor says, as spead2_recv does.
func writeDescriptor(b *bytes.Buffer, it *spead.Item) {
	d := it.Descriptor()
	fmt.Fprintf(b, "  Descriptor for %s (%#x)\n", printable(d.Name), d.ID)
	fmt.Fprintf(b, "    description: %s\n", printable(d.Description))
	if d.DType != "" {
		fmt.Fprintf(b, "    dtype:       %s\n", printable(d.DType))
		return
	}
	fmt.Fprintf(b, "    format:      %s\n    shape:       %s\n", formatText(d.Format), shapeText(it.Layout().Shape))
}

// printable is text from the wire as a terminal may have it: what does not print is
// escaped, so that no sender can forge lines or send commands to it.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

func formatText(format []spead.FormatField) string {
	var fields []string
	for _, f := range format {
		fields = append(fields, fmt.Sprintf("(%c, %d)", f.Type, f.Bits))
	}
	return "[" + strings.Join(fields, ", ") + "]"
}

// shapeText writes a shape, with ? for a variable dimension.
func shapeText(shape []int) string {
	var dims []string
	for _, n := range shape {
		if n < 0 {
			dims = append(dims, "?")
		} else {
			dims = append(dims, strconv.Itoa(n))
		}
	}
	return "(" + strings.Join(dims, ", ") + ")"
}

// typeText is the type of an item's elements and its shape, in short.
func typeText(it *spead.Item, shape []int) string {
	l := it.Layout()
	t := printable(l.DType)
	if t == "" {
		var fields []string
		for _, f := range it.Descriptor().Format {
			fields = append(fields, f.String())
		}
		t = strings.Join(fields, "+")
	}
	if len(shape) > 0 {
		t += " " + shapeText(shape)
	}
	if l.Order == spead.OrderF && len(shape) > 1 {
		t += " F"
	}
	return t
}

// writeValue writes a value, shortened.
func writeValue(b *bytes.Buffer, v spead.Value) {
	if s, ok := v.Text(); ok {
		b.WriteString(quoted(s))
		return
	}
	w := valueWriter{b: b, v: v, indices: make([]int, len(v.Shape())), end: b.Len() + valueWidth}
	w.dimension(0)
}

// quoted is the beginning of a text.
func quoted(s string) string {
	n := 0
	for i := range s {
		if n++; n > valueWidth {
			return strings.TrimSuffix(strconv.Quote(s[:i]), `"`) + "…"
		}
	}
	return strconv.Quote(s)
}

// largeElement is how many bits an element has at most that is printed: of a larger
// one, a struct with long arrays, not much could be shown.
const largeElement = 1 << 16

// valueWriter stops when it has written enough.
type valueWriter struct {
	b       *bytes.Buffer
	v       spead.Value
	indices []int
	end     int // length of b that is enough
}

// dimension writes what lies behind the first k indices, and reports whether that was
// all of it.
func (w *valueWriter) dimension(k int) bool {
	if k == len(w.indices) {
		if w.b.Len() >= w.end {
			return false
		}
		if t := w.v.Type(); t.Kind == spead.KindStruct && t.Bits > largeElement {
			w.b.WriteString("(…)")
			return true
		}
		return w.element(w.v.At(w.v.Index(w.indices...)))
	}
	w.b.WriteByte('[')
	if w.v.Len() > 0 {
		for i := range w.v.Shape()[k] {
			if i > 0 {
				w.b.WriteString(", ")
			}
			w.indices[k] = i
			if !w.dimension(k + 1) {
				if k+1 == len(w.indices) {
					w.b.WriteString("…")
				}
				w.b.WriteByte(']')
				return false
			}
		}
	}
	w.b.WriteByte(']')
	return true
}

func (w *valueWriter) element(v any) bool {
	switch v := v.(type) {
	case string:
		w.b.WriteString(quoted(v))
	case []byte:
		if fmt.Fprintf(w.b, "%x", v[:min(len(v), valueWidth/2)]); len(v) > valueWidth/2 {
			w.b.WriteString("…")
		}
	case []any: // fields
		w.b.WriteByte('(')
		for i, e := range v {
			if i > 0 {
				w.b.WriteString(", ")
			}
			if w.b.Len() >= w.end {
				w.b.WriteString("…)")
				return false
			}
			w.element(e)
		}
		w.b.WriteByte(')')
	default:
		fmt.Fprint(w.b, v)
	}
	return true
}
