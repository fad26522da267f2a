// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/speadx/speadx/internal/testnet"
	"golang.org/x/sys/unix"
)

// include/uapi/linux/bpf.h, enum xdp_action
const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpRedirect = 4
)

// etherLen is the least that the kernel lets a program see of a packet.
const etherLen = 14

var (
	group      = netip.MustParseAddr("239.1.2.3")
	otherGroup = netip.MustParseAddr("239.1.2.4")
	group6     = netip.MustParseAddr("ff05::1:2:3")
	otherV6    = netip.MustParseAddr("ff05::1:2:4")
)

const (
	ourPort   = 7148 // of group and group6
	otherPort = 7149
	anyPort   = 7150 // at any address
)

// kind is what the program should take a frame for.
type kind int

const (
	other kind = iota
	fragment
	matched
)

// ourPorts has our port wherever a misread header might look for it.
var ourPorts = bytes.Repeat([]byte{ourPort >> 8, ourPort & 0xff}, 50)

var payload = []byte("\x53\x04\x02\x06\x00\x00\x00\x00payload!")

// frames to steer. Of those that are matched or fragments, headers says how many
// bytes have to be there to see that; all shorter ones are other.
var steerTests = []struct {
	name    string
	frame   []byte
	want    kind
	headers int
}{
	{"IPv4", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), matched, 14 + 20 + 8},
	{"IPv4 that must not be fragmented", ether(etherIPv4, ipv4(group, protoUDP, 0x4000, nil, udp(ourPort, payload))), matched, 42},
	{"IPv4 without payload", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, nil))), matched, 42},
	{"IPv4, padded", append(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, nil))), make([]byte, 18)...), matched, 42},
	{"802.1Q", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherVLAN), matched, 46},
	{"802.1ad", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherService), matched, 46},
	{"802.1ad and 802.1Q", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherService, etherVLAN), matched, 50},
	{"802.1Q twice", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherVLAN, etherVLAN), matched, 50},
	{"three tags", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherService, etherVLAN, etherVLAN), other, 0},
	{"a tag around nothing known", ether(etherARP, make([]byte, 46), etherVLAN), other, 0},
	{"one word of options", ether(etherIPv4, ipv4(group, protoUDP, 0, []byte{148, 4, 0, 0}, udp(ourPort, payload))), matched, 14 + 24 + 8},
	{"all options", ether(etherIPv4, ipv4(group, protoUDP, 0, make([]byte, 40), udp(ourPort, payload))), matched, 14 + 60 + 8},
	{"options and tags", ether(etherIPv4, ipv4(group, protoUDP, 0, make([]byte, 8), udp(ourPort, payload)), etherService, etherVLAN), matched, 22 + 28 + 8},
	{"header of four words", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, ourPorts))), 14, 0x44), other, 0},
	{"header of no words", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, ourPorts))), 14, 0x40), other, 0},
	{"IPv4 that says version 6", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 14, 0x65), other, 0},
	{"options that look like our UDP header", ether(etherIPv4, ipv4(group, protoUDP, 0, udp(ourPort, nil), udp(otherPort, payload))), other, 0},
	{"IPv6", ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload))), matched, 14 + 40 + 8},
	{"IPv6, 802.1Q", ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload)), etherVLAN), matched, 66},
	{"IPv6, 802.1ad and 802.1Q", ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload)), etherService, etherVLAN), matched, 70},
	{"IPv6 with a class and a flow", with(ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload))), 14, 0x6f, 0xff, 0xff, 0xff), matched, 62},
	{"IPv6 that says version 4", with(ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload))), 14, 0x45), other, 0},

	{"IPv4, other port", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(otherPort, payload))), other, 0},
	{"IPv4, port 0", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(0, payload))), other, 0},
	{"IPv4, our port with its bytes swapped", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort>>8|ourPort&0xff<<8, payload))), other, 0},
	{"IPv4, other address", ether(etherIPv4, ipv4(otherGroup, protoUDP, 0, nil, udp(ourPort, payload))), other, 0},
	{"IPv6, other port", ether(etherIPv6, ipv6(group6, protoUDP, udp(otherPort, payload))), other, 0},
	{"IPv6, other address", ether(etherIPv6, ipv6(otherV6, protoUDP, udp(ourPort, payload))), other, 0},
	{"IPv6 address that ends in our IPv4 one", ether(etherIPv6, ipv6(netip.MustParseAddr("64:ff9b::239.1.2.3"), protoUDP, udp(ourPort, payload))), other, 0},
	{"IPv4, any address", ether(etherIPv4, ipv4(otherGroup, protoUDP, 0, nil, udp(anyPort, payload))), matched, 42},
	{"IPv4, any address, also ours", ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(anyPort, payload))), matched, 42},
	{"IPv6, any address", ether(etherIPv6, ipv6(otherV6, protoUDP, udp(anyPort, payload))), matched, 62},

	{"TCP", ether(etherIPv4, ipv4(group, protoTCP, 0, nil, udp(ourPort, make([]byte, 12)))), other, 0},
	{"TCP over IPv6", ether(etherIPv6, ipv6(group6, protoTCP, udp(ourPort, make([]byte, 12)))), other, 0},
	{"IGMP", ether(etherIPv4, ipv4(group, protoIGMP, 0, []byte{148, 4, 0, 0}, []byte{0x16, 0, 0, 0, 239, 1, 2, 3})), other, 0},
	{"MLD", ether(etherIPv6, ipv6(group6, protoHopByHop, []byte{protoICMPv6, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 0})), other, 0},
	{"ARP", ether(etherARP, []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 239, 1, 2, 3, 0, 0, 0, 0, 0, 0, 239, 1, 2, 3}), other, 0},
	{"length instead of a type", ether(0x0026, make([]byte, 46)), other, 0},
	{"IPv6 with a hop-by-hop header", ether(etherIPv6, ipv6(group6, protoHopByHop, append([]byte{protoUDP, 0, 1, 4, 0, 0, 0, 0}, udp(ourPort, payload)...))), other, 0},
	{"IPv6 with a routing header", ether(etherIPv6, ipv6(group6, protoRouting, append([]byte{protoUDP, 0, 4, 0, 0, 0, 0, 0}, udp(ourPort, payload)...))), other, 0},
	{"zeros", make([]byte, 60), other, 0},
	{"ones", bytes.Repeat([]byte{0xff}, 60), other, 0},

	// What the headers say of lengths is for the receiver to judge.
	{"IPv4 total length 0", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 16, 0, 0), matched, 42},
	{"IPv4 total length of less than the headers", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 16, 0, 21), matched, 42},
	{"IPv4 total length of more than the frame", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 16, 0xff, 0xff), matched, 42},
	{"UDP length 0", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 38, 0, 0), matched, 42},
	{"UDP length of more than the frame", with(ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))), 38, 0xff, 0xff), matched, 42},
	{"IPv6 payload length 0", with(ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload))), 18, 0, 0), matched, 62},
	{"IPv6 payload length of more than the frame", with(ether(etherIPv6, ipv6(group6, protoUDP, udp(ourPort, payload))), 18, 0xff, 0xff), matched, 62},

	// Fragments: only the first one has a UDP header. The words are those of a
	// datagram of 20,000 bytes over an MTU of 9000.
	{"IPv4, first fragment", ether(etherIPv4, ipv4(group, protoUDP, 0x2000, nil, udp(ourPort, payload))), fragment, 42},
	{"IPv4, first fragment with options", ether(etherIPv4, ipv4(group, protoUDP, 0x2000, make([]byte, 12), udp(ourPort, payload))), fragment, 54},
	{"IPv4, first fragment, tagged", ether(etherIPv4, ipv4(group, protoUDP, 0x2000, nil, udp(ourPort, payload)), etherService, etherVLAN), fragment, 50},
	{"IPv4, middle fragment", ether(etherIPv4, ipv4(group, protoUDP, 0x2462, nil, payload)), other, 0},
	{"IPv4, middle fragment with options", ether(etherIPv4, ipv4(group, protoUDP, 0x2462, make([]byte, 12), payload)), other, 0},
	{"IPv4, last fragment", ether(etherIPv4, ipv4(group, protoUDP, 0x08c4, nil, payload)), other, 0},
	{"IPv4, last fragment of one byte", ether(etherIPv4, ipv4(group, protoUDP, 0x08c4, nil, []byte{1})), other, 0},
	{"IPv4, first fragment, other port", ether(etherIPv4, ipv4(group, protoUDP, 0x2000, nil, udp(otherPort, payload))), other, 0},
	{"IPv4, first fragment, other address", ether(etherIPv4, ipv4(otherGroup, protoUDP, 0x2000, nil, udp(ourPort, payload))), other, 0},
	{"IPv4, first fragment, any address", ether(etherIPv4, ipv4(otherGroup, protoUDP, 0x2000, nil, udp(anyPort, payload))), fragment, 42},
	{"IPv4, fragment of TCP", ether(etherIPv4, ipv4(group, protoTCP, 0x2462, nil, payload)), other, 0},
	{"IPv6, first fragment", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 0, true, udp(ourPort, payload)))), fragment, 14 + 40 + 8 + 8},
	{"IPv6, first fragment, tagged", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 0, true, udp(ourPort, payload))), etherVLAN), fragment, 74},
	{"IPv6, middle fragment", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 1448, true, payload))), other, 0},
	{"IPv6, last fragment", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 2896, false, payload))), other, 0},
	{"IPv6, atomic fragment", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 0, false, udp(ourPort, payload)))), fragment, 70},
	{"IPv6, first fragment, other port", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 0, true, udp(otherPort, payload)))), other, 0},
	{"IPv6, first fragment, other address", ether(etherIPv6, ipv6(otherV6, protoFragment, ipv6Fragment(protoUDP, 0, true, udp(ourPort, payload)))), other, 0},
	{"IPv6, first fragment, any address", ether(etherIPv6, ipv6(otherV6, protoFragment, ipv6Fragment(protoUDP, 0, true, udp(anyPort, payload)))), fragment, 70},
	{"IPv6, fragment of TCP", ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoTCP, 1448, true, payload))), other, 0},
}

// Each frame by each program, with and without a socket, whole and cut off at
// every length: the action and every counter.
func TestSteer(t *testing.T) {
	for _, program := range []struct {
		name  string
		frags bool
	}{
		{"plain", false},
		{"frags", true},
	} {
		t.Run(program.name, func(t *testing.T) {
			s, err := LoadSteer(SteerConfig{Queues: 2, MaxEndpoints: 10, Frags: program.frags, AllVLANs: true})
			testnet.NeedPrivilege(t, err)
			defer s.Close()
			addEndpoints(t, s, netip.AddrPortFrom(group, ourPort), netip.AddrPortFrom(group6, ourPort),
				netip.AddrPortFrom(netip.Addr{}, anyPort))
			for _, socket := range []bool{false, true} {
				if socket {
					if err := s.SetSocket(0, xdpSocket(t)); err != nil {
						t.Fatal(err)
					}
				}
				for _, tt := range steerTests {
					t.Run(fmt.Sprintf("%s/socket=%v", tt.name, socket), func(t *testing.T) {
						for n := etherLen; n <= len(tt.frame); n++ {
							want := tt.want
							if n < tt.headers {
								want = other
							}
							steerOne(t, s, tt.frame[:n], want, socket)
						}
					})
				}
			}
		})
	}
}

// Later fragments name no port. They do not count, also with an endpoint at any address,
// which would claim those of all programs.
func TestLateFragments(t *testing.T) {
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	late := [][]byte{
		ether(etherIPv4, ipv4(group, protoUDP, 0x2462, nil, payload)),
		ether(etherIPv4, ipv4(otherGroup, protoUDP, 0x08c4, nil, payload)),
		ether(etherIPv6, ipv6(group6, protoFragment, ipv6Fragment(protoUDP, 1448, true, payload))),
		ether(etherIPv6, ipv6(otherV6, protoFragment, ipv6Fragment(protoUDP, 2896, false, payload))),
	}
	for _, endpoint := range []netip.AddrPort{
		netip.AddrPortFrom(group, ourPort), netip.AddrPortFrom(group6, ourPort), netip.AddrPortFrom(netip.IPv4Unspecified(), anyPort),
	} {
		addEndpoints(t, s, endpoint)
		for _, frame := range late {
			steerOne(t, s, frame, other, false)
		}
	}
}

// A frame of several buffers is counted with all of them.
func TestSteerJumbo(t *testing.T) {
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	addEndpoints(t, s, netip.AddrPortFrom(group, ourPort))
	for _, size := range []int{3000, 9014, 30000} {
		frame := ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, make([]byte, size-42))))
		steerOne(t, s, frame, matched, false)
		frame = ether(etherIPv4, ipv4(otherGroup, protoUDP, 0, nil, udp(ourPort, make([]byte, size-42))))
		steerOne(t, s, frame, other, false)
	}
}

// Each program has the flag that lets packets in several buffers in, or has it not.
func TestProgramFlags(t *testing.T) {
	spec, err := loadSteer()
	if err != nil {
		t.Fatal(err)
	}
	if got := spec.Programs[steerProgSteerPlain].Flags; got != 0 {
		t.Errorf("flags of the plain program: %#x", got)
	}
	if got := spec.Programs[steerProgSteerFrags].Flags; got != unix.BPF_F_XDP_HAS_FRAGS {
		t.Errorf("flags of the program with frags: %#x", got)
	}
}

// steerOne runs the program once and checks the action and every counter.
func steerOne(t *testing.T, s *Steer, frame []byte, want kind, socket bool) {
	t.Helper()
	before := counts(s)
	action := run(t, s, frame, nil)
	after := counts(s)

	wantAction := uint32(xdpPass)
	var add Counters
	switch want {
	case other:
		add.Other = 1
	case fragment:
		add.Fragments = 1
	case matched:
		add.Matched = 1
		if socket {
			wantAction = xdpRedirect
		} else {
			add.NoSocket = 1
		}
	}
	before[0].add(add)
	if action != wantAction || !slices.Equal(before, after) {
		t.Fatalf("%d bytes %x:\naction %d, want %d\ncounters of each queue %+v\nwant %+v", len(frame), frame, action, wantAction, after, before)
	}
}

// counts gives the counters of each queue and of the queues beyond.
func counts(s *Steer) []Counters {
	all := make([]Counters, s.Queues()+1)
	for q := range all {
		all[q] = s.Counters(q)
	}
	return all
}

// xdpMD is struct xdp_md of include/uapi/linux/bpf.h.
type xdpMD struct {
	Data, DataEnd, DataMeta, IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// run gives a frame to the program, as if it came from queue 0 of lo or from what
// md says, and checks that the program left it as it was.
func run(t testing.TB, s *Steer, frame []byte, md *xdpMD) (action uint32) {
	t.Helper()
	o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	if md != nil {
		md.DataEnd = uint32(len(frame))
		o.Context = md
	}
	action, err := s.prog.Run(o)
	if err != nil {
		testnet.NeedPrivilege(t, err)
	}
	if !bytes.Equal(o.DataOut, o.Data) {
		t.Fatalf("the program changed %x into %x", o.Data, o.DataOut)
	}
	return action
}

func load(tb testing.TB, c SteerConfig) *Steer {
	tb.Helper()
	s, err := LoadSteer(c)
	testnet.NeedPrivilege(tb, err)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func addEndpoints(tb testing.TB, s *Steer, endpoints ...netip.AddrPort) {
	tb.Helper()
	for _, e := range endpoints {
		if err := s.AddEndpoint(e); err != nil {
			tb.Fatal(err)
		}
	}
}

// xdpSocket opens an AF_XDP socket. It is not bound, so no packet reaches it. It has an
// RX ring, without which Linux 7 does not take it into a map.
func xdpSocket(tb testing.TB) int {
	tb.Helper()
	fd := newXDPSocket(tb)
	tb.Cleanup(func() { unix.Close(fd) })
	return fd
}

// newXDPSocket is xdpSocket for a socket that the test closes.
func newXDPSocket(tb testing.TB) int {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	testnet.NeedPrivilege(tb, err)
	if err := unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_RX_RING, 64); err != nil {
		tb.Fatal(err)
	}
	return fd
}
