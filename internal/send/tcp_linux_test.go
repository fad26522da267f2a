// SPDX-License-Identifier: Apache-2.0

package send

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenTCP waits for connections on a port of its own.
func listenTCP(t testing.TB, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func addrOf(l *net.TCPListener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// stream is what comes over one connection, to its end.
func stream(t testing.TB, l *net.TCPListener) <-chan []byte {
	t.Helper()
	out := make(chan []byte, 1)
	go func() {
		defer close(out)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Error(err)
		}
		out <- all
	}()
	return out
}

// TestTCP sends over connections, which must get exactly the packets made, one
// behind the other.
func TestTCP(t *testing.T) {
	for _, tt := range []struct {
		name    string
		address string
		conns   int
		config  Config
	}{
		{"small packets", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3}},
		{"jumbo", "127.0.0.1:0", 1, Config{HeapSize: 1000000, Heaps: 2, MaxPacket: 8972}},
		{"largest", "127.0.0.1:0", 1, Config{HeapSize: 1000000, Heaps: 20, MaxPacket: 65535}},
		{"single-packet heaps", "127.0.0.1:0", 1, Config{HeapSize: 800, Heaps: 600}},
		{"two destinations", "127.0.0.1:0", 2, Config{HeapSize: 50000, Heaps: 9}},
		{"IPv6", "[::1]:0", 1, Config{HeapSize: 300000, Heaps: 3}},
		{"many small items", "127.0.0.1:0", 1, Config{HeapSize: 40000, Items: 10000, Heaps: 2, NoDescriptors: true}},
		{"many pieces", "127.0.0.1:0", 1, Config{HeapSize: 400000, Items: 1000, Heaps: 2, NoDescriptors: true}},
		{"faults", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3, Faults: Faults{Drop: 0.1, Reorder: 0.1, Duplicate: 0.1}}},
		{"paced", "127.0.0.1:0", 1, Config{HeapSize: 300000, Heaps: 3, Rate: 1e9}},
		{"source address and interface", "127.0.0.1:0", 1, Config{HeapSize: 5000, Heaps: 1, Bind: netip.MustParseAddr("127.0.0.1"), Interface: "lo", TTL: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.config
			c.Engine, c.Verify = TCP, true
			var streams []<-chan []byte
			for range tt.conns {
				l := listenTCP(t, tt.address)
				c.Destinations = append(c.Destinations, addrOf(l))
				streams = append(streams, stream(t, l))
			}
			e, want := run(t, c)
			s, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			if about := s.String(); !strings.Contains(about, ": TCP connection") || strings.Contains(about, "connections") != (tt.conns > 1) {
				t.Errorf("sender describes itself as %q", about)
			}
			r, err := s.Run(context.Background())
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			r.Elapsed, want.Elapsed = 0, 0
			if r != want {
				t.Errorf("result %+v, want %+v", r, want)
			}
			for i, got := range streams {
				var sent []byte
				for j, b := range e.packets {
					if e.dests[j] == i {
						sent = append(sent, b...)
					}
				}
				if got := <-got; !bytes.Equal(got, sent) {
					t.Errorf("destination %d: %d bytes are not the %d expected", i, len(got), len(sent))
				}
			}
		})
	}
}

// TestTCPSlowReceiver: the sender waits for as long as the receiver likes, also
// with a stop heap that finds no room.
func TestTCPSlowReceiver(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	c := Config{Destinations: []netip.AddrPort{addrOf(l)}, Engine: TCP, HeapSize: 1 << 20, Verify: true}
	e, _ := run(t, c)
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	s.grace = time.Nanosecond // nothing may depend on it
	blocked := fillBuffer(t, s)
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(context.Background())
		done <- errors.Join(err, s.Close())
	}()
	got := <-stream(t, l)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join(e.packets, nil); !bytes.Equal(got[blocked:], want) {
		t.Errorf("%d bytes are not the %d expected", len(got)-blocked, len(want))
	}
}

// fillBuffer sends zeros until the connection takes not one more, and gives their
// number.
func fillBuffer(t *testing.T, s *Sender) (n int) {
	t.Helper()
	fd := s.engine.(*tcpEngine).conns[0].fd
	zeros := make([]byte, 1<<20)
	fill := func() (more int) {
		for size := len(zeros); size > 0; {
			m, err := unix.Write(fd, zeros[:size])
			switch {
			case err == unix.EAGAIN:
				size /= 16 // where many find no room some may
			case err != nil:
				t.Fatal(err)
			default:
				more += m
			}
		}
		return more
	}
	for more := fill(); more > 0; more = fill() {
		n += more
		// What has been acknowledged makes room, which poll does not tell of at once.
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 50); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
	return n
}

// TestTCPCut: where a packet was cut short by the context, its rest goes before the
// stop heap, so that the receiver stays in step.
func TestTCPCut(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	c := Config{Destinations: []netip.AddrPort{addrOf(l)}, HeapSize: 1 << 20, MaxPacket: 60000, Verify: true}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	e, err := openTCP(&c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	var packets []packet
	var want []byte
	for i := range 2000 {
		p := packet{hdr: bytes.Repeat([]byte{byte(i)}, 1000), segs: [][]byte{bytes.Repeat([]byte{byte(i >> 8)}, 50000), make([]byte, 1000)}, size: 52000}
		packets = append(packets, p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n, err := e.send(ctx, packets)
	if !errors.Is(err, context.Canceled) || n == 0 || n == len(packets) || !strings.Contains(err.Error(), "connection to "+addrOf(l).String()+": the receiver takes nothing") {
		t.Fatalf("%d packets sent, %v", n, err)
	}
	take := func(list []packet) {
		for i := range list {
			var p packet
			p.copyFrom(&list[i])
			want = append(want, p.hdr...)
			clear(list[i].hdr) // the memory is free
			clear(list[i].segs[0])
		}
	}
	take(packets[:n])
	if len(e.(*tcpEngine).conns[0].rest) == 0 {
		t.Log("by chance the buffer was full at the end of a packet")
	}
	// There may be room by now, for the rest first.
	more, err := e.send(ctx, packets[n:n+1])
	if more == 0 && !errors.Is(err, context.Canceled) {
		t.Errorf("%d packets sent, %v", more, err)
	}
	take(packets[n : n+more])
	got := stream(t, l)
	last := packet{hdr: []byte("the last packet"), size: 15}
	if n, err := e.send(context.Background(), []packet{last}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := e.drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
	if got := <-got; !bytes.Equal(got, append(want, last.hdr...)) {
		t.Errorf("%d bytes are not the %d expected", len(got), len(want)+len(last.hdr))
	}
}

// TestTCPInterrupted: a receiver that takes nothing cannot keep the sender.
func TestTCPInterrupted(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	s, err := Open(Config{Destinations: []netip.AddrPort{addrOf(l)}, Engine: TCP, HeapSize: 1 << 20, Heaps: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.grace = 10 * time.Millisecond
	fillBuffer(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := s.Run(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the receiver takes nothing") || r.StopHeaps != 1 || r.Packets != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestTCPErrors: what the network refuses is said in words.
func TestTCPErrors(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	open := addrOf(l)
	gone := listenTCP(t, "127.0.0.1:0")
	closed := addrOf(gone)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{Destinations: []netip.AddrPort{open, closed}}, "send: connection to " + closed.String() + ": connect: connection refused (nobody listens there"},
		{Config{Destinations: []netip.AddrPort{open}, Interface: "nosuch0"}, "interface nosuch0: "},
		{Config{Destinations: []netip.AddrPort{open}, Bind: netip.MustParseAddr("192.0.2.77")}, "source address 192.0.2.77: bind: cannot assign"},
		{Config{Destinations: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148")}}, "destination 239.1.2.3:7148 is a multicast group"},
		{Config{Destinations: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%nosuch0]:7148")}}, "zone of fe80::1%nosuch0"},
	} {
		tt.config.HeapSize, tt.config.Engine = 1000, TCP
		if s, err := Open(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want one about %q", err, tt.want)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// TestTCPClosed: the receiver closes the connection.
func TestTCPClosed(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	s, err := Open(Config{Destinations: []netip.AddrPort{addrOf(l)}, Engine: TCP, HeapSize: 1 << 20, Heaps: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(context.Background())
	if err == nil || !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) || !strings.Contains(err.Error(), "connection to "+addrOf(l).String()) || !strings.Contains(err.Error(), "(the receiver has closed it)") {
		t.Errorf("Run gives %v", err)
	}
}

// TestTCPConnectWait: where nobody answers at all, a connection is given up.
func TestTCPConnectWait(t *testing.T) {
	// A port whose queue of connections is full does not answer.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	to, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		err = connect(c, to, 10*time.Millisecond)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "no answer within 10ms (is it up") {
			t.Errorf("error %v", err)
		}
		return
	}
	t.Error("every connection came about")
}

// TestTCPNoAllocations: nothing is allocated per packet.
func TestTCPNoAllocations(t *testing.T) {
	l := listenTCP(t, "127.0.0.1:0")
	c := Config{Destinations: []netip.AddrPort{addrOf(l)}, HeapSize: 1 << 20}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	e, err := openTCP(&c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packets := make([]packet, batchPackets)
	for i := range packets {
		packets[i] = packet{hdr: make([]byte, 40), segs: [][]byte{make([]byte, 1000), make([]byte, 432)}, size: 1472}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	ctx := context.Background()
	if n := testing.AllocsPerRun(20, func() {
		if n, err := e.send(ctx, packets); n != len(packets) || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if err := e.close(); err != nil {
		t.Error(err)
	}
	<-done
}
