// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// BenchmarkFeed decodes, places, completes and releases heaps whose packets lie
// in memory, 256 MiB of them so that no cache holds them; copy is the time of
// plain copy of the same payloads into the same slots.
func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, packet := range []int{1472, 4096, 8972} {
			b.Run(fmt.Sprintf("heap=%d/packet=%d", size, packet), func(b *testing.B) {
				benchmarkFeed(b, size, packet)
			})
		}
	}
}

func benchmarkFeed(b *testing.B, size, packet int) {
	const total = 256 << 20
	heaps := total / size
	arena := make([]byte, 0, total+total/8)
	var all [][]Packet
	pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: packet})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, size)
	packets := 0
	for cnt := range heaps {
		if err := pk.Start(uint64(cnt+1), []spead.OutItem{{ID: itemTime, Immediate: true, Value: uint64(cnt)}, {ID: itemData, Data: data}}); err != nil {
			b.Fatal(err)
		}
		var one []Packet
		for {
			at := len(arena)
			next, ok := pk.AppendNext(arena)
			if !ok {
				break
			}
			arena = next
			one = append(one, Packet{First: arena[at:len(arena):len(arena)], Len: len(arena) - at})
		}
		packets += len(one)
		all = append(all, one)
	}
	epoch := time.Now()
	clock := func() int64 { return int64(time.Since(epoch)) } // as the receiver's, for the times of heaps
	r := newRig(b, pool.ShareConfig{Largest: size, Live: 4, Ring: 4, Held: 2}, Config{Clock: clock})
	run := func() {
		r.now += 3 * second
		f := r.Feeder(0)
		for _, one := range all {
			for len(one) > 0 {
				n := min(len(one), batchSize)
				f.Feed(one[:n], r.now, r.now)
				one = one[n:]
			}
			for h := r.TryNext(); h != nil; h = r.TryNext() {
				h.Release()
			}
		}
	}
	run()
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(packets), "ns/packet")
	b.ReportMetric(float64(copyTime(all, r).Nanoseconds())/float64(packets), "copy-ns/packet")
	if s := r.Stats(); s.Counts[ledger.HeapsComplete] != uint64(heaps)*(s.Counts[ledger.HeapsComplete]/uint64(heaps)) || s.Counts[ledger.HeapsIncomplete] > 0 {
		b.Fatalf("%d complete heaps, %d incomplete", s.Counts[ledger.HeapsComplete], s.Counts[ledger.HeapsIncomplete])
	}
}

// copyTime is the time it takes to copy the payloads into the slots, best of three.
func copyTime(all [][]Packet, r *rig) time.Duration {
	best := time.Duration(1 << 62)
	for range 3 {
		began := time.Now()
		for i, one := range all {
			slot := r.cfg.Share.Bytes(i % 4)
			at := 0
			for k := range one {
				headers := 8 + 8*int(one[k].First[7])
				at += copy(slot[at:], one[k].First[headers:])
			}
		}
		best = min(best, time.Since(began))
	}
	return best
}

// BenchmarkPointers is what item pointers cost: those of a heap's only packet, many that
// each packet repeats, and many that come packet by packet.
func BenchmarkPointers(b *testing.B) {
	const heaps, size = 512, 64
	heapOf := func(cnt uint64, packets int, pointers func(i int) []spead.Pointer) (out [][]byte) {
		for i := range packets {
			out = append(out, raw(f48, cnt, int64(packets*size), int64(i*size), make([]byte, size), pointers(i)...))
		}
		return out
	}
	some := func(from, n int) (out []spead.Pointer) {
		for i := range n {
			out = append(out, f48.Immediate(uint64(0x1000+from+i), uint64(i)))
		}
		return out
	}
	for _, bb := range []struct {
		name string
		heap func(cnt uint64) [][]byte
	}{
		{"one packet", func(cnt uint64) [][]byte { return heapOf(cnt, 1, func(int) []spead.Pointer { return some(0, 4) }) }},
		{"repeated", func(cnt uint64) [][]byte { return heapOf(cnt, 16, func(int) []spead.Pointer { return some(0, 40) }) }},
		{"spilled", func(cnt uint64) [][]byte {
			return heapOf(cnt, 16, func(i int) []spead.Pointer { return some(40*i, 40) })
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var all [][]Packet
			for cnt := range uint64(heaps) {
				var one []Packet
				for _, p := range bb.heap(cnt) {
					one = append(one, Packet{First: p, Len: len(p)})
				}
				all = append(all, one)
			}
			r := newRig(b, pool.ShareConfig{}, Config{})
			b.ReportAllocs()
			for b.Loop() {
				r.now += 3 * second
				for _, one := range all {
					r.Feeder(0).Feed(one, r.now, r.now)
					h := r.TryNext()
					if h == nil {
						b.Fatalf("no heap\n%s", fates(r.Stats()))
					}
					h.Release()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/heaps, "ns/heap")
		})
	}
}
