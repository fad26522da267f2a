package report

import (
	"fmt"
	"strings"

	"github.com/speadx/speadx/ledger"
)

// The verdicts, in the JSON key of that name.
const (
	VerdictOK       = "ok"
	VerdictNothing  = "nothing_received"
	VerdictLost     = "heaps_lost"     // or discarded
	VerdictExpected = "heaps_expected" // as many as were expected did not come
)

// Verdict says whether the run received something and lost no heap, and what was amiss in
// words. expected is how many complete heaps were to come; 0: any number.
func (r *Report) Verdict(expected int64) (verdict, text string) {
	h := r.Stats.Heaps()
	complete, discarded := h[ledger.HeapsComplete], h[ledger.HeapsDiscarded]
	lost := h[ledger.HeapsIncomplete] - min(h[ledger.HeapsIncomplete], discarded) + h[ledger.HeapsMissing] + h[ledger.HeapsRingFull]
	var parts []string
	verdict = VerdictOK
	note := func(v, format string, args ...any) {
		if verdict == VerdictOK {
			verdict = v
		}
		parts = append(parts, fmt.Sprintf(format, args...))
	}
	if h.Heaps() == 0 && lost == 0 {
		note(VerdictNothing, "nothing was received: no heap came")
	}
	if lost > 0 || discarded > 0 {
		note(VerdictLost, "%d %s lost or incomplete, %d discarded", lost, plural(lost, "heap"), discarded)
	}
	if expected > 0 && complete != uint64(expected) {
		note(VerdictExpected, "%d complete %s came, and %d were expected", complete, plural(complete, "heap"), expected)
	}
	return verdict, strings.Join(parts, "; ")
}
