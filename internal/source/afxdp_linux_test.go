// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/speadx/speadx/spead"
	"github.com/speadx/speadx/xsk"
	"pgregory.net/rapid"
)

// fakeQueue plays AF_XDP: it puts frames into chunks and overwrites them when
// they are released, so that a use after that shows.
type fakeQueue struct {
	frames  [][]byte
	chunk   int // bytes of frame in a chunk
	waitErr error

	out                []byte // memory of the frames handed out
	position, released uint64
	waits, wakes       int
	closed             bool
}

func (q *fakeQueue) Receive(dst []xsk.Packet) int {
	n := 0
	for n < len(dst) && len(q.frames) > 0 {
		f := q.frames[0]
		q.frames = q.frames[1:]
		from := len(q.out)
		q.out = append(q.out, f...)
		memory := q.out[from:]
		p := xsk.Packet{Len: len(f)}
		for first := true; len(memory) > 0 || first; first = false {
			part := memory[:min(q.chunk, len(memory))]
			memory = memory[len(part):]
			if first {
				p.First = part
			} else {
				p.Rest = append(p.Rest, part)
			}
			q.position++
		}
		dst[n] = p
		n++
	}
	return n
}

func (q *fakeQueue) Release() {
	for k := range q.out {
		q.out[k] = 0xee
	}
	q.out = nil
	q.released = q.position
}

func (q *fakeQueue) Wait(time.Duration) error { q.waits++; return q.waitErr }
func (q *fakeQueue) Wake()                    { q.wakes++ }
func (q *fakeQueue) Position() uint64         { return q.position }
func (q *fakeQueue) Close() error             { q.closed = true; return nil }

func (q *fakeQueue) Mark() uint64 {
	n := q.position
	for _, f := range q.frames {
		n += uint64(max(1, (len(f)+q.chunk-1)/q.chunk))
	}
	return n
}

func TestAFXDP(t *testing.T) {
	other := netip.MustParseAddrPort("239.1.2.3:7149")
	second := netip.MustParseAddrPort("239.1.2.4:7148")
	fragment := udpFrame(testDst, []byte("x"))
	fragment[20] = 0x20
	cut := udpFrame(testDst, []byte("abc"))
	jumbo := speadPacket(1, 6, 8000)
	q := &fakeQueue{chunk: 3840, frames: [][]byte{
		pad(udpFrame(testDst, []byte("five!"))),
		udpFrame(other, []byte("not ours")),
		make([]byte, 60), // type 0
		fragment,
		cut[:len(cut)-1],
		udpFrame(second, jumbo),
		pad(udpFrame(testDst, nil)),
	}}
	s := NewAFXDP(q, AFXDPConfig{Name: "eth9 queue 3", Endpoints: endpoints(t, map[string]int32{testDst.String(): 4, second.String(): 5})})
	if s.Name() != "eth9 queue 3" {
		t.Errorf("name %q", s.Name())
	}
	b := NewBatch(16)
	before := time.Now().UnixNano()
	list, err := receive(t, s, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	checkPackets(t, list, [][]byte{[]byte("five!"), jumbo, {}})
	if len(list) == 3 && (list[0].stream != 4 || list[1].stream != 5 || list[2].stream != 4) {
		t.Errorf("streams %d, %d, %d; want 4, 5, 4", list[0].stream, list[1].stream, list[2].stream)
	}
	if now := time.Now().UnixNano(); b.Wall < before || b.Wall > now {
		t.Errorf("batch time %d is not between %d and %d", b.Wall, before, now)
	}
	want := Counts{Packets: 3, Bytes: uint64(5 + len(jumbo)), NotIPUDP: 1, OtherEndpoint: 1, Fragment: 1, Truncated: 1}
	if c := s.Counts(); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
	if q.released != q.position || s.Position() != q.position || s.Mark() != q.position {
		t.Errorf("position %d, mark %d, released %d of %d", s.Position(), s.Mark(), q.released, q.position)
	}
	if s.Wake(); q.wakes != 1 {
		t.Error("Wake did not wake the queue")
	}
	if err := s.Close(); err != nil || !q.closed {
		t.Errorf("Close: %v, the queue is closed: %v", err, q.closed)
	}
}

// Frames that are all not ours go back without being asked for, and what the
// queue says while waiting is passed on.
func TestAFXDPEmptyBatch(t *testing.T) {
	q := &fakeQueue{chunk: 3840, frames: [][]byte{udpFrame(testDst, []byte("x"))}}
	s := NewAFXDP(q, AFXDPConfig{Endpoints: endpoints(t, map[string]int32{"10.0.0.1:1": 0})})
	b := NewBatch(4)
	if n, err := s.Receive(b, 0); n != 0 || err != nil || q.waits != 0 {
		t.Fatalf("Receive = %d, %v after %d waits", n, err, q.waits)
	}
	if n, err := s.Receive(b, time.Second); n != 0 || err != nil || q.waits != 1 {
		t.Fatalf("Receive = %d, %v after %d waits", n, err, q.waits)
	}
	if q.released != 1 || s.Position() != 1 {
		t.Errorf("released %d, position %d; want 1", q.released, s.Position())
	}
	q.waitErr = errors.New("the interface is down")
	if _, err := s.Receive(b, time.Second); !errors.Is(err, q.waitErr) {
		t.Errorf("Receive: %v, want %v", err, q.waitErr)
	}
}

// A batch of one packet at a time: frames stay ours until the last packet of the
// last of them has been released, and so does the position.
func TestAFXDPSuperFrameOverBatches(t *testing.T) {
	var want [][]byte
	var super []byte
	for k := range 9 {
		want = append(want, speadPacket(k, 5+k, 1000))
		super = append(super, want[k]...)
	}
	last := speadPacket(99, 4, 10)
	q := &fakeQueue{chunk: 3840, frames: [][]byte{udpFrame(testDst, super), udpFrame(testDst, last)}}
	want = append(want, last)
	s := NewAFXDP(q, AFXDPConfig{Endpoints: endpoints(t, map[string]int32{testDst.String(): 0}), SuperFrames: true})
	b := NewBatch(1)
	for k, w := range want {
		list, err := receive(t, s, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		checkPackets(t, list, [][]byte{w})
		final := k == len(want)-1
		if (q.released == q.position) != final || (s.Position() == q.position) != final {
			t.Fatalf("after packet %d of %d: position %d, released %d of %d", k+1, len(want), s.Position(), q.released, q.position)
		}
	}
	if c := s.Counts(); c.Packets != 10 || c.SuperFrames != 8 {
		t.Errorf("counts %+v, want 10 packets, 8 of them by cutting", c)
	}
}

// What cannot be cut stays one packet, with all its bytes.
func TestAFXDPNotCut(t *testing.T) {
	p := speadPacket(1, 6, 500)
	tooLong := speadPacket(2, 6, 500)
	tooLong = tooLong[:len(tooLong)-1]
	for _, tt := range []struct {
		name    string
		payload []byte
		want    [][]byte
	}{
		{"trailing bytes", append(bytes.Clone(p), "trailing"...), nil},
		{"trailing bytes after two packets", append(append(bytes.Clone(p), p...), "trailing"...), [][]byte{p, append(bytes.Clone(p), "trailing"...)}},
		{"a few bytes with the magic number", append(bytes.Clone(p), 0x53, 4, 2, 6), nil},
		{"a second packet cut short", append(bytes.Clone(p), tooLong...), [][]byte{p, tooLong}},
		{"not SPEAD", bytes.Repeat([]byte("hello"), 3000), nil},
		{"more pointers than there are bytes", []byte{0x53, 4, 2, 6, 0, 0, 255, 255, 1, 2, 3}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == nil {
				tt.want = [][]byte{tt.payload}
			}
			for chunk := 42; chunk < 42+len(p)+30; chunk += 7 {
				q := &fakeQueue{chunk: chunk, frames: [][]byte{udpFrame(testDst, tt.payload)}}
				s := NewAFXDP(q, AFXDPConfig{SuperFrames: true})
				list, err := receive(t, s, NewBatch(8), 0)
				if err != nil {
					t.Fatal(err)
				}
				checkPackets(t, list, tt.want)
			}
		})
	}
}

// Any packets, laid into any chunks, come out as they went in, each with its
// header and item pointers in one piece, in batches of any size.
func TestAFXDPCutsAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		super := rapid.Bool().Draw(rt, "super-frames")
		q := &fakeQueue{chunk: rapid.IntRange(42, 4000).Draw(rt, "chunk")}
		var want [][]byte
		for range rapid.IntRange(1, 70).Draw(rt, "frames") {
			var payload []byte
			packets := 1
			if super {
				packets = rapid.IntRange(1, 20).Draw(rt, "packets")
			}
			for range packets {
				p := speadPacket(len(want), rapid.IntRange(4, 60).Draw(rt, "pointers"), rapid.IntRange(0, 2000).Draw(rt, "payload"))
				want = append(want, p)
				payload = append(payload, p...)
			}
			q.frames = append(q.frames, udpFrame(testDst, payload))
		}
		nFrames := len(q.frames)
		s := NewAFXDP(q, AFXDPConfig{SuperFrames: super})
		b := NewBatch(rapid.IntRange(1, 100).Draw(rt, "batch"))
		var list []got
		for empty := 0; empty < 2; {
			n, err := s.Receive(b, 0)
			if err != nil {
				rt.Fatal(err)
			}
			for k, p := range b.Packets {
				data := flatten(t, p)
				list = append(list, got{data, b.Streams[k]})
				var decoded spead.Packet
				if r := decoded.Decode(p.First, p.Len); r != spead.OK || decoded.Size() != p.Len {
					rt.Fatalf("packet of %d bytes, %d of them in its first segment: %v", p.Len, len(p.First), r)
				}
			}
			s.Release()
			empty++
			if n > 0 {
				empty = 0
			}
		}
		if len(list) != len(want) {
			rt.Fatalf("%d packets, want %d", len(list), len(want))
		}
		for k := range want {
			if !bytes.Equal(list[k].data, want[k]) {
				rt.Fatalf("packet %d is not the one sent", k)
			}
		}
		if c := s.Counts(); c.Packets != uint64(len(want)) || c.SuperFrames != uint64(len(want)-nFrames) {
			rt.Fatalf("counts %+v of %d packets in %d frames", c, len(want), nFrames)
		}
		if q.released != q.position || s.Position() != q.position {
			rt.Fatalf("released %d of %d, position %d", q.released, q.position, s.Position())
		}
	})
}

// A hostile super-frame: 64 KiB of packets with almost nothing but pointers,
// every header across a border. Headers that do not fit the scratch wait.
func TestAFXDPScratchIsBounded(t *testing.T) {
	var want [][]byte
	q := &fakeQueue{chunk: 3840}
	for k := range 64 {
		p := speadPacket(k, 8000, 1000)
		want = append(want, p)
		q.frames = append(q.frames, udpFrame(testDst, p))
	}
	s := NewAFXDP(q, AFXDPConfig{SuperFrames: true})
	b := NewBatch(64)
	var list []got
	for len(list) < len(want) {
		more, err := receive(t, s, b, 0)
		if err != nil || len(more) == 0 {
			t.Fatalf("%d packets, then %d, %v", len(list), len(more), err)
		}
		if len(more) > 2 {
			t.Errorf("%d headers of 64008 bytes in a scratch of %d", len(more), scratchSize)
		}
		list = append(list, more...)
	}
	checkPackets(t, list, want)
}

// endlessQueue hands out the same frames for ever.
type endlessQueue struct {
	fakeQueue
	packets []xsk.Packet
}

func (q *endlessQueue) Receive(dst []xsk.Packet) int { return copy(dst, q.packets) }
func (q *endlessQueue) Release()                     {}

// newEndlessQueue has frames of those payloads in chunks of 3840 bytes.
func newEndlessQueue(payloads [][]byte) *endlessQueue {
	fake := &fakeQueue{chunk: 3840}
	for _, p := range payloads {
		fake.frames = append(fake.frames, udpFrame(testDst, p))
	}
	q := &endlessQueue{packets: make([]xsk.Packet, len(payloads))}
	fake.Receive(q.packets)
	return q
}

func afxdpCases() []struct {
	name        string
	superFrames bool
	payloads    [][]byte
} {
	var small, jumbo, super [][]byte
	r := rand.New(rand.NewPCG(1, 2))
	for k := range afxdpFrames {
		small = append(small, speadPacket(k, 6, 1408))
		jumbo = append(jumbo, speadPacket(k, 6, 8912))
		var train []byte
		for len(train) < 60000 {
			train = append(train, speadPacket(k, 6+r.IntN(3), 1400)...)
		}
		super = append(super, train)
	}
	return []struct {
		name        string
		superFrames bool
		payloads    [][]byte
	}{{"small", false, small}, {"jumbo", false, jumbo}, {"small generic", true, small}, {"super-frames", true, super}}
}

func TestAFXDPAllocations(t *testing.T) {
	for _, tt := range afxdpCases() {
		s := NewAFXDP(newEndlessQueue(tt.payloads), AFXDPConfig{Endpoints: endpoints(t, map[string]int32{testDst.String(): 0}), SuperFrames: tt.superFrames})
		b := NewBatch(64)
		if n := testing.AllocsPerRun(200, func() {
			if n, err := s.Receive(b, 0); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			s.Release()
		}); n != 0 {
			t.Errorf("%s: %v allocations a batch, want 0", tt.name, n)
		}
	}
}

func BenchmarkAFXDP(b *testing.B) {
	for _, bb := range afxdpCases() {
		b.Run(bb.name, func(b *testing.B) {
			s := NewAFXDP(newEndlessQueue(bb.payloads), AFXDPConfig{Endpoints: endpoints(b, map[string]int32{testDst.String(): 0}), SuperFrames: bb.superFrames})
			batch := NewBatch(64)
			b.ReportAllocs()
			packets := 0
			for b.Loop() {
				n, err := s.Receive(batch, 0)
				if err != nil {
					b.Fatal(err)
				}
				packets += n
				s.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
		})
	}
}
