// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
)

// openAt opens a sender at A's end of the wire.
func openAt(t *testing.T, n *testnet.Net, c Config) (s *Sender, err error) {
	t.Helper()
	c.Engine = AFXDP
	if err := n.A.Do(func() { s, err = Open(c) }); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

// TestAFXDP sends over a veth pair to ordinary sockets, whose kernel checks
// addresses, lengths and checksums. Each case has a wire of its own, for a queue
// can be opened only once.
func TestAFXDP(t *testing.T) {
	for _, tt := range []struct {
		name      string
		addresses []string
		config    Config
		mtu       int
	}{
		{"one frame a packet", []string{"10.77.0.2:7148"}, Config{HeapSize: 300000, Heaps: 3}, 1500},
		{"chains", []string{"10.77.0.2:7148"}, Config{HeapSize: 1000000, Heaps: 2, MaxPacket: 8972}, 9000},
		{"longest chains", []string{"10.77.0.2:7148"}, Config{HeapSize: 1000000, Heaps: 2, MaxPacket: 60000}, 65535},
		{"two destinations with faults", []string{"10.77.0.2:7148", "10.77.0.2:7149"}, Config{HeapSize: 300000, Heaps: 6, MaxPacket: 8972, Faults: Faults{Drop: 0.1, Reorder: 0.1, Duplicate: 0.1}}, 9000},
		{"many small items", []string{"10.77.0.2:7148"}, Config{HeapSize: 40000, Items: 10000, Heaps: 2, NoDescriptors: true}, 1500},
		{"group", []string{"239.1.2.3:7148"}, Config{HeapSize: 300000, Heaps: 2, Interface: "sx-a"}, 1500},
		{"IPv6", []string{"[fd77::2]:7148"}, Config{HeapSize: 300000, Heaps: 2, MaxPacket: 8952}, 9000},
		{"IPv6 group", []string{"[ff15::1:2:3]:7148"}, Config{HeapSize: 300000, Heaps: 2, MaxPacket: 1448, Interface: "sx-a", Bind: netip.MustParseAddr("fd77::1")}, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := testnet.New(t, testnet.Options{MTU: tt.mtu})
			c := tt.config
			c.Verify = true
			var conns []*net.UDPConn
			for _, a := range tt.addresses {
				c.Destinations = append(c.Destinations, netip.MustParseAddrPort(a))
				conns = append(conns, listenIn(t, n, a))
			}
			s, err := openAt(t, n, c)
			if err != nil {
				t.Fatal(err)
			}
			if about := s.String(); !strings.Contains(about, "AF_XDP on sx-a queue 0 in copy mode") {
				t.Errorf("sender describes itself as %q", about)
			}
			sendAndCompare(t, c, s, conns...)
		})
	}
}

// TestAFXDPErrors: what cannot work is said in words, with the remedy.
func TestAFXDPErrors(t *testing.T) {
	n := testnet.New(t, testnet.Options{MTU: 1500})
	dest := []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{Destinations: dest, MaxPacket: 8972}, "need an MTU of 8996, but that of sx-a is 1500 (raise it, or lower the packet size to 1472)"},
		{Config{Destinations: dest, Interface: "nosuch0"}, "interface nosuch0: "},
		{Config{Destinations: dest, Bind: netip.MustParseAddr("192.0.2.77")}, "route to 10.77.0.2: "},
		{Config{Destinations: append(dest[:1:1], netip.AddrPortFrom(n.B.Addr6, 7148))}, "engine afxdp sends out of one interface and in one family"},
	} {
		tt.config.HeapSize = 1000
		if _, err := openAt(t, n, tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
		}
	}

	c := Config{Destinations: dest, HeapSize: 100000, Heaps: 10}
	s, err := openAt(t, n, c)
	if err != nil {
		t.Fatal(err)
	}

	// The interface goes down while we send.
	var down error
	if err := n.A.Do(func() {
		var link netlink.Link
		if link, down = netlink.LinkByName(n.A.Name); down == nil {
			down = netlink.LinkSetDown(link)
		}
	}); err != nil || down != nil {
		t.Fatal(err, down)
	}
	if _, err := s.Run(context.Background()); !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "sx-a queue 0: network is down (the interface is down or gone)") {
		t.Errorf("Run over an interface that is down gives %v", err)
	}
}

// TestNeighbour asks for a neighbour that nobody has asked for before, and for
// one that is not there.
func TestNeighbour(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	// The ends of the wire know each other without asking: not here.
	arpOn := func(name string) {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetARPOn(link)
		}
		if err != nil {
			t.Error(err)
		}
	}
	n.Do(func() { arpOn(n.B.Name) })
	if err := n.A.Do(func() {
		arpOn(n.A.Name)
		mac, err := neighbour(n.A.Index, n.B.Addr4, neighbourWait)
		if err != nil || mac.String() != n.B.MAC.String() {
			t.Errorf("neighbour is %v, %v; want %v", mac, err, n.B.MAC)
		}
		if _, err := neighbour(n.A.Index, netip.MustParseAddr("10.77.0.99"), 0); err == nil || !strings.Contains(err.Error(), "neighbour 10.77.0.99 does not answer") {
			t.Errorf("error %v for a neighbour that is not there", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestTransmitError(t *testing.T) {
	if err := transmitError(errors.New("sendto failed with rc=18446744073709551615 and errno=100")); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("errno 100 is %v", err)
	}
	if err := transmitError("index out of range"); err.Error() != "index out of range" {
		t.Errorf("a panic of another kind is %v", err)
	}
}

// BenchmarkWire sends over a veth pair to a socket that nobody reads.
func BenchmarkWire(b *testing.B) {
	for _, engine := range []Engine{UDP, AFXDP} {
		for _, size := range []int{1472, 8972} {
			b.Run(fmt.Sprintf("%v/%d", engine, size), func(b *testing.B) {
				n := testnet.New(b, testnet.Options{})
				listen(b, "udp", "10.77.0.2:7148")
				c := Config{
					Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)},
					HeapSize:     4 << 20, Heaps: int64(b.N), MaxPacket: size, Verify: true, Engine: engine,
				}
				var s *Sender
				var err error
				if doErr := n.A.Do(func() { s, err = Open(c) }); doErr != nil || err != nil {
					b.Fatal(doErr, err)
				}
				defer s.Close()
				b.SetBytes(c.HeapSize)
				if _, err := s.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
