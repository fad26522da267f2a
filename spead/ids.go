// SPDX-License-Identifier: Apache-2.0

package spead

// Item identifiers with a meaning of their own. Users number their items from
// 0x400 upwards (spead2 from 0x1000).
const (
	IDNull          = 0x00 // padding; addressed, it ends the item before it
	IDHeapCnt       = 0x01 // immediate: number of the heap
	IDHeapLength    = 0x02 // immediate: bytes of payload in the whole heap
	IDPayloadOffset = 0x03 // immediate: where this packet's payload goes
	IDPayloadLength = 0x04 // immediate: bytes of payload in this packet
	IDDescriptor    = 0x05 // addressed: a SPEAD packet that describes one item
	IDStreamCtrl    = 0x06 // immediate: CtrlStart and so on

	// Inside a descriptor.
	IDDescriptorName        = 0x10
	IDDescriptorDescription = 0x11
	IDDescriptorShape       = 0x12
	IDDescriptorFormat      = 0x13
	IDDescriptorID          = 0x14 // immediate
	IDDescriptorDType       = 0x15 // numpy's own header, overrides format and shape
)

// Values of the stream control item, [IDStreamCtrl]. Others are reserved and
// ignored.
const (
	CtrlStart   = 0 // the stream begins
	CtrlReissue = 1 // descriptors are sent again
	CtrlStop    = 2 // the stream ends
	CtrlUpdate  = 3 // descriptors have changed
)
