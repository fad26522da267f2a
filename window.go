// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"math"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/sizing"
	"github.com/speadx/speadx/xsk"
)

// Each queue that feeds a stream is read by a thread of its own. One thread may lag
// behind the others by all that its queue can hold. Heaps of which it still has packets
// must be live until it has read them, or they are lost. So where several queues feed a
// stream, the default window is widened by that many heaps.
//
// Each of Q queues gets about a Qth of each heap. So a full queue has packets of
//
//	bytes of a queue / (heap size / Q) = bytes of all Q queues / heap size
//
// heaps. The slots that this adds have at most as many bytes as all queues together can
// hold: 477 MiB for 16 queues of 8192 frames, whatever the heap size. If the queues of
// several devices differ, all of them count as the largest.
//
// Several senders share a window too, as if they were queues. How many there are is not known
// before they send. So the pool has room for some, and the window grows as they are heard: see
// heap.WindowFor and sizing.RoomForSenders.
//
// The heap size is Config.HeapSize: smaller heaps need a larger window than this. The
// packets are as large as the MTU or a frame allows: smaller ones need less.
const (
	// maxWindow is by how many heaps of a stream its window is widened at most. Small
	// heaps have more memory beside their slots than in them.
	maxWindow = 1024
	// maxWidened is by how many bytes all windows together are widened at most. Each
	// stream could fill the queues of its device alone, so each is widened by all they
	// hold: without this bound, many streams would take that memory many times.
	maxWidened = 1 << 30
)

// inFlight is how many bytes of a stream its queues can hold. It is 0 if the stream has
// less than two: packets of one queue are not overtaken.
func (s *planStream) inFlight() float64 {
	queues := s.queues()
	if queues < 2 {
		return 0
	}
	largest := 0.0
	for _, d := range s.devices {
		// A frame holds one packet, or a part of one.
		payload := min(d.facts.MTU, xsk.OneFrameMTU)
		largest = max(largest, float64(d.frames)*float64(payload))
	}
	return largest * float64(queues)
}

// streamWindow is how many heaps of a substream may be live while one sender is heard, and at
// most. A window that the user has set does not grow.
type streamWindow struct{ first, most int }

// windows are those of the streams, and notes about those which do not cover what the queues
// can hold.
func (p *plan) windows(c *Config) (list []streamWindow, notes []string) {
	perHeap := float64(c.HeapSize) * float64(c.Substreams) // of one more live heap in each substream
	sum := 0.0
	for i := range p.streams {
		sum += p.streams[i].inFlight()
	}
	share := min(1, maxWidened/sum) // of inFlight that there is memory for
	room := sizing.RoomForSenders(c.HeapSize, len(p.streams), c.Substreams)
	for i := range p.streams {
		s := &p.streams[i]
		full := s.inFlight()
		switch {
		case c.ConcurrentHeaps > 0:
			list = append(list, streamWindow{c.ConcurrentHeaps, c.ConcurrentHeaps})
			continue
		case s.oneSender():
			list = append(list, streamWindow{DefaultConcurrentHeaps, DefaultConcurrentHeaps})
			continue
		case full == 0:
			list = append(list, streamWindow{DefaultConcurrentHeaps, DefaultConcurrentHeaps + room})
			continue
		}
		wanted := math.Ceil(full / perHeap)
		got := min(math.Ceil(full*share/perHeap), float64(maxWindow/c.Substreams))
		first := DefaultConcurrentHeaps + int(got)
		list = append(list, streamWindow{first, first + room})
		if got < wanted {
			notes = append(notes, narrowWindow(s, c, got*perHeap/full, DefaultConcurrentHeaps+wanted))
		}
	}
	return list, notes
}

// oneSender reports whether a stream can have one sender only: that of a TCP connection.
func (s *planStream) oneSender() bool { return len(s.tcp) == 1 && s.threads() == 1 }

// narrowWindow says which part of its queues a stream's window covers, and what covers
// all.
func narrowWindow(s *planStream, c *Config, covered, wanted float64) string {
	help := fmt.Sprintf("--concurrent-heaps %.0f covers all", wanted)
	if wanted*float64(c.Substreams) > heap.MaxSlots/2 {
		help = "fewer --frames or --queues need less"
	}
	return fmt.Sprintf("stream %s: the default window covers %.0f %% of what its %d queues can hold. Heaps are lost if a thread lags further (overtaken_heaps); %s",
		s.name, math.Floor(100*covered), s.queues(), help)
}
