// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// simulated is a receiver that loses packets with a probability, at rates up to what
// a generator can do.
type simulated struct {
	loses     func(pps float64) bool
	generator float64 // pps; 0: no limit
	trials    int
}

func (s *simulated) try(pps float64) (outcome, error) {
	s.trials++
	if s.generator > 0 {
		pps = min(pps, s.generator)
	}
	o := outcome{pps: pps, sent: 1000}
	if s.loses(pps) {
		o.lost = 1
	}
	return o, nil
}

// mostTrials bounds what any search takes: rates that fall from the highest to the
// lowest by fineness, each of them after as many trials as can be, with what rises
// before.
var mostTrials = 200 + int(confirmations*math.Log(mostPps/leastPps)/math.Log(fineness))

func sharp(limit float64) func(float64) bool {
	return func(pps float64) bool { return pps > limit }
}

func TestSearchSharp(t *testing.T) {
	for _, limit := range []float64{2000, 49_999, 500_000, 500_001, 1.3e6, 7e6} {
		for _, guess := range []float64{0, 1000, 5e5, 3e6, 1e8} {
			s := simulated{loses: sharp(limit)}
			c, err := search(s.try, guess)
			if err != nil || c.limited || c.pps > limit || c.pps < limit/fineness || len(c.trials) != s.trials || s.trials > 60 {
				t.Errorf("limit %v from %v: found %v (limited %v) in %d trials, %v", limit, guess, c.pps, c.limited, s.trials, err)
			}
		}
	}
}

// TestSearchNoisy: where losses become likely gradually, the median of many searches,
// each beginning where the one before it ended, is near the rate at which they do.
func TestSearchNoisy(t *testing.T) {
	const limit = 2e6
	for _, width := range []float64{0.002, 0.01, 0.03} {
		rng := rand.New(rand.NewPCG(1, 2))
		s := simulated{loses: func(pps float64) bool {
			return rng.Float64() < 1/(1+math.Exp(-(pps-limit)/(width*limit)))
		}}
		var rates []float64
		guess := 5e5
		for range 301 {
			c, err := search(s.try, guess)
			if err != nil || c.limited {
				t.Fatalf("limited %v, %v", c.limited, err)
			}
			guess = c.pps
			rates = append(rates, c.pps)
		}
		// At the median, losses are rarer than every other trial, and not very rare:
		// that is within a few widths below the limit.
		m, low, high := Median(rates)
		if m > limit*(1+0.5*width) || m < limit*(1-3*width-0.01) {
			t.Errorf("width %v: the median is %.4g of the limit (%.4g to %.4g)", width, m/limit, low/limit, high/limit)
		}
		if n := float64(s.trials) / float64(len(rates)); n > 25 {
			t.Errorf("width %v: %v trials for a search", width, n)
		}
	}
}

// TestSearchHiccups: now and then something else on the machine makes packets be lost
// at any rate. A search errs to the low side then, and the median hardly moves.
func TestSearchHiccups(t *testing.T) {
	const limit = 2e6
	rng := rand.New(rand.NewPCG(3, 4))
	s := simulated{loses: func(pps float64) bool { return pps > limit || rng.Float64() < 0.05 }}
	var rates []float64
	guess := 5e5
	for range 301 {
		c, err := search(s.try, guess)
		if err != nil {
			t.Fatal(err)
		}
		guess = c.pps
		rates = append(rates, c.pps)
	}
	if m, _, _ := Median(rates); m > limit || m < 0.95*limit {
		t.Errorf("the median is %.4g of the limit", m/limit)
	}
}

func TestSearchLimitedByGenerator(t *testing.T) {
	for _, guess := range []float64{1e5, 8e5, 1e6, 4e6} {
		s := simulated{loses: func(float64) bool { return false }, generator: 1e6}
		c, err := search(s.try, guess)
		if err != nil || !c.limited || c.pps != 1e6 {
			t.Errorf("from %v: found %v (limited %v), %v", guess, c.pps, c.limited, err)
		}
		// A receiver that takes less is the limit itself.
		s = simulated{loses: sharp(0.9e6), generator: 1e6}
		c, err = search(s.try, guess)
		if err != nil || c.limited || c.pps > 0.9e6 || c.pps < 0.9e6/fineness {
			t.Errorf("from %v: found %v (limited %v) instead of 0.9e6, %v", guess, c.pps, c.limited, err)
		}
	}
	// Somebody who is held up once or twice is no limit.
	s := simulated{loses: sharp(1.3e6)}
	held := 0
	c, err := search(func(pps float64) (outcome, error) {
		o, err := s.try(pps)
		if held < 2 {
			held++
			o.pps /= 2
		}
		return o, err
	}, 5e5)
	if err != nil || c.limited || c.pps > 1.3e6 || c.pps < 1.3e6/fineness {
		t.Errorf("held up twice: found %v (limited %v), %v", c.pps, c.limited, err)
	}
}

func TestSearchFails(t *testing.T) {
	s := simulated{loses: func(float64) bool { return true }}
	c, err := search(s.try, 5e5)
	if !errors.Is(err, errNoRate) || len(c.trials) != s.trials || s.trials > 60 {
		t.Errorf("loss at every rate: %v after %d trials", err, s.trials)
	}
	// Nothing sent is nothing lost, and no rate.
	if c, err := search(func(float64) (outcome, error) { return outcome{}, nil }, 5e5); !errors.Is(err, errNothing) || len(c.trials) != 1 {
		t.Errorf("nothing sent: %v after %d trials", err, len(c.trials))
	}
	// An error in any trial ends the search, which still has those before it.
	failure := errors.New("no such luck")
	for after := 0; ; after++ {
		s := simulated{loses: sharp(8e5)}
		c, err := search(func(pps float64) (outcome, error) {
			if s.trials == after {
				return outcome{}, failure
			}
			return s.try(pps)
		}, 5e5)
		if err == nil {
			if after < 8 {
				t.Errorf("done after %d trials", after)
			}
			break
		}
		if !errors.Is(err, failure) || len(c.trials) != after {
			t.Fatalf("failure after %d trials: %v, with %d", after, err, len(c.trials))
		}
	}
}

// TestSearchEnds: whatever receiver and generator do, a search ends, and what it finds
// was had without loss as often as it has to be, right in the end.
func TestSearchEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		loss, slow, none := rng.Float64(), rng.Float64(), 0.0
		switch rng.IntN(4) {
		case 0:
			loss = 0 // rates rise without end
		case 1:
			slow = 0
		case 2:
			none = 0.01
		}
		n := 0
		c, err := search(func(pps float64) (outcome, error) {
			if n++; n > mostTrials {
				t.Fatalf("no end, with losses in %.3f, less sent in %.3f of the trials", loss, slow)
			}
			o := outcome{pps: pps, sent: 1000}
			if rng.Float64() < loss {
				o.lost = 1
			}
			if rng.Float64() < slow {
				o.pps *= rng.Float64()
			}
			if rng.Float64() < none {
				o = outcome{}
			}
			return o, nil
		}, math.Pow(10, 12*rng.Float64()-1))
		if len(c.trials) != n {
			t.Fatalf("%d trials, of which the result has %d", n, len(c.trials))
		}
		if err != nil {
			if !errors.Is(err, errNoRate) && !errors.Is(err, errNothing) {
				t.Fatal(err)
			}
			continue
		}
		var last []float64
		for _, o := range c.trials[n-confirmations:] {
			if o.lost > 0 {
				t.Fatal("the last trials were not without loss")
			}
			last = append(last, o.pps)
		}
		if m, _, _ := Median(last); c.pps != m {
			t.Fatalf("found %v instead of %v", c.pps, m)
		}
	}
}
