// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

const contd = unix.XDP_PKT_CONTD

// join puts the segments of a packet together and checks its length.
func join(t testing.TB, p Packet) []byte {
	t.Helper()
	all := bytes.Clone(p.First)
	for _, segment := range p.Rest {
		all = append(all, segment...)
	}
	if len(all) != p.Len {
		t.Errorf("packet with Len %d has %d bytes", p.Len, len(all))
	}
	return all
}

// TestHeldFramesTake is the table of what single descriptors and chains become. Chunks
// are 64 bytes, byte i of the UMEM is i.
func TestHeldFramesTake(t *testing.T) {
	const chunk, nChunks, maxChain = 64, 4, 3
	type totals struct{ packets, tooLong, invalidDesc, invalidPackets, lost uint64 }
	for _, tt := range []struct {
		name   string
		descs  []unix.XDPDesc
		want   [][]byte // packets
		frames []uint64 // released after it
		kept   int      // frames of an unfinished chain
		totals totals
	}{
		{
			name:   "one chunk",
			descs:  []unix.XDPDesc{{Addr: 64 + 16, Len: 3}},
			want:   [][]byte{{80, 81, 82}},
			frames: []uint64{64}, totals: totals{packets: 1},
		},
		{
			name:   "whole chunk",
			descs:  []unix.XDPDesc{{Addr: 192, Len: 64}},
			want:   [][]byte{seq(192, 64)},
			frames: []uint64{192}, totals: totals{packets: 1},
		},
		{
			name:   "empty",
			descs:  []unix.XDPDesc{{Addr: 255, Len: 0}},
			want:   [][]byte{{}},
			frames: []uint64{192}, totals: totals{packets: 1},
		},
		{
			name:   "unknown option bits are not ours to judge",
			descs:  []unix.XDPDesc{{Addr: 0, Len: 1, Options: 1 << 7}},
			want:   [][]byte{{0}},
			frames: []uint64{0}, totals: totals{packets: 1},
		},
		{
			name:   "chain, then a packet",
			descs:  []unix.XDPDesc{{Addr: 192, Len: 2, Options: contd}, {Addr: 1, Len: 1, Options: contd}, {Addr: 64, Len: 2}, {Addr: 128, Len: 1}},
			want:   [][]byte{{192, 193, 1, 64, 65}, {128}},
			frames: []uint64{192, 0, 64, 128}, totals: totals{packets: 2},
		},
		{
			name:   "unfinished chain",
			descs:  []unix.XDPDesc{{Addr: 64, Len: 1}, {Addr: 128, Len: 2, Options: contd}},
			want:   [][]byte{{64}},
			frames: []uint64{64}, kept: 1, totals: totals{packets: 1},
		},
		{
			name:   "chain too long, by one",
			descs:  []unix.XDPDesc{{Addr: 0, Len: 1, Options: contd}, {Addr: 64, Len: 1, Options: contd}, {Addr: 128, Len: 1, Options: contd}, {Addr: 192, Len: 1}},
			frames: []uint64{0, 64, 128, 192}, totals: totals{tooLong: 1},
		},
		{
			name:   "runs over its chunk",
			descs:  []unix.XDPDesc{{Addr: 64 + 60, Len: 5}, {Addr: 0, Len: 1}},
			want:   [][]byte{{0}},
			frames: []uint64{64, 0}, totals: totals{packets: 1, invalidDesc: 1, invalidPackets: 1},
		},
		{
			name:   "length of nearly 2^32",
			descs:  []unix.XDPDesc{{Addr: 1, Len: 1<<32 - 1}},
			frames: []uint64{0}, totals: totals{invalidDesc: 1, invalidPackets: 1},
		},
		{
			name:   "address behind the UMEM",
			descs:  []unix.XDPDesc{{Addr: 256, Len: 0}, {Addr: 1<<64 - 1, Len: 1}},
			totals: totals{invalidDesc: 2, invalidPackets: 2, lost: 2},
		},
		{
			name:   "bad one inside a chain spoils all of it, once",
			descs:  []unix.XDPDesc{{Addr: 0, Len: 1, Options: contd}, {Addr: 64, Len: 65, Options: contd}, {Addr: 1 << 40, Len: 65, Options: contd}, {Addr: 128, Len: 1}, {Addr: 192, Len: 1}},
			want:   [][]byte{{192}},
			frames: []uint64{0, 64, 128, 192}, totals: totals{packets: 1, invalidDesc: 2, invalidPackets: 1, lost: 1},
		},
		{
			name:   "bad one at the end of a chain",
			descs:  []unix.XDPDesc{{Addr: 0, Len: 1, Options: contd}, {Addr: 64, Len: 65}, {Addr: 128, Len: 1}},
			want:   [][]byte{{128}},
			frames: []uint64{0, 64, 128}, totals: totals{packets: 1, invalidDesc: 1, invalidPackets: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHeldFrames(seq(0, chunk*nChunks), chunk, maxChain)
			fill, kernel := newFill(t, 8, 0)
			var got [][]byte
			for _, d := range tt.descs {
				var p Packet
				if h.take(d, &p) {
					got = append(got, join(t, p))
				} else if p.First != nil || p.Rest != nil || p.Len != 0 {
					t.Errorf("packet touched by descriptor %+v, which completes none", d)
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %d packets %v, want %v", len(got), got, tt.want)
			}
			for i := range got {
				if !bytes.Equal(got[i], tt.want[i]) {
					t.Errorf("packet %d is %v, want %v", i, got[i], tt.want[i])
				}
			}
			h.release(fill)
			if frames := kernel.take(100); !equal(frames, tt.frames) {
				t.Errorf("released %v, want %v", frames, tt.frames)
			}
			if h.n != tt.kept {
				t.Errorf("%d frames kept, want %d", h.n, tt.kept)
			}
			if got := (totals{h.packets, h.chainTooLong, h.invalidDesc, h.invalidPackets, h.lostFrames}); got != tt.totals {
				t.Errorf("totals %+v, want %+v", got, tt.totals)
			}
		})
	}
}

func seq(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(from + i)
	}
	return b
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestHeldFramesChainOverReleases: a chain that arrives piece by piece, with releases in
// between that find little or no room, comes out whole, and one that grows too long
// over several releases is dropped to its last piece.
func TestHeldFramesChainOverReleases(t *testing.T) {
	const chunk, nChunks = 64, 16
	h := newHeldFrames(seq(0, chunk*nChunks), chunk, 4)
	fill, kernel := newFill(t, 2, 0) // two slots: much has to wait
	var p Packet
	take := func(frame uint64, options uint32) bool {
		return h.take(unix.XDPDesc{Addr: frame * chunk, Len: 2, Options: options}, &p)
	}
	for frame := range uint64(4) {
		if !take(frame, 0) {
			t.Fatal("no packet")
		}
	}
	take(4, contd)
	h.release(fill)
	if h.waiting != 2 || h.n != 3 {
		t.Fatalf("%d frames wait, %d are held; want 2 and 3", h.waiting, h.n)
	}
	take(5, contd)
	h.release(fill) // still no room
	if !take(6, 0) {
		t.Fatal("the chain is not complete")
	}
	if got, want := join(t, p), []byte{0, 1, 64, 65, 128, 129}; !bytes.Equal(got, want) {
		t.Errorf("chain of frames 4, 5, 6 is %v, want %v", got, want)
	}
	var released []uint64
	for range 8 {
		released = append(released, kernel.take(2)...)
		kernel.publish()
		h.release(fill)
	}
	if want := []uint64{0, 64, 128, 192, 256, 320, 384}; !equal(released, want) {
		t.Errorf("released %v, want %v", released, want)
	}
	if h.n != 0 || h.waiting != 0 || h.idle() {
		t.Errorf("%d frames are still held", h.n)
	}

	for frame := range uint64(6) {
		if take(frame, contd) {
			t.Fatal("packet out of an unfinished chain")
		}
		kernel.take(2)
		kernel.publish()
		h.release(fill)
	}
	if take(6, 0) {
		t.Error("the end of a chain of 7 came out as a packet")
	}
	if !take(7, 0) {
		t.Error("the packet after it did not")
	}
	if h.chainTooLong != 1 {
		t.Errorf("ChainTooLong = %d, want 1", h.chainTooLong)
	}
}

// TestHeldFramesRandom plays a kernel that sends packets of random shape, many of them
// broken, with frames it has got by the fill ring only. Every packet must come out
// as it went in or be counted, and no frame may get lost or stand twice.
func TestHeldFramesRandom(t *testing.T) {
	const chunk, nChunks, maxChain = 64, 32, 4
	rng := rand.New(rand.NewPCG(1, 2))
	umem := make([]byte, chunk*nChunks)
	h := newHeldFrames(umem, chunk, maxChain)
	fill, kernel := newFill(t, nChunks, 1<<32-100)
	h.fillUp(fill)

	var queue []unix.XDPDesc
	var want [][]byte
	var dropped, packets uint64
	for range 20000 {
		switch rng.IntN(3) {
		case 0: // the kernel receives a packet
			frames := kernel.take(1 + rng.IntN(maxChain+2))
			if rng.IntN(2) == 0 {
				kernel.publish()
			}
			var data []byte
			good := len(frames) <= maxChain
			for i, frame := range frames {
				off, n := rng.IntN(chunk+1), 0
				if off < chunk {
					n = rng.IntN(chunk - off + 1)
				}
				d := unix.XDPDesc{Addr: frame + uint64(off%chunk), Len: uint32(n)}
				for b := range n {
					umem[int(d.Addr)+b] = byte(rng.Uint32())
				}
				data = append(data, umem[d.Addr:int(d.Addr)+n]...)
				if rng.IntN(50) == 0 {
					d.Len = chunk + 1
					good = false
				}
				if i < len(frames)-1 {
					d.Options = contd
				}
				queue = append(queue, d)
			}
			if len(frames) > 0 {
				packets++
				if good {
					want = append(want, data)
				} else {
					dropped++
				}
			}
		case 1: // we receive
			for n := rng.IntN(len(queue) + 1); n > 0; n-- {
				if h.room() == 0 {
					t.Fatal("no room")
				}
				var p Packet
				whole := h.take(queue[0], &p)
				queue = queue[1:]
				if !whole {
					continue
				}
				if len(want) == 0 {
					t.Fatal("packet out of nothing")
				}
				if !bytes.Equal(join(t, p), want[0]) {
					t.Fatalf("packet is %v, want %v", join(t, p), want[0])
				}
				want = want[1:]
			}
		case 2:
			h.release(fill)
		}
	}
	for _, d := range queue {
		h.take(d, new(Packet))
	}
	kernel.publish()
	h.release(fill)
	if h.n != 0 {
		t.Errorf("%d frames are held at the end", h.n)
	}
	seen := map[uint64]int{}
	for _, frame := range kernel.take(nChunks + 1) {
		seen[frame]++
	}
	if len(seen) != nChunks {
		t.Errorf("%d different frames on the fill ring, want %d", len(seen), nChunks)
	}
	if h.chainTooLong+h.invalidPackets != dropped || h.packets+dropped != packets {
		t.Errorf("of %d packets %d handed out, %d too long, %d invalid; %d were bad", packets, h.packets, h.chainTooLong, h.invalidPackets, dropped)
	}
	if packets < 3000 || dropped < 300 {
		t.Errorf("only %d packets, %d bad: the test proves little", packets, dropped)
	}
}
