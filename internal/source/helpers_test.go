// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
)

var (
	testSrc = netip.MustParseAddrPort("10.77.0.1:40000")
	testDst = netip.MustParseAddrPort("239.1.2.3:7148")
)

// speadPacket is a SPEAD-64-48 packet with that many item pointers, at least
// four, and payload bytes.
func speadPacket(cnt, pointers, payload int) []byte {
	b := []byte{0x53, 4, 2, 6, 0, 0, byte(pointers >> 8), byte(pointers)}
	for _, item := range [][2]int{{1, cnt}, {2, payload}, {3, 0}, {4, payload}} {
		b = binary.BigEndian.AppendUint64(b, 1<<63|uint64(item[0])<<48|uint64(item[1]))
	}
	for k := 4; k < pointers; k++ {
		b = binary.BigEndian.AppendUint64(b, 1<<63|0x1600<<48|uint64(k))
	}
	for k := range payload {
		b = append(b, byte(cnt+k))
	}
	return b
}

// udpFrame is an Ethernet frame with a UDP datagram.
func udpFrame(dst netip.AddrPort, payload []byte) []byte {
	b := []byte("\x01\x00\x5e\x01\x02\x03\x02\x00\x00\x00\x00\x01\x08\x00\x45\x00")
	b = binary.BigEndian.AppendUint16(b, uint16(20+8+len(payload)))
	b = append(b, "\x00\x00\x40\x00\x01\x11\x00\x00"...)
	b = append(b, testSrc.Addr().AsSlice()...)
	b = append(b, dst.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, testSrc.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0)
	return append(b, payload...)
}

// pad is f as Ethernet pads it.
func pad(f []byte) []byte {
	for len(f) < 60 {
		f = append(f, 0xaa)
	}
	return f
}

// got is a packet that a test has received, with its bytes copied.
type got struct {
	data   []byte
	stream int32
}

// flatten is the bytes of a packet, in memory of its own.
func flatten(t testing.TB, p heap.Packet) []byte {
	t.Helper()
	b := bytes.Clone(p.First)
	for _, s := range p.Rest {
		if len(s) == 0 {
			t.Error("a packet has an empty segment")
		}
		b = append(b, s...)
	}
	if len(b) != p.Len {
		t.Errorf("a packet has %d bytes and says %d", len(b), p.Len)
	}
	return b
}

// receive reads one batch.
func receive(t testing.TB, s Source, b *Batch, timeout time.Duration) ([]got, error) {
	t.Helper()
	n, err := s.Receive(b, timeout)
	if n != len(b.Packets) || n != len(b.Streams) || err != nil && n != 0 {
		t.Fatalf("Receive = %d, %v with %d packets and %d streams", n, err, len(b.Packets), len(b.Streams))
	}
	if s.Position() > s.Mark() {
		t.Fatalf("position %d is past mark %d", s.Position(), s.Mark())
	}
	var list []got
	for k, p := range b.Packets {
		list = append(list, got{flatten(t, p), b.Streams[k]})
	}
	s.Release()
	return list, err
}

// receiveN reads until there are n packets.
func receiveN(t testing.TB, s Source, b *Batch, n int) []got {
	t.Helper()
	var list []got
	for deadline := time.Now().Add(10 * time.Second); len(list) < n; {
		more, err := receive(t, s, b, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, more...)
		if time.Now().After(deadline) {
			t.Fatalf("%d packets of %d arrived; %+v", len(list), n, s.Counts())
		}
	}
	if len(list) != n {
		t.Fatalf("%d packets, want %d", len(list), n)
	}
	return list
}

// receiveAll reads a file to its end.
func receiveAll(t testing.TB, s Source, b *Batch) ([]got, error) {
	t.Helper()
	var list []got
	for {
		more, err := receive(t, s, b, 0)
		list = append(list, more...)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
	}
}

// checkPackets compares what was received with what was sent, as bytes.
func checkPackets(t testing.TB, list []got, want [][]byte) {
	t.Helper()
	if len(list) != len(want) {
		t.Errorf("%d packets, want %d", len(list), len(want))
	}
	for k := range min(len(list), len(want)) {
		if !bytes.Equal(list[k].data, want[k]) {
			t.Fatalf("packet %d has %d bytes and is not the one sent, of %d", k, len(list[k].data), len(want[k]))
		}
	}
}

// sorted orders packets by their bytes, for where order does not count.
func sorted(list [][]byte) [][]byte {
	list = slices.Clone(list)
	slices.SortFunc(list, bytes.Compare)
	return list
}

func dataOf(list []got) [][]byte {
	out := make([][]byte, len(list))
	for k := range list {
		out[k] = list[k].data
	}
	return out
}
