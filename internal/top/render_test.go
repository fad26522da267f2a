// SPDX-License-Identifier: Apache-2.0

package top

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write the golden files")

func TestRender(t *testing.T) {
	for _, c := range []struct {
		name          string
		streams       int
		lossy         bool
		width, height int
	}{
		{"wide", 3, true, 120, 50},
		{"terminal", 2, false, 80, 24},
		{"many", 64, true, 100, 40},
		{"tiny", 3, true, 30, 8},
		{"any", 2, true, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := view(t, c.streams, c.lossy).Render(c.width, c.height, false)
			if c.height > 0 && len(lines) > c.height {
				t.Errorf("%d lines, room for %d", len(lines), c.height)
			}
			for _, l := range lines {
				if c.width > 0 && textWidth(l) > c.width {
					t.Errorf("%d columns, room for %d: %q", textWidth(l), c.width, l)
				}
			}
			got, file := strings.Join(lines, "\n")+"\n", "testdata/"+c.name+".txt"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// The state in a line, for each state.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		sign  string
		style style
		view  func() *View
	}{
		{"✓", good, func() *View { return view(t, 1, false) }},
		{"✕", bad, func() *View { return view(t, 2, true) }},
		{"!", notice, func() *View { v := view(t, 2, true); v.Past = v.Now; return v }},
		{"◌", notice, func() *View { v := view(t, 2, false); v.Silent = 3; return v }},
		{"◌", notice, func() *View { v := view(t, 1, false); v.Now = &Snapshot{}; return v }},
		{"✕", bad, func() *View { v := view(t, 1, false); v.Err, v.Age = errors.New("gone"), 9; return v }},
		{"◌", notice, func() *View { // the other stream is well
			v := view(t, 2, false)
			*v.Now.Streams[1].Silent = 5
			return v
		}},
		{"✓", good, func() *View { // it has ended
			v := view(t, 2, false)
			v.Now.Streams[1].Silent = nil
			return v
		}},
		{"✕", bad, func() *View { // incomplete heaps without a lost packet
			v := view(t, 1, false)
			v.Now.IncompleteHeaps = 2
			return v
		}},
		{"!", notice, func() *View { // two senders collide: their packets have a fate that is no loss
			v := view(t, 1, false)
			v.Now.Diagnoses = []Diagnosis{{Severity: "warn"}}
			return v
		}},
		{"✓", good, func() *View {
			v := view(t, 1, false)
			v.Now.Diagnoses = []Diagnosis{{Severity: "info"}}
			return v
		}},
		{"■", notice, func() *View {
			v := view(t, 1, false)
			v.Now.Threads = []Thread{{State: "ended"}}
			return v
		}},
	} {
		l := c.view().verdict()
		if !strings.HasPrefix(l[0].text, c.sign+" ") || l[0].style != c.style {
			t.Errorf("got %q in style %q, want %s in %q", l[0].text, l[0].style, c.sign, c.style)
		}
	}
}

// A group that is not joined is named where no packets come.
func TestNotJoined(t *testing.T) {
	v := view(t, 1, false)
	v.Silent, v.Now.Groups = 3, []Group{{"239.1.2.3", "eth1", false}, {"239.1.2.4", "eth1", true}}
	for _, packets := range []uint64{v.Now.Packets, 0} {
		v.Now.Packets = packets
		if text := v.verdict()[1].text; !strings.HasSuffix(text, " Not joined: 239.1.2.3 on eth1.") {
			t.Errorf("with %d packets: %q", packets, text)
		}
	}
}

// Silent streams are named, and come before those that are well.
func TestSilentStreams(t *testing.T) {
	v := view(t, 64, false)
	for _, i := range []int{7, 20, 21, 40} {
		*v.Now.Streams[i].Silent = 90
	}
	l := v.verdict()
	if want := "◌ No packets on 4 of 64 streams. "; l[0].text != want {
		t.Errorf("got %q, want %q", l[0].text, want)
	}
	if want := "Silent: 239.1.0.8:7148 (90 s), 239.1.0.21:7148 (90 s), 239.1.0.22:7148 (90 s) and 1 more. "; !strings.HasPrefix(l[1].text, want) {
		t.Errorf("got %q, want %q", l[1].text, want)
	}
	rows := v.streams()
	for i, want := range []string{"239.1.0.8:", "239.1.0.21:", "239.1.0.22:", "239.1.0.41:", "239.1.0.1:"} {
		if got := rows[1+i][0].text; !strings.HasPrefix(got, want) {
			t.Errorf("row %d is of %s, want %s", i, got, want)
		}
	}
}

// What loses now comes first, and the rest is counted.
func TestProblemsFirst(t *testing.T) {
	v := view(t, 64, true)
	if rows := v.streams(); rows[1][0].text[:14] != "239.1.0.2:7148" || len(rows) != 65 {
		t.Errorf("%d rows, first %q", len(rows), rows[1][0].text)
	}
	if rows := v.queues(); !strings.HasPrefix(rows[1][0].text, "eth1 1 ") {
		t.Errorf("first queue %q", rows[1][0].text)
	}
}

// A name is text, whatever is in it.
func TestHostileNames(t *testing.T) {
	v := view(t, 2, true)
	const evil = "\x1b]0;owned\a\x1b[2J\r\nx\u202e\u009b31m\xff.pcap"
	v.Now.Streams[0].Name, v.Now.Devices[0].Name, v.Now.Devices[0].Mode = evil, evil, evil
	v.Now.Threads[0].Name, v.Now.Threads[0].State = evil, evil
	v.Now.Diagnoses[0].Sentence, v.Now.Diagnoses[0].Code, v.Err = evil, evil, errors.New(evil)
	for _, l := range v.Render(200, 0, false) {
		if strings.IndexFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("a line that is not printable: %q", l)
		}
	}
	if got, want := clean(evil), `\x1b]0;owned\a\x1b[2J\r\nx\u202e\u009b31m\xff.pcap`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"日本語", 5, "日本…"}, {"日本語", 6, "日本語"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		if got := cut(c.text, c.most); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0004: "<0.001", 0.5: "0.500", 1: "1", 9.994: "9.99", 9.996: "10.0", 99.96: "100", 999.4: "999", 999.6: "1.00 k", 1.5e6: "1.50 M", 2e9: "2 G"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{-1: "0 s", 119: "119 s", 3600: "60 min", 7200: "2.0 h", 259200: "3.0 d"} {
		if got := span(v); got != want {
			t.Errorf("span(%v) = %q, want %q", v, got, want)
		}
	}
}

// Whatever a server sends, the picture fits the terminal and is printable.
func FuzzAnswer(f *testing.F) {
	f.Add(scene(f, 2, 60, true), scene(f, 3, 50, false), 80, 24)
	f.Add([]byte(`{"type":"summary","streams":[{"stream":"\u001b[2J"}],"devices":[{"queues":[{}]}]}`), []byte(`{"type":"summary","time":1e300}`), 1, 1)
	f.Fuzz(func(t *testing.T, first, second []byte, width, height int) {
		var h history
		for _, b := range [][]byte{first, second} {
			if s, err := decode(b); err == nil {
				h.take(s, "h")
			}
		}
		if h.view.Now == nil {
			return
		}
		width, height = 1+abs(width)%300, 1+abs(height)%100
		lines := h.view.Render(width, height, false)
		if len(lines) > height {
			t.Errorf("%d lines, room for %d", len(lines), height)
		}
		for _, l := range lines {
			if textWidth(l) > width || strings.IndexFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
				t.Errorf("%d columns, room for %d: %q", textWidth(l), width, l)
			}
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

// Colour adds escape sequences and nothing else.
func TestColour(t *testing.T) {
	v := view(t, 2, true)
	with, without := strings.Join(v.Render(120, 0, true), "\n"), strings.Join(v.Render(120, 0, false), "\n")
	for _, st := range []style{bold, dim, good, notice, bad} {
		with = strings.ReplaceAll(with, fmt.Sprintf("\x1b[%sm", st), "")
	}
	var lines []string
	for _, l := range strings.Split(strings.ReplaceAll(with, "\x1b[0m", ""), "\n") {
		lines = append(lines, strings.TrimRight(l, " "))
	}
	if got := strings.Join(lines, "\n"); got != without {
		t.Errorf("got\n%s\nwant\n%s", got, without)
	}
}
