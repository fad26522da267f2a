// SPDX-License-Identifier: Apache-2.0

package spead

// Reason says why a packet was rejected, or that it was not.
type Reason uint8

// The reasons, in the order in which [Packet.Decode] checks them. SizeMismatch
// is for the caller: Decode allows bytes after the payload, a datagram does not.
const (
	OK              Reason = iota
	TooShort               // fewer than the header's 8 bytes
	BadMagic               // not SPEAD version 4
	BadFlavour             // the two widths are not a SPEAD-64-H
	ItemsOverflow          // more item pointers than the packet has room for
	HeadersSplit           // the item pointers do not all lie in the first segment
	MissingItems           // no heap count, payload offset or payload length
	PayloadOverflow        // more payload announced than the packet holds
	HeapOverflow           // the payload goes beyond the heap's own length
	SizeMismatch           // the datagram holds more than the packet

	NumReasons = int(iota) // for tables indexed by Reason
)

var reasonNames = [NumReasons]string{
	OK:              "ok",
	TooShort:        "too_short",
	BadMagic:        "bad_magic",
	BadFlavour:      "bad_flavour",
	ItemsOverflow:   "items_overflow",
	HeadersSplit:    "headers_split",
	MissingItems:    "missing_items",
	PayloadOverflow: "payload_overflow",
	HeapOverflow:    "heap_overflow",
	SizeMismatch:    "size_mismatch",
}

// String is the word under which counters show the reason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}
