// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPool(t *testing.T) {
	sizes := []int{16 << 10, 1<<20 + 1}
	const rounds = 3
	var got []Result
	if err := Pool(t.Context(), PoolOptions{Sizes: sizes, Rounds: rounds, Round: time.Microsecond}, func(r Result) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	contestants := []string{"speadx", "make", "sync.Pool", "mmap"}
	i := 0
	for _, size := range sizes {
		for _, touch := range []string{TouchNone, TouchPage, TouchFill} {
			for _, contestant := range contestants {
				if i == len(got) {
					t.Fatalf("%d results", len(got))
				}
				r := got[i]
				i++
				if r.Bench != "pool" || r.Contestant != contestant || r.Conditions != (Conditions{Heap: int64(size), Touch: touch}) || r.Trials != rounds {
					t.Fatalf("result %d is %+v; want that of %s, %d bytes, %s", i, r, contestant, size, touch)
				}
				if !(0 < r.NsLow && r.NsLow <= r.NsPerOp && r.NsPerOp <= r.NsHigh) {
					t.Errorf("%s: %v ns [%v, %v]", contestant, r.NsPerOp, r.NsLow, r.NsHigh)
				}
				if filled := touch == TouchFill; filled != (r.Gbps > 0) || r.GbpsLow > r.Gbps || r.Gbps > r.GbpsHigh {
					t.Errorf("%s, touch %s: %v Gb/s [%v, %v]", contestant, touch, r.Gbps, r.GbpsLow, r.GbpsHigh)
				}
				switch reference := contestant == "make"; {
				case reference != (r.Ratio == nil):
					t.Errorf("%s has ratio %v", contestant, r.Ratio)
				case !reference && (r.Ratio.To != "make" || r.Ratio.Low <= 0 || r.Ratio.Low > r.Ratio.Value || r.Ratio.Value > r.Ratio.High):
					t.Errorf("%s has ratio %+v", contestant, *r.Ratio)
				}
				switch contestant {
				case "speadx":
					if r.Machine == nil || r.Machine.Pages == "" {
						t.Error("the pages of the pool are not told")
					}
				case "make":
					if *r.Allocs < leastTurn {
						t.Errorf("make: %d allocations in a turn of at least %d", *r.Allocs, leastTurn)
					}
				}
			}
		}
	}
	if i != len(got) {
		t.Errorf("%d results more than expected", len(got)-i)
	}
}

func TestPoolRefused(t *testing.T) {
	for _, tt := range []struct {
		o    PoolOptions
		want string
	}{
		{PoolOptions{Rounds: -1}, "-1 rounds of 20ms cannot be"},
		{PoolOptions{Round: -time.Second}, "15 rounds of -1s cannot be"},
		{PoolOptions{Sizes: []int{4096, 0}}, "a buffer of 0 bytes cannot be"},
		{PoolOptions{Sizes: []int{1 << 56}}, "buffers of 72057594037927936 bytes: pool: 2 slots"},
	} {
		err := Pool(t.Context(), tt.o, func(r Result) { t.Errorf("%+v: emits %+v", tt.o, r) })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v; want %q", tt.o, err, tt.want)
		}
	}
}

func TestPoolCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := Pool(ctx, PoolOptions{Sizes: []int{16 << 10}, Rounds: 1, Round: time.Microsecond}, func(Result) { n++; cancel() })
	if !errors.Is(err, context.Canceled) || n != 4 {
		t.Errorf("error %v after %d results", err, n)
	}
}

// TestPoolAllocatesNothing: a slot costs no memory on the Go heap.
func TestPoolAllocatesNothing(t *testing.T) {
	s, err := newSlots(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.pool.Close()
	source := make([]byte, fillSource)
	tr := turn{allocator: s, touch: func(b []byte) { fill(b, source) }}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := tr.run(10); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAllocators: each gives a buffer of the size asked for that can be written,
// also the second time.
func TestAllocators(t *testing.T) {
	const size = 3*pageBytes + 1
	s, err := newSlots(size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.pool.Close()
	for _, a := range []allocator{s, &made{size: size}, newPooled(size), &mapped{size: size}} {
		for range 2 {
			b, err := a.take()
			if err != nil || len(b) != size {
				t.Fatalf("%T: %d bytes, %v", a, len(b), err)
			}
			b[size-1] = 0
			touchPages(b)
			if b[0] != 1 || b[3*pageBytes] != 1 || b[pageBytes-1] == 1 && b[1] == 1 {
				t.Errorf("%T: touched wrong", a)
			}
			fill(b, []byte{2, 3})
			if !slices.Equal(b[size-3:], []byte{2, 3, 2}) {
				t.Errorf("%T: filled wrong: % x", a, b[size-3:])
			}
			if err := a.release(); err != nil {
				t.Errorf("%T: %v", a, err)
			}
		}
	}
}
