package xsk

import "math/bits"

// softwareFrames are the frames of all queues together of a device that has no
// hardware: 128 MiB.
const softwareFrames = 32768

// FramesFor is how many frames a queue of a device gets if nobody says. It is twice the
// hardware ring, at least, so that the ring can be filled while the same number
// waits for us. A device without hardware (veth, lo: ring is 0) is fed by a sender on this
// machine, for whose processor the receiving thread has to wait at times, some
// 10 ms where all are busy, so there it is more. queues is how many are received on.
func FramesFor(ring, queues int) int {
	frames := max(DefaultFrames, 1<<bits.Len(uint(max(2*ring, 1)-1)))
	if ring == 0 {
		frames = max(frames, 1<<(bits.Len(uint(softwareFrames/max(queues, 1)))-1))
	}
	return frames
}
