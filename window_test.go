// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// TestWindow: the default window covers what a lagging queue can hold, or a note says
// how much of it and what covers all.
func TestWindow(t *testing.T) {
	streams := func(n int, interfaces ...string) (list []Stream) {
		for i := range n {
			list = append(list, Stream{Name: fmt.Sprint("s", i), Source: fmt.Sprint("10.0.0.1:", i+1), Interfaces: interfaces})
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		config Config
		want   int // heaps of each stream's substreams
		room   int // for those of several senders
		note   string
	}{
		// 16 queues x 8192 frames x 3814 bytes = 477 MiB.
		{"default", Config{Streams: streams(1, "eth0")}, 4 + 120, 14, ""},
		{"small heaps", Config{Streams: streams(1, "eth0"), HeapSize: 64 << 10}, 4 + 1024, 14,
			"covers 13 % of what its 16 queues can hold. Heaps are lost if a thread lags further (overtaken_heaps); --concurrent-heaps 7632 covers all"},
		{"huge heaps", Config{Streams: streams(1, "eth0"), HeapSize: 1 << 40}, 4 + 1, 0, ""},
		{"fewer queues and frames", Config{Streams: streams(1, "eth0"), Queues: []int{2, 5}, Frames: 1024, HeapSize: 64 << 10}, 4 + 120, 14, ""},
		{"one queue", Config{Streams: streams(1, "eth0"), Queues: []int{2}}, 4, 14, ""},
		{"a device of one queue", Config{Streams: streams(1, "eth2")}, 4, 14, ""},
		{"sockets", Config{Streams: streams(1, "eth0"), Mode: ModeUDP}, 4, 14, ""},
		// A frame has a packet of 1500 bytes: 8 x 16384 x 1500 bytes.
		{"small MTU", Config{Streams: streams(1, "eth1"), HeapSize: 1 << 20}, 4 + 188, 14, ""},
		// Of two devices the larger queue counts: 24 x 8192 x 3814 bytes.
		{"two devices", Config{Streams: streams(1, "eth0", "eth1")}, 4 + 179, 14, ""},
		{"two devices of one queue each", Config{Streams: streams(1, "eth0", "eth2"), Queues: []int{0}, Frames: 8192}, 4 + 15, 14, ""},
		{"two names of one queue", Config{Streams: streams(1, "eth0", "eth0.5"), Queues: []int{0}}, 4, 14, ""},
		{"substreams", Config{Streams: streams(1, "eth0"), Substreams: 4}, 4 + 30, 4, ""},
		{"substreams of small heaps", Config{Streams: streams(1, "eth0"), Substreams: 4, HeapSize: 64 << 10}, 4 + 256, 4, "--concurrent-heaps 1911 covers all"},
		{"many substreams", Config{Streams: streams(1, "eth0"), Substreams: 2000}, 4, 0, "covers 0 % of what its 16 queues can hold"},
		{"tiny heaps", Config{Streams: streams(1, "eth0"), HeapSize: 8 << 10}, 4 + 1024, 14, "fewer --frames or --queues need less"},
		// Two streams have 953 MiB, four have 1 GiB of 1907 MiB.
		{"two streams", Config{Streams: streams(2, "eth0")}, 4 + 120, 14, ""},
		{"four streams", Config{Streams: streams(4, "eth0")}, 4 + 64, 14, "covers 53 % of what its 16 queues can hold. Heaps are lost if a thread lags further (overtaken_heaps); --concurrent-heaps 124 covers all"},
		{"named", Config{Streams: streams(4, "eth0"), HeapSize: 64 << 10, ConcurrentHeaps: 3}, 3, 0, ""},
		// 256 MiB for all streams.
		{"many streams", Config{Streams: streams(16, "eth2")}, 4, 4, ""},
		{"large heaps", Config{Streams: streams(1, "eth2"), HeapSize: 64 << 20}, 4, 4, ""},
		{"a connection", Config{Streams: []Stream{{Name: "s0", Source: "tcp://10.0.0.1:7148"}}}, 4, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.config.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			p, err := makePlan(&c, fake)
			if err != nil {
				t.Fatal(err)
			}
			list, notes := p.windows(&c)
			window := streamWindow{tt.want, tt.want + tt.room}
			if want := slices.Repeat([]streamWindow{window}, len(c.Streams)); !slices.Equal(list, want) {
				t.Errorf("windows %d, want %d", list, want)
			}
			for _, note := range notes {
				if tt.note == "" || !strings.Contains(note, tt.note) {
					t.Errorf("note %q, want %q", note, tt.note)
				}
			}
			if tt.note != "" && len(notes) != len(c.Streams) {
				t.Errorf("%d notes", len(notes))
			}
		})
	}
}

// TestLaggingQueue: of several queues one is not read until it is full, while the
// others are. No heap is lost by that.
func TestLaggingQueue(t *testing.T) {
	const queues, frames, heapSize, packet = 4, 64, 8 * 3072, 3072
	const perQueue = heapSize / packet / queues // packets of a heap
	c, err := Config{
		Streams: []Stream{{Source: "10.0.0.1:1"}}, Interfaces: []string{"eth0"}, Queues: []int{0, 1, 2, 3},
		Frames: frames, HeapSize: heapSize, RingHeaps: frames, Hugepages: pool.PagesOff,
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p, err := makePlan(&c, fake)
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t.Context(), c, p)
	defer r.giveBack()
	if err := r.openMemory(); err != nil {
		t.Fatal(err)
	}
	a := r.streams[0].assembler
	maker, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: packet + 48})
	if err != nil {
		t.Fatal(err)
	}
	var full []heap.Packet // of queue 0
	heaps := 0
	for ; len(full)+perQueue <= frames; heaps++ {
		if err := maker.Start(uint64(heaps+1), []spead.OutItem{{ID: 0x1000, Data: make([]byte, heapSize)}}); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			bytes, ok := maker.AppendNext(nil)
			if !ok {
				if n != perQueue*queues {
					t.Fatalf("%d packets of a heap", n)
				}
				break
			}
			if pkt := (heap.Packet{First: bytes, Len: len(bytes)}); n%queues == 0 {
				full = append(full, pkt)
			} else {
				a.Feeder(n%queues).Feed([]heap.Packet{pkt}, 1, 1)
			}
		}
	}
	a.Feeder(0).Feed(full, 1, 1)
	if s := a.Stats(); s.Counts[ledger.HeapsComplete] != uint64(heaps) || s.Counts[ledger.HeapsOvertaken] != 0 || s.Counts[ledger.HeapsEvicted] != 0 {
		t.Errorf("of %d heaps %d are complete, %d were evicted, %d overtaken", heaps, s.Counts[ledger.HeapsComplete], s.Counts[ledger.HeapsEvicted], s.Counts[ledger.HeapsOvertaken])
	}
}
