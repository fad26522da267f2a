// SPDX-License-Identifier: Apache-2.0

package spead

// Order says how the elements of an array with several dimensions follow each
// other in memory.
type Order uint8

// The orders.
const (
	OrderC Order = iota // the last index runs fastest: row by row
	OrderF              // the first index runs fastest, as in Fortran: column by column
)

// String is numpy's letter for the order.
func (o Order) String() string {
	if o == OrderF {
		return "F"
	}
	return "C"
}

// array says where the elements of an array lie. It never changes once it is
// made: values of a later heap with the same shape share it.
type array struct {
	shape []int
	order Order
	n     int // elements

	// Element number i, in the order of memory, begins i*step bits behind the
	// first if the elements lie at equal distances.
	step int
	// Else, which is where a field is itself an array, axes says how: each has
	// so many steps of so many bits, the slowest first.
	axes []axis
}

type axis struct{ n, step int }

// newArray lays out elements of the given bits side by side. n is the product of
// shape.
func newArray(shape []int, order Order, n, bits int) *array {
	return &array{shape: shape, order: order, n: n, step: bits}
}

// ofField is the array of one field, itself an array of shape inner, of each
// element: its last dimensions are those of inner.
func (a *array) ofField(inner []int, bits int) *array {
	m, _ := product(inner, maxBits) // was checked when the type was made
	b := &array{shape: append(append([]int(nil), a.shape...), inner...), order: a.order, n: a.n * m, step: bits}
	b.axes = append(b.axes, a.axes...)
	if a.axes == nil {
		b.axes = append(b.axes, axis{a.n, a.step})
	}
	b.axes = append(b.axes, axis{m, bits})
	return b
}

// at is where element i begins, in bits behind the first.
func (a *array) at(i int) int {
	if a.axes == nil {
		return i * a.step
	}
	bit := 0
	for k := len(a.axes) - 1; k >= 0; k-- {
		x := &a.axes[k]
		bit += i % x.n * x.step
		i /= x.n
	}
	return bit
}

// index is the number, in the order of memory, of the element with these indices.
// The dimensions of fields, beyond the first outer, are always in C order.
func (a *array) index(outer int, indices []int) int {
	i := 0
	if a.order == OrderF {
		for k := outer - 1; k >= 0; k-- {
			i = i*a.shape[k] + indices[k]
		}
	} else {
		for k := range outer {
			i = i*a.shape[k] + indices[k]
		}
	}
	for k := outer; k < len(indices); k++ {
		i = i*a.shape[k] + indices[k]
	}
	return i
}
