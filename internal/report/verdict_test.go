package report

import (
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		counts   ledger.StreamCounts
		expected int64
		want     string
	}{
		{ledger.StreamCounts{}, 7, VerdictNothing},
		{ledger.StreamCounts{}, 0, VerdictNothing},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 0, VerdictOK},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 3, VerdictOK},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 4, VerdictExpected},
		{ledger.StreamCounts{ledger.HeapsComplete: 3}, 2, VerdictExpected},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsMissing: 1}, 3, VerdictLost},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsRingFull: 1}, -1, VerdictLost},
		{ledger.StreamCounts{ledger.HeapsIncomplete: 1, ledger.HeapsDiscarded: 1}, -1, VerdictLost},
		{ledger.StreamCounts{ledger.HeapsComplete: 3, ledger.HeapsIncomplete: 1}, -1, VerdictLost},
	} {
		r := Report{Stats: speadx.Stats{Streams: []speadx.StreamStats{{Stats: heap.Stats{Counts: tt.counts}}}}}
		got, text := r.Verdict(tt.expected)
		if got != tt.want || (text == "") != (got == VerdictOK) {
			t.Errorf("%v, expected %d: %s (%s), want %s", tt.counts, tt.expected, got, text, tt.want)
		}
	}
}
