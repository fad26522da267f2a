// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Frames that cross a wire are counted as those given to the program by hand, and
// the kernel gets them all while there are no sockets.
func TestAttach(t *testing.T) {
	for _, mode := range []AttachMode{Native, Generic} {
		for _, frags := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, frags %v", mode, frags), func(t *testing.T) {
				mtu := 9000
				if mode == Native && !frags {
					mtu = 1500
				}
				n := testnet.New(t, testnet.Options{MTU: mtu, RealChecksums: true})
				receiver, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.B.Addr4, ourPort)))
				must(t, err)
				defer receiver.Close()
				must(t, receiver.SetReadDeadline(time.Now().Add(5*time.Second)))
				var sender net.Conn
				must(t, n.A.Do(func() { sender, err = net.Dial("udp", receiver.LocalAddr().String()) }))
				must(t, err)
				defer sender.Close()

				s := load(t, SteerConfig{Queues: 1, Frags: frags})
				addEndpoints(t, s, netip.AddrPortFrom(n.B.Addr4, ourPort))
				l, err := s.Attach(n.B.Index, n.B.Name, mode)
				must(t, err)
				if got := attached(t, n.B.Index); got != mode.String() {
					t.Fatalf("attached in %s mode", got)
				}

				want := Counters{}
				for _, size := range []int{1, 1000, mtu - 28} {
					datagram := make([]byte, size)
					_, err := sender.Write(datagram)
					must(t, err)
					if k, err := receiver.Read(make([]byte, 9001)); err != nil || k != size {
						t.Fatalf("sent %d bytes, received %d: %v", size, k, err)
					}
					want.add(Counters{Matched: 1, NoSocket: 1})
				}
				// Not ours, and at last one that is: then all have been seen.
				n.Inject(t, [][]byte{frameTo(group, ourPort), make([]byte, 60), frameTo(n.B.Addr4, ourPort)})
				_, err = receiver.Read(make([]byte, 9001))
				must(t, err)
				want.add(Counters{Matched: 1, NoSocket: 1, Other: 2})
				if got := s.Counters(0); got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}

				for range 2 {
					must(t, l.Close())
				}
				if got := attached(t, n.B.Index); got != "" {
					t.Errorf("after Close: attached in %s mode", got)
				}
				_, err = s.Attach(n.B.Index, n.B.Name, mode) // at once again
				must(t, err)
				must(t, s.Close())
				if got := attached(t, n.B.Index); got != "" {
					t.Errorf("after Close of the program: attached in %s mode", got)
				}
			})
		}
	}
}

// Whoever has the interface keeps it, and is named.
func TestOtherProgram(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	index, name := n.B.Index, n.B.Name

	first := load(t, SteerConfig{Queues: 1, Frags: true})
	foreign := foreignProgram(t)
	for _, tt := range []struct {
		name   string
		occupy func() (leave func(), prog *ebpf.Program)
		mode   AttachMode // of the one that comes too late
		errno  error
		there  string
		link   bool
		hint   string
	}{
		{"link, native both", func() (func(), *ebpf.Program) {
			l, err := first.Attach(index, name, Native)
			must(t, err)
			return func() { must(t, l.Close()) }, first.prog
		}, Native, unix.EBUSY, "native", true, "stop the process that holds it"},
		{"link, generic over native", func() (func(), *ebpf.Program) {
			l, err := first.Attach(index, name, Native)
			must(t, err)
			return func() { must(t, l.Close()) }, first.prog
		}, Generic, unix.EEXIST, "native", true, "stop the process that holds it"},
		{"link, native over generic", func() (func(), *ebpf.Program) {
			l, err := first.Attach(index, name, Generic)
			must(t, err)
			return func() { must(t, l.Close()) }, first.prog
		}, Native, unix.EEXIST, "generic", true, "stop the process that holds it"},
		{"without a link, native", func() (func(), *ebpf.Program) {
			return attachByNetlink(t, index, foreign, unix.XDP_FLAGS_DRV_MODE), foreign
		}, Native, unix.EBUSY, "native", false, "ip link set dev " + name + " xdpdrv off"},
		{"without a link, generic", func() (func(), *ebpf.Program) {
			return attachByNetlink(t, index, foreign, unix.XDP_FLAGS_SKB_MODE), foreign
		}, Generic, unix.EBUSY, "generic", false, "ip link set dev " + name + " xdpgeneric off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.Do(func() {
				leave, prog := tt.occupy()
				defer leave()
				info, err := prog.Info()
				must(t, err)
				id, _ := info.ID()

				second := load(t, SteerConfig{Queues: 1, Frags: true})
				_, err = second.Attach(index, name, tt.mode)
				if !errors.Is(err, tt.errno) || !errors.Is(err, ErrOtherProgram) {
					t.Fatalf("attached over another program: %v", err)
				}
				var attach *AttachError
				if !errors.As(err, &attach) || attach.Other == nil {
					t.Fatalf("%v says nothing of the other program", err)
				}
				if o := attach.Other; o.ID != uint32(id) || o.Name != info.Name || o.Mode != tt.there || (o.Link != 0) != tt.link {
					t.Errorf("the other program: %+v, want %d %q %s", o, id, info.Name, tt.there)
				}
				for _, want := range []string{name, fmt.Sprint(id), info.Name, tt.there, tt.hint} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not say %q", err, want)
					}
				}
				if got := attachedID(t, index); got != uint32(id) {
					t.Errorf("program %d is attached afterwards, it was %d", got, id)
				}
			})
		})
	}
}

func TestAttachErrors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options testnet.Options
		frags   bool
		errno   error
		hint    string
	}{
		{"MTU without frags", testnet.Options{MTU: 9000}, false, unix.ERANGE, "an MTU of 9000 is more than a buffer holds"},
		{"queues", testnet.Options{Queues: 1, SenderQueues: 2}, true, unix.ENOSPC, "as many receive queues as its peer has transmit queues"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := testnet.New(t, tt.options)
			s := load(t, SteerConfig{Queues: 1, Frags: tt.frags})
			_, err := s.Attach(n.B.Index, n.B.Name, Native)
			if !errors.Is(err, tt.errno) || !strings.Contains(err.Error(), tt.hint) || errors.Is(err, ErrOtherProgram) {
				t.Errorf("%v, want %v (%s)", err, tt.errno, tt.hint)
			}
			// Generic mode needs neither.
			_, err = s.Attach(n.B.Index, n.B.Name, Generic)
			must(t, err)
		})
	}
	t.Run("lo", func(t *testing.T) {
		testnet.New(t, testnet.Options{})
		s := load(t, SteerConfig{Queues: 1, Frags: true})
		_, err := s.Attach(1, "lo", Native)
		if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "use generic mode") {
			t.Errorf("native on lo: %v", err)
		}
	})
	t.Run("no interface", func(t *testing.T) {
		testnet.New(t, testnet.Options{})
		s := load(t, SteerConfig{Queues: 1, Frags: true})
		for _, index := range []int{12345, 0, -1} {
			_, err := s.Attach(index, "gone0", Native)
			if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "gone0") {
				t.Errorf("index %d: %v", index, err)
			}
		}
	})
	t.Run("no mode", func(t *testing.T) {
		s := load(t, SteerConfig{Queues: 1})
		if _, err := s.Attach(1, "lo", AttachMode(7)); err == nil || !strings.Contains(err.Error(), "AttachMode(7)") {
			t.Errorf("mode 7: %v", err)
		}
	})
}

// The garbage collector does not take a program off whose Link nobody keeps.
func TestLinkIsKept(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	if _, err := s.Attach(n.B.Index, n.B.Name, Native); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		runtime.GC()
	}
	if got := attached(t, n.B.Index); got != "native" {
		t.Errorf("after garbage collection: %q", got)
	}
	must(t, s.Close())
}

func TestCloseAfterInterfaceIsGone(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	l, err := s.Attach(n.B.Index, n.B.Name, Native)
	must(t, err)
	dev, err := netlink.LinkByIndex(n.B.Index)
	must(t, err)
	must(t, netlink.LinkDel(dev))
	must(t, l.Close())
	must(t, s.Close())
}

// A process that is killed leaves the interface clean, and the next one can start
// at once.
func TestKilledProcess(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	// A child inherits the namespace of the thread that starts it.
	cmd := exec.Command(os.Args[0], "-test.run=^TestHoldInterface$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("SPEADX_TEST_HOLD=%d", n.B.Index))
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "attached" {
	}
	if got := attached(t, n.B.Index); got != "native" {
		t.Errorf("while the process lives: %q", got)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()

	s := load(t, SteerConfig{Queues: 1, Frags: true})
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		l, err := s.Attach(n.B.Index, n.B.Name, Native)
		if err == nil {
			must(t, l.Close())
			return
		}
		// The kernel closes a dead process's descriptors in its own time.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestHoldInterface is the process that TestKilledProcess kills.
func TestHoldInterface(t *testing.T) {
	var index int
	if _, err := fmt.Sscan(os.Getenv("SPEADX_TEST_HOLD"), &index); err != nil {
		return
	}
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	_, err := s.Attach(index, "held", Native)
	must(t, err)
	fmt.Println("attached")
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(s)
}

// attached says in which mode a program is on an interface, "" if none is.
func attached(t *testing.T, index int) string {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	must(t, err)
	if o := otherProgram(index, l.Attrs().Xdp); o != nil {
		return o.Mode
	}
	return ""
}

func attachedID(t *testing.T, index int) uint32 {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	must(t, err)
	if l.Attrs().Xdp == nil {
		return 0
	}
	return l.Attrs().Xdp.ProgId
}

// foreignProgram is some other XDP program.
func foreignProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "somebody_elses",
		Type:         ebpf.XDP,
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() { prog.Close() })
	return prog
}

// attachByNetlink attaches as older programs do: nothing but netlink undoes it.
func attachByNetlink(t *testing.T, index int, prog *ebpf.Program, mode int) (leave func()) {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	must(t, err)
	must(t, netlink.LinkSetXdpFdWithFlags(l, prog.FD(), mode))
	return func() { must(t, netlink.LinkSetXdpFdWithFlags(l, -1, mode)) }
}
