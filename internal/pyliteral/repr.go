// SPDX-License-Identifier: Apache-2.0

package pyliteral

import (
	"math"
	"strconv"
	"strings"
)

// String is the literal as Python's repr writes it, but that strings are always
// in single quotes.
func (v Value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v Value) write(b *strings.Builder) {
	switch v.Kind {
	case None:
		b.WriteString("None")
	case Bool:
		if v.Int != 0 {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case Int:
		b.WriteString(strconv.FormatInt(v.Int, 10))
	case Float:
		b.WriteString(reprFloat(v.Float))
	case Bytes:
		b.WriteByte('b')
		quote(b, v.Text, true)
	case String:
		quote(b, v.Text, false)
	case Tuple:
		v.list(b, '(', ')')
	case List:
		v.list(b, '[', ']')
	case Dict:
		b.WriteByte('{')
		for i := 0; i+1 < len(v.Items); i += 2 {
			if i > 0 {
				b.WriteString(", ")
			}
			v.Items[i].write(b)
			b.WriteString(": ")
			v.Items[i+1].write(b)
		}
		b.WriteByte('}')
	}
}

func (v Value) list(b *strings.Builder, open, end byte) {
	b.WriteByte(open)
	for i := range v.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		v.Items[i].write(b)
	}
	if v.Kind == Tuple && len(v.Items) == 1 {
		b.WriteByte(',')
	}
	b.WriteByte(end)
}

// reprFloat writes infinity as the literal that is read as it.
func reprFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "1e309"
	case math.IsInf(f, -1):
		return "-1e309"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// quote writes s in single quotes, byte by byte or character by character.
func quote(b *strings.Builder, s string, bytes bool) {
	b.WriteByte('\'')
	hex := func(c byte) {
		const digits = "0123456789abcdef"
		b.WriteString(`\x`)
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f || bytes && c >= 0x80:
			hex(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
}
