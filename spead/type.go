// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind says what the elements of an item are.
type Kind uint8

// The kinds.
const (
	KindBool    Kind = iota + 1 // true if any bit is set
	KindInt                     // two's complement
	KindUint                    //
	KindFloat                   // IEEE 754, of 16, 32 or 64 bits
	KindComplex                 // real and imaginary part, of 32 or 64 bits each
	KindChar                    // one byte of text: the format c8
	KindBytes                   // bytes, filled up with NULs: numpy's S
	KindText                    // characters of 32 bits, filled up with NULs: numpy's U
	KindRaw                     // bytes without a meaning: numpy's V, and items that nothing describes
	KindStruct                  // fields side by side
)

var kindNames = [...]string{
	KindBool: "bool", KindInt: "int", KindUint: "uint", KindFloat: "float", KindComplex: "complex",
	KindChar: "char", KindBytes: "bytes", KindText: "text", KindRaw: "raw", KindStruct: "struct",
}

// String is the kind in a word.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "none"
}

// Type is the type of the elements of an item. It does not change once it is
// made, and may be used by any number of goroutines.
type Type struct {
	Kind   Kind
	Bits   int     // of one element; of a complex number those of both parts
	Little bool    // little-endian; only numbers and text of more than a byte
	Fields []Field // of a struct
}

// Field is one field of a struct. Fields follow each other without gaps.
type Field struct {
	Name   string
	Offset int   // bits, from the beginning of the struct
	Shape  []int // of a field that is an array, in C order; else nil
	Type   Type
}

const (
	// maxBits bounds an element, so that no sum of bits below can overflow: 128
	// GiB. Heaps are smaller.
	maxBits = 1 << 40
	// maxDims is how many dimensions an array can have; numpy has 32, of late 64.
	maxDims = 64
)

// String is the type as numpy writes it, or where it has none as SPEAD's formats
// are written: "<f4", "u12", "[('n', '<u2'), ('x', '<f4')]".
func (t *Type) String() string {
	var b strings.Builder
	t.write(&b)
	return b.String()
}

func (t *Type) write(b *strings.Builder) {
	order := byte('>')
	if t.Little {
		order = '<'
	}
	bytes := strconv.Itoa(t.Bits / 8)
	switch t.Kind {
	case KindStruct:
		b.WriteByte('[')
		for i := range t.Fields {
			f := &t.Fields[i]
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(b, "(%s, ", quoteName(f.Name))
			if f.Type.Kind == KindStruct {
				f.Type.write(b)
			} else {
				fmt.Fprintf(b, "'%s'", &f.Type)
			}
			if f.Shape != nil {
				b.WriteString(", ")
				writeTuple(b, f.Shape)
			}
			b.WriteByte(')')
		}
		b.WriteByte(']')
	case KindChar:
		b.WriteString("|S1")
	case KindBytes:
		b.WriteString("|S" + bytes)
	case KindText:
		b.WriteByte(order)
		b.WriteString("U" + strconv.Itoa(t.Bits/32))
	case KindRaw:
		b.WriteString("|V" + bytes)
	default:
		letter := map[Kind]string{KindBool: "b", KindInt: "i", KindUint: "u", KindFloat: "f", KindComplex: "c"}[t.Kind]
		switch {
		case t.Bits%8 != 0 || t.Bits&(t.Bits-1) != 0 || t.Kind == KindBool && t.Bits != 8: // numpy has no such type
			b.WriteString(letter + strconv.Itoa(t.Bits))
		case t.Bits == 8:
			b.WriteString("|" + letter + bytes)
		default:
			b.WriteByte(order)
			b.WriteString(letter + bytes)
		}
	}
}

// writeTuple writes a shape as Python does.
func writeTuple(b *strings.Builder, shape []int) {
	b.WriteByte('(')
	for i, n := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(n))
	}
	if len(shape) == 1 {
		b.WriteByte(',')
	}
	b.WriteByte(')')
}

// swapped is the type with the other byte order.
func (t Type) swapped() Type {
	if t.hasOrder() {
		t.Little = !t.Little
	}
	if t.Kind == KindStruct {
		fields := make([]Field, len(t.Fields))
		for i, f := range t.Fields {
			f.Type = f.Type.swapped()
			fields[i] = f
		}
		t.Fields = fields
	}
	return t
}

// hasOrder reports whether byte order means something for the type.
func (t *Type) hasOrder() bool {
	switch t.Kind {
	case KindInt, KindUint, KindFloat:
		return t.Bits > 8
	case KindComplex, KindText:
		return true
	}
	return false
}

// structOf puts fields side by side; their offsets and the type's bits are
// worked out here.
func structOf(fields []Field) (Type, error) {
	t := Type{Kind: KindStruct, Fields: fields}
	names := make(map[string]bool, len(fields))
	for i := range fields {
		f := &fields[i]
		if names[f.Name] {
			return t, fmt.Errorf("two fields have the name %q", f.Name)
		}
		names[f.Name] = true
		f.Offset = t.Bits
		n, ok := product(f.Shape, maxBits/max(f.Type.Bits, 1))
		if !ok || t.Bits+n*f.Type.Bits > maxBits {
			return t, fmt.Errorf("field %q makes an element larger than %d bytes", f.Name, maxBits/8)
		}
		t.Bits += n * f.Type.Bits
	}
	if t.Bits == 0 {
		return t, errZeroSize
	}
	return t, nil
}

var errZeroSize = errors.New("an element has no bits")

// product multiplies the sizes of a shape, of which none is negative; not ok if
// the result is more than limit. One 0 makes it 0, however large the others are.
func product(shape []int, limit int) (int, bool) {
	n, ok := 1, true
	for _, d := range shape {
		if d == 0 {
			return 0, true
		}
		if ok = ok && d <= limit/n; ok {
			n *= d
		}
	}
	return n, ok
}

// ofFormat is the type that a format says: numbers packed bit by bit, with the
// most significant bit first.
func ofFormat(format []FormatField) (Type, error) {
	if len(format) == 0 {
		return Type{}, errors.New("it is empty, and there is no dtype")
	}
	var fields []Field
	for i, f := range format {
		t := Type{Bits: int(min(f.Bits, maxBits))}
		limit := 64
		switch f.Type {
		case 'u':
			t.Kind = KindUint
		case 'i':
			t.Kind = KindInt
		case 'b':
			t.Kind = KindBool
		case 'f':
			t.Kind = KindFloat
			if f.Bits != 0 && f.Bits != 32 && f.Bits != 64 {
				return t, fmt.Errorf("field %d is a float of %d bits (32 and 64 there are)", i, f.Bits)
			}
		case 'c':
			t.Kind, limit = KindChar, 8
			if f.Bits != 0 && f.Bits != 8 {
				return t, fmt.Errorf("field %d is a character of %d bits (8 they have)", i, f.Bits)
			}
		default:
			return t, fmt.Errorf("field %d has the type %q (u, i, f, c and b there are)", i, f.Type)
		}
		if f.Bits == 0 {
			return t, fmt.Errorf("field %d has no bits (a sender of PySPEAD's kind has other widths)", i)
		}
		if f.Bits > uint64(limit) {
			return t, fmt.Errorf("field %d has %d bits (%d at most)", i, f.Bits, limit)
		}
		fields = append(fields, Field{Name: "f" + strconv.Itoa(i), Type: t})
	}
	if len(fields) == 1 {
		return fields[0].Type, nil
	}
	return structOf(fields)
}
