// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Value is what an item holds: an array of elements, or a single one, where it
// lies in the heap. Nothing is copied or converted until it is asked for. A
// Value is valid as long as the memory of its heap is: see [ItemGroup].
//
// Elements are numbered in the order in which they lie in memory; [Value.Index]
// finds the number that belongs to indices. A [View] reads numbers of a whole
// number of bytes fastest; At, Unpack, Text and Any read all there is.
//
// The zero Value holds nothing. A Value may be read by any number of goroutines.
type Value struct {
	typ   *Type
	data  []byte
	base  int // where the first element begins, bits
	arr   *array
	outer int // dimensions of the item itself; those behind are of fields
}

// Valid reports whether there is a value.
func (v Value) Valid() bool { return v.arr != nil }

// Type is the type of the elements.
func (v Value) Type() *Type { return v.typ }

// Shape is the number of elements in each dimension; a single element has none.
// It must not be changed.
func (v Value) Shape() []int {
	if v.arr == nil {
		return nil
	}
	return v.arr.shape
}

// Order is that of the elements in memory.
func (v Value) Order() Order {
	if v.arr == nil {
		return OrderC
	}
	return v.arr.order
}

// Len is how many elements there are, over all dimensions.
func (v Value) Len() int {
	if v.arr == nil {
		return 0
	}
	return v.arr.n
}

// Index is the number of the element with these indices, one for each dimension.
// It panics if one of them is out of range.
func (v Value) Index(indices ...int) int {
	shape := v.Shape()
	if len(indices) != len(shape) {
		panic(fmt.Sprintf("spead: %d indices for %d dimensions", len(indices), len(shape)))
	}
	for k, i := range indices {
		if i < 0 || i >= shape[k] {
			panic(fmt.Sprintf("spead: index %d of dimension %d is not below %d", i, k, shape[k]))
		}
	}
	if v.arr == nil {
		return 0
	}
	return v.arr.index(v.outer, indices)
}

// Field is one field of each element of a struct, with the same shape; where the
// field is itself an array, with its dimensions behind.
func (v Value) Field(name string) (Value, error) {
	if v.typ == nil || v.typ.Kind != KindStruct {
		return Value{}, fmt.Errorf("spead: field %q of elements that are no structs", name)
	}
	for i := range v.typ.Fields {
		if f := &v.typ.Fields[i]; f.Name == name {
			return v.field(f), nil
		}
	}
	return Value{}, fmt.Errorf("spead: there is no field %q in %v", name, v.typ)
}

func (v Value) field(f *Field) Value {
	arr := v.arr
	if f.Shape != nil {
		arr = arr.ofField(f.Shape, f.Type.Bits)
	}
	one := Value{typ: &f.Type, data: v.data, base: v.base + f.Offset, arr: arr, outer: v.outer}
	if arr.n == 0 { // no element, so no place where it begins
		one.data, one.base = nil, 0
	}
	return one
}

// At is element i as a Go value. A number or bool is a bool, int64, uint64, float32,
// float64 (which also holds one of 16 bits), complex64 or complex128. KindChar,
// KindBytes and KindText give a string, KindRaw a []byte, which is a view. A struct
// gives a []any, with an array among its fields as Any gives it. At panics if i is out
// of range.
func (v Value) At(i int) any {
	if uint(i) >= uint(v.Len()) {
		panic(fmt.Sprintf("spead: element %d of %d", i, v.Len()))
	}
	return v.element(v.base + v.arr.at(i))
}

// element is the element that begins at that bit.
func (v Value) element(bit int) any {
	t := v.typ
	switch t.Kind {
	case KindBool:
		return t.number(v.data, bit) != 0
	case KindInt:
		return signExtend(t.number(v.data, bit), t.Bits)
	case KindUint:
		return t.number(v.data, bit)
	case KindFloat:
		n := t.number(v.data, bit)
		switch t.Bits {
		case 16:
			return float16(uint16(n))
		case 32:
			return math.Float32frombits(uint32(n))
		}
		return math.Float64frombits(n)
	case KindComplex:
		re, im := v.parts(bit)
		if t.Bits == 64 {
			return complex(math.Float32frombits(uint32(re)), math.Float32frombits(uint32(im)))
		}
		return complex(math.Float64frombits(re), math.Float64frombits(im))
	case KindChar:
		return string([]byte{byte(bitsAt(v.data, bit, 8))})
	case KindBytes:
		return strings.TrimRight(string(v.bytes(bit)), "\x00")
	case KindText:
		return v.characters(bit)
	case KindRaw:
		return v.bytes(bit)
	}
	fields := make([]any, len(t.Fields))
	for i := range t.Fields {
		f := &t.Fields[i]
		one := Value{typ: &f.Type, data: v.data, base: bit + f.Offset}
		if f.Shape == nil {
			fields[i] = one.element(one.base)
			continue
		}
		n, _ := product(f.Shape, maxBits)
		one.arr = newArray(f.Shape, OrderC, n, f.Type.Bits)
		one.outer = len(f.Shape)
		fields[i] = one.Any()
	}
	return fields
}

// parts are the two halves of a complex number.
func (v Value) parts(bit int) (re, im uint64) {
	half := Type{Kind: KindFloat, Bits: v.typ.Bits / 2, Little: v.typ.Little}
	return half.number(v.data, bit), half.number(v.data, bit+half.Bits)
}

// bytes are those of an element of whole bytes.
func (v Value) bytes(bit int) []byte {
	return v.data[bit/8 : (bit+v.typ.Bits)/8 : (bit+v.typ.Bits)/8]
}

// characters reads an element of KindText, which check has found good.
func (v Value) characters(bit int) string {
	b := v.bytes(bit)
	for len(b) > 0 && b[len(b)-1] == 0 && b[len(b)-2] == 0 && b[len(b)-3] == 0 && b[len(b)-4] == 0 {
		b = b[:len(b)-4]
	}
	var s strings.Builder
	for i := 0; i < len(b); i += 4 {
		s.WriteRune(rune(wholeBytes(b[i:], 4, v.typ.Little)))
	}
	return s.String()
}

// Text is the value as a string: a single element of KindBytes or KindText, or
// the characters of KindChar in at most one dimension. ok is false for others.
func (v Value) Text() (s string, ok bool) {
	if !v.IsText() {
		return "", false
	}
	if v.typ.Kind != KindChar {
		return v.At(0).(string), true
	}
	if v.contiguous() {
		return string(v.data[v.base/8:][:v.arr.n]), true
	}
	b := make([]byte, v.arr.n)
	for i := range b {
		b[i] = byte(bitsAt(v.data, v.base+v.arr.at(i), 8))
	}
	return string(b), true
}

// IsText reports whether Text has it.
func (v Value) IsText() bool {
	if v.arr == nil {
		return false
	}
	switch v.typ.Kind {
	case KindChar:
		return len(v.arr.shape) <= 1
	case KindBytes, KindText:
		return len(v.arr.shape) == 0
	}
	return false
}

// contiguous reports whether the elements lie side by side, on whole bytes.
func (v Value) contiguous() bool {
	return v.arr.axes == nil && (v.arr.n <= 1 || v.arr.step == v.typ.Bits) && v.base%8 == 0 && v.typ.Bits%8 == 0
}

// Any is the whole value as Go values. Text is what Text gives, and one element is what At
// gives. An array is slices of slices []any, nested by the indices in their order. An array
// without elements is an empty slice. Any costs far more memory than the value itself.
func (v Value) Any() any {
	if !v.Valid() {
		return nil
	}
	if s, ok := v.Text(); ok {
		return s
	}
	return v.nested(make([]int, len(v.arr.shape)), 0)
}

// nested is Any from dimension k on; the indices before it are set.
func (v Value) nested(indices []int, k int) any {
	if k == len(indices) {
		return v.element(v.base + v.arr.at(v.arr.index(v.outer, indices)))
	}
	if v.arr.n == 0 { // where one dimension is 0, the others can be anything
		return []any{}
	}
	list := make([]any, v.arr.shape[k])
	for i := range list {
		indices[k] = i
		list[i] = v.nested(indices, k+1)
	}
	return list
}

// check looks for elements that have no value: text that is none.
func (v Value) check() error {
	switch v.typ.Kind {
	case KindChar:
		if len(v.arr.shape) != 1 {
			return nil // single bytes
		}
		for i, c := range v.data[v.base/8:][:v.arr.n] {
			if c >= utf8.RuneSelf {
				return fmt.Errorf("byte %d of the text is %#x, which is not ASCII", i, c)
			}
		}
	case KindText, KindStruct:
		if !v.typ.mayLackValue() {
			return nil
		}
		for i := range v.arr.n {
			if err := v.typ.checkElement(v.data, v.base+v.arr.at(i)); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	}
	return nil
}

// checkElement is check of the element that begins at that bit. It allocates nothing.
func (t *Type) checkElement(data []byte, bit int) error {
	if t.Kind == KindText {
		for i := range t.Bits / 32 {
			if r := wholeBytes(data[bit/8+4*i:], 4, t.Little); r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
				return fmt.Errorf("character %d is %#x, which is none", i, r)
			}
		}
		return nil
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		if !f.Type.mayLackValue() {
			continue
		}
		n, _ := product(f.Shape, maxBits)
		for k := range n {
			if err := f.Type.checkElement(data, bit+f.Offset+k*f.Type.Bits); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// mayLackValue reports whether some bytes of the type stand for nothing.
func (t *Type) mayLackValue() bool {
	if t.Kind == KindStruct {
		for i := range t.Fields {
			if t.Fields[i].Type.mayLackValue() {
				return true
			}
		}
	}
	return t.Kind == KindText
}

// float16 is the value of an IEEE 754 number of 16 bits.
func float16(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // subnormal: the fraction is in units of 2^-24
		f := float32(fraction) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
