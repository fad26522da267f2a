package spead

import (
	"fmt"
	"math"
)

// FormatField is one field of an item's elements.
type FormatField struct {
	Type byte   // 'u', 'i', 'f', 'c' or 'b'
	Bits uint64 // of this field
}

// Descriptor tells receivers what an item is. Either DType says how to read
// it, or Format and Shape do.
type Descriptor struct {
	ID          uint64 // the item described, not 0
	Name        string
	Description string

	// DType is a numpy array header, a Python dict with the keys 'descr',
	// 'fortran_order' and 'shape'. Receivers prefer it to Format and Shape.
	DType string

	Format []FormatField // fields of one element, packed, big-endian
	Shape  []int64       // dimensions; a negative one is variable
}

// Item encodes d as an item to be sent in a heap of flavour f: a whole SPEAD
// packet of its own. The error names what does not fit into the flavour.
func (d *Descriptor) Item(f Flavour) (OutItem, error) {
	if !f.Valid() {
		return OutItem{}, fmt.Errorf("spead: %d heap address bits are no flavour (8, 16, … or 56)", f)
	}
	fail := func(format string, a ...any) (OutItem, error) {
		return OutItem{}, fmt.Errorf("spead: descriptor of item %#x: %s", d.ID, fmt.Sprintf(format, a...))
	}
	if d.ID == 0 || d.ID > f.MaxID() {
		return fail("id is not within 1 to %#x", f.MaxID())
	}

	// A field has its type in a byte and its bits in as many as an id has;
	// a dimension has flags in a byte and its size in as many as a value.
	addrBytes := f.AddrBits() / 8
	var format, shape []byte
	for _, field := range d.Format {
		if field.Bits > math.MaxUint64>>f {
			return fail("a field of %d bits", field.Bits)
		}
		format = appendUint(append(format, field.Type), field.Bits, 8-addrBytes)
	}
	for _, size := range d.Shape {
		if size > int64(f.MaxValue()) {
			return fail("a dimension of %d", size)
		}
		const variable = 1
		if size < 0 {
			shape = appendUint(append(shape, variable), 0, addrBytes)
		} else {
			shape = appendUint(append(shape, 0), uint64(size), addrBytes)
		}
	}

	parts := []descriptorPart{
		{IDDescriptorName, d.Name},
		{IDDescriptorDescription, d.Description},
		{IDDescriptorFormat, string(format)},
		{IDDescriptorShape, string(shape)},
	}
	if d.DType != "" {
		parts = append(parts, descriptorPart{IDDescriptorDType, d.DType})
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
