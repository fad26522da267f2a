// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// manager is a service manager's end of the socket.
type manager struct {
	conn *net.UnixConn
	buf  [4096]byte
}

// newManager makes the socket, and names it in the environment of processes.
func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.Itoa(int(watchdog.Microseconds())))
	return &manager{conn: conn}
}

// next is the next message, as its lines.
func (m *manager) next(t *testing.T) []string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := m.conn.Read(m.buf[:])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(m.buf[:n]), "\n")
}

// await reads messages until one has a line that begins with prefix, and returns the line.
func (m *manager) await(t *testing.T, prefix string) string {
	t.Helper()
	for {
		for _, line := range m.next(t) {
			if strings.HasPrefix(line, prefix) {
				return line
			}
		}
	}
}

// TestService: a service manager hears when reception begins, while it goes on, and
// when it ends, in this order.
func TestService(t *testing.T) {
	n := wire(t)
	for _, c := range []struct {
		name string
		args []string
		end  func(t *testing.T, p *process)
	}{
		{"signal", nil, func(t *testing.T, p *process) { p.signal(t, syscall.SIGTERM) }},
		{"stop heap", nil, func(t *testing.T, _ *process) {
			within(t, &n.A, "send", "-q", "--heaps", "1", destination(n)).check(t, 0)
		}},
		{"duration", []string{"--duration", "1s"}, func(*testing.T, *process) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newManager(t, 400*time.Millisecond)
			p := start(t, options{at: &n.B}, append([]string{"recv", "--quiet", "--mode", "udp", destination(n)}, c.args...)...)
			if first := m.next(t); len(first) != 2 || first[0] != "READY=1" || first[1] != "STATUS=receiving" {
				t.Errorf("the first message is %q", first)
			}
			for range 3 {
				m.await(t, "WATCHDOG=1")
			}
			c.end(t, p)
			m.await(t, "STOPPING=1")
			p.wait(t).check(t, 0)
		})
	}
}

// TestServiceWithoutManager: a socket that is gone is a warning, and reception goes on.
func TestServiceWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	t.Setenv("WATCHDOG_USEC", "soon")
	r := program("recv", "--quiet", "../../testdata/captures/plain-64-48.pcap")
	r.check(t, 0, "warning: the watchdog of the service manager is not fed: WATCHDOG_USEC=\"soon\"", "warning: the service manager is not told how reception goes: NOTIFY_SOCKET=")
	if strings.Count(r.stderr, "is not told") != 1 {
		t.Errorf("told more than once:\n%s", r.stderr)
	}
}

// fakeService sends to a channel what it would send to the manager, and takes a thread
// for stuck as long as the test says.
func fakeService(sent chan string, alive func(time.Duration) error, stderr *bytes.Buffer) *service {
	return &service{
		send: func(s string) error { sent <- s; return nil }, alive: alive,
		status: func() string { return "figures" }, watchdog: 40 * time.Millisecond, interval: time.Millisecond, stderr: stderr,
	}
}

// TestWatchdog: it is fed while all threads make progress, and only then.
func TestWatchdog(t *testing.T) {
	sent := make(chan string) // the service waits for us at each message
	alive := make(chan error)
	var stderr bytes.Buffer
	s := fakeService(sent, func(within time.Duration) error {
		if within != 20*time.Millisecond {
			t.Errorf("a thread is allowed %v of 40 ms", within)
		}
		return <-alive
	}, &stderr)
	go s.start(make(chan struct{}), make(chan struct{}))
	expect := func(wants ...string) {
		t.Helper()
		for _, want := range wants {
			if got := <-sent; got != want {
				t.Fatalf("sent %q, want %q", got, want)
			}
		}
	}
	// look lets the service look at the threads, after as many figures as it likes.
	look := func(err error, figures bool) {
		t.Helper()
		for {
			select {
			case alive <- err:
				return
			case got := <-sent:
				if !figures || got != "STATUS=figures" {
					t.Fatalf("sent %q", got)
				}
			}
		}
	}
	expect("READY=1\nSTATUS=receiving")
	look(nil, false)
	expect("WATCHDOG=1", "STATUS=figures")
	stuck := &speadx.StuckError{Threads: []speadx.ThreadStats{{Name: "eth1 queue 3", SinceTurn: time.Second}}}
	look(stuck, true)
	for range 3 { // no WATCHDOG=1, and no figures that hide it
		expect("STATUS=receiving threads make no progress: eth1 queue 3 (working, no turn for 1s)")
		look(stuck, false)
	}
	expect("STATUS=receiving threads make no progress: eth1 queue 3 (working, no turn for 1s)")
	look(nil, false) // it goes on
	expect("WATCHDOG=1", "STATUS=figures")
	done := make(chan struct{})
	go func() { s.stop(); s.stop(); close(done) }()
	for {
		select {
		case <-done:
			if n := strings.Count(stderr.String(), "eth1 queue 3"); n != 1 {
				t.Errorf("warned %d times: %s", n, &stderr)
			}
			return
		case got := <-sent:
			if got != "STATUS=figures" && got != "STOPPING=1\nSTATUS=ending reception" {
				t.Errorf("sent %q", got)
			}
		case alive <- errors.New("not looked at any more"):
		}
	}
}

func TestStatusText(t *testing.T) {
	var a, b speadx.Stats
	b.Payload = 250e6
	b.Streams = []speadx.StreamStats{{}, {}}
	b.Streams[0].Counts[ledger.HeapsComplete], b.Streams[1].Counts[ledger.HeapsComplete] = 30, 10
	if got, want := statusText(&a, &b, 2*time.Second), "1.000 Gb/s, 20.0 heaps/s, 40 heaps, no loss"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
