// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// freeList is the stack of one class's free slots (Treiber's): head names the
// top slot, and each slot's next the one below it.
//
// head holds a tag beside the slot, one more after each change. Suppose that a goroutine
// read head and next and was stopped. Others took the top slot and the one below, and put
// the top slot back. Without the tag the goroutine would find head as it was, and make
// a taken slot the top. The tag returns to a value only after 2^43 changes, days at
// any rate a receiver reaches.
type freeList struct {
	_     cpu.CacheLinePad
	head  atomic.Uint64 // tag << fieldBits | slot+1; slot part 0: the list is empty
	free  atomic.Int64  // at least the slots on the list: one is added before its push, taken off after its pop
	least atomic.Int64  // the least free has been
	_     cpu.CacheLinePad
}

// fieldBits is the width of a slot number and of a count of slots.
const fieldBits = 21

const fieldMask = 1<<fieldBits - 1

// init makes the list hold slots [first, end), the first on top. The slots are
// nobody else's yet.
func (l *freeList) init(slots []slot, first, end int) {
	for i := end - 1; i >= first; i-- {
		slots[i].next.Store(uint32(l.head.Load()))
		l.head.Store(uint64(i + 1))
	}
	l.free.Store(int64(end - first))
	l.least.Store(int64(end - first))
}

// pop takes the top slot off the list. It is not ok if the list is empty.
func (l *freeList) pop(slots []slot) (int, bool) {
	for {
		step("pop.head")
		head := l.head.Load()
		top := head & fieldMask
		if top == 0 {
			step("pop.empty")
			return 0, false
		}
		step("pop.next")
		// If the slot was taken meanwhile, next may be anything; head is then
		// another and the swap fails.
		next := slots[top-1].next.Load()
		step("pop.swap")
		if l.head.CompareAndSwap(head, after(head)|uint64(next)) {
			step("pop.swapped")
			return int(top - 1), true
		}
		step("pop.lost")
	}
}

// push puts slot i, which the caller owns, on top of the list.
func (l *freeList) push(slots []slot, i int) {
	for {
		step("push.head")
		head := l.head.Load()
		step("push.next")
		slots[i].next.Store(uint32(head & fieldMask))
		step("push.swap")
		if l.head.CompareAndSwap(head, after(head)|uint64(i+1)) {
			step("push.swapped")
			return
		}
		step("push.lost")
	}
}

// after returns the next tag after head's, in place, with the slot part empty.
func after(head uint64) uint64 { return (head>>fieldBits + 1) << fieldBits }
