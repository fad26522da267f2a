// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// layout is where the kernel puts the parts of a ring: each index on a cache line
// of its own (struct xdp_ring in net/xdp/xsk_queue.h).
var layout = unix.XDPRingOffset{Producer: 0, Consumer: 64, Flags: 128, Desc: 192}

// starts are index values at which a ring may stand, the last ones about to wrap.
var starts = []uint32{0, 1, 5, math.MaxUint32/2 + 1, math.MaxUint32 - 9, math.MaxUint32 - 3, math.MaxUint32}

// kernelRX is the kernel's end of an RX ring.
type kernelRX struct {
	rxRing
	produced uint32
}

func newRX(t testing.TB, slots int, start uint32) (*rxRing, *kernelRX) {
	t.Helper()
	mem := make([]byte, int(layout.Desc)+slots*descBytes)
	uint32At(mem, layout.Producer).Store(start)
	uint32At(mem, layout.Consumer).Store(start)
	ours, err := newRxRing(mem, layout, slots)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newRxRing(mem, layout, slots)
	if err != nil {
		t.Fatal(err)
	}
	return &ours, &kernelRX{theirs, start}
}

// write puts descriptors on the ring without showing them, and fails the test if
// one would go over a slot that we have not given back.
func (k *kernelRX) write(t testing.TB, descs ...unix.XDPDesc) {
	t.Helper()
	for _, d := range descs {
		if k.produced-k.consumer.Load() >= uint32(len(k.desc)) {
			t.Fatal("the kernel finds the RX ring full")
		}
		k.desc[k.produced&k.mask] = d
		k.produced++
	}
}

func (k *kernelRX) publish() { k.producer.Store(k.produced) }

// kernelFill is the kernel's end of a fill ring.
type kernelFill struct {
	fillRing
	consumed uint32
}

func newFill(t testing.TB, slots int, start uint32) (*fillRing, *kernelFill) {
	t.Helper()
	mem := make([]byte, int(layout.Desc)+slots*addrBytes)
	uint32At(mem, layout.Producer).Store(start)
	uint32At(mem, layout.Consumer).Store(start)
	ours, err := newFillRing(mem, layout, slots)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newFillRing(mem, layout, slots)
	if err != nil {
		t.Fatal(err)
	}
	return &ours, &kernelFill{theirs, start}
}

// take reads up to n addresses. The slots go back with publish, later: as the
// kernel does it.
func (k *kernelFill) take(n int) []uint64 {
	var addrs []uint64
	for ; n > 0 && k.consumed != k.producer.Load(); n-- {
		addrs = append(addrs, k.addr[k.consumed&k.mask])
		k.consumed++
	}
	return addrs
}

func (k *kernelFill) publish() { k.consumer.Store(k.consumed) }

// TestRxRing passes numbered descriptors through rings of several sizes, near the
// end of the index range too, in bursts that leave the ring empty, partly filled
// and full.
func TestRxRing(t *testing.T) {
	for _, slots := range []int{1, 2, 8, 64} {
		for _, start := range starts {
			t.Run(fmt.Sprintf("%d slots from %#x", slots, start), func(t *testing.T) {
				ours, kernel := newRX(t, slots, start)
				var sent, got uint64
				for burst := range 5 * slots {
					for range min(burst%(slots+1), slots-int(sent-got)) {
						kernel.write(t, unix.XDPDesc{Addr: sent, Len: uint32(sent + 1), Options: uint32(sent + 2)})
						sent++
					}
					kernel.publish()
					wanted := uint32(1 + burst%(slots+2))
					n := ours.available(wanted)
					if n > uint32(sent-got) || n < min(wanted, uint32(sent-got)) {
						t.Fatalf("available(%d) = %d of %d", wanted, n, sent-got)
					}
					n = min(n, wanted)
					for i := range n {
						want := unix.XDPDesc{Addr: got, Len: uint32(got + 1), Options: uint32(got + 2)}
						if d := ours.at(i); d != want {
							t.Fatalf("descriptor %d is %+v", got, d)
						}
						got++
					}
					ours.release(n)
				}
				if got < uint64(slots) {
					t.Errorf("only %d descriptors passed", got)
				}
			})
		}
	}
}

// TestRxRingStale: what is known of is enough for a small batch, the shared index
// is not read; an empty cache is refreshed.
func TestRxRingStale(t *testing.T) {
	ours, kernel := newRX(t, 8, math.MaxUint32-1)
	kernel.write(t, make([]unix.XDPDesc, 4)...)
	kernel.publish()
	if n := ours.available(1); n != 4 {
		t.Fatalf("available = %d, want 4", n)
	}
	ours.release(2)
	kernel.write(t, make([]unix.XDPDesc, 3)...)
	kernel.publish()
	if n := ours.available(2); n != 2 {
		t.Errorf("with 2 known of, available(2) = %d: read the shared index needlessly", n)
	}
	if n := ours.available(3); n != 5 {
		t.Errorf("available(3) = %d, want 5", n)
	}
}

// TestRxRingNonsense: an index that no kernel writes does not lead outside.
func TestRxRingNonsense(t *testing.T) {
	ours, _ := newRX(t, 8, 0)
	ours.producer.Store(1 << 31)
	if n := ours.available(100); n != 8 {
		t.Errorf("available = %d with the producer 2^31 ahead of a ring of 8", n)
	}
}

// TestFillRing pushes numbered addresses while the kernel takes them at another
// pace and shows its index late: nothing is lost, doubled or overwritten.
func TestFillRing(t *testing.T) {
	for _, slots := range []int{1, 2, 8, 64} {
		for _, start := range starts {
			t.Run(fmt.Sprintf("%d slots from %#x", slots, start), func(t *testing.T) {
				ours, kernel := newFill(t, slots, start)
				var pushed, taken, shown uint64
				for round := range 6 * slots {
					batch := make([]uint64, round%(slots+3))
					for i := range batch {
						batch[i] = pushed + uint64(i)
					}
					n := ours.push(batch)
					if want := min(len(batch), slots-int(pushed-shown)); n != want {
						t.Fatalf("pushed %d of %d with %d slots free", n, len(batch), want)
					}
					pushed += uint64(n)
					for _, addr := range kernel.take(1 + round%slots) {
						if addr != taken {
							t.Fatalf("the kernel reads address %d, want %d", addr, taken)
						}
						taken++
					}
					if round%3 == 2 {
						kernel.publish()
						shown = taken
					}
				}
				if taken < uint64(slots) {
					t.Errorf("only %d addresses passed", taken)
				}
			})
		}
	}
}

// TestFillRingNonsense: with an index that no kernel writes the ring counts as full.
func TestFillRingNonsense(t *testing.T) {
	ours, _ := newFill(t, 8, 0)
	if n := ours.push(make([]uint64, 8)); n != 8 {
		t.Fatalf("pushed %d", n)
	}
	ours.consumer.Store(1 << 31)
	if n := ours.push([]uint64{1}); n != 0 {
		t.Errorf("pushed %d on a ring whose consumer is 2^31 ahead", n)
	}
}

func TestNeedWakeup(t *testing.T) {
	ours, _ := newFill(t, 8, 0)
	if ours.needWakeup() {
		t.Error("without the flag")
	}
	ours.flags.Store(unix.XDP_RING_NEED_WAKEUP)
	if !ours.needWakeup() {
		t.Error("not with the flag")
	}
}

// TestRingLayout: offsets that do not fit the mapping are refused, not followed.
func TestRingLayout(t *testing.T) {
	mem := make([]byte, int(layout.Desc)+8*descBytes)
	for name, change := range map[string]func(off *unix.XDPRingOffset, slots *int){
		"producer outside":   func(off *unix.XDPRingOffset, _ *int) { off.Producer = uint64(len(mem)) },
		"consumer at end":    func(off *unix.XDPRingOffset, _ *int) { off.Consumer = uint64(len(mem)) - 3 },
		"flags huge":         func(off *unix.XDPRingOffset, _ *int) { off.Flags = math.MaxUint64 - 3 },
		"producer unaligned": func(off *unix.XDPRingOffset, _ *int) { off.Producer = 2 },
		"slots unaligned":    func(off *unix.XDPRingOffset, _ *int) { off.Desc = 100 },
		"slots outside":      func(off *unix.XDPRingOffset, _ *int) { off.Desc += 8 },
		"slots huge":         func(off *unix.XDPRingOffset, _ *int) { off.Desc = math.MaxUint64 - 7 },
		"too many slots":     func(_ *unix.XDPRingOffset, slots *int) { *slots = 16 },
		"no slots":           func(_ *unix.XDPRingOffset, slots *int) { *slots = 0 },
		"no power of two":    func(_ *unix.XDPRingOffset, slots *int) { *slots = 6 },
	} {
		t.Run(name, func(t *testing.T) {
			off, slots := layout, 8
			change(&off, &slots)
			if _, err := newRxRing(mem, off, slots); err == nil {
				t.Error("accepted as RX ring")
			}
		})
	}
	if _, err := newRxRing(mem, layout, 8); err != nil {
		t.Error(err)
	}
	if _, err := newFillRing(mem[:8], layout, 8); err == nil {
		t.Error("fill ring in 8 bytes accepted")
	}
}

// BenchmarkRings is the least that a descriptor costs: out of the RX ring, its
// address onto the fill ring, with the kernel's part done beforehand.
func BenchmarkRings(b *testing.B) {
	const slots, batch = 4096, 64
	rx, _ := newRX(b, slots, 0)
	fill, _ := newFill(b, slots, 0)
	addrs := make([]uint64, batch)
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		rx.producer.Store(rx.next + batch)
		fill.consumer.Store(fill.next)
		got := rx.available(batch)
		for i := range got {
			addrs[i] = rx.at(i).Addr
		}
		rx.release(got)
		fill.push(addrs[:got])
	}
	_ = slices.Max(addrs)
}
