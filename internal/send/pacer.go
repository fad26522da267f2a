// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"time"
)

const (
	// burstBytes may be sent without a pause, as in spead2's sender.
	burstBytes = 65536

	// burstRatio is how much faster than the rate a sender may be that has
	// fallen behind, as in spead2's sender.
	burstRatio = 1.05
)

// pacer holds bursts apart so that the rate is kept on average and never much
// exceeded. Two clocks say when the next burst is due. One runs at the rate from
// the first burst on: what was sent until now never exceeds it. The other runs a
// little faster, but from no earlier than a burst's time ago. So a sleep that ended
// late is made good at once. A sender that was held up for longer comes closer to the
// rate by a twentieth at a time.
type pacer struct {
	perByte float64 // nanoseconds at the rate; 0: no limit
	start   time.Time
	average float64 // nanoseconds from the start
	burst   float64
}

func newPacer(bitsPerSecond float64) *pacer {
	p := &pacer{start: time.Now()}
	if bitsPerSecond > 0 {
		p.perByte = 8e9 / bitsPerSecond
	}
	return p
}

// wait returns when a burst of that many bytes may go, or when ctx ends.
func (p *pacer) wait(ctx context.Context, bytes int) {
	if p.perByte == 0 {
		return
	}
	due := max(p.average, p.burst)
	now := float64(time.Since(p.start))
	for now < due && ctx.Err() == nil {
		// In pieces, for the context; the last one ends on time.
		sleep(time.Duration(min(due-now, float64(50*time.Millisecond))))
		now = float64(time.Since(p.start))
	}
	p.average += float64(bytes) * p.perByte
	p.burst = max(now-burstBytes*p.perByte, due) + float64(bytes)*p.perByte/burstRatio
}
