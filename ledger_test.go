// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// A heap here is 8 packets, of 64 KiB together.
const (
	heapBytes   = 64 << 10
	heapPackets = 8
	heapPacket  = heapBytes/heapPackets + 48
)

// stalled is a receiver whose consumer does not take anything: with room for two
// finished heaps and no more.
func stalled(n *testnet.Net, onFull heap.Policy) speadx.Config {
	cfg := one(n)
	cfg.HeapSize, cfg.RingHeaps, cfg.OnFull = heapBytes, 2, onFull
	return cfg
}

// sendAndAwait sends so many heaps of 8 packets, and waits until the receiver's kernel
// has seen them.
func sendAndAwait(t *testing.T, n *testnet.Net, r *speadx.Receiver, heaps int64) send.Result {
	t.Helper()
	sent := sendHeaps(t, n, send.Config{Heaps: heaps, HeapSize: heapBytes, MaxPacket: heapPacket, NoDescriptors: true, NoStop: true})
	if sent.Packets != uint64(heaps)*heapPackets {
		t.Fatalf("%d heaps are %d packets", heaps, sent.Packets)
	}
	awaitPackets(t, r, sent.Packets)
	return sent
}

// TestStalledBlock: what the blocked thread does not read overflows the packet
// buffers, and the kernel counts it.
func TestStalledBlock(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := stalled(n, heap.Block)
			cfg.Mode, cfg.Frames, cfg.NoGRO, cfg.SocketBuffer = mode, 64, true, 128<<10
			r := open(t, n, cfg)
			// Without GSO: in generic mode a train of packets that is dropped counts as
			// one.
			s := openSender(t, n, send.Config{Heaps: -1, HeapSize: heapBytes, MaxPacket: heapPacket, Rate: 0.3e9, NoGSO: true, NoStop: true})
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			result := make(chan send.Result, 1)
			go func() {
				res, err := s.Run(ctx)
				if err != nil {
					t.Error(err)
				}
				result <- res
			}()
			awaitStats(t, r, "blocked thread and loss", func(s *speadx.Stats) bool {
				return s.Streams[0].Counts[ledger.Blocked] > 0 && s.Fates[ledger.KernelDropped] > 0
			})
			stop()
			sent := <-result
			if mode != speadx.ModeUDP { // there, what waits in the socket is not counted
				awaitPackets(t, r, sent.Packets)
			}
			r.Stop()
			list := receive(t, r)
			st := settle(t, r)
			if st.Packets != sent.Packets {
				t.Errorf("%d packets of %d: %s", st.Packets, sent.Packets, account(st))
			}
			if len(list) == 0 || st.Fates[ledger.KernelDropped] == 0 || st.Fates[ledger.Delivered] == 0 || st.Streams[0].Counts[ledger.BlockedTime] == 0 {
				t.Errorf("%d heaps, blocked for %v: %s", len(list), st.Streams[0].Counts[ledger.BlockedTime], account(st))
			}
			if st.KernelDroppedAtLeast {
				t.Error("an exact count is said to be a lower bound")
			}
		})
	}
}

// TestStalledDrop: the policies that drop keep reading, and every packet is there
// in a heap that was delivered or dropped.
func TestStalledDrop(t *testing.T) {
	const heaps = 40
	n := newWire(t, testnet.Options{})
	for policy, kept := range map[heap.Policy][]uint64{
		heap.DropNewest: {1, 2},
		heap.DropOldest: {heaps - 1, heaps},
	} {
		t.Run(policy.String(), func(t *testing.T) {
			r := open(t, n, stalled(n, policy))
			sent := sendAndAwait(t, n, r, heaps)
			awaitStats(t, r, "heaps dropped", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsRingFull] == heaps-2 })
			r.Stop()
			list := receive(t, r)
			if len(list) != 2 || list[0].cnt != kept[0] || list[1].cnt != kept[1] {
				t.Errorf("heaps %+v, want %d", list, kept)
			}
			s := settle(t, r)
			if s.Packets != sent.Packets {
				t.Errorf("%d packets of %d", s.Packets, sent.Packets)
			}
			checkFates(t, &s, map[ledger.Fate]uint64{
				ledger.Delivered: 2 * heapPackets,
				ledger.RingFull:  (heaps - 2) * heapPackets,
			})
		})
	}
}

// TestHoarder: a consumer that holds more heaps than it said runs the pool dry.
// The packets of the heaps that find no slot are counted, and the log says what to
// do.
func TestHoarder(t *testing.T) {
	const heaps, slots = 10, 2 + 2 + 1 + 1 // live, in the ring, with the consumer, one of the thread's
	n := newWire(t, testnet.Options{})
	cfg := stalled(n, heap.Block)
	cfg.ConcurrentHeaps, cfg.ConsumerHeaps = 2, 1
	log := &logBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := open(t, n, cfg)
	held := make(chan []*heap.Heap, 1)
	go func() {
		var list []*heap.Heap
		for h, err := range r.Heaps(t.Context()) {
			if err != nil {
				t.Error(err)
				break
			}
			list = append(list, h)
		}
		held <- list
	}()
	sendAndAwait(t, n, r, heaps)
	awaitStats(t, r, "end of the flow", func(s *speadx.Stats) bool { return s.InFlight == 0 })
	r.Stop()
	list := <-held
	if len(list) != slots {
		t.Errorf("%d heaps, want %d", len(list), slots)
	}
	for _, h := range list {
		if err := verify(h); err != nil {
			t.Error(err)
		}
		h.Release()
	}
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{
		ledger.Delivered: slots * heapPackets,
		ledger.NoSlot:    (heaps - slots) * heapPackets,
	})
	if c := s.Streams[0].Slots; c.HighHeld != slots || c.LeastFree != 0 {
		t.Errorf("%+v", c)
	}
	if !log.contains("code=slots_held stream=10.77.0.2:7148 count=32 of=80") {
		t.Errorf("the log says %q", log)
	}
}

// logBuffer is a log that a test reads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestDroppedTrains: a sender's packets may come to us as one, uncut from one with
// GSO in generic mode, or put together again by a socket with GRO. Those that are
// dropped count as one packet too, and that is said.
func TestDroppedTrains(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := stalled(n, heap.Block)
			cfg.Mode, cfg.Frames, cfg.SocketBuffer = mode, 64, 256<<10
			r := open(t, n, cfg)
			sent := sendHeaps(t, n, send.Config{Heaps: 100, HeapSize: heapBytes, MaxPacket: heapPacket, NoStop: true})
			awaitStats(t, r, "loss", func(s *speadx.Stats) bool { return s.Fates[ledger.KernelDropped] > 0 })
			r.Stop()
			receive(t, r)
			s := settle(t, r)
			if !s.KernelDroppedAtLeast || s.SuperFrames == 0 || s.Packets >= sent.Packets {
				t.Errorf("%d packets of %d, %d in frames of others, at least: %v", s.Packets, sent.Packets, s.SuperFrames, s.KernelDroppedAtLeast)
			}
		})
	}
}

// TestTinyRings: frames for 64 packets, an unpaced sender and a consumer that is
// quick. Whatever is lost is counted.
func TestTinyRings(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode, cfg.Frames, cfg.Incomplete = mode, 64, true
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			sent := sendHeaps(t, n, send.Config{Heaps: 40, HeapSize: 500_000, Rate: 100e9, NoGSO: true, NoStop: true})
			awaitPackets(t, r, sent.Packets)
			r.Stop()
			incomplete := 0
			for _, g := range list() {
				if g.wrong != nil {
					t.Error(g.wrong)
				}
				if !g.complete {
					incomplete++
				}
			}
			s := settle(t, r)
			if s.Packets != sent.Packets {
				t.Errorf("%d packets of %d: %s", s.Packets, sent.Packets, account(s))
			}
			if lost := s.Fates[ledger.KernelDropped]; lost == 0 && incomplete > 0 {
				t.Errorf("%d incomplete heaps and nothing lost", incomplete)
			}
		})
	}
}

// TestQueueWithoutSocket: packets on a queue that was not asked for go to the
// kernel, are counted, and the log says on which queue they came.
func TestQueueWithoutSocket(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	cfg := one(n)
	cfg.Streams[0], cfg.Queues, cfg.Incomplete = portRange(n), []int{0}, true
	log := &logBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	r := open(t, n, cfg)
	list := receiveAside(t, r)
	sent := sendHeaps(t, n, send.Config{Destinations: destinations(n), Heaps: 2 * manyPorts, HeapSize: 50_000, NoStop: true})
	awaitPackets(t, r, sent.Packets)
	r.Stop()
	heaps := uint64(len(list()))
	s := settle(t, r)
	d := s.Devices[0]
	if s.Packets != sent.Packets || d.Counts[ledger.DeviceMatched] != sent.Packets {
		t.Errorf("%d packets, %d matched, of %d", s.Packets, d.Counts[ledger.DeviceMatched], sent.Packets)
	}
	if s.Fates[ledger.NoSocket] == 0 || s.Fates[ledger.NoSocket] != d.Counts[ledger.DeviceNoSocket] || heaps == 0 {
		t.Errorf("%d heaps: %s", heaps, account(s))
	}
	checkFates(t, &s, map[ledger.Fate]uint64{
		// A heap goes to one destination, and so to one queue.
		ledger.Delivered: sent.Packets - d.Counts[ledger.DeviceNoSocket],
		ledger.NoSocket:  d.Counts[ledger.DeviceNoSocket],
	})
	if len(d.Queues) != 1 || d.Queues[0].Queue != 0 || d.Queues[0].Counts[ledger.QueueMatched] != sent.Packets-d.Counts[ledger.DeviceNoSocket] {
		t.Errorf("queues %+v", d.Queues)
	}
	if !log.contains(fmt.Sprintf("code=queue_unserved device=%s queue=1 ", d.Name)) {
		t.Errorf("the log says %q", log)
	}
}

// TestFaults: loss, reordering and repetition on the way. What the sender says it
// did is what the receiver has seen.
func TestFaults(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, tt := range []struct {
		mode       speadx.Mode
		incomplete bool
		faults     send.Faults
	}{
		{speadx.ModeNative, true, send.Faults{Drop: 0.01, Reorder: 0.05, Duplicate: 0.05, Seed: 1}},
		{speadx.ModeNative, false, send.Faults{Drop: 0.01, Reorder: 0.05, Duplicate: 0.05, Seed: 2}},
		{speadx.ModeGeneric, true, send.Faults{Drop: 0.2, Reorder: 0.3, Duplicate: 0.2, Seed: 3}},
		{speadx.ModeUDP, true, send.Faults{Drop: 0.01, Reorder: 0.5, Duplicate: 0.5, Seed: 4}},
	} {
		t.Run(fmt.Sprintf("%v/%d", tt.mode, tt.faults.Seed), func(t *testing.T) {
			const heaps = 200
			cfg := one(n)
			cfg.Mode, cfg.NoGRO, cfg.Incomplete = tt.mode, true, tt.incomplete
			cfg.HeapSize = 50_000
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			sent := sendHeaps(t, n, send.Config{Heaps: heaps, HeapSize: 50_000, Faults: tt.faults})
			if sent.Dropped == 0 || sent.Duplicated == 0 || sent.Reordered == 0 || sent.DamagedHeaps == 0 {
				t.Fatalf("sent %+v", sent)
			}
			var complete, incomplete uint64
			for _, g := range list() {
				if g.wrong != nil {
					t.Error(g.wrong)
				}
				if g.complete {
					complete++
				} else {
					incomplete++
				}
			}
			s := settle(t, r)
			if want := sent.Heaps - sent.DamagedHeaps - sent.MissingHeaps; complete != want || s.Streams[0].Counts[ledger.HeapsComplete] != want {
				t.Errorf("%d complete heaps, want %d", complete, want)
			}
			if tt.incomplete && incomplete != sent.DamagedHeaps || s.Streams[0].Counts[ledger.HeapsIncomplete] != sent.DamagedHeaps {
				t.Errorf("%d incomplete heaps, %d of them delivered; want %d", s.Streams[0].Counts[ledger.HeapsIncomplete], incomplete, sent.DamagedHeaps)
			}
			if s.Packets != sent.Packets {
				t.Errorf("%d packets of %d", s.Packets, sent.Packets)
			}
			in := s.Fates[ledger.Delivered] + s.Fates[ledger.DeliveredIncomplete] + s.Fates[ledger.DiscardedIncomplete]
			if want := sent.Packets - sent.StopHeaps - sent.Duplicated; in != want {
				t.Errorf("%d packets in heaps, want %d: %s", in, want, account(s))
			}
			// A repetition of a packet of a heap that left incomplete is late.
			if again := s.Fates[ledger.Duplicate] + s.Fates[ledger.Late]; again != sent.Duplicated {
				t.Errorf("%d repetitions of %d: %s", again, sent.Duplicated, account(s))
			}
			if s.Fates[ledger.StreamControl] != sent.StopHeaps || in+sent.Duplicated+sent.StopHeaps != s.Packets {
				t.Errorf("%s", account(s))
			}
		})
	}
}

// TestEndsInFullFlow ends reception while packets are arriving at full speed, in
// each way there is. Every packet that the program on the interface had seen has a
// fate.
func TestEndsInFullFlow(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		for _, how := range []string{"Stop", "context", "Close", "Close blocked"} {
			t.Run(mode.String()+"/"+how, func(t *testing.T) {
				cfg := stalled(n, heap.Block)
				cfg.Mode, cfg.NoGRO, cfg.Frames = mode, true, 512
				cfg.Streams[0] = portRange(n)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var r *speadx.Receiver
				var err error
				n.Do(func() { r, err = speadx.Open(ctx, cfg) })
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer context.AfterFunc(ctx, r.Stop)()

				flow, stopFlow := context.WithCancel(t.Context())
				s := openSender(t, n, send.Config{
					Destinations: destinations(n), Heaps: -1, HeapSize: heapBytes, MaxPacket: heapPacket, Rate: 100e9, NoStop: true,
				})
				var flowing sync.WaitGroup
				flowing.Go(func() {
					if _, err := s.Run(flow); err != nil {
						t.Error(err)
					}
				})
				watched := make(chan struct{})
				go func() { watchCounters(t, r); close(watched) }()
				consumed := make(chan error, 1)
				go func() {
					if how == "Close blocked" {
						consumed <- nil
						return
					}
					consumed <- consume(t, r)
				}()
				awaitStats(t, r, "full flow", func(s *speadx.Stats) bool {
					if how == "Close blocked" {
						return s.Streams[0].Counts[ledger.Blocked] > 0
					}
					return s.Streams[0].Counts[ledger.HeapsDelivered] > 50
				})
				switch how {
				case "Stop":
					r.Stop()
				case "context":
					cancel()
				default:
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				}
				if err := <-consumed; err != nil {
					t.Error(err)
				}
				st := settle(t, r)
				<-watched
				stopFlow()
				flowing.Wait()
				if strings.HasPrefix(how, "Close") {
					checkNext(t, r, speadx.ErrClosed)
				} else {
					checkEnd(t, r)
				}
				if late := r.Stats(); late.Packets != st.Packets || late.Fates != st.Fates {
					t.Errorf("counted after the end: %s; before: %s", account(late), account(st))
				}
			})
		}
	}
}

// watchCounters looks at the statistics again and again until the end: nothing ever
// goes back.
func watchCounters(t *testing.T, r *speadx.Receiver) {
	var last speadx.Stats
	for over := false; !over; {
		select {
		case <-r.Done():
			over = true // after one more look
		default:
		}
		s := r.Stats()
		back := s.Packets < last.Packets || s.Bytes < last.Bytes || s.Payload < last.Payload || s.SuperFrames < last.SuperFrames
		for f := range s.Fates {
			back = back || s.Fates[f] < last.Fates[f]
		}
		if back {
			t.Errorf("counters went back, from %s to %s", account(last), account(s))
			return
		}
		last = s
	}
}

// consume takes heaps until the end, and gives the error if there is one.
func consume(t *testing.T, r *speadx.Receiver) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		h, err := r.Next(ctx)
		if errors.Is(err, io.EOF) || errors.Is(err, speadx.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Release()
	}
}

// TestStopWaitsForTheConsumer: what was finished before Stop is there after it.
func TestStopWaitsForTheConsumer(t *testing.T) {
	n := newWire(t, testnet.Options{})
	r := open(t, n, stalled(n, heap.Block))
	sendAndAwait(t, n, r, 10) // of which two fit into the ring
	r.Stop()
	r.Stop()
	select {
	case <-r.Done():
		t.Error("done, and nobody has taken the heaps")
	case <-time.After(20 * time.Millisecond):
	}
	checkHeaps(t, receive(t, r), 10)
	settle(t, r)
}
