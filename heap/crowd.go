package heap

import "github.com/speadx/speadx/spead"

// pastCache is how many bytes of heaps are filled at once, from which on they are
// written past the cache. The cores' own caches are smaller than that, and of the last
// level a stream may have less to itself: a line would be read before it is written,
// and gone before the next packet of its heap comes. Fewer bytes are written no faster
// that way, and those who read the heaps next would miss them in the cache.
const pastCache = 16 << 20

// crowd is how many heaps are being filled at once: a mark, in units of 1/256, that
// sinks slowly. Where many senders send in step, heaps begin together and end together,
// and the number at any one moment says little.
type crowd int64

// see takes in how many there are now.
func (c *crowd) see(n int) { *c = max(crowd(n)<<8, *c-*c>>7) }

// past says whether a heap, which begins with h, is written past the cache.
func (c crowd) past(h *spead.Packet) bool {
	size := max(h.HeapLength, h.PayloadOffset)
	return size >= pastCache || size*int64(c)>>8 >= pastCache
}
