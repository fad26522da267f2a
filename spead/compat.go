// SPDX-License-Identifier: Apache-2.0

package spead

// Compat says which defects of old senders a receiver makes up for, and a sender
// repeats. They are bits; the zero value is SPEAD as it is specified.
type Compat uint8

// The defects, all of which PySPEAD up to 0.5.2 has.
const (
	// CompatDescriptorWidths: a field of a format takes 4 bytes and a dimension
	// of a shape 8, whatever the flavour.
	CompatDescriptorWidths Compat = 1 << iota
	// CompatShapeBit1: a dimension is variable if bit 1 of its flags is set, not
	// bit 0.
	CompatShapeBit1
	// CompatSwapEndian: numbers described by a numpy type have the other byte
	// order than it says.
	CompatSwapEndian

	// CompatPySPEAD is what PySPEAD up to 0.5.2 needs.
	CompatPySPEAD = CompatDescriptorWidths | CompatShapeBit1 | CompatSwapEndian
)

// fieldSize is the bytes of one field of a format in a descriptor: its type and
// its bits, for which there are as many bytes as for an id.
func (c Compat) fieldSize(f Flavour) int {
	if c&CompatDescriptorWidths != 0 {
		return 4
	}
	return 1 + 8 - f.AddrBits()/8
}

// dimSize is the bytes of one dimension of a shape: flags and a size, for which
// there are as many bytes as for a value.
func (c Compat) dimSize(f Flavour) int {
	if c&CompatDescriptorWidths != 0 {
		return 8
	}
	return 1 + f.AddrBits()/8
}

// variableFlag marks a variable dimension.
func (c Compat) variableFlag() byte {
	if c&CompatShapeBit1 != 0 {
		return 2
	}
	return 1
}
