// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

import "testing"

// A feeder that loses the race for a new sender's number takes the winner's, and has its
// own entry left for the next.
func TestNewSenderRace(t *testing.T) {
	defer unhook()
	for _, at := range []string{"senders.load", "senders.take", "senders.cas"} {
		s := newSenders(nil, 0x9e3779b97f4a7c15)
		var spares [2]uint32
		var first uint32
		loser := start(t, func() { first = s.number(senderNo(1), &spares[0]) }, point(at))
		second := s.number(senderNo(1), &spares[1])
		loser.end()
		if first != second || first == 0 || s.heard.Load() != 1 {
			t.Errorf("stopped at %s: numbers %d and %d, %d senders heard", at, first, second, s.heard.Load())
		}
		if n := s.number(senderNo(2), &spares[0]); n == first || s.taken.Load() != 2 || s.heard.Load() != 2 || s.list[n].Sender != senderNo(2) {
			t.Errorf("stopped at %s: the next sender has number %d, with %d entries taken", at, n, s.taken.Load())
		}
		for i := range maxSenders { // those two, and as many more as there are
			s.number(senderNo(1+i), &spares[i%2])
		}
		if n := s.heard.Load(); n != maxSenders {
			t.Errorf("stopped at %s: %d senders heard, want %d: an entry is lost", at, n, maxSenders)
		}
	}
}
