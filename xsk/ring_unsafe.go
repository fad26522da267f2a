// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These do not compile if Go's layout stops matching the kernel's.
var (
	_ [descBytes]byte = [unsafe.Sizeof(unix.XDPDesc{})]byte{}
	_ [addrBytes]byte = [unsafe.Sizeof(uint64(0))]byte{}
)

// Size of a slot.
const (
	descBytes = 16 // struct xdp_desc of the RX ring
	addrBytes = 8  // the fill ring's addresses
)

// newRxRing views mem, a mapping of an RX ring of the given number of slots that
// the kernel laid out as off says. The ring is valid as long as the mapping.
func newRxRing(mem []byte, off unix.XDPRingOffset, slots int) (rxRing, error) {
	if err := checkLayout(mem, off, slots, descBytes); err != nil {
		return rxRing{}, err
	}
	r := rxRing{
		producer: uint32At(mem, off.Producer),
		consumer: uint32At(mem, off.Consumer),
		desc:     unsafe.Slice((*unix.XDPDesc)(unsafe.Pointer(&mem[off.Desc])), slots),
		mask:     uint32(slots - 1),
	}
	r.seen = r.producer.Load()
	r.next = r.consumer.Load()
	return r, nil
}

// newFillRing is newRxRing for a fill ring.
func newFillRing(mem []byte, off unix.XDPRingOffset, slots int) (fillRing, error) {
	if err := checkLayout(mem, off, slots, addrBytes); err != nil {
		return fillRing{}, err
	}
	r := fillRing{
		producer: uint32At(mem, off.Producer),
		consumer: uint32At(mem, off.Consumer),
		flags:    uint32At(mem, off.Flags),
		addr:     unsafe.Slice((*uint64)(unsafe.Pointer(&mem[off.Desc])), slots),
		mask:     uint32(slots - 1),
	}
	r.seen = r.consumer.Load()
	r.next = r.producer.Load()
	return r, nil
}

// checkLayout makes sure that everything off speaks of lies within mem, aligned.
func checkLayout(mem []byte, off unix.XDPRingOffset, slots, slotBytes int) error {
	if bits.OnesCount(uint(slots)) != 1 {
		return fmt.Errorf("ring of %d slots: not a power of two", slots)
	}
	size := uint64(len(mem))
	for _, word := range []uint64{off.Producer, off.Consumer, off.Flags} {
		if word%4 != 0 || size < 4 || word > size-4 {
			return fmt.Errorf("ring index at offset %d of a mapping of %d bytes", word, size)
		}
	}
	need := uint64(slots) * uint64(slotBytes)
	if off.Desc%8 != 0 || need > size || off.Desc > size-need {
		return fmt.Errorf("ring of %d slots at offset %d of a mapping of %d bytes", slots, off.Desc, size)
	}
	return nil
}

// uint32At views mem[off:off+4] as an atomic. It panics if that is outside mem.
func uint32At(mem []byte, off uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&mem[off : off+4][0]))
}
