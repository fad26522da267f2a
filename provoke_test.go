// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/ledger"
)

// situation is two readings of the counters, a second apart, of one stream and one device with
// 1000 packets and 100 heaps between them.
type situation struct {
	before, now Stats
	f           facts
}

func newSituation() *situation {
	s := &situation{f: facts{
		slotSize: map[string]int64{"s": 1 << 20}, live: map[string]bool{"s": true}, maxFrame: map[string]int{"eth0": 3000},
		frames: map[string]int{"eth0": 64}, unserved: map[string]map[int]uint64{"eth0": {}}, substreams: 1,
	}}
	at := time.Unix(1_700_000_000, 0)
	for i, r := range []*Stats{&s.before, &s.now} {
		n := uint64(1 + i)
		var st StreamStats
		st.Name, st.Sum.Ring, st.Sum.Live, st.Sum.Held = "s", 4, 4, 2
		st.Window = 4
		st.Counts[ledger.PacketsFed], st.Counts[ledger.HeapsComplete], st.Counts[ledger.PayloadPlaced] = 1000*n, 100*n, 1_000_000*n
		st.more = &streamMore{at: at.Add(time.Duration(i) * time.Second)}
		r.Packets, r.Payload = 1000*n, 1_000_000*n
		r.Streams = []StreamStats{st}
		r.Devices = []DeviceStats{{Name: "eth0", Counts: ledger.DeviceCounts{ledger.DeviceMatched: 1000 * n},
			Queues: []QueueStats{{Queue: 0, Counts: ledger.QueueCounts{ledger.QueuePackets: 1000 * n}}, {Queue: 1}}}}
	}
	return s
}

// fate gives packets one, in the stream and in all.
func (s *situation) fate(f ledger.Fate, n uint64) {
	s.now.Fates[f] += n
	s.now.Streams[0].Fates[f] += n
}

// consumer takes so long for each of n heaps.
func (s *situation) consumer(n int, d time.Duration) {
	var h histogram.Histogram
	for range n {
		h.Observe(d)
	}
	s.now.Streams[0].more.consumer = h.Snapshot()
}

func sender(n byte, last time.Duration) heap.Source {
	return heap.Source{Sender: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 7148), Heaps: 100, Step: 8, Newest: 800 + uint64(n),
		First: time.Unix(1_699_999_000, 0), Last: time.Unix(1_700_000_000, 0).Add(last)}
}

// foundByCounters are the codes that are found from two readings: what provokes each, and what is said.
var foundByCounters = map[ledger.Code]struct {
	provoke func(s *situation)
	want    ledger.Diagnosis // the values that are compared
	say     string           // in the sentence
}{
	ledger.NetworkLoss: {func(s *situation) {
		s.now.Missing[ledger.Network] = 4000
		s.now.Streams[0].Counts[ledger.IncompleteBytes] = 4000
	}, ledger.Diagnosis{Queue: -1, Count: 4000, Of: 1_004_000}, "0.398 % of the bytes were lost before this machine could count them"},
	ledger.HeapsGone: {func(s *situation) {
		s.now.Streams[0].Counts[ledger.HeapsMissing] = 25
		s.now.Streams[0].more.sequence = heap.Sequence{Step: 1, Missing: 25, Gaps: heap.Gaps{
			FirstGap: heap.Gap{Cnt: 17, Heaps: 1, At: time.Unix(1_700_000_000, 0)}, LargestGap: heap.Gap{Cnt: 40, Heaps: 24, At: time.Unix(1_700_000_001, 0)}}}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 25, Of: 125}, "20 % of the heaps are missing entirely, 25 of 125. The first gap has 1 from number 17 on, at 22:13:20.0 UTC. The largest has 24 from 40 on, at 22:13:21.0 UTC."},
	ledger.RegularHeaps: {func(s *situation) {
		s.now.Streams[0].more.sequence = heap.Sequence{Step: 1, Gaps: heap.Gaps{Every: 8, Residue: 803}}
		s.now.Streams[0].more.sources = []heap.Source{sender(1, 0), sender(3, 0)}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Source: "10.0.0.3:7148", Every: 8, Modulo: 8, Heap: 3}, "exactly 1 of 8 heaps is missing, each with number 3 modulo 8. They are those of 10.0.0.3:7148."},
	ledger.RegularBytes: {func(s *situation) {
		st := &s.now.Streams[0]
		st.Counts[ledger.HeapsComplete] = 100
		st.Counts[ledger.HeapsIncomplete], st.Counts[ledger.IncompleteBytes], st.IncompleteSize = 100, 100_000, 3_200_000
		st.more.sources = []heap.Source{sender(1, 0), sender(2, -2*time.Second)}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 100, Every: 32, Source: "10.0.0.2:7148"}, "exactly 1/32 of the bytes of 100 incomplete heaps is missing."},
	ledger.SourceSilent: {func(s *situation) {
		s.before.Streams[0].more.sources = []heap.Source{sender(1, -time.Second), sender(2, -5500*time.Millisecond)}
		s.now.Streams[0].more.sources = []heap.Source{sender(1, 0), sender(2, -5500*time.Millisecond)}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Source: "10.0.0.2:7148", Duration: 5500 * time.Millisecond}, "nothing has come from 10.0.0.2:7148 for 5.5s, while others go on."},
	ledger.Unreadable: {func(s *situation) { s.fate(ledger.BadMagic, 3); s.fate(ledger.TooShort, 1) },
		ledger.Diagnosis{Queue: -1, Count: 4, Of: 1000, Fate: "bad_magic"}, "0.4 % of the packets could not be read: 4 of 1000, most of them bad_magic."},
	ledger.LatePackets: {func(s *situation) { s.fate(ledger.Late, 4) },
		ledger.Diagnosis{Stream: "s", Queue: -1, Count: 4, Of: 1000, Setting: "ConcurrentHeaps", Value: 4, Suggested: 8}, "Raise --concurrent-heaps to 8"},
	ledger.WindowTooSmall: {func(s *situation) {
		s.fate(ledger.Late, 30)
		st := &s.now.Streams[0]
		st.Senders, st.LateBy = 8, 11
		st.Counts[ledger.HeapsEvicted], st.Counts[ledger.HeapsIncomplete] = 10, 10
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 10, Of: 110, NumSenders: 8, Setting: "ConcurrentHeaps", Value: 4, Suggested: 18},
		"10 of 110 heaps were evicted while packets still came for them. 8 senders share a window of 4 heaps. Raise --concurrent-heaps to 18."},
	ledger.RingOverflow: {func(s *situation) {
		s.fate(ledger.RingFull, 4)
		s.consumer(90, 2*time.Millisecond)
		var slow histogram.Histogram
		for range 89 {
			slow.Observe(2 * time.Millisecond)
		}
		slow.Observe(74 * time.Millisecond)
		s.now.Streams[0].more.consumer = slow.Snapshot()
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 4, Of: 1000, Duration: 74 * time.Millisecond, Interval: 10 * time.Millisecond, Setting: "RingHeaps", Value: 4, Suggested: 9},
		"0.4 % lost at the ring, 4 packets of finished heaps. The consumer took 74ms per heap at p99. Raise --ring-heaps to 9 or make it faster."},
	ledger.RingBlocked: {func(s *situation) {
		s.now.Streams[0].Counts[ledger.BlockedTime], s.now.Streams[0].Counts[ledger.Blocked] = 200e6, 3
		s.consumer(100, 4*time.Millisecond)
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 3, Blocked: 200 * time.Millisecond, Duration: 4 * time.Millisecond, Interval: 8 * time.Millisecond, Setting: "RingHeaps", Value: 4, Suggested: 5},
		"kept receiving threads waiting for 200ms. The consumer took 4ms per heap at p99. Raise --ring-heaps to 5 or make it faster."},
	ledger.ConsumerSlow: {func(s *situation) { s.fate(ledger.RingFull, 500); s.consumer(50, 20*time.Millisecond) },
		ledger.Diagnosis{Stream: "s", Queue: -1, Count: 500, Of: 1000, Duration: 20 * time.Millisecond, Interval: 10 * time.Millisecond},
		"the consumer takes 20ms per heap, and a heap comes every 10ms. No ring is long enough for that."},
	ledger.NICDrops: {func(s *situation) {
		s.now.Devices[0].Counts[ledger.DeviceMissed] = 250
		s.now.Devices[0].Queues[1].Counts[ledger.QueueNICDrops] = 250
	}, ledger.Diagnosis{Device: "eth0", Queue: 1, Count: 250, Of: 1250}, "20 % lost at the NIC: eth0 dropped 250 packets on queue 1"},
	ledger.QueueUnserved: {func(s *situation) {
		s.now.Devices[0].Counts[ledger.DeviceNoSocket] = 7
		s.now.Devices[0].Counts[ledger.DeviceMatched] += 7
		s.f.unserved["eth0"][3] = 7
	}, ledger.Diagnosis{Device: "eth0", Queue: 3, Count: 7, Of: 1007, Setting: "Queues"}, "7 packets arrived on queue 3 of eth0, which has no socket"},
	ledger.Fragments: {func(s *situation) { s.fate(ledger.Fragment, 7) },
		ledger.Diagnosis{Queue: -1, Count: 7, Of: 1000, Setting: "Mode"}, "7 packets for our endpoints came as IP fragments"},
	ledger.FrameTooSmall: {func(s *situation) {
		s.now.Devices[0].Queues[0].Counts[ledger.QueueRxDropped] = 7
		s.now.Devices[0].Counts[ledger.DeviceMatched] += 7
	}, ledger.Diagnosis{Device: "eth0", Queue: -1, Count: 7, Of: 1007, Bytes: 3000, Setting: "Mode"}, "longer than 3000 bytes"},
	ledger.RedirectLost: {func(s *situation) { s.now.Devices[0].Counts[ledger.DeviceMatched] += 100 },
		ledger.Diagnosis{Device: "eth0", Queue: -1, Count: 36, Of: 1100, Setting: "Mode"}, "36 packets that the XDP program on eth0 redirected"},
	ledger.KernelDrops: {func(s *situation) { s.fate(ledger.KernelDropped, 4) },
		ledger.Diagnosis{Queue: -1, Count: 4, Of: 1000, Setting: "Frames"}, "0.4 % lost at the socket: the kernel dropped 4 packets"},
	ledger.PacketTooLong: {func(s *situation) { s.fate(ledger.ChainTooLong, 4) },
		ledger.Diagnosis{Queue: -1, Count: 4, Of: 1000}, "4 packets dropped for being longer than 64 KiB"},
	ledger.HeapTooLarge: {func(s *situation) { s.now.Streams[0].Oversize = 5 << 20 },
		ledger.Diagnosis{Stream: "s", Queue: -1, Count: 1, Bytes: 5 << 20, Setting: "HeapSize", Value: 1 << 20, Suggested: 5 << 20}, "Raise --heap-size to 5242880"},
	ledger.SendersCollide: {func(s *situation) {
		s.now.Streams[0].Counts[ledger.SourceConflicts] = 2
		s.now.Streams[0].Conflict = heap.Conflict{Cnt: 9, Senders: [2]netip.AddrPort{sender(1, 0).Sender, sender(2, 0).Sender}}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 2, Heap: 9, Setting: "BySender", Suggested: 1}, "heap 9 came from 10.0.0.1:7148 and from 10.0.0.2:7148"},
	ledger.HeapsRepeat: {func(s *situation) {
		s.now.Streams[0].Counts[ledger.HeapsRepeated] = 3
		s.now.Streams[0].Repeated = heap.Repeated{Cnt: 9, Senders: [2]netip.AddrPort{sender(1, 0).Sender, sender(1, 0).Sender}}
	}, ledger.Diagnosis{Stream: "s", Queue: -1, Count: 3, Of: 103, Heap: 9, Setting: "Repeats"}, "If they are new heaps, deliver them (--repeats deliver)."},
	ledger.SlotsHeld: {func(s *situation) { s.fate(ledger.NoSlot, 4); s.now.Streams[0].Slots.HighHeld = 6 },
		ledger.Diagnosis{Stream: "s", Queue: -1, Count: 4, Of: 1000, Setting: "ConsumerHeaps", Value: 2, Suggested: 6}, "Raise --consumer-heaps to 6"},
}

// reported are the codes that are not found from two readings of Stats. Each has a test that
// provokes it.
var reported = map[ledger.Code]func(*testing.T){
	ledger.CarrierLost: TestCarrierDiagnosis, ledger.CarrierBack: TestCarrierDiagnosis,
	ledger.FIFODrops: TestVitalsDiagnosis, ledger.PauseFrames: TestVitalsDiagnosis, ledger.SoftnetDrops: TestSoftnetDiagnosis,
	ledger.NothingArrived: TestNothingArrives, ledger.FramesNotConserved: TestFramesDiagnosis, ledger.NotEthernet: TestReach, ledger.InwardAddress: TestReach,
	ledger.ForeignAddress: TestReach, ledger.AddressElsewhere: TestReach, ledger.GroupUnanswered: TestReach,
	ledger.VLANTagsHidden: TestReceiveOneVLAN,
}

// elsewhere are the codes of interfaces, whose tests are of package speadx_test: vitals_test.go and
// foreign_socket_test.go.
var elsewhere = []ledger.Code{ledger.InterfaceDown, ledger.InterfaceBack, ledger.QueuesAdded, ledger.ForeignSocket, ledger.DestinationsMixed}

// TestSoftnetDiagnosis: a test cannot make the kernel drop at its backlog, so the readings are
// given. What was dropped before the first look is of no interest.
func TestSoftnetDiagnosis(t *testing.T) {
	var w vitals
	var found []uint64
	for _, drops := range []uint64{5, 5, 8, 2, 3} {
		for _, d := range w.judgeSoftnet(drops) {
			found = append(found, d.Count)
			if d.Code != ledger.SoftnetDrops || d.Queue != -1 || !strings.Contains(d.Sentence(nil), strconv.FormatUint(d.Count, 10)) {
				t.Errorf("%+v: %s", d, d.Sentence(nil))
			}
		}
	}
	if !slices.Equal(found, []uint64{3, 1}) {
		t.Errorf("found %d", found)
	}
}

// TestEachDiagnosis provokes each diagnosis, alone, and checks its values and its sentence. It fails
// if there is a code that nothing provokes.
func TestEachDiagnosis(t *testing.T) {
	quiet := newSituation()
	if list := diagnose(&quiet.before, &quiet.now, &quiet.f); len(list) > 0 {
		t.Fatalf("with nothing wrong: %+v", list)
	}
	for _, row := range ledger.Codes() {
		c, ok := foundByCounters[row.Code]
		if !ok {
			if reported[row.Code] == nil && !slices.Contains(elsewhere, row.Code) {
				t.Errorf("nothing provokes %s", row.Code)
			}
			continue
		}
		t.Run(string(row.Code), func(t *testing.T) {
			s := newSituation()
			c.provoke(s)
			list := diagnose(&s.before, &s.now, &s.f)
			if len(list) != 1 {
				t.Fatalf("%d diagnoses: %+v", len(list), list)
			}
			d := list[0]
			text := d.Sentence(flagname.Name)
			if !strings.Contains(text, c.say) {
				t.Errorf("says %q, want %q", text, c.say)
			}
			c.want.Code = row.Code
			d.Gaps, d.Senders = [2]ledger.Gap{}, [2]netip.AddrPort{}
			if d != c.want {
				t.Errorf("%+v, want %+v", d, c.want)
			}
		})
	}
}

func TestCarrierDiagnosis(t *testing.T) {
	log := &codes{}
	w := newFindings(slog.New(log))
	for _, up := range []bool{true, false, false, true, true} {
		w.carrier("eth0", up)
	}
	if !slices.Equal(log.list, []ledger.Code{ledger.CarrierLost, ledger.CarrierBack}) {
		t.Errorf("%v", log.list)
	}
}

func TestFramesDiagnosis(t *testing.T) {
	log := &codes{}
	w := newFindings(slog.New(log))
	d := ledger.Diagnosis{Code: ledger.FramesNotConserved, Device: "eth0", Queue: 2, Err: errors.New("65 of 64 frames")}
	w.report(d)
	if log.count(ledger.FramesNotConserved) != 1 || !strings.Contains(d.Sentence(nil), "Queue 2 of eth0: 65 of 64 frames") {
		t.Errorf("%v: %s", log.list, d.Sentence(nil))
	}
}

func TestVitalsDiagnosis(t *testing.T) {
	m, err := netif.NewMonitor(1, "lo", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v := &vital{Monitor: m}
	reading := func(fifo, pauses uint64) (list []ledger.Diagnosis) {
		return v.judge(netif.Vitals{LinkState: netif.LinkState{Present: true, Up: true}, FIFO: fifo, Pauses: pauses})
	}
	reading(5, 7)
	list := reading(8, 8)
	want := []ledger.Diagnosis{{Code: ledger.FIFODrops, Device: "lo", Queue: -1, Count: 3}, {Code: ledger.PauseFrames, Device: "lo", Queue: -1, Count: 1}}
	if !slices.Equal(list, want) {
		t.Errorf("%+v, want %+v", list, want)
	}
}
