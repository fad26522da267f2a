// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
)

// packetsOfHeap are the packets of a heap of some bytes, each the same.
func packetsOfHeap(t testing.TB, cnt uint64, size, packet int, fill byte) (packets [][]byte) {
	t.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: packet})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = fill
	}
	if err := p.Start(cnt, []spead.OutItem{{ID: 0x1000, Data: data}}); err != nil {
		t.Fatal(err)
	}
	for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(nil) {
		packets = append(packets, b)
	}
	return packets
}

// frameOf is the Ethernet frame of a UDP datagram.
func frameOf(t testing.TB, from, to netip.AddrPort, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ofSenders are the frames of several senders with heap counts of their own, a packet of each
// in turn.
func ofSenders(t testing.TB, senders, heaps int) (frames [][]byte) {
	t.Helper()
	to := netip.MustParseAddrPort("10.9.0.2:7148")
	for h := range heaps {
		lanes := make([][][]byte, senders)
		for s := range lanes {
			lanes[s] = packetsOfHeap(t, uint64(h*senders+s+1), 5000, 1200, byte(s))
		}
		for i := range lanes[0] {
			for s := range lanes {
				from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 1, byte(s + 1)}), 50000)
				frames = append(frames, frameOf(t, from, to, lanes[s][i]))
			}
		}
	}
	return frames
}

// The heaps of several senders come whole with the default settings. If the window is too
// small for them, a diagnosis has their number and a window, and with that nothing is lost.
func TestSeveralSenders(t *testing.T) {
	const heaps = 20
	for _, tt := range []struct {
		senders, window int
		lost            bool
	}{
		{1, 0, false}, {2, 0, false}, {8, 0, false}, {8, 4, true}, {8, 1, true}, {3, 2, true}, {40, 0, true},
	} {
		file := deal(t, ofSenders(t, tt.senders, heaps), 1, func(int, []byte) int { return 0 })[0]
		receive := func(window int) (complete uint64, s speadx.Stats, found []ledger.Diagnosis) {
			cfg := speadx.Config{Streams: []speadx.Stream{{Source: file, Name: "x"}}, ConcurrentHeaps: window}
			got, s, _, found := receiveFound(t, cfg)
			return uint64(len(got["x"])), s, found
		}
		all := uint64(tt.senders * heaps)
		complete, s, found := receive(tt.window)
		if !tt.lost {
			if complete != all || s.MissingBytes() != 0 || len(found) != 0 {
				t.Errorf("%+v: %d of %d heaps, %+v", tt, complete, all, found)
			}
			continue
		}
		i := indexOf(found, ledger.WindowTooSmall)
		if complete == all || i < 0 || indexOf(found, ledger.LatePackets) >= 0 {
			t.Fatalf("%+v: %d of %d heaps, %+v", tt, complete, all, found)
		}
		d := found[i]
		if d.NumSenders != tt.senders || d.Setting != "ConcurrentHeaps" || d.Suggested <= d.Value || d.Count != all-complete || d.Of != all {
			t.Errorf("%+v: %+v", tt, d)
		}
		if complete, _, found := receive(int(d.Suggested)); complete != all || len(found) != 0 {
			t.Errorf("%+v: with the window of %d that was suggested %d of %d heaps, %+v", tt, d.Suggested, complete, all, found)
		}
	}
}

// indexOf is where a list has the first diagnosis with a code; -1 if there is none.
func indexOf(list []ledger.Diagnosis, code ledger.Code) int {
	for i := range list {
		if list[i].Code == code {
			return i
		}
	}
	return -1
}

// A sender whose counts never change, repeat or begin again within 2 s: the heaps are dropped,
// and a diagnosis says so, or delivered on request.
func TestRepeatedHeaps(t *testing.T) {
	from, to := netip.MustParseAddrPort("10.9.0.1:50000"), netip.MustParseAddrPort("10.9.0.2:7148")
	const heaps = 40
	for name, count := range map[string]func(i int) uint64{
		"never change": func(int) uint64 { return 1 },
		"repeat":       func(i int) uint64 { return uint64(i/2 + 1) },
		"begin again":  func(i int) uint64 { return uint64(i%20 + 1) },
	} {
		for _, size := range []int{1000, 5000} {
			var frames [][]byte
			distinct := map[uint64]bool{}
			for i := range heaps {
				distinct[count(i)] = true
				for _, p := range packetsOfHeap(t, count(i), size, 1200, byte(i)) {
					frames = append(frames, frameOf(t, from, to, p))
				}
			}
			file := deal(t, frames, 1, func(int, []byte) int { return 0 })[0]
			for _, how := range []heap.Repeats{heap.RepeatsDrop, heap.RepeatsDeliver} {
				got, s, _, found := receiveFound(t, speadx.Config{Streams: []speadx.Stream{{Source: file, Name: "x"}}, Repeats: how})
				repeated := uint64(heaps - len(distinct))
				want := heaps
				if how == heap.RepeatsDrop {
					want = len(distinct)
				}
				h := s.Heaps()
				if len(got["x"]) != want || h[ledger.HeapsRepeated] != repeated || h[ledger.HeapsMissing] != 0 || s.MissingBytes() != 0 {
					t.Errorf("%s, %d bytes, %v: %d of %d heaps, %d repeated, %d missing", name, size, how, len(got["x"]), want, h[ledger.HeapsRepeated], h[ledger.HeapsMissing])
				}
				i := indexOf(found, ledger.HeapsRepeat)
				switch {
				case how == heap.RepeatsDeliver && len(found) > 0:
					t.Errorf("%s, %d bytes, delivered: %+v", name, size, found)
				case how == heap.RepeatsDrop && (i < 0 || found[i].Count != repeated || found[i].Senders != [2]netip.AddrPort{from, from} || found[i].Setting != "Repeats"):
					t.Errorf("%s, %d bytes: %+v", name, size, found)
				}
			}
		}
	}
}
