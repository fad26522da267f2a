// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// tiny is over at once.
var tiny = MemoryOptions{Packets: []int{1472, 8972}, Heaps: []int64{64<<10 + 8, 1 << 20}, Bytes: 4 << 20, Rounds: 2}

func TestMemory(t *testing.T) {
	var got []Result
	if err := Memory(t.Context(), tiny, func(r Result) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	var want []Conditions
	for _, heap := range tiny.Heaps {
		for _, packet := range tiny.Packets {
			c := Conditions{Packet: packet, Heap: heap, Threads: 1}
			want = append(want, c)
			if processors() > 1 {
				c.Threads = 2
				want = append(want, c)
				c.SameHeap = true
				want = append(want, c)
			}
		}
	}
	if len(got) != 2*len(want) {
		t.Fatalf("%d results, want two each of %v", len(got), want)
	}
	for i := range got {
		r, c, contestant := &got[i], want[i/2], []string{"speadx", "copy"}[i%2]
		if r.Bench != "memory" || r.Contestant != contestant || r.Conditions != c || r.Trials != tiny.Rounds || r.Note != "" {
			t.Fatalf("result %d is %+v; want that of %s, %v", i, r, contestant, c)
		}
		if !(0 < r.GbpsLow && r.GbpsLow <= r.Gbps && r.Gbps <= r.GbpsHigh) {
			t.Errorf("%v: %v Gb/s [%v, %v]", r, r.Gbps, r.GbpsLow, r.GbpsHigh)
		}
		// What a packet has of payload on average, which is less than its length.
		if payload := r.Gbps * 1e3 / 8 / r.Mpps; payload >= float64(c.Packet) || payload < 0.8*float64(c.Packet) {
			t.Errorf("%v: %v Gb/s in %v Mpps are packets of %.0f bytes", r, r.Gbps, r.Mpps, payload)
		}
		if (c.Threads > 1) != (r.Gain > 0) {
			t.Errorf("%v: gain %v", r, r.Gain)
		}
		if g := r.GainRatio; (c.Threads > 1 && r.Contestant == "speadx") != (g != nil) || g != nil && (g.To != "copy" || g.Low <= 0 || g.Low > g.Value || g.Value > g.High) {
			t.Errorf("%v: gain ratio %+v", r, g)
		}
		if contestant == "copy" {
			if r.Ratio != nil || r.Allocs != nil {
				t.Errorf("%v has ratio %v, allocations %v", r, r.Ratio, r.Allocs)
			}
			continue
		}
		if r.Ratio == nil || r.Ratio.To != "copy" || !(0 < r.Ratio.Low && r.Ratio.Low <= r.Ratio.Value && r.Ratio.Value <= r.Ratio.High) {
			t.Errorf("%v has ratio %+v", r, r.Ratio)
		}
		if r.Allocs == nil || c.Threads == 1 && *r.Allocs > 0 || r.Allocates() {
			t.Errorf("%v: allocations %v", r, r.Allocs)
		}
		if r.Machine == nil || r.Machine.Pages == "" {
			t.Errorf("%v: the pages of the pool are not told", r)
		}
	}
}

// TestMemorySource: the packets cover each heap, and each is dealt to one thread, whatever
// their number.
func TestMemorySource(t *testing.T) {
	// 5000 bytes in packets of 1472 are four packets, of which the last is short.
	s, err := newMemorySource(5000, 1472, 50000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.arena.Unmap()
	if s.heaps != 10 || s.packets() != 40 || s.payload() != 50000 || len(s.arena.Bytes) < s.heaps*s.heapLen {
		t.Fatalf("%d heaps of %d packets, %d bytes of payload", s.heaps, len(s.layout), s.payload())
	}
	covered := 0
	for _, l := range s.layout {
		if l.offset != covered || l.width > l.len || l.len > 1472 {
			t.Errorf("layout %+v after %d bytes", l, covered)
		}
		covered += l.width
	}
	if covered != 5000 {
		t.Errorf("%d bytes covered", covered)
	}
	for _, threads := range []int{1, 2, 3} {
		for _, same := range []bool{false, true} {
			seen := map[[2]int]int{} // packets, by heap and place
			for _, work := range s.split(threads, same) {
				for _, p := range work {
					for k := range p.n {
						seen[[2]int{p.heap, p.first + k}]++
					}
				}
			}
			if len(seen) != s.packets() {
				t.Errorf("%d threads, same heap %v: %d packets", threads, same, len(seen))
			}
			for at, n := range seen {
				if n != 1 {
					t.Errorf("%d threads, same heap %v: packet %v is dealt %d times", threads, same, at, n)
				}
			}
		}
	}
}

// TestMemoryMisplaced: payloads that end up in each other's places are seen, in all ways
// to deal out the packets, though every heap is complete.
func TestMemoryMisplaced(t *testing.T) {
	s, err := newMemorySource(5000, 1472, 50000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.arena.Unmap()
	payload := func(heap, packet int) []byte {
		l := s.layout[packet]
		return s.heapBytes(heap)[l.at+l.len-l.width : l.at+l.len]
	}
	swap := func(a, b []byte) {
		old := bytes.Clone(a)
		copy(a, b)
		copy(b, old)
	}
	try := func(what string, want string) {
		t.Helper()
		for threads := 1; threads <= 2; threads++ {
			for _, same := range []bool{false, true} {
				m, err := newMemoryRig(s, threads, same)
				if err == nil {
					err = m.close()
				}
				if got := fmt.Sprint(err); !strings.Contains(got, want) {
					t.Errorf("%s, %d threads, same heap %v: %s, want %s", what, threads, same, got, want)
				}
			}
		}
	}
	try("all in its place", "<nil>")
	swap(payload(3, 0), payload(3, 1))
	try("two packets of a heap", "of 10 heaps 10 came out, of all 1 incomplete or not as they were sent")
	swap(payload(3, 0), payload(3, 1))
	swap(payload(3, 2), payload(7, 2))
	try("packets of two heaps", "of 10 heaps 10 came out, of all 2 incomplete or not as they were sent")
	swap(payload(3, 2), payload(7, 2))
	try("all in its place again", "<nil>")
}

// TestMemoryGain: what a second thread gains is the median over rounds, each with one
// thread and two, and not the quotient of the medians.
func TestMemoryGain(t *testing.T) {
	s, err := newMemorySource(5000, 1472, 50000)
	if err != nil {
		t.Fatal(err)
	}
	defer s.arena.Unmap()
	rig := func(threads int, ours, plain []float64) *memoryRig {
		m, err := newMemoryRig(s, threads, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.close() })
		m.ours, m.plain = ours, plain
		return m
	}
	single := rig(1, []float64{10, 20, 40}, []float64{16, 64, 32})
	double := rig(2, []float64{30, 20, 80}, []float64{32, 64, 96})
	got := double.results(single) // gains 3, 1 and 2; of copy 2, 1 and 3
	if got[0].Gain != 2 || got[1].Gain != 2 {
		t.Errorf("gains %v and %v, want 2", got[0].Gain, got[1].Gain)
	}
	if r := got[0].GainRatio; r == nil || *r != (Ratio{"copy", 1, 2.0 / 3, 1.5}) {
		t.Errorf("gain ratio %+v", r)
	}
	if got := single.results(single); got[0].Gain != 0 || got[0].GainRatio != nil {
		t.Errorf("one thread gains %v, %+v", got[0].Gain, got[0].GainRatio)
	}
}

func TestMemoryRefused(t *testing.T) {
	for _, tt := range []struct {
		o    MemoryOptions
		want string
	}{
		{MemoryOptions{Packets: []int{55}}, "a packet of 55 bytes does not lie within 56 and the 65507"},
		{MemoryOptions{Packets: []int{1472, 65508}}, "a packet of 65508 bytes"},
		{MemoryOptions{Heaps: []int64{0}}, "a heap of 0 bytes does not lie within 1 and the 1073741824 bytes"},
		{MemoryOptions{Heaps: []int64{4097}, Bytes: 4096}, "a heap of 4097 bytes"},
		{MemoryOptions{Bytes: -1}, "a heap of 65536 bytes does not lie within 1 and the -1 bytes"},
		{MemoryOptions{Threads: []int{0}}, "0 threads cannot be measured on"},
		{MemoryOptions{Threads: []int{runtime.NumCPU() + 1}}, "threads cannot be measured on"},
		{MemoryOptions{Rounds: -1}, "-1 rounds are too few"},
		{MemoryOptions{Packets: []int{1472, 4096, 1472}}, "stands there twice"},
		{MemoryOptions{Threads: []int{1, 1}}, "stands there twice"},
	} {
		err := Memory(t.Context(), tt.o, func(r Result) { t.Errorf("%+v: emits %+v", tt.o, r) })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v; want %q", tt.o, err, tt.want)
		}
	}
}

func TestMemoryCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := tiny
	o.Threads = []int{1}
	n := 0
	err := Memory(ctx, o, func(Result) { n++; cancel() })
	if !errors.Is(err, context.Canceled) || n != 2 { // both of the condition that was measured
		t.Errorf("error %v after %d results", err, n)
	}
}

// TestAllocates: several threads may make the runtime allocate, and one may not.
func TestAllocates(t *testing.T) {
	for _, tt := range []struct {
		threads int
		allocs  uint64
		want    bool
	}{
		{0, 0, false}, {0, 1, true}, // bench pool
		{1, 0, false}, {1, 1, true},
		{2, 16, false}, {2, 17, true},
		{3, 24, false}, {3, 25, true},
	} {
		r := Result{Conditions: Conditions{Threads: tt.threads}, Allocs: &tt.allocs}
		if got := r.Allocates(); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if (&Result{}).Allocates() {
		t.Error("it allocates, and was not counted")
	}
}

// TestMemorySpead2: the rate that spead2_bench prints is of packets, and becomes one of
// payload; where there is none, a note says why.
func TestMemorySpead2(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name, script string
		note         string // "": there is a rate
	}{
		{"rate", "[ \"$*\" = 'mem --quiet --packet 1472 --heap-size 65536' ] && echo 80.5", ""},
		{"none", "echo no rate", `printed no rate: "no rate`},
		{"fails", "exit 3", "mem failed: exit status 3"},
	} {
		program := filepath.Join(dir, tt.name)
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		var got []Result
		o := MemoryOptions{Packets: []int{1472}, Heaps: []int64{64 << 10}, Threads: []int{1}, Bytes: 1 << 20, Rounds: 1, Spead2: program}
		if err := Memory(t.Context(), o, func(r Result) { got = append(got, r) }); err != nil || len(got) != 3 {
			t.Fatalf("%s: %d results, %v", tt.name, len(got), err)
		}
		r := &got[2]
		if r.Contestant != "spead2_bench" || r.Conditions != got[0].Conditions {
			t.Errorf("%s: result of %v", tt.name, r)
		}
		if tt.note != "" {
			if !strings.Contains(r.Note, tt.note) || r.Gbps != 0 || r.Ratio != nil || r.Trials != 0 {
				t.Errorf("%s: %+v", tt.name, r)
			}
			continue
		}
		if r.Gbps >= 80.5 || r.Gbps < 75 || r.Mpps == 0 || r.Ratio == nil || r.Ratio.To != "copy" || r.Note != "speadx is "+figure(got[0].Gbps/r.Gbps)+" x this" {
			t.Errorf("%s: %+v, ratio %+v", tt.name, r, r.Ratio)
		}
	}
}
