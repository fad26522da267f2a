// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/pool"
)

// TestAbsurdSettings: a value of a setting that cannot be is an error that names it,
// and one that can be is none. Nothing panics, also where several of them are
// multiplied. There is a case for every field of Config.
func TestAbsurdSettings(t *testing.T) {
	type tc struct {
		field  string
		change func(*Config)
		want   string // in the error; "": there is none
	}
	var tests []tc
	add := func(field, want string, change func(*Config)) { tests = append(tests, tc{field, change, want}) }
	for _, f := range []struct {
		field       string
		least, most int
		set         func(*Config, int)
	}{
		{"HeapSize", 1, 1 << 47, func(c *Config, n int) { c.HeapSize = int64(n) }},
		{"ConcurrentHeaps", 1, 1 << 20, func(c *Config, n int) { c.ConcurrentHeaps = n }},
		{"Substreams", 1, 1 << 20, func(c *Config, n int) { c.Substreams = n }},
		{"RingHeaps", 1, 1 << 20, func(c *Config, n int) { c.RingHeaps = n }},
		{"ConsumerHeaps", 1, 1 << 20, func(c *Config, n int) { c.ConsumerHeaps = n }},
		{"Stops", 1, 1 << 20, func(c *Config, n int) { c.Stops = n }},
		{"SpareStreams", 1, 1024, func(c *Config, n int) { c.SpareStreams = n }},
		{"MaxItems", 1, 1 << 20, func(c *Config, n int) { c.MaxItems = n }},
		{"MaxRanges", 2, 1 << 20, func(c *Config, n int) { c.MaxRanges = n }},
		{"ExpectStep", 1, 1 << 55, func(c *Config, n int) { c.ExpectStep = int64(n) }},
		{"SocketBuffer", 1, math.MaxInt32, func(c *Config, n int) { c.SocketBuffer = n }},
	} {
		for _, n := range []int{math.MinInt, -1, f.least - 1, f.most + 1, math.MaxInt} {
			want := fmt.Sprintf("Config.%s: %d is too small (the least is %d)", f.field, n, f.least)
			switch {
			case n == 0:
				want = "" // the default
			case n > 0 && n >= f.least:
				want = fmt.Sprintf("Config.%s: %d is too large (the most is %d)", f.field, n, f.most)
			}
			add(f.field, want, func(c *Config) { f.set(c, n) })
		}
	}
	for _, n := range []int{math.MinInt, -4, -1, 1, 3, 1 << 25, math.MaxInt} {
		add("Frames", fmt.Sprintf("Config.Frames: %d is not a power of two from 2 to 16777216", n), func(c *Config) { c.Frames = n })
	}
	add("Mode", "Config.Mode: 9 is too large (the most is 4)", func(c *Config) { c.Mode = 9 })
	add("Wait", "Config.Wait: 9 is too large (the most is 2)", func(c *Config) { c.Wait = 9 })
	add("Repeats", "Config.Repeats: 9 is too large (the most is 1)", func(c *Config) { c.Repeats = 9 })
	add("OnFull", "Config.OnFull: 9 is too large (the most is 2)", func(c *Config) { c.OnFull = 9 })
	add("Hugepages", "Config.Hugepages: 9 is too large (the most is 4)", func(c *Config) { c.Hugepages = 9 })
	add("ExpectItem", "Config.ExpectItem: 5632 needs ExpectStep", func(c *Config) { c.ExpectItem = 5632 })
	add("ExpectItem", "", func(c *Config) { c.ExpectItem, c.ExpectStep = math.MaxUint64, 1 })
	add("Queues", "", func(c *Config) { c.Queues = []int{} })
	add("Queues", "Config.Queues: -1 is too small (the least is 0)", func(c *Config) { c.Queues = []int{0, -1} })
	add("Queues", "interface eth2 has no queue 70000", func(c *Config) { c.Queues, c.Interfaces = []int{70000}, []string{"eth2"} })
	add("CPUs", "", func(c *Config) { c.CPUs = []int{} })
	add("CPUs", "Config.CPUs: -1 is too small (the least is 0)", func(c *Config) { c.CPUs = []int{-1} })
	add("CPUs", "processor 70000 is not one", func(c *Config) { c.CPUs = []int{70000} })
	for _, n := range []int{math.MinInt, -1, math.MaxInt} {
		add("PoolMin", "", func(c *Config) { c.PoolMin = n })
	}
	for _, d := range []time.Duration{math.MinInt64, -1, math.MaxInt64} {
		add("MaxAge", "", func(c *Config) { c.MaxAge = d })
		add("CarrierWait", "", func(c *Config) { c.CarrierWait = d })
	}
	add("Filter", "", func(c *Config) { c.Filter = "dst host 239.1.2.3 and vlan 7" })
	add("Filter", `Config.Filter: "host x" is wrong from byte 5 on: `, func(c *Config) { c.Filter = "host x" })
	add("Streams", "Config.Streams: [] is empty: there is no stream to receive", func(c *Config) { c.Streams = []Stream{} })
	add("Streams", "source is empty", func(c *Config) { c.Streams = []Stream{{}} })
	add("Interfaces", "", func(c *Config) { c.Interfaces = []string{} })
	add("Interfaces", "no interface ", func(c *Config) { c.Interfaces = []string{""} })
	add("Logger", "", func(c *Config) { c.Logger = nil })
	add("Progress", "", func(c *Config) { c.Progress = nil })
	for _, f := range []string{"NoGRO", "IgnoreStop", "BySender", "Incomplete", "RefuseUnsized", "GuardReleased", "AllVLANs"} {
		add(f, "", func(c *Config) { reflect.ValueOf(c).Elem().FieldByName(f).SetBool(true) })
	}
	// Each is allowed. Together they are not, and their product is none of an int.
	add("", "1048576 concurrent heaps × 16 substreams", func(c *Config) { c.ConcurrentHeaps, c.Substreams = 1<<20, 16 })
	add("", "4 concurrent heaps × 1048576 substreams", func(c *Config) { c.HeapSize, c.Substreams = 1<<44, 1<<20 })
	add("", "4 concurrent heaps × 1048576 substreams", func(c *Config) { c.HeapSize, c.Substreams = 1<<47, 1<<20 })
	add("", "1048576 concurrent heaps × 1048576 substreams + 1048576 ring heaps + 1048576 consumer heaps", func(c *Config) {
		c.HeapSize, c.ConcurrentHeaps, c.Substreams, c.RingHeaps, c.ConsumerHeaps, c.MaxItems = 1<<47, 1<<20, 1<<20, 1<<20, 1<<20, 1<<20
	})
	add("", "not enough memory", func(c *Config) { c.HeapSize = 1 << 44 })
	add("", "not enough memory", func(c *Config) { c.HeapSize, c.Frames = 1<<47, 1<<24 })
	add("", "address space", func(c *Config) {
		c.HeapSize, c.ConcurrentHeaps, c.PoolMin, c.Streams = 1<<47, 65_000, -1, append(c.Streams, Stream{Source: "10.0.0.1:2"})
	})
	add("", "places for item pointers, 1048576 for each heap", func(c *Config) { c.HeapSize, c.MaxItems, c.ConsumerHeaps = 1, 1<<20, 10_000 })
	add("", "places for ranges, 1048576 for each heap", func(c *Config) { c.HeapSize, c.MaxRanges, c.ConsumerHeaps = 1, 1<<20, 10_000 })

	seen := map[string]bool{}
	for _, tt := range tests {
		seen[tt.field] = true
		c := Config{
			Streams: []Stream{{Source: "10.0.0.1:1"}}, Interfaces: []string{"eth0"},
			Frames: 64, HeapSize: 4096, Hugepages: pool.PagesOff,
		}
		tt.change(&c)
		err := openMemory(c)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.field, err, tt.want)
		}
		var setting *SettingError
		if strings.HasPrefix(tt.want, "Config.") && (!errors.As(err, &setting) || setting.Setting != tt.field) {
			t.Errorf("%s: the error %v is of %+v", tt.field, err, setting)
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if !seen[f.Name] {
			t.Errorf("no case for %s", f.Name)
		}
	}
}

// openMemory does what Open does before it touches a device.
func openMemory(c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	p, err := makePlan(&c, fake)
	if err != nil {
		return err
	}
	r := newReceiver(context.Background(), c, p)
	defer r.giveBack()
	if err := r.checkCPUs(); err != nil {
		return err
	}
	return r.openMemory()
}

// TestUnknownMode: a mode without a name has a text, and is no index of a table.
func TestUnknownMode(t *testing.T) {
	if got := Mode(9).String(); got != "mode 9" {
		t.Error(got)
	}
}

// TestValidateFindsAll: all faults come at once, each with its field, value and range.
func TestValidateFindsAll(t *testing.T) {
	c := Config{Mode: 9, Frames: 100, HeapSize: -1, Queues: []int{0, -1, -2}, ExpectItem: 7, Filter: "host x"}
	type fault struct{ setting, value, allowed string }
	want := []fault{
		{"Streams", "[]", "1 or more"},
		{"HeapSize", "-1", "1 to 140737488355328"},
		{"Mode", "9", "0 to 4"},
		{"Queues", "-1", "0 to 2147483647"},
		{"Queues", "-2", "0 to 2147483647"},
		{"ExpectItem", "7", "0 without ExpectStep"},
		{"Filter", `"host x"`, "an expression as tcpdump has them"},
		{"Frames", "100", "a power of two from 2 to 16777216"},
	}
	for name, err := range map[string]error{"Validate": c.Validate(), "Open": openMemory(c)} {
		var got []fault
		several, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatalf("%s: %v", name, err)
		}
		for _, err := range several.Unwrap() {
			var e *SettingError
			if !errors.As(err, &e) {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, fault{e.Setting, fmt.Sprint(e.Value), e.Range})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	c = Config{Streams: []Stream{{Source: ":7148"}}}
	if err := c.Validate(); err != nil {
		t.Errorf("of the defaults: %v", err)
	}
}
