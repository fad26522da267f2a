// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/testnet"
	"golang.org/x/sys/unix"
)

// freePort is an address with a UDP port that nobody has.
func freePort(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func listenUDP(t testing.TB, c UDPConfig) *UDP {
	t.Helper()
	u, err := ListenUDP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func listenOne(t testing.TB, addr netip.AddrPort, c UDPConfig) *UDP {
	t.Helper()
	c.Endpoints = []UDPEndpoint{{Endpoint: Endpoint{addr, 7}}}
	return listenUDP(t, c)
}

// dial is a socket connected to addr, without the Go runtime between.
func dial(t testing.TB, addr netip.AddrPort) int {
	t.Helper()
	domain := unix.AF_INET
	if addr.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if domain == unix.AF_INET {
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	return fd
}

func send(t testing.TB, fd int, data []byte) {
	t.Helper()
	if _, err := unix.Write(fd, data); err != nil {
		t.Fatal(err)
	}
}

// TestUDPNap: a thread naps before it waits, if packets have come and their sockets
// were found empty, and not before it has read what there is.
func TestUDPNap(t *testing.T) {
	addr := freePort(t, "127.0.0.1")
	u := listenOne(t, addr, UDPConfig{})
	naps := 0
	u.nap, u.napTime = func(time.Duration) { naps++ }, time.Millisecond
	fd := dial(t, addr)
	b := NewBatch(2 * udpMessages)
	for _, step := range []struct {
		send    int // packets, before
		timeout time.Duration
		naps    int
	}{
		{2*udpMessages + 1, time.Second, 0}, // nothing has come before
		{0, time.Second, 0},                 // the last call had all that it could take
		{0, time.Second, 0},                 // the last one
		{1, time.Second, 1},
		{1, time.Millisecond, 0}, // no time for a nap
		{1, time.Second, 1},
		{0, 2 * time.Millisecond, 1},
		{0, 2 * time.Millisecond, 0}, // nothing has come since
		{1, time.Second, 0},
	} {
		for range step.send {
			send(t, fd, speadPacket(1, 2, 3))
		}
		naps = 0
		n, err := u.Receive(b, step.timeout)
		u.Release()
		if err != nil || naps != step.naps {
			t.Fatalf("%+v: %d packets after %d naps, %v", step, n, naps, err)
		}
	}
	if got := u.Position(); got != 2*udpMessages+1+4 {
		t.Errorf("%d packets received", got)
	}
}

// TestUDPNapMore: a socket that may have more forbids the nap, whichever of several it is.
func TestUDPNapMore(t *testing.T) {
	var addrs []netip.AddrPort
	var c UDPConfig
	for i := range 2 {
		addrs = append(addrs, freePort(t, "127.0.0.1"))
		c.Endpoints = append(c.Endpoints, UDPEndpoint{Endpoint: Endpoint{addrs[i], int32(i)}})
	}
	u := listenUDP(t, c)
	naps := 0
	u.nap, u.napTime = func(time.Duration) { naps++ }, time.Millisecond
	fds := []int{dial(t, addrs[0]), dial(t, addrs[1])}
	b := NewBatch(4 * udpMessages)
	total := 0
	for total < udpMessages+2 {
		if total == 0 {
			for range udpMessages + 1 {
				send(t, fds[0], speadPacket(1, 2, 3))
			}
			send(t, fds[1], speadPacket(1, 2, 3))
		}
		n, err := u.Receive(b, time.Second)
		u.Release()
		if err != nil || naps > 0 {
			t.Fatalf("after %d packets %d naps, %v", total, naps, err)
		}
		total += n
	}
}

func TestUDPNapTime(t *testing.T) {
	for buffer, want := range map[int]time.Duration{
		212992:   0, // net.core.rmem_max by default
		1599999:  0,
		1600000:  50 * time.Microsecond,
		4 << 20:  131072,
		64 << 20: sched.LongestNap,
	} {
		if got := napTime(buffer); got != want {
			t.Errorf("with a buffer of %d bytes a nap is %v, want %v", buffer, got, want)
		}
	}
}

func TestUDP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			addr := freePort(t, host)
			u := listenOne(t, addr, UDPConfig{})
			if want := "udp " + addr.String(); u.Name() != want {
				t.Errorf("name %q, want %q", u.Name(), want)
			}
			b := NewBatch(100)
			if list, err := receive(t, u, b, 0); len(list) > 0 || err != nil {
				t.Fatalf("an idle socket gives %d packets, %v", len(list), err)
			}
			var want [][]byte
			fd := dial(t, addr)
			for k := range 300 {
				p := speadPacket(k, 6, 31*k)
				if k == 150 {
					p = nil // an empty datagram is a packet too
				}
				want = append(want, p)
				send(t, fd, p)
			}
			before := time.Now().Add(-time.Minute).UnixNano()
			list := receiveN(t, u, b, len(want))
			checkPackets(t, list, want)
			for _, g := range list {
				if g.stream != 7 {
					t.Fatalf("a packet of stream %d, want 7", g.stream)
				}
			}
			if b.Wall < before || b.Now > time.Now().UnixNano() {
				t.Errorf("batch time %d", b.Wall)
			}
			c := u.Counts()
			if c.Packets != 300 || c.Bytes != uint64(len(bytes.Join(want, nil))) || c.KernelDropped != 0 || c.SuperFrames != 0 || c.Truncated != 0 {
				t.Errorf("counts %+v", c)
			}
			if u.Position() != 300 || u.Mark() != math.MaxUint64 {
				t.Errorf("position %d, mark %d", u.Position(), u.Mark())
			}
		})
	}
}

// The largest datagram there is arrives whole.
func TestUDPLargest(t *testing.T) {
	addr := freePort(t, "127.0.0.1")
	u := listenOne(t, addr, UDPConfig{GRO: true})
	fd := dial(t, addr)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{0x5a}, 65507)
	send(t, fd, want)
	checkPackets(t, receiveN(t, u, NewBatch(4), 1), [][]byte{want})
}

// A sender with UDP_SEGMENT hands over trains; without GRO the kernel cuts them,
// with GRO we do, also over batches that end inside a train.
func TestUDPTrains(t *testing.T) {
	for _, gro := range []bool{false, true} {
		for _, batch := range []int{1, 7, 64, 1000} {
			t.Run(fmt.Sprintf("gro=%v batch=%d", gro, batch), func(t *testing.T) {
				addr := freePort(t, "127.0.0.1")
				u := listenOne(t, addr, UDPConfig{GRO: gro})
				if u.Info().GRO != gro {
					t.Fatalf("GRO is %v: %q", u.Info().GRO, u.Info().Notes)
				}
				fd := dial(t, addr)
				if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1472); err != nil {
					t.Fatal(err)
				}
				var want [][]byte
				for range 20 {
					var train []byte
					for k := range 40 {
						p := speadPacket(len(want), 6, 1472-56)
						if k == 39 {
							p = speadPacket(len(want), 6, 100) // the last one is shorter
						}
						want = append(want, p)
						train = append(train, p...)
					}
					send(t, fd, train)
				}
				checkPackets(t, receiveN(t, u, NewBatch(batch), len(want)), want)
				c := u.Counts()
				wantExtra := uint64(0)
				if gro {
					wantExtra = 20 * 39
				}
				if c.Packets != 800 || c.SuperFrames != wantExtra || c.KernelDropped != 0 {
					t.Errorf("counts %+v, want 800 packets, %d by cutting", c, wantExtra)
				}
			})
		}
	}
}

// Every datagram that does not fit the socket's buffer is counted, exactly:
// trains of packets too.
func TestUDPDropsAreCounted(t *testing.T) {
	for _, train := range []int{1, 10} {
		addr := freePort(t, "127.0.0.1")
		u := listenOne(t, addr, UDPConfig{Buffer: 16 << 10})
		if got := u.Info().Buffer; got > 16<<10 {
			t.Errorf("buffer of %d bytes, 16384 asked for", got)
		}
		fd := dial(t, addr)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1000); err != nil {
			t.Fatal(err)
		}
		const sent = 2000
		for range sent / train {
			send(t, fd, make([]byte, 1000*train))
		}
		b := NewBatch(64)
		received := 0
		for {
			list, err := receive(t, u, b, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			received += len(list)
		}
		c := u.Counts()
		if received == 0 || c.KernelDropped == 0 || c.KernelDroppedAtLeast || c.Packets+c.KernelDropped != sent || c.Packets != uint64(received) {
			t.Errorf("trains of %d: sent %d, received %d, counts %+v", train, sent, received, c)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		if after := u.Counts(); after != c {
			t.Errorf("counts after Close %+v, before %+v", after, c)
		}
	}
}

func TestDropCountWraps(t *testing.T) {
	var d dropCount
	for _, n := range []uint32{5, math.MaxUint32 - 1, 3, 3} {
		d.update(n)
	}
	if want := uint64(math.MaxUint32) + 1 + 3; d.total != want {
		t.Errorf("%d drops, want %d", d.total, want)
	}
}

// Several sockets in one source: each packet has its endpoint's stream, also
// when there are more packets than a batch holds.
func TestUDPManyEndpoints(t *testing.T) {
	const n = 20
	var c UDPConfig
	var fds []int
	for k := range n {
		addr := freePort(t, fmt.Sprintf("127.0.0.%d", k+1))
		c.Endpoints = append(c.Endpoints, UDPEndpoint{Endpoint: Endpoint{addr, int32(k)}})
	}
	u := listenUDP(t, c)
	if want := c.Endpoints[0].Addr.String() + " and 19 more"; !strings.HasSuffix(u.Name(), want) {
		t.Errorf("name %q, want it to end in %q", u.Name(), want)
	}
	for _, e := range c.Endpoints {
		fds = append(fds, dial(t, e.Addr))
	}
	want := make([][][]byte, n)
	for k := range 50 {
		for i, fd := range fds {
			p := fmt.Appendf(nil, "packet %d of endpoint %d", k, i)
			want[i] = append(want[i], p)
			send(t, fd, p)
		}
	}
	by := make([][]got, n)
	for _, g := range receiveN(t, u, NewBatch(33), 50*n) {
		by[g.stream] = append(by[g.stream], g)
	}
	for i := range by {
		checkPackets(t, by[i], want[i])
	}
}

// A socket that always has packets does not keep another one from being read.
func TestUDPFairness(t *testing.T) {
	busy, quiet := freePort(t, "127.0.0.1"), freePort(t, "127.0.0.2")
	u := listenUDP(t, UDPConfig{Endpoints: []UDPEndpoint{{Endpoint: Endpoint{busy, 0}}, {Endpoint: Endpoint{quiet, 1}}}})
	fd := dial(t, busy)
	for range 500 {
		send(t, fd, []byte("busy"))
	}
	b := NewBatch(10)
	if _, err := receive(t, u, b, time.Second); err != nil {
		t.Fatal(err)
	}
	send(t, dial(t, quiet), []byte("quiet"))
	for k := range 3 {
		list, err := receive(t, u, b, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(list, func(g got) bool { return g.stream == 1 }) {
			return
		}
		if k == 2 {
			t.Error("three batches of the busy socket and none of the quiet one")
		}
	}
}

// Any address means both families.
func TestUDPAnyAddress(t *testing.T) {
	port := freePort(t, "127.0.0.1").Port()
	for _, addr := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		u := listenOne(t, netip.AddrPortFrom(addr, port), UDPConfig{})
		if want := fmt.Sprintf("udp :%d", port); u.Name() != want {
			t.Errorf("name %q, want %q", u.Name(), want)
		}
		for _, to := range []string{"127.0.0.1", "::1"} {
			send(t, dial(t, netip.AddrPortFrom(netip.MustParseAddr(to), port)), []byte(to))
			checkPackets(t, receiveN(t, u, NewBatch(4), 1), [][]byte{[]byte(to)})
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUDPWake(t *testing.T) {
	u := listenOne(t, freePort(t, "127.0.0.1"), UDPConfig{})
	b := NewBatch(4)
	// Before the wait: the next one returns at once.
	u.Wake()
	u.Wake()
	start := time.Now()
	if n, err := u.Receive(b, time.Minute); n != 0 || err != nil {
		t.Fatalf("Receive = %d, %v", n, err)
	}
	// During the wait, or just before it.
	done := make(chan error)
	go func() {
		_, err := u.Receive(b, time.Minute)
		done <- err
	}()
	u.Wake()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("woke after %v", d)
	}
	// One wake ends one wait.
	start = time.Now()
	if n, err := u.Receive(b, 20*time.Millisecond); n != 0 || err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("Receive = %d, %v after %v, want nothing after 20 ms", n, err, time.Since(start))
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	u.Wake()
	if err := u.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestUDPRefused(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.LocalAddr().(*net.UDPAddr).AddrPort()
	before := openFiles(t)
	for _, tt := range []struct {
		addrs []string
		want  []string
	}{
		{nil, []string{"no endpoint"}},
		{[]string{"239.1.2.3:7148", "239.1.2.3:7148"}, []string{"endpoint 239.1.2.3:7148 stands twice"}},
		{[]string{addr.String()}, []string{"address already in use", fmt.Sprintf("port %d is taken by this process", addr.Port())}},
		{[]string{"127.0.0.1:0", fmt.Sprintf(":%d", addr.Port())}, []string{fmt.Sprintf("port %d is taken", addr.Port())}},
		{[]string{"192.0.2.1:7148"}, []string{"192.0.2.1:7148", "no interface of this machine has the address"}},
		{[]string{"[fe80::1%nosuchif0]:7148"}, []string{"nosuchif0", "there are: lo"}},
	} {
		var c UDPConfig
		for _, a := range tt.addrs {
			p, err := netip.ParseAddrPort(a)
			if err != nil {
				p = netip.AddrPortFrom(netip.Addr{}, addr.Port())
			}
			c.Endpoints = append(c.Endpoints, UDPEndpoint{Endpoint: Endpoint{Addr: p}})
		}
		u, err := ListenUDP(c)
		if err == nil {
			u.Close()
			t.Errorf("%q: no error", tt.addrs)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v; want it to say %q", tt.addrs, err, want)
			}
		}
	}
	if after := openFiles(t); !slices.Equal(before, after) {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Without CAP_NET_ADMIN the buffer is what net.core.rmem_max allows, and the
// source says how to get more. With it there is nothing to say.
func TestUDPBufferIsReported(t *testing.T) {
	const asked = 32 << 20
	u := listenOne(t, freePort(t, "127.0.0.1"), UDPConfig{Buffer: asked})
	info := u.Info()
	if info.Buffer >= asked {
		if len(info.Notes) != 0 {
			t.Errorf("%+v", info)
		}
		return
	}
	if len(info.Notes) != 1 || !strings.Contains(info.Notes[0], fmt.Sprintf("net.core.rmem_max=%d", asked)) {
		t.Errorf("%+v", info)
	}
}

// 64 groups of each family on one source, over a wire: each packet has its
// group's stream. A second receiver of the same groups gets them too.
func TestUDPMulticast(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	var c UDPConfig
	for k := range 64 {
		v4 := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 1, 2, byte(k)}), 7148)
		v6 := netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xff, 0x15, 15: byte(k + 1)}), 7148)
		c.Endpoints = append(c.Endpoints,
			UDPEndpoint{Endpoint: Endpoint{v4, int32(2 * k)}, Interface: n.B.Index},
			UDPEndpoint{Endpoint: Endpoint{v6, int32(2*k + 1)}, Interface: n.B.Index})
	}
	c.Buffer = 1 << 20
	first, second := listenUDP(t, c), listenUDP(t, c)
	want := make([][]byte, len(c.Endpoints))
	if err := n.A.Do(func() {
		for k, e := range c.Endpoints {
			want[k] = fmt.Appendf(nil, "to %v", e.Addr)
			fd := dialGroup(t, e.Addr, n.A.Index)
			send(t, fd, want[k])
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, u := range []*UDP{first, second} {
		list := receiveN(t, u, NewBatch(1000), len(want))
		for _, g := range list {
			if !bytes.Equal(g.data, want[g.stream]) {
				t.Errorf("stream %d got %q, want %q", g.stream, g.data, want[g.stream])
			}
		}
		if got := sorted(dataOf(list)); !slices.EqualFunc(got, sorted(want), bytes.Equal) {
			t.Error("some packet came twice and another never")
		}
	}
}

// A group that was joined on one interface is not heard on another, even if
// somebody else has joined it there.
func TestUDPMulticastOtherInterface(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	for _, groups := range [][2]string{{"239.1.2.3:7148", "239.1.2.4:7148"}, {"[ff15::3]:7148", "[ff15::4]:7148"}} {
		onLo, onWire := netip.MustParseAddrPort(groups[0]), netip.MustParseAddrPort(groups[1])
		u := listenUDP(t, UDPConfig{Endpoints: []UDPEndpoint{{Endpoint: Endpoint{onLo, 0}, Interface: 1}, {Endpoint: Endpoint{onWire, 1}, Interface: n.B.Index}}})
		m, err := netif.Join(onLo.Addr(), n.B.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.A.Do(func() {
			for _, to := range []netip.AddrPort{onLo, onWire} {
				send(t, dialGroup(t, to, n.A.Index), []byte(to.String()))
			}
		}); err != nil {
			t.Fatal(err)
		}
		checkPackets(t, receiveN(t, u, NewBatch(10), 1), [][]byte{[]byte(groups[1])})
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A unicast address belongs to one receiver, a group to all who want it.
func TestUDPMulticastNeedsInterface(t *testing.T) {
	testnet.New(t, testnet.Options{})
	_, err := ListenUDP(UDPConfig{Endpoints: []UDPEndpoint{{Endpoint: Endpoint{testDst, 0}, Interface: 9999}}})
	if !errors.Is(err, unix.ENODEV) {
		t.Errorf("join on an interface that is not there: %v", err)
	}
}

func dialGroup(t *testing.T, group netip.AddrPort, ifindex int) int {
	t.Helper()
	domain := unix.AF_INET
	if group.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if domain == unix.AF_INET {
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifindex)})
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, ifindex)
	}
	if err != nil {
		t.Fatal(err)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(group.Port()), Addr: group.Addr().As16()}
	if domain == unix.AF_INET {
		sa = &unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}
	}
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestUDPAllocations(t *testing.T) {
	for _, gro := range []bool{false, true} {
		addr := freePort(t, "127.0.0.1")
		u := listenOne(t, addr, UDPConfig{GRO: gro})
		fd := dial(t, addr)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1000); err != nil {
			t.Fatal(err)
		}
		train := make([]byte, 20000)
		b := NewBatch(64)
		if n := testing.AllocsPerRun(100, func() {
			send(t, fd, train)
			for got := 0; got < 20; {
				n, err := u.Receive(b, time.Second)
				if err != nil {
					t.Fatal(err)
				}
				got += n
				u.Release()
			}
			// And the way of an empty wait.
			if n, err := u.Receive(b, 0); n != 0 || err != nil {
				t.Fatal(n, err)
			}
		}); n != 0 {
			t.Errorf("GRO %v: %v allocations, want 0", gro, n)
		}
	}
}

func BenchmarkUDP(b *testing.B) {
	for _, gro := range []bool{false, true} {
		b.Run(fmt.Sprintf("gro=%v", gro), func(b *testing.B) {
			addr := freePort(b, "127.0.0.1")
			u := listenOne(b, addr, UDPConfig{GRO: gro})
			fd := dial(b, addr)
			if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 8968); err != nil {
				b.Fatal(err)
			}
			train := make([]byte, 7*8968)
			batch := NewBatch(64)
			b.ReportAllocs()
			packets := 0
			for b.Loop() {
				b.StopTimer()
				for range 8 {
					send(b, fd, train)
				}
				b.StartTimer()
				for got := 0; got < 7*8; {
					n, err := u.Receive(batch, time.Second)
					if err != nil {
						b.Fatal(err)
					}
					got += n
					packets += n
					u.Release()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
		})
	}
}
