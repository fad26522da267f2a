// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"time"

	"github.com/speadx/speadx/internal/histogram"
)

// consumerTime measures how long the consumer takes for a heap. While heaps wait in the ring,
// that is the time from one take to the next. This is what counts, also where several
// goroutines take heaps or several heaps are held. With nothing to take the consumer waits
// too. Then it is the time from the take to the heap's Release.
//
// The fields are guarded by Assembler.consumed.mu; the histogram may be read at any time.
type consumerTime struct {
	taken time.Duration // when a heap was taken last, by sinceStart
	last  *Heap         // that heap; nil: its time was observed
	waits bool          // others waited then
	spans histogram.Histogram
}

// take notes that a heap is taken; waits reports whether there are more.
func (c *consumerTime) take(h *Heap, waits bool) {
	now := sinceStart()
	if c.last != nil && c.waits {
		c.spans.Observe(now - c.taken)
	}
	c.taken, c.last, c.waits = now, h, waits
}

// release notes that a heap is released.
func (c *consumerTime) release(h *Heap) {
	if c.last == h && !c.waits {
		c.spans.Observe(sinceStart() - c.taken)
		c.last = nil
	}
}

// ConsumerTimes are the times that the consumer took for a heap: from one TryNext to the next
// while heaps wait, else from TryNext to Release. It may be called at any time.
func (a *Assembler) ConsumerTimes() histogram.Snapshot { return a.consumed.times.spans.Snapshot() }
