// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"sync"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

// undecided is for how long the cause of missing bytes is looked for, at least: the counters of
// the NIC are read once a second.
const undecided = time.Second

// causes gives each missing byte its cause. It adds up what was missing, and what each stage has
// lost, from reading to reading; what was given never changes.
//
// Bytes that a stage is known to have lost are put down to it at once. All others are put down to
// the stages that have dropped packets which no byte was put down to yet, nearest to the
// consumer first. What remains is the network's, once it has waited for later counts.
type causes struct {
	mu    sync.Mutex
	given ledger.Causes
	known losses
	waits [2]uint64 // bytes without a cause: from the last turn, from the one before
	turn  time.Time // when they last moved on
	// credit are bytes that were dropped and no missing byte was put down to: those of late,
	// and those from before. They are forgotten when no heap can lack them any more.
	credit [2]ledger.Causes
	keep   time.Duration // for how long at least; 0: for ever
	kept   time.Time     // when credit last moved on
}

// creditTime is for how long a dropped packet can explain missing bytes: until its heap is too
// old, and its missing bytes have been counted. 0 is for ever.
func creditTime(maxAge time.Duration) time.Duration {
	switch {
	case maxAge < 0:
		return 0
	case maxAge == 0:
		maxAge = heap.DefaultMaxAge
	}
	return min(maxAge, 24*time.Hour) + 2*undecided
}

// losses are sums of one reading.
type losses struct {
	exact   ledger.Causes
	missing uint64        // bytes whose cause is not known
	dropped ledger.Causes // packets
	mean    float64       // payload of a packet, bytes
}

// lossesOf are those of a reading.
func lossesOf(s *Stats) losses {
	var l losses
	h := s.Heaps()
	l.exact[ledger.Ring] = h[ledger.RingFullBytes]
	l.exact[ledger.Assembly] = h[ledger.DiscardedBytes]
	l.exact[ledger.Consumer] = h[ledger.ShutdownBytes]
	l.missing = h[ledger.IncompleteBytes] + h[ledger.MissingHeapBytes]
	var placed uint64 // packets whose fate is that of their heap
	for i := range s.Streams {
		f := &s.Streams[i].Fates
		placed += s.Streams[i].InFlight + f[ledger.Delivered] + f[ledger.DeliveredIncomplete] +
			f[ledger.DiscardedIncomplete] + f[ledger.RingFull] + f[ledger.Shutdown]
	}
	if placed == 0 {
		return l
	}
	l.mean = float64(s.Payload) / float64(placed)
	for f, n := range s.Fates {
		row := ledger.Fate(f).Row()
		switch {
		case f == int(ledger.TooShort) || f == int(ledger.BadMagic) || f == int(ledger.BadFlavour): // no SPEAD: no heap lacks it
		case !row.Loss || f == int(ledger.RingFull) || f == int(ledger.DiscardedIncomplete):
		case f == int(ledger.Shutdown): // some are of heaps whose bytes are known
			if l.mean > 0 {
				l.dropped[row.Stage] += uint64(max(float64(n)-float64(h[ledger.ShutdownBytes])/l.mean, 0))
			}
		default:
			l.dropped[row.Stage] += n
		}
	}
	return l
}

// update takes a reading into account, and returns the missing bytes by cause. over says that
// nothing is counted any more.
func (c *causes) update(s *Stats, now time.Time, over bool) ledger.Causes {
	l := lossesOf(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.given {
		c.given[i] += more(l.exact[i], c.known.exact[i])
		c.credit[0][i] += uint64(float64(more(l.dropped[i], c.known.dropped[i])) * l.mean)
		c.known.exact[i] = max(l.exact[i], c.known.exact[i])
		c.known.dropped[i] = max(l.dropped[i], c.known.dropped[i])
	}
	c.waits[0] += more(l.missing, c.known.missing)
	c.known.missing = max(l.missing, c.known.missing)
	for i := len(c.waits) - 1; i >= 0; i-- { // what has waited longest comes first
		for stage := len(c.given) - 1; stage >= 0; stage-- {
			for age := len(c.credit) - 1; age >= 0; age-- {
				n := min(c.credit[age][stage], c.waits[i])
				c.given[stage] += n
				c.credit[age][stage] -= n
				c.waits[i] -= n
			}
		}
	}
	if c.keep > 0 && now.Sub(c.kept) >= c.keep {
		c.credit = [2]ledger.Causes{{}, c.credit[0]}
		c.kept = now
	}
	switch {
	case over:
		c.given[ledger.Network] += c.waits[0] + c.waits[1]
		c.waits = [2]uint64{}
	case now.Sub(c.turn) >= undecided:
		c.given[ledger.Network] += c.waits[1]
		c.waits = [2]uint64{0, c.waits[0]}
		c.turn = now
	}
	return c.given
}
