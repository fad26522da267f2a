// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// TestPrintInfo: what was resolved, where not all went the best way.
func TestPrintInfo(t *testing.T) {
	var queues []xsk.Info
	for i := range 6 {
		q := xsk.Info{Queue: i, Mode: xsk.ModeNative, MultiBuffer: true, Frames: 8192, ChunkBytes: 4096, UMEMBytes: 32 << 20, Pages: "2M", Node: 0}
		if i >= 4 {
			q.Pages, q.Notes = "thp", []string{"2M pages: 16 needed, 3 free (echo 77 > …)"}
		}
		queues = append(queues, q)
	}
	ep := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	in := speadx.Info{
		Devices: []speadx.DeviceInfo{{
			Name: "eth1", Driver: "mlx5_core", MTU: 9000, Node: 0, Mode: xsk.ModeNative, Queues: queues,
			Carrier: true, CarrierTime: 2300 * time.Millisecond,
			Endpoints: []netip.AddrPort{ep("239.1.2.3:7148"), ep("[::]:7149"), ep("[ff15::1]:7148")},
			Rungs: []xsk.Rung{
				{Mode: xsk.ModeZeroCopy, MultiBuffer: true, Err: errors.New("the driver has no zero-copy")},
				{Mode: xsk.ModeNative, MultiBuffer: true},
			},
		}},
		Sockets:   []speadx.SocketInfo{{Endpoints: []netip.AddrPort{ep("[::]:7150")}, Buffer: 4 << 20, GRO: true, Notes: []string{"the buffer is small"}}},
		Listeners: []speadx.ListenerInfo{{Addr: ep("[::]:7151")}, {Addr: ep("10.0.0.2:7148"), Buffer: 1 << 20, Notes: []string{"that is small too"}}},
		PoolBytes: 46 << 20, TableBytes: 1<<20 + 1, GoBytes: 640 << 10, PoolPages: "thp", PoolNode: 0, PoolNotes: []string{"2M pages: 23 needed, 0 free (echo 23 > …)"},
		Threads: 7, Notes: []string{"source :7150 uses a UDP socket", "eth1 has many queues:\n  ethtool -L eth1 combined 4"},
		PinnedCPUs: []int{0, 2, 4, 6, 8, 10, 12},
		Streams: []speadx.StreamInfo{
			{
				Name: "239.1.2.3:7148", Sum: pool.ShareConfig{Live: 4, Ring: 4, Held: 2, Threads: 6, SmallBelow: 16 << 10},
				SlotSize: 4104 << 10, SmallSize: 24 << 10, Blocks: true, SharesThreads: true,
			},
			{Name: "a.pcap", Sum: pool.ShareConfig{Live: 4, Ring: 4, Held: 2, Threads: 1}, SlotSize: 4104 << 10, Files: []string{"a.pcap"}},
		},
	}
	var b bytes.Buffer
	printInfo(&b, in, false)
	want := `eth1: driver mlx5_core, MTU 9000, queues 0-5, mode native with multi-buffer, receiving 239.1.2.3:7148, :7149, [ff15::1]:7148
  not zerocopy with multi-buffer: the driver has no zero-copy
  the link came up after 2.3 s
  UMEM: 6 × 8192 frames of 4KiB = 192MiB on 2 MiB pages of NUMA node 0 (queues 0,1,2,3), transparent huge pages of NUMA node 0 (queues 4,5)
  2M pages: 16 needed, 3 free (echo 77 > …)
UDP socket: receiving :7150, buffer 4MiB, with GRO
  the buffer is small
TCP socket: listening on :7151, the kernel's choice of buffer
TCP socket: listening on 10.0.0.2:7148, buffer 1MiB
  that is small too
capture file a.pcap
source :7150 uses a UDP socket
eth1 has many queues:
    ethtool -L eth1 combined 4
pool: 46MiB on transparent huge pages of NUMA node 0, 1025KiB of it tables, and 640KiB of Go memory
  239.1.2.3:7148: 16 slots of 4104KiB = 4 live + 4 in the ring + 2 held + 6 for threads, and as many of 24KiB for heaps below 16KiB
  a full ring makes the receiving thread wait, and with it the other streams of its queue (--on-full)
  a.pcap: 11 slots of 4104KiB = 4 live + 4 in the ring + 2 held + 1 for threads
  2M pages: 23 needed, 0 free (echo 23 > …)
7 threads on processors 0,2,4,6,8,10,12
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Where pages were not chosen, there is one command for all of the memory.
	b.Reset()
	printInfo(&b, in, true)
	if total, err := readNumber(hugePages + "nr_hugepages"); err != nil {
		t.Logf("no huge pages in this kernel: %v", err)
	} else if !strings.Contains(b.String(), "\nto have all of this on 2 MiB pages: echo ") || missingHugePages(&in) < 2*16+23 || missingHugePages(&in) > total+2*16+23 {
		t.Errorf("%d pages, %s", missingHugePages(&in), b.String())
	}
}

func TestPrintRates(t *testing.T) {
	var a, b speadx.Stats
	a.Packets, a.Payload, a.Fates[ledger.Late] = 1000, 1e9, 10
	b.Packets, b.Payload, b.Fates[ledger.Late], b.Fates[ledger.KernelDropped] = 81000, 2e9, 12, 6
	b.Fates[ledger.Duplicate], b.Fates[ledger.Delivered], b.Fates[ledger.NotIPUDP] = 500, 80000, 99 // no loss
	a.Streams = []speadx.StreamStats{{Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 3}}}, {Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 4}}}}
	b.Streams = []speadx.StreamStats{{Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 103, ledger.HeapsIncomplete: 2}}}, {Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 54}}}}
	var w bytes.Buffer
	printRates(&w, &a, &b, 2*time.Second, 12*time.Second)
	printRates(&w, &speadx.Stats{}, &speadx.Stats{}, time.Second, time.Second)
	repeats := speadx.Stats{Streams: []speadx.StreamStats{{Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 1, ledger.HeapsRepeated: 39}}}}}
	printRates(&w, &speadx.Stats{}, &repeats, time.Second, time.Second)
	repeats.Streams[0].Repeats = heap.RepeatsDeliver
	printRates(&w, &repeats, &repeats, time.Second, time.Second)
	collide := speadx.Stats{Streams: []speadx.StreamStats{{Stats: heap.Stats{Counts: ledger.StreamCounts{ledger.HeapsComplete: 1, ledger.SourceConflicts: 40}}}}}
	printRates(&w, &collide, &collide, time.Second, time.Second)
	want := `   12 s    4.000 Gb/s     40.0 kp/s     75.0 heaps/s       157 heaps  lost 8 packets (0.01 %), in all 18 (0.0222 %), 2 heaps incomplete
    1 s    0.000 Gb/s      0.0 kp/s      0.0 heaps/s         0 heaps  no loss
    1 s    0.000 Gb/s      0.0 kp/s      1.0 heaps/s         1 heaps  39 repeated heaps dropped
    1 s    0.000 Gb/s      0.0 kp/s      0.0 heaps/s         1 heaps  no loss
    1 s    0.000 Gb/s      0.0 kp/s      0.0 heaps/s         1 heaps  40 packets of senders that collide
`
	if w.String() != want {
		t.Errorf("got\n%s\nwant\n%s", w.String(), want)
	}
}

// TestSummaryText: the lines that are there only if there is something to say.
func TestSummaryText(t *testing.T) {
	var s speadx.Stats
	s.Packets, s.InFlight, s.Fates[ledger.KernelDropped], s.KernelDroppedAtLeast, s.SkippedBytes = 10, 3, 7, true, 88
	s.Streams = []speadx.StreamStats{{Name: "7148", Stats: heap.Stats{Counts: ledger.StreamCounts{
		ledger.HeapsComplete: 9, ledger.HeapsIncomplete: 1, ledger.HeapsAged: 1, ledger.HeapsOvertaken: 2, ledger.HeapsRingFull: 3,
		ledger.HeapsShutdown: 4, ledger.Blocked: 5, ledger.BlockedTime: uint64(1500 * time.Millisecond),
	}}}}
	var b bytes.Buffer
	r := &report.Report{Stats: s, Setting: flagname.Name, Delivered: report.Delivered{Heaps: 1, Bytes: 1e9, Flow: 2 * time.Second, Verify: true, Verified: 1}}
	if err := newOutput(&b, &b, &recvFlags{}, 1).summary(&b, r); err != nil {
		t.Fatal(err)
	}
	want := `Received 1 heap, 1000000000 bytes in 2.000 seconds: 4.000 Gb/s
Verified 1 heap: 0 wrong
heaps: 10
complete_heaps: 9
incomplete_heaps: 1
incomplete_heaps_evicted: 0
incomplete_heaps_aged: 1
incomplete_heaps_flushed: 0
overtaken_heaps: 2
ring_full_heaps: 3
shutdown_heaps: 4
delivered_heaps: 0
discarded_heaps: 0
single_packet_heaps: 0
stop_heaps: 0
packets: 10
bytes: 0
payload_bytes: 0
batches: 0
max_batch: 0
worker_blocked: 5
blocked_seconds: 1.500
skipped_bytes: 88
ledger: 10 packets
             7 kernel_dropped at least (exact with --gro=false)
             3 in flight
             0 unaccounted
pool of 7148: live 0 of 0, in the ring 0 of 0, held 0 of 0, least free 0 of 0
verdict: 4 heaps lost or incomplete [heaps_lost]
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestNotices(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newNotices(&b))
	log.Debug("nobody sees this")
	log.Info("so it goes")
	log.Warn("3 packets refused", "stream", "7148")
	log.Error("no more")
	want := "note: so it goes\nwarning: 3 packets refused (stream 7148)\nerror: no more\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestStreamNameEscaped: a file may be called anything.
func TestStreamNameEscaped(t *testing.T) {
	for name, want := range map[string]string{
		"239.1.2.3:7148": `"239.1.2.3:7148"`, `a "b".pcap`: `"a \"b\".pcap"`, `a\b`: `"a\\b"`, "a\nb": `"a\nb"`, "ä": `"ä"`, "\xff": `"\ufffd"`,
	} {
		if got := string(appendString(nil, name)); got != want {
			t.Errorf("%q is written as %s, want %s", name, got, want)
		}
	}
}
