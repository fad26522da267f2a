// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// MarshalJSON gives the object that docs/json.md describes, type "summary".
func (r *Report) MarshalJSON() ([]byte, error) {
	s, d := &r.Stats, &r.Delivered
	t := total(s)
	var o object
	o.put("type", "summary")
	if !r.Time.IsZero() {
		o.put("time", micro(float64(r.Time.UnixMicro())/1e6))
	}
	o.stream(&t, &s.Fates, s.InFlight)
	o.put("unaccounted", s.Unaccounted)
	o.put("lost_packets", s.Fates.Lost())
	o.put("missing_bytes", s.MissingBytes())
	o.put("missing_bytes_by_cause", &s.Missing)
	o.put("delivered_bytes", d.Bytes)
	o.put("verified_heaps", d.Verified)
	o.put("mismatched_heaps", d.Mismatched)
	o.put("super_frames", s.SuperFrames)
	o.put("skipped_bytes", s.SkippedBytes)
	o.put("kernel_dropped_at_least", s.KernelDroppedAtLeast)
	o.put("seconds", micro(d.Elapsed.Seconds()))
	o.put("flow_seconds", micro(d.Flow.Seconds()))
	o.put("gbps", micro(Gbps(d.Bytes, d.Flow)))
	o.put("verdict", o.part(r.Verdict().object()))
	streams := []json.RawMessage{}
	for i := range s.Streams {
		streams = append(streams, o.part(r.streamObject(i)))
	}
	o.put("streams", streams)
	devices := []json.RawMessage{}
	for i := range s.Devices {
		devices = append(devices, o.part(r.deviceObject(i)))
	}
	o.put("devices", devices)
	threads := []json.RawMessage{}
	for i := range r.Threads {
		threads = append(threads, o.part(threadObject(&r.Threads[i])))
	}
	o.put("threads", threads)
	groups := []json.RawMessage{}
	for _, g := range r.Groups {
		var group object
		group.put("group", g.Group)
		group.put("interface", g.Interface)
		group.put("joined", g.Joined)
		groups = append(groups, o.part(group.end()))
	}
	o.put("groups", groups)
	diagnoses := []json.RawMessage{}
	for i := range r.Diagnoses {
		diagnoses = append(diagnoses, o.part(r.Diagnoses[i].JSON(r.Setting)))
	}
	o.put("diagnoses", diagnoses)
	return o.end()
}

func (r *Report) streamObject(i int) ([]byte, error) {
	st := &r.Stats.Streams[i]
	var o, pool object
	o.put("stream", st.Name)
	o.stream(&st.Counts, &st.Fates, st.InFlight)
	o.put("oversize_bytes", st.Oversize)
	o.put("senders", st.Senders)
	if i < len(r.Times) {
		if d, expected := r.Times[i].Silent(r.Time); expected {
			o.put("silent_seconds", micro(d.Seconds()))
		}
	}
	o.put("window", st.Window)
	o.put("late_by_heaps", st.LateBy)
	if st.Counts[ledger.SourceConflicts] > 0 {
		var c object
		c.put("cnt", st.Conflict.Cnt)
		c.put("senders", []string{st.Conflict.Senders[0].String(), st.Conflict.Senders[1].String()})
		o.put("source_conflict", o.part(c.end()))
	}
	for _, v := range []struct {
		key string
		n   int
	}{
		{"live", st.Sum.Live}, {"ring", st.Sum.Ring}, {"held", st.Sum.Held}, {"threads", st.Sum.Threads},
		{"high_live", HighLive(st)}, {"high_ring", HighRing(st)}, {"high_held", st.Slots.HighHeld},
		{"least_free", st.Slots.LeastFree}, {"least_free_small", st.Slots.LeastFreeSmall},
		{"now_live", st.Slots.Filling}, {"now_ring", st.Slots.Ready}, {"now_held", st.Slots.Held}, {"now_free", st.Slots.Free},
		{"table_bytes", st.Sum.Tables},
	} {
		pool.put(v.key, v.n)
	}
	o.put("pool", o.part(pool.end()))
	return o.end()
}

func (r *Report) deviceObject(i int) ([]byte, error) {
	d := &r.Stats.Devices[i]
	var info speadx.DeviceInfo
	if i < len(r.Devices) {
		info = r.Devices[i]
	}
	var o object
	o.put("device", d.Name)
	if i < len(r.Devices) {
		o.put("mode", info.Mode.String())
		o.put("driver", info.Driver)
		o.put("mtu", info.MTU)
	}
	for c, n := range d.Counts {
		o.put(ledger.DeviceCounter(c).String(), n)
	}
	queues := []json.RawMessage{}
	for i := range d.Queues {
		var q object
		q.put("queue", d.Queues[i].Queue)
		if i < len(info.Queues) {
			q.put("ring_size", info.Queues[i].Frames)
		}
		for c, n := range d.Queues[i].Counts {
			q.put(ledger.QueueCounter(c).String(), n)
		}
		queues = append(queues, o.part(q.end()))
	}
	o.put("queues", queues)
	return o.end()
}

func threadObject(t *speadx.ThreadStats) ([]byte, error) {
	var o object
	o.put("thread", t.Name)
	o.put("cpu", t.CPU)
	o.put("state", t.State.String())
	o.put("turns", t.Turns)
	o.put("since_turn_seconds", micro(t.SinceTurn.Seconds()))
	o.put("busy_seconds", micro(t.Busy.Seconds()))
	o.put("idle_seconds", micro(t.Idle.Seconds()))
	o.put("blocked_seconds", micro(t.Blocked.Seconds()))
	return o.end()
}

// object is a JSON object that is written key by key, in that order. The first error stays.
type object struct {
	b   []byte
	err error
}

func (o *object) put(key string, v any) {
	value, err := json.Marshal(v)
	if err != nil && o.err == nil {
		o.err = err
	}
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(append(o.b, '"'), key...), '"', ':'), value...)
}

// stream writes the counters of a stream, or of all, with the fates.
func (o *object) stream(c *ledger.StreamCounts, f *ledger.Fates, inFlight uint64) {
	o.put("heaps", c.Heaps())
	for i, n := range c {
		row := ledger.StreamCounter(i).Row()
		if row.Unit == ledger.Seconds {
			o.put(row.Name, micro(row.Value(n)))
		} else {
			o.put(row.Name, n)
		}
	}
	o.put("fates", f)
	o.put("in_flight", inFlight)
}

// part keeps the error of a part.
func (o *object) part(b []byte, err error) json.RawMessage {
	if err != nil && o.err == nil {
		o.err = err
	}
	return b
}

func (o *object) end() ([]byte, error) {
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	}
	return append(o.b, '}'), o.err
}
