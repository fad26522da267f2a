// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Scene is a receiver that does not exist, as a page for many streams needs one that is
// larger than a test machine. Its counters grow with time.
type Scene struct {
	Streams int
	Queues  int
	Silent  bool   // no packets come any more
	Quiet   int    // so many of the last streams have had none for a minute
	Lossy   bool   // some streams and queues lose packets
	Name    string // of the first stream; default: an address
}

// What the scene's packets, heaps and device are.
const (
	packetBytes = 8192
	heapBytes   = 4 << 20
	deviceName  = "ens1f0np0"
)

// At is the report of the scene after some time.
func (s Scene) At(began time.Time, elapsed time.Duration) *report.Report {
	sec := elapsed.Seconds()
	if s.Silent {
		sec = 60
	}
	r := &report.Report{Time: began.Add(elapsed), Setting: flagname.Name}
	r.Delivered.Elapsed, r.Delivered.Flow = elapsed, elapsed
	st := &r.Stats
	for i := range s.Streams {
		heaps := uint64(sec * (220 + float64(i%5)) / float64(s.Streams) * 10)
		packets := heaps * heapBytes / packetBytes
		stream := speadx.StreamStats{
			Name: fmt.Sprintf("239.10.%d.%d:7148", i/16, 1+i%16),
			Sum:  pool.ShareConfig{Live: 4, Ring: 8, Held: 2, Threads: s.Queues},
			Slots: pool.Counts{
				Free: 8 + s.Queues, Filling: 2, Ready: i % 3, Held: 1, HighFilling: 3, HighReady: 2 + i%3, HighHeld: 1, LeastFree: 6,
			},
		}
		r.Groups = append(r.Groups, speadx.GroupState{Interface: deviceName, Group: netip.AddrFrom4([4]byte{239, 10, byte(i / 16), byte(1 + i%16)}), Joined: i > 0})
		if i == 0 && s.Name != "" {
			stream.Name = s.Name
		}
		c := &stream.Counts
		c[ledger.PacketsFed], c[ledger.BytesFed], c[ledger.PayloadPlaced] = packets, packets*(packetBytes+64), packets*packetBytes
		c[ledger.HeapsComplete], c[ledger.HeapsDelivered] = heaps, heaps
		stream.Fates[ledger.Delivered] = packets
		stream.Senders = 1 + i%4
		times := speadx.StreamTimes{Name: stream.Name, Since: began.Add(-time.Hour), LastData: r.Time}
		if i >= s.Streams-s.Quiet {
			times.LastData = r.Time.Add(-time.Minute)
		}
		r.Times = append(r.Times, times)
		if s.Lossy && i%9 == 4 {
			lost := heaps / 50
			c[ledger.HeapsComplete], c[ledger.HeapsIncomplete], c[ledger.HeapsEvicted] = heaps-lost, lost, lost
			stream.Fates[ledger.Delivered] -= lost * 512
			stream.Fates[ledger.DiscardedIncomplete] = lost * 500
			stream.Fates[ledger.Late] = lost * 12
			stream.Slots.HighReady, stream.Slots.LeastFree = 8, 0
		}
		st.Packets += packets
		st.Bytes += c[ledger.BytesFed]
		st.Payload += c[ledger.PayloadPlaced]
		st.Fates.Add(&stream.Fates)
		st.Streams = append(st.Streams, stream)
	}
	device, info := s.device(st, &r.Threads, elapsed)
	st.Devices, r.Devices = []speadx.DeviceStats{device}, []speadx.DeviceInfo{info}
	st.InFlight = 64
	st.Packets += st.InFlight
	if s.Lossy {
		st.Missing = ledger.Causes{ledger.Network: 12 << 20, ledger.Socket: st.Packets / 400 * packetBytes, ledger.Assembly: st.Packets / 500 * packetBytes}
		dropped := st.Packets / 400
		st.Packets += dropped
		st.Fates[ledger.KernelDropped] += dropped
		r.Diagnoses = []ledger.Diagnosis{
			{Code: ledger.KernelDrops, Device: info.Name, Queue: 1, Count: dropped, First: began, Last: r.Time},
			{Code: ledger.QueueUnserved, Device: info.Name, Queue: 5, Count: 12, First: began.Add(elapsed / 2), Last: began.Add(elapsed / 2)},
			{Code: ledger.SlotsHeld, Stream: st.Streams[0].Name, Queue: -1, Count: 7, Setting: "ConsumerHeaps", Value: 2, Suggested: 3, First: began, Last: began},
		}
	}
	return r
}

func (s Scene) device(st *speadx.Stats, threads *[]speadx.ThreadStats, elapsed time.Duration) (speadx.DeviceStats, speadx.DeviceInfo) {
	const name, frames = deviceName, 8192
	d := speadx.DeviceStats{Name: name, Counts: ledger.DeviceCounts{ledger.DeviceMatched: st.Packets, ledger.DevicePassed: 4711}}
	info := speadx.DeviceInfo{Name: name, Driver: "mlx5_core", MTU: 9000, Mode: xsk.ModeZeroCopy, Carrier: true}
	for q := range s.Queues {
		n := st.Packets / uint64(s.Queues)
		c := ledger.QueueCounts{
			ledger.QueueMatched: n, ledger.QueuePackets: n, ledger.QueueChunks: 3 * n, ledger.QueueBatches: n / 40, ledger.QueueRingHigh: uint64(700 + 311*q%1500),
		}
		if s.Lossy && q == 1 {
			c[ledger.QueueRxRingFull], c[ledger.QueueRingHigh] = st.Packets/400, frames
		}
		d.Queues = append(d.Queues, speadx.QueueStats{Queue: q, Counts: c})
		info.Queues = append(info.Queues, xsk.Info{Queue: q, Frames: frames, Mode: xsk.ModeZeroCopy})
		busy := time.Duration(float64(elapsed) * (0.35 + 0.03*float64(q%6)))
		*threads = append(*threads, speadx.ThreadStats{
			Name: fmt.Sprintf("%s queue %d", name, q), CPU: 2 + q, State: speadx.ThreadWorking, Turns: uint64(elapsed / time.Millisecond),
			Busy: busy, Idle: elapsed - busy,
		})
	}
	return d, info
}
