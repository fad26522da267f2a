// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplit(t *testing.T) {
	got, err := split([]chunk{{1, []byte("ab\r\ncd")}, {2, []byte("efgh\r\n\r\n")}}, 4)
	want := []line{{1, "ab"}, {2, "cdef"}, {2, "gh"}, {2, ""}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("split = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"no end", "\x1b[31mred\n", "a\rb\n", "\xff\n"} {
		if got, err := split([]chunk{{0, []byte(bad)}}, 80); err == nil {
			t.Errorf("split(%q) = %v, want an error", bad, got)
		}
	}
}

func TestShorten(t *testing.T) {
	got := shorten([]line{{0, "a"}, {100 * time.Millisecond, "b"}, {time.Hour, "c"}, {time.Hour + 1, "d"}})
	want := []line{{0, "a"}, {100 * time.Millisecond, "b"}, {100*time.Millisecond + longestPause, "c"}, {100*time.Millisecond + longestPause + 1, "d"}}
	if !slices.Equal(got, want) {
		t.Errorf("shorten = %v, want %v", got, want)
	}
}

// The picture is well-formed, has each line's text in order, and scrolls by what does not fit.
func TestDraw(t *testing.T) {
	var b bytes.Buffer
	draw(&b, []line{{0, "# a <b> & c"}, {time.Second, "two"}, {2 * time.Second, ""}, {2 * time.Second, "four"}}, 80, 2)
	var texts []string
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "text" {
			var s string
			if err := d.DecodeElement(&s, &start); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, s)
		}
	}
	if want := []string{"# a <b> & c", "two", "four"}; !slices.Equal(texts, want) {
		t.Errorf("the picture has the lines %q, want %q", texts, want)
	}
	// Two of four lines do not fit, and both leave when the last two come: at 2 of 8 s.
	if want := "25%{transform:translateY(-34px)}100%{transform:translateY(-34px)}"; !strings.Contains(b.String(), want) {
		t.Errorf("the picture does not scroll as in %s:\n%s", want, &b)
	}
}

// The command has a terminal of the size that was asked for, and its failure is an error.
func TestRecord(t *testing.T) {
	chunks, err := record(exec.Command("sh", "-c", "test -t 1 && stty size"), 77, 33)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := split(chunks, 77)
	if err != nil || len(lines) != 1 || lines[0].text != "33 77" {
		t.Errorf("stty size printed %v, %v; want 33 77", lines, err)
	}
	var exit *exec.ExitError
	if _, err := record(exec.Command("sh", "-c", "exit 3"), 80, 24); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a command that exits with 3: %v", err)
	}
}
