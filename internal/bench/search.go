// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"math"
)

// trial sends at a rate, in packets a second, for a while; 0: as fast as it can.
type trial func(pps float64) (outcome, error)

// outcome is what a trial showed.
type outcome struct {
	pps      float64 // that arrived at the interface
	sent     uint64
	refused  uint64
	lost     uint64
	ringPeak int
}

const (
	// stride is the factor between rates where the limit is not yet enclosed.
	stride = 1.25
	// fineness is how near to each other, as a quotient, the rates are that enclose
	// the limit in the end.
	fineness = 1.02
	// confirmations is how many trials in a row have to be without loss.
	confirmations = 3
	// short is the share of the rate asked for below which the generator could not
	// do it.
	short = 0.97
	// leastPps is where the search gives up, and the least guess.
	leastPps = 1000
	// mostPps is where it stops to rise: no interface takes more.
	mostPps = 1e9
)

// critical is the result of a search.
type critical struct {
	pps     float64
	limited bool // by the generator: it cannot send more, and that is received
	trials  []outcome
}

var (
	errNoRate  = errors.New("packets are lost at every rate")
	errNothing = errors.New("the generator sent nothing")
)

// search finds the highest rate without loss, beginning at a guess. Near the limit it is a
// matter of chance whether a rate loses packets, on a machine that does other things as
// well. So single trials enclose the limit, and then the rate is lowered until several
// trials in a row lose nothing. A search is one sample. Many of them, in turns with those of
// others, give the median and its interval.
func search(t trial, guess float64) (c critical, err error) {
	try := func(pps float64) (outcome, error) {
		o, err := t(pps)
		if err != nil {
			return o, err
		}
		c.trials = append(c.trials, o)
		if !(o.pps > 0) {
			return o, errNothing // else 0 would be a rate without loss
		}
		return o, nil
	}
	// low loses nothing, high does: what is asked for, which the generator may fall
	// short of.
	low, high := 0.0, math.Inf(1)
	shorts := 0
	for pps := min(max(guess, leastPps), mostPps); math.IsInf(high, 1) || low == 0; {
		o, err := try(pps)
		if err != nil {
			return c, err
		}
		switch {
		case o.lost > 0:
			if high = pps; low == 0 {
				pps /= stride
			}
			if pps < leastPps {
				return c, errNoRate
			}
		case o.pps < short*pps && shorts < 2:
			shorts++ // something else may have held it up: once more
		default:
			low = pps
			if c.limited = o.pps < short*pps; c.limited || pps >= mostPps {
				high = pps
			}
			pps *= stride
			shorts = 0
		}
	}
	for !c.limited && high/low > fineness {
		pps := math.Sqrt(low * high)
		o, err := try(pps)
		if err != nil {
			return c, err
		}
		if o.lost > 0 {
			high = pps
		} else {
			low = pps
		}
	}
	for good := []float64{}; len(good) < confirmations; {
		o, err := try(low)
		if err != nil {
			return c, err
		}
		if o.lost > 0 {
			good, c.limited = good[:0], false
			if low /= fineness; low < leastPps {
				return c, errNoRate
			}
			continue
		}
		good = append(good, o.pps)
		c.pps, _, _ = Median(good)
		c.limited = c.pps < short*low
	}
	return c, nil
}
