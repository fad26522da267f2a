// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
)

// These tests need root. Each has a veth pair of its own; what is sent is UDP, what
// is received are the Ethernet frames.

const udpHeaders = 14 + 20 + 8 // Ethernet, IPv4, UDP

// redirectAll is the smallest program that feeds sockets: every packet of a queue
// goes into the queue's socket, if it has one.
type redirectAll struct {
	ifindex int
	sockets *ebpf.Map
}

func (a *redirectAll) Attach(mode Mode) (_ io.Closer, err error) {
	a.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 16})
	if err != nil {
		return nil, err
	}
	spec := &ebpf.ProgramSpec{
		Type:    ebpf.XDP,
		License: "Apache-2.0",
		Instructions: asm.Instructions{
			// return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS)
			asm.LoadMem(asm.R2, asm.R1, 16, asm.Word),
			asm.LoadMapPtr(asm.R1, a.sockets.FD()),
			asm.Mov.Imm(asm.R3, 2),
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
	}
	if linux.multiBuffer() {
		spec.Flags |= unix.BPF_F_XDP_HAS_FRAGS
	}
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		return nil, errors.Join(err, a.sockets.Close())
	}
	flags := link.XDPDriverMode
	if mode == ModeGeneric {
		flags = link.XDPGenericMode
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: a.ifindex, Flags: flags})
	if err != nil {
		return nil, errors.Join(err, program.Close(), a.sockets.Close())
	}
	return closerFunc(func() error { return errors.Join(l.Close(), program.Close(), a.sockets.Close()) }), nil
}

func (a *redirectAll) SetSocket(queue, fd int) error {
	return a.sockets.Update(uint32(queue), uint32(fd), ebpf.UpdateAny)
}

func (a *redirectAll) ClearSocket(queue int) error {
	if err := a.sockets.Delete(uint32(queue)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// vethConfig is the receiving end of the pair.
func vethConfig(n *testnet.Net, want Want) InterfaceConfig {
	return InterfaceConfig{Ifindex: n.B.Index, Ifname: n.B.Name, Queues: []int{0}, MTU: 9000, Want: want, Frames: 256, Pages: pool.PagesOff, Node: -1}
}

// openVeth opens and enables it.
func openVeth(t *testing.T, n *testnet.Net, c InterfaceConfig) (*Interface, *Queue) {
	t.Helper()
	i, err := OpenInterface(c, &redirectAll{ifindex: n.B.Index})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := i.Enable(); err != nil {
		t.Fatal(err)
	}
	return i, i.Queues()[0]
}

// sender returns a connected UDP socket at the other end.
func sender(t *testing.T, n *testnet.Net) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	if doErr := n.A.Do(func() { conn, err = net.Dial("udp4", n.B.Addr4.String()+":7148") }); doErr != nil {
		t.Fatal(doErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, payload []byte) {
	t.Helper()
	if _, err := conn.Write(payload); err != nil {
		t.Fatal(err)
	}
}

// await gives the kernel time to bring something about.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func eachMode(t *testing.T, f func(t *testing.T, want Want)) {
	for _, want := range []Want{WantNative, WantGeneric} {
		t.Run(want.String(), func(t *testing.T) { f(t, want) })
	}
}

// TestVethPackets: datagrams of all sizes come out byte by byte, in the number of
// frames that the kernel's layout makes, whatever the size of the batch and the
// way to wait.
func TestVethPackets(t *testing.T) {
	eachMode(t, func(t *testing.T, want Want) {
		n := testnet.New(t, testnet.Options{})
		c := vethConfig(n, want)
		c.Pages = pool.PagesAuto
		if want == WantGeneric {
			c.Wait = WaitSpin
		}
		i, q := openVeth(t, n, c)
		t.Logf("UMEM on %s pages", q.Info().Pages)
		if got := q.Info(); got.Mode.String() != want.String() || !got.MultiBuffer || i.Mode() != got.Mode || got.Frames != 256 || got.ChunkBytes != 4096 {
			t.Errorf("info %+v", got)
		}
		conn := sender(t, n)
		seed, total := uint64(0), uint64(0)
		for _, batch := range []int{1, 2, 64} {
			for _, size := range []int{1, 1472, 3840 - udpHeaders, 3841 - udpHeaders, 8192, 8972} {
				const packets = 30
				for k := range packets {
					send(t, conn, packet(seed+uint64(k), size))
				}
				dst := make([]Packet, batch)
				for k := 0; k < packets; {
					if err := q.Wait(5 * time.Second); err != nil {
						t.Fatal(err)
					}
					got := q.Receive(dst)
					if got == 0 {
						t.Fatalf("nothing within 5 s after %d of %d packets of %d bytes", k, packets, size)
					}
					for _, p := range dst[:got] {
						chunks := (udpHeaders + size + 3839) / 3840
						if len(p.Rest) != chunks-1 {
							t.Errorf("%d bytes in %d frames, want %d", size, 1+len(p.Rest), chunks)
						}
						data := join(t, p)
						if len(data) < udpHeaders || !bytes.Equal(data[udpHeaders:], packet(seed, size)) {
							t.Fatalf("packet %d of %d bytes differs", seed, size)
						}
						total += uint64(chunks)
						seed++
						k++
					}
					q.Release()
				}
			}
		}
		if s := q.Stats(); s.Packets != seed || s.Chunks != total || s.Kernel.RxDropped != 0 {
			t.Errorf("stats %+v, want %d packets in %d frames", s, seed, total)
		}
		if q.Position() != q.Mark() || q.Mark() != total {
			t.Errorf("position %d, mark %d", q.Position(), q.Mark())
		}
		if err := q.Conserved(); err != nil {
			t.Error(err)
		}
	})
}

// TestVethStalled: nobody reads, the rings run over, somebody reads: every packet
// has been received or is in the kernel's counter, and no frame is missing.
func TestVethStalled(t *testing.T) {
	eachMode(t, func(t *testing.T, want Want) {
		n := testnet.New(t, testnet.Options{})
		_, q := openVeth(t, n, vethConfig(n, want))
		conn := sender(t, n)
		dst := make([]Packet, 64)
		var sent, got uint64
		for round := range 3 {
			for range 500 {
				send(t, conn, packet(sent, 8192))
				sent++
			}
			await(t, "every packet on the ring or dropped", func() bool {
				return (q.Mark()-q.Position())/3+got+q.Stats().Kernel.RxDropped == sent
			})
			if backlog := q.Mark() - q.Position(); backlog != 255 {
				t.Errorf("%d of 256 frames used by packets of 3", backlog)
			}
			for {
				r := q.Receive(dst)
				if r == 0 {
					break
				}
				got += uint64(r)
				q.Release()
			}
			if err := q.Conserved(); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		s := q.Stats()
		if s.Packets != got || got+s.Kernel.RxDropped != sent || s.Kernel.RxDropped != 3*(500-85) || s.Kernel.RxRingFull != 0 {
			t.Errorf("sent %d, received %d, stats %+v", sent, got, s)
		}
		if s.RingHigh != 255 {
			t.Errorf("RingHigh = %d", s.RingHigh)
		}
	})
}

// TestVethChainTooLong: a packet of more frames than allowed is counted as one, the
// next arrives, no frame is missing.
func TestVethChainTooLong(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	c := vethConfig(n, WantNative)
	c.MaxChain = 2
	_, q := openVeth(t, n, c)
	conn := sender(t, n)
	dst := make([]Packet, 1)
	for range 300 { // more frames than there are
		send(t, conn, packet(1, 8192))
		send(t, conn, packet(2, 100))
		for {
			if err := q.Wait(5 * time.Second); err != nil {
				t.Fatal(err)
			}
			if q.Receive(dst) == 1 {
				break
			}
		}
		if dst[0].Len != udpHeaders+100 {
			t.Fatalf("packet of %d bytes", dst[0].Len)
		}
		q.Release()
	}
	if s := q.Stats(); s.Packets != 300 || s.ChainTooLong != 300 || s.Kernel.RxDropped != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := q.Conserved(); err != nil {
		t.Error(err)
	}
}

// TestVethDisable: after Disable packets go to the kernel again and the counters
// stand still.
func TestVethDisable(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	i, q := openVeth(t, n, vethConfig(n, WantNative))
	udp, err := net.ListenPacket("udp4", ":7148")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	conn := sender(t, n)
	send(t, conn, []byte("bypass"))
	if err := q.Wait(5 * time.Second); err != nil || q.Receive(make([]Packet, 2)) != 1 {
		t.Fatalf("nothing received by the queue: %v", err)
	}
	if err := i.Disable(); err != nil {
		t.Fatal(err)
	}
	send(t, conn, []byte("kernel"))
	buf := make([]byte, 100)
	if err := udp.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := udp.ReadFrom(buf); err != nil || string(buf[:n]) != "kernel" {
		t.Errorf("the ordinary socket reads %q, %v", buf[:n], err)
	}
	if q.Mark() != 1 {
		t.Errorf("%d packets for the queue after Disable", q.Mark()-1)
	}
}

// resources counts what a leak would add to.
func resources(t *testing.T) (fds, sockets int, virtual uint64) {
	t.Helper()
	runtime.GC() // what only finalizers close
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(statm), &virtual); err != nil {
		t.Fatal(err)
	}
	return len(entries), strings.Count(string(maps), "socket:["), virtual * uint64(os.Getpagesize())
}

// TestVethReopen opens and closes the same queue 100 times in a row, at once: the
// kernel's slow release of a queue is waited for, nothing leaks.
func TestVethReopen(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	c := vethConfig(n, WantNative)
	c.Frames = 1024 // a leak of 4 MiB each would show
	cycle := func() {
		i, err := OpenInterface(c, &redirectAll{ifindex: n.B.Index})
		testnet.NeedPrivilege(t, err)
		if err := i.Enable(); err != nil {
			t.Fatal(err)
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	fds, sockets, virtual := resources(t)
	if sockets != 0 {
		t.Fatalf("%d rings mapped after Close", sockets)
	}
	for range 100 {
		cycle()
	}
	fds2, sockets2, virtual2 := resources(t)
	// A thread that the runtime has started meanwhile reserves 72 MiB where there is C,
	// as under the race detector: its stack and the arena of malloc.
	if fds2 > fds || sockets2 != 0 || virtual2 > virtual+300<<20 {
		t.Errorf("after 100 times: %d fds instead of %d, %d rings mapped, %d MiB more", fds2, fds, sockets2, (virtual2-virtual)>>20)
	}
}

// TestVethInjected lets every single system call of OpenInterface fail, on the real
// kernel: no descriptor, no mapping and no taken queue is left.
func TestVethInjected(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	c := vethConfig(n, WantNative)
	opened, closed := openOnce(n, c, linux) // warms up what stays open for good
	testnet.NeedPrivilege(t, errors.Join(opened, closed))
	fds, _, _ := resources(t)
	failed := 0
	for at := 0; ; at++ {
		steps := 0
		fail := func() error {
			if steps++; steps-1 == at {
				return unix.EIO
			}
			return nil
		}
		sys := *linux
		sys.socket = func() (int, error) {
			if err := fail(); err != nil {
				return 0, err
			}
			return linux.socket()
		}
		sys.mapUMEM = func(size int, o pages.Options) (*pages.Mapping, error) {
			if err := fail(); err != nil {
				return nil, err
			}
			return linux.mapUMEM(size, o)
		}
		sys.regUMEM = func(fd int, umem []byte, chunk int) error {
			return errors.Join(fail(), linux.regUMEM(fd, umem, chunk)) // done and failed
		}
		sys.setInt = func(fd, level, option, value int) error {
			return errors.Join(linux.setInt(fd, level, option, value), fail())
		}
		sys.getInt = func(fd, level, option int) (int, error) {
			if option == unix.SO_INCOMING_NAPI_ID {
				return linux.getInt(fd, level, option)
			}
			v, err := linux.getInt(fd, level, option)
			return v, errors.Join(err, fail())
		}
		sys.offsets = func(fd int) (unix.XDPMmapOffsets, error) {
			off, err := linux.offsets(fd)
			return off, errors.Join(err, fail())
		}
		sys.mapRing = func(fd int, offset int64, size int) ([]byte, error) {
			if err := fail(); err != nil {
				return nil, err
			}
			return linux.mapRing(fd, offset, size)
		}
		sys.bind = func(fd int, sa *unix.SockaddrXDP) error {
			if err := linux.bind(fd, sa); err != nil {
				return err
			}
			return fail()
		}
		sys.eventfd = func() (int, error) {
			if err := fail(); err != nil {
				return 0, err
			}
			return linux.eventfd()
		}
		err, closed := openOnce(n, c, &sys)
		if closed != nil {
			t.Fatal(closed)
		}
		fds2, sockets2, _ := resources(t)
		if fds2 != fds || sockets2 != 0 {
			t.Errorf("failure at call %d (%v): %d fds instead of %d, %d rings mapped", at, err, fds2, fds, sockets2)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EIO) {
			t.Fatalf("failure at call %d: %v", at, err)
		}
		failed++
	}
	if failed < 12 {
		t.Errorf("only %d calls could fail", failed)
	}
}

// openOnce opens and, if that works, closes.
func openOnce(n *testnet.Net, c InterfaceConfig, sys *system) (openErr, closeErr error) {
	i, err := openInterface(c, &redirectAll{ifindex: n.B.Index}, sys)
	if err != nil {
		return err, nil
	}
	return nil, i.Close()
}

// TestVethBusy: a queue that somebody holds is refused, after a second of patience,
// by an error that says so; and had at once when it is given free meanwhile.
func TestVethBusy(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	_, q := openVeth(t, n, vethConfig(n, WantNative))
	c := Config{Ifindex: n.B.Index, Ifname: n.B.Name, Frames: 64, Mode: ModeNative, MultiBuffer: true, Pages: pool.PagesOff, Node: -1}
	start := time.Now()
	_, err := Open(c)
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "ss --xdp") || !strings.Contains(err.Error(), "sx-b queue 0") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("gave up after %v", took)
	}
	sys := *linux
	var once sync.Once
	sys.sleep = func(d time.Duration) {
		once.Do(func() {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(d)
	}
	second, err := open(c, &sys)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestVethWake: Wake ends a Wait in poll(2).
func TestVethWake(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	_, q := openVeth(t, n, vethConfig(n, WantNative))
	for range 100 {
		var waker sync.WaitGroup
		waker.Go(q.Wake)
		start := time.Now()
		if err := q.Wait(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > linkInterval {
			t.Errorf("took %v", took)
		}
		waker.Wait()
	}
}

// TestVethDown: whoever waits learns within a second that the interface was set
// down, moved away or deleted, and what was on the ring before can still be read.
func TestVethDown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(n *testnet.Net, l netlink.Link) error
		errno unix.Errno
	}{
		{"set down", func(_ *testnet.Net, l netlink.Link) error { return netlink.LinkSetDown(l) }, unix.ENETDOWN},
		{"moved away", func(n *testnet.Net, l netlink.Link) error {
			var fd int
			var err error
			if doErr := n.A.Do(func() { fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0) }); doErr != nil || err != nil {
				return errors.Join(doErr, err)
			}
			defer unix.Close(fd)
			return netlink.LinkSetNsFd(l, fd)
		}, unix.ENXIO},
		{"deleted", func(_ *testnet.Net, l netlink.Link) error { return netlink.LinkDel(l) }, unix.ENXIO},
	} {
		for _, wait := range []Wait{WaitPoll, WaitSpin} {
			for _, want := range []Want{WantNative, WantGeneric} {
				t.Run(fmt.Sprintf("%s, %v, %v", tt.name, want, wait), func(t *testing.T) {
					n := testnet.New(t, testnet.Options{})
					c := vethConfig(n, want)
					c.Wait = wait
					i, q := openVeth(t, n, c)
					send(t, sender(t, n), packet(1, 8192))
					await(t, "a packet on the ring", func() bool { return q.Mark() == 3 })
					l, err := netlink.LinkByIndex(n.B.Index)
					if err != nil {
						t.Fatal(err)
					}
					if err := tt.do(n, l); err != nil {
						t.Fatal(err)
					}
					dst := make([]Packet, 2)
					if err := q.Wait(-1); err != nil || q.Receive(dst) != 1 {
						t.Fatalf("the packet from before: %v", err)
					}
					if !bytes.Equal(join(t, dst[0])[udpHeaders:], packet(1, 8192)) {
						t.Error("the packet from before differs")
					}
					q.Release()
					start := time.Now()
					err = q.Wait(-1)
					if !errors.Is(err, ErrDown) || !errors.Is(err, tt.errno) {
						t.Errorf("Wait: %v, want %v", err, tt.errno)
					}
					if took := time.Since(start); took > time.Second {
						t.Errorf("noticed after %v", took)
					}
					if s := q.Stats(); s.Packets != 1 {
						t.Errorf("stats %+v", s)
					}
					if err := i.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			}
		}
	}
}

// TestVethDownNow: an interface that is down cannot be opened, by an error that
// says what to do.
func TestVethDownNow(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	l, err := netlink.LinkByIndex(n.B.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(l); err != nil {
		t.Fatal(err)
	}
	_, err = OpenInterface(vethConfig(n, WantAuto), &redirectAll{ifindex: n.B.Index})
	if !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "(ip link set sx-b up)") {
		t.Errorf("error %v", err)
	}
}

// TestVethLadder: veth has no zero-copy, and says so; native is next.
func TestVethLadder(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	for _, tt := range []struct {
		mtu  int
		rung string
	}{
		{9000, "zerocopy with multi-buffer"}, {1500, "zerocopy"},
	} {
		c := vethConfig(n, WantAuto)
		c.Queues = []int{0, 1}
		c.MTU = tt.mtu
		i, _ := openVeth(t, n, c)
		rungs := i.Rungs()
		if len(rungs) != 2 || rungs[0].Name() != tt.rung || !errors.Is(rungs[0].Err, unix.EOPNOTSUPP) || !strings.Contains(rungs[0].Reason(), "no zero-copy") {
			t.Errorf("rungs %+v", rungs)
		}
		if i.Mode() != ModeNative || !i.MultiBuffer() || len(i.Queues()) != 2 {
			t.Errorf("mode %v, %d queues", i.Mode(), len(i.Queues()))
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c := vethConfig(n, WantZeroCopy)
	var ladder *LadderError
	if _, err := OpenInterface(c, &redirectAll{ifindex: n.B.Index}); !errors.As(err, &ladder) || !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("zero-copy demanded: %v", err)
	}
}

// TestLoopback: lo has generic mode only, and packets of 16 frames.
func TestLoopback(t *testing.T) {
	testnet.New(t, testnet.Options{}) // for its namespace
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	index := lo.Attrs().Index
	c := InterfaceConfig{Ifindex: index, Ifname: "lo", Queues: []int{0}, MTU: 65536, Frames: 64, Pages: pool.PagesOff, Node: -1}
	i, err := OpenInterface(c, &redirectAll{ifindex: index})
	testnet.NeedPrivilege(t, err)
	defer i.Close()
	for n, mode := range []Mode{ModeZeroCopy, ModeNative, ModeGeneric} {
		if r := i.Rungs()[n]; r.Mode != mode || (r.Err == nil) != (mode == ModeGeneric) {
			t.Errorf("rung %d is %+v", n, r)
		}
	}
	if err := i.Enable(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp4", "127.0.0.1:7148")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q, dst := i.Queues()[0], make([]Packet, 4)
	for round := range uint64(20) {
		want := packet(round, 60000)
		send(t, conn, want)
		if err := q.Wait(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if q.Receive(dst) != 1 || len(dst[0].Rest) != 15 || !bytes.Equal(join(t, dst[0])[udpHeaders:], want) {
			t.Fatalf("round %d: %d bytes in %d frames", round, dst[0].Len, 1+len(dst[0].Rest))
		}
		q.Release()
	}
	if err := q.Conserved(); err != nil {
		t.Error(err)
	}
}

// TestVethErrors: texts that come from what the real kernel answers.
func TestVethErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		net    testnet.Options
		change func(*InterfaceConfig, *system)
		errno  error
		want   string
	}{
		{
			name:   "queue out of range",
			change: func(c *InterfaceConfig, _ *system) { c.Queues = []int{0, 7} },
			errno:  unix.EINVAL,
			want:   "there is no queue 7: ethtool -l sx-b",
		},
		{
			name:   "busy polling without a NAPI id",
			change: func(c *InterfaceConfig, _ *system) { c.Wait = WaitBusy; c.Want = WantAuto },
			errno:  ErrNoBusyPoll,
			want:   "wait by poll or spin",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := testnet.New(t, tt.net)
			c, sys := vethConfig(n, WantNative), *linux
			if tt.change != nil {
				tt.change(&c, &sys)
			}
			_, err := openInterface(c, &redirectAll{ifindex: c.Ifindex}, &sys)
			if !errors.Is(err, tt.errno) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error %v, want %v with %q", err, tt.errno, tt.want)
			}
		})
	}
}

// TestVethOtherProgram: ours does not displace another.
func TestVethOtherProgram(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	openVeth(t, n, vethConfig(n, WantNative))
	_, err := OpenInterface(vethConfig(n, WantAuto), &redirectAll{ifindex: n.B.Index})
	var ladder *LadderError
	if !errors.Is(err, unix.EBUSY) || !errors.As(err, &ladder) {
		t.Fatalf("error %v", err)
	}
	for _, r := range ladder.Rungs {
		if r.Cause() != AttachRefused {
			t.Errorf("rung %s: %q", r.Name(), r.Cause())
		}
	}
}
