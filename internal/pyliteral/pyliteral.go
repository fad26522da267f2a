// SPDX-License-Identifier: Apache-2.0

// Package pyliteral reads and writes Python literals, the language in which
// numpy describes arrays: strings, bytes, integers, floats, True, False, None,
// and tuples, lists and dicts of them.
//
// It reads what Python's ast.literal_eval reads, but for sets, complex numbers,
// tuples without parentheses and named characters (\N{…}), and besides the suffix
// L of Python 2's long integers. Nothing is ever evaluated. The input is hostile:
// nesting is bounded, and memory is a small multiple of the input's length.
package pyliteral

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind says what a value is.
type Kind uint8

// The kinds.
const (
	None Kind = iota
	Bool
	Int
	Float
	String
	Bytes
	Tuple
	List
	Dict
)

var kindNames = [...]string{"None", "a bool", "an integer", "a float", "a string", "bytes", "a tuple", "a list", "a dict"}

// String is the kind with its article, for messages.
func (k Kind) String() string { return kindNames[k] }

// Value is one literal. Which fields mean something depends on Kind.
type Value struct {
	Kind  Kind
	Int   int64   // of an Int; of a Bool 0 or 1
	Float float64 // of a Float
	Text  string  // of a String, UTF-8, or of Bytes
	Items []Value // of a Tuple or List; of a Dict key, value, key, value, …
}

// SyntaxError says where a text stops being a literal.
type SyntaxError struct {
	Offset int // bytes before it
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

// maxDepth bounds how deep literals may be nested.
const maxDepth = 64

// Parse reads the one literal that is the whole of s, but for white space around
// it. The error is a *SyntaxError.
func Parse(s string) (Value, error) {
	p := parser{s: s}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.at < len(s) {
		return Value{}, p.fail("%s after the end of the literal", p.here())
	}
	return v, nil
}

type parser struct {
	s  string
	at int // of the next byte
}

func (p *parser) fail(format string, a ...any) error {
	return &SyntaxError{Offset: p.at, Reason: fmt.Sprintf(format, a...)}
}

// here names what stands at the cursor.
func (p *parser) here() string {
	if p.at == len(p.s) {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.at:])
	return strconv.QuoteRune(r)
}

// peek is the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

// space skips white space.
func (p *parser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n\f", p.s[p.at]) >= 0 {
		p.at++
	}
}

// take skips c if it comes next.
func (p *parser) take(c byte) bool {
	if p.peek() == c && p.at < len(p.s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) value(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, p.fail("nested more than %d deep", maxDepth)
	}
	p.space()
	switch c := p.peek(); {
	case c == '(':
		return p.sequence(Tuple, ')', depth)
	case c == '[':
		return p.sequence(List, ']', depth)
	case c == '{':
		return p.dict(depth)
	case c == '\'' || c == '"':
		return p.strings()
	case c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+':
		return p.number()
	case isLetter(c):
		return p.word()
	}
	return Value{}, p.fail("%s where a literal should begin", p.here())
}

// sequence reads a tuple or a list. What stands in parentheses without a comma
// is no tuple but itself.
func (p *parser) sequence(kind Kind, end byte, depth int) (Value, error) {
	p.at++
	v := Value{Kind: kind}
	for comma := true; ; {
		p.space()
		if p.take(end) {
			if kind == Tuple && len(v.Items) == 1 && !comma {
				return v.Items[0], nil
			}
			return v, nil
		}
		if !comma {
			return v, p.fail("%s where a comma or %q should be", p.here(), end)
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
		p.space()
		comma = p.take(',')
	}
}

func (p *parser) dict(depth int) (Value, error) {
	p.at++
	v := Value{Kind: Dict}
	for comma := true; ; {
		p.space()
		if p.take('}') {
			return v, nil
		}
		if !comma {
			return v, p.fail("%s where a comma or '}' should be", p.here())
		}
		key, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		p.space()
		if !p.take(':') {
			return v, p.fail("%s where the colon of a dict should be", p.here())
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, key, item)
		p.space()
		comma = p.take(',')
	}
}

// word reads True, False, None, or a string with a prefix.
func (p *parser) word() (Value, error) {
	n := p.at
	for n < len(p.s) && (isLetter(p.s[n]) || isDigit(p.s[n])) {
		n++
	}
	word := p.s[p.at:n]
	if n < len(p.s) && (p.s[n] == '\'' || p.s[n] == '"') && !strings.ContainsAny(word, "0123456789_") {
		return p.strings()
	}
	switch word {
	case "True", "False", "None":
		p.at = n
		v := Value{Kind: Bool}
		switch word {
		case "True":
			v.Int = 1
		case "None":
			v.Kind = None
		}
		return v, nil
	}
	return Value{}, p.fail("%q is no literal", word)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// number reads an integer or a float, with signs.
func (p *parser) number() (Value, error) {
	negative := false
	for p.peek() == '-' || p.peek() == '+' {
		negative = negative != (p.peek() == '-')
		p.at++
		p.space()
	}
	start, n := p.at, p.at
	for n < len(p.s) && (isLetter(p.s[n]) || isDigit(p.s[n]) || p.s[n] == '.' ||
		(p.s[n] == '-' || p.s[n] == '+') && n > start && (p.s[n-1]|0x20) == 'e' && !hasBase(p.s[start:n])) {
		n++
	}
	text := p.s[start:n]
	if text == "" || !isDigit(text[0]) && text[0] != '.' {
		return Value{}, p.fail("%s where a number should be", p.here())
	}
	if !hasBase(text) && strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(f, 0) || strings.ContainsAny(text, "xXpP") {
			return Value{}, p.fail("%q is no number", text)
		}
		if negative {
			f = -f
		}
		p.at = n
		return Value{Kind: Float, Float: f}, nil
	}
	digits := strings.TrimRight(text, "lL")
	if len(text)-len(digits) > 1 || oldOctal(digits) {
		return Value{}, p.fail("%q is no number", text)
	}
	if negative {
		digits = "-" + digits
	}
	i, err := strconv.ParseInt(digits, 0, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return Value{}, p.fail("integer %s does not fit into 64 bits", text)
		}
		return Value{}, p.fail("%q is no number", text)
	}
	p.at = n
	return Value{Kind: Int, Int: i}, nil
}

// hasBase reports whether digits begin with 0x, 0o or 0b.
func hasBase(s string) bool { return len(s) > 1 && s[0] == '0' && isLetter(s[1]) && (s[1]|0x20) != 'e' }

// oldOctal reports whether digits are an octal number as C and Go still write it
// and Python 3 does not: 007.
func oldOctal(s string) bool {
	return len(s) > 1 && s[0] == '0' && !hasBase(s) && strings.Trim(s, "0_") != ""
}

// strings reads a string, or several that follow each other and are one.
func (p *parser) strings() (Value, error) {
	v := Value{Kind: String}
	var whole strings.Builder
	for first := true; ; first = false {
		kind, text, err := p.oneString()
		if err != nil {
			return v, err
		}
		if first {
			v.Kind = kind
		} else if kind != v.Kind {
			return v, p.fail("a string and bytes side by side")
		}
		whole.WriteString(text)
		// Another one follows if there are a quote, or letters and a quote.
		end := p.at
		p.space()
		n := p.at
		for n < len(p.s) && isLetter(p.s[n]) {
			n++
		}
		if n == len(p.s) || p.s[n] != '\'' && p.s[n] != '"' {
			p.at = end
			v.Text = whole.String()
			return v, nil
		}
	}
}

func (p *parser) oneString() (kind Kind, text string, err error) {
	start := p.at
	for isLetter(p.peek()) {
		p.at++
	}
	kind = String
	raw := false
	switch prefix := strings.ToLower(p.s[start:p.at]); prefix {
	case "", "u":
	case "r":
		raw = true
	case "b":
		kind = Bytes
	case "br", "rb":
		kind, raw = Bytes, true
	default:
		p.at = start
		return kind, "", p.fail("%q is no prefix of a literal string", prefix)
	}
	quote := p.s[p.at : p.at+1]
	if strings.HasPrefix(p.s[p.at:], strings.Repeat(quote, 3)) {
		quote = p.s[p.at : p.at+3]
	}
	p.at += len(quote)
	var b strings.Builder
	for {
		switch c := p.peek(); {
		case p.at == len(p.s):
			return kind, "", p.fail("the string that begins at byte %d has no end", start)
		case strings.HasPrefix(p.s[p.at:], quote):
			p.at += len(quote)
			if kind == String && !utf8.ValidString(b.String()) {
				return kind, "", p.fail("the string that begins at byte %d is not UTF-8", start)
			}
			return kind, b.String(), nil
		case c == '\n' && len(quote) == 1:
			return kind, "", p.fail("a line ends inside a string")
		case c == '\\' && p.at+1 < len(p.s) && !raw:
			if err := p.escape(&b, kind); err != nil {
				return kind, "", err
			}
		case c == '\\' && p.at+1 < len(p.s): // in a raw string it stays, with what it escapes
			b.WriteString(p.s[p.at : p.at+2])
			p.at += 2
		case kind == Bytes && c >= utf8.RuneSelf:
			return kind, "", p.fail("%s in bytes, which are ASCII", p.here())
		default:
			b.WriteByte(c)
			p.at++
		}
	}
}

// simpleEscapes are those of one letter, and what they stand for.
const (
	simpleEscapes = `\'"abfnrtv`
	simpleValues  = "\\'\"\a\b\f\n\r\t\v"
)

// escape reads one escape sequence. As in Python, one that does not exist stands
// for itself.
func (p *parser) escape(b *strings.Builder, kind Kind) error {
	c := p.s[p.at+1]
	if i := strings.IndexByte(simpleEscapes, c); i >= 0 {
		b.WriteByte(simpleValues[i])
		p.at += 2
		return nil
	}
	digits, base := 0, 16
	switch {
	case c == '\n':
		p.at += 2
		return nil
	case c >= '0' && c <= '7':
		n := p.at + 1
		for n < len(p.s) && n < p.at+4 && p.s[n] >= '0' && p.s[n] <= '7' {
			n++
		}
		digits, base = n-p.at-1, 8
		p.at-- // there is no letter before the digits
	case c == 'x':
		digits = 2
	case c == 'u' && kind == String:
		digits = 4
	case c == 'U' && kind == String:
		digits = 8
	case c == 'N' && kind == String:
		return p.fail("a character by its name is not supported")
	default:
		b.WriteString(p.s[p.at : p.at+2])
		p.at += 2
		return nil
	}
	from := p.at + 2
	if from+digits > len(p.s) {
		return p.fail("an escape sequence has no end")
	}
	v, err := strconv.ParseUint(p.s[from:from+digits], base, 32)
	if err != nil {
		return p.fail("%q is no escape sequence", p.s[p.at:from+digits])
	}
	p.at = from + digits
	switch {
	case kind == Bytes:
		b.WriteByte(byte(v))
	case v > utf8.MaxRune || !utf8.ValidRune(rune(v)):
		return p.fail("there is no character %#x", v)
	default:
		b.WriteRune(rune(v))
	}
	return nil
}
