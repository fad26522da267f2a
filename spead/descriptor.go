// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// FormatField is one field of an item's elements.
type FormatField struct {
	Type byte   // 'u', 'i', 'f', 'c' or 'b'
	Bits uint64 // of this field
}

// String is the field as it is spoken of: "u12".
func (f FormatField) String() string { return fmt.Sprintf("%c%d", f.Type, f.Bits) }

// Descriptor tells receivers what an item is. Either DType says how to read
// it, or Format and Shape do.
type Descriptor struct {
	ID          uint64 // the item described, not 0
	Name        string // by which a receiver finds it
	Description string // for people

	// DType is a numpy array header, a Python dict with the keys 'descr',
	// 'fortran_order' and 'shape'. Receivers prefer it to Format and Shape.
	// [NumpyHeader] makes one.
	DType string

	Format []FormatField // fields of one element, packed, big-endian
	Shape  []int64       // dimensions; a negative one is variable
}

// NumpyHeader is the DType of a [Descriptor] of elements of a type, such as
// "<f4" or "[('n', '<u2'), ('x', '<f4')]" (see [ParseDType]), in a shape without
// variable dimensions.
func NumpyHeader(dtype string, order Order, shape ...int64) (string, error) {
	t, err := ParseDType(dtype)
	if err != nil {
		return "", err
	}
	for _, n := range shape {
		if n < 0 {
			return "", fmt.Errorf("spead: shape %v has a negative dimension (a numpy header has no variable ones)", shape)
		}
	}
	return header(t.String(), order == OrderF, shape), nil
}

// Item encodes d as an item to be sent in a heap of flavour f: a whole SPEAD
// packet of its own. The error names what does not fit into the flavour.
func (d *Descriptor) Item(f Flavour, c Compat) (OutItem, error) {
	if !f.Valid() {
		return OutItem{}, fmt.Errorf("spead: %d heap address bits are no flavour (8, 16, … or 56)", f)
	}
	fail := func(format string, a ...any) (OutItem, error) {
		return OutItem{}, fmt.Errorf("spead: descriptor of item %#x: %s", d.ID, fmt.Sprintf(format, a...))
	}
	if d.ID == 0 || d.ID > f.MaxID() {
		return fail("id is not within 1 to %#x", f.MaxID())
	}

	var format, shape []byte
	fieldSize, dimSize := c.fieldSize(f), c.dimSize(f)
	for _, field := range d.Format {
		if fieldSize <= 8 && field.Bits > math.MaxUint64>>(64-8*(fieldSize-1)) {
			return fail("a field of %d bits", field.Bits)
		}
		format = appendUint(append(format, field.Type), field.Bits, fieldSize-1)
	}
	for _, size := range d.Shape {
		if size >= 0 && uint64(size) > min(f.MaxValue(), math.MaxUint64>>(64-8*(dimSize-1))) {
			return fail("a dimension of %d", size)
		}
		if size < 0 {
			shape = appendUint(append(shape, c.variableFlag()), 0, dimSize-1)
		} else {
			shape = appendUint(append(shape, 0), uint64(size), dimSize-1)
		}
	}
	dtype := d.DType
	if dtype != "" && c&CompatSwapEndian != 0 {
		dtype = swapHeader(dtype)
	}

	parts := []descriptorPart{
		{IDDescriptorName, d.Name},
		{IDDescriptorDescription, d.Description},
		{IDDescriptorFormat, string(format)},
		{IDDescriptorShape, string(shape)},
	}
	if dtype != "" {
		parts = append(parts, descriptorPart{IDDescriptorDType, dtype})
	}
	var payload []byte
	pointers := []Pointer{f.Immediate(IDDescriptorID, d.ID)}
	for _, part := range parts {
		pointers = append(pointers, f.Addressed(part.id, uint64(len(payload))))
		payload = append(payload, part.data...)
		if uint64(len(payload)) > f.MaxValue() {
			return fail("it is too long for flavour %v", f)
		}
	}

	out := appendHeader(nil, f, 4+len(pointers))
	out = appendSpecials(out, f, 1, uint64(len(payload)), 0, uint64(len(payload)))
	for _, ptr := range pointers {
		out = appendPointer(out, ptr)
	}
	return OutItem{ID: IDDescriptor, Data: append(out, payload...)}, nil
}

// descriptorPart is one addressed item of a descriptor.
type descriptorPart struct {
	id   uint64
	data string
}

// appendUint appends the n lowest bytes of v, big-endian.
func appendUint(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, byte(v>>(8*i)))
	}
	return dst
}

// Limits on what a descriptor may be: they bound what a sender can make a receiver
// remember.
const (
	maxDescriptor       = 1 << 16 // bytes, of the whole
	maxDescriptorFields = 1 << 10 // of its format
	maxDescriptorItems  = 1 << 8  // item pointers; ten is what there are
)

// ParseDescriptor reads a descriptor: the data of an item with [IDDescriptor].
// Whether dtype, format and shape make sense is for [Descriptor.Layout] to say. With
// DType, Format and Shape are left out, as it overrides them. With
// [CompatSwapEndian] DType is what the sender means, not what it says.
//
// The error says which part is wrong. Parts that are unknown are passed over.
// Memory is a small multiple of the data's length.
func ParseDescriptor(data []byte, c Compat) (*Descriptor, error) {
	d, err := parseDescriptor(data, c)
	if err != nil {
		return nil, fmt.Errorf("spead: descriptor: %w", err)
	}
	return d, nil
}

// parseDescriptor returns the descriptor with the error if its id is known.
func parseDescriptor(data []byte, c Compat) (*Descriptor, error) {
	if len(data) > maxDescriptor {
		return nil, fmt.Errorf("it is %d bytes long (%d at most)", len(data), maxDescriptor)
	}
	f, ptrs, payload, err := descriptorHeap(data)
	if err != nil {
		return nil, err
	}
	d := &Descriptor{}
	for _, it := range AppendItems(nil, f, ptrs, payload) {
		b := it.Data
		if it.Immediate {
			b = appendUint(nil, it.Value, f.AddrBits()/8)
		}
		switch it.ID {
		case IDDescriptorID:
			if it.Immediate { // as spead2 does: an addressed one is no id
				d.ID = it.Value
			}
		case IDDescriptorName:
			d.Name = string(b)
		case IDDescriptorDescription:
			d.Description = string(b)
		case IDDescriptorDType:
			d.DType = string(b)
		case IDDescriptorFormat:
			n := c.fieldSize(f)
			if len(b)/n > maxDescriptorFields {
				err = fmt.Errorf("format: it has %d fields (%d at most)", len(b)/n, maxDescriptorFields)
				continue
			}
			for ; len(b) >= n; b = b[n:] {
				d.Format = append(d.Format, FormatField{Type: b[0], Bits: bitsAt(b, 8, 8*(n-1))})
			}
		case IDDescriptorShape:
			n := c.dimSize(f)
			if len(b)/n > maxDims {
				err = fmt.Errorf("shape: it has %d dimensions (%d at most)", len(b)/n, maxDims)
				continue
			}
			for ; len(b) >= n; b = b[n:] {
				size := int64(-1)
				if b[0]&c.variableFlag() == 0 {
					size = int64(bitsAt(b, 8, 8*(n-1)))
				}
				d.Shape = append(d.Shape, size)
			}
		}
	}
	if d.ID == 0 {
		return nil, errors.New("it has no id, so it describes nothing")
	}
	for _, part := range []struct{ name, text string }{{"name", d.Name}, {"description", d.Description}} {
		if !utf8.ValidString(part.text) {
			err = fmt.Errorf("%s: %.40q is neither ASCII nor UTF-8", part.name, part.text)
		}
	}
	if d.DType != "" {
		d.Format, d.Shape = nil, nil
		if c&CompatSwapEndian != 0 {
			d.DType = swapHeader(d.DType)
		}
	}
	return d, err
}

// descriptorHeap puts together the heap that a descriptor is: one packet, or
// several that follow each other.
func descriptorHeap(data []byte) (f Flavour, ptrs []Pointer, payload []byte, err error) {
	var p Packet
	length, reach := int64(-1), int64(0)
	var cnt uint64
	packets := 0
	for len(data) > 0 {
		if r := p.Decode(data, len(data)); r != OK {
			if packets > 0 {
				break // what stands behind the packets is nothing
			}
			return 0, nil, nil, fmt.Errorf("it is no SPEAD packet (%v)", r)
		}
		switch {
		case packets == 0:
			f, cnt = p.Flavour, p.Cnt
		case p.Flavour != f || p.Cnt != cnt:
			return 0, nil, nil, errors.New("it has packets of several heaps")
		}
		packets++
		if p.PayloadOffset != int64(len(payload)) {
			return 0, nil, nil, fmt.Errorf("its packet %d goes to offset %d, where %d should be", packets, p.PayloadOffset, len(payload))
		}
		if length = max(length, p.HeapLength); len(ptrs)+p.NumPointers() > maxDescriptorItems {
			return 0, nil, nil, fmt.Errorf("it has %d item pointers (%d at most)", len(ptrs)+p.NumPointers(), maxDescriptorItems)
		}
		for i := range p.NumPointers() {
			q := p.Pointer(i)
			if !q.IsImmediate() {
				reach = max(reach, int64(f.Value(q)))
			}
			if !slices.Contains(ptrs, q) {
				ptrs = append(ptrs, q)
			}
		}
		body := data[p.HeaderLen:p.Size()]
		if packets == 1 && len(body) == len(data)-p.HeaderLen {
			payload = body // all of it, in one piece
		} else {
			payload = append(payload[:len(payload):len(payload)], body...)
		}
		data = data[p.Size():]
	}
	if packets == 0 {
		return 0, nil, nil, errors.New("it is empty")
	}
	if n := int64(len(payload)); length > n || reach > n {
		return 0, nil, nil, fmt.Errorf("it is incomplete: %d bytes of %d", n, max(length, reach))
	}
	return f, ptrs, payload, nil
}

// Layout is what a descriptor says of an item's value.
type Layout struct {
	Type  Type
	Order Order
	Shape []int // at most one dimension is -1: variable

	// DType is the type as the sender's numpy writes it: "<f4", or a list of
	// fields. "" where the descriptor has a format.
	DType string
}

// Layout works out how the item is read. The error says which part of the
// descriptor makes no sense, and why.
func (d *Descriptor) Layout() (Layout, error) {
	l, err := d.layout()
	if err != nil {
		return Layout{}, fmt.Errorf("spead: descriptor of item %#x (%s): %w", d.ID, d.Name, err)
	}
	return l, nil
}

func (d *Descriptor) layout() (l Layout, err error) {
	shape := d.Shape
	if d.DType != "" {
		var fortran bool
		if l.Type, fortran, shape, l.DType, err = parseHeader(d.DType); err != nil {
			return l, fmt.Errorf("dtype: %w", err)
		}
		if fortran {
			l.Order = OrderF
		}
	} else if l.Type, err = ofFormat(d.Format); err != nil {
		return l, fmt.Errorf("format: %w", err)
	}
	if len(shape) > maxDims {
		return l, fmt.Errorf("shape: it has %d dimensions (%d at most)", len(shape), maxDims)
	}
	variable := false
	for _, n := range shape {
		if n < 0 {
			if n = -1; variable {
				return l, fmt.Errorf("shape: %v has more than one variable dimension", shape)
			}
			variable = true
		}
		l.Shape = append(l.Shape, int(n))
	}
	return l, nil
}

// known is the number of elements over the dimensions that are not variable, and
// variable the place of the one that is, -1 if there is none. Not ok if they are
// more than any heap holds.
func (l *Layout) known() (n, variable int, ok bool) {
	variable = slices.Index(l.Shape, -1)
	if variable < 0 {
		n, ok = product(l.Shape, maxBits)
		return n, variable, ok
	}
	rest := append(slices.Clone(l.Shape[:variable]), l.Shape[variable+1:]...)
	n, ok = product(rest, maxBits)
	return n, variable, ok
}

// canBeImmediate reports whether a sender may put a value of few bytes into an item
// pointer. A variable shape could not be told then, and the place of padding
// bits is not agreed on.
func (l *Layout) canBeImmediate() bool {
	return !slices.Contains(l.Shape, -1) && l.Type.Bits%8 == 0
}
