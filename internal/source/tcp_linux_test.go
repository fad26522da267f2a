// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/heap"
	"golang.org/x/sys/unix"
)

// listenTCP listens on a port that the kernel finds.
func listenTCP(t testing.TB, host string, c TCPConfig) *TCP {
	t.Helper()
	addr, _ := netip.ParseAddr(host) // any address if it is none
	c.Endpoint = Endpoint{netip.AddrPortFrom(addr, 0), 7}
	s, err := ListenTCP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// connect is a connection to a port of this machine, without the Go runtime
// between. It is closed by disconnect, or at the end.
func connect(t testing.TB, to netip.AddrPort) *connection {
	t.Helper()
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	domain := unix.AF_INET6
	if to.Addr().Is4() {
		sa, domain = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{fd: fd}
	t.Cleanup(c.disconnect)
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	c.addr = addrPortOf(at)
	return c
}

type connection struct {
	fd   int
	addr netip.AddrPort
}

func (c *connection) disconnect() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

// write writes all of data.
func (c *connection) write(t testing.TB, data []byte) {
	t.Helper()
	for len(data) > 0 {
		n, err := unix.Write(c.fd, data)
		if err != nil {
			t.Error(err)
			return
		}
		data = data[n:]
	}
}

// reset breaks the connection off.
func (c *connection) reset(t testing.TB) {
	t.Helper()
	if err := unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		t.Fatal(err)
	}
	c.disconnect()
}

// receiveEnd reads a connection to its end.
func receiveEnd(t testing.TB, s Source, b *Batch) ([]got, error) {
	t.Helper()
	var list []got
	for deadline := time.Now().Add(10 * time.Second); ; {
		more, err := receive(t, s, b, 100*time.Millisecond)
		list = append(list, more...)
		if err != nil {
			return list, err
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets, and no end; %+v", len(list), s.Counts())
		}
	}
}

func TestTCP(t *testing.T) {
	for host, to := range map[string][]string{"127.0.0.1": {"127.0.0.1"}, "::1": {"::1"}, "": {"127.0.0.1", "::1"}} {
		for _, to := range to {
			t.Run(fmt.Sprintf("%q from %s", host, to), func(t *testing.T) {
				s := listenTCP(t, host, TCPConfig{})
				addr := netip.AddrPortFrom(netip.MustParseAddr(to), s.Info().Addr.Port())
				if addr.Port() == 0 || s.Info().Buffer != 0 || len(s.Info().Notes) != 0 {
					t.Errorf("info %+v", s.Info())
				}
				b := NewBatch(100)
				for range 2 {
					if list, err := receive(t, s, b, 0); len(list) > 0 || err != nil {
						t.Fatalf("without a connection: %d packets, %v", len(list), err)
					}
				}
				var want [][]byte
				for k := range 300 {
					want = append(want, speadPacket(k, 6, 31*k))
				}
				c := connect(t, addr)
				if list, err := receive(t, s, b, time.Minute); len(list) > 0 || err != nil {
					t.Fatalf("a connection alone: %d packets, %v", len(list), err)
				}
				before := time.Now().Add(-time.Minute).UnixNano()
				c.write(t, bytes.Join(want[:200], nil))
				list := receiveN(t, s, b, 200)
				if b.Wall < before || b.Now > time.Now().UnixNano() {
					t.Errorf("batch time %d", b.Wall)
				}
				if from := b.Packets[0].From; from != heap.SenderOf(c.addr) || from.AddrPort() != c.addr {
					t.Errorf("packets from %v, want %v", from, c.addr)
				}
				c.write(t, bytes.Join(want[200:], nil))
				c.disconnect()
				rest, err := receiveEnd(t, s, b)
				if !errors.Is(err, io.EOF) {
					t.Errorf("the end is %v", err)
				}
				list = append(list, rest...)
				checkPackets(t, list, want)
				for _, g := range list {
					if g.stream != 7 {
						t.Fatalf("a packet of stream %d, want 7", g.stream)
					}
				}
				if c, want := s.Counts(), (Counts{Packets: 300, Bytes: uint64(len(bytes.Join(want, nil)))}); c != want {
					t.Errorf("counts %+v, want %+v", c, want)
				}
				if s.Position() != 300 || s.Mark() != math.MaxUint64 {
					t.Errorf("position %d, mark %d", s.Position(), s.Mark())
				}
				if _, err := receive(t, s, b, time.Minute); !errors.Is(err, io.EOF) {
					t.Errorf("after the end: %v", err)
				}
			})
		}
	}
	for addr, want := range map[string]string{"127.0.0.1:0": "tcp 127.0.0.1:0", "[::1]:0": "tcp [::1]:0", "[::]:0": "tcp :0"} {
		s, err := ListenTCP(TCPConfig{Endpoint: Endpoint{Addr: netip.MustParseAddrPort(addr)}})
		if err != nil {
			t.Fatal(err)
		}
		if s.Name() != want {
			t.Errorf("name %q, want %q", s.Name(), want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// One connection is accepted, and then nobody listens any more.
func TestTCPOneConnection(t *testing.T) {
	s := listenTCP(t, "127.0.0.1", TCPConfig{})
	b := NewBatch(10)
	first, second := connect(t, s.Info().Addr), connect(t, s.Info().Addr)
	first.write(t, speadPacket(1, 4, 10))
	checkPackets(t, receiveN(t, s, b, 1), [][]byte{speadPacket(1, 4, 10)})
	if n, err := unix.Read(second.fd, make([]byte, 1)); n > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a second connection gives %d bytes, %v", n, err)
	}
	if c, err := net.Dial("tcp", s.Info().Addr.String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a third connection gives %v", err)
		if err == nil {
			c.Close()
		}
	}
	// The port is free again while the connection lasts, and after it.
	again, err := ListenTCP(TCPConfig{Endpoint: Endpoint{Addr: s.Info().Addr}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if again, err = ListenTCP(TCPConfig{Endpoint: Endpoint{Addr: s.Info().Addr}}); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// Programs that probe the port, and close or stay silent, do not end reception and do not keep
// the sender out.
func TestTCPProbe(t *testing.T) {
	s := listenTCP(t, "127.0.0.1", TCPConfig{})
	b := NewBatch(10)
	connect(t, s.Info().Addr).disconnect()
	connect(t, s.Info().Addr).reset(t)
	for range 4 {
		if n, err := s.Receive(b, 10*time.Millisecond); n != 0 || err != nil {
			t.Fatalf("Receive = %d, %v", n, err)
		}
	}
	for range maxSilent + 3 { // more than are kept
		connect(t, s.Info().Addr) // and says nothing
		if n, err := s.Receive(b, time.Second); n != 0 || err != nil {
			t.Fatalf("Receive = %d, %v", n, err)
		}
	}
	c := connect(t, s.Info().Addr)
	// It is early, and probes come and go meanwhile.
	for range 2 * maxSilent {
		connect(t, s.Info().Addr).disconnect()
		for range 2 {
			if n, err := s.Receive(b, 10*time.Millisecond); n != 0 || err != nil {
				t.Fatalf("Receive = %d, %v", n, err)
			}
		}
	}
	want := [][]byte{speadPacket(1, 4, 10), speadPacket(2, 4, 1000)}
	c.write(t, bytes.Join(want, nil))
	c.disconnect()
	list, err := receiveEnd(t, s, b)
	checkPackets(t, list, want)
	if !errors.Is(err, io.EOF) || s.peer != c.addr {
		t.Errorf("the end is %v, from %v", err, s.peer)
	}
}

// Streams of all kinds, through a socket.
func TestTCPStreams(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			stream := bytes.Join(tt.parts, nil)
			if len(stream) == 0 {
				return // a connection without data is ignored: see TestTCPProbe
			}
			s := listenTCP(t, "127.0.0.1", TCPConfig{})
			want := atOnce(stream)
			c := connect(t, s.Info().Addr)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for len(stream) > 0 {
					n := min(len(stream), 1000)
					c.write(t, stream[:n])
					stream = stream[n:]
				}
				c.disconnect()
			}()
			list, err := receiveEnd(t, s, NewBatch(4))
			<-done
			if !errors.Is(err, io.EOF) {
				t.Errorf("the end is %v", err)
			}
			checkPackets(t, list, want.packets)
			if c := s.Counts(); c != want.counts {
				t.Errorf("counts %+v, want %+v", c, want.counts)
			}
		})
	}
}

// What came before a connection broke off is handed on, and then the error names
// the sender.
func TestTCPReset(t *testing.T) {
	s := listenTCP(t, "127.0.0.1", TCPConfig{})
	c := connect(t, s.Info().Addr)
	want := [][]byte{speadPacket(1, 4, 10), speadPacket(2, 4, 1000), speadPacket(3, 4, 10)}
	c.write(t, append(bytes.Join(want, nil), speadPacket(4, 4, 10)[:20]...))
	c.reset(t)
	b := NewBatch(2)
	for range 2 {
		list, err := receiveEnd(t, s, b)
		checkPackets(t, list, want)
		if !errors.Is(err, unix.ECONNRESET) || !strings.Contains(err.Error(), s.Name()+": connection from "+c.addr.String()+": receive: connection reset by peer") {
			t.Errorf("the end is %v", err)
		}
		want = nil // the second time there is only the error
	}
	if c := s.Counts(); c.Packets != 3 || c.Truncated != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestTCPWake(t *testing.T) {
	for _, connected := range []bool{false, true} {
		s := listenTCP(t, "127.0.0.1", TCPConfig{})
		b := NewBatch(4)
		if connected {
			connect(t, s.Info().Addr).write(t, speadPacket(1, 4, 10)[:4])
			for s.conn < 0 {
				if n, err := s.Receive(b, time.Minute); n != 0 || err != nil {
					t.Fatalf("Receive = %d, %v", n, err)
				}
			}
		}
		// Before the wait: the next one returns at once.
		s.Wake()
		s.Wake()
		start := time.Now()
		if n, err := s.Receive(b, time.Minute); n != 0 || err != nil {
			t.Fatalf("Receive = %d, %v", n, err)
		}
		// During the wait, or just before it.
		done := make(chan error)
		go func() {
			_, err := s.Receive(b, time.Minute)
			done <- err
		}()
		s.Wake()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("woke after %v", d)
		}
		// One wake ends one wait.
		start = time.Now()
		if n, err := s.Receive(b, 20*time.Millisecond); n != 0 || err != nil || time.Since(start) < 20*time.Millisecond {
			t.Errorf("Receive = %d, %v after %v, want nothing after 20 ms", n, err, time.Since(start))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s.Wake()
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

// A receiver that does not read holds the sender up, and everything arrives.
func TestTCPBackpressure(t *testing.T) {
	s := listenTCP(t, "127.0.0.1", TCPConfig{Buffer: 64 << 10})
	b := NewBatch(16)
	c := connect(t, s.Info().Addr)
	if err := unix.SetNonblock(c.fd, true); err != nil {
		t.Fatal(err)
	}
	var stream []byte
	for cnt := range 4000 {
		stream = append(stream, speadPacket(cnt, 6, 8944)...)
	}
	rest := stream
	send := func() {
		for len(rest) > 0 {
			n, err := unix.Write(c.fd, rest)
			if errors.Is(err, unix.EAGAIN) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	if send(); len(rest) == 0 {
		t.Fatalf("%d bytes were sent, and nobody reads", len(stream))
	}
	var all [][]byte
	for deadline := time.Now().Add(30 * time.Second); len(all) < 4000; {
		send()
		list, err := receive(t, s, b, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets, and no more come; %+v", len(all), s.Counts())
		}
		all = append(all, dataOf(list)...)
	}
	if !bytes.Equal(bytes.Join(all, nil), stream) {
		t.Error("other bytes were received than sent")
	}
}

// The buffer is left to the kernel, or is what was asked for and could be had.
func TestTCPBuffer(t *testing.T) {
	const asked = 32 << 20
	info := listenTCP(t, "127.0.0.1", TCPConfig{Buffer: asked}).Info()
	if info.Buffer >= asked {
		if len(info.Notes) != 0 {
			t.Errorf("%+v", info)
		}
		return
	}
	if info.Buffer == 0 || len(info.Notes) != 1 || !strings.Contains(info.Notes[0], fmt.Sprintf("net.core.rmem_max=%d", asked)) {
		t.Errorf("%+v", info)
	}
}

func TestTCPRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().(*net.TCPAddr).AddrPort()
	before := openFiles(t)
	for _, tt := range []struct {
		addr string
		want []string
	}{
		{addr.String(), []string{"tcp " + addr.String() + ": bind: address already in use", fmt.Sprintf("(port %d is taken by this process)", addr.Port())}},
		{fmt.Sprintf("[::]:%d", addr.Port()), []string{fmt.Sprintf("tcp :%d: bind: ", addr.Port()), fmt.Sprintf("port %d is taken", addr.Port())}},
		{"192.0.2.1:7148", []string{"tcp 192.0.2.1:7148: bind: ", "(no interface of this machine has the address)"}},
		{"[fe80::1%nosuchif0]:7148", []string{"nosuchif0", "there are: lo"}},
	} {
		s, err := ListenTCP(TCPConfig{Endpoint: Endpoint{Addr: netip.MustParseAddrPort(tt.addr)}})
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", tt.addr)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want it to say %q", tt.addr, err, want)
			}
		}
	}
	// A port that somebody listens on who would share it.
	s := listenTCP(t, "127.0.0.1", TCPConfig{})
	if again, err := ListenTCP(TCPConfig{Endpoint: Endpoint{Addr: s.Info().Addr}}); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "is taken by this process") {
		t.Errorf("two listen on %v: %v", s.Info().Addr, err)
		if err == nil {
			again.Close()
		}
	}
	c := connect(t, s.Info().Addr)
	c.write(t, speadPacket(1, 4, 10))
	c.disconnect()
	if _, err := receiveEnd(t, s, NewBatch(1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := openFiles(t); !slices.Equal(before, after) {
		t.Errorf("descriptors before %q, after %q", before, after)
	}
}

func TestTCPAllocations(t *testing.T) {
	s := listenTCP(t, "127.0.0.1", TCPConfig{})
	c := connect(t, s.Info().Addr)
	// Packets, some that are too long, and garbage, none of them a divisor of the
	// memory's size.
	stream := append(bytes.Repeat(speadPacket(1, 6, 971), 40), longPacket(2, 1)...)
	stream = append(append(stream, "garbage garbage "...), speadPacket(3, 6, 971)...)
	b := NewBatch(64)
	if n, err := s.Receive(b, time.Minute); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n := testing.AllocsPerRun(200, func() {
		c.write(t, stream)
		for got := 0; got < 42; {
			n, err := s.Receive(b, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got += n
			s.Release()
		}
		// And the way of an empty wait.
		if n, err := s.Receive(b, 0); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkTCP(b *testing.B) {
	for _, size := range []int{1472, 8972} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := listenTCP(b, "127.0.0.1", TCPConfig{})
			c := connect(b, s.Info().Addr)
			stream := bytes.Repeat(speadPacket(1, 6, size-56), 1<<20/size)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for at := 0; ; at %= len(stream) {
					n, err := unix.Write(c.fd, stream[at:]) // which a signal cuts short
					if err != nil {
						return
					}
					at += n
				}
			}()
			batch := NewBatch(256)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			slot := make([]byte, 1<<16)
			for left := 0; b.Loop(); left-- {
				for left == 0 {
					s.Release()
					n, err := s.Receive(batch, time.Second)
					if err != nil {
						b.Fatal(err)
					}
					left = n
				}
				copy(slot, batch.Packets[left-1].First)
			}
			if err := s.Close(); err != nil { // the sender's write fails
				b.Error(err)
			}
			<-sent
		})
	}
}
