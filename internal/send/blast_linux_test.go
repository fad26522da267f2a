// SPDX-License-Identifier: Apache-2.0

package send

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/safchain/ethtool"
	"github.com/speadx/speadx/internal/blast"
	"github.com/speadx/speadx/internal/testnet"
)

// TestBlastSockets sends to ordinary sockets, whose kernel checks addresses, lengths
// and checksums.
func TestBlastSockets(t *testing.T) {
	for _, address := range []string{"10.77.0.2:7148", "[fd77::2]:7148"} {
		t.Run(address, func(t *testing.T) {
			n := testnet.New(t, testnet.Options{})
			conn := listenIn(t, n, address)
			useGRO(t, n)
			c := Config{Engine: Blast, HeapSize: 5000, Heaps: 20, Rate: 1e8, Destinations: []netip.AddrPort{netip.MustParseAddrPort(address)}}
			var s *Sender
			var err error
			if doErr := n.A.Do(func() { s, err = Open(c) }); doErr != nil || err != nil {
				t.Fatal(doErr, err)
			}
			defer s.Close()
			if about := s.String(); !strings.Contains(about, "made in the kernel for sx-a on CPU ") {
				t.Errorf("sender describes itself as %q", about)
			}
			res, err := s.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// 5000 bytes are 4 packets; heap 1 has descriptors, and all go by one port.
			e := &fakeEngine{}
			ports := make(map[uint16]bool)
			bytes := uint64(0)
			buf := make([]byte, 9000)
			for range res.Packets {
				size, from, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatal(err)
				}
				ports[from.Port()] = true
				bytes += uint64(size)
				e.packets, e.dests = append(e.packets, append([]byte(nil), buf[:size]...)), append(e.dests, 0)
			}
			heaps := receive(t, e)
			if len(heaps) != 21 || len(ports) != 1 || res.Packets != 20*4+1 || res.Bytes != bytes || res.Refused != 0 {
				t.Errorf("%d heaps from ports %v in %d bytes, sent %+v", len(heaps), ports, bytes, res)
			}
			for i, h := range heaps[:20] {
				if h.cnt != uint64(i+1) || h.got != len(h.payload) {
					t.Errorf("heap %d: count %d, %d of %d bytes", i, h.cnt, h.got, len(h.payload))
				}
			}
			if !heaps[20].stop {
				t.Error("the last heap does not stop")
			}
		})
	}
}

func TestBlastErrors(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dest := []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)}
	lo := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7148")}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{Destinations: dest, Verify: true}, "cannot be verified"},
		{Config{Destinations: dest, DType: "<f4"}, "not values of type <f4"},
		{Config{Destinations: dest, Faults: Faults{Seed: 1}}, "seed 1 does not change"},
		{Config{Destinations: dest, InFlight: 1000}, "1000 heaps in flight are outside 1 to 256"},
		{Config{Destinations: dest, MaxPacket: 8000}, "is longer than 3392, which is what a page has room for: make the packets smaller"},
		{Config{Destinations: lo}, "engine blast sends out of a veth, and lo is "},
		{Config{Destinations: append(dest[:1:1], netip.AddrPortFrom(n.B.Addr6, 7148))}, "engine blast sends out of one interface and in one family"},
	} {
		tt.config.Engine, tt.config.HeapSize = Blast, 100_000
		var s *Sender
		var err error
		if doErr := n.A.Do(func() { s, err = Open(tt.config) }); doErr != nil {
			t.Fatal(doErr)
		}
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
		}
	}
}

// TestOpenBlast: a generator comes with the number of packets it makes of a heap, and an
// error without a generator.
func TestOpenBlast(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	for _, tt := range []struct {
		size, maxPacket, packets int // packets: 0 for an error
	}{{1000, 0, 1}, {5000, 0, 4}, {64 * 1408, 1408 + 48, 64}, {64 * 1408, 1408 + 40, 65}, {100_000, 8000, 0}} {
		var b *blast.Generator
		var packets int
		var err error
		c := Config{HeapSize: int64(tt.size), MaxPacket: tt.maxPacket, Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)}}
		if err := n.A.Do(func() { b, packets, err = OpenBlast(c) }); err != nil {
			t.Fatal(err)
		}
		if packets != tt.packets || (b == nil) != (packets == 0) || (err != nil) != (packets == 0) {
			t.Errorf("heaps of %d bytes: %v, %d packets, error %v", tt.size, b, packets, err)
		}
		if b != nil {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// useGRO makes B take redirected frames, for its kernel.
func useGRO(t *testing.T, n *testnet.Net) {
	t.Helper()
	n.Do(func() {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			t.Fatal(err)
		}
		defer tool.Close()
		if err := tool.Change(n.B.Name, map[string]bool{"rx-gro": true}); err != nil {
			t.Fatal(err)
		}
	})
}
