// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

func TestVerdict(t *testing.T) {
	any := int64(-1)
	seen := map[VerdictCode]bool{}
	for _, tt := range []struct {
		counts   ledger.StreamCounts
		expected int64
		want     []VerdictCode
	}{
		{ledger.StreamCounts{}, any, []VerdictCode{NothingReceived}},
		{ledger.StreamCounts{}, 7, []VerdictCode{NothingReceived, TooFewHeaps}},
		{ledger.StreamCounts{}, 0, nil},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, any, nil},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 3, nil},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 4, []VerdictCode{TooFewHeaps}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 2, []VerdictCode{TooManyHeaps}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 0, []VerdictCode{TooManyHeaps}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsMissing: 1}, 3, []VerdictCode{HeapsLost}},
		{ledger.StreamCounts{ledger.HeapsMissing: 1}, 0, []VerdictCode{HeapsLost}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsRingFull: 1}, any, []VerdictCode{HeapsLost}},
		{ledger.StreamCounts{ledger.HeapsIncomplete: 1, ledger.HeapsDiscarded: 1}, any, []VerdictCode{HeapsDiscarded}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsIncomplete: 1}, any, []VerdictCode{HeapsLost}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsRepeated: 1}, 3, []VerdictCode{HeapsRepeated}},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsIncomplete: 2, ledger.HeapsDiscarded: 1}, 5, []VerdictCode{HeapsLost, HeapsDiscarded, TooFewHeaps}},
	} {
		r := Report{Stats: speadx.Stats{Streams: []speadx.StreamStats{{Stats: heap.Stats{Counts: tt.counts}}}}}
		if n := uint64(tt.expected); tt.expected >= 0 {
			r.Expected = &n
		}
		v := r.Verdict()
		if !slices.Equal(v.Codes, tt.want) || v.OK() != (tt.want == nil) || (v.Sentence == "") != v.OK() {
			t.Errorf("%v, expected %d: %+v, want %v", tt.counts, tt.expected, v, tt.want)
		}
		for _, c := range v.Codes {
			seen[c] = true
		}
		// The last line of the text, and the JSON, say the same.
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		if last := lines[len(lines)-1]; last != v.text() {
			t.Errorf("the last line is %q, want %q", last, v.text())
		}
		var o struct {
			Verdict struct {
				OK       bool          `json:"ok"`
				Codes    []VerdictCode `json:"codes"`
				Expected *uint64       `json:"expected_heaps"`
				Complete uint64        `json:"complete_heaps"`
			} `json:"verdict"`
		}
		b, err := json.Marshal(&r)
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err != nil || o.Verdict.OK != v.OK() || !slices.Equal(o.Verdict.Codes, v.Codes) || (o.Verdict.Expected == nil) != (tt.expected < 0) ||
			o.Verdict.Complete != tt.counts[ledger.HeapsComplete] {
			t.Errorf("JSON %+v, %v, want %+v", o.Verdict, err, v)
		}
	}
	for _, row := range verdictRows {
		if !seen[row.code] {
			t.Errorf("no case has %s", row.code)
		}
	}
}

// Repeated heaps that were delivered are not amiss.
func TestVerdictOfDeliveredRepeats(t *testing.T) {
	st := heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsRepeated: 1}, Repeats: heap.RepeatsDeliver}
	r := Report{Stats: speadx.Stats{Streams: []speadx.StreamStats{{Stats: st}}}}
	if v := r.Verdict(); !v.OK() {
		t.Errorf("%+v", v)
	}
}
