// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/pages"
)

func TestSize(t *testing.T) {
	tests := []struct {
		name         string
		shares       []ShareConfig
		bytes, slots int
	}{
		{"64 MiB heaps as spead2 sends them", []ShareConfig{{Live: 4, Ring: 4, Held: 2, Threads: 2, Largest: 64 << 20}}, 12 * (64<<20 + 8192), 12},
		{"with small slots", []ShareConfig{{Live: 4, Ring: 4, Held: 2, Threads: 2, Largest: 4 << 20, SmallBelow: 16 << 10}}, 12 * (4<<20 + 8192 + 24<<10), 24},
		{"rounded up", []ShareConfig{{Live: 1, Largest: 1}}, 12288, 1},
		{"empty heaps only", []ShareConfig{{Live: 1}}, 8192, 1},
		{"small slots as large as the large ones", []ShareConfig{{Live: 3, Largest: 8192, SmallBelow: 16384}}, 3 * 16384, 3},
		{"small slots that round up to the large ones", []ShareConfig{{Live: 3, Largest: 8192, SmallBelow: 8000}}, 3 * 16384, 3},
		{"two streams", []ShareConfig{{Live: 1, Threads: 1, Largest: 4096}, {Live: 2, Largest: 8192, SmallBelow: 4096}}, 2*12288 + 2*(16384+12288), 6},
		{"with tables", []ShareConfig{{Live: 1, Largest: 1, Tables: 65}, {Live: 1, Largest: 1, Tables: 64}}, 2*12288 + 128 + 64, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bytes, slots, err := Size(Config{Shares: tt.shares})
			if err != nil || bytes != tt.bytes || slots != tt.slots {
				t.Errorf("Size = %d, %d, %v; want %d, %d", bytes, slots, err, tt.bytes, tt.slots)
			}
		})
	}
}

func TestSizeRefused(t *testing.T) {
	// With its slack less than half of what an int holds.
	half := ShareConfig{Name: "half", Live: 1, Largest: math.MaxInt/2 - 20000}
	tests := []struct {
		name   string
		shares []ShareConfig
		want   string
	}{
		{"none", nil, "no shares"},
		{"no live heap", []ShareConfig{{Name: "a", Largest: 1}}, "share 0 (a): 0 live heaps: the least is 1"},
		{"negative ring", []ShareConfig{{Live: 1, Ring: -1}}, "-1 heaps in the ring: the least is 0"},
		{"negative slack", []ShareConfig{{Live: 1, Held: -2}}, "-2 heaps held"},
		{"negative threads", []ShareConfig{{Live: 1, Threads: -1}}, "-1 threads"},
		{"negative heap", []ShareConfig{{Live: 1, Largest: -1}}, "-1 bytes as the largest heap"},
		{"negative bound", []ShareConfig{{Live: 1, SmallBelow: -1}}, "-1 bytes as the bound of small heaps"},
		{"negative tables", []ShareConfig{{Live: 1, Tables: -1}}, "-1 bytes of tables: the least is 0"},
		{"tables overflow", []ShareConfig{{Live: 1, Tables: math.MaxInt - 10}}, "bytes of tables exceed the address space"},
		{"slots overflow an int", []ShareConfig{{Live: math.MaxInt, Ring: math.MaxInt}}, "slots are more than 2097151"},
		{"slots overflow the counts", []ShareConfig{{Live: 1 << 20, Ring: 1 << 20, Largest: 1}}, "slots are more than 2097151"},
		{"both classes overflow the counts", []ShareConfig{{Live: 1 << 20, Largest: 1 << 20, SmallBelow: 1}}, "1048576 large slots and as many small ones are more than 2097151"},
		{"slot overflows", []ShareConfig{{Live: 1, Largest: math.MaxInt}}, "a largest heap of 9223372036854775807 bytes exceeds the address space"},
		{"both slots overflow", []ShareConfig{{Live: 1, Largest: math.MaxInt - 20000, SmallBelow: math.MaxInt - 40000}}, "exceed the address space"},
		{"product overflows", []ShareConfig{{Live: 3, Largest: math.MaxInt / 2}}, "3 slots of"},
		{"sum overflows", []ShareConfig{half, half, half}, "share 2 (half): the sum of all shares exceeds the address space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bytes, slots, err := Size(Config{Shares: tt.shares})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Size = %d, %d, %v; want an error with %q", bytes, slots, err, tt.want)
			}
			if p, err := New(Config{Shares: tt.shares, Node: -1}); err == nil {
				t.Errorf("New made a pool of %d bytes", len(p.mapping.Bytes))
			}
		})
	}
}

// TestMoreThanTheMachine asks for an exbibyte.
func TestMoreThanTheMachine(t *testing.T) {
	for _, pages := range []Pages{PagesAuto, PagesTHP, PagesOff} {
		_, err := New(Config{Shares: []ShareConfig{{Live: 16, Largest: 1 << 56}}, Pages: pages, Node: -1})
		if err == nil {
			t.Fatalf("%v: the machine has an exbibyte", pages)
		}
		for _, want := range []string{"pool: 16 slots", "for the pool", "needed", "available", remedy} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: error %q does not say %q", pages, err, want)
			}
		}
	}
}

func TestHugePagesMissing(t *testing.T) {
	_, err := New(Config{Shares: []ShareConfig{{Live: 16, Largest: 1 << 50}}, Pages: Pages2M, Node: -1})
	if err == nil || errors.Is(err, pages.ErrMemory) || !strings.Contains(err.Error(), "2M pages") {
		t.Errorf("error %v does not say that 2M pages are missing", err)
	}
}
