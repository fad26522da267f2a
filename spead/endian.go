// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"encoding/binary"
	"math/bits"
)

// nativeLittle says that the machine is little-endian.
var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bitsAt reads n bits, at most 64, that begin bit bits into data, the most
// significant first. They all lie in data.
func bitsAt(data []byte, bit, n int) uint64 {
	data = data[bit/8:]
	bit %= 8
	if bit+n <= 64 && len(data) >= 8 {
		return binary.BigEndian.Uint64(data) << bit >> (64 - n)
	}
	var v uint64
	for have := -bit; have < n; have += 8 {
		b := data[0]
		data = data[1:]
		if have < 0 {
			b &= 0xff >> bit
		}
		if over := have + 8 - n; over > 0 {
			v = v<<(8-over) | uint64(b>>over)
		} else {
			v = v<<8 | uint64(b)
		}
	}
	return v
}

// putBits is the inverse of bitsAt. Bits outside those n are kept.
func putBits(data []byte, bit, n int, v uint64) {
	for i := range n {
		at := bit + i
		mask := byte(0x80) >> (at % 8)
		if v>>(n-1-i)&1 != 0 {
			data[at/8] |= mask
		} else {
			data[at/8] &^= mask
		}
	}
}

// number reads a number of the type's bits, at most 64, in its byte order.
func (t *Type) number(data []byte, bit int) uint64 {
	if t.Bits%8 != 0 || bit%8 != 0 {
		return bitsAt(data, bit, t.Bits)
	}
	return wholeBytes(data[bit/8:], t.Bits/8, t.Little)
}

// wholeBytes reads a number of n bytes.
func wholeBytes(b []byte, n int, little bool) uint64 {
	if little {
		switch n {
		case 1:
			return uint64(b[0])
		case 2:
			return uint64(binary.LittleEndian.Uint16(b))
		case 4:
			return uint64(binary.LittleEndian.Uint32(b))
		case 8:
			return binary.LittleEndian.Uint64(b)
		}
		return bits.ReverseBytes64(bitsAt(b, 0, 8*n)) >> (64 - 8*n)
	}
	return bitsAt(b, 0, 8*n)
}

// signExtend makes the n lowest bits of v a two's complement number.
func signExtend(v uint64, n int) int64 { return int64(v<<(64-n)) >> (64 - n) }
