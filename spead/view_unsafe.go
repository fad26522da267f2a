// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"runtime"
	"unsafe"
)

// unalignedAccess says that the processor reads numbers at any address. There Go
// allows it as well, for types without pointers.
const unalignedAccess = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" || runtime.GOARCH == "386" ||
	runtime.GOARCH == "ppc64le" || runtime.GOARCH == "s390x"

// aligned reports whether a []T may begin with b, as far as its address goes.
func aligned[T Number](b []byte) bool {
	var x T
	return unalignedAccess || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%unsafe.Alignof(x) == 0
}

// sliceOf views the first n elements of b as a []T. It panics if there are not so
// many.
func sliceOf[T Number](b []byte, n int) []T {
	if n == 0 {
		return nil
	}
	var x T
	b = b[:n*int(unsafe.Sizeof(x))]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// rawBytes views the memory of s.
func rawBytes[T Number](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// oneOf views one number as a slice.
func oneOf[T Number](x *T) []T { return unsafe.Slice(x, 1) }

// partsOf views numbers as the parts, aligned as those, that they consist of.
func partsOf[P, T Number](s []T) []P {
	if len(s) == 0 {
		return nil
	}
	var p P
	return unsafe.Slice((*P)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])/unsafe.Sizeof(p)))
}

// At is element i, from 0 to Len()-1 in the order of memory, in the machine's
// byte order. It panics if i is out of range.
func (v View[T]) At(i int) T {
	if uint(i) < v.fast {
		return *(*T)(unsafe.Add(unsafe.Pointer(v.first), i*v.step)) // firstOf has checked that it is there
	}
	return v.slowAt(i)
}

// firstOf is the first of n elements in b that are step bytes apart. It panics if they
// do not all lie in it.
func firstOf[T Number](b []byte, n, step int) *T {
	var x T
	_ = b[(n-1)*step+int(unsafe.Sizeof(x))-1]
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// load reads the T that begins at byte i of b.
func load[T Number](b []byte, i int) T {
	var x T
	b = b[i : i+int(unsafe.Sizeof(x))]
	if !unalignedAccess {
		copy(rawBytes(oneOf(&x)), b)
		return x
	}
	return *(*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// The following make a T of a number that it can hold; kind is that of T.

func fromBool[T Number](v bool) (x T) {
	n := uint64(0)
	if v {
		n = 1
	}
	kind, _ := kindOf[T]()
	if kind == KindBool {
		*(*bool)(unsafe.Pointer(&x)) = v
		return x
	}
	return fromUint[T](kind, n)
}

func fromUint[T Number](kind Kind, n uint64) (x T) {
	if kind == KindFloat {
		return fromFloat[T](float64(n))
	}
	switch p := unsafe.Pointer(&x); unsafe.Sizeof(x) {
	case 1:
		*(*uint8)(p) = uint8(n)
	case 2:
		*(*uint16)(p) = uint16(n)
	case 4:
		*(*uint32)(p) = uint32(n)
	case 8:
		*(*uint64)(p) = n
	}
	return x
}

func fromInt[T Number](kind Kind, n int64) T {
	if kind == KindFloat {
		return fromFloat[T](float64(n))
	}
	return fromUint[T](kind, uint64(n))
}

func fromFloat[T Number](f float64) (x T) {
	if unsafe.Sizeof(x) == 4 {
		*(*float32)(unsafe.Pointer(&x)) = float32(f)
	} else {
		*(*float64)(unsafe.Pointer(&x)) = f
	}
	return x
}

func fromComplex[T Number](c complex128) (x T) {
	if unsafe.Sizeof(x) == 8 {
		*(*complex64)(unsafe.Pointer(&x)) = complex64(c)
	} else {
		*(*complex128)(unsafe.Pointer(&x)) = c
	}
	return x
}
