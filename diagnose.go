// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
)

// blockedLong is how long threads must have waited for the consumer within a second for
// that to be a diagnosis.
const blockedLong = 10 * time.Millisecond

// facts are what a diagnosis needs beside the counters.
type facts struct {
	slotSize   map[string]int64 // of each stream, bytes
	live       map[string]bool  // streams whose senders do not wait for us, as files and TCP do
	maxFrame   map[string]int   // of each device: bytes of the longest frame that it can receive; 0: no bound
	frames     map[string]int   // of each device: frames of all its queues
	unserved   map[string]map[int]uint64
	substreams int
	over       bool // reception has ended, and the rings are closed
}

// diagnose says what went wrong between two readings of the counters. It is a function of
// its arguments only.
func diagnose(before, now *Stats, f *facts) []ledger.Diagnosis {
	var out []ledger.Diagnosis
	add := func(d ledger.Diagnosis) {
		if d.Device == "" {
			d.Queue = -1
		}
		out = append(out, d)
	}
	tooLong := diagnoseDevices(before, now, f, add)
	rose := func(fate ledger.Fate) uint64 { return more(now.Fates[fate], before.Fates[fate]) }
	packets := more(now.Packets, before.Packets)
	for _, v := range []struct {
		fate    ledger.Fate
		code    ledger.Code
		setting string
		already uint64 // of these, diagnosed otherwise
	}{
		{ledger.Fragment, ledger.Fragments, "Mode", 0},
		{ledger.KernelDropped, ledger.KernelDrops, "Frames", tooLong},
		{ledger.ChainTooLong, ledger.PacketTooLong, "", 0},
	} {
		if n := rose(v.fate); n > v.already {
			add(ledger.Diagnosis{Code: v.code, Count: n - v.already, Of: packets, Setting: v.setting})
		}
	}
	diagnoseBytes(before, now, add)
	for i := range now.Streams {
		var last StreamStats
		if i < len(before.Streams) {
			last = before.Streams[i]
		}
		diagnoseStream(&last, &now.Streams[i], f, add)
	}
	return out
}

// more is by how much a count has risen. What is worked out from several counters can fall:
// the kernel reads them one after the other, and a driver may reset its own.
func more(now, before uint64) uint64 { return now - min(now, before) }

// diagnoseStream looks at one stream.
func diagnoseStream(before, now *StreamStats, f *facts, add func(ledger.Diagnosis)) {
	if n := now.Fates[ledger.NoSlot] - before.Fates[ledger.NoSlot]; n > 0 {
		held := int64(now.Sum.Held)
		add(ledger.Diagnosis{Code: ledger.SlotsHeld, Stream: now.Name, Count: n, Of: now.Counts[ledger.PacketsFed] - before.Counts[ledger.PacketsFed],
			Setting: "ConsumerHeaps", Value: held, Suggested: max(int64(now.Slots.HighHeld), held+1)})
	}
	if now.Oversize > 0 && before.Oversize == 0 {
		add(ledger.Diagnosis{Code: ledger.HeapTooLarge, Stream: now.Name, Count: 1, Bytes: now.Oversize,
			Setting: "HeapSize", Value: f.slotSize[now.Name], Suggested: now.Oversize})
	}
	if n := now.Counts[ledger.SourceConflicts] - before.Counts[ledger.SourceConflicts]; n > 0 && before.Counts[ledger.SourceConflicts] == 0 {
		add(ledger.Diagnosis{Code: ledger.SendersCollide, Stream: now.Name, Count: n, Setting: "BySender", Suggested: 1,
			Heap: now.Conflict.Cnt, Senders: now.Conflict.Senders})
	}
	if n := now.Counts[ledger.HeapsRepeated] - before.Counts[ledger.HeapsRepeated]; n > 0 && now.Repeats == heap.RepeatsDrop {
		add(ledger.Diagnosis{Code: ledger.HeapsRepeat, Stream: now.Name, Count: n, Of: n + now.Counts.Heaps() - before.Counts.Heaps(),
			Setting: "Repeats", Heap: now.Repeated.Cnt, Senders: now.Repeated.Senders})
	}
	if n := now.Fates[ledger.Late] - before.Fates[ledger.Late]; n > 0 {
		add(diagnoseWindow(before, now, f, n))
	}
	diagnoseConsumer(before, now, f, add)
	diagnoseSources(before, now, add)
}

// diagnoseWindow says why packets were late. If several senders share a window that is
// too small for them, that is the cause. What was late is a measure of the window that would do.
func diagnoseWindow(before, now *StreamStats, f *facts, late uint64) ledger.Diagnosis {
	window := int64(now.Window)
	d := ledger.Diagnosis{Stream: now.Name, Setting: "ConcurrentHeaps", Value: window}
	enough := int64(heap.WindowFor(DefaultConcurrentHeaps, now.Senders, max(f.substreams, 1)))
	evicted := now.Counts[ledger.HeapsEvicted] - before.Counts[ledger.HeapsEvicted]
	if now.Senders < 2 || window >= enough || evicted == 0 {
		d.Code, d.Count, d.Of = ledger.LatePackets, late, now.Counts[ledger.PacketsFed]-before.Counts[ledger.PacketsFed]
		d.Suggested = max(2*window, now.LateBy)
		return d
	}
	d.Code, d.Count, d.Of = ledger.WindowTooSmall, evicted, now.Counts.Heaps()-before.Counts.Heaps()
	d.NumSenders = now.Senders
	d.Suggested = max(enough, now.LateBy)
	return d
}

// diagnoseDevices looks for packets that were lost between the program and its sockets. It
// returns how many were longer than a frame.
func diagnoseDevices(before, now *Stats, f *facts, add func(ledger.Diagnosis)) (tooLong uint64) {
	for i := range now.Devices {
		d := &now.Devices[i]
		var last DeviceStats
		if i < len(before.Devices) {
			last = before.Devices[i]
		}
		packets := more(d.Counts[ledger.DeviceMatched], last.Counts[ledger.DeviceMatched])
		diagnoseNIC(&last, d, packets, add)
		if n := more(d.tooLong(), last.tooLong()); n > 0 && f.maxFrame[d.Name] > 0 {
			tooLong += n
			add(ledger.Diagnosis{Code: ledger.FrameTooSmall, Device: d.Name, Queue: -1, Count: n, Of: packets,
				Bytes: int64(f.maxFrame[d.Name]), Setting: "Mode"})
		}
		if f.over {
			continue
		}
		if n := d.vanished(f.frames[d.Name]); n > 0 && last.vanished(f.frames[d.Name]) == 0 {
			add(ledger.Diagnosis{Code: ledger.RedirectLost, Device: d.Name, Queue: -1, Count: n, Of: packets, Setting: "Mode"})
		}
		for q, n := range f.unserved[d.Name] {
			if n > 0 {
				add(ledger.Diagnosis{Code: ledger.QueueUnserved, Device: d.Name, Queue: q, Count: n, Of: packets, Setting: "Queues"})
			}
		}
	}
	return tooLong
}

// tooLong is how many packets the kernel dropped for being longer than a frame. In copy
// mode the others that it drops found the fill ring empty, which it counts too.
func (d *DeviceStats) tooLong() uint64 {
	var n uint64
	for i := range d.Queues {
		c := &d.Queues[i].Counts
		n += c[ledger.QueueRxDropped] - min(c[ledger.QueueRxDropped], c[ledger.QueueRxFillRingEmpty])
	}
	return n
}

// vanished is how many packets were passed to the sockets and are nowhere, at least: so
// many more than have room on the rings, which have that many frames in all.
func (d *DeviceStats) vanished(frames int) uint64 {
	unread := d.unread()
	return unread - min(unread, uint64(frames))
}
