// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// packet makes n bytes that no other seed makes.
func packet(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// TestReceive sends packets of all sizes, with batches of one packet up to more
// than there are, and lets some be lost for want of frames: what was sent is
// received, in order and whole, or in the kernel's counter; at every rest no frame
// is missing.
func TestReceive(t *testing.T) {
	for _, batch := range []int{1, 2, 7, 100} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			q, f := openFake(t, testConfig())
			rng := rand.New(rand.NewPCG(3, uint64(batch)))
			dst := make([]Packet, batch)
			var want [][]byte
			var sent, got, chunks uint64
			for range 500 {
				for range rng.IntN(30) {
					size := 1 + rng.IntN(9000)
					if rng.IntN(100) == 0 {
						size = 65535
					}
					data := packet(sent, size)
					sent++
					if f.send(data) {
						want = append(want, data)
						chunks += uint64((size + 3839) / 3840)
					}
				}
				if q.Mark() != chunks || q.Position() > q.Mark() {
					t.Fatalf("mark %d, position %d, want mark %d", q.Mark(), q.Position(), chunks)
				}
				for rng.IntN(4) > 0 {
					n := q.Receive(dst)
					for _, p := range dst[:n] {
						if !bytes.Equal(join(t, p), want[0]) {
							t.Fatalf("packet %d differs", got)
						}
						want = want[1:]
						got++
					}
					if rng.IntN(3) > 0 {
						q.Release()
					}
				}
				if err := q.Conserved(); err != nil {
					t.Fatal(err)
				}
			}
			q.Release()
			for n := q.Receive(dst); n > 0; n = q.Receive(dst) {
				got += uint64(n)
				q.Release()
			}
			if q.Position() != q.Mark() {
				t.Errorf("position %d, mark %d at the end", q.Position(), q.Mark())
			}
			s := q.Stats()
			if s.Packets != got || s.Chunks != chunks || s.Packets+s.Kernel.RxDropped != sent {
				t.Errorf("sent %d, got %d in %d chunks, stats %+v", sent, got, chunks, s)
			}
			if s.RingHigh > 64 || s.RingHigh == 0 || s.Batches == 0 {
				t.Errorf("stats %+v", s)
			}
			if s.Kernel.RxDropped == 0 {
				t.Error("nothing was lost: the test proves less than it should")
			}
			if n := len(f.fill.take(100)); n != 64 {
				t.Errorf("%d of 64 frames on the fill ring at rest", n)
			}
		})
	}
}

// TestReceiveDropsOnly: when every packet of a batch is dropped the caller has
// nothing to release, and the frames go back nevertheless.
func TestReceiveDropsOnly(t *testing.T) {
	c := testConfig()
	c.MaxChain = 2
	q, f := openFake(t, c)
	dst := make([]Packet, 8)
	for range 100 {
		if !f.send(packet(1, 9000)) {
			t.Fatal("no frames left")
		}
		if n := q.Receive(dst); n != 0 {
			t.Fatalf("received %d packets of 3 chunks, allowed are 2", n)
		}
	}
	if s := q.Stats(); s.ChainTooLong != 100 || s.Packets != 0 || s.Chunks != 300 {
		t.Errorf("stats %+v", s)
	}
	if err := q.Wait(0); err != nil {
		t.Fatal(err)
	}
	if n := len(f.fill.take(100)); n != 64 {
		t.Errorf("%d of 64 frames on the fill ring after Wait", n)
	}
}

// TestPartialChain: a batch that ends inside a packet, which kernels do not send
// but rings permit, is continued by the next one.
func TestPartialChain(t *testing.T) {
	q, f := openFake(t, testConfig())
	dst := make([]Packet, 8)
	data := packet(1, 9000)
	frames := f.fill.take(3)
	f.fill.publish()
	for i, frame := range frames {
		part := data[i*3000 : (i+1)*3000]
		copy(f.umem[frame+5:], part)
		d := unix.XDPDesc{Addr: frame + 5, Len: 3000, Options: contd}
		if i == 2 {
			d.Options = 0
		}
		f.rx.write(t, d)
		f.rx.publish()
		n := q.Receive(dst)
		if n != i/2 {
			t.Fatalf("%d packets after chunk %d", n, i)
		}
		if n == 1 && !bytes.Equal(join(t, dst[0]), data) {
			t.Error("packet differs")
		}
		q.Release()
	}
	if err := q.Conserved(); err != nil {
		t.Error(err)
	}
}

// TestInvalidDescriptors reach the counters of Stats.
func TestInvalidDescriptors(t *testing.T) {
	q, f := openFake(t, testConfig())
	dst := make([]Packet, 8)
	frame := f.fill.take(2)
	f.fill.publish()
	f.rx.write(t, unix.XDPDesc{Addr: frame[0], Len: 1 << 20}, unix.XDPDesc{Addr: 1 << 50, Len: 1})
	f.rx.publish()
	if n := q.Receive(dst); n != 0 {
		t.Errorf("received %d", n)
	}
	s := q.Stats()
	if s.InvalidDesc != 2 || s.InvalidPackets != 2 || s.LostFrames != 1 || s.Chunks != 2 {
		t.Errorf("stats %+v", s)
	}
	if err := q.Conserved(); err != nil {
		t.Errorf("with the lost frame counted: %v", err)
	}
}

// TestFrameTwice: a kernel that names one frame again and again neither overruns
// the held frames nor goes unnoticed.
func TestFrameTwice(t *testing.T) {
	q, f := openFake(t, testConfig())
	dst := make([]Packet, 200)
	for range 2 {
		for range 60 {
			f.rx.write(t, unix.XDPDesc{Addr: 4096, Len: 1})
		}
		f.rx.publish()
		q.Receive(dst)
	}
	err := q.Conserved()
	if err == nil || !strings.Contains(err.Error(), "frame 1 is in two places") {
		t.Errorf("Conserved: %v", err)
	}
}

// TestConserved finds a missing frame in copy mode; in zero-copy the driver may
// have it.
func TestConserved(t *testing.T) {
	for _, mode := range []Mode{ModeNative, ModeZeroCopy} {
		c := testConfig()
		c.Mode = mode
		q, f := openFake(t, c)
		if err := q.Conserved(); err != nil {
			t.Error(err)
		}
		f.fill.take(1)
		f.fill.publish()
		if err := q.Conserved(); (err == nil) != (mode == ModeZeroCopy) {
			t.Errorf("%v, a frame away from all rings: %v", mode, err)
		}
	}
}

// TestMark is read by another goroutine while packets flow: never behind the
// position, never going back.
func TestMark(t *testing.T) {
	q, f := openFake(t, testConfig())
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() {
		var mark, position uint64
		for {
			p, m := q.Position(), q.Mark()
			if p < position || m < mark || m < p || m > p+1<<20 {
				t.Errorf("position %d then %d, mark %d then %d", position, p, mark, m)
			}
			position, mark = p, m
			q.Stats()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	dst := make([]Packet, 16)
	for n := range 20000 {
		f.send(dst16[:1+n%16])
		if n%5 == 0 {
			q.Receive(dst)
			q.Release()
		}
	}
	close(stop)
	watchers.Wait()
}

var dst16 [16]byte

// TestMarkWraps: the 64-bit counts go on where the 32-bit indices wrap.
func TestMarkWraps(t *testing.T) {
	q, f := openFake(t, testConfig())
	const start = 1<<32 - 20
	// As after 2^32-20 descriptors.
	q.rx.seen, q.rx.next, q.consumed = start, start, start
	q.rx.producer.Store(start)
	q.rx.consumer.Store(start)
	q.publish()
	f.rx.produced = start
	dst := make([]Packet, 8)
	for n := range uint64(40) {
		f.send([]byte{1})
		if q.Mark() != start+n+1 {
			t.Fatalf("mark %d, want %d", q.Mark(), start+n+1)
		}
		if q.Receive(dst) != 1 || q.Position() != start+n+1 {
			t.Fatalf("position %d, want %d", q.Position(), start+n+1)
		}
		q.Release()
	}
}

// TestNeedsKick: in zero-copy a driver that has stopped is woken once the frames are
// there; one that has not is left alone.
func TestNeedsKick(t *testing.T) {
	for _, mode := range []Mode{ModeZeroCopy, ModeNative} {
		c := testConfig()
		c.Mode = mode
		q, f := openFake(t, c)
		dst := make([]Packet, 8)
		kick := f.system.kick
		f.system.kick = func(fd int) unix.Errno {
			if n := f.fill.producer.Load() - f.fill.consumed; n != 64 {
				t.Errorf("kicked with %d of 64 frames on the fill ring", n)
			}
			return kick(fd)
		}
		round := func() int32 {
			before := f.kicks.Load()
			f.send([]byte{1})
			q.Receive(dst)
			q.Release()
			return f.kicks.Load() - before
		}
		if n := round(); n != 0 {
			t.Errorf("%v: %d kicks without the flag", mode, n)
		}
		f.fill.flags.Store(unix.XDP_RING_NEED_WAKEUP)
		if n := round(); n != int32(b2i(mode == ModeZeroCopy)) {
			t.Errorf("%v: %d kicks with the flag", mode, n)
		}
		if got := q.Stats().Kicks; got != uint64(f.kicks.Load()) {
			t.Errorf("Kicks = %d of %d", got, f.kicks.Load())
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestAfterClose: every method does something sensible, the last statistics stay.
func TestAfterClose(t *testing.T) {
	q, f := openFake(t, testConfig())
	dst := make([]Packet, 8)
	f.send([]byte{1})
	f.send([]byte{2})
	f.stats.Rx_dropped = 5
	q.Receive(dst)
	for range 3 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if left := f.leaked(); left != nil {
			t.Errorf("left open: %v", left)
		}
		if n := q.Receive(dst); n != 0 {
			t.Errorf("received %d", n)
		}
		q.Release()
		q.Wake()
		if err := q.Wait(-1); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
		if err := q.Conserved(); !errors.Is(err, ErrClosed) {
			t.Errorf("Conserved: %v", err)
		}
		if s := q.Stats(); s.Packets != 2 || s.Kernel.RxDropped != 5 {
			t.Errorf("stats %+v", s)
		}
		if q.Mark() != 2 || q.Position() != 2 || q.FD() != -1 {
			t.Errorf("mark %d, position %d, fd %d", q.Mark(), q.Position(), q.FD())
		}
		if info := q.Info(); info.Frames != 64 || info.Mode != ModeNative || info.Ifname != "eth7" {
			t.Errorf("info %+v", info)
		}
	}
}

// TestCloseWhileWatched: Stats, Mark and Wake from other goroutines do not touch
// what Close has given back.
func TestCloseWhileWatched(t *testing.T) {
	for range 50 {
		q, _ := openFake(t, testConfig())
		var watchers sync.WaitGroup
		started := make(chan struct{}, 3)
		for _, f := range []func(){func() { q.Stats(); q.FrameCounts() }, func() { q.Mark() }, q.Wake} {
			watchers.Go(func() {
				for n := range 50 {
					f()
					if n == 5 {
						started <- struct{}{}
					}
				}
			})
		}
		<-started
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		watchers.Wait()
	}
}

func TestNoAllocation(t *testing.T) {
	q, f := openFake(t, testConfig())
	dst := make([]Packet, 8)
	feed := newLoop(q, f, 3)
	f.system.poll = func([]unix.PollFd, *unix.Timespec) (int, error) { return 0, nil }
	if n := testing.AllocsPerRun(1000, func() {
		feed.publish(24)
		q.Receive(dst)
		q.Release()
		_ = q.Wait(0)
		q.Position()
		q.Mark()
	}); n != 0 {
		t.Errorf("%v allocations in a round", n)
	}
}

// loop is a kernel without a cost: the RX ring's slots hold the same descriptors
// for ever, only the indices move.
type loop struct {
	q *Queue
	f *fake
}

// newLoop fills all slots with packets of so many chunks.
func newLoop(q *Queue, f *fake, chunks int) loop {
	for i := range f.rx.desc {
		f.rx.desc[i] = unix.XDPDesc{Addr: uint64(i)*4096 + headroom, Len: 3840, Options: contd}
		if i%chunks == chunks-1 {
			f.rx.desc[i].Options = 0
		}
	}
	return loop{q, f}
}

// publish shows n more descriptors, and takes as many frames.
func (l loop) publish(n uint32) {
	l.f.rx.producer.Add(n)
	l.f.fill.consumer.Store(l.f.fill.producer.Load())
}

// BenchmarkReceive is Receive and Release of batches of 64, per descriptor; the
// rings are in memory and nobody else touches them.
func BenchmarkReceive(b *testing.B) {
	for _, chunks := range []int{1, 4} {
		b.Run(fmt.Sprintf("chunks=%d", chunks), func(b *testing.B) {
			c := testConfig()
			c.Frames = 4096
			q, f := openFake(b, c)
			feed := newLoop(q, f, chunks)
			dst := make([]Packet, 64)
			b.ReportAllocs()
			b.ResetTimer()
			var packets int
			for n := 0; n < b.N; n += 64 {
				feed.publish(64)
				packets += q.Receive(dst)
				q.Release()
			}
			if packets < b.N/chunks {
				b.Fatalf("%d packets of %d descriptors", packets, b.N)
			}
		})
	}
}
