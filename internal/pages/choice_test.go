// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"math"
	"testing"
)

func TestParseChoice(t *testing.T) {
	for s, want := range map[string]Choice{
		"auto": Auto, "1G": Page1G, "1g": Page1G, "2M": Page2M, "2m": Page2M, "thp": THP, "THP": THP, "off": Off,
	} {
		got, err := ParseChoice(s)
		if err != nil || got != want {
			t.Errorf("ParseChoice(%q) = %v, %v; want %v", s, got, err, want)
		}
		if again, err := ParseChoice(got.String()); err != nil || again != got {
			t.Errorf("ParseChoice(%v.String()) = %v, %v", got, again, err)
		}
	}
	for _, s := range []string{"", "4K", "2MB", "huge"} {
		if _, err := ParseChoice(s); err == nil {
			t.Errorf("ParseChoice(%q) succeeded", s)
		}
	}
	if got := Choice(9).String(); got != "Choice(9)" {
		t.Errorf("Choice(9) prints as %q", got)
	}
	if got := Kind(9).String(); got != "Kind(9)" {
		t.Errorf("Kind(9) prints as %q", got)
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[int]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 20: "64 MiB",
		3 << 29: "1.5 GiB", 24 << 40: "24 TiB", math.MaxInt: "8 EiB",
	} {
		if got := Human(n); got != want {
			t.Errorf("Human(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for _, tt := range []struct{ n, unit, want int }{
		{1, 4096, 4096}, {4096, 4096, 4096}, {4097, 4096, 8192}, {math.MaxInt - 4095, 4096, math.MaxInt - 4095},
	} {
		if got, ok := roundUp(tt.n, tt.unit); !ok || got != tt.want {
			t.Errorf("roundUp(%d, %d) = %d, %v; want %d", tt.n, tt.unit, got, ok, tt.want)
		}
	}
	if got, ok := roundUp(math.MaxInt-4094, 4096); ok {
		t.Errorf("roundUp beyond the largest int = %d", got)
	}
}
