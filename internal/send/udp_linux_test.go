// SPDX-License-Identifier: Apache-2.0

package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
)

// listen opens an ordinary UDP socket with room for a few megabytes, for
// which it needs CAP_NET_ADMIN.
func listen(t testing.TB, network, address string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	conn := pc.(*net.UDPConn)
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// All that a test sends must fit: who reads may be slow to get a CPU.
	if err := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	}); err != nil {
		t.Fatal(err)
	}
	testnet.NeedPrivilege(t, err)
	return conn
}

// addrPort is where conn listens.
func addrPort(conn *net.UDPConn) netip.AddrPort {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// readAll reads n datagrams, or as many as come.
func readAll(t testing.TB, conn *net.UDPConn, n int) [][]byte {
	t.Helper()
	buf := make([]byte, 65536)
	var all [][]byte
	for len(all) < n {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		size, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Errorf("after %d of %d datagrams: %v", len(all), n, err)
			break
		}
		all = append(all, bytes.Clone(buf[:size]))
	}
	return all
}

// sendAndCompare sends what c says, expects it at the sockets, which are those
// of the destinations in order, and gives the result. Expected is what a fake
// engine gets.
func sendAndCompare(t testing.TB, c Config, s *Sender, conns ...*net.UDPConn) Result {
	t.Helper()
	e, _ := run(t, c)
	type outcome struct {
		r   Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := s.Run(context.Background())
		done <- outcome{r, err}
	}()
	for i, conn := range conns {
		var want [][]byte
		for j, b := range e.packets {
			if e.dests[j] == i {
				want = append(want, b)
			}
		}
		if got := readAll(t, conn, len(want)); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("destination %d: %d datagrams are not the %d expected", i, len(got), len(want))
		}
	}
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	if int(o.r.Packets) != len(e.packets) {
		t.Errorf("%d packets sent, want %d", o.r.Packets, len(e.packets))
	}
	return o.r
}

// TestUDP sends over loopback to ordinary sockets, which must get exactly the
// packets made, however they were combined into messages.
func TestUDP(t *testing.T) {
	for _, tt := range []struct {
		name    string
		address string
		sockets int
		config  Config
	}{
		{"small packets", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3}},
		{"small packets without GSO", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3, NoGSO: true}},
		{"jumbo", "127.0.0.1:0", 1, Config{HeapSize: 1000000, Heaps: 2, MaxPacket: 8972}},
		{"largest", "127.0.0.1:0", 1, Config{HeapSize: 1000000, Heaps: 2, MaxPacket: 65507}},
		{"single-packet heaps", "127.0.0.1:0", 1, Config{HeapSize: 800, Heaps: 600}},
		{"two destinations", "127.0.0.1:0", 2, Config{HeapSize: 50000, Heaps: 9}},
		{"IPv6", "[::1]:0", 1, Config{HeapSize: 300000, Heaps: 3}},
		{"many small items", "127.0.0.1:0", 1, Config{HeapSize: 40000, Items: 10000, Heaps: 2, NoDescriptors: true}},
		{"faults", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3, Faults: Faults{Drop: 0.1, Reorder: 0.1, Duplicate: 0.1}}},
		{"source address and interface", "127.0.0.1:0", 1, Config{HeapSize: 5000, Heaps: 1, Bind: netip.MustParseAddr("127.0.0.1"), Interface: "lo", TTL: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conns []*net.UDPConn
			for range tt.sockets {
				conn := listen(t, "udp", tt.address)
				conns = append(conns, conn)
				tt.config.Destinations = append(tt.config.Destinations, addrPort(conn))
			}
			tt.config.Verify = true
			s, err := Open(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			sendAndCompare(t, tt.config, s, conns...)
			if about := s.String(); strings.Contains(about, "GSO") == tt.config.NoGSO {
				t.Errorf("sender describes itself as %q", about)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUDPNobodyListens: a refused datagram is not the sender's trouble.
func TestUDPNobodyListens(t *testing.T) {
	conn := listen(t, "udp", "127.0.0.1:0")
	c := Config{Destinations: []netip.AddrPort{addrPort(conn)}, HeapSize: 100000, Heaps: 2, NoGSO: true}
	_ = conn.Close()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Run(context.Background())
	if err != nil || r.Heaps != 2 {
		t.Errorf("Run gives %+v, %v", r, err)
	}
}

// TestUDPGather looks at the messages themselves.
func TestUDPGather(t *testing.T) {
	packets := func(sizes ...int) []packet {
		var all []packet
		for _, n := range sizes {
			all = append(all, packet{hdr: make([]byte, 40), segs: [][]byte{make([]byte, n-50), make([]byte, 10)}, size: n})
		}
		return all
	}
	same := slices.Repeat([]int{1000}, 100)
	for _, tt := range []struct {
		name  string
		gso   bool
		sizes []int
		want  []int // packets in each message
	}{
		{"no GSO", false, []int{1000, 1000, 500}, []int{1, 1, 1}},
		{"a short one ends a message", true, []int{1000, 1000, 500, 1000}, []int{3, 1}},
		{"short ones alone", true, []int{500, 500, 1000, 400, 400}, []int{1, 1, 2, 1}},
		{"segments", true, same, []int{64, 36}},
	} {
		e := &udpEngine{largest: 1000, gso: tt.gso, messages: make([]mmsghdr, batchPackets), packets: make([]int, batchPackets), iovs: make([]unix.Iovec, batchPackets*(1+maxSegments))}
		in := packets(tt.sizes...)
		n := e.gather(in)
		if !slices.Equal(e.packets[:n], tt.want) {
			t.Errorf("%s: messages of %v packets, want %v", tt.name, e.packets[:n], tt.want)
			continue
		}
		at := 0
		for i, m := range e.messages[:n] {
			bytes := 0
			for j := range int(m.hdr.Iovlen) {
				bytes += int(e.iovs[at+j].Len)
			}
			at += int(m.hdr.Iovlen)
			want := 0
			for range e.packets[i] {
				want += in[0].size
				in = in[1:]
			}
			if bytes != want {
				t.Errorf("%s: message %d has %d bytes, want %d", tt.name, i, bytes, want)
			}
		}
	}
	e := &udpEngine{largest: 8968, gso: true, messages: make([]mmsghdr, 2), packets: make([]int, 2), iovs: make([]unix.Iovec, batchPackets*(1+maxSegments))}
	if n := e.gather(packets(slices.Repeat([]int{8968}, 20)...)); n != 2 || e.packets[0] != 7 {
		t.Errorf("jumbo: %d messages of %v packets, want 2 of 7, for they have at most 65507 bytes", n, e.packets)
	}
}

// TestUDPErrors: what the network refuses is said in words.
func TestUDPErrors(t *testing.T) {
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7148")}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{Destinations: local, Interface: "nosuch0"}, "interface nosuch0: "},
		{Config{Destinations: local, Bind: netip.MustParseAddr("192.0.2.77")}, "source address 192.0.2.77: bind: cannot assign"},
		{Config{Destinations: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148")}, Bind: netip.MustParseAddr("192.0.2.77")}, "no interface has the source address 192.0.2.77"},
		{Config{Destinations: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%nosuch0]:7148")}}, "zone of fe80::1%nosuch0"},
		{Config{Destinations: local, MaxPacket: 55}, "packet size 55"},
	} {
		tt.config.HeapSize = 1000
		if s, err := Open(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// TestUDPRecover: which errors of a send are waited out, and which are final.
func TestUDPRecover(t *testing.T) {
	conn := listen(t, "udp", "127.0.0.1:0")
	e, err := openUDP(&Config{Destinations: []netip.AddrPort{addrPort(conn)}, MaxPacket: 1472})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	u := e.(*udpEngine)
	for _, err := range []error{unix.EINTR, unix.ECONNREFUSED, unix.EAGAIN, unix.ENOBUFS} {
		if got := u.recover(context.Background(), &u.sockets[0], 1472, err); got != nil {
			t.Errorf("%v is not waited out: %v", err, got)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range []error{unix.EAGAIN, unix.ENOBUFS} {
		if got := u.recover(ended, &u.sockets[0], 1472, err); !errors.Is(got, context.Canceled) {
			t.Errorf("%v is waited out for ever: %v", err, got)
		}
	}
	for errno, want := range map[syscall.Errno]string{
		unix.EMSGSIZE: "packet of 1472 bytes to 127.0.0.1",
		unix.EPERM:    "firewall",
		unix.ENETDOWN: "the interface is down",
		unix.EACCES:   "permission denied",
	} {
		if got := u.recover(context.Background(), &u.sockets[0], 1472, errno); !errors.Is(got, errno) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v is reported as %v", errno, got)
		}
	}
}

// TestUDPWire sends over a veth pair: through a given interface, to groups,
// and with packets that do not fit.
func TestUDPWire(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	open := func(c Config) (s *Sender, err error) {
		if err := n.A.Do(func() { s, err = Open(c) }); err != nil {
			t.Fatal(err)
		}
		return s, err
	}
	for _, tt := range []struct {
		name    string
		address string // of the socket in B
		config  Config
	}{
		{"unicast", n.B.Addr4.String() + ":7148", Config{}},
		{"IPv6", "[" + n.B.Addr6.String() + "]:7148", Config{Interface: n.A.Name}},
		{"group out of an interface", "239.1.2.3:7148", Config{Interface: n.A.Name}},
		{"group from an address", "239.1.2.3:7148", Config{Bind: n.A.Addr4}},
		{"IPv6 group", "[ff15::1:2:3]:7148", Config{Interface: n.A.Name, Bind: n.A.Addr6}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conn *net.UDPConn
			n.Do(func() { conn = listenIn(t, n, tt.address) })
			c := tt.config
			c.Destinations = []netip.AddrPort{netip.MustParseAddrPort(tt.address)}
			c.HeapSize, c.Heaps, c.MaxPacket, c.Verify = 1000000, 2, 8950, true
			s, err := open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sendAndCompare(t, c, s, conn)
		})
	}

	t.Run("too large", func(t *testing.T) {
		_, err := open(Config{Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7148)}, HeapSize: 100000, MaxPacket: 9000})
		if want := "packets of 9000 bytes need an MTU of 9028, but that of the way to 10.77.0.2 is 9000 (raise it, or lower the packet size to 8968)"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// TestUDPWithoutGSO: where the device or the kernel refuses segmentation,
// packets go one by one and none is lost or sent twice.
func TestUDPWithoutGSO(t *testing.T) {
	t.Run("device without checksum offload", func(t *testing.T) {
		n := testnet.New(t, testnet.Options{RealChecksums: true})
		conn := listenIn(t, n, "10.77.0.2:7148")
		c := Config{Destinations: []netip.AddrPort{addrPort(conn)}, HeapSize: 1000000, Heaps: 2, Verify: true}
		var s *Sender
		var err error
		if doErr := n.A.Do(func() { s, err = Open(c) }); doErr != nil || err != nil {
			t.Fatal(doErr, err)
		}
		defer s.Close()
		sendAndCompare(t, c, s, conn)
	})
	t.Run("refused in full flow", func(t *testing.T) {
		conn := listen(t, "udp", "127.0.0.1:0")
		c := Config{Destinations: []netip.AddrPort{addrPort(conn)}, HeapSize: 1000000, Heaps: 2, Verify: true}
		s, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// A socket that sends without UDP checksums must not segment: EIO or
		// EINVAL, by version.
		if err := unix.SetsockoptInt(s.engine.(*udpEngine).sockets[0].fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
			t.Fatal(err)
		}
		sendAndCompare(t, c, s, conn)
		if strings.Contains(s.String(), "GSO") {
			t.Errorf("still %v", s)
		}
	})
}

// listenIn listens on an address, which may be a group, in the namespace of B.
func listenIn(t testing.TB, n *testnet.Net, address string) *net.UDPConn {
	t.Helper()
	conn := listen(t, "udp", address)
	if addr := netip.MustParseAddrPort(address).Addr(); addr.IsMulticast() {
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var joined error
		if err := raw.Control(func(fd uintptr) {
			if addr.Is4() {
				joined = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: addr.As4(), Ifindex: int32(n.B.Index)})
			} else {
				joined = unix.SetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: addr.As16(), Interface: uint32(n.B.Index)})
			}
		}); err != nil || joined != nil {
			t.Fatal(err, joined)
		}
	}
	return conn
}

// BenchmarkUDP sends to a socket that nobody reads, over loopback: the cost of
// the sender with the kernel's share.
func BenchmarkUDP(b *testing.B) {
	for _, size := range []int{1472, 8972} {
		for _, noGSO := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/gso=%v", size, !noGSO), func(b *testing.B) {
				conn := listen(b, "udp", "127.0.0.1:0")
				s, err := Open(Config{Destinations: []netip.AddrPort{addrPort(conn)}, HeapSize: 4 << 20, Heaps: int64(b.N), MaxPacket: size, Verify: true, NoGSO: noGSO})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				b.SetBytes(4 << 20)
				if _, err := s.Run(context.Background()); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
