// SPDX-License-Identifier: Apache-2.0

package heap

import "sync/atomic"

// coverage says which bytes of a heap are claimed. A thread claims a range
// before it copies there, so no byte is ever written twice. Disjoint claims that add
// up to the heap's length cover the heap.
//
// The ranges are kept in a table: sorted, disjoint, not adjacent. One of them is
// the cursor, the range that was extended last. Its end is not in the table; it
// follows from the record's coverage word, which has the number of bytes claimed
// beside the table's number:
//
//	word = table<<48 | bytes claimed        end of the cursor = bytes claimed + table[tDelta]
//
// Packets that come in order, also those behind a hole, add their length to
// both: one compare-and-swap on the word. Any other claim writes a new table into
// the claiming thread's spare, and publishes it by the same compare-and-swap.
// The old table becomes the thread's spare.
//
// This is safe because bytes are claimed and never unclaimed. So within one heap the
// word never has the same value twice. A compare-and-swap that succeeds proves that
// the word, and with it the table, did not change since the word was read. A
// thread may read a table while its new owner rewrites it. It then reads nonsense,
// within bounds, and its compare-and-swap fails. Records are pinned meanwhile, so
// they do not change heaps under a claim.
type coverage struct {
	words  []uint64 // all tables, accessed atomically; see the t* constants
	stride int      // words a table
	max    int      // ranges a table can hold
}

const (
	tLen    = iota // number of ranges
	tCursor        // index of the cursor
	tDelta         // end of the cursor less the bytes claimed, modulo 2^48
	tLimit         // start of the range after the cursor, or noLimit
	tRanges        // start, end, start, end, …

	claimedBits = 48
	claimedMask = 1<<claimedBits - 1
	noLimit     = claimedMask
)

// A claim is refused because the bytes are there, some of them are, or the
// heap is in too many pieces already.
type claim uint8

const (
	claimed claim = iota
	claimDuplicate
	claimOverlap
	claimFull
)

func newCoverage(m *tableMemory, tables, maxRanges int) *coverage {
	stride := tRanges + 2*maxRanges
	return &coverage{words: newTable[uint64](m, tables*stride), stride: stride, max: maxRanges}
}

func (c *coverage) table(i uint64) []uint64 {
	at := int(i) * c.stride
	return c.words[at : at+c.stride : at+c.stride]
}

// reset makes word and its table those of a heap with nothing claimed: one
// empty range at 0 that the first packet in order extends.
func (c *coverage) reset(word *atomic.Uint64, table uint64) {
	t := c.table(table)
	setWord(&t[tLen], 1)
	setWord(&t[tCursor], 0)
	setWord(&t[tDelta], 0)
	setWord(&t[tLimit], noLimit)
	setWord(&t[tRanges], 0)
	setWord(&t[tRanges+1], 0)
	word.Store(table << claimedBits)
}

// claim claims [off, end), off < end < 2^48, for the caller to write. spare is
// the number of the calling thread's own table.
func (c *coverage) claim(word *atomic.Uint64, spare *uint64, off, end uint64) claim {
	for {
		step("coverage.load")
		w := word.Load()
		table := w >> claimedBits
		t := c.table(table)
		cursorEnd := (w + atomic.LoadUint64(&t[tDelta])) & claimedMask
		if cursorEnd == off && end < atomic.LoadUint64(&t[tLimit]) {
			step("coverage.extend")
			if word.CompareAndSwap(w, w+end-off) {
				return claimed
			}
			continue
		}
		dst := c.table(*spare)
		newEnd, verdict := c.insert(dst, t, cursorEnd, off, end)
		step("coverage.insert")
		if verdict != claimed {
			if word.Load() == w {
				return verdict
			}
			continue // judged by a table that was being rewritten
		}
		bytes := w&claimedMask + end - off
		atomic.StoreUint64(&dst[tDelta], (newEnd-bytes)&claimedMask)
		if word.CompareAndSwap(w, *spare<<claimedBits|bytes) {
			*spare = table
			return claimed
		}
	}
}

// insert writes into dst the ranges of src, whose cursor ends at cursorEnd,
// with [off, end) added and made the cursor, and returns where the cursor ends.
func (c *coverage) insert(dst, src []uint64, cursorEnd, off, end uint64) (uint64, claim) {
	n := min(int(atomic.LoadUint64(&src[tLen])), c.max)
	cursor := int(atomic.LoadUint64(&src[tCursor]))
	rangeAt := func(i int) (s, e uint64) {
		s, e = atomic.LoadUint64(&src[tRanges+2*i]), atomic.LoadUint64(&src[tRanges+2*i+1])
		if i == cursor {
			e = cursorEnd
		}
		return s, e
	}
	lo, hi := 0, n // the first range that starts behind off
	for lo < hi {
		if m := int(uint(lo+hi) / 2); atomic.LoadUint64(&src[tRanges+2*m]) > off {
			hi = m
		} else {
			lo = m + 1
		}
	}
	next := lo
	from, to := off, end
	before := next // ranges kept in front of the new one
	if next > 0 {
		s, e := rangeAt(next - 1)
		switch {
		case e >= end:
			return 0, claimDuplicate
		case e > off:
			return 0, claimOverlap
		case e == off || s == e: // grows, or is the empty range of a new heap
			before--
			if e == off {
				from = s
			}
		}
	}
	if next < n {
		s, e := rangeAt(next)
		switch {
		case s < end:
			return 0, claimOverlap
		case s == end:
			to = e
			next++
		}
	}
	if before+1+n-next > c.max {
		return 0, claimFull
	}
	k := 0
	put := func(s, e uint64) {
		atomic.StoreUint64(&dst[tRanges+2*k], s)
		atomic.StoreUint64(&dst[tRanges+2*k+1], e)
		k++
	}
	for i := range before {
		put(rangeAt(i))
	}
	put(from, to)
	limit := uint64(noLimit)
	if next < n {
		limit, _ = rangeAt(next)
	}
	for i := next; i < n; i++ {
		put(rangeAt(i))
	}
	atomic.StoreUint64(&dst[tLen], uint64(k))
	atomic.StoreUint64(&dst[tCursor], uint64(before))
	atomic.StoreUint64(&dst[tLimit], limit)
	return to, claimed
}

// appendRanges appends the ranges below end of a record that nobody else uses.
func (c *coverage) appendRanges(dst []Range, word *atomic.Uint64, end int64) []Range {
	w := word.Load()
	t := c.table(w >> claimedBits)
	for i := range atomic.LoadUint64(&t[tLen]) {
		s, e := atomic.LoadUint64(&t[tRanges+2*i]), atomic.LoadUint64(&t[tRanges+2*i+1])
		if i == atomic.LoadUint64(&t[tCursor]) {
			e = (w + atomic.LoadUint64(&t[tDelta])) & claimedMask
		}
		if r := (Range{int64(s), min(int64(e), end)}); r.Start < r.End {
			dst = append(dst, r)
		}
	}
	return dst
}

// Range is a half-open range [Start, End) of a heap's payload, in bytes.
type Range struct{ Start, End int64 }
