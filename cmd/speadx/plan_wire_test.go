// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// The scenario of these tests. A machine with two slow processors keeps up with the rate. The
// heaps are as large as small heaps may be, so that there is one class of slots.
const (
	planHeap    = 16 << 10
	planPayload = 1 << 10
	planPackets = planHeap / planPayload
)

var planArgs = []string{
	"plan", "--format", "command", "-H", "16KiB", "--packet", "1072", "--rate", "0.2",
	"--stall", "10ms", "--consumer", "1ms", "--thread-stall", "25ms", "-i", "sx-b",
}

// What the plan comes to: 1525.9 heaps and 24414 packets a second.
const (
	planLive   = 2    // one, and one that overlaps it
	planRing   = 16   // in 10 ms
	planHeld   = 2    // of 1 ms each
	planArrive = 611  // packets in 25 ms
	planFrames = 1024 // for these and 64 in hand
	planSlots  = 2 + 16 + 2 + 1
	planHalf   = planFrames / 2
)

// planned is the configuration that the printed command makes of recv.
func planned(t *testing.T, n *vnet.Net) speadx.Config {
	t.Helper()
	r := within(t, &n.B, append(planArgs, destination(n))...)
	r.check(t, 0)
	args := strings.Fields(r.stdout)
	if len(args) < 2 || args[0] != "speadx" || args[1] != "recv" {
		t.Fatalf("the command is %q", r.stdout)
	}
	cfg, err := parseRecv(args[2:])
	if err != nil {
		t.Fatalf("recv does not take %q: %v", r.stdout, err)
	}
	if cfg.ConcurrentHeaps != planLive || cfg.RingHeaps != planRing || cfg.ConsumerHeaps != planHeld || cfg.Frames != planFrames || cfg.HeapSize != planHeap {
		t.Fatalf("the plan is %q", r.stdout)
	}
	// So that a kernel of any age does the same: not part of what is planned.
	cfg.Mode, cfg.Hugepages = speadx.ModeNative, pool.PagesOff
	return cfg
}

// planRig is a receiver, its consumer, and a sender whose packets are made one by one.
type planRig struct {
	t    *testing.T
	r    *speadx.Receiver
	conn net.Conn
	sent uint64
	next uint64 // heap count
	held []*heap.Heap
	got  map[uint64]bool
}

func newPlanRig(t *testing.T, n *vnet.Net, cfg speadx.Config) *planRig {
	t.Helper()
	g := &planRig{t: t, next: 1, got: map[uint64]bool{}}
	inside(t, &n.B, func() (err error) { g.r, err = speadx.Open(t.Context(), cfg); return err })
	t.Cleanup(func() {
		for _, h := range g.held {
			h.Release()
		}
		if err := g.r.Close(); err != nil {
			t.Error(err)
		}
	})
	inside(t, &n.A, func() (err error) { g.conn, err = net.Dial("udp", destination(n)); return err })
	t.Cleanup(func() { g.conn.Close() })
	in := g.r.Info()
	if got := in.PoolSlots; got != cfg.ConcurrentHeaps+cfg.RingHeaps+cfg.ConsumerHeaps+1 {
		t.Fatalf("%d slots", got)
	}
	return g
}

// packet sends packet i of a heap of size bytes.
func (g *planRig) packet(cnt uint64, i, size int) {
	g.t.Helper()
	b := make([]byte, 48+planPayload)
	copy(b, "\x53\x04\x02\x06\x00\x00\x00\x05") // SPEAD-64-48, five item pointers
	const immediate = 1 << 63
	for k, p := range []uint64{
		immediate | 1<<48 | cnt, immediate | 2<<48 | uint64(size), immediate | 3<<48 | uint64(i*planPayload), immediate | 4<<48 | planPayload,
		0x1000 << 48, // one item, from the heap's first byte on
	} {
		binary.BigEndian.PutUint64(b[8+8*k:], p)
	}
	if _, err := g.conn.Write(b); err != nil {
		g.t.Fatal(err)
	}
	g.sent++
}

// heaps sends whole heaps, one after the other.
func (g *planRig) heaps(n int) {
	for range n {
		for i := range planPackets {
			g.packet(g.next, i, planHeap)
		}
		g.next++
	}
}

// await waits for what has to become of the packets.
func (g *planRig) await(what string, cond func(*speadx.Stats) bool) speadx.Stats {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s := g.r.Stats()
		if cond(&s) {
			return s
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("no %s: %d packets, fates %v, %+v", what, s.Packets, s.Fates, s.Streams[0])
		}
	}
}

// seen waits until the program on the interface has seen all that was sent.
func (g *planRig) seen() speadx.Stats {
	g.t.Helper()
	return g.await("arrival", func(s *speadx.Stats) bool { return s.Packets == g.sent })
}

// take has the consumer take n heaps. It holds the last ones.
func (g *planRig) take(n, hold int) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for range n {
		if len(g.held) == hold {
			g.held[0].Release()
			g.held = g.held[1:]
		}
		h, err := g.r.Next(ctx)
		if err != nil {
			g.t.Fatal(err)
		}
		if !h.Complete() || g.got[h.Cnt()] {
			g.t.Errorf("heap %d: complete %v, again %v", h.Cnt(), h.Complete(), g.got[h.Cnt()])
		}
		g.got[h.Cnt()] = true
		g.held = append(g.held, h)
	}
}

// stall brings the receiver to the point at which the stall of the plan begins: the consumer
// holds as many heaps as planned.
func (g *planRig) stall() {
	g.t.Helper()
	g.heaps(planHeld)
	g.take(planHeld, planHeld)
}

// end lets the consumer take the rest, and checks what became of all packets: all were
// delivered but those with these fates.
func (g *planRig) end(lost map[ledger.Fate]uint64) {
	g.t.Helper()
	g.seen()
	g.r.Stop()
	for _, h := range g.held {
		h.Release()
	}
	g.held = nil
	for h, err := range g.r.Heaps(g.t.Context()) {
		if err != nil {
			g.t.Fatal(err)
		}
		g.got[h.Cnt()] = true
		h.Release()
	}
	<-g.r.Done()
	s := g.r.Stats()
	want := ledger.Fates{ledger.Delivered: g.sent}
	for f, n := range lost {
		want[f] = n
		want[ledger.Delivered] -= n
	}
	if s.Fates != want || s.Unaccounted != 0 || s.Packets != g.sent {
		g.t.Errorf("%d packets, %d unaccounted, fates %v, want %v", s.Packets, s.Unaccounted, s.Fates, want)
	}
}

// TestPlanHolds: with the plan's numbers nothing is lost, and no thread waits, while the
// consumer stalls for as long as planned, several times.
func TestPlanHolds(t *testing.T) {
	n := wire(t)
	for _, policy := range []heap.Policy{heap.Block, heap.DropNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			cfg := planned(t, n)
			cfg.OnFull = policy
			g := newPlanRig(t, n, cfg)
			g.stall()
			for cycle := range 3 {
				g.heaps(planRing) // as many as come in the stall
				done := uint64(planHeld + (cycle+1)*planRing)
				s := g.await("heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsComplete] == done })
				st := &s.Streams[0]
				if st.Counts[ledger.Blocked] != 0 || st.Counts[ledger.HeapsRingFull] != 0 || st.Slots.Ready != planRing || st.Slots.Held != planHeld {
					t.Fatalf("after stall %d: blocked %d times, %d heaps dropped, %+v", cycle, st.Counts[ledger.Blocked], st.Counts[ledger.HeapsRingFull], st.Slots)
				}
				g.take(planRing, planHeld)
			}
			g.end(nil)
		})
	}
}

// TestPlanOneRingPlaceLess: a place less in the ring, and a heap of each stall is dropped
// there, or the thread has to wait.
func TestPlanOneRingPlaceLess(t *testing.T) {
	n := wire(t)
	for _, policy := range []heap.Policy{heap.Block, heap.DropNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			cfg := planned(t, n)
			cfg.RingHeaps, cfg.OnFull = planRing-1, policy
			g := newPlanRig(t, n, cfg)
			g.stall()
			g.heaps(planRing)
			if policy == heap.DropNewest {
				g.await("dropped heap", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsRingFull] == 1 })
				g.end(map[ledger.Fate]uint64{ledger.RingFull: planPackets})
				return
			}
			g.await("blocked thread", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.Blocked] == 1 })
			// From now on the frames are not read. What comes until they are full is kept. The
			// rest is the kernel's loss.
			g.heaps(planFrames/planPackets + 1)
			s := g.seen()
			if s.Fates[ledger.KernelDropped] == 0 {
				t.Errorf("fates %v", s.Fates)
			}
			if s.Fates[ledger.RingFull] != 0 {
				t.Errorf("a heap was dropped under the policy %v", policy)
			}
		})
	}
}

// fill brings every slot into use. As many heaps as planned are held, wait in the ring, and are
// incomplete. One more, a single packet, is in the thread's hands. The function that it returns
// completes the incomplete ones.
func (g *planRig) fill() (complete func()) {
	g.t.Helper()
	g.stall()
	g.heaps(planRing)
	first := g.next
	g.next += planLive
	for i := range planPackets - 1 {
		for k := range uint64(planLive) { // in turn
			g.packet(first+k, i, planHeap)
		}
	}
	g.packet(g.next, 0, planPayload)
	g.next++
	return func() {
		for k := range uint64(planLive) {
			g.packet(first+k, planPackets-1, planHeap)
		}
	}
}

// TestPlanSlots: every slot of the plan can be in use at the same time, and nothing is lost.
func TestPlanSlots(t *testing.T) {
	n := wire(t)
	g := newPlanRig(t, n, planned(t, n))
	complete := g.fill()
	s := g.await("heap in the thread's hands", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.Blocked] == 1 })
	st := &s.Streams[0]
	if st.Slots.LeastFree != 0 || g.r.Info().PoolSlots != planSlots {
		t.Errorf("%d slots, %+v", g.r.Info().PoolSlots, st.Slots)
	}
	complete()
	g.take(planRing+1+planLive, planHeld)
	g.end(nil)
}

// TestPlanOneSlotLess: a slot less, and the last of these heaps finds none.
func TestPlanOneSlotLess(t *testing.T) {
	n := wire(t)
	cfg := planned(t, n)
	cfg.ConsumerHeaps = planHeld - 1 // while the consumer holds as many as before
	g := newPlanRig(t, n, cfg)
	complete := g.fill()
	s := g.await("refused packet", func(s *speadx.Stats) bool { return s.Fates[ledger.NoSlot] > 0 })
	if st := &s.Streams[0]; st.Slots.LeastFree != 0 || st.Counts[ledger.Blocked] != 0 {
		t.Errorf("blocked %d times, %+v", st.Counts[ledger.Blocked], st.Slots)
	}
	g.take(1, planHeld) // or the next heap waits for the ring
	complete()
	g.take(planRing-1+planLive, planHeld)
	g.end(map[ledger.Fate]uint64{ledger.NoSlot: 1})
}

// TestPlanOneConcurrentHeapLess: of two heaps that overlap one is given up.
func TestPlanOneConcurrentHeapLess(t *testing.T) {
	n := wire(t)
	for less, lost := range map[int]map[ledger.Fate]uint64{
		0: nil,
		1: {ledger.DiscardedIncomplete: planPackets - 1, ledger.Late: 1},
	} {
		cfg := planned(t, n)
		cfg.ConcurrentHeaps -= less
		g := newPlanRig(t, n, cfg)
		for i := range planPackets - 1 {
			g.packet(1, i, planHeap)
		}
		g.packet(2, 0, planHeap)
		g.packet(1, planPackets-1, planHeap)
		for i := range planPackets - 1 {
			g.packet(2, i+1, planHeap)
		}
		g.end(lost)
	}
}

// TestPlanFrames: while the receiving thread does not run for as long as planned, the frames
// keep all that arrives. Half of them do not, and the kernel counts the rest.
func TestPlanFrames(t *testing.T) {
	n := wire(t)
	for _, frames := range []int{planFrames, planHalf} {
		cfg := planned(t, n)
		cfg.Frames = frames
		g := newPlanRig(t, n, cfg)
		// The ring is full, and the thread has one heap more: it does nothing until the
		// consumer takes one.
		g.stall()
		g.heaps(planRing + 1)
		g.await("blocked thread", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.Blocked] == 1 })
		before := g.sent
		g.heaps(planArrive / planPackets)
		for i := range planArrive % planPackets {
			g.packet(g.next, i, planHeap)
		}
		if g.sent-before != planArrive {
			t.Fatalf("%d packets were sent", g.sent-before)
		}
		s := g.seen()
		lost := s.Fates[ledger.KernelDropped]
		if d := s.Devices[0].Queues[0]; lost != d.Counts[ledger.QueueRxDropped] {
			t.Errorf("%d packets dropped, and %d of them for want of a frame", lost, d.Counts[ledger.QueueRxDropped])
		}
		if frames == planHalf {
			// The batch that the thread is in keeps up to 64 frames more.
			if least := uint64(planArrive - planHalf); lost < least || lost > least+64 {
				t.Errorf("%d packets lost with %d frames, want %d and up to 64 more", lost, frames, least)
			}
			continue
		}
		if lost != 0 {
			t.Errorf("%d packets lost with %d frames", lost, frames)
		}
		for i := planArrive % planPackets; i < planPackets; i++ {
			g.packet(g.next, i, planHeap)
		}
		g.next++
		g.take(planRing+1+planArrive/planPackets+1, planHeld)
		g.end(nil)
	}
}

// TestPlanRuns: the program, started by the plan's command, receives the planned rate.
func TestPlanRuns(t *testing.T) {
	n := wire(t)
	// On a busy machine a thread may be late by more than a sized one should.
	r := within(t, &n.B, append(planArgs, "--thread-stall", "500ms", destination(n))...)
	r.check(t, 0)
	args := strings.Fields(r.stdout)[1:]
	args = append([]string{args[0], "--mode", "native", "--hugepages", "off", "--format", "json", "--verify"}, args[1:]...)
	recv := start(t, options{at: &n.B}, args...)
	recv.receiving(t)
	within(t, &n.A, "send", "-q", "--verify", "-H", "16KiB", "--packet", "1072", "--rate", "0.2", "--heaps", "500", destination(n)).check(t, 0)
	res := recv.wait(t)
	res.check(t, 0)
	s := lastSummary(t, res.stdout)
	if s.VerifiedHeaps != 500 || s.Fates[ledger.Delivered]+s.Fates[ledger.StreamControl] != s.Packets {
		t.Errorf("summary %+v", s)
	}
}
