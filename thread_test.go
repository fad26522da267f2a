// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// ringSource is a ring of packets, as a queue's.
type ringSource struct {
	ring    [][]byte
	per     int // packets a batch
	pos     uint64
	next    int
	onEmpty func() // called when Receive has found nothing, before it returns
	over    atomic.Bool
}

func (s *ringSource) Receive(b *source.Batch, _ time.Duration) (int, error) {
	b.Packets, b.Streams = b.Packets[:0], b.Streams[:0]
	if s.next == len(s.ring) {
		if s.over.Load() {
			return 0, io.EOF
		}
		time.Sleep(time.Millisecond)
		if s.onEmpty != nil {
			s.onEmpty()
		}
		return 0, nil
	}
	for i := 0; i < s.per && s.next < len(s.ring); i++ {
		p := s.ring[s.next]
		b.Packets = append(b.Packets, heap.Packet{First: p, Len: len(p)})
		b.Streams = append(b.Streams, 0)
		s.next++
	}
	b.Now, b.Wall = source.Clock()
	return len(b.Packets), nil
}
func (s *ringSource) Release()              { s.pos = uint64(s.next) }
func (s *ringSource) Mark() uint64          { return uint64(len(s.ring)) }
func (s *ringSource) Position() uint64      { return s.pos }
func (s *ringSource) Wake()                 {}
func (s *ringSource) Counts() source.Counts { return source.Counts{} }
func (s *ringSource) Close() error          { return nil }
func (s *ringSource) Name() string          { return "ring" }

func rawPacket(cnt uint64, heapLength, offset int64, payload []byte, pointers ...spead.Pointer) []byte {
	f := spead.Flavour48
	all := []spead.Pointer{f.Immediate(spead.IDHeapCnt, cnt), f.Immediate(spead.IDHeapLength, uint64(heapLength)),
		f.Immediate(spead.IDPayloadOffset, uint64(offset)), f.Immediate(spead.IDPayloadLength, uint64(len(payload)))}
	all = append(all, pointers...)
	b := []byte{0x53, 4, byte(64-f) / 8, byte(f) / 8, 0, 0, byte(len(all) >> 8), byte(len(all))}
	for _, p := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(p))
	}
	return append(b, payload...)
}

func stopPacket(cnt uint64) []byte {
	f := spead.Flavour48
	return rawPacket(cnt, 1, 0, []byte{0}, f.Immediate(spead.IDStreamCtrl, spead.CtrlStop))
}

func ringStream(t *testing.T, threads, ring int) *stream {
	share := pool.ShareConfig{Live: 4, Ring: ring, Held: 2, Threads: threads, Largest: 1 << 16}
	var err error
	if share.Tables, err = (heap.Config{}).TableBytes(share); err != nil {
		t.Fatal(err)
	}
	p, err := pool.New(pool.Config{Shares: []pool.ShareConfig{share}, Pages: pool.PagesOff, Node: -1, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := heap.New(heap.Config{Share: p.Share(0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	return &stream{assembler: a, share: p.Share(0)}
}

// Packets that came into a queue after it was found empty, and before another
// queue saw the stop, are worked off.
func TestStopSeenWhileQueueIsEmpty(t *testing.T) {
	s := ringStream(t, 2, 4)
	src := &ringSource{per: 64}
	th := &thread{src: src, feeders: make([]*heap.Feeder, 1), streams: make([]*stream, 1), stops: make([]stop, 1), started: make(chan struct{}), done: make(chan struct{})}
	other := s.assembler.Feeder(0)
	s.feeders = 1
	th.feed(0, s)
	once := false
	src.onEmpty = func() {
		if once {
			src.over.Store(true)
			return
		}
		once = true
		// The queue was found empty. Now two packets of a heap come in on it, then
		// the stop on the other queue.
		src.ring = append(src.ring, rawPacket(1, 100, 0, make([]byte, 50)), rawPacket(1, 100, 50, make([]byte, 50)))
		p := stopPacket(9)
		other.Feed([]heap.Packet{{First: p, Len: len(p)}}, 1, 1)
	}
	go th.run()
	<-th.done
	other.Finish()
	st := s.assembler.Stats()
	if st.Fates[ledger.AfterStop] != 0 || st.Counts[ledger.HeapsComplete] != 1 {
		t.Errorf("after_stop %d, complete heaps %d", st.Fates[ledger.AfterStop], st.Counts[ledger.HeapsComplete])
	}
}

// damaged is a ring in which every second batch is of somebody else.
type damaged struct {
	ringSource
	n int
}

func (d *damaged) Receive(b *source.Batch, t time.Duration) (int, error) {
	if d.n++; d.n%2 == 0 {
		b.Packets, b.Streams = b.Packets[:0], b.Streams[:0]
		return 0, nil
	}
	return d.ringSource.Receive(b, t)
}

// A batch of which nothing was ours is no empty ring: what stands behind it is
// worked off.
func TestStopBehindForeignPackets(t *testing.T) {
	s := ringStream(t, 1, 8)
	src := &damaged{ringSource: ringSource{per: 2}}
	for cnt := uint64(1); cnt <= 6; cnt++ {
		src.ring = append(src.ring, rawPacket(cnt, 100, 0, make([]byte, 50)), rawPacket(cnt, 100, 50, make([]byte, 50)))
	}
	th := &thread{src: src, feeders: make([]*heap.Feeder, 1), streams: make([]*stream, 1), stops: make([]stop, 1), started: make(chan struct{}), done: make(chan struct{})}
	th.feed(0, s)
	th.stop() // Receiver.Stop: what is on the ring is to be worked off
	go th.run()
	<-th.done
	if st := s.assembler.Stats(); st.Counts[ledger.HeapsComplete] != 6 {
		t.Errorf("%d of the 6 heaps on the ring", st.Counts[ledger.HeapsComplete])
	}
}

// TestSleeps: only who reads a ring can spin.
func TestSleeps(t *testing.T) {
	for _, c := range []struct {
		src  source.Source
		wait Wait
		want bool
	}{
		{&source.AFXDP{}, WaitPoll, true},
		{&source.AFXDP{}, WaitSpin, false},
		{&source.AFXDP{}, WaitBusy, false},
		{&source.UDP{}, WaitPoll, true},
		{&source.UDP{}, WaitSpin, true},
	} {
		r := &Receiver{cfg: Config{Wait: c.wait}}
		if got := r.addThread(c.src).sleeps; got != c.want {
			t.Errorf("%T with %v: it sleeps: %v", c.src, c.wait, got)
		}
	}
}
