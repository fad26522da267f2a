// SPDX-License-Identifier: Apache-2.0

package sizing

import "github.com/speadx/speadx/heap"

const (
	// roomSenders is how many senders of a stream have room in its pool by default.
	roomSenders = 8
	// roomBytes bounds what the room for several senders takes, of all streams together.
	roomBytes = 256 << 20
)

// RoomForSenders is how many heaps of each substream have room by default beside those of one
// sender. The window grows into this room when more senders are heard.
func RoomForSenders(heapSize int64, streams, substreams int) int {
	n := int64(heap.WindowFor(0, roomSenders, substreams))
	each := roomBytes / int64(max(streams, 1)) / int64(substreams)
	return int(min(n, each/max(heapSize, 1)))
}
