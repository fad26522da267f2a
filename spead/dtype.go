// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/speadx/speadx/internal/pyliteral"
)

// maxDType is the longest numpy header that is read, in bytes.
const maxDType = 1 << 16

// parseHeader reads a numpy array header. It is a Python dict of the type of an element
// ('descr'), the order of the elements, and the shape. The result descr is the type as the
// header has it, and as Python would write it.
func parseHeader(s string) (t Type, fortran bool, shape []int64, descr string, err error) {
	if len(s) > maxDType {
		return t, false, nil, "", fmt.Errorf("it is %d bytes long (%d at most)", len(s), maxDType)
	}
	v, err := pyliteral.Parse(s)
	if err != nil {
		return t, false, nil, "", err
	}
	if v.Kind != pyliteral.Dict {
		return t, false, nil, "", fmt.Errorf("it is %v, not a dict", v.Kind)
	}
	found := make(map[string]pyliteral.Value, 3)
	for i := 0; i < len(v.Items); i += 2 {
		key := v.Items[i]
		if key.Kind != pyliteral.String || !slices.Contains(headerKeys, key.Text) {
			return t, false, nil, "", fmt.Errorf("its key %v is none of %s", key, strings.Join(headerKeys, ", "))
		}
		found[key.Text] = v.Items[i+1]
	}
	for _, key := range headerKeys {
		if _, ok := found[key]; !ok {
			return t, false, nil, "", fmt.Errorf("it has no key %s", key)
		}
	}
	if f := found["fortran_order"]; f.Kind != pyliteral.Bool {
		return t, false, nil, "", fmt.Errorf("its fortran_order is %v, not a bool", f.Kind)
	}
	if s := found["shape"]; s.Kind != pyliteral.Tuple {
		return t, false, nil, "", fmt.Errorf("its shape is %v, not a tuple", s.Kind)
	}
	for _, d := range found["shape"].Items {
		if d.Kind != pyliteral.Int || d.Int < 0 {
			return t, false, nil, "", fmt.Errorf("its shape has %v as a dimension", d)
		}
		shape = append(shape, d.Int)
	}
	if t, err = ofLiteral(found["descr"]); err != nil {
		return t, false, nil, "", err
	}
	descr = found["descr"].String()
	if found["descr"].Kind == pyliteral.String {
		descr = found["descr"].Text
	}
	return t, found["fortran_order"].Int != 0, shape, descr, nil
}

var headerKeys = []string{"descr", "fortran_order", "shape"}

// ParseDType reads the type of an element as numpy writes it: a type string such
// as "<f4", "int16" or "|S5", or a list of fields such as
// "[('n', '<u2'), ('x', '<f4', (2,))]".
func ParseDType(s string) (Type, error) {
	if len(s) > maxDType {
		return Type{}, fmt.Errorf("spead: dtype of %d bytes (%d at most)", len(s), maxDType)
	}
	t, err := parseDType(s)
	if err != nil {
		return t, fmt.Errorf("spead: dtype %.80q: %w", s, err)
	}
	return t, nil
}

func parseDType(s string) (Type, error) {
	if strings.HasPrefix(strings.TrimLeft(s, " "), "[") {
		v, err := pyliteral.Parse(s)
		if err != nil {
			return Type{}, err
		}
		return ofLiteral(v)
	}
	return ofTypeString(s)
}

// ofLiteral is the type that a literal stands for: a type string, or a list of
// fields.
func ofLiteral(v pyliteral.Value) (Type, error) {
	switch v.Kind {
	case pyliteral.String:
		return ofTypeString(v.Text)
	case pyliteral.List:
	default:
		return Type{}, fmt.Errorf("%v is not a type (a type string, or a list of fields)", v.Kind)
	}
	var fields []Field
	for i, item := range v.Items {
		f, err := fieldOf(item, i)
		if err != nil {
			return Type{}, fmt.Errorf("field %d: %w", i, err)
		}
		fields = append(fields, f)
	}
	return structOf(fields)
}

// fieldOf reads (name, type) or (name, type, shape). The name may be a pair of
// title and name; numpy gives one without a name that of its number.
func fieldOf(v pyliteral.Value, number int) (f Field, err error) {
	if v.Kind != pyliteral.Tuple || len(v.Items) < 2 || len(v.Items) > 3 {
		return f, errors.New("it is no tuple of name, type and perhaps shape")
	}
	name := v.Items[0]
	if name.Kind == pyliteral.Tuple && len(name.Items) == 2 {
		name = name.Items[1]
	}
	if name.Kind != pyliteral.String {
		return f, fmt.Errorf("its name is %v, not a string", name.Kind)
	}
	if f.Name = name.Text; f.Name == "" {
		f.Name = "f" + strconv.Itoa(number)
	}
	if f.Type, err = ofLiteral(v.Items[1]); err != nil {
		return f, err
	}
	if len(v.Items) == 2 {
		return f, nil
	}
	dims := v.Items[2].Items
	switch v.Items[2].Kind {
	case pyliteral.Tuple:
	case pyliteral.Int:
		dims = v.Items[2:]
	default:
		return f, fmt.Errorf("its shape is %v, not a tuple", v.Items[2].Kind)
	}
	if len(dims) > maxDims {
		return f, fmt.Errorf("it has %d dimensions (%d at most)", len(dims), maxDims)
	}
	for _, d := range dims {
		if d.Kind != pyliteral.Int || d.Int < 0 || d.Int > maxBits {
			return f, fmt.Errorf("its shape has %v as a dimension", d)
		}
		f.Shape = append(f.Shape, int(d.Int))
	}
	return f, nil
}

// typeNames are the types that numpy has names and letters for, without a size.
// A letter's size is that on 64-bit Linux.
var typeNames = map[string]string{
	"bool": "b1", "?": "b1",
	"int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "int": "i8",
	"uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "uint": "u8",
	"float16": "f2", "float32": "f4", "float64": "f8", "float": "f8",
	"complex64": "c8", "complex128": "c16", "complex": "c16",
	"b": "i1", "h": "i2", "i": "i4", "l": "i8", "q": "i8", "p": "i8",
	"B": "u1", "H": "u2", "I": "u4", "L": "u8", "Q": "u8", "P": "u8",
	"e": "f2", "f": "f4", "d": "f8", "F": "c8", "D": "c16",
	"c": "S1",
}

// ofTypeString reads a type string: byte order, letter, size in bytes (of U, in
// characters). Without an order the machine's own holds, as for numpy.
func ofTypeString(s string) (Type, error) {
	name := s
	little := nativeLittle
	if s != "" {
		switch s[0] {
		case '<', '>':
			little, name = s[0] == '<', s[1:]
		case '|', '=':
			name = s[1:]
		}
	}
	if full, ok := typeNames[name]; ok {
		name = full
	}
	if name == "" {
		return Type{}, fmt.Errorf("type string %.40q names no type", s)
	}
	letter, digits := name[0], name[1:]
	var t Type
	if letter == 'M' || letter == 'm' { // a time: its unit, in brackets, is the user's to know
		digits, _, _ = strings.Cut(digits, "[")
		if digits != "8" {
			return t, fmt.Errorf("type string %.40q is no type of numpy's", s)
		}
		return Type{Kind: KindInt, Bits: 64, Little: little}, nil
	}
	size, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		if letter == 'O' {
			return t, errors.New("objects of Python's cannot be received")
		}
		return t, fmt.Errorf("type string %.40q is no type of numpy's", s)
	}
	if size > math.MaxInt32 {
		return t, fmt.Errorf("type string %.40q: elements of %d bytes are too large", s, size)
	}
	sizes := []uint64(nil)
	switch letter {
	case 'b':
		t.Kind, sizes = KindBool, []uint64{1}
	case 'i':
		t.Kind, sizes = KindInt, []uint64{1, 2, 4, 8}
	case 'u':
		t.Kind, sizes = KindUint, []uint64{1, 2, 4, 8}
	case 'f':
		t.Kind, sizes = KindFloat, []uint64{2, 4, 8}
	case 'c':
		t.Kind, sizes = KindComplex, []uint64{8, 16}
	case 'S', 'a':
		t.Kind = KindBytes
	case 'U':
		t.Kind = KindText
		size *= 4
	case 'V':
		t.Kind = KindRaw
	case 'O':
		return t, errors.New("objects of Python's cannot be received")
	default:
		return t, fmt.Errorf("type string %.40q is no type of numpy's", s)
	}
	if sizes != nil && !slices.Contains(sizes, size) {
		return t, fmt.Errorf("type string %.40q: %v of %d bytes is not supported (%v are)", s, t.Kind, size, sizes)
	}
	if size == 0 {
		return t, errZeroSize
	}
	t.Bits = int(size) * 8
	t.Little = little && t.hasOrder()
	return t, nil
}

// swapHeader is a header that says the other byte order. One that makes no sense
// stays as it is.
func swapHeader(s string) string {
	t, fortran, shape, _, err := parseHeader(s)
	if err != nil {
		return s
	}
	t = t.swapped()
	return header(t.String(), fortran, shape)
}

// quoteName writes a name as a Python string.
func quoteName(s string) string {
	return pyliteral.Value{Kind: pyliteral.String, Text: s}.String()
}

// header is the numpy array header that describes the type.
func header(descr string, fortran bool, shape []int64) string {
	var b strings.Builder
	if !strings.HasPrefix(descr, "[") {
		descr = quoteName(descr)
	}
	fmt.Fprintf(&b, "{'descr': %s, 'fortran_order': ", descr)
	if fortran {
		b.WriteString("True")
	} else {
		b.WriteString("False")
	}
	b.WriteString(", 'shape': (")
	for i, n := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
	if len(shape) == 1 {
		b.WriteByte(',')
	}
	b.WriteString(")}")
	return b.String()
}
