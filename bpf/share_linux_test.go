// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
	"golang.org/x/sys/unix"
)

// sharedWire is a program on a wire of four queues.
func sharedWire(t *testing.T) (*testnet.Net, *Steer) {
	t.Helper()
	n := testnet.New(t, testnet.Options{Queues: 4})
	s := load(t, SteerConfig{Queues: 4, Frags: HaveFrags()})
	if _, err := s.Attach(n.B.Index, n.B.Name, Native); err != nil {
		t.Fatal(err)
	}
	return n, s
}

// handOut gives the descriptors of a program away as a socket would.
func handOut(t *testing.T, s *Steer) (fds []int) {
	t.Helper()
	if err := s.HandOut(func(list []int) error {
		for _, fd := range list {
			d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			fds = append(fds, d)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return fds
}

func join(t *testing.T, n *testnet.Net, s *Steer) *Steer {
	t.Helper()
	j, err := JoinSteer(n.B.Index, n.B.Name, handOut(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func claim(t *testing.T, s *Steer, queues ...int) {
	t.Helper()
	if err := s.Claim(queues); err != nil {
		t.Fatal(err)
	}
}

// A packet goes to the receiver that has both its endpoint and its queue. On any other queue
// the kernel gets it, and it counts for the receiver of the endpoint.
func TestShare(t *testing.T) {
	n, first := sharedWire(t)
	claim(t, first, 0, 2)
	second := join(t, n, first)
	claim(t, second, 1)
	addEndpoints(t, first, netip.AddrPortFrom(group, ourPort), netip.AddrPortFrom(group6, ourPort))
	addEndpoints(t, second, netip.AddrPortFrom(group, otherPort), netip.AddrPortFrom(netip.Addr{}, anyPort))
	for _, s := range []struct {
		s      *Steer
		queues []int
	}{{first, []int{0, 2}}, {second, []int{1}}} {
		for _, q := range s.queues {
			if err := s.s.SetSocket(q, xdpSocket(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := ether(etherIPv4, ipv4(group, protoUDP, 0x08c4, nil, payload))
	for _, tt := range []struct {
		name   string
		frame  []byte
		owners []*Steer // of the endpoint; none: nobody's
		kind   kind
	}{
		{"the first one's", frameTo(group, ourPort), []*Steer{first}, matched},
		{"the second one's", frameTo(group, otherPort), []*Steer{second}, matched},
		{"the second one's, any address", frameTo(otherGroup, anyPort), []*Steer{second}, matched},
		{"nobody's", frameTo(otherGroup, ourPort), nil, other},
		{"the first one's, first fragment", ether(etherIPv4, ipv4(group, protoUDP, 0x2000, nil, udp(ourPort, payload))), []*Steer{first}, fragment},
		{"later fragment, of anybody", last, nil, other},
	} {
		for queue := range 4 {
			var want [2]Counters
			action := uint32(xdpPass)
			who := -1 // who counts it
			owner := []*Steer{first, second, first, nil}[queue]
			for i, s := range []*Steer{first, second} {
				if slices.Contains(tt.owners, s) && (who < 0 || s == owner) {
					who = i
				}
			}
			switch {
			case tt.kind == other:
				want[0].Other, want[1].Other = 1, 1
			case tt.kind == fragment:
				want[who].Fragments = 1
			default:
				want[who].Matched = 1
				if tt.owners[0] == owner {
					action = xdpRedirect
				} else {
					want[who].NoSocket = 1
				}
			}
			before := [2]Counters{first.Counters(queue), second.Counters(queue)}
			total := [2]Counters{first.Total(), second.Total()}
			got := run(t, first, tt.frame, &xdpMD{IngressIfindex: uint32(n.B.Index), RxQueueIndex: uint32(queue)})
			for i, s := range []*Steer{first, second} {
				before[i].add(want[i])
				total[i].add(want[i])
				if now := s.Counters(queue); now != before[i] {
					t.Errorf("%s on queue %d: receiver %d counts %+v, want %+v", tt.name, queue, i, now, before[i])
				}
				if now := s.Total(); now != total[i] {
					t.Errorf("%s on queue %d: receiver %d has total %+v, want %+v", tt.name, queue, i, now, total[i])
				}
			}
			if got != action {
				t.Errorf("%s on queue %d: action %d, want %d", tt.name, queue, got, action)
			}
		}
	}
}

// What another receiver has cannot be had, and the error says who has it.
func TestShareTaken(t *testing.T) {
	n, first := sharedWire(t)
	claim(t, first, 0, 2)
	second := join(t, n, first)
	addEndpoints(t, first, netip.AddrPortFrom(group, ourPort), netip.AddrPortFrom(group, anyPort))

	var taken *TakenError
	err := second.Claim([]int{0, 1, 2})
	if !errors.As(err, &taken) || taken.Owner.PID != os.Getpid() || !slices.Equal(taken.Queues, []int{0, 2}) || !slices.Equal(taken.Free, []int{1, 3}) {
		t.Errorf("%+v", err)
	}
	claim(t, second, 1)
	for _, ep := range []netip.AddrPort{
		netip.AddrPortFrom(group, ourPort),                // the same
		netip.AddrPortFrom(netip.Addr{}, anyPort),         // that and more
		netip.AddrPortFrom(netip.IPv4Unspecified(), 7148), // likewise
	} {
		taken = nil
		if err := second.AddEndpoint(ep); !errors.As(err, &taken) || taken.Endpoint.Port() != ep.Port() || taken.Owner.PID != os.Getpid() {
			t.Errorf("%v: %v", ep, err)
		}
	}
	addEndpoints(t, second, netip.AddrPortFrom(netip.Addr{}, otherPort))
	if err := first.AddEndpoint(netip.AddrPortFrom(group, otherPort)); !errors.As(err, &taken) {
		t.Errorf("a part of another's endpoint: %v", err)
	}
	// It is free again when its owner gives it back.
	if err := first.RemoveEndpoint(netip.AddrPortFrom(group, ourPort)); err != nil {
		t.Fatal(err)
	}
	addEndpoints(t, second, netip.AddrPortFrom(group, ourPort))
	claim(t, first, 0)
	claim(t, second, 1, 2)
	shares, err := second.Sharing()
	want := []Share{{first.table.owner(0), []int{0}}, {first.table.owner(1), []int{1, 2}}}
	if err != nil || len(shares) != 2 || !slices.Equal(shares[0].Queues, want[0].Queues) || !slices.Equal(shares[1].Queues, want[1].Queues) {
		t.Errorf("%+v, %v; want %+v", shares, err, want)
	}
}

// The program stays while one receiver is left, whichever ends first, and what a receiver
// leaves behind is another's.
func TestShareEnds(t *testing.T) {
	for _, firstEnds := range []bool{true, false} {
		n, first := sharedWire(t)
		claim(t, first, 0)
		second := join(t, n, first)
		claim(t, second, 1)
		addEndpoints(t, first, netip.AddrPortFrom(group, ourPort))
		addEndpoints(t, second, netip.AddrPortFrom(group, otherPort))
		for queue, port := range []uint16{ourPort, otherPort} {
			for range 5 {
				run(t, first, frameTo(group, port), &xdpMD{IngressIfindex: uint32(n.B.Index), RxQueueIndex: uint32(queue)})
			}
		}
		goes, stays := second, first
		port, queue := uint16(otherPort), 1
		if firstEnds {
			goes, stays = first, second
			port, queue = ourPort, 0
		}
		before := goes.Total()
		if err := goes.Close(); err != nil {
			t.Fatal(err)
		}
		if on, err := ProgramOn(n.B.Index); err != nil || on == nil {
			t.Fatalf("the program is gone: %v", err)
		}
		md := func() *xdpMD { return &xdpMD{IngressIfindex: uint32(n.B.Index), RxQueueIndex: uint32(queue)} }
		run(t, stays, frameTo(group, port), md()) // nobody's any more
		if got := goes.Total(); got != before {
			t.Errorf("counters of a receiver that has ended: %+v, were %+v", got, before)
		}
		// A third one gets what is free, and counts from there.
		third := join(t, n, stays)
		claim(t, third, queue)
		addEndpoints(t, third, netip.AddrPortFrom(group, port))
		if got := third.Total(); got != (Counters{}) {
			t.Errorf("a new receiver begins with %+v", got)
		}
		run(t, stays, frameTo(group, port), md())
		if got, want := third.Total(), (Counters{Matched: 1, NoSocket: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if err := errors.Join(stays.Close(), third.Close()); err != nil {
			t.Fatal(err)
		}
		if on, err := ProgramOn(n.B.Index); err != nil || on != nil {
			t.Errorf("%v is left on the interface: %v", on, err)
		}
	}
}

// Descriptors that are not the program on the interface, and its maps, are refused, and
// closed.
func TestJoinRefuses(t *testing.T) {
	n, first := sharedWire(t)
	other := load(t, SteerConfig{Queues: 4, Frags: HaveFrags()})
	t.Run("a program that is not attached", func(t *testing.T) {
		if err := other.HandOut(func([]int) error { return nil }); err == nil {
			t.Error("handed out")
		}
	})
	for _, tt := range []struct {
		name   string
		change func(fds []int)
		want   error
	}{
		{name: "another program", change: func(fds []int) { replace(t, fds, 0, other.prog.FD()) }},
		{name: "another map", change: func(fds []int) { replace(t, fds, 3, other.maps.Xsks.FD()) }},
		{name: "maps in another order", change: func(fds []int) { fds[2], fds[4] = fds[4], fds[2] }},
		{name: "another table", change: func(fds []int) {
			small := load(t, SteerConfig{Queues: 1})
			replace(t, fds, 6, small.table.fd)
		}, want: ErrOtherVersion},
		{name: "a table that can be cut", change: func(fds []int) {
			fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			replace(t, fds, 6, fd)
		}},
		{name: "no link", change: func(fds []int) { replace(t, fds, 1, other.prog.FD()) }},
		{name: "another version", change: func([]int) { first.table.header.Program[0]++ }, want: ErrOtherVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.Do(func() {
				fds := handOut(t, first)
				tt.change(fds)
				before := openFiles(t)
				s, err := JoinSteer(n.B.Index, n.B.Name, fds)
				if err == nil {
					s.Close()
				}
				if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if now := openFiles(t); now != before-len(fds) {
					t.Errorf("%d descriptors are open, want %d", now, before-len(fds))
				}
			})
		})
	}
	first.table.header.Program = programHash()
	t.Run("too few", func(t *testing.T) {
		if _, err := JoinSteer(n.B.Index, n.B.Name, nil); err == nil {
			t.Error("joined")
		}
	})
}

func replace(t *testing.T, fds []int, at, by int) {
	t.Helper()
	unix.Close(fds[at])
	fd, err := unix.FcntlInt(uintptr(by), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fds[at] = fd
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
