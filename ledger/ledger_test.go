// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Each table has a complete row for each constant, and no name twice.
func TestRows(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for table, rows := range map[string][]Row{
		"fates": fates[:], "stream": streamCounters[:], "device": deviceCounters[:], "queue": queueCounters[:], "causes": causes[:],
	} {
		seen := map[string]bool{}
		for i, r := range rows {
			if !word.MatchString(r.Name) || seen[r.Name] {
				t.Errorf("%s row %d: name %q", table, i, r.Name)
			}
			seen[r.Name] = true
			if r.Unit == "" || r.Stage >= NumStages || !strings.HasSuffix(r.Meaning, ".") {
				t.Errorf("%s %s: unit %q, stage %v, meaning %q", table, r.Name, r.Unit, r.Stage, r.Meaning)
			}
			if r.Loss && r.Remedy == "" && r.Name != "shutdown" {
				t.Errorf("%s %s is a loss without a remedy", table, r.Name)
			}
		}
	}
}

func TestFates(t *testing.T) {
	var f, other Fates
	f[Delivered], f[Late], f[NoSlot] = 10, 3, 2
	other[KernelDropped], other[Late] = 5, 1
	f.Add(&other)
	if f.Settled() != 21 || f.Lost() != 11 {
		t.Errorf("settled %d, lost %d", f.Settled(), f.Lost())
	}
	at := f.LostAt()
	if at[Assembly] != 4 || at[Pool] != 2 || at[Socket] != 5 {
		t.Errorf("lost at stages %v", at)
	}
	var sum uint64
	for _, n := range at {
		sum += n
	}
	if sum != f.Lost() {
		t.Errorf("%d lost at all stages, %d in all", sum, f.Lost())
	}
	b, err := json.Marshal(&f)
	var back map[string]uint64
	if err != nil || json.Unmarshal(b, &back) != nil {
		t.Fatal(string(b), err)
	}
	if len(back) != int(NumFates) || back["late"] != 4 {
		t.Errorf("%s", b)
	}
}

func TestStreamCounts(t *testing.T) {
	a := StreamCounts{HeapsComplete: 2, BatchMax: 7, BlockedTime: 1e9}
	a.Add(&StreamCounts{HeapsComplete: 3, HeapsIncomplete: 1, BatchMax: 5, BlockedTime: 5e8})
	if a.Heaps() != 6 || a[BatchMax] != 7 || BlockedTime.Row().Value(a[BlockedTime]) != 1.5 {
		t.Errorf("%v", a)
	}
}

// Each sentence is complete: what is in braces is a value or the name of a setting.
func TestSentences(t *testing.T) {
	d := Diagnosis{
		Stream: "s", Device: "eth1", Queue: 3, Source: "10.0.0.1:5", Count: 4, Of: 1000, Bytes: 5, Duration: 31 * time.Millisecond,
		First: time.Unix(1, 0), Last: time.Unix(2, 0), Fate: "late", Interval: time.Second, Blocked: time.Second, Every: 32, Modulo: 64,
		Cause: ReasonOtherPort, Silence: &Silence{Where: Places{{Device: "eth1", Mode: "native", Queues: []int{0, 1, 3}, Addrs: []string{"239.1.2.3:7148"}, Groups: 1}}, Seen: Readings{{"rx_packets", 4}}},
		Gaps: [2]Gap{{1, 2, time.Unix(1, 0)}, {3, 4, time.Unix(2, 0)}}, Setting: "RingHeaps", Value: 4, Suggested: 9, Heap: 8,
		Senders: [2]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")}, Err: errors.New("e"),
	}
	setting := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	seen := map[Code]bool{}
	for _, row := range Codes() {
		if seen[row.Code] || row.Meaning == "" || row.Sentence == "" || row.Severity == slog.LevelWarn && row.Remedy == "" {
			t.Errorf("row %+v", row)
		}
		seen[row.Code] = true
		d.Code = row.Code
		text := d.Sentence(func(s string) string {
			if !setting.MatchString(s) {
				t.Errorf("%s: {%s} is neither a value nor a setting", row.Code, s)
			}
			return "--flag"
		})
		if strings.ContainsAny(text, "{}") || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q", row.Code, text)
		}
		b, err := json.Marshal(&d)
		if err != nil || !json.Valid(b) {
			t.Errorf("%s: %s %v", row.Code, b, err)
		}
	}
}

func TestUnknownCode(t *testing.T) {
	d := Diagnosis{Code: "something_else", Queue: -1}
	if d.Sentence(nil) != "something_else" {
		t.Errorf("%q", d.Sentence(nil))
	}
}

func TestFill(t *testing.T) {
	for in, want := range map[string]string{
		"raise {RingHeaps} now": "raise Config.RingHeaps now", "{a}{b}": "Config.aConfig.b", "open {": "open {", "": "",
	} {
		if got := Fill(in, nil); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		n, of uint64
		want  string
	}{{4, 1000, "0.4 %"}, {1, 3, "33.3 %"}, {0, 0, "0 %"}, {1, 1e9, "1e-07 %"}} {
		if got := Percent(tt.n, tt.of); got != tt.want {
			t.Errorf("%d of %d: %s", tt.n, tt.of, got)
		}
	}
}

func TestPlaces(t *testing.T) {
	p := Places{
		{Device: "eth1", Mode: "native", Queues: []int{0, 1, 2, 5}, Addrs: []string{"a", "b", "c", "d", "e"}, Groups: 2},
		{Mode: "udp", Addrs: []string{"f"}},
	}
	if got, want := p.String(), "a, b, c, d and 1 more on eth1 (native, queues 0-2,5, 2 groups joined); f on any interface (udp)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := (Readings{{"a", 0}, {"b", 2}}).String(), "b 2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for r, text := range Reasons() {
		if r == "" || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q", r, text)
		}
	}
}
