// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/speadx/speadx/spead"
)

// item is an immediate item pointer of SPEAD-64-48.
func item(id, value int) spead.Pointer { return spead.Flavour48.Immediate(uint64(id), uint64(value)) }

// rawPacket is a SPEAD-64-48 packet with these item pointers, whatever they say.
func rawPacket(payload int, pointers ...spead.Pointer) []byte {
	b := []byte{0x53, 4, 2, 6, 0, 0, byte(len(pointers) >> 8), byte(len(pointers))}
	for _, p := range pointers {
		b = binary.BigEndian.AppendUint64(b, uint64(p))
	}
	for k := range payload {
		b = append(b, byte(3*k))
	}
	return b
}

// headerOf is a header of SPEAD-64 with so many bytes of address and item pointers.
func headerOf(addrBytes, items int) []byte {
	return []byte{0x53, 4, byte(8 - addrBytes), byte(addrBytes), 0, 0, byte(items >> 8), byte(items)}
}

// packet40 is a packet of SPEAD-64-40 with nothing but a payload.
func packet40(payload string) []byte {
	b := binary.BigEndian.AppendUint64(headerOf(5, 1), uint64(spead.Flavour(40).Immediate(spead.IDPayloadLength, uint64(len(payload)))))
	return append(b, payload...)
}

// framed is what a stream of bytes comes to.
type framed struct {
	packets [][]byte // the headers at which sync was lost among them
	reasons []spead.Reason
	counts  Counts
	inOrder int // bytes of the packets that are none of those headers
	tooLong int // bytes of the packets that are too long
	cut     int // bytes of the packet that the end cuts off
}

// atOnce finds the packets of a stream by looking at all of it at once.
func atOnce(stream []byte) (out framed) {
	add := func(p []byte) {
		var h spead.Packet
		out.packets = append(out.packets, p)
		out.reasons = append(out.reasons, h.Decode(p, len(p)))
		out.counts.Packets++
		out.counts.Bytes += uint64(len(p))
	}
	lost := false
	skip := func(header []byte) {
		if !lost {
			add(header)
		}
		lost = true
		n := min(8, len(stream))
		out.counts.SkippedBytes += uint64(n)
		stream = stream[n:]
	}
	cutOff := func() {
		out.counts.Truncated++
		out.cut = len(stream)
		stream = nil
	}
	for len(stream) > 0 {
		if len(stream) < 8 {
			if lost {
				skip(nil)
			} else {
				cutOff()
			}
			continue
		}
		if !bytes.HasPrefix(stream, []byte{0x53, 4}) || stream[2] == 0 || stream[3] == 0 || int(stream[2])+int(stream[3]) != 8 {
			skip(stream[:8])
			continue
		}
		header := 8 + 8*(int(stream[6])<<8+int(stream[7]))
		if len(stream) < header {
			cutOff()
			continue
		}
		f, length := spead.Flavour(8*stream[3]), -1
		for at := 8; at < header && length < 0; at += 8 {
			if p := spead.Pointer(binary.BigEndian.Uint64(stream[at:])); p.IsImmediate() && f.ID(p) == 4 {
				length = int(f.Value(p))
			}
		}
		size := header + length
		switch {
		case length < 0:
			skip(stream[:header])
		case size > 65536:
			lost = false
			out.counts.TooLong++
			n := min(size, len(stream))
			out.tooLong += n
			stream = stream[n:]
		case size > len(stream):
			cutOff()
		default:
			lost = false
			add(stream[:size])
			out.inOrder += size
			stream = stream[size:]
		}
	}
	return out
}

// framerMemory is that of a framer of a test: small, so that it has to be used
// again and again.
const framerMemory = 2 * maxStreamHeader

// inPieces gives a framer the bytes of a stream in pieces, to be cut into batches
// of so many packets.
func inPieces(t testing.TB, memory []byte, batch int, pieces ...[]byte) (out framed) {
	t.Helper()
	var c counters
	f := newFramer(memory, 7, &c)
	b := NewBatch(batch)
	cut := func() {
		for {
			b.reset()
			f.cut(b)
			if len(b.Packets) == 0 {
				return
			}
			b.count(&c)
			for i, p := range b.Packets {
				if b.Streams[i] != 7 {
					t.Fatalf("a packet of stream %d, want 7", b.Streams[i])
				}
				var h spead.Packet
				data := flatten(t, p)
				out.packets = append(out.packets, data)
				out.reasons = append(out.reasons, h.Decode(data, len(data)))
			}
		}
	}
	for _, p := range pieces {
		for len(p) > 0 {
			n := copy(f.space(), p)
			if n == 0 {
				t.Fatal("no room for the next bytes")
			}
			f.filled(n)
			p = p[n:]
			cut()
		}
	}
	f.end()
	out.counts = c.snapshot()
	return out
}

// checkFramed compares what a framer found with what there is.
func checkFramed(t testing.TB, what string, got, want framed) {
	t.Helper()
	if got.counts != want.counts || !slices.Equal(got.reasons, want.reasons) || !slices.EqualFunc(got.packets, want.packets, bytes.Equal) {
		t.Fatalf("%s: counts %+v, reasons %v; want %+v, %v", what, got.counts, got.reasons, want.counts, want.reasons)
	}
}

// longPacket is a packet that is too long by some bytes.
func longPacket(cnt, by int) []byte { return speadPacket(cnt, 4, 65536-40+by) }

var streams = []struct {
	name    string
	parts   [][]byte
	packets []int // parts that are packets
	reasons []spead.Reason
	counts  Counts // but for Packets and Bytes
}{
	{name: "nothing"},
	{name: "one packet", parts: [][]byte{speadPacket(1, 4, 100)}, packets: []int{0}, reasons: []spead.Reason{spead.OK}},
	{
		name:    "packets of all sizes",
		parts:   [][]byte{speadPacket(1, 4, 0), speadPacket(1, 9, 1), speadPacket(2, 4, 77), speadPacket(3, 5, 8)},
		packets: []int{0, 1, 2, 3}, reasons: []spead.Reason{spead.OK, spead.OK, spead.OK, spead.OK},
	},
	{
		name: "other flavours",
		parts: [][]byte{
			packet40("abc"),
			{0x53, 4, 7, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 4, 0},
		},
		packets: []int{0, 1}, reasons: []spead.Reason{spead.MissingItems, spead.MissingItems},
	},
	{
		name:    "garbage before, between and after",
		parts:   [][]byte{[]byte("GET / HTTP/1.1\r\n"), speadPacket(1, 4, 10), make([]byte, 240), speadPacket(2, 4, 3), []byte("12345678abc")},
		packets: []int{-1, 1, -1, 3, -1},
		reasons: []spead.Reason{spead.BadMagic, spead.OK, spead.BadMagic, spead.OK, spead.BadMagic},
		counts:  Counts{SkippedBytes: 16 + 240 + 11},
	},
	{
		// A packet cannot be found where it does not begin 8 bytes further on.
		name:    "garbage of an odd length",
		parts:   [][]byte{[]byte("odd"), speadPacket(1, 4, 5+64)},
		packets: []int{-1}, reasons: []spead.Reason{spead.BadMagic},
		counts: Counts{SkippedBytes: 3 + 40 + 69},
	},
	{
		name:    "a flavour that is none",
		parts:   [][]byte{{0x53, 4, 2, 5, 0, 0, 0, 1}, make([]byte, 8), speadPacket(1, 4, 10)},
		packets: []int{-1, 2}, reasons: []spead.Reason{spead.BadFlavour, spead.OK},
		counts: Counts{SkippedBytes: 16},
	},
	{
		name:    "another version",
		parts:   [][]byte{{0x53, 3, 2, 6, 0, 0, 0, 0}, speadPacket(1, 4, 10)},
		packets: []int{-1, 1}, reasons: []spead.Reason{spead.BadMagic, spead.OK},
		counts: Counts{SkippedBytes: 8},
	},
	{
		// The header has no length, and its pointers are no headers either.
		name:    "no payload length",
		parts:   [][]byte{rawPacket(16, item(1, 5), item(3, 0), 4<<48), speadPacket(1, 4, 10)},
		packets: []int{-1, 1}, reasons: []spead.Reason{spead.MissingItems, spead.OK},
		counts: Counts{SkippedBytes: 8 + 3*8 + 16},
	},
	{
		name:    "a packet in the place of a pointer",
		parts:   [][]byte{{0x53, 4, 2, 6, 0, 0, 0, 2}, speadPacket(1, 4, 10)},
		packets: []int{-1, 1}, reasons: []spead.Reason{spead.MissingItems, spead.OK},
		counts: Counts{SkippedBytes: 8},
	},
	{
		// Each of the headers reaches further than the one before.
		name:    "headers in the place of pointers",
		parts:   [][]byte{headerOf(6, 2), headerOf(6, 2), headerOf(6, 1), rawPacket(3, item(1, 5), item(4, 3))},
		packets: []int{-1, 3}, reasons: []spead.Reason{spead.MissingItems, spead.MissingItems},
		counts: Counts{SkippedBytes: 24},
	},
	{
		// What is no payload length in one flavour may be one in another.
		name:    "headers of two flavours in the place of pointers",
		parts:   [][]byte{headerOf(6, 9), headerOf(6, 3), packet40("abcdefgh"), make([]byte, 48), speadPacket(1, 4, 10)},
		packets: []int{-1, 2, -1, 4}, reasons: []spead.Reason{spead.MissingItems, spead.MissingItems, spead.BadMagic, spead.OK},
		counts: Counts{SkippedBytes: 16 + 48},
	},
	{
		// Behind it pointers are in other places, and were not searched.
		name:    "a packet of an odd length where pointers were searched",
		parts:   [][]byte{headerOf(6, 12), packet40("abc"), []byte("........"), rawPacket(5, item(1, 5), item(4, 5)), make([]byte, 64)},
		packets: []int{-1, 1, -1, 3, -1}, reasons: []spead.Reason{spead.MissingItems, spead.MissingItems, spead.BadMagic, spead.MissingItems, spead.BadMagic},
		counts: Counts{SkippedBytes: 8 + 8 + 64},
	},
	{
		name:    "lost twice, for different reasons",
		parts:   [][]byte{{0x53, 4, 8, 0, 0, 0, 0, 0}, []byte("........"), speadPacket(1, 4, 10), []byte("........"), {0x53, 4, 8, 0, 0, 0, 0, 0}},
		packets: []int{-1, 2, -1}, reasons: []spead.Reason{spead.BadFlavour, spead.OK, spead.BadMagic},
		counts: Counts{SkippedBytes: 32},
	},
	{
		// The first one says how long the packet is, the last one counts.
		name: "two payload lengths",
		parts: [][]byte{
			rawPacket(10, item(1, 1), item(3, 0), item(4, 10), item(4, 12)), speadPacket(1, 4, 10),
			rawPacket(10, item(1, 1), item(3, 0), item(4, 10), item(4, 8)), speadPacket(2, 4, 10),
			rawPacket(10, item(1, 1), item(3, 0), item(4, 10), item(4, 10)),
		},
		packets: []int{0, 1, 2, 3, 4}, reasons: []spead.Reason{spead.PayloadOverflow, spead.OK, spead.OK, spead.OK, spead.OK},
	},
	{
		name:    "the largest packet",
		parts:   [][]byte{speadPacket(1, 4, 100), speadPacket(1, 4, 65536-40), speadPacket(2, 4, 3)},
		packets: []int{0, 1, 2}, reasons: []spead.Reason{spead.OK, spead.OK, spead.OK},
	},
	{
		name:    "packets that are too long",
		parts:   [][]byte{speadPacket(1, 4, 100), longPacket(1, 1), speadPacket(2, 4, 3), longPacket(1, 2), longPacket(1, 70000), speadPacket(3, 4, 3)},
		packets: []int{0, 2, 5}, reasons: []spead.Reason{spead.OK, spead.OK, spead.OK},
		counts: Counts{TooLong: 3},
	},
	{
		name:    "garbage around a packet that is too long",
		parts:   [][]byte{[]byte("........"), longPacket(1, 1), []byte("........"), speadPacket(2, 4, 3)},
		packets: []int{-1, -1, 3}, reasons: []spead.Reason{spead.BadMagic, spead.BadMagic, spead.OK},
		counts: Counts{SkippedBytes: 16, TooLong: 1},
	},
	{
		name:    "more item pointers than a packet holds",
		parts:   [][]byte{speadPacket(1, 65535, 10), speadPacket(2, 4, 3)},
		packets: []int{1}, reasons: []spead.Reason{spead.OK},
		counts: Counts{TooLong: 1},
	},
	{
		name:    "cut off in the payload",
		parts:   [][]byte{speadPacket(1, 4, 10), speadPacket(2, 4, 10)[:49]},
		packets: []int{0}, reasons: []spead.Reason{spead.OK}, counts: Counts{Truncated: 1},
	},
	{
		name:    "cut off in the item pointers",
		parts:   [][]byte{speadPacket(1, 4, 10), speadPacket(2, 4, 10)[:39]},
		packets: []int{0}, reasons: []spead.Reason{spead.OK}, counts: Counts{Truncated: 1},
	},
	{
		name:    "cut off in the header",
		parts:   [][]byte{speadPacket(1, 4, 10), speadPacket(2, 4, 10)[:1]},
		packets: []int{0}, reasons: []spead.Reason{spead.OK}, counts: Counts{Truncated: 1},
	},
	{
		name:    "cut off behind garbage",
		parts:   [][]byte{[]byte("........"), speadPacket(2, 4, 10)[:30]},
		packets: []int{-1}, reasons: []spead.Reason{spead.BadMagic}, counts: Counts{SkippedBytes: 8, Truncated: 1},
	},
	{name: "cut off when it is too long", parts: [][]byte{longPacket(1, 100)[:1000]}, counts: Counts{TooLong: 1}},
}

// places are where to split a stream: everywhere, or in a long one everywhere near
// the beginnings of its parts and here and there between.
func places(parts [][]byte) (list []int) {
	const near = 60
	for _, p := range parts {
		from := 0
		if n := len(list); n > 0 {
			from = list[n-1]
		}
		for at := range len(p) {
			if len(p) < 10*near || at < near || at > len(p)-near || at%1009 == 0 {
				list = append(list, from+at+1)
			}
		}
	}
	return append([]int{0}, list...)
}

// TestFramer cuts streams into packets, split at every place and at every pair of
// places near each other, into batches of one packet and of many.
func TestFramer(t *testing.T) {
	memory := make([]byte, framerMemory)
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			stream := bytes.Join(tt.parts, nil)
			want := atOnce(stream)
			tt.counts.Packets, tt.counts.Bytes = want.counts.Packets, want.counts.Bytes
			if want.counts != tt.counts || !slices.Equal(want.reasons, tt.reasons) {
				t.Fatalf("the stream has %+v, %v; want %+v, %v", want.counts, want.reasons, tt.counts, tt.reasons)
			}
			for i, k := range tt.packets {
				if k >= 0 && !bytes.Equal(want.packets[i], tt.parts[k]) {
					t.Fatalf("packet %d is not part %d", i, k)
				}
			}
			for _, batch := range []int{1, 64} {
				checkFramed(t, "in one piece", inPieces(t, memory, batch, stream), want)
				for _, at := range places(tt.parts) {
					checkFramed(t, fmt.Sprintf("split at %d", at), inPieces(t, memory, batch, stream[:at], stream[at:]), want)
					if next := at + 13; next < len(stream) {
						checkFramed(t, fmt.Sprintf("split at %d and %d", at, next), inPieces(t, memory, batch, stream[:at], stream[at:next], stream[next:]), want)
					}
				}
				checkFramed(t, "byte by byte", inPieces(t, memory, batch, slices.Collect(slices.Chunk(stream, 1))...), want)
			}
		})
	}
}

// TestFramerMemory: the memory is used again and again, also by packets that
// reach its end, and none of them is torn.
func TestFramerMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	for cnt := range 700 {
		switch random.IntN(20) {
		case 0:
			stream = append(stream, make([]byte, 8*random.IntN(50))...)
		case 1:
			stream = append(stream, longPacket(cnt, 1+random.IntN(100000))...)
		case 2:
			stream = append(stream, speadPacket(cnt, 4+random.IntN(65532), 0)...)
		default:
			stream = append(stream, speadPacket(cnt, 4+random.IntN(6), random.IntN(60000))...)
		}
	}
	want := atOnce(stream)
	if len(stream) < 10*framerMemory || want.counts.Packets < 500 || want.counts.TooLong < 20 || want.counts.SkippedBytes == 0 {
		t.Fatalf("a stream of %d bytes with %+v", len(stream), want.counts)
	}
	memory := make([]byte, framerMemory)
	for _, most := range []int{1000, 70000, 3 * framerMemory} {
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(1+random.IntN(most), len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		checkFramed(t, fmt.Sprintf("in pieces of up to %d", most), inPieces(t, memory, 5, pieces...), want)
	}
}

// TestMeasureOnce: bytes that were searched for a payload length are not searched again
// for the next header, until a packet is found. To search all the pointers of each of
// many headers would take half a minute, in which nobody could stop the thread.
func TestMeasureOnce(t *testing.T) {
	const addrBytes, items = 5, 1000
	stream := make([]byte, 8*(items+2))
	copy(stream, headerOf(addrBytes, items))
	copy(stream[8:], headerOf(addrBytes, items-1))
	var bare bareBytes
	if what, _ := measure(stream, &bare); what != noPacket {
		t.Fatalf("a header without a payload length is %v", what)
	}
	// Were these bytes looked at again, this would be found.
	length := uint64(spead.Flavour(8*addrBytes).Immediate(spead.IDPayloadLength, 5))
	binary.BigEndian.PutUint64(stream[8*500:], length)
	var c counters
	f := newFramer(stream, 0, &c)
	f.bare = bare
	f.lose(8)
	if what, _ := measure(stream[8:], &f.bare); what != noPacket {
		t.Error("the pointers were searched again")
	}
	// Another flavour's bytes are others, and a packet ends it.
	other := headerOf(addrBytes+1, items-1)
	copy(stream[8:], other)
	binary.BigEndian.PutUint64(stream[8*600:], uint64(spead.Flavour(8*(addrBytes+1)).Immediate(spead.IDPayloadLength, 5)))
	if what, _ := measure(stream[8:], &f.bare); what != wholeHeader {
		t.Error("another flavour's pointers were not searched")
	}
	f.find()
	copy(stream[8:], headerOf(addrBytes, items-1))
	if what, _ := measure(stream[8:], &f.bare); what != wholeHeader {
		t.Error("behind a packet the pointers were not searched")
	}
}

// TestFramerManyPointers: headers of ever so many item pointers, one behind the other
// where no packet begins.
func TestFramerManyPointers(t *testing.T) {
	var headers []byte
	for addrBytes := 1; addrBytes < 8; addrBytes++ {
		headers = append(headers, headerOf(addrBytes, 0xffff)...)
	}
	memory := bytes.Repeat(headers, tcpMemory/len(headers))
	var c counters
	f := newFramer(memory, 7, &c)
	f.filled(len(memory))
	b := NewBatch(2)
	f.cut(b)
	if n := len(memory) - int(c.skippedBytes.Load()); len(b.Packets) != 1 || b.Packets[0].Len != maxStreamHeader || n >= maxStreamHeader {
		t.Errorf("%d packets, and %d bytes were left", len(b.Packets), n)
	}
}

// FuzzTCP cuts whatever comes, in pieces: nothing may panic, the pieces make no
// difference, and each byte is in a packet, skipped, too long or cut off.
func FuzzTCP(f *testing.F) {
	for _, s := range streams {
		if stream := bytes.Join(s.parts, nil); len(stream) < 1000 {
			f.Add(stream, uint16(5), uint8(3))
		}
	}
	f.Add(longPacket(1, 1)[:100], uint16(9), uint8(0))
	memory := make([]byte, framerMemory)
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16, batch uint8) {
		want := atOnce(stream)
		got := inPieces(t, memory, int(batch)+1, slices.Collect(slices.Chunk(stream, int(piece)+1))...)
		checkFramed(t, fmt.Sprintf("in pieces of %d", int(piece)+1), got, want)
		if n := want.inOrder + int(got.counts.SkippedBytes) + want.tooLong + want.cut; n != len(stream) {
			t.Errorf("%d bytes of %d: %+v", n, len(stream), want)
		}
	})
}
