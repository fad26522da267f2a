// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/speadx/speadx/spead"
)

// appendDescriptor appends the keys that say what an item is.
func appendDescriptor(b []byte, it *spead.Item) []byte {
	d, l := it.Descriptor(), it.Layout()
	b = append(b, `,"name":`...)
	b = appendString(b, d.Name)
	b = append(b, `,"description":`...)
	b = appendString(b, d.Description)
	b = append(b, `,"shape":[`...)
	for i, n := range l.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		if n < 0 {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	b = append(b, ']')
	if l.DType != "" {
		b = append(b, `,"dtype":`...)
		b = appendString(b, l.DType)
	} else {
		b = append(b, `,"format":[`...)
		for i, f := range d.Format {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = appendString(b, string(rune(f.Type)))
			b = append(b, ',')
			b = strconv.AppendUint(b, f.Bits, 10)
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	b = append(b, `,"order":"`...)
	b = append(b, l.Order.String()...)
	return append(b, '"')
}

// appendValue appends a value as JSON: arrays nested by their indices, structs as
// arrays of their fields, complex numbers as [re, im].
func appendValue(b []byte, v spead.Value) []byte {
	if s, ok := v.Text(); ok {
		return appendText(b, s)
	}
	return appendDimension(b, v, make([]int, len(v.Shape())), 0)
}

// appendDimension appends what lies behind the first k indices.
func appendDimension(b []byte, v spead.Value, indices []int, k int) []byte {
	if k == len(indices) {
		if t := v.Type(); t.Kind == spead.KindStruct && t.Bits > largeElement {
			return appendFields(b, v, indices)
		}
		return appendElement(b, v.At(v.Index(indices...)))
	}
	b = append(b, '[')
	if v.Len() > 0 {
		for i := range v.Shape()[k] {
			if i > 0 {
				b = append(b, ',')
			}
			indices[k] = i
			b = appendDimension(b, v, indices, k+1)
		}
	}
	return append(b, ']')
}

// appendFields appends a large struct as appendElement does, but field by field, since
// Value.At would first make a Go value of all of it.
func appendFields(b []byte, v spead.Value, indices []int) []byte {
	b = append(b, '[')
	for i := range v.Type().Fields {
		if i > 0 {
			b = append(b, ',')
		}
		f, err := v.Field(v.Type().Fields[i].Name)
		if err != nil {
			panic(err) // it is one of its fields
		}
		inner := make([]int, len(f.Shape()))
		copy(inner, indices)
		b = appendDimension(b, f, inner, len(indices))
	}
	return append(b, ']')
}

// appendElement appends one element, as [spead.Value.At] gives it.
func appendElement(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float32:
		return appendFloat(b, float64(v))
	case float64:
		return appendFloat(b, v)
	case complex64:
		return appendComplex(b, complex128(v))
	case complex128:
		return appendComplex(b, v)
	case string:
		return appendText(b, v)
	case []byte:
		return append(hex.AppendEncode(append(b, '"'), v), '"')
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendElement(b, e)
		}
		return append(b, ']')
	}
	panic("speadx: an element of a type that there is not")
}

func appendComplex(b []byte, z complex128) []byte {
	b = appendFloat(append(b, '['), real(z))
	b = appendFloat(append(b, ','), imag(z))
	return append(b, ']')
}

// appendFloat appends a number so that who reads it as a double has just this one.
// JSON has no words for what is none.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendText appends text. Bytes that are no UTF-8 become the characters of the same
// numbers, as in Latin-1.
func appendText(b []byte, s string) []byte {
	if utf8.ValidString(s) {
		return appendString(b, s)
	}
	var latin strings.Builder
	for i := range len(s) {
		latin.WriteRune(rune(s[i]))
	}
	return appendString(b, latin.String())
}
