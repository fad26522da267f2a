// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/speadx/speadx/ledger"
)

// WriteText writes what was found wrong, in sentences, then the totals as spead2_recv does, the
// ledger and the pool. The last line is the verdict.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	s, d := &r.Stats, &r.Delivered
	r.writeFindings(&b)
	fmt.Fprintf(&b, "Received %d %s", d.Heaps, plural(d.Heaps, "heap"))
	if d.Incomplete > 0 {
		fmt.Fprintf(&b, " (%d incomplete)", d.Incomplete)
	}
	fmt.Fprintf(&b, ", %d bytes in %.3f seconds: %.3f Gb/s\n", d.Bytes, d.Flow.Seconds(), Gbps(d.Bytes, d.Flow))
	if d.Verify {
		fmt.Fprintf(&b, "Verified %d %s: %d wrong\n", d.Verified, plural(d.Verified, "heap"), d.Mismatched)
	}
	r.writeCounters(&b)
	r.writeLedger(&b)
	for i := range s.Streams {
		st := &s.Streams[i]
		fmt.Fprintf(&b, "pool of %s: live %d of %d, in the ring %d of %d, held %d of %d, least free %d of %d\n", st.Name,
			HighLive(st), st.Sum.Live, HighRing(st), st.Sum.Ring, st.Slots.HighHeld, st.Sum.Held,
			st.Slots.LeastFree, st.Sum.Live+st.Sum.Ring+st.Sum.Held+st.Sum.Threads)
	}
	fmt.Fprintln(&b, r.Verdict().text())
	_, err := w.Write(b.Bytes())
	return err
}

// writeFindings writes what was lost and why: first how many bytes each cause has, then the
// findings from the network to the consumer.
func (r *Report) writeFindings(b *bytes.Buffer) {
	s := &r.Stats
	if n := s.Missing.Sum(); n > 0 {
		all := s.ExpectedBytes()
		fmt.Fprintf(b, "Lost %s of the bytes:", ledger.Percent(n, max(all, n)))
		sep := " "
		for stage, v := range s.Missing {
			if v > 0 {
				fmt.Fprintf(b, "%s%s at %v", sep, ledger.Percent(v, max(all, n)), ledger.Stage(stage))
				sep = ", "
			}
		}
		b.WriteString(".\n")
	}
	list := slices.Clone(r.Diagnoses)
	slices.SortStableFunc(list, func(x, y ledger.Diagnosis) int { return cmp.Compare(x.Code.Row().Stage, y.Code.Row().Stage) })
	for i := range list {
		fmt.Fprintf(b, "finding: %s [%s]\n", list[i].Sentence(r.Setting), list[i].Code)
	}
}

func (r *Report) writeCounters(b *bytes.Buffer) {
	t := total(&r.Stats)
	fmt.Fprintf(b, "heaps: %d\n", t.Heaps())
	for c, n := range t {
		row := ledger.StreamCounter(c).Row()
		switch {
		case row.Rare && n == 0:
		case row.Unit == ledger.Seconds:
			fmt.Fprintf(b, "%s: %.3f\n", row.Label(), row.Value(n))
		default:
			fmt.Fprintf(b, "%s: %d\n", row.Label(), n)
		}
	}
	if n := r.Stats.SkippedBytes; n > 0 {
		fmt.Fprintf(b, "skipped_bytes: %d\n", n)
	}
}

// writeLedger writes what became of every packet.
func (r *Report) writeLedger(b *bytes.Buffer) {
	s := &r.Stats
	fmt.Fprintf(b, "ledger: %d packets\n", s.Packets)
	for f, n := range s.Fates {
		if n == 0 {
			continue
		}
		note := ""
		if ledger.Fate(f) == ledger.KernelDropped && s.KernelDroppedAtLeast {
			note = " at least (exact with " + ledger.Fill("{NoGRO}", r.Setting) + ")"
			if len(s.Devices) > 0 {
				note = " at least (several packets of one frame count as one)"
			}
		}
		fmt.Fprintf(b, "  %12d %v%s\n", n, ledger.Fate(f), note)
	}
	if s.InFlight > 0 {
		fmt.Fprintf(b, "  %12d in flight\n", s.InFlight)
	}
	fmt.Fprintf(b, "  %12d unaccounted\n", s.Unaccounted)
}

func plural(n uint64, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}
