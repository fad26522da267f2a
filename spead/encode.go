// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
)

// Encoded is a value that is encoded already, as it shall be sent.
type Encoded []byte

// Encode makes an item of a value, to be sent by a [Packetiser]. What value may be
// follows from the descriptor:
//
//   - a single number or bool, for an item without dimensions
//   - a string, for text
//   - a slice of numbers for an array, in the order of memory. If it is what a
//     [View] of the item would be, and in the machine's byte order, then the item
//     refers to it, and nothing is copied: it must not be changed until it is sent
//   - slices of slices, nested like the dimensions and in the order of the indices
//   - for an element of a struct, a Go struct with as many fields, or a list of
//     what they are
//   - an [Encoded], which is not copied either
//
// Numbers are converted to the item's type; one that does not fit is an error, and
// so is a shape that is not the item's. Items of whole bytes whose shape does not
// vary may travel as immediate items, if they are small enough.
func (d *Descriptor) Encode(value any) (OutItem, error) {
	l, err := d.Layout()
	if err != nil {
		return OutItem{}, err
	}
	return d.encode(&l, value)
}

// encode is Encode with the descriptor's layout. A sender with CompatSwapEndian
// sends the same bytes: it is the descriptor that it sends which says otherwise.
func (d *Descriptor) encode(l *Layout, value any) (OutItem, error) {
	e := encoder{l: l}
	data, err := e.encode(value)
	if err != nil {
		return OutItem{}, fmt.Errorf("spead: value of item %#x (%s): %w", d.ID, d.Name, err)
	}
	return OutItem{ID: d.ID, Data: data, Fixed: l.canBeImmediate()}, nil
}

// encoder encodes one value.
type encoder struct {
	l    *Layout
	data []byte
	arr  *array
}

func (e *encoder) encode(value any) ([]byte, error) {
	l := e.l
	known, varying, ok := l.known()
	if !ok {
		return nil, fmt.Errorf("the shape %v has more elements than a heap can hold", l.Shape)
	}
	if raw, ok := value.(Encoded); ok {
		n := 8 * len(raw) / l.Type.Bits
		if varying >= 0 && known > 0 {
			known *= n / known
		}
		if (known*l.Type.Bits+7)/8 != len(raw) {
			return nil, fmt.Errorf("%d encoded bytes are not the shape %v of %v", len(raw), l.Shape, &l.Type)
		}
		return raw, nil
	}
	v := reflect.ValueOf(value)
	if !v.IsValid() {
		return nil, errors.New("there is none")
	}
	if s, ok := value.(string); ok && l.Type.Kind == KindChar && len(l.Shape) == 1 {
		for i := range len(s) {
			if s[i] >= 0x80 {
				return nil, fmt.Errorf("byte %d of the text is %#x, which is not ASCII", i, s[i])
			}
		}
		v = reflect.ValueOf([]byte(s))
	}
	if len(l.Shape) > 0 && isList(v) && !mayBeList(v.Type().Elem()) {
		return e.flat(value, v, known, varying)
	}
	shape, err := e.shapeOf(v)
	if err != nil {
		return nil, err
	}
	n, _ := product(shape, maxBits)
	e.allocate(shape, n)
	if n == 0 {
		return nil, nil
	}
	return e.data, e.nested(v, make([]int, len(shape)), 0)
}

// flat encodes a list of elements in the order of memory.
func (e *encoder) flat(value any, v reflect.Value, known, varying int) ([]byte, error) {
	l, n := e.l, v.Len()
	switch {
	case varying < 0 && n != known:
		return nil, fmt.Errorf("%d elements, and the shape %v has %d", n, l.Shape, known)
	case varying >= 0 && (known == 0 && n > 0 || known > 0 && n%known != 0):
		return nil, fmt.Errorf("%d elements cannot be given the shape %v", n, l.Shape)
	}
	if data, ok := sameMemory(value, &l.Type); ok {
		return data, nil
	}
	e.allocate([]int{n}, n)
	for i := range n {
		if err := e.element(&l.Type, e.arr.at(i), v.Index(i)); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return e.data, nil
}

// shapeOf is the item's shape with its variable dimension as long as nested lists
// are. Further dimensions are compared when their elements are encoded.
func (e *encoder) shapeOf(v reflect.Value) ([]int, error) {
	shape := slices.Clone(e.l.Shape)
	for k := range shape {
		v = indirect(v)
		if !isList(v) {
			return nil, fmt.Errorf("%v where dimension %d of the shape %v should be", kindName(v), k, e.l.Shape)
		}
		if shape[k] < 0 {
			shape[k] = v.Len()
		}
		if v.Len() != shape[k] {
			return nil, fmt.Errorf("%d elements in dimension %d, and the shape is %v", v.Len(), k, e.l.Shape)
		}
		if v.Len() == 0 { // nothing tells how long those further down are
			for i := k; i < len(shape); i++ {
				shape[i] = max(shape[i], 0)
			}
			break
		}
		v = v.Index(0)
	}
	return shape, nil
}

func (e *encoder) allocate(shape []int, n int) {
	e.arr = newArray(shape, e.l.Order, n, e.l.Type.Bits)
	e.data = make([]byte, (n*e.l.Type.Bits+7)/8)
}

func (e *encoder) nested(v reflect.Value, indices []int, k int) error {
	v = indirect(v)
	if k == len(indices) {
		bit := e.arr.at(e.arr.index(len(indices), indices))
		if err := e.element(&e.l.Type, bit, v); err != nil {
			if k == 0 {
				return err
			}
			return fmt.Errorf("element %v: %w", indices, err)
		}
		return nil
	}
	if !isList(v) || v.Len() != e.arr.shape[k] {
		return fmt.Errorf("%v where %d elements of dimension %d should be", kindName(v), e.arr.shape[k], k)
	}
	for i := range v.Len() {
		indices[k] = i
		if err := e.nested(v.Index(i), indices, k+1); err != nil {
			return err
		}
	}
	return nil
}

// element encodes one element, or one field, at a place.
func (e *encoder) element(t *Type, bit int, v reflect.Value) error {
	v = indirect(v)
	if !v.IsValid() {
		return errors.New("there is none")
	}
	switch t.Kind {
	case KindStruct:
		return e.fields(t, bit, v)
	case KindChar, KindBytes, KindRaw, KindText:
		return e.text(t, bit, v)
	case KindBool:
		switch {
		case v.Kind() == reflect.Bool:
			n := uint64(0)
			if v.Bool() {
				n = 1
			}
			e.put(t, bit, n)
			return nil
		case v.CanInt():
			return e.element(t, bit, reflect.ValueOf(v.Int() != 0))
		case v.CanUint():
			return e.element(t, bit, reflect.ValueOf(v.Uint() != 0))
		}
	case KindInt:
		n, ok := integer(v)
		if ok && t.Bits < 64 && n != signExtend(uint64(n), t.Bits) || !ok && v.CanUint() {
			return fmt.Errorf("%v does not fit into %d bits with a sign", v, t.Bits)
		}
		if ok {
			e.put(t, bit, uint64(n))
			return nil
		}
	case KindUint:
		n, ok := uint64(0), v.CanUint()
		if ok {
			n = v.Uint()
		} else if i, isInt := integer(v); isInt {
			if n, ok = uint64(i), true; i < 0 {
				return fmt.Errorf("%d is negative", i)
			}
		}
		if ok && t.Bits < 64 && n>>t.Bits != 0 {
			return fmt.Errorf("%v does not fit into %d bits", v, t.Bits)
		}
		if ok {
			e.put(t, bit, n)
			return nil
		}
	case KindFloat:
		if f, ok := float(v); ok {
			if tooLarge(f, t.Bits) {
				return fmt.Errorf("%v does not fit into %d bits", f, t.Bits)
			}
			e.put(t, bit, floatBits(f, t.Bits))
			return nil
		}
	case KindComplex:
		var z complex128
		if v.CanComplex() {
			z = v.Complex()
		} else if f, ok := float(v); ok {
			z = complex(f, 0)
		} else {
			break
		}
		half := Type{Kind: KindFloat, Bits: t.Bits / 2, Little: t.Little}
		if tooLarge(real(z), half.Bits) || tooLarge(imag(z), half.Bits) {
			return fmt.Errorf("%v does not fit into %d bits", z, t.Bits)
		}
		e.put(&half, bit, floatBits(real(z), half.Bits))
		e.put(&half, bit+half.Bits, floatBits(imag(z), half.Bits))
		return nil
	}
	return fmt.Errorf("%v is no %v", kindName(v), t.Kind)
}

// fields encodes an element that is a struct.
func (e *encoder) fields(t *Type, bit int, v reflect.Value) error {
	field := func(i int) reflect.Value { return v.Index(i) }
	n := 0
	switch {
	case v.Kind() == reflect.Struct:
		n = v.NumField()
		field = v.Field
	case isList(v):
		n = v.Len()
	default:
		return fmt.Errorf("%v where a struct of %d fields should be", kindName(v), len(t.Fields))
	}
	if n != len(t.Fields) {
		return fmt.Errorf("%d fields, and a struct has %d", n, len(t.Fields))
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		fv := field(i)
		var err error
		if f.Shape == nil {
			err = e.element(&f.Type, bit+f.Offset, fv)
		} else {
			m, _ := product(f.Shape, maxBits)
			err = e.subArray(f, newArray(f.Shape, OrderC, m, f.Type.Bits), bit+f.Offset, fv, make([]int, len(f.Shape)), 0)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

// subArray encodes a field that is an array.
func (e *encoder) subArray(f *Field, arr *array, bit int, v reflect.Value, indices []int, k int) error {
	v = indirect(v)
	if k == len(indices) {
		return e.element(&f.Type, bit+arr.at(arr.index(k, indices)), v)
	}
	if !isList(v) || v.Len() != f.Shape[k] {
		return fmt.Errorf("%v where %d elements should be", kindName(v), f.Shape[k])
	}
	for i := range v.Len() {
		indices[k] = i
		if err := e.subArray(f, arr, bit, v.Index(i), indices, k+1); err != nil {
			return err
		}
	}
	return nil
}

// text encodes an element of whole bytes, filled up with NULs.
func (e *encoder) text(t *Type, bit int, v reflect.Value) error {
	var b []byte
	switch {
	case v.Kind() == reflect.String && t.Kind == KindText:
		for _, r := range v.String() {
			if t.Little {
				b = binary.LittleEndian.AppendUint32(b, uint32(r))
			} else {
				b = binary.BigEndian.AppendUint32(b, uint32(r))
			}
		}
	case v.Kind() == reflect.String:
		b = []byte(v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 && t.Kind != KindText:
		b = v.Bytes()
	case v.CanUint() && t.Kind == KindChar && v.Uint() < 256:
		b = []byte{byte(v.Uint())}
	default:
		return fmt.Errorf("%v is no %v", kindName(v), t.Kind)
	}
	if 8*len(b) > t.Bits {
		return fmt.Errorf("%.40q has %d bytes, and there is room for %d", v, len(b), t.Bits/8)
	}
	if t.Kind == KindRaw && 8*len(b) != t.Bits {
		return fmt.Errorf("%d bytes where %d should be", len(b), t.Bits/8)
	}
	for i, c := range b {
		putBits(e.data, bit+8*i, 8, uint64(c))
	}
	return nil
}

// put writes the lowest bits of n as a number of type t.
func (e *encoder) put(t *Type, bit int, n uint64) {
	if t.Bits%8 != 0 || bit%8 != 0 {
		putBits(e.data, bit, t.Bits, n)
		return
	}
	b := e.data[bit/8 : (bit+t.Bits)/8]
	for i := range b {
		shift := 8 * i
		if !t.Little {
			shift = 8 * (len(b) - 1 - i)
		}
		b[i] = byte(n >> shift)
	}
}

// sameMemory is the memory of a slice that is as elements of type t are sent.
func sameMemory(value any, t *Type) ([]byte, bool) {
	if t.hasOrder() && t.Little != nativeLittle {
		return nil, false
	}
	var b []byte
	kind, width := Kind(0), 0
	switch s := value.(type) {
	case []byte:
		b, kind, width = s, KindUint, 8
		if t.Kind == KindChar {
			kind = KindChar
		}
	case []int8:
		b, kind, width = rawBytes(s), KindInt, 8
	case []int16:
		b, kind, width = rawBytes(s), KindInt, 16
	case []int32:
		b, kind, width = rawBytes(s), KindInt, 32
	case []int64:
		b, kind, width = rawBytes(s), KindInt, 64
	case []uint16:
		b, kind, width = rawBytes(s), KindUint, 16
	case []uint32:
		b, kind, width = rawBytes(s), KindUint, 32
	case []uint64:
		b, kind, width = rawBytes(s), KindUint, 64
	case []float32:
		b, kind, width = rawBytes(s), KindFloat, 32
	case []float64:
		b, kind, width = rawBytes(s), KindFloat, 64
	case []complex64:
		b, kind, width = rawBytes(s), KindComplex, 64
	case []complex128:
		b, kind, width = rawBytes(s), KindComplex, 128
	}
	return b, kind == t.Kind && width == t.Bits
}

func isList(v reflect.Value) bool {
	return v.IsValid() && (v.Kind() == reflect.Slice || v.Kind() == reflect.Array)
}

// mayBeList reports whether values of a type are lists, or can hold one.
func mayBeList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Interface
}

// indirect is what an interface or pointer holds.
func indirect(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		v = v.Elem()
	}
	return v
}

func kindName(v reflect.Value) string {
	if !v.IsValid() {
		return "nothing"
	}
	if isList(v) {
		return fmt.Sprintf("a list of %d", v.Len())
	}
	return v.Type().String()
}

// integer is a whole number that fits into an int64.
func integer(v reflect.Value) (int64, bool) {
	switch {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), v.Uint() <= math.MaxInt64
	}
	return 0, false
}

func float(v reflect.Value) (float64, bool) {
	switch {
	case v.CanFloat():
		return v.Float(), true
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	}
	return 0, false
}

// tooLarge reports whether a finite number would become infinite in so many bits.
func tooLarge(f float64, width int) bool {
	return !math.IsInf(f, 0) && math.IsInf(floatOf(floatBits(f, width), width), 0)
}

// floatBits is the IEEE 754 number of so many bits that is nearest to f.
func floatBits(f float64, width int) uint64 {
	switch width {
	case 16:
		return uint64(toFloat16(f))
	case 32:
		return uint64(math.Float32bits(float32(f)))
	}
	return math.Float64bits(f)
}

// toFloat16 rounds to the nearest number of 16 bits, to the even one of two.
func toFloat16(f float64) uint16 {
	sign := uint16(math.Float64bits(f) >> 48 & 0x8000)
	a := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return sign | 0x7e00
	case a >= 65520: // halfway from the largest number to the next
		return sign | 0x7c00
	case a < 1.0/(1<<14): // subnormal, in units of 2^-24
		return sign | uint16(math.RoundToEven(a*(1<<24)))
	}
	fraction, exponent := math.Frexp(a) // a = fraction·2^exponent, 0.5 ≤ fraction < 1
	m := uint16(math.RoundToEven(fraction * (1 << 11)))
	// m has 11 bits, or is 2^11: then the sum below carries into the exponent.
	return sign | uint16(exponent+14-1)<<10 + m
}
