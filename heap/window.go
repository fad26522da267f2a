// SPDX-License-Identifier: Apache-2.0

package heap

import "sync/atomic"

// startsEach is how many heaps of another sender can start while one heap is received. The
// first of them starts together with that heap or later. All senders send at the same rate.
const startsEach = 2

// WindowFor is how many heaps of a substream must be live so that senders do not evict the
// heaps of each other. One sender alone needs base of them.
func WindowFor(base, senders, substreams int) int {
	others := max(senders-1, 0)
	return base + (startsEach*others+substreams-1)/substreams
}

// window is how many heaps of a substream may be live. It grows with the senders that are
// heard, up to what the share has room for, and never shrinks. So no heap is passed over. The
// thread that starts heap s closes heap s − window. It looks at the window when it knows that
// all heaps before s have started, so it sees no less than what their starters saw. With an
// older value a thread closes one heap more, which is in the last places of the window.
type window struct {
	now              atomic.Int64
	base, most, subs int
}

// heard lets the window grow for that many senders.
func (w *window) heard(senders int64) {
	atLeast(&w.now, int64(min(WindowFor(w.base, int(senders), w.subs), w.most)))
}

// live is how many heaps of a substream may be live now.
func (w *window) live() uint64 { return uint64(w.now.Load()) }
