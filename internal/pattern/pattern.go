// SPDX-License-Identifier: Apache-2.0

package pattern

import "encoding/binary"

const (
	wordSize   = 4
	modulus    = 1<<31 - 1 // a Mersenne prime
	multiplier = 48271

	// The sequence begins again after this many words. 48271 is a primitive
	// root of the modulus, so all values but 0 occur.
	periodWords = modulus - 1
	period      = periodWords * wordSize
)

// The words are computed in lanes: each holds every lanes-th word and so has a
// multiplier of its own, 48271^lanes. One lane would have to wait for its own
// multiplication before each step; four keep the multiplier busy.
const (
	lanes     = 4
	blockSize = 2 * lanes * wordSize // bytes per turn of the inner loops
)

// multiplierLanes is 48271^lanes mod modulus.
const multiplierLanes = multiplier * multiplier % modulus * (multiplier * multiplier % modulus) % modulus

// mul is a·b mod modulus, for a and b below it and not both 0. As 2^31 ≡ 1,
// the high bits of a product are added to the low ones; twice is enough, and
// the result cannot be the modulus itself, for it is prime.
func mul(a, b uint64) uint64 {
	p := a * b
	p = p&modulus + p>>31
	return p&modulus + p>>31
}

// word is the n-th word of the sequence.
func word(n uint64) uint64 {
	x := uint64(multiplier)
	square := uint64(multiplier)
	for n %= periodWords; n > 0; n >>= 1 {
		if n&1 != 0 {
			x = mul(x, square)
		}
		square = mul(square, square)
	}
	return x
}

// Fill writes the pattern from position on to dst, of any length, at several
// gigabytes a second.
func Fill(dst []byte, position uint64) {
	position %= period
	n := position / wordSize
	if skip := position % wordSize; skip != 0 {
		var w [wordSize]byte
		binary.BigEndian.PutUint32(w[:], uint32(word(n)))
		dst = dst[copy(dst, w[skip:]):]
		n++
	}
	x0 := word(n)
	if len(dst) >= blockSize {
		x1 := mul(x0, multiplier)
		x2 := mul(x1, multiplier)
		x3 := mul(x2, multiplier)
		for len(dst) >= blockSize {
			binary.BigEndian.PutUint64(dst, x0<<32|x1)
			binary.BigEndian.PutUint64(dst[8:], x2<<32|x3)
			x0, x1 = mul(x0, multiplierLanes), mul(x1, multiplierLanes)
			x2, x3 = mul(x2, multiplierLanes), mul(x3, multiplierLanes)
			binary.BigEndian.PutUint64(dst[16:], x0<<32|x1)
			binary.BigEndian.PutUint64(dst[24:], x2<<32|x3)
			x0, x1 = mul(x0, multiplierLanes), mul(x1, multiplierLanes)
			x2, x3 = mul(x2, multiplierLanes), mul(x3, multiplierLanes)
			dst = dst[blockSize:]
		}
	}
	for len(dst) > 0 {
		var w [wordSize]byte
		binary.BigEndian.PutUint32(w[:], uint32(x0))
		dst = dst[copy(dst, w[:]):]
		x0 = mul(x0, multiplier)
	}
}

// Check compares data with the pattern from position on and gives the offset
// in data of the first byte that differs, or -1. It costs less than a second
// for 3 GB.
func Check(data []byte, position uint64) int {
	position %= period
	rest := data
	n := position / wordSize
	if skip := position % wordSize; skip != 0 {
		var w [wordSize]byte
		binary.BigEndian.PutUint32(w[:], uint32(word(n)))
		head := rest[:min(len(rest), int(wordSize-skip))]
		if i := differ(head, w[skip:]); i >= 0 {
			return i
		}
		rest = rest[len(head):]
		n++
	}
	x0 := word(n)
	if len(rest) >= blockSize {
		x1 := mul(x0, multiplier)
		x2 := mul(x1, multiplier)
		x3 := mul(x2, multiplier)
		for len(rest) >= blockSize {
			start := x0
			wrong := binary.BigEndian.Uint64(rest) ^ (x0<<32 | x1)
			wrong |= binary.BigEndian.Uint64(rest[8:]) ^ (x2<<32 | x3)
			x0, x1 = mul(x0, multiplierLanes), mul(x1, multiplierLanes)
			x2, x3 = mul(x2, multiplierLanes), mul(x3, multiplierLanes)
			wrong |= binary.BigEndian.Uint64(rest[16:]) ^ (x0<<32 | x1)
			wrong |= binary.BigEndian.Uint64(rest[24:]) ^ (x2<<32 | x3)
			if wrong != 0 {
				x0 = start // the loop below finds the byte
				break
			}
			x0, x1 = mul(x0, multiplierLanes), mul(x1, multiplierLanes)
			x2, x3 = mul(x2, multiplierLanes), mul(x3, multiplierLanes)
			rest = rest[blockSize:]
		}
	}
	for len(rest) > 0 {
		var w [wordSize]byte
		binary.BigEndian.PutUint32(w[:], uint32(x0))
		part := rest[:min(len(rest), wordSize)]
		if i := differ(part, w[:]); i >= 0 {
			return len(data) - len(rest) + i
		}
		rest = rest[len(part):]
		x0 = mul(x0, multiplier)
	}
	return -1
}

// differ gives the index of the first byte of a that is not that of b, which
// is no shorter, or -1.
func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
