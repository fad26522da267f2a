// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/vnet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Datagrams of every size up to the MTU cross in both families, and nothing else
// has reached B by then.
func TestWire(t *testing.T) {
	n := New(t, Options{})
	sent := 0
	for _, family := range []struct {
		name   string
		from   netip.Addr
		to     netip.Addr
		header int
	}{
		{"IPv4", n.A.Addr4, n.B.Addr4, 20 + 8},
		{"IPv6", n.A.Addr6, n.B.Addr6, 40 + 8},
	} {
		receiver := listen(t, n, family.to)
		sender := dial(t, n, family.from, receiver)
		for _, size := range []int{1, 1000, 9000 - family.header} {
			want := bytes.Repeat([]byte{0xa5}, size)
			if _, err := sender.Write(want); err != nil {
				t.Fatalf("%s: send %d bytes: %v", family.name, size, err)
			}
			sent++
			got := make([]byte, 9001)
			k, err := receiver.Read(got)
			if err != nil || !bytes.Equal(got[:k], want) {
				t.Fatalf("%s: sent %d bytes, received %d: %v", family.name, size, k, err)
			}
		}
	}
	if got := linkByName(t, n.B.Name).Attrs().Statistics.RxPackets; got != uint64(sent) {
		t.Errorf("%s received %d frames, %d were sent", n.B.Name, got, sent)
	}
}

func TestInject(t *testing.T) {
	n := New(t, Options{Queues: 2})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	NeedPrivilege(t, err)
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatal(err)
	}
	timeout := unix.Timeval{Sec: 5}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	const protocol = 0x88b5 // IEEE 802: local experiments
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap(protocol), Ifindex: n.B.Index}); err != nil {
		t.Fatal(err)
	}

	// Far more than the wire holds at once, up to the longest frame.
	frames := make([][]byte, 2000)
	for k := range frames {
		frames[k] = make([]byte, 9014-(k*37)%(9014-60))
		copy(frames[k], n.B.MAC)
		copy(frames[k][6:], n.A.MAC)
		frames[k][12], frames[k][13] = protocol>>8, protocol&0xff
		frames[k][14], frames[k][15] = byte(k>>8), byte(k)
	}
	n.Inject(t, frames)

	buf := make([]byte, 9100)
	for k, want := range frames {
		size, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatalf("receive frame %d: %v", k, err)
		}
		if !bytes.Equal(buf[:size], want) {
			t.Fatalf("frame %d of %d bytes is not what was sent (%d bytes)", k, size, len(want))
		}
	}

	err = n.Net.Inject([][]byte{make([]byte, 9100)})
	if !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("inject a frame longer than the MTU: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{MTU: 1500},
		{Queues: 2},
		{Queues: 1, SenderQueues: 2, MTU: 3000},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			n := New(t, o)
			if o.MTU == 0 {
				o.MTU = 9000
			}
			queues := max(o.Queues, 1)
			b := linkByName(t, n.B.Name).Attrs()
			if b.MTU != o.MTU || b.NumRxQueues != queues || b.NumTxQueues != queues || b.Index != n.B.Index {
				t.Errorf("B: MTU %d, %d/%d queues, index %d", b.MTU, b.NumRxQueues, b.NumTxQueues, b.Index)
			}
			if err := n.A.Do(func() {
				a := linkByName(t, n.A.Name).Attrs()
				if want := max(queues, o.SenderQueues); a.MTU != o.MTU || a.NumTxQueues != want || a.Index != n.A.Index {
					t.Errorf("A: MTU %d, %d queues, index %d", a.MTU, a.NumTxQueues, a.Index)
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, o := range []Options{{MTU: 100}, {MTU: 70000}, {Queues: -1}} {
		if n, err := vnet.Make(o); err == nil {
			t.Errorf("Make(%+v) made a wire", o)
			n.Close()
		}
	}
}

// B sees whole checksums only where they are asked for.
func TestRealChecksums(t *testing.T) {
	for _, want := range []bool{false, true} {
		n := New(t, Options{RealChecksums: want})
		receiver := listen(t, n, n.B.Addr4)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(swap(unix.ETH_P_IP)))
		NeedPrivilege(t, err)
		defer unix.Close(fd)
		sender := dial(t, n, n.A.Addr4, receiver)
		if _, err := sender.Write([]byte("speadx!!")); err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, 100)
		size, err := unix.Read(fd, packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := udpChecksumHolds(packet[:size]); got != want {
			t.Errorf("RealChecksums %v: the checksum of %x holds: %v", want, packet[:size], got)
		}
	}
}

func TestGoRunsInside(t *testing.T) {
	n := New(t, Options{})
	inside := make(chan string)
	n.Go(func() { inside <- namespaceOf(t) })
	if got, want := <-inside, namespaceOf(t); got != want {
		t.Errorf("Go runs in %s, the test in %s", got, want)
	}
	outside := make(chan string)
	go func() { outside <- namespaceOf(t) }()
	if namespaceOf(t) == <-outside {
		t.Error("the test runs in the process's own namespace")
	}
	if err := n.A.Go(func() { inside <- namespaceOf(t) }); err != nil {
		t.Fatal(err)
	}
	if <-inside == namespaceOf(t) {
		t.Error("both ends are in one namespace")
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := snapshot(t)
	for range 5 {
		t.Run("", func(t *testing.T) {
			n := New(t, Options{Queues: 2, RealChecksums: true})
			n.Inject(t, [][]byte{make([]byte, 60)})
			n.Do(func() {})
			done := make(chan struct{})
			n.Go(func() { close(done) })
			<-done
			if err := n.Net.Close(); err != nil { // and once more at the end of the test
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		// A goroutine of Go returns to its namespace after f has returned.
		after := snapshot(t)
		if slices.Equal(before, after) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("before:\n%q\nafter:\n%q", before, after)
		}
	}
}

// snapshot lists what a wire could leave in this process and its namespace: links,
// descriptors, and threads in other namespaces.
func snapshot(t *testing.T) []string {
	t.Helper()
	var found []string
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		found = append(found, "link "+l.Attrs().Name)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" { // the Go runtime's
			found = append(found, "descriptor "+to)
		}
	}
	own := namespaceOf(t)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != own {
			found = append(found, "thread in "+ns)
		}
	}
	slices.Sort(found)
	return slices.DeleteFunc(found, func(s string) bool {
		return s == fmt.Sprintf("descriptor /proc/%d/fd", os.Getpid()) // the listing's own
	})
}

func namespaceOf(t *testing.T) string {
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return ns
}

func linkByName(t *testing.T, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// listen opens a UDP socket at B.
func listen(t *testing.T, n *Net, at netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// dial opens a UDP socket at A that sends to the receiver.
func dial(t *testing.T, n *Net, from netip.Addr, to *net.UDPConn) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	var err error
	if err := n.A.Do(func() {
		conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), to.LocalAddr().(*net.UDPAddr))
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// udpChecksumHolds checks RFC 768's sum of an IPv4 packet without options.
func udpChecksumHolds(packet []byte) bool {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(packet)-20)
	for k := 12; k < len(packet); k += 2 {
		sum += uint32(packet[k])<<8 | uint32(packet[k+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum == 0xffff
}

// swap gives a protocol number in network byte order, as AF_PACKET wants it.
func swap(protocol uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
}
