// SPDX-License-Identifier: Apache-2.0

package heap

import "github.com/speadx/speadx/spead"

// pastCache is from how many bytes of heaps that are filled at once they are written past
// the cache. The cores' own caches are smaller than that, and a stream may have less of
// the last level to itself. A line would be read before it is written, and gone before
// the next packet of its heap comes. Fewer bytes are written no faster that way, and
// the reader of the heaps would miss them in the cache.
const pastCache = 16 << 20

// concurrency is how many heaps are filled at once: a mark, in units of 1/256, that sinks
// slowly. It is taken from how many heaps have started from the start of one to its end.
// Heaps that stay incomplete, and that nobody fills, do not count. Where many senders
// send in step, heaps begin together and end together. Then the number differs from heap
// to heap, and the highest one matters.
type concurrency int64

// see takes in how many heaps have started since one did, itself among them, when it
// is complete.
func (c *concurrency) see(started uint64) {
	*c = max(concurrency(min(started, maxRecords))<<8, *c-*c>>7)
}

// past reports whether a heap, which begins with h, is written past a cache of limit bytes.
func (c concurrency) past(h *spead.Packet, limit int64) bool {
	size := max(h.HeapLength, h.PayloadOffset)
	return size >= limit || size*int64(c)>>8 >= limit
}
