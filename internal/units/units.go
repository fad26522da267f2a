// SPDX-License-Identifier: Apache-2.0

// Package units reads and writes quantities on the command line.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. It is a pflag.Value, so that a flag takes
// everything that [ParseSize] does.
type Size int64

var suffixes = []struct {
	text  string
	bytes int64
}{
	// Longer ones first: each is tried at the end of the text.
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// ParseSize reads a number of bytes: a whole number alone or with B, with Ki,
// Mi, Gi or Ti (powers of 1024, with or without a B: 64Mi and 64MiB), or with
// kB, MB, GB or TB (powers of 1000). A bare K, M, G or T is refused: to some
// it is the one, to some the other.
func ParseSize(text string) (Size, error) {
	number, unit := strings.TrimSpace(text), int64(1)
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(number, s.text); ok {
			number, unit = strings.TrimSpace(rest), s.bytes
			break
		}
	}
	if n := len(number); n > 1 && strings.ContainsRune("kKMGT", rune(number[n-1])) && allDigits(number[:n-1]) {
		letter := strings.ToUpper(number[n-1:])
		decimal := strings.Replace(letter, "K", "k", 1)
		return 0, fmt.Errorf("size %q is ambiguous (%s%si is a power of 1024, %s%sB of 1000)",
			text, number[:n-1], letter, number[:n-1], decimal)
	}
	if !allDigits(number) {
		return 0, fmt.Errorf("size %q is not a whole number of bytes, such as 67108864, 64Mi or 64MiB", text)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("size %q does not fit into 63 bits", text)
	}
	return Size(n * unit), nil
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// String writes s in the largest binary unit that makes it a whole number,
// such as "4MiB" or "1000".
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := suffixes[i]; s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.text
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Type implements pflag.Value: it is the word in the usage text.
func (s *Size) Type() string { return "size" }
