// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// TestSince: the time of a run goes by the monotonic clock, although the receiver
// gives the time of day.
func TestSince(t *testing.T) {
	began := time.Now()
	now := began.Add(time.Second)
	for _, tt := range []struct {
		received, want time.Duration // after began
	}{
		{300 * time.Millisecond, 300 * time.Millisecond},
		{-time.Millisecond, 0}, // a capture file's
		{2 * time.Second, 0},
	} {
		got := since(began.Add(tt.received).Round(0), began, now)
		if got.Sub(began) != tt.want {
			t.Errorf("received after %v: %v, want %v", tt.received, got.Sub(began), tt.want)
		}
		if got == got.Round(0) {
			t.Errorf("received after %v: no reading of the monotonic clock", tt.received)
		}
	}
}
