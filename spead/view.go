// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"fmt"
	"math"
	"math/bits"
	"reflect"
)

// Number is what a [View] can be of.
type Number interface {
	bool | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// View is an item's value as numbers of Go's type T, where they lie in the heap:
// making and reading one allocates and copies nothing. It is valid as long as
// the memory of its heap is: see [ItemGroup]. It may be read by any number of
// goroutines.
type View[T Number] struct {
	v      Value
	data   []byte // from the first element on
	first  *T     // the first element
	fast   uint   // n, if each element is its bytes read as a T, and all are at equal distances; else 0
	step   int    // bytes from one element to the next; 0 if they are not at equal distances
	n      int
	swap   int  // bytes of a part of an element whose order is to be turned, 0: none
	native bool // the elements are those of a []T
}

// ViewOf is a view of numbers, each of a whole number of bytes, as T. T must be
// just what they are: float32 for floats of 32 bits, uint8 also for the
// characters of text, bool only for booleans. The error says what they are
// instead; Unpack converts.
func ViewOf[T Number](v Value) (View[T], error) {
	if v.arr == nil {
		return View[T]{}, fmt.Errorf("spead: a view of no value")
	}
	kind, size := kindOf[T]()
	t := v.typ
	if t.Kind == KindChar && kind == KindUint {
		kind = KindChar
	}
	if t.Kind != kind || t.Bits != 8*size {
		var zero T
		return View[T]{}, fmt.Errorf("spead: elements are %v of %d bits (%v), not %T", t.Kind, t.Bits, t, zero)
	}
	if v.base%8 != 0 || v.arr.step%8 != 0 && v.arr.n > 1 {
		return View[T]{}, fmt.Errorf("spead: elements of %d bits do not begin on whole bytes (Unpack reads them)", t.Bits)
	}
	view := View[T]{v: v, data: v.data[v.base/8:], step: v.arr.step / 8, n: v.arr.n}
	for _, x := range v.arr.axes {
		if view.step = 0; x.step%8 != 0 {
			return View[T]{}, fmt.Errorf("spead: elements of %d bits do not begin on whole bytes (Unpack reads them)", t.Bits)
		}
	}
	if t.hasOrder() && t.Little != nativeLittle {
		view.swap = size
		if kind == KindComplex {
			view.swap = size / 2
		}
	}
	if view.step != 0 && view.swap == 0 && kind != KindBool && view.n > 0 && aligned[T](view.data) {
		view.first, view.fast = firstOf[T](view.data, view.n, view.step), uint(view.n)
		view.native = v.contiguous()
	}
	return view, nil
}

// kindOf is what T is, and its size in bytes.
func kindOf[T Number]() (Kind, int) {
	t := reflect.TypeFor[T]()
	size := int(t.Size())
	switch t.Kind() {
	case reflect.Bool:
		return KindBool, size
	case reflect.Float32, reflect.Float64:
		return KindFloat, size
	case reflect.Complex64, reflect.Complex128:
		return KindComplex, size
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return KindInt, size
	}
	return KindUint, size
}

// Len is how many elements there are, over all dimensions.
func (v View[T]) Len() int { return v.n }

// Shape is the number of elements in each dimension. It must not be changed.
func (v View[T]) Shape() []int { return v.v.Shape() }

// Order is that of the elements in memory.
func (v View[T]) Order() Order { return v.v.Order() }

// Index is the number of the element with these indices, one for each dimension.
// It panics if one of them is out of range.
func (v View[T]) Index(indices ...int) int { return v.v.Index(indices...) }

// slowAt reads elements at unequal distances, of the other byte order, or
// booleans. It panics if there is no element i.
func (v View[T]) slowAt(i int) T {
	if uint(i) >= uint(v.n) {
		panic(errIndex{i, v.n})
	}
	at := i * v.step
	if v.step == 0 {
		at = v.v.arr.at(i) / 8
	}
	if v.v.typ.Kind == KindBool {
		return fromBool[T](v.data[at] != 0)
	}
	x := load[T](v.data, at)
	if v.swap != 0 {
		swapAll(oneOf(&x), v.swap)
	}
	return x
}

type errIndex struct{ i, n int }

func (e errIndex) Error() string { return fmt.Sprintf("spead: element %d of %d", e.i, e.n) }

// Slice is the elements themselves, in the order of memory, if they are as the
// machine has them: side by side and in its byte order. Else ok is false, and
// CopyTo converts. Booleans are never so, since a byte of the wire may be neither
// 0 nor 1. The slice must not be written to.
func (v View[T]) Slice() (s []T, ok bool) {
	if !v.native {
		return nil, false
	}
	return sliceOf[T](v.data, v.n), true
}

// CopyTo copies as many elements as dst has room for, in the order of memory and
// in the machine's byte order, and returns how many that were.
func (v View[T]) CopyTo(dst []T) int {
	n := min(len(dst), v.n)
	if v.swap > 0 && v.v.contiguous() {
		copy(rawBytes(dst[:n]), v.data)
		swapAll(dst[:n], v.swap)
		return n
	}
	if s, ok := v.Slice(); ok {
		return copy(dst, s)
	}
	for i := range dst[:n] {
		dst[i] = v.At(i)
	}
	return n
}

// Unpack appends the elements of v to dst, converted to T, in the order of
// memory. It reads numbers of any width, packed or not, as long as T can hold
// each value they can have: a u12 fits into uint16, int32 or float32, and not
// into uint8. Booleans become 0 and 1.
func Unpack[T Number](dst []T, v Value) ([]T, error) {
	if v.arr == nil {
		return dst, fmt.Errorf("spead: unpacking no value")
	}
	kind, size := kindOf[T]()
	t := v.typ
	if !holds(kind, 8*size, t) {
		var zero T
		return dst, fmt.Errorf("spead: %T does not hold every %v of %d bits (%v)", zero, t.Kind, t.Bits, t)
	}
	for i := range v.arr.n {
		bit := v.base + v.arr.at(i)
		var x T
		switch t.Kind {
		case KindBool:
			x = fromBool[T](t.number(v.data, bit) != 0)
		case KindInt:
			x = fromInt[T](kind, signExtend(t.number(v.data, bit), t.Bits))
		case KindUint, KindChar:
			x = fromUint[T](kind, t.number(v.data, bit))
		case KindFloat:
			x = fromFloat[T](floatOf(t.number(v.data, bit), t.Bits))
		case KindComplex:
			re, im := v.parts(bit)
			x = fromComplex[T](complex(floatOf(re, t.Bits/2), floatOf(im, t.Bits/2)))
		}
		dst = append(dst, x)
	}
	return dst, nil
}

// holds reports whether numbers of a kind and so many bits have every value that
// elements of t can have.
func holds(kind Kind, width int, t *Type) bool {
	mantissa := map[int]int{32: 24, 64: 53}[width]
	switch kind {
	case KindBool:
		return t.Kind == KindBool
	case KindUint:
		return (t.Kind == KindUint || t.Kind == KindChar) && t.Bits <= width || t.Kind == KindBool
	case KindInt:
		return t.Kind == KindInt && t.Bits <= width || (t.Kind == KindUint || t.Kind == KindChar) && t.Bits < width || t.Kind == KindBool
	case KindFloat:
		switch t.Kind {
		case KindFloat:
			return t.Bits <= width
		case KindUint, KindChar:
			return t.Bits <= mantissa
		case KindInt:
			return t.Bits <= mantissa+1
		}
		return t.Kind == KindBool
	}
	return t.Kind == KindComplex && t.Bits <= width
}

// floatOf is the number whose bits these are.
func floatOf(n uint64, width int) float64 {
	switch width {
	case 16:
		return float64(float16(uint16(n)))
	case 32:
		return float64(math.Float32frombits(uint32(n)))
	}
	return math.Float64frombits(n)
}

// swapAll turns the byte order of each part of each of s.
func swapAll[T Number](s []T, part int) {
	switch part {
	case 2:
		for i, p := 0, partsOf[uint16](s); i < len(p); i++ {
			p[i] = bits.ReverseBytes16(p[i])
		}
	case 4:
		for i, p := 0, partsOf[uint32](s); i < len(p); i++ {
			p[i] = bits.ReverseBytes32(p[i])
		}
	case 8:
		for i, p := 0, partsOf[uint64](s); i < len(p); i++ {
			p[i] = bits.ReverseBytes64(p[i])
		}
	}
}
