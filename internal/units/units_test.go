// SPDX-License-Identifier: Apache-2.0

package units_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/units"
)

var _ pflag.Value = (*units.Size)(nil)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want units.Size
	}{
		{"0", 0}, {"1472", 1472}, {"1472B", 1472}, {" 7 ", 7},
		{"16Ki", 16 << 10}, {"16KiB", 16 << 10},
		{"64MiB", 64 << 20}, {"64Mi", 64 << 20}, {"67108864", 64 << 20}, {"64 MiB", 64 << 20},
		{"2Gi", 2 << 30}, {"1TiB", 1 << 40},
		{"5kB", 5000}, {"64MB", 64e6}, {"3GB", 3e9}, {"1TB", 1e12},
		{"9223372036854775807", 1<<63 - 1}, {"8388607Ti", 8388607 << 40},
	} {
		if got, err := units.ParseSize(tt.in); err != nil || got != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tt.in, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ in, want string }{
		{"64M", "64Mi is a power of 1024, 64MB of 1000"},
		{"1k", "1Ki is a power of 1024, 1kB of 1000"},
		{"1K", "1Ki is"},
		{"", "not a whole number"},
		{"MiB", "not a whole number"},
		{"-1", "not a whole number"},
		{"+1", "not a whole number"},
		{"1.5Gi", "not a whole number"},
		{"0x10", "not a whole number"},
		{"12Xi", "not a whole number"},
		{"9223372036854775808", "does not fit"},
		{"8388608Ti", "does not fit"},
	} {
		if got, err := units.ParseSize(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseSize(%q) = %d, %v; want an error about %q", tt.in, got, err, tt.want)
		}
	}
}

func TestSizeFlag(t *testing.T) {
	size := units.Size(4 << 20)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Var(&size, "heap-size", "largest heap")
	if usage := flags.FlagUsages(); !strings.Contains(usage, "--heap-size size") || !strings.Contains(usage, "(default 4MiB)") {
		t.Errorf("usage is %q", usage)
	}
	if err := flags.Parse([]string{"--heap-size", "1000Ki"}); err != nil || size != 1000<<10 {
		t.Errorf("size %d, %v", size, err)
	}
	if err := flags.Parse([]string{"--heap-size=lots"}); err == nil || size != 1000<<10 {
		t.Errorf("size %d, error %v", size, err)
	}
	for s, want := range map[units.Size]string{0: "0", 1000: "1000", 1 << 30: "1GiB", 1536: "1536", 3 << 10: "3KiB", 5 << 40: "5TiB"} {
		if got := s.String(); got != want {
			t.Errorf("%d is written %q, want %q", int64(s), got, want)
		}
		if got, err := units.ParseSize(s.String()); err != nil || got != s {
			t.Errorf("%d is written %q, read back as %d, %v", int64(s), s, got, err)
		}
	}
}
