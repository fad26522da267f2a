// SPDX-License-Identifier: Apache-2.0

package cache

// leastLong is the shortest copy that is worth another way than copy's, bytes.
const leastLong = 512

// Copy is copy(dst, src), faster than that for the payload of a packet, whose source
// comes from memory: by wider registers where the machine has them, and with next, which
// is to be copied soon, fetched meanwhile. next is not read and may be nil. dst and src
// must not overlap. The race detector, which cannot see into assembly, gets to see copy.
func Copy(dst, src, next []byte) int {
	n := min(len(dst), len(src))
	if race || n < leastLong {
		prefetchPayload(next)
		return copy(dst, src)
	}
	copyLong(dst[:n], src[:n], next)
	return n
}

// CopyPast is Copy past the cache, where the machine can. What it writes may become
// visible to other processors later than what the thread writes after it, until the
// thread calls [Fence].
func CopyPast(dst, src, next []byte) int {
	n := min(len(dst), len(src))
	if race || !Past || n < leastLong {
		prefetchPayload(next)
		return copy(dst, src)
	}
	copyLongPast(dst[:n], src[:n], next)
	return n
}
