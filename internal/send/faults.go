// SPDX-License-Identifier: Apache-2.0

package send

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// faultWindow is how many packets later a packet is sent at most.
const faultWindow = 8

// heldPacket waits to be sent later than it was made.
type heldPacket struct {
	packet
	number uint64 // of the packet, in the order of making
	due    uint64 // it is sent when the packet with this number has been
	copied bool   // it is the repetition of a packet, not the packet itself
}

// faultInjector decides the fate of each packet.
type faultInjector struct {
	faults Faults
	random *rand.Rand
	held   []heldPacket // [0, waiting) wait; the rest is memory to use again
	waits  int
	made   uint64 // packets so far
	latest uint64 // highest number of a packet sent

	dropped, duplicated, reordered uint64
}

func newFaultInjector(f Faults) *faultInjector {
	return &faultInjector{
		faults: f,
		random: rand.New(rand.NewPCG(f.Seed, 0)),
		// A packet adds itself and a repetition, and both leave within the window.
		held: make([]heldPacket, 2*faultWindow+2),
	}
}

// pass takes the packet that was made next and emits what is to be sent now,
// which may be nothing. It reports whether the packet was dropped. p and what
// is emitted must not be used after their function has returned.
func (f *faultInjector) pass(p *packet, emit func(*packet) error) (dropped bool, err error) {
	f.made++
	// Always the same number of draws, so that the fates of later packets do
	// not depend on those of earlier ones.
	drop, reorder, duplicate := f.random.Float64(), f.random.Float64(), f.random.Float64()
	later, again := 1+f.random.Uint64N(faultWindow), 1+f.random.Uint64N(faultWindow)

	if drop < f.faults.Drop {
		f.dropped++
		dropped = true
	} else {
		if reorder < f.faults.Reorder {
			f.hold(p, later, false)
		} else if err := f.emit(p, f.made, emit); err != nil {
			return false, err
		}
		if duplicate < f.faults.Duplicate {
			f.hold(p, again, true)
		}
	}
	return dropped, f.release(f.made, emit)
}

// flush emits all packets that are held.
func (f *faultInjector) flush(emit func(*packet) error) error {
	return f.release(f.made+faultWindow, emit)
}

func (f *faultInjector) hold(p *packet, delay uint64, copied bool) {
	h := &f.held[f.waits]
	f.waits++
	h.copyFrom(p)
	h.number, h.due, h.copied = f.made, f.made+delay, copied
}

// release emits what is due when the packet with that number has been sent.
func (f *faultInjector) release(number uint64, emit func(*packet) error) error {
	kept := 0
	for i := range f.waits {
		h := &f.held[i]
		if h.due > number {
			f.held[kept], f.held[i] = f.held[i], f.held[kept]
			kept++
			continue
		}
		if h.copied {
			f.duplicated++
		} else if f.latest > h.number {
			f.reordered++
		}
		if err := f.emit(&h.packet, h.number, emit); err != nil {
			return err
		}
	}
	f.waits = kept
	return nil
}

func (f *faultInjector) emit(p *packet, number uint64, emit func(*packet) error) error {
	f.latest = max(f.latest, number)
	return emit(p)
}

// maxEvery is more packets than anyone sends: every so manieth is none.
const maxEvery = 1 << 62

// every is n, for one of n packets.
func every(fraction float64) uint64 {
	if fraction == 0 {
		return 0
	}
	return uint64(math.Round(min(1/fraction, maxEvery)))
}

// regularity is how far off a fraction may be, of itself, that is injected at regular
// distances.
const regularity = 0.05

// regular reports whether one of n packets, n from least on, is about the fraction.
func regular(fraction, least float64) bool {
	n := max(float64(every(fraction)), least)
	return fraction == 0 || math.Abs(min(1/fraction, maxEvery)/n-1) <= regularity
}

// nearestRegular names the fractions on both sides that are 1/n, n from least on.
func nearestRegular(fraction, least float64) string {
	below, above := max(math.Ceil(1/fraction), least), max(math.Floor(1/fraction), least)
	if below == above {
		return fmt.Sprintf("the nearest is %.4g", 1/below)
	}
	return fmt.Sprintf("the nearest are %.4g and %.4g", 1/below, 1/above)
}
