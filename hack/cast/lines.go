// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
)

// chunk is what one read of the terminal returned.
type chunk struct {
	at   time.Duration // since the command began
	text []byte
}

// line is a row of the terminal, and when its end was printed.
type line struct {
	at   time.Duration
	text string
}

// longestPause bounds the time between two lines of the picture.
const longestPause = 700 * time.Millisecond

// split puts what was read together into rows. A line longer than the terminal takes
// several.
func split(chunks []chunk, columns int) ([]line, error) {
	var lines []line
	var rest []byte
	for _, c := range chunks {
		rest = append(rest, c.text...)
		for {
			text, after, found := bytes.Cut(rest, []byte("\n"))
			if !found {
				break
			}
			rest = after
			rows, err := wrap(bytes.TrimSuffix(text, []byte("\r")), columns)
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				lines = append(lines, line{c.at, r})
			}
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("the last line, %q, has no end", rest)
	}
	return lines, nil
}

// wrap cuts a line into rows of at most columns characters.
func wrap(text []byte, columns int) ([]string, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("the line %q is not UTF-8", text)
	}
	runes := []rune(string(text))
	for _, r := range runes {
		if r < ' ' || r == 0x7f {
			return nil, fmt.Errorf("the line %q has the control character %q: only text and line ends can be drawn", text, r)
		}
	}
	rows := []string{}
	for len(runes) > columns {
		rows, runes = append(rows, string(runes[:columns])), runes[columns:]
	}
	return append(rows, string(runes)), nil
}

// shorten returns the lines with no pause longer than longestPause.
func shorten(lines []line) []line {
	short := make([]line, len(lines))
	var before, at time.Duration
	for i, l := range lines {
		at += min(l.at-before, longestPause)
		before = l.at
		short[i] = line{at, l.text}
	}
	return short
}
