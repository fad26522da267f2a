// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

// VerdictCode says what is amiss with a run as a whole. The codes are an interface.
type VerdictCode string

// The codes of a verdict.
const (
	NothingReceived VerdictCode = "nothing_received"
	HeapsLost       VerdictCode = "heaps_lost"
	HeapsDiscarded  VerdictCode = "heaps_discarded"
	HeapsRepeated   VerdictCode = "heaps_repeated"
	TooFewHeaps     VerdictCode = "too_few_heaps"
	TooManyHeaps    VerdictCode = "too_many_heaps"
)

// verdictRows are the codes in the order of a verdict, with their meanings.
var verdictRows = []struct {
	code    VerdictCode
	meaning string
}{
	{NothingReceived, "No heap came, and none is known to be missing. With `--expect-heaps 0` that is as it should be."},
	{HeapsLost, "Heaps are missing, were delivered incomplete, or found the ring full."},
	{HeapsDiscarded, "Incomplete heaps were discarded."},
	{HeapsRepeated, "Whole heaps were dropped, as heaps with the same counts had come before (`repeated_heaps`)."},
	{TooFewHeaps, "Fewer complete heaps came than `--expect-heaps` says."},
	{TooManyHeaps, "More complete heaps came than `--expect-heaps` says."},
}

// Verdict is the judgement of a run as a whole. Without a code the run is as it should be.
type Verdict struct {
	Codes     []VerdictCode
	Sentence  string  // what is amiss, in words; "" without a code
	Complete  uint64  // complete heaps that came
	Lost      uint64  // heaps that are missing, incomplete without being discarded, or were dropped at a full ring
	Discarded uint64  // incomplete heaps that were discarded
	Expected  *uint64 // complete heaps that were expected; nil: any number
}

// OK reports whether nothing is amiss.
func (v *Verdict) OK() bool { return len(v.Codes) == 0 }

// Verdict judges what was counted so far.
func (r *Report) Verdict() *Verdict {
	h := r.Stats.Heaps()
	incomplete, discarded := h[ledger.HeapsIncomplete], h[ledger.HeapsDiscarded]
	v := &Verdict{Complete: h[ledger.HeapsComplete], Discarded: discarded, Expected: r.Expected}
	v.Lost = incomplete - min(incomplete, discarded) + h[ledger.HeapsMissing] + h[ledger.HeapsRingFull]
	var parts []string
	note := func(code VerdictCode, format string, args ...any) {
		v.Codes = append(v.Codes, code)
		parts = append(parts, fmt.Sprintf(format, args...))
	}
	if h.Heaps() == 0 && v.Lost == 0 && (v.Expected == nil || *v.Expected > 0) {
		note(NothingReceived, "nothing was received: no heap came")
	}
	if v.Lost > 0 {
		note(HeapsLost, "%d %s lost or incomplete", v.Lost, plural(v.Lost, "heap"))
	}
	if v.Discarded > 0 {
		note(HeapsDiscarded, "%d incomplete %s discarded", v.Discarded, plural(v.Discarded, "heap"))
	}
	if n := DroppedRepeats(&r.Stats); n > 0 {
		note(HeapsRepeated, "%d repeated %s dropped", n, plural(n, "heap"))
	}
	if v.Expected != nil && v.Complete != *v.Expected {
		code := TooFewHeaps
		if v.Complete > *v.Expected {
			code = TooManyHeaps
		}
		note(code, "%d complete %s came, expected %d", v.Complete, plural(v.Complete, "heap"), *v.Expected)
	}
	v.Sentence = strings.Join(parts, "; ")
	return v
}

// text is the last line of the report.
func (v *Verdict) text() string {
	if v.OK() {
		return "verdict: ok"
	}
	var codes []string
	for _, c := range v.Codes {
		codes = append(codes, string(c))
	}
	return fmt.Sprintf("verdict: %s [%s]", v.Sentence, strings.Join(codes, " "))
}

func (v *Verdict) object() ([]byte, error) {
	var o object
	o.put("ok", v.OK())
	o.put("codes", append([]VerdictCode{}, v.Codes...))
	o.put("sentence", v.Sentence)
	if v.Expected != nil {
		o.put("expected_heaps", *v.Expected)
	}
	o.put("complete_heaps", v.Complete)
	o.put("lost_heaps", v.Lost)
	o.put("discarded_heaps", v.Discarded)
	return o.end()
}

// verdictTable is the table of the codes in docs/json.md.
func verdictTable() string {
	var b strings.Builder
	b.WriteString("| code | meaning |\n|---|---|\n")
	for _, row := range verdictRows {
		fmt.Fprintf(&b, "| `%s` | %s |\n", row.code, row.meaning)
	}
	return b.String()
}

// DroppedRepeats is how many whole heaps were dropped, as heaps with the same counts had come
// less than 2 s before.
func DroppedRepeats(s *speadx.Stats) (n uint64) {
	for i := range s.Streams {
		if s.Streams[i].Repeats == heap.RepeatsDrop {
			n += s.Streams[i].Counts[ledger.HeapsRepeated]
		}
	}
	return n
}
