// SPDX-License-Identifier: Apache-2.0

package spead

import "strconv"

// Flavour is the number H of heap address bits of SPEAD-64-H: how the 64 bits
// of an item pointer divide into mode (1 bit), id (63-H) and value (H). It is
// a multiple of 8 from 8 to 56; the other numbers are not [Flavour.Valid], and
// the other methods must not be called on them.
type Flavour uint8

// Flavours in use: MeerKAT and its kin send SPEAD-64-48, PySPEAD and spead2
// by default SPEAD-64-40.
const (
	Flavour40 Flavour = 40
	Flavour48 Flavour = 48
)

// Valid reports whether f is one of 8, 16, …, 56.
func (f Flavour) Valid() bool { return f%8 == 0 && f >= 8 && f <= 56 }

// AddrBits is H, the bits of an offset or an immediate value.
func (f Flavour) AddrBits() int { return int(f) }

// String gives the flavour as it is spoken of, without the word SPEAD: "64-48".
func (f Flavour) String() string { return "64-" + strconv.Itoa(int(f)) }

// MaxValue is the largest offset or immediate value that fits.
func (f Flavour) MaxValue() uint64 { return 1<<f - 1 }

// MaxID is the largest item id that fits.
func (f Flavour) MaxID() uint64 { return 1<<(63-f) - 1 }

// ID is the item id of p.
func (f Flavour) ID(p Pointer) uint64 { return uint64(p) >> f & f.MaxID() }

// Value is the H-bit number of p: the value of an immediate item, the offset
// of an addressed one.
func (f Flavour) Value(p Pointer) uint64 { return uint64(p) & f.MaxValue() }

// Immediate makes the pointer of an item that holds its value itself. Bits of
// id and value beyond MaxID and MaxValue are cut off.
func (f Flavour) Immediate(id, value uint64) Pointer {
	return immediateBit | f.Addressed(id, value)
}

// Addressed makes the pointer of an item that lies at offset in the heap's
// payload. Bits of id and offset beyond MaxID and MaxValue are cut off.
func (f Flavour) Addressed(id, offset uint64) Pointer {
	return Pointer(id&f.MaxID()<<f | offset&f.MaxValue())
}

// Pointer is an item pointer as it stands on the wire, in host byte order.
// Only together with its flavour can it be taken apart.
type Pointer uint64

const immediateBit Pointer = 1 << 63

// IsImmediate reports whether the item's value is in the pointer itself.
func (p Pointer) IsImmediate() bool { return p&immediateBit != 0 }
