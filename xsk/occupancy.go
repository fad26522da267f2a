// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

// FrameCounts says where the frames of a queue are. At rest they add up to Info.Frames.
// While packets flow the counts are not of one instant: Hand is what the others leave.
type FrameCounts struct {
	Fill   int // on the fill ring: the kernel can take them
	Driver int // the driver has taken them
	Ring   int // on the RX ring: they wait for the receiving thread
	Hand   int // the receiving thread has them
	Lost   int // out of use: see Stats.LostFrames
}

// FrameCounts may be called from any goroutine; after Close all are 0. It reads the indices
// of the rings, which the receiving goroutine and the kernel share anyway.
func (q *Queue) FrameCounts() FrameCounts {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if !q.opened {
		return FrameCounts{}
	}
	left := q.config.Frames
	take := func(n uint32) int {
		v := min(max(int(int32(n)), 0), left)
		left -= v
		return v
	}
	// Each index is read before those that may not be behind it.
	read, received := q.rx.consumer.Load(), q.rx.producer.Load()
	taken, filled := q.fill.consumer.Load(), q.fill.producer.Load()
	c := FrameCounts{Lost: take(uint32(q.pub.lostFrames.Load()))}
	c.Ring, c.Driver, c.Fill = take(received-read), take(taken-received), take(filled-taken)
	c.Hand = left
	return c
}
