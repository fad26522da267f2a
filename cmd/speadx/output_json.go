package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
)

// jsonOutput prints one object a line. Names and meanings are in docs/json.md;
// they are an interface.
type jsonOutput struct {
	w     io.Writer
	hash  bool
	quiet bool
	buf   []byte
}

// heap is written by hand, as it is done for every heap and has to cost little.
func (o *jsonOutput) heap(h *heap.Heap, _ time.Duration) error {
	if o.quiet {
		return nil
	}
	b := append(o.buf[:0], `{"type":"heap","stream":`...)
	b = appendString(b, h.Stream())
	b = append(b, `,"cnt":`...)
	b = strconv.AppendUint(b, h.Cnt(), 10)
	b = append(b, `,"flavour":"`...)
	b = append(b, h.Flavour().String()...)
	b = append(b, `","complete":`...)
	b = strconv.AppendBool(b, h.Complete())
	b = append(b, `,"length":`...)
	b = strconv.AppendInt(b, h.Length(), 10)
	b = append(b, `,"received":`...)
	b = strconv.AppendInt(b, h.Received(), 10)
	b = append(b, `,"time":`...)
	b = strconv.AppendFloat(b, float64(h.ReceiveTime().UnixNano())/1e9, 'f', 6, 64)
	if !h.Complete() {
		b = append(b, `,"ranges":[`...)
		for i, r := range h.Ranges() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = strconv.AppendInt(b, r.Start, 10)
			b = append(b, ',')
			b = strconv.AppendInt(b, r.End, 10)
			b = append(b, ']')
		}
		b = append(b, ']')
	}
	b = append(b, `,"items":[`...)
	for i, it := range h.Items() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`...)
		b = strconv.AppendUint(b, it.ID, 10)
		if it.Immediate {
			b = append(b, `,"immediate":`...)
			b = strconv.AppendUint(b, it.Value, 10)
		} else {
			b = append(b, `,"offset":`...)
			b = strconv.AppendInt(b, it.Offset, 10)
			b = append(b, `,"length":`...)
			b = strconv.AppendInt(b, it.Length, 10)
			if o.hash {
				sum := sha256.Sum256(it.Data)
				b = append(b, `,"sha256":"`...)
				b = hex.AppendEncode(b, sum[:])
				b = append(b, '"')
			}
		}
		b = append(b, '}')
	}
	b = append(b, "]}\n"...)
	o.buf = b
	_, err := o.w.Write(b)
	return err
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			q, _ := json.Marshal(s) // a string always can be
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// jsonSummary is the last line.
type jsonSummary struct {
	Type            string            `json:"type"`
	Heaps           uint64            `json:"heaps"`
	CompleteHeaps   uint64            `json:"complete_heaps"`
	IncompleteHeaps uint64            `json:"incomplete_heaps"`
	Packets         uint64            `json:"packets"`
	Bytes           uint64            `json:"bytes"`
	Fates           map[string]uint64 `json:"fates"`
	InFlight        uint64            `json:"in_flight"`
	Unaccounted     int64             `json:"unaccounted"`

	PayloadBytes         uint64  `json:"payload_bytes"`
	DeliveredHeaps       uint64  `json:"delivered_heaps"`
	DiscardedHeaps       uint64  `json:"discarded_heaps"`
	EvictedHeaps         uint64  `json:"evicted_heaps"`
	AgedHeaps            uint64  `json:"aged_heaps"`
	FlushedHeaps         uint64  `json:"flushed_heaps"`
	RingFullHeaps        uint64  `json:"ring_full_heaps"`
	SinglePacketHeaps    uint64  `json:"single_packet_heaps"`
	StopHeaps            uint64  `json:"stop_heaps"`
	OvertakenHeaps       uint64  `json:"overtaken_heaps"`
	VerifiedHeaps        int64   `json:"verified_heaps"`
	MismatchedHeaps      int64   `json:"mismatched_heaps"`
	SuperFrames          uint64  `json:"super_frames"`
	KernelDroppedAtLeast bool    `json:"kernel_dropped_at_least"`
	Batches              uint64  `json:"batches"`
	MaxBatch             uint64  `json:"max_batch"`
	Blocked              uint64  `json:"blocked"`
	BlockedSeconds       float64 `json:"blocked_seconds"`
	Seconds              float64 `json:"seconds"`
	Gbps                 float64 `json:"gbps"`

	Streams []jsonStream `json:"streams"`
	Devices []jsonDevice `json:"devices,omitempty"`
}

type jsonStream struct {
	Name            string    `json:"stream"`
	Packets         uint64    `json:"packets"`
	Bytes           uint64    `json:"bytes"`
	CompleteHeaps   uint64    `json:"complete_heaps"`
	IncompleteHeaps uint64    `json:"incomplete_heaps"`
	OversizeBytes   int64     `json:"oversize_bytes,omitempty"`
	Pool            jsonSlots `json:"pool"`
}

type jsonSlots struct {
	Live      int `json:"live"`
	Ring      int `json:"ring"`
	Held      int `json:"held"`
	Threads   int `json:"threads"`
	HighLive  int `json:"high_live"`
	HighRing  int `json:"high_ring"`
	HighHeld  int `json:"high_held"`
	LeastFree int `json:"least_free"`
}

type jsonDevice struct {
	Name      string      `json:"device"`
	Matched   uint64      `json:"matched"`
	NoSocket  uint64      `json:"no_socket"`
	Fragments uint64      `json:"fragments"`
	Passed    uint64      `json:"passed"`
	Queues    []jsonQueue `json:"queues"`
}

type jsonQueue struct {
	Queue        int    `json:"queue"`
	Matched      uint64 `json:"matched"`
	NoSocket     uint64 `json:"no_socket"`
	Packets      uint64 `json:"packets"`
	ChainTooLong uint64 `json:"chain_too_long"`
	RxDropped    uint64 `json:"rx_dropped"`
	RxRingFull   uint64 `json:"rx_ring_full"`
	FillEmpty    uint64 `json:"fill_ring_empty"`
	RingHigh     uint64 `json:"ring_high"`
}

func (o *jsonOutput) summary(s *speadx.Stats, c *reception, elapsed time.Duration) error {
	t := totalsOf(s)
	j := jsonSummary{
		Type:  "summary",
		Heaps: t.complete + t.incomplete, CompleteHeaps: t.complete, IncompleteHeaps: t.incomplete,
		Packets: s.Packets, Bytes: s.Bytes, Fates: map[string]uint64{}, InFlight: s.InFlight, Unaccounted: s.Unaccounted,
		PayloadBytes: s.Payload, DeliveredHeaps: t.delivered, DiscardedHeaps: t.discarded,
		EvictedHeaps: t.evicted, AgedHeaps: t.aged, FlushedHeaps: t.flushed, RingFullHeaps: t.ringFull,
		SinglePacketHeaps: t.singles, StopHeaps: t.stops, OvertakenHeaps: t.overtaken,
		VerifiedHeaps: c.verified, MismatchedHeaps: c.mismatched,
		SuperFrames: s.SuperFrames, KernelDroppedAtLeast: s.KernelDroppedAtLeast,
		Batches: t.batches, MaxBatch: t.maxBatch, Blocked: t.blocked, BlockedSeconds: t.blockedTime.Seconds(),
		Seconds: elapsed.Seconds(), Gbps: gbps(s.Payload, elapsed),
	}
	for f, n := range s.Fates {
		j.Fates[heap.Fate(f).String()] = n
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		j.Streams = append(j.Streams, jsonStream{
			Name: st.Name, Packets: st.Packets, Bytes: st.Bytes,
			CompleteHeaps: st.CompleteHeaps, IncompleteHeaps: st.IncompleteHeaps, OversizeBytes: st.Oversize,
			Pool: jsonSlots{
				Live: st.Sum.Live, Ring: st.Sum.Ring, Held: st.Sum.Held, Threads: st.Sum.Threads,
				HighLive: highLive(st), HighRing: highRing(st), HighHeld: st.Slots.HighHeld, LeastFree: st.Slots.LeastFree,
			},
		})
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		jd := jsonDevice{Name: d.Name, Matched: d.Matched, NoSocket: d.NoSocket, Fragments: d.Fragments, Passed: d.Passed}
		for k := range d.Queues {
			q := &d.Queues[k]
			jd.Queues = append(jd.Queues, jsonQueue{
				Queue: q.Queue, Matched: q.Matched, NoSocket: q.NoSocket, Packets: q.Packets, ChainTooLong: q.ChainTooLong,
				RxDropped: q.Kernel.RxDropped, RxRingFull: q.Kernel.RxRingFull, FillEmpty: q.Kernel.RxFillRingEmpty, RingHigh: q.RingHigh,
			})
		}
		j.Devices = append(j.Devices, jd)
	}
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = o.w.Write(append(b, '\n'))
	return err
}
