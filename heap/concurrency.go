// SPDX-License-Identifier: Apache-2.0

package heap

import "github.com/speadx/speadx/spead"

// pastCache is how many bytes of heaps are filled at once, from which on they are
// written past the cache. The cores' own caches are smaller than that, and of the last
// level a stream may have less to itself: a line would be read before it is written,
// and gone before the next packet of its heap comes. Fewer bytes are written no faster
// that way, and those who read the heaps next would miss them in the cache.
const pastCache = 16 << 20

// concurrency is how many heaps are filled at once: a mark, in units of 1/256, that sinks
// slowly. It is seen in how many heaps have started from the start of one to its end;
// those that stay incomplete and are filled by nobody do not count. Where many senders
// send in step, heaps begin together and end together, so that of one heap to the next
// the number differs, and the highest is what matters.
type concurrency int64

// see takes in how many heaps have started since one did, itself among them, when it
// is complete.
func (c *concurrency) see(started uint64) {
	*c = max(concurrency(min(started, maxRecords))<<8, *c-*c>>7)
}

// past says whether a heap, which begins with h, is written past a cache of limit bytes.
func (c concurrency) past(h *spead.Packet, limit int64) bool {
	size := max(h.HeapLength, h.PayloadOffset)
	return size >= limit || size*int64(c)>>8 >= limit
}
