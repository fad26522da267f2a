// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"math"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/ledger"
)

const (
	// silentAfter is for how long nothing must have come from a sender, while others go on.
	silentAfter = 5 * time.Second
	// enoughHeaps is how many heaps a mean or a common part must be of to say something.
	enoughHeaps = 8
	// mostRing bounds the length of a ring that is suggested, with mostRingBytes in its slots.
	mostRing      = 4096
	mostRingBytes = 4 << 30
)

// readMore reads what diagnoses of streams need beside the counters.
func (r *Receiver) readMore(s *Stats) {
	at := time.Now()
	for i, st := range r.streams[:len(s.Streams)] {
		s.Streams[i].more = &streamMore{
			at: at, sources: st.assembler.Sources(), sequence: st.assembler.Sequence(), consumer: st.assembler.ConsumerTimes(),
		}
	}
}

// diagnoseBytes says what the network lost, and what could not be read.
func diagnoseBytes(before, now *Stats, add func(ledger.Diagnosis)) {
	if n := more(now.Missing[ledger.Network], before.Missing[ledger.Network]); n > 0 {
		all := more(now.ExpectedBytes(), before.ExpectedBytes())
		add(ledger.Diagnosis{Code: ledger.NetworkLoss, Count: n, Of: max(all, n)})
	}
	var n, most uint64
	var fate ledger.Fate
	for f := range now.Fates {
		row := ledger.Fate(f).Row()
		if d := more(now.Fates[f], before.Fates[f]); row.Stage == ledger.Parse && row.Loss && d > 0 {
			if n += d; d > most {
				most, fate = d, ledger.Fate(f)
			}
		}
	}
	if n > 0 {
		add(ledger.Diagnosis{Code: ledger.Unreadable, Count: n, Of: more(now.Packets, before.Packets), Fate: fate.String()})
	}
}

// diagnoseConsumer says what the consumer is too slow for: the ring, which could be longer, or
// the stream.
func diagnoseConsumer(before, now *StreamStats, f *facts, add func(ledger.Diagnosis)) {
	dropped := now.Fates[ledger.RingFull] - before.Fates[ledger.RingFull]
	blocked := time.Duration(now.Counts[ledger.BlockedTime] - before.Counts[ledger.BlockedTime])
	if !f.live[now.Name] || blocked < blockedLong {
		blocked = 0
	}
	if dropped == 0 && blocked == 0 {
		return
	}
	spans, period := consumerTimes(before, now)
	heaps := now.Counts.Heaps() - before.Counts.Heaps()
	d := ledger.Diagnosis{
		Code: ledger.RingOverflow, Stream: now.Name, Duration: spans.Quantile(0.99),
		Count: dropped, Of: now.Counts[ledger.PacketsFed] - before.Counts[ledger.PacketsFed],
		Setting: "RingHeaps", Value: int64(now.Sum.Ring),
	}
	if dropped == 0 {
		d.Code, d.Blocked, d.Of = ledger.RingBlocked, blocked, 0
		d.Count = now.Counts[ledger.Blocked] - before.Counts[ledger.Blocked]
		// Where threads wait, heaps come no faster than they are taken. They would have come
		// in the rest of the time.
		period = max(period-blocked, 0)
	}
	if heaps > 0 {
		d.Interval = period / time.Duration(heaps)
	}
	d.Suggested = suggestRing(now.Sum.Ring, f.slotSize[now.Name], spans.Quantile(1), d.Interval)
	if spans.Count >= enoughHeaps && heaps >= enoughHeaps && period > 0 && spans.Mean() > d.Interval {
		d.Code, d.Duration, d.Setting, d.Value, d.Suggested = ledger.ConsumerSlow, spans.Mean(), "", 0, 0
	}
	add(d)
}

// consumerTimes are the consumer's times between two readings, or of all time if there is none of
// these, and the time between the readings. The first reading has the time since the first packet.
func consumerTimes(before, now *StreamStats) (histogram.Snapshot, time.Duration) {
	if now.more == nil {
		return histogram.Snapshot{}, 0
	}
	if before.more == nil {
		return now.more.consumer, now.more.sinceFirst()
	}
	spans := now.more.consumer.Since(&before.more.consumer)
	if spans.Count == 0 {
		spans = now.more.consumer
	}
	return spans, now.more.at.Sub(before.more.at)
}

// suggestRing is how many heaps come while the consumer takes its longest, and one more.
func suggestRing(ring int, slot int64, stall, interval time.Duration) int64 {
	least, most := int64(ring)+1, int64(mostRing)
	if slot > 0 {
		most = min(most, mostRingBytes/slot)
	}
	n := 2 * int64(ring)
	if interval > 0 {
		n = int64(math.Ceil(float64(stall)/float64(interval))) + 1
	}
	return max(min(n, most), least)
}

// diagnoseSources says what the accounts of a stream and of its senders show.
func diagnoseSources(before, now *StreamStats, add func(ledger.Diagnosis)) {
	if now.more == nil {
		return
	}
	last := before.more
	if last == nil {
		last = &streamMore{}
	}
	m := now.more
	if n := now.Counts[ledger.HeapsMissing] - before.Counts[ledger.HeapsMissing]; n > 0 {
		gaps := m.gaps()
		add(ledger.Diagnosis{Code: ledger.HeapsGone, Stream: now.Name, Count: n, Of: n + now.Counts.Heaps() - before.Counts.Heaps(),
			Gaps: [2]ledger.Gap{gapOf(gaps.FirstGap), gapOf(gaps.LargestGap)}})
	}
	if s, old := m.sequence, last.sequence; s.Every > 1 && s.Step > 0 {
		modulo := s.Every * s.Step
		if old.Every*old.Step != modulo || old.Residue%modulo != s.Residue%modulo {
			add(ledger.Diagnosis{Code: ledger.RegularHeaps, Stream: now.Name, Every: s.Every, Heap: s.Residue % modulo, Modulo: modulo,
				Source: m.sourceOf(s.Residue, modulo)})
		}
	}
	lacks := now.Counts[ledger.IncompleteBytes] - before.Counts[ledger.IncompleteBytes]
	size := now.IncompleteSize - before.IncompleteSize
	heaps := now.Counts[ledger.HeapsIncomplete] - before.Counts[ledger.HeapsIncomplete]
	complete := now.Counts[ledger.HeapsComplete] - before.Counts[ledger.HeapsComplete]
	if heaps >= enoughHeaps && complete <= heaps/10 && lacks > 0 && size%lacks == 0 && size/lacks > 1 && size/lacks <= 64 {
		add(ledger.Diagnosis{Code: ledger.RegularBytes, Stream: now.Name, Count: heaps, Every: size / lacks, Source: m.silent()})
	}
	latest, latestBefore := m.latest(), last.latest()
	for i := range m.sources {
		s := &m.sources[i]
		age := latest.Sub(s.Last)
		if age < silentAfter || s.Stopped || m.replaced(s) {
			continue
		}
		if i < len(last.sources) && latestBefore.Sub(last.sources[i].Last) >= silentAfter {
			continue // that is known
		}
		add(ledger.Diagnosis{Code: ledger.SourceSilent, Stream: now.Name, Source: s.Sender.String(), Duration: age})
	}
}

// latest is when a packet came last.
func (m *streamMore) latest() (t time.Time) {
	for i := range m.sources {
		if at := m.sources[i].Last; at.After(t) {
			t = at
		}
	}
	return t
}

// sinceFirst is how long ago the first packet came; 0 if none has.
func (m *streamMore) sinceFirst() time.Duration {
	var first time.Time
	for i := range m.sources {
		if at := m.sources[i].First; first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return 0
	}
	return max(m.at.Sub(first), 0)
}

// replaced reports whether a sender has come back with another port.
func (m *streamMore) replaced(s *heap.Source) bool {
	for i := range m.sources {
		if o := &m.sources[i]; o != s && o.Sender.Addr() == s.Sender.Addr() && o.First.After(s.Last) {
			return true
		}
	}
	return false
}

// sourceOf is the sender of the heaps with such a count, "" if it was not heard.
func (m *streamMore) sourceOf(residue, modulo uint64) string {
	for i := range m.sources {
		if s := &m.sources[i]; s.Step > 0 && s.Step%modulo == 0 && s.Newest%modulo == residue%modulo {
			return s.Sender.String()
		}
	}
	return ""
}

// silent is the only sender from which nothing came for a second, while others went on; "" if
// there is no such one.
func (m *streamMore) silent() string {
	name, latest := "", m.latest()
	for i := range m.sources {
		if s := &m.sources[i]; latest.Sub(s.Last) >= time.Second {
			if name != "" {
				return ""
			}
			name = s.Sender.String()
		}
	}
	return name
}

// gaps are those of the stream, or the first and the largest of its senders.
func (m *streamMore) gaps() heap.Gaps {
	if m.sequence.Missing > 0 {
		return m.sequence.Gaps
	}
	var g heap.Gaps
	for i := range m.sources {
		s := &m.sources[i]
		if s.Missing == 0 {
			continue
		}
		if g.FirstGap.Heaps == 0 || s.FirstGap.At.Before(g.FirstGap.At) {
			g.FirstGap = s.FirstGap
		}
		if s.LargestGap.Heaps > g.LargestGap.Heaps {
			g.LargestGap = s.LargestGap
		}
	}
	return g
}

func gapOf(g heap.Gap) ledger.Gap { return ledger.Gap{Heap: g.Cnt, Heaps: g.Heaps, At: g.At} }

// diagnoseNIC says what a NIC or its driver dropped, by queue where the driver counts so.
func diagnoseNIC(before, now *DeviceStats, packets uint64, add func(ledger.Diagnosis)) {
	n := more(now.Counts[ledger.DeviceMissed], before.Counts[ledger.DeviceMissed])
	if n == 0 {
		return
	}
	var ofQueues uint64
	for i := range now.Queues {
		var last ledger.QueueCounts
		if i < len(before.Queues) {
			last = before.Queues[i].Counts
		}
		q := &now.Queues[i]
		if d := more(q.Counts[ledger.QueueNICDrops], last[ledger.QueueNICDrops]); d > 0 {
			ofQueues += d
			add(ledger.Diagnosis{Code: ledger.NICDrops, Device: now.Name, Queue: q.Queue, Count: d, Of: packets + n})
		}
	}
	if n > ofQueues {
		add(ledger.Diagnosis{Code: ledger.NICDrops, Device: now.Name, Queue: -1, Count: n - ofQueues, Of: packets + n})
	}
}
