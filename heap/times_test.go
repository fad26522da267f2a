// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"testing"
	"time"

	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/pool"
)

// Each heap that is taken has its times, by the clock of Feed.
func TestTimes(t *testing.T) {
	var clock int64
	r := newRig(t, pool.ShareConfig{}, Config{Incomplete: true, Clock: func() int64 { return clock }})
	ms := int64(time.Millisecond)
	r.now = 100 * ms
	r.feed(0, raw(f48, 1, 128, 0, make([]byte, 64)))
	r.now = 108 * ms
	r.feed(0, raw(f48, 1, 128, 64, make([]byte, 64)))
	r.feed(0, raw(f48, 2, 64, 0, make([]byte, 64))) // a heap of one packet
	if n := r.Times(); n.Assembly.Count != 0 || n.Waiting.Count != 0 {
		t.Errorf("%d heaps have times, and none was taken", n.Assembly.Count)
	}
	for _, at := range []int64{110 * ms, 1108 * ms} {
		clock = at
		r.heap().Release()
	}
	n := r.Times()
	for _, v := range []struct {
		what string
		t    histogram.Snapshot
		want [2]time.Duration
	}{
		{"assembly", n.Assembly, [2]time.Duration{8 * time.Millisecond, 0}},
		{"waiting", n.Waiting, [2]time.Duration{2 * time.Millisecond, time.Second}},
	} {
		var h histogram.Histogram
		for _, d := range v.want {
			h.Observe(d)
		}
		if want := h.Snapshot(); v.t != want {
			t.Errorf("%s: %v in all, of %d heaps, want %v", v.what, v.t.Sum, v.t.Count, want.Sum)
		}
	}
}

// The times of several captures cannot be compared, and those of one are its own.
func TestTimesOfCaptures(t *testing.T) {
	clock := int64(5e9)
	for threads, assembly := range map[int]uint64{1: 1, 2: 0} {
		r := newRig(t, pool.ShareConfig{Threads: threads}, Config{Recorded: true, Clock: func() int64 { return clock }})
		r.now = 1
		r.feed(0, raw(f48, 1, 64, 0, make([]byte, 64)))
		clock += int64(time.Second)
		r.heap().Release()
		if n := r.Times(); n.Assembly.Count != assembly || n.Waiting.Count != 1 || n.Waiting.Sum != time.Second {
			t.Errorf("%d threads: %d times of assembly, waited %v", threads, n.Assembly.Count, n.Waiting.Sum)
		}
	}
}
