// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"time"

	"github.com/speadx/speadx/internal/histogram"
)

// heapTimes are the times of the heaps that consumers took. They are written once a heap, and
// read by anybody.
type heapTimes struct {
	assembly, waiting histogram.Histogram
}

// taken records the times of a heap that a consumer takes now.
func (t *heapTimes) taken(h *Heap, a *Assembler) {
	if !a.timeless {
		t.assembly.Observe(time.Duration(h.ended - h.began))
	}
	if a.cfg.Clock != nil {
		t.waiting.Observe(time.Duration(a.cfg.Clock() - h.finished))
	}
}

// Times says how long the heaps took that consumers have taken.
type Times struct {
	// Assembly is the time from when a heap's first packet was received to when its last
	// one was. Packets that were received at once have one time. In a capture file it is
	// the time of the capture. It is empty where several sources make one stream and one
	// of them is a file, as their times cannot be compared.
	Assembly histogram.Snapshot
	// Waiting is the time from then, or from when the heap was given up, to TryNext. It is
	// empty without Config.Clock.
	Waiting histogram.Snapshot
	// Consumer is the time that the consumer took for a heap: see ConsumerTimes.
	Consumer histogram.Snapshot
}

// Times may be called from any goroutine, at any time. Its counts never go back.
func (a *Assembler) Times() Times {
	return Times{Assembly: a.heapTimes.assembly.Snapshot(), Waiting: a.heapTimes.waiting.Snapshot(), Consumer: a.ConsumerTimes()}
}
