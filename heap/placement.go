// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// placement decides where the bytes of a new heap go. It is the one step that
// another layout (many small heaps side by side in one large buffer) replaces.
type placement interface {
	// place finds room for the heap that h is a packet of: a slot, and the
	// memory in which the heap's offset 0 is byte 0.
	place(h *spead.Packet) (slot int, memory []byte, ok bool)
	// largest is the largest payload there is ever room for, bytes.
	largest() int64
}

// slotPerHeap gives each heap a slot of its own: of the small class if its
// length is known and below the bound, else of the large one.
type slotPerHeap struct{ share *pool.Share }

func (p slotPerHeap) place(h *spead.Packet) (slot int, memory []byte, ok bool) {
	slot, ok = p.share.Take(h.HeapLength)
	if !ok {
		return 0, nil, false
	}
	return slot, p.share.Bytes(slot), true
}

// A slot is larger than the largest payload it was made for, so that the
// descriptors in a first heap do not make it too large.
func (p slotPerHeap) largest() int64 { return int64(p.share.SlotSize()) }
