// SPDX-License-Identifier: Apache-2.0

package xsk

import "math/bits"

// softwareFrames are the frames of all queues together of a device that has no
// hardware: 128 MiB.
const softwareFrames = 32768

// FramesFor is the default number of frames of a queue. It is at least twice the hardware
// ring: the ring can be filled while the same number waits for the receiver. A device
// without hardware, such as veth and lo, has a ring of 0. Its sender is on this machine.
// Where all processors are busy the receiving thread waits some 10 ms for one, so such a
// device gets more frames. queues is the number of queues that are received on.
func FramesFor(ring, queues int) int {
	frames := max(DefaultFrames, 1<<bits.Len(uint(max(2*ring, 1)-1)))
	if ring == 0 {
		frames = max(frames, 1<<(bits.Len(uint(softwareFrames/max(queues, 1)))-1))
	}
	return frames
}
