// SPDX-License-Identifier: Apache-2.0

package pyliteral

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	str := func(s string) Value { return Value{Kind: String, Text: s} }
	num := func(i int64) Value { return Value{Kind: Int, Int: i} }
	for in, want := range map[string]Value{
		`'<f4'`:                   str("<f4"),
		`  "a" `:                  str("a"),
		"'a'\n":                   str("a"),
		`'a' "b" r'\c'`:           str(`ab\c`),
		`'''a'b"c` + "\n" + `'''`: str("a'b\"c\n"),
		`u'\x41\u00e9\101\0'`:     str("Aé" + "A\x00"),
		`'\q\\\''`:                str(`\q\'`),
		`'\` + "\n" + `x'`:        str("x"),
		`'\U0001F600'`:            str("😀"),
		`b'\xff\u0041'`:           {Kind: Bytes, Text: "\xff\\u0041"},
		`Rb'\x'`:                  {Kind: Bytes, Text: `\x`},
		`0`:                       num(0),
		`00`:                      num(0),
		`- 12`:                    num(-12),
		`--+7`:                    num(7),
		`0x1f`:                    num(31),
		`0o17`:                    num(15),
		`0b101`:                   num(5),
		`1_000`:                   num(1000),
		`12L`:                     num(12),
		`-9223372036854775808`:    num(-9223372036854775808),
		`1.5`:                     {Kind: Float, Float: 1.5},
		`-.5e-1`:                  {Kind: Float, Float: -0.05},
		`True`:                    {Kind: Bool, Int: 1},
		`False`:                   {Kind: Bool},
		`None`:                    {},
		`()`:                      {Kind: Tuple},
		`(3)`:                     num(3),
		`(3,)`:                    {Kind: Tuple, Items: []Value{num(3)}},
		`(3, 4,)`:                 {Kind: Tuple, Items: []Value{num(3), num(4)}},
		`[('n', '<u2')]`:          {Kind: List, Items: []Value{{Kind: Tuple, Items: []Value{str("n"), str("<u2")}}}},
		`{'a': 1, "b": [],}`:      {Kind: Dict, Items: []Value{str("a"), num(1), str("b"), {Kind: List}}},
	} {
		got, err := Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, want %+v", in, got, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		``:                     "at byte 0: the end where a literal should begin",
		`x`:                    `"x" is no literal`,
		`__import__('os')`:     `"__import__" is no literal`,
		`1 2`:                  "'2' after the end",
		`(1 2)`:                "where a comma",
		`(,)`:                  "where a literal should begin",
		`[1, 2`:                "the end where a comma",
		`{1: 2`:                "the end where a comma",
		`{1, 2}`:               "the colon of a dict",
		`'a`:                   "has no end",
		"'a\nb'":               "a line ends inside a string",
		`f'a'`:                 `"f" is no prefix`,
		`u8'<f4'8`:             `"u8" is no literal`,
		`b1'x'1`:               `"b1" is no literal`,
		`'\xg0'`:               "no escape sequence",
		`'\x4`:                 "has no end",
		`'\ud800'`:             "no character 0xd800",
		`'\N{BULLET}'`:         "by its name",
		"b'é'":                 "which are ASCII",
		"'\xff'":               "not UTF-8",
		`'a' b'b'`:             "side by side",
		`99999999999999999999`: "does not fit into 64 bits",
		`007`:                  "no number",
		`0x`:                   "no number",
		`1.2.3`:                "no number",
		`1__0`:                 "no number",
		`-`:                    "where a number should be",
		`1+2j`:                 "after the end",
		`2j`:                   "no number",
		`True1`:                `"True1" is no literal`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100): "nested more than 64 deep",
	} {
		_, err := Parse(in)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", in, err, want)
		}
	}
}

// TestRepr compares with what Python's repr gives for the same literals.
func TestRepr(t *testing.T) {
	for in, want := range map[string]string{
		`[ ("n","<u2"),('x' , "<f4",(2,))]`:                      `[('n', '<u2'), ('x', '<f4', (2,))]`,
		`{'shape':(3L,),'fortran_order':False,'descr':'|i1', }`:  `{'shape': (3,), 'fortran_order': False, 'descr': '|i1'}`,
		`(None, True, 1.0, -2.5e-10, 1e30, b"\x00a\xff", ('a'))`: `(None, True, 1.0, -2.5e-10, 1e+30, b'\x00a\xff', 'a')`,
		`"it's\n"`: `'it\'s\n'`,
	} {
		v, err := Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := v.String(); got != want {
			t.Errorf("%s is written %s, want %s", in, got, want)
		}
	}
}

// FuzzParse looks for panics, and for literals that change when they are written
// and read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}`,
		`[('n', '<u2'), ('x', '<f4', (2, 3)), (('title', 'y'), [('a', 'S5')])]`,
		`(-1, 0x1f, 1e5, 12L, b'\xff', u'\u1234', '''a''', None, True)`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(v.String())
		if err != nil {
			t.Fatalf("%q is written %q, which cannot be read: %v", s, v.String(), err)
		}
		if !reflect.DeepEqual(v, again) {
			t.Fatalf("%q is %+v, and written and read again %+v", s, v, again)
		}
	})
}
