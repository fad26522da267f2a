// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/ledger"
)

// wire makes a veth pair for processes of a test.
func wire(t *testing.T) *vnet.Net {
	t.Helper()
	n, err := vnet.Make(vnet.Options{})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// needRoot skips where privileges are missing.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testnet.NeedPrivilege(t, os.ErrPermission)
	}
}

// within runs a command line of this process in the namespace of one end.
func within(t *testing.T, end *vnet.Iface, args ...string) (r result) {
	t.Helper()
	inside(t, end, func() error { r = program(args...); return nil })
	return r
}

func inside(t *testing.T, end *vnet.Iface, f func() error) {
	t.Helper()
	var failed error
	if err := end.Do(func() { failed = f() }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// attached reports whether an XDP program is on the interface.
func attached(t *testing.T, end *vnet.Iface) (on bool) {
	t.Helper()
	inside(t, end, func() error {
		link, err := netlink.LinkByName(end.Name)
		if err != nil {
			return err
		}
		on = link.Attrs().Xdp != nil && link.Attrs().Xdp.Attached
		return nil
	})
	return on
}

func destination(n *vnet.Net) string { return n.B.Addr4.String() + ":7148" }

// receiver starts recv at the receiver's end of the wire, natively. The queue's
// buffers hold all that TestNative sends, however late the thread is.
func receiver(t *testing.T, n *vnet.Net) *process {
	t.Helper()
	p := start(t, options{at: &n.B}, "recv", "--mode", "native", "--frames", "8192", "-H", "256KiB", "--format", "json", "--verify", destination(n))
	p.receiving(t)
	return p
}

// sender starts send at the sender's end, until it is told to stop.
func sender(t *testing.T, n *vnet.Net) *process {
	t.Helper()
	return start(t, options{at: &n.A}, "send", "--verify", "-H", "256KiB", "--packet", "8972", "--rate", "1", destination(n))
}

func TestNative(t *testing.T) {
	n := wire(t)
	recv := receiver(t, n)
	if !attached(t, &n.B) {
		t.Error("no program is on the interface while it receives")
	}
	within(t, &n.A, "send", "-q", "--verify", "-H", "256KiB", "--packet", "8972", "--rate", "1", "--heaps", "50", destination(n)).check(t, 0)
	r := recv.wait(t)
	r.check(t, 0, "sx-b: driver veth, MTU 9000, queue 0, mode native with multi-buffer, receiving "+destination(n)+"\n",
		"\n  UMEM: 1 × 8192 frames of 4KiB = 32MiB on ", "\npool: ", "\n  "+destination(n)+": ")
	s := lastSummary(t, r.stdout)
	if s.CompleteHeaps != 50 || s.VerifiedHeaps != 50 || s.MismatchedHeaps != 0 || s.Fates[ledger.Delivered]+s.Fates[ledger.StreamControl] != s.Packets ||
		len(s.Devices) != 1 || s.Devices[0].Name != "sx-b" || s.Devices[0].Matched != s.Packets || len(s.Devices[0].Queues) != 1 {
		t.Errorf("summary %+v", s)
	}
	for _, l := range heapLines(t, r.stdout) {
		if l.Stream != destination(n) {
			t.Errorf("heap %d is of stream %q", l.Cnt, l.Stream)
		}
	}
	if attached(t, &n.B) {
		t.Error("a program stayed on the interface")
	}
}

// TestInterrupt: Ctrl-C in full flow ends in good order, with the ledger closed.
func TestInterrupt(t *testing.T) {
	n := wire(t)
	recv := receiver(t, n)
	send := sender(t, n)
	recv.await(t, &recv.stdout, `"cnt":20,`)
	recv.signal(t, os.Interrupt)
	r := recv.wait(t)
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps < 20 || s.MismatchedHeaps != 0 || s.StopHeaps != 0 {
		t.Errorf("summary %+v", s)
	}
	if attached(t, &n.B) {
		t.Error("a program stayed on the interface")
	}
	send.signal(t, os.Interrupt)
	r = send.wait(t)
	if r.check(t, 0); !strings.HasPrefix(r.stdout, "Sent ") {
		t.Errorf("send printed %q", r.stdout)
	}
}

// TestKill: whatever happens to the process, the interface is clean after it, and
// the next start works at once.
func TestKill(t *testing.T) {
	n := wire(t)
	send := sender(t, n)
	for range 5 {
		recv := receiver(t, n)
		recv.await(t, &recv.stdout, `"complete":true`)
		recv.signal(t, os.Kill)
		recv.wait(t)
		if attached(t, &n.B) {
			t.Fatal("a program stayed on the interface")
		}
	}
	recv := receiver(t, n)
	recv.await(t, &recv.stdout, `"complete":true`)
	recv.signal(t, syscall.SIGTERM)
	r := recv.wait(t)
	r.check(t, 0)
	lastSummary(t, r.stdout)
	send.signal(t, os.Interrupt)
	send.wait(t)
}

func TestSecondInstance(t *testing.T) {
	n := wire(t)
	first := receiver(t, n)
	who := fmt.Sprintf("(process %d)", first.cmd.Process.Pid)
	for mode, want := range map[string]string{"native": "receives on queue 0", "generic": "--mode native here too"} {
		r := within(t, &n.B, "recv", "-q", "--mode", mode, n.B.Addr4.String()+":7149")
		r.check(t, exitError, "sx-b", who, want)
		if !oneLine.MatchString(r.stderr) {
			t.Errorf("messages:\n%s", r.stderr)
		}
	}
	// The first has not felt anything of it.
	within(t, &n.A, "send", "-q", "-H", "64KiB", "--verify", "--heaps", "3", destination(n)).check(t, 0)
	r := first.wait(t)
	if r.check(t, 0); lastSummary(t, r.stdout).VerifiedHeaps != 3 {
		t.Errorf("summary %s", r.stdout)
	}
}

func TestInterfaceErrors(t *testing.T) {
	n := wire(t)
	r := within(t, &n.B, "recv", "-q", "-i", "sx-c", "7148")
	r.check(t, exitError, `no interface "sx-c" (there are: lo, sx-b)`)
	r = within(t, &n.B, "recv", "-q", "--queues", "0,3", destination(n))
	r.check(t, exitError, "interface sx-b has no queue 3: it has 1, numbered from 0", "ethtool -l sx-b")
	r = within(t, &n.B, "recv", "-q", "--mode", "zerocopy", destination(n))
	r.check(t, exitError, "sx-b cannot have zerocopy", "the driver has no zero-copy")
	r = within(t, &n.B, "recv", "-q", "--wait", "busy", "--mode", "native", destination(n))
	r.check(t, exitError, "busy polling has no effect on this queue", "wait by poll or spin")
	r = within(t, &n.B, "recv", "-q", "-i", "lo", "--mode", "native", "7148")
	r.check(t, exitError, "lo cannot have native", "the driver has no native XDP")
	if attached(t, &n.B) {
		t.Error("a program stayed on the interface")
	}
	setLink(t, n, netlink.LinkSetDown)
	r = within(t, &n.B, "recv", "-q", "-i", "sx-b", "7148")
	r.check(t, exitError, "interface sx-b is down (ip link set sx-b up)")
}

func setLink(t *testing.T, n *vnet.Net, set func(netlink.Link) error) {
	t.Helper()
	inside(t, &n.B, func() error {
		link, err := netlink.LinkByName(n.B.Name)
		if err != nil {
			return err
		}
		return set(link)
	})
}

// TestInterfaceLost: it goes down, or away, while packets flow.
func TestInterfaceLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(netlink.Link) error
		want string
	}{
		{"down", netlink.LinkSetDown, "(ip link set sx-b up)\n"},
		{"deleted", netlink.LinkDel, "(the interface was removed)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := wire(t)
			recv := receiver(t, n)
			sender(t, n)
			recv.await(t, &recv.stdout, `"complete":true`)
			setLink(t, n, tt.set)
			r := recv.wait(t)
			r.check(t, exitError, "speadx: xsk: sx-b queue 0: ", "interface is down or gone", tt.want)
			if s := lastSummary(t, r.stdout); s.CompleteHeaps == 0 || s.MismatchedHeaps != 0 {
				t.Errorf("summary %+v", s)
			}
			if tt.name == "down" && attached(t, &n.B) {
				t.Error("a program stayed on the interface")
			}
		})
	}
}

func TestMissingCapabilities(t *testing.T) {
	n := wire(t)
	for _, tt := range []struct {
		name    string
		args    []string
		without []int
		status  int
		wants   []string
	}{
		{
			"demo", []string{"demo"}, []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF}, exitError,
			[]string{"the demo is missing CAP_SYS_ADMIN (", "CAP_NET_ADMIN (", "CAP_NET_RAW (", "CAP_BPF (", ": run it as root\n"},
		},
		{"demo without BPF", []string{"demo"}, []int{unix.CAP_BPF}, exitError, []string{"the demo is missing CAP_BPF (to load the steering program): run it as root\n"}},
		{
			"recv without BPF", []string{"recv", "-q", "--mode", "native", destination(n)}, []int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}, exitError,
			[]string{"load the steering program: operation not permitted (missing CAP_BPF: run as root, or give them to the program with setcap)"},
		},
		{
			"recv without RAW", []string{"recv", "-q", "--mode", "native", destination(n)}, []int{unix.CAP_NET_RAW}, exitError,
			[]string{"make the socket on sx-b queue 0: operation not permitted (needs CAP_NET_RAW)"},
		},
		{
			"recv in any mode", []string{"recv", "-q", "--duration", "50ms", destination(n)}, []int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}, 0,
			[]string{"UDP sockets are used, since AF_XDP does not work: ", "missing CAP_BPF"},
		},
		{
			"low port", []string{"recv", "-q", "--mode", "udp", "80"}, []int{unix.CAP_NET_BIND_SERVICE}, exitError,
			[]string{"bind: permission denied", "CAP_NET_BIND_SERVICE"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, options{at: &n.B, without: tt.without}, tt.args...).wait(t)
			if r.check(t, tt.status, tt.wants...); !strings.HasPrefix(r.stderr, "speadx: ") && tt.status != 0 || strings.Count(strings.TrimSuffix(r.stderr, "speadx: nothing was received: no heap came\n"), "\n") != 1 {
				t.Errorf("messages:\n%s", r.stderr)
			}
		})
	}
	if attached(t, &n.B) {
		t.Error("a program stayed on the interface")
	}
}

func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.pcap")
	if err := os.WriteFile(path, captureBytes(t, "plain-64-24"), 0); err != nil {
		t.Fatal(err)
	}
	r := start(t, options{without: []int{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH}}, "recv", "-q", path).wait(t)
	if r.check(t, exitError, "secret.pcap: permission denied"); !oneLine.MatchString(r.stderr) {
		t.Errorf("messages:\n%s", r.stderr)
	}
}

func TestDemo(t *testing.T) {
	needRoot(t)
	r := start(t, options{}, "demo", "--duration", "1s", "--rate", "1").wait(t)
	r.check(t, 0)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	for _, want := range []string{
		`^a veth pair in namespaces of its own: sx-a sends to 10\.77\.0\.2:7148 on sx-b$`,
		`^sx-b: driver veth, .* mode native with multi-buffer`,
		`^sending to 10\.77\.0\.2:7148: .*packets of 89\d\d bytes`,
		`^ledger: \d+ packets$`,
		`^ +0 unaccounted$`,
	} {
		found := false
		for _, l := range lines {
			found = found || regexp.MustCompile(want).MatchString(l)
		}
		if !found {
			t.Errorf("no line %s in\n%s", want, r.stdout)
		}
	}
	last := regexp.MustCompile(`^OK: sent (\d+) heaps in \d+ packets at 0?1?\.?\d+ Gb/s; received (\d+) complete, verified (\d+), wrong 0, lost 0 packets$`)
	if m := last.FindStringSubmatch(lines[len(lines)-1]); m == nil || m[1] == "0" || m[2] != m[1] || m[3] != m[1] || r.stderr != "" {
		t.Errorf("the last line is %q, errors %q", lines[len(lines)-1], r.stderr)
	}
}

// loopback starts recv on a UDP socket, and says where to send.
func loopback(t *testing.T, args ...string) (recv *process, to string) {
	t.Helper()
	to = "127.0.0.1:" + freePort(t)
	recv = start(t, options{}, append(append([]string{"recv", "--mode", "udp"}, args...), to)...)
	recv.receiving(t)
	return recv, to
}

// few are heaps that fit into any socket's buffer, slowly.
var few = []string{"send", "-q", "-H", "4096", "--heaps", "20", "--rate", "0.05"}

func TestLoopback(t *testing.T) {
	recv, to := loopback(t, "--format", "json", "--verify", "--hash", "--gro=false")
	sent := program(append(few, "--verify", to)...)
	sent.check(t, 0)
	r := recv.wait(t)
	r.check(t, 0, "UDP socket: receiving "+to+", buffer ", ", without GRO\n")
	s := lastSummary(t, r.stdout)
	if s.CompleteHeaps != 20 || s.VerifiedHeaps != 20 || s.Fates[ledger.KernelDropped] != 0 || s.StopHeaps != 1 || len(s.Devices) != 0 ||
		s.FlowSeconds <= 0 || s.FlowSeconds > s.Seconds || s.Gbps <= 0 {
		t.Errorf("summary %+v", s)
	}
	if !strings.HasPrefix(r.stdout, fmt.Sprintf(`{"type":"heap","stream":"%s","cnt":1,"flavour":"64-48","complete":true,`, to)) {
		t.Errorf("the first line of\n%s", r.stdout)
	}
}

// TestTCP: a stream over a connection, which is received whole however fast it is
// sent, and ends with its stop heap or with the connection.
func TestTCP(t *testing.T) {
	for _, tt := range []struct {
		source func(to string) []string
		args   []string
		stops  uint64
	}{
		{func(to string) []string { return []string{"tcp://" + to} }, nil, 1},
		{func(to string) []string { return []string{"--tcp", to} }, []string{"--no-stop"}, 0},
	} {
		to := "127.0.0.1:" + freeTCPPort(t)
		recv := start(t, options{}, append([]string{"recv", "-H", "1MiB", "--format", "json", "--verify"}, tt.source(to)...)...)
		recv.receiving(t)
		sent := program(append(append([]string{"send", "-H", "1MiB", "--heaps", "100", "--verify"}, tt.args...), "tcp://"+to)...)
		sent.check(t, 0, "sending to "+to+": TCP connection, SPEAD-64-48")
		r := recv.wait(t)
		r.check(t, 0, "TCP socket: listening on "+to+", the kernel's choice of buffer\n")
		s := lastSummary(t, r.stdout)
		if s.CompleteHeaps != 100 || s.VerifiedHeaps != 100 || s.MismatchedHeaps != 0 || s.StopHeaps != tt.stops || s.SkippedBytes != 0 ||
			s.Fates[ledger.Delivered] != s.Packets-tt.stops {
			t.Errorf("summary %+v", s)
		}
		if !strings.HasPrefix(r.stdout, fmt.Sprintf(`{"type":"heap","stream":"tcp://%s","cnt":1,`, to)) {
			t.Errorf("the first line of\n%s", r.stdout)
		}
	}
}

// TestTCPInterrupt: Ctrl-C ends it while nobody has connected, and a sender whose
// receiver is gone says so.
func TestTCPInterrupt(t *testing.T) {
	to := "127.0.0.1:" + freeTCPPort(t)
	recv := start(t, options{}, "recv", "--format", "json", "tcp://"+to)
	recv.receiving(t)
	recv.signal(t, os.Interrupt)
	r := recv.wait(t)
	if r.check(t, 0); lastSummary(t, r.stdout).Packets != 0 {
		t.Errorf("output:\n%s", r.stdout)
	}
	program("send", "tcp://"+to).check(t, exitError, "speadx: send: connection to "+to+": connect: connection refused (nobody listens there: a receiver is started first")

	recv = start(t, options{}, "recv", "-H", "64KiB", "--format", "json", "--heaps", "3", "tcp://"+to)
	recv.receiving(t)
	program("send", "-H", "64KiB", "tcp://"+to).check(t, exitError, "speadx: send: connection to "+to+": ", "(the receiver has closed it)\n")
	r = recv.wait(t)
	if r.check(t, 0); lastSummary(t, r.stdout).DeliveredHeaps < 3 {
		t.Errorf("output:\n%s", r.stdout)
	}
}

// TestVerifyWrong: a sender that does not send the pattern.
func TestVerifyWrong(t *testing.T) {
	recv, to := loopback(t, "--verify")
	program(append(few, to)...).check(t, 0)
	r := recv.wait(t)
	r.check(t, exitError, "stream "+to+": heap 1: item 0x1000 differs from the pattern at offset 2: got 0x00, want 0xbc", "speadx: verification failed: 20 of 20 heaps")
	if !strings.Contains(r.stdout, "\nVerified 20 heaps: 20 wrong\n") {
		t.Errorf("output:\n%s", r.stdout)
	}
}

func TestStopOnStopFalse(t *testing.T) {
	recv, to := loopback(t, "--format", "json", "--stop-on-stop=false")
	program(append(few, to)...).check(t, 0)
	recv.await(t, &recv.stdout, `"items":[{"id":6,"immediate":2}`) // the stop heap, delivered as any other
	program(append(few, to)...).check(t, 0)
	recv.await(t, &recv.stdout, `"items":[{"id":6,"immediate":2}`)
	recv.signal(t, os.Interrupt)
	r := recv.wait(t)
	r.check(t, 0)
	lastSummary(t, r.stdout)
}

func TestDuration(t *testing.T) {
	began := time.Now()
	r := program("recv", "--mode", "udp", "--duration", "50ms", "--format", "json", freePort(t))
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.Heaps != 0 || s.Seconds < 0.05 || s.FlowSeconds != 0 || s.Gbps != 0 {
		t.Errorf("summary %+v", s)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("it took %v", d)
	}
}

func TestBarePort(t *testing.T) {
	port := freePort(t)
	for _, source := range []string{port, ":" + port} {
		r := program("recv", "--duration", "1ms", source)
		r.check(t, 0, "source :"+port+" names neither an address nor an interface, so it uses a UDP socket (--interface for AF_XDP)\n")
	}
}

// TestClosedPipe: who reads the heaps has seen enough.
func TestClosedPipe(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	to := "127.0.0.1:" + freePort(t)
	recv := start(t, options{stdout: out}, "recv", "--mode", "udp", "--format", "json", to)
	out.Close()
	recv.receiving(t)
	send := start(t, options{}, "send", "-q", "-H", "4096", "--rate", "0.05", to)
	if first, err := bufio.NewReader(in).ReadString('\n'); err != nil || !strings.HasPrefix(first, `{"type":"heap"`) {
		t.Errorf("first line %q, %v", first, err)
	}
	in.Close()
	r := recv.wait(t)
	r.check(t, exitError, "speadx: standard output was closed by its reader\n")
	send.signal(t, os.Interrupt)
	send.wait(t)
}

func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, quiet := range []string{"-q=true", "-q=false"} {
		var stderr strings.Builder
		status := run([]string{"recv", quiet, capturePath("plain-64-24")}, full, &stderr)
		r := result{status: status, stderr: stderr.String()}
		r.check(t, exitError, "speadx: write /dev/full: no space left on device\n")
	}
}

// TestLiveLine: a terminal gets a line a second, where the messages go.
func TestLiveLine(t *testing.T) {
	master, slave := terminal(t)
	recv := start(t, options{stderr: slave}, "recv", "--mode", "udp", "--duration", "1500ms", "--format", "json", freePort(t))
	slave.Close()
	var screen strings.Builder
	if _, err := io.Copy(&screen, master); err != nil && !errors.Is(err, syscall.EIO) { // EIO: nobody has the terminal open
		t.Fatal(err)
	}
	r := recv.wait(t)
	r.check(t, 0)
	live := regexp.MustCompile(`(?m)^ +\d s    0\.000 Gb/s      0\.0 kp/s      0\.0 heaps/s         0 heaps  no loss\r$`)
	if n := len(live.FindAllString(screen.String(), -1)); n < 1 || n > 2 || strings.Contains(r.stdout, "Gb/s") {
		t.Errorf("%d live lines on\n%s", n, screen.String())
	}
}

// terminal is a pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

func TestPortTakenByProcess(t *testing.T) {
	recv, to := loopback(t)
	_, port, err := net.SplitHostPort(to)
	if err != nil {
		t.Fatal(err)
	}
	r := program("recv", "-q", "--mode", "udp", to)
	r.check(t, exitError, "port "+port+" is taken by ", fmt.Sprintf("(process %d)", recv.cmd.Process.Pid))
	recv.signal(t, os.Interrupt)
	recv.wait(t).check(t, 0)
}
