// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteText writes the report for people: a line for each check, and below those that
// found something what it costs and the command that mends it.
func (r *Report) WriteText(w io.Writer) error {
	areas := map[string]string{}
	width := 0
	for _, c := range Checks {
		areas[c.Code] = c.Area
		width = max(width, len(c.Code))
	}
	var b strings.Builder
	area := ""
	for _, f := range r.Findings {
		if a := areas[f.Code]; a != area {
			area = a
			fmt.Fprintf(&b, "%s\n", a)
		}
		of := ""
		for _, part := range []string{f.Interface, f.Source} {
			if part != "" {
				of += printable(part) + ": "
			}
		}
		fmt.Fprintf(&b, "  %-7s %-*s %s%s\n", f.Status, width, f.Code, of, printable(f.Read))
		indent := strings.Repeat(" ", 2+7+1)
		if f.Cost != "" {
			fmt.Fprintf(&b, "%scost: %s\n", indent, printable(f.Cost))
		}
		if f.Fix != "" {
			fmt.Fprintf(&b, "%sfix:  %s\n", indent, printable(f.Fix))
		}
	}
	if r.Command != "" {
		fmt.Fprintf(&b, "To receive: %s\n", printable(r.Command))
	}
	fmt.Fprintln(&b, r.Counts)
	_, err := io.WriteString(w, b.String())
	return err
}

// printable replaces what could control a terminal: names of processes and programs are
// chosen by others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
