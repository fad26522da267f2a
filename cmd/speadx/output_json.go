package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
)

// jsonOutput prints one object a line. Names and meanings are in docs/json.md;
// they are an interface.
type jsonOutput struct {
	w       io.Writer
	decoder decoder
	hash    bool
	values  bool
	quiet   bool
	buf     []byte
	items   []heap.Item
}

// largeLine is up to which length the memory of a line is kept for the next one.
const largeLine = 16 << 20

// heap is written by hand, as it is done for every heap and has to cost little.
func (o *jsonOutput) heap(h *heap.Heap, _ time.Duration) error {
	if o.quiet {
		return nil
	}
	g := o.decoder.decode(h)
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
	if s := h.Sender(); s.IsValid() {
		b = append(b, `,"sender":"`...)
		b = append(s.AppendTo(b), '"')
	}
	b = append(b, `,"items":[`...)
	items := o.byID(h.Items())
	for i, it := range items {
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
			if it.Missing {
				b = append(b, `,"missing":true`...)
			}
		}
		if known := g.ByID(it.ID); known != nil && known.Descriptor() != nil {
			b = appendDescriptor(b, known)
		}
		if named := valueOf(g, items, i); named != nil && o.values {
			b = append(b, `,"value":`...)
			b = appendValue(b, named.Value())
		}
		b = append(b, '}')
	}
	b = append(b, ']')
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
	b = append(b, `,"time":`...)
	b = strconv.AppendFloat(b, float64(h.ReceiveTime().UnixMicro())/1e6, 'f', 6, 64)
	b = append(b, "}\n"...)
	if o.buf = b; cap(b) > largeLine {
		o.buf = nil
	}
	_, err := o.w.Write(b)
	return err
}

// byID sorts items by id, those of one id as they are in the heap. They are
// valid until the next call.
func (o *jsonOutput) byID(items []heap.Item) []heap.Item {
	o.items = append(o.items[:0], items...)
	slices.SortStableFunc(o.items, func(a, b heap.Item) int { return cmp.Compare(a.ID, b.ID) })
	return o.items
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
	Type string `json:"type"`
	jsonCounts
	Unaccounted          int64        `json:"unaccounted"`
	DeliveredBytes       uint64       `json:"delivered_bytes"`
	VerifiedHeaps        uint64       `json:"verified_heaps"`
	MismatchedHeaps      uint64       `json:"mismatched_heaps"`
	SuperFrames          uint64       `json:"super_frames"`
	SkippedBytes         uint64       `json:"skipped_bytes"`
	KernelDroppedAtLeast bool         `json:"kernel_dropped_at_least"`
	Seconds              float64      `json:"seconds"`
	FlowSeconds          float64      `json:"flow_seconds"`
	Gbps                 float64      `json:"gbps"`
	Streams              []jsonStream `json:"streams"`
	Devices              []jsonDevice `json:"devices"`
}

// jsonCounts are the counters of one stream, or of all.
type jsonCounts struct {
	Heaps             uint64    `json:"heaps"`
	CompleteHeaps     uint64    `json:"complete_heaps"`
	IncompleteHeaps   uint64    `json:"incomplete_heaps"`
	Packets           uint64    `json:"packets"`
	Bytes             uint64    `json:"bytes"`
	Fates             jsonFates `json:"fates"`
	InFlight          uint64    `json:"in_flight"`
	PayloadBytes      uint64    `json:"payload_bytes"`
	DeliveredHeaps    uint64    `json:"delivered_heaps"`
	DiscardedHeaps    uint64    `json:"discarded_heaps"`
	RingFullHeaps     uint64    `json:"ring_full_heaps"`
	ShutdownHeaps     uint64    `json:"shutdown_heaps"`
	EvictedHeaps      uint64    `json:"evicted_heaps"`
	AgedHeaps         uint64    `json:"aged_heaps"`
	FlushedHeaps      uint64    `json:"flushed_heaps"`
	OvertakenHeaps    uint64    `json:"overtaken_heaps"`
	SinglePacketHeaps uint64    `json:"single_packet_heaps"`
	StopHeaps         uint64    `json:"stop_heaps"`
	Batches           uint64    `json:"batches"`
	MaxBatch          uint64    `json:"max_batch"`
	SourceConflicts   uint64    `json:"source_conflicts"`
	Blocked           uint64    `json:"blocked"`
	BlockedSeconds    float64   `json:"blocked_seconds"`
}

func newJSONCounts(s *heap.Stats) jsonCounts {
	return jsonCounts{
		Heaps: s.CompleteHeaps + s.IncompleteHeaps, CompleteHeaps: s.CompleteHeaps, IncompleteHeaps: s.IncompleteHeaps,
		Packets: s.Packets, Bytes: s.Bytes, Fates: s.Fates, InFlight: s.InFlight, PayloadBytes: s.Payload,
		DeliveredHeaps: s.DeliveredHeaps, DiscardedHeaps: s.DiscardedHeaps,
		RingFullHeaps: s.RingFullHeaps, ShutdownHeaps: s.ShutdownHeaps,
		EvictedHeaps: s.EvictedHeaps, AgedHeaps: s.AgedHeaps, FlushedHeaps: s.FlushedHeaps, OvertakenHeaps: s.OvertakenHeaps,
		SinglePacketHeaps: s.SinglePacketHeaps, StopHeaps: s.StopHeaps,
		Batches: s.Batches, MaxBatch: s.MaxBatch, SourceConflicts: s.Conflicts, Blocked: s.Blocked, BlockedSeconds: microseconds(s.BlockedTime.Seconds()),
	}
}

// jsonFates is an object of all fates, in their order.
type jsonFates [heap.NumFates]uint64

// MarshalJSON implements [json.Marshaler].
func (f jsonFates) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, n := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, heap.Fate(i).String())
		b = append(b, ':')
		b = strconv.AppendUint(b, n, 10)
	}
	return append(b, '}'), nil
}

type jsonStream struct {
	Name string `json:"stream"`
	jsonCounts
	OversizeBytes int64         `json:"oversize_bytes"`
	Senders       int           `json:"senders"`
	Conflict      *jsonConflict `json:"source_conflict,omitempty"`
	Pool          jsonSlots     `json:"pool"`
}

// jsonConflict is the first conflict of a stream.
type jsonConflict struct {
	Cnt     uint64   `json:"cnt"`
	Senders []string `json:"senders"`
}

func newJSONConflict(s *heap.Stats) *jsonConflict {
	if s.Conflicts == 0 {
		return nil
	}
	c := &s.Conflict
	return &jsonConflict{Cnt: c.Cnt, Senders: []string{c.Senders[0].String(), c.Senders[1].String()}}
}

type jsonSlots struct {
	Live           int `json:"live"`
	Ring           int `json:"ring"`
	Held           int `json:"held"`
	Threads        int `json:"threads"`
	HighLive       int `json:"high_live"`
	HighRing       int `json:"high_ring"`
	HighHeld       int `json:"high_held"`
	LeastFree      int `json:"least_free"`
	LeastFreeSmall int `json:"least_free_small"`
	TableBytes     int `json:"table_bytes"`
}

type jsonDevice struct {
	Name      string      `json:"device"`
	Matched   uint64      `json:"matched"`
	NoSocket  uint64      `json:"no_socket"`
	Fragments uint64      `json:"fragments"`
	Missed    uint64      `json:"missed"`
	Passed    uint64      `json:"passed"`
	Queues    []jsonQueue `json:"queues"`
}

type jsonQueue struct {
	Queue              int    `json:"queue"`
	Matched            uint64 `json:"matched"`
	NoSocket           uint64 `json:"no_socket"`
	Packets            uint64 `json:"packets"`
	Chunks             uint64 `json:"chunks"`
	Batches            uint64 `json:"batches"`
	ChainTooLong       uint64 `json:"chain_too_long"`
	InvalidPackets     uint64 `json:"invalid_packets"`
	InvalidDescriptors uint64 `json:"invalid_descriptors"`
	LostFrames         uint64 `json:"lost_frames"`
	Kicks              uint64 `json:"kicks"`
	RingHigh           uint64 `json:"ring_high"`
	RxDropped          uint64 `json:"rx_dropped"`
	RxRingFull         uint64 `json:"rx_ring_full"`
	RxInvalidDescs     uint64 `json:"rx_invalid_descs"`
	RxFillRingEmpty    uint64 `json:"rx_fill_ring_empty"`
}

func (o *jsonOutput) summary(s *speadx.Stats, c *reception) error {
	t := sum(s)
	// The whole ledger has more in it than what reached the streams.
	t.Packets, t.Bytes, t.Payload, t.Fates, t.InFlight = s.Packets, s.Bytes, s.Payload, s.Fates, s.InFlight
	j := jsonSummary{
		Type: "summary", jsonCounts: newJSONCounts(&t), Unaccounted: s.Unaccounted, DeliveredBytes: c.got.bytes,
		VerifiedHeaps: c.verified, MismatchedHeaps: c.mismatched,
		SuperFrames: s.SuperFrames, SkippedBytes: s.SkippedBytes, KernelDroppedAtLeast: s.KernelDroppedAtLeast,
		Seconds: microseconds(c.got.elapsed.Seconds()), FlowSeconds: microseconds(c.got.flow.Seconds()),
		Gbps: microseconds(gbps(c.got.bytes, c.got.flow)), Devices: []jsonDevice{},
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		j.Streams = append(j.Streams, jsonStream{
			Name: st.Name, jsonCounts: newJSONCounts(&st.Stats), OversizeBytes: st.Oversize,
			Senders: st.Senders, Conflict: newJSONConflict(&st.Stats),
			Pool: jsonSlots{
				Live: st.Sum.Live, Ring: st.Sum.Ring, Held: st.Sum.Held, Threads: st.Sum.Threads,
				HighLive: highLive(st), HighRing: highRing(st), HighHeld: st.Slots.HighHeld,
				LeastFree: st.Slots.LeastFree, LeastFreeSmall: st.Slots.LeastFreeSmall,
				TableBytes: st.Sum.Tables,
			},
		})
	}
	for i := range s.Devices {
		j.Devices = append(j.Devices, newJSONDevice(&s.Devices[i]))
	}
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = o.w.Write(append(b, '\n'))
	return err
}

func newJSONDevice(d *speadx.DeviceStats) jsonDevice {
	j := jsonDevice{Name: d.Name, Matched: d.Matched, NoSocket: d.NoSocket, Fragments: d.Fragments, Missed: d.Missed, Passed: d.Passed}
	for i := range d.Queues {
		q := &d.Queues[i]
		j.Queues = append(j.Queues, jsonQueue{
			Queue: q.Queue, Matched: q.Matched, NoSocket: q.NoSocket,
			Packets: q.Packets, Chunks: q.Chunks, Batches: q.Batches,
			ChainTooLong: q.ChainTooLong, InvalidPackets: q.InvalidPackets, InvalidDescriptors: q.InvalidDesc, LostFrames: q.LostFrames,
			Kicks: q.Kicks, RingHigh: q.RingHigh,
			RxDropped: q.Kernel.RxDropped, RxRingFull: q.Kernel.RxRingFull,
			RxInvalidDescs: q.Kernel.RxInvalidDescs, RxFillRingEmpty: q.Kernel.RxFillRingEmpty,
		})
	}
	return j
}

// microseconds rounds to six digits behind the point.
func microseconds(v float64) float64 { return math.Round(v*1e6) / 1e6 }
