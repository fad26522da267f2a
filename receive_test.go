// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
	"github.com/speadx/speadx/xsk"
)

// What is sent here fits into the packet buffers and sockets as a whole, so that
// nothing is lost however late the receiving thread is.

// TestModes sends heaps in jumbo and in small packets through each way to
// receive.
func TestModes(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, way := range []struct {
		name  string
		mode  speadx.Mode
		noGRO bool
		got   xsk.Mode
	}{
		{name: "native", mode: speadx.ModeNative, got: xsk.ModeNative},
		{name: "generic", mode: speadx.ModeGeneric, got: xsk.ModeGeneric},
		{name: "auto", mode: speadx.ModeAuto, got: xsk.ModeNative},
		{name: "udp", mode: speadx.ModeUDP, noGRO: true},
		{name: "udp with GRO", mode: speadx.ModeUDP},
	} {
		for _, packet := range []int{1472, 8972} {
			for _, noGSO := range []bool{false, true} {
				name := fmt.Sprintf("%s/%d", way.name, packet)
				if noGSO {
					name += "/without GSO"
				}
				t.Run(name, func(t *testing.T) {
					const heaps = 10
					cfg := one(n)
					cfg.Mode, cfg.NoGRO = way.mode, way.noGRO
					r := open(t, n, cfg)
					checkWay(t, r, way.mode, way.got, way.noGRO)
					list := receiveAside(t, r)
					sent := sendHeaps(t, n, send.Config{Heaps: heaps, HeapSize: 1_000_000, Items: 3, MaxPacket: packet, NoGSO: noGSO})
					checkHeaps(t, list(), heaps)
					s := settle(t, r)
					if s.Packets != sent.Packets || s.Bytes != sent.Bytes {
						t.Errorf("%d packets of %d bytes were sent: %d of %d received", sent.Packets, sent.Bytes, s.Packets, s.Bytes)
					}
					checkFates(t, &s, map[ledger.Fate]uint64{
						ledger.Delivered:     sent.Packets - sent.StopHeaps,
						ledger.StreamControl: sent.StopHeaps,
					})
					if noGSO && s.SuperFrames > 0 && way.noGRO {
						t.Errorf("%d packets came in frames of others", s.SuperFrames)
					}
				})
			}
		}
	}
}

// checkWay checks what Info says of the way packets come.
func checkWay(t *testing.T, r *speadx.Receiver, mode speadx.Mode, got xsk.Mode, noGRO bool) {
	t.Helper()
	in := r.Info()
	if mode == speadx.ModeUDP {
		if len(in.Devices) != 0 || len(in.Sockets) != 1 || in.Threads != 1 {
			t.Fatalf("%d devices, %d sockets, %d threads", len(in.Devices), len(in.Sockets), in.Threads)
		}
		if in.Sockets[0].GRO == noGRO || in.Sockets[0].Buffer == 0 {
			t.Errorf("socket %+v", in.Sockets[0])
		}
		return
	}
	if len(in.Devices) != 1 || len(in.Sockets) != 0 || len(in.Devices[0].Queues) != 1 {
		t.Fatalf("%d devices, %d sockets", len(in.Devices), len(in.Sockets))
	}
	d := in.Devices[0]
	if d.Mode != got || d.Driver != "veth" || d.MTU != 9000 || d.Queues[0].Mode != got {
		t.Errorf("device %+v", d)
	}
	for _, rung := range d.Rungs[:len(d.Rungs)-1] {
		if rung.Err == nil {
			t.Errorf("rung %s was passed over without a reason", rung.Name())
		}
	}
	if last := d.Rungs[len(d.Rungs)-1]; last.Err != nil || last.Mode != got {
		t.Errorf("rung %s is in use, %v", last.Name(), last.Err)
	}
}

// TestLoopback is a sender on the same machine, whose large packets go over lo
// uncut.
func TestLoopback(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			const heaps = 5
			cfg := one(n)
			cfg.Streams[0].Source, cfg.Interfaces = "127.0.0.1:7148", nil
			cfg.Mode, cfg.NoGRO, cfg.HeapSize = mode, true, 4<<20
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			var s *send.Sender
			var err error
			n.Do(func() {
				s, err = send.Open(send.Config{
					Destinations: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7148")},
					Heaps:        heaps, HeapSize: 4 << 20, MaxPacket: 9000, Verify: true, Rate: 2e9,
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sent, err := s.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			checkHeaps(t, list(), heaps)
			if st := settle(t, r); st.Packets != sent.Packets {
				t.Errorf("%d packets of %d", st.Packets, sent.Packets)
			}
			if mode == speadx.ModeGeneric && r.Info().Devices[0].Name != "lo" {
				t.Errorf("on %s", r.Info().Devices[0].Name)
			}
		})
	}
}

// TestPinned: the receiving thread runs on the processor that was asked for.
func TestPinned(t *testing.T) {
	n := newWire(t, testnet.Options{})
	all, err := netif.CPUs(-1)
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	cfg := one(n)
	cfg.CPUs = []int{last}
	r := open(t, n, cfg)
	if got := r.Info().PinnedCPUs; !slices.Equal(got, []int{last}) {
		t.Errorf("pinned to %d, want %d", got, last)
	}
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: 100_000, NoStop: true})
	awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsDelivered] == 3 })
	if pinned := threadsOn(t, last); len(all) > 1 && pinned != 1 {
		t.Errorf("%d threads are pinned", pinned)
	}
	r.Stop()
	checkHeaps(t, list(), 3)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// The thread ends with its goroutine, some time after Close.
	for deadline := time.Now().Add(patience); len(all) > 1 && threadsOn(t, last) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the pinned thread goes on")
		}
	}
}

// threadsOn is how many threads of this process may run on one processor only.
func threadsOn(t *testing.T, cpu int) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err == nil && strings.Contains(string(text), fmt.Sprintf("Cpus_allowed_list:\t%d\n", cpu)) {
			n++
		}
	}
	return n
}

// TestFlavours: the wire's widths are the sender's choice.
func TestFlavours(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, flavour := range []spead.Flavour{24, 32, 40, 48} {
		t.Run(flavour.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Frames = 2048
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			sent := sendHeaps(t, n, send.Config{Flavour: flavour, Heaps: 7, HeapSize: 100_000, Items: 5})
			checkHeaps(t, list(), 7)
			if s := settle(t, r); s.Packets != sent.Packets {
				t.Errorf("%d packets of %d", s.Packets, sent.Packets)
			}
		})
	}
}

// TestGroups receives multicast: with a membership for as long as the receiver is
// open, on the interface of the group's route or the named one.
func TestGroups(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, group := range []string{"239.77.0.9", "ff15::77:9"} {
		for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
			for _, named := range []bool{true, false} {
				addr := netip.MustParseAddr(group)
				if addr.Is6() && !named {
					continue // the wire has no route for IPv6 groups
				}
				t.Run(fmt.Sprintf("%s/%v/named %v", group, mode, named), func(t *testing.T) {
					const heaps = 6
					cfg := one(n)
					cfg.Streams[0].Source = netip.AddrPortFrom(addr, port).String()
					cfg.Mode = mode
					if !named {
						cfg.Interfaces = nil
					}
					if isMember(t, n, addr) {
						t.Fatal("a member before Open")
					}
					r := open(t, n, cfg)
					if !isMember(t, n, addr) {
						t.Error("the group was not joined")
					}
					list := receiveAside(t, r)
					sent := sendHeaps(t, n, send.Config{
						Destinations: []netip.AddrPort{netip.AddrPortFrom(addr, port)}, Interface: n.A.Name,
						Heaps: heaps, HeapSize: 200_000, MaxPacket: 8000,
					})
					checkHeaps(t, list(), heaps)
					if s := settle(t, r); s.Packets != sent.Packets {
						t.Errorf("%d packets of %d", s.Packets, sent.Packets)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
					if isMember(t, n, addr) {
						t.Error("the group was not left")
					}
				})
			}
		}
	}
}

// isMember reports whether the receiver's end of the wire is in a group.
func isMember(t *testing.T, n *testnet.Net, group netip.Addr) bool {
	t.Helper()
	file := "/proc/thread-self/net/igmp6"
	want := hex.EncodeToString(group.AsSlice())
	if group.Is4() {
		a := group.As4()
		slices.Reverse(a[:]) // it is printed as a number of a little-endian machine
		file, want = "/proc/thread-self/net/igmp", strings.ToUpper(hex.EncodeToString(a[:]))
	}
	var text []byte
	var err error
	n.Do(func() { text, err = os.ReadFile(file) })
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), want)
}

// TestSeveralStreams: each stream has its own numbering, sources and end.
func TestSeveralStreams(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode = mode
			cfg.Streams = []speadx.Stream{
				{Name: "x", Source: endpoint(n, 7001)},
				{Source: endpoint(n, 7002), Sources: []string{endpoint(n, 7003)}}, // one stream of two sources
				{Source: netip.AddrPortFrom(n.B.Addr6, 7001).String()},
			}
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			var total send.Result
			for _, to := range [][]netip.AddrPort{
				{netip.AddrPortFrom(n.B.Addr4, 7001)},
				{netip.AddrPortFrom(n.B.Addr4, 7002), netip.AddrPortFrom(n.B.Addr4, 7003)},
				{netip.AddrPortFrom(n.B.Addr6, 7001)},
			} {
				sent := sendHeaps(t, n, send.Config{Destinations: to, Heaps: 8, HeapSize: 100_000, MaxPacket: 8900})
				total.Packets += sent.Packets
				total.StopHeaps += sent.StopHeaps
			}
			byStream := map[string][]got{}
			for _, g := range list() {
				byStream[g.stream] = append(byStream[g.stream], g)
			}
			if len(byStream) != 3 {
				t.Errorf("%d streams", len(byStream))
			}
			for i, name := range []string{"x", endpoint(n, 7002), netip.AddrPortFrom(n.B.Addr6, 7001).String()} {
				checkHeaps(t, byStream[name], 8)
				if got := r.Info().Streams[i].Name; got != name {
					t.Errorf("stream %d is called %s, not %s", i, got, name)
				}
			}
			s := settle(t, r)
			if s.Packets != total.Packets {
				t.Errorf("%d packets of %d", s.Packets, total.Packets)
			}
			// What goes to a stream that has ended, as the second stop of the joint
			// one does, came after its stop.
			if stops := s.Fates[ledger.StreamControl] + s.Fates[ledger.AfterStop]; stops != total.StopHeaps {
				t.Errorf("%d stop heaps of %d", stops, total.StopHeaps)
			}
		})
	}
}

// manyPorts are enough destinations that their flows come in on every queue: the
// kernel chooses a queue for each of the sender's sockets at random.
const manyPorts = 24

// TestSeveralQueues: the threads of several queues feed one stream.
func TestSeveralQueues(t *testing.T) {
	// In generic mode the kernel knows the queue of a veth's packet less one, so
	// that two queues would be one.
	n := newWire(t, testnet.Options{Queues: 3})
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			const heaps = 2 * manyPorts
			cfg := one(n)
			cfg.Mode = mode
			cfg.Streams[0] = portRange(n)
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			sent := sendHeaps(t, n, send.Config{Destinations: destinations(n), Heaps: heaps, HeapSize: 200_000, MaxPacket: 8972, NoStop: true})
			awaitPackets(t, r, sent.Packets) // a stop heap could overtake packets on another queue
			r.Stop()
			checkHeaps(t, list(), heaps)
			s := settle(t, r)
			if s.Packets != sent.Packets {
				t.Errorf("%d packets of %d", s.Packets, sent.Packets)
			}
			used := 0
			for _, q := range s.Devices[0].Queues {
				if q.Counts[ledger.QueueMatched] > 0 {
					used++
				}
				if q.Counts[ledger.QueueMatched] != q.Counts[ledger.QueuePackets] {
					t.Errorf("queue %d: %d of %d packets", q.Queue, q.Counts[ledger.QueuePackets], q.Counts[ledger.QueueMatched])
				}
			}
			if used < 2 || mode == speadx.ModeNative && used < 3 {
				t.Errorf("%d queues had packets", used)
			}
		})
	}
}

// portRange is a stream of many ports, and destinations are what it is sent to.
func portRange(n *testnet.Net) speadx.Stream {
	s := speadx.Stream{Name: "many", Source: endpoint(n, port)}
	for i := range uint16(manyPorts - 1) {
		s.Sources = append(s.Sources, endpoint(n, port+1+i))
	}
	return s
}

func destinations(n *testnet.Net) []netip.AddrPort {
	var list []netip.AddrPort
	for i := range uint16(manyPorts) {
		list = append(list, netip.AddrPortFrom(n.B.Addr4, port+i))
	}
	return list
}

// TestSeveralInterfaces: a stream may come in on several interfaces.
func TestSeveralInterfaces(t *testing.T) {
	n := newWire(t, testnet.Options{})
	secondWire(t, n)
	group := netip.MustParseAddr("239.77.0.9")
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode = mode
			cfg.Streams[0] = speadx.Stream{
				Source:  netip.AddrPortFrom(group, 7001).String(),
				Sources: []string{netip.AddrPortFrom(group, 7002).String()},
			}
			cfg.Interfaces = []string{n.B.Name, secondB}
			const heaps = 5
			cfg.ConcurrentHeaps = heaps + 1
			r := open(t, n, cfg)
			list := receiveAside(t, r)
			// About half of each heap comes over the first wire, all of it over the
			// second one.
			first := sendHeaps(t, n, send.Config{
				Destinations: []netip.AddrPort{netip.AddrPortFrom(group, 7001)}, Interface: n.A.Name,
				Heaps: heaps, HeapSize: 100_000, MaxPacket: 4000, Faults: send.Faults{Drop: 0.5, Seed: 4}, NoStop: true,
			})
			awaitPackets(t, r, first.Packets)
			second := sendHeaps(t, n, send.Config{
				Destinations: []netip.AddrPort{netip.AddrPortFrom(group, 7002)}, Interface: secondA,
				Heaps: heaps, HeapSize: 100_000, MaxPacket: 4000,
			})
			checkHeaps(t, list(), heaps)
			s := settle(t, r)
			checkFates(t, &s, map[ledger.Fate]uint64{
				ledger.Delivered: second.Packets - 1, ledger.Duplicate: first.Packets, ledger.StreamControl: 1,
			})
			if mode == speadx.ModeUDP {
				return
			}
			if len(s.Devices) != 2 {
				t.Fatalf("%d devices", len(s.Devices))
			}
			for i, want := range []uint64{first.Packets, second.Packets} {
				if d := s.Devices[i]; d.Counts[ledger.DeviceMatched] != want {
					t.Errorf("%s: %d packets, want %d", d.Name, d.Counts[ledger.DeviceMatched], want)
				}
			}
		})
	}
}

// The ends of a second wire between the namespaces of the first.
const secondA, secondB = "sx-a2", "sx-b2"

func secondWire(t *testing.T, n *testnet.Net) {
	t.Helper()
	ns := -1
	if err := n.A.Do(func() {
		var err error
		if ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = secondB, 9000
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU, veth.PeerNamespace = secondA, 9000, netlink.NsFd(ns)
	n.Do(func() {
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		setUp(t, secondB)
	})
	if err := n.A.Do(func() { setUp(t, secondA); holdUp(t, secondA) }); err != nil {
		t.Fatal(err)
	}
}

func setUp(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
}
