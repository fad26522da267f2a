// SPDX-License-Identifier: Apache-2.0

package heap

// Packet is one UDP payload, or one packet of a TCP connection, as its source holds
// it: one segment, or several where a jumbo packet spans frames. The source owns the
// memory; the assembler has copied what it keeps when Feed returns.
type Packet struct {
	First []byte   // begins with the SPEAD header; holds all item pointers
	Rest  [][]byte // the segments after First, nil for most packets
	Len   int      // bytes in First and Rest together
	From  Sender   // who sent it
}
