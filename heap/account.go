// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// ringPositions is how many positions of a sequence are remembered.
	ringPositions = 1024
	// learnHeaps is how many heaps show the step of a sequence.
	learnHeaps = ringPositions / 64
	// regularRuns is how many heaps, each N-th, must be missing one after the other.
	regularRuns = 8
)

// account is one sequence of heaps, and which of them are missing.
//
// At first the values of some heaps are kept. If the range from the least to the greatest is at
// least half full, their common divisor is the step. Each value has a position from then on.
// Positions are a window, as that of a replay check: a bit for each reports whether its heap
// came. One that falls out of the reach of reordering without its bit is missing. If its heap
// comes yet, one less is missing later.
//
// A value far ahead is a gap if so many heaps can have been sent in the time, else another
// beginning. A value far behind, or one that was there, is another beginning too. In another
// beginning nothing is missing.
type account struct {
	heaps         uint64
	sized, bytes  uint64 // heaps that told their length, and their bytes
	first, last   int64  // when a heap started, ns since 1970
	sender        netip.AddrPort
	stopped, ends bool

	step   uint64
	valued bool  // newest is valid
	bits   uint8 // of a value
	newest uint64
	n      int    // heaps learnt from
	before uint64 // greatest value that was not learnt from, if failed
	failed bool
	words  [learnHeaps]uint64 // their values; later a bit for each position

	pos, settled, base uint64 // position of newest; of the first undecided; of the first there was
	began              int64  // when the sequence began, by the feeders' clock
	past               [2]struct {
		pos uint64
		at  int64
	} // where it was 10 to 20 s ago
	marks   [2]uint64
	owed    uint64 // heaps that came after they were counted as missing
	missing uint64

	run, firstGap, largestGap gap
	prev, every               uint64 // position of the last heap missing; distance to the one before
	times                     int    // how often that was so
}

// gap is a run of missing positions.
type gap struct {
	value, heaps uint64
	end          uint64 // position behind it
	at           int64  // ns since 1970
}

func (g gap) export() Gap { return Gap{g.value, g.heaps, at(g.at)} }

// meanLength is the mean length of the heaps that came, in bytes.
func (c *account) meanLength() uint64 {
	if c.sized == 0 {
		return 0
	}
	return c.bytes / c.sized
}

// restart begins another sequence of the same step. What was regular about the gaps is of
// the one before.
func (c *account) restart() {
	c.n, c.valued, c.ends = 0, false, false
	c.times, c.every = 0, 0
}

// see enters a heap, and returns how many heaps it shows to be missing.
func (c *account) see(cfg *Config, e *startEntry, depth uint64, timeless bool) (missing uint64) {
	c.heaps++
	if c.first == 0 {
		c.first = e.wall
	}
	c.last = max(c.last, e.wall)
	if e.length > 0 {
		c.sized++
		c.bytes += uint64(e.length)
	}
	if e.flags&startUnknown != 0 {
		c.owed++
		return 0
	}
	if e.flags&startBegins != 0 || c.ends {
		c.restart()
	}
	c.ends = e.flags&startEnds != 0
	c.bits = e.bits
	if !c.valued {
		if c.step == 0 {
			c.words[c.n] = e.value
			if c.n++; c.n == 1 {
				c.began = e.at
			}
			c.newest = e.value
			if c.n == learnHeaps {
				c.learn(cfg, learnHeaps)
			}
			return 0
		}
		c.begin(e.value, e.at)
		return 0
	}
	d := c.distance(e.value, c.newest)
	if d%int64(c.step) != 0 {
		// The step is another than was learnt, or the sender counts from elsewhere.
		if cfg.ExpectStep == 0 {
			c.step = 0
		}
		c.restart()
		return c.see2(cfg, e)
	}
	d /= int64(c.step)
	switch {
	case d > 0 && !c.plausible(uint64(d), e.at, timeless):
		c.begin(e.value, e.at)
		return 0
	case d > 0:
		return c.advance(uint64(d), e.value, e.at, depth)
	}
	return c.fill(cfg, uint64(-d), e)
}

// see2 enters the first heap of another sequence, which was counted.
func (c *account) see2(cfg *Config, e *startEntry) uint64 {
	if c.step != 0 {
		c.begin(e.value, e.at)
		return 0
	}
	c.words[0], c.n, c.began, c.before, c.newest, c.failed = e.value, 1, e.at, c.newest, e.value, true
	return 0
}

// distance is by how much a value is above another, of values that wrap.
func (c *account) distance(v, from uint64) int64 {
	shift := 64 - uint(c.bits)
	return int64((v-from)<<shift) >> shift
}

// learn finds the step of the values that were kept, if they make a sequence.
func (c *account) learn(cfg *Config, least int) {
	values := c.words[:c.n]
	first := values[0]
	slices.SortFunc(values, func(a, b uint64) int {
		d := c.distance(a, first) - c.distance(b, first)
		return int(min(max(d, -1), 1))
	})
	values = slices.Compact(values)
	var step uint64
	for i := 1; i < len(values); i++ {
		step = gcd(step, uint64(c.distance(values[i], values[0])))
	}
	span := uint64(c.distance(values[len(values)-1], values[0]))
	wrong := false
	if given := uint64(cfg.ExpectStep); given != 0 {
		step, wrong = given, step%given != 0
	}
	if wrong || len(values) < least/2 || step == 0 || span/step+1 > 2*uint64(len(values)) {
		if most := values[len(values)-1]; !c.failed || c.distance(most, c.before) > 0 {
			c.before, c.failed = most, true
		}
		c.n = 0
		return
	}
	var kept [learnHeaps]uint64
	n := copy(kept[:], values)
	c.step = step
	c.begin(kept[n-1], c.began)
	for _, v := range kept[:n] {
		c.set(c.pos - uint64(c.distance(c.newest, v))/step)
	}
	c.settled = c.pos - span/step
	c.base = c.settled
	if c.failed { // what came before may be of these positions
		d := c.distance(c.newest, c.before)
		if ahead := uint64(max(-d, 0)); ahead%step == 0 && ahead/step < ringPositions/2 {
			c.pos += ahead / step
			c.newest += ahead
		}
		if d < int64(span) {
			c.settled = c.pos + 1 - min(uint64(max(d, 0))/step, span/step)
		}
		c.failed = false
	}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// begin makes a value the first of a sequence of a known step.
func (c *account) begin(value uint64, now int64) {
	c.n, c.valued, c.newest = 0, true, value
	c.words = [learnHeaps]uint64{}
	c.pos += 2 * ringPositions
	c.settled, c.base, c.began = c.pos, c.pos, now
	c.marks = [2]uint64{c.pos, c.pos}
	for i := range c.past {
		c.past[i].pos, c.past[i].at = c.pos, now
	}
	c.closeRun()
	c.times = 0
	c.set(c.pos)
}

func (c *account) word(p uint64) (*uint64, uint64) {
	return &c.words[p/64%learnHeaps], 1 << (p % 64)
}
func (c *account) set(p uint64) { w, b := c.word(p); *w |= b }
func (c *account) isSet(p uint64) bool {
	w, b := c.word(p)
	return *w&b != 0
}

// plausible reports whether a jump of d positions is a gap. It is one if so many heaps can have
// been sent since some seconds ago, at four times the rate until then.
func (c *account) plausible(d uint64, now int64, timeless bool) bool {
	const few, many = 64, ringPositions / 2
	if d <= few {
		return true
	}
	lived := now - c.began
	if timeless || lived < int64(time.Second) {
		return d <= many
	}
	rate := float64(c.pos-c.base) / float64(lived)
	return float64(d) <= few+4*rate*float64(now-c.past[0].at)
}

// advance moves on by d positions to the heap of a value.
func (c *account) advance(d, value uint64, now int64, depth uint64) (missing uint64) {
	to := c.pos + d
	if d >= ringPositions-depth { // the ring has no room for the gap
		missing += c.settle(c.pos + 1)
		if n := to - depth - c.settled; int64(n) > 0 {
			missing += c.gone(c.settled, n)
			c.settled += n
		}
		c.words = [learnHeaps]uint64{}
	} else {
		for p := c.pos + 1; p <= to; p++ {
			w, b := c.word(p)
			*w &^= b
		}
	}
	c.pos, c.newest = to, value
	c.set(to)
	if to-c.base > depth && to-depth > c.settled {
		missing += c.settle(to - depth)
	}
	const apart = int64(10 * time.Second)
	if now-c.past[1].at >= apart {
		c.past[0] = c.past[1]
		c.past[1].pos, c.past[1].at = c.pos, now
	}
	return missing
}

// fill enters a heap that is back positions behind the newest.
func (c *account) fill(cfg *Config, back uint64, e *startEntry) uint64 {
	p := c.pos - back
	switch {
	case back >= ringPositions-1 || c.isSet(p) && cfg.ExpectItem == 0:
		c.begin(e.value, e.at)
	case c.isSet(p): // several heaps may have one value
	default:
		c.set(p)
		if p < c.settled && p >= c.base {
			c.owed++
		}
	}
	return 0
}

// settle decides the positions before to, and returns how many heaps are missing there.
func (c *account) settle(to uint64) (missing uint64) {
	if !c.valued {
		return 0
	}
	to = min(to, c.pos+1)
	for p := c.settled; p < to; p++ {
		if p <= c.pos && p+ringPositions > c.pos && c.isSet(p) {
			c.closeRun()
			continue
		}
		missing += c.gone(p, 1)
	}
	c.settled = max(c.settled, to)
	return missing
}

// gone notes that the heaps of n positions from p on are missing, and returns how many that
// makes without those that were counted too many.
func (c *account) gone(p, n uint64) (missing uint64) {
	less := min(c.owed, n)
	c.owed -= less
	if n -= less; n == 0 {
		return 0
	}
	if c.run.heaps == 0 || c.run.end != p {
		c.closeRun()
		at := c.last
		if lived := c.pos - c.base; lived > 0 && c.last > c.first && p < c.pos {
			at -= int64(float64(c.last-c.first) / float64(c.heaps) * float64(c.pos-p))
		}
		c.run = gap{value: c.valueOf(p), at: at}
	}
	c.run.heaps += n
	c.run.end = p + n
	c.missing += n
	if d := p - c.prev; d == c.every && c.prev != 0 {
		c.times++
	} else {
		c.every, c.times = d, 1
	}
	c.prev = p + n - 1
	return n
}

// valueOf is the value at a position.
func (c *account) valueOf(p uint64) uint64 {
	v := c.newest - (c.pos-p)*c.step
	return v & (1<<c.bits - 1)
}

// closeRun ends a run of missing heaps.
func (c *account) closeRun() {
	if c.run.heaps == 0 {
		return
	}
	if c.firstGap.heaps == 0 {
		c.firstGap = c.run
	}
	if c.run.heaps > c.largestGap.heaps {
		c.largestGap = c.run
	}
	c.run = gap{}
}

// finish decides all positions, at the end.
func (c *account) finish(cfg *Config) uint64 {
	if !c.valued && c.step == 0 && c.n >= 4 {
		c.learn(cfg, 4)
	}
	n := c.settle(c.pos + 1)
	c.closeRun()
	return n
}

// found are the gaps until now.
func (c *account) found() Gaps {
	g := Gaps{FirstGap: c.firstGap.export(), LargestGap: c.largestGap.export()}
	if c.run.heaps > 0 && c.firstGap.heaps == 0 {
		g.FirstGap = c.run.export()
	}
	if c.run.heaps > c.largestGap.heaps {
		g.LargestGap = c.run.export()
	}
	if c.step != 0 && c.times >= regularRuns && c.every > 1 && c.settled-c.prev <= c.every {
		g.Every, g.Residue = c.every, c.valueOf(c.prev)
	}
	return g
}
