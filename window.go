//go:build linux

package speadx

import (
	"fmt"
	"math"

	"github.com/speadx/speadx/heap"
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

// windows is how many heaps of a substream may be live, by stream, and notes about
// those whose window does not cover what the queues can hold.
func (p *plan) windows(c *Config) (heaps []int, notes []string) {
	perHeap := float64(c.HeapSize) * float64(c.Substreams) // of one more live heap in each substream
	sum := 0.0
	for i := range p.streams {
		sum += p.streams[i].inFlight()
	}
	share := min(1, maxWidened/sum) // of inFlight that there is memory for
	for i := range p.streams {
		s := &p.streams[i]
		full := s.inFlight()
		switch {
		case c.ConcurrentHeaps > 0:
			heaps = append(heaps, c.ConcurrentHeaps)
			continue
		case full == 0:
			heaps = append(heaps, DefaultConcurrentHeaps)
			continue
		}
		wanted := math.Ceil(full / perHeap)
		got := min(math.Ceil(full*share/perHeap), float64(maxWindow/c.Substreams))
		heaps = append(heaps, DefaultConcurrentHeaps+int(got))
		if got < wanted {
			notes = append(notes, narrowWindow(s, c, got*perHeap/full, DefaultConcurrentHeaps+wanted))
		}
	}
	return heaps, notes
}

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
