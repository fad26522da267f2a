// SPDX-License-Identifier: Apache-2.0

package top

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// began is when the receiver of the tests began.
var began = time.Unix(1_700_000_000, 0)

// scene is a receiver after so many seconds, as its /status has it. It is made by package
// report, so keys that are read here are those that are written there.
func scene(t testing.TB, streams int, seconds float64, lossy bool) []byte {
	t.Helper()
	r := &report.Report{Time: began.Add(time.Duration(seconds * 1e9)), Setting: flagname.Name}
	r.Delivered.Elapsed = time.Duration(seconds * 1e9)
	st := &r.Stats
	for i := range streams {
		heaps := uint64(100 * seconds)
		s := speadx.StreamStats{
			Name: fmt.Sprintf("239.1.0.%d:7148", i+1),
			Sum:  pool.ShareConfig{Live: 4, Ring: 8, Held: 2, Threads: 2},
			Slots: pool.Counts{
				Free: 10, Filling: 2, Ready: 1, Held: 1, HighFilling: 3, HighReady: 5, HighHeld: 1, LeastFree: 7,
			},
		}
		s.Counts[ledger.HeapsComplete], s.Counts[ledger.PayloadPlaced], s.Fates[ledger.Delivered] = heaps, heaps<<20, heaps*128
		if lossy && i == 1 {
			s.Counts[ledger.HeapsIncomplete], s.Fates[ledger.DiscardedIncomplete], s.Fates[ledger.Late] = heaps/10, heaps*12, heaps/10
		}
		s.Senders = 1
		st.Packets += s.Fates.Settled()
		st.Payload += s.Counts[ledger.PayloadPlaced]
		st.Fates.Add(&s.Fates)
		st.Streams = append(st.Streams, s)
		r.Times = append(r.Times, speadx.StreamTimes{Name: s.Name, Since: began, LastData: r.Time})
	}
	if lossy {
		st.Missing = ledger.Causes{ledger.Network: uint64(2e6 * seconds), ledger.Assembly: uint64(9e4 * seconds)}
	}
	d := speadx.DeviceStats{Name: "eth1", Counts: ledger.DeviceCounts{ledger.DeviceMatched: st.Packets}}
	for q := range 2 {
		c := ledger.QueueCounts{ledger.QueueMatched: st.Packets / 4 * uint64(1+2*q), ledger.QueueRingHigh: 700}
		if lossy && q == 1 {
			c[ledger.QueueRxRingFull], c[ledger.QueueRingHigh] = uint64(3*seconds), 8192
			st.Fates[ledger.KernelDropped] += uint64(3 * seconds)
			st.Packets += uint64(3 * seconds)
		}
		d.Queues = append(d.Queues, speadx.QueueStats{Queue: q, Counts: c})
		r.Threads = append(r.Threads, speadx.ThreadStats{
			Name: fmt.Sprintf("eth1 queue %d", q), CPU: 2*q - 1, Turns: 1000,
			Busy: time.Duration(seconds * 0.4e9), Idle: time.Duration(seconds * 0.6e9),
		})
	}
	st.Devices = []speadx.DeviceStats{d}
	r.Devices = []speadx.DeviceInfo{{Name: "eth1", Driver: "ice", MTU: 9000, Mode: xsk.ModeZeroCopy, Queues: []xsk.Info{{Frames: 8192}, {Queue: 1, Frames: 8192}}}}
	if lossy {
		r.Diagnoses = []ledger.Diagnosis{
			{Code: ledger.KernelDrops, Device: "eth1", Queue: 1, Count: uint64(3 * seconds), First: began, Last: r.Time},
			{Code: ledger.CarrierBack, Device: "eth1", Queue: -1, First: began, Last: began},
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// view is what is shown after 60 s, of three answers.
func view(t testing.TB, streams int, lossy bool) *View {
	t.Helper()
	var h history
	for _, sec := range []float64{50, 59, 60} {
		s, err := decode(scene(t, streams, sec, lossy))
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Diagnoses { // what they say is not this package's
			s.Diagnoses[i].Sentence = fmt.Sprintf("This is sentence %d of a receiver. It says what was found, where it was found, and what a person can do about it.", i)
		}
		h.take(s, "localhost:9717")
	}
	return &h.view
}
