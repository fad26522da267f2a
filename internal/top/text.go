// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// clean makes text from elsewhere fit for a terminal: what is not printable is escaped, as in
// a Go string.
func clean(s string) string {
	ok := func(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if ok(r) {
			b.WriteString(s[i : i+n])
		} else {
			q := strconv.Quote(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// columns is how many columns of a terminal a rune takes.
func columns(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func textWidth(s string) (n int) {
	for _, r := range s {
		n += columns(r)
	}
	return n
}

// cut shortens text to a number of columns, with … at its end.
func cut(s string, most int) string {
	if textWidth(s) <= most {
		return s
	}
	if most < 1 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += columns(r); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// wrap breaks text at spaces into lines of so many columns. 0: one line.
func wrap(s string, most int) []string {
	if most <= 0 {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && textWidth(line)+1+textWidth(word) > most {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// short has three digits and a unit: 1.23 M.
func short(v float64) string {
	for _, u := range []struct {
		unit string
		size float64
	}{{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if math.Abs(v) >= 0.9995*u.size {
			return digits(v/u.size) + " " + u.unit
		}
	}
	return digits(v)
}

// digits has at most three of them behind and before the point that say something.
func digits(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a < 0.001:
		return "<0.001"
	case a >= 99.95 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// percent is a share in percent.
func percent(part, all uint64) string {
	if all == 0 {
		return "0 %"
	}
	return digits(100*float64(part)/float64(all)) + " %"
}

// span is a time span in one unit.
func span(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", max(0, seconds))
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 172800:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
	return fmt.Sprintf("%.1f d", seconds/86400)
}

// clock is a time of day, UTC.
func clock(t float64) string {
	return time.UnixMicro(int64(t * 1e6)).UTC().Format("15:04:05")
}

// grouped is a number with a comma every three digits.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}
