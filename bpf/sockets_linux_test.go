// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSockets(t *testing.T) {
	s := load(t, SteerConfig{Queues: 2})
	addEndpoints(t, s, netip.AddrPortFrom(group, ourPort))
	frame := frameTo(group, ourPort)
	fd := xdpSocket(t)

	steerOne(t, s, frame, matched, false)
	must(t, s.ClearSocket(0)) // where there is none
	must(t, s.SetSocket(1, fd))
	steerOne(t, s, frame, matched, false) // it is for another queue
	must(t, s.SetSocket(0, fd))
	steerOne(t, s, frame, matched, true)
	must(t, s.SetSocket(0, xdpSocket(t))) // in its place
	steerOne(t, s, frame, matched, true)
	must(t, s.ClearSocket(0))
	steerOne(t, s, frame, matched, false)
	must(t, s.ClearSocket(0))
	must(t, s.ClearSocket(1))

	// A socket that is closed leaves its place.
	fd = newXDPSocket(t)
	must(t, s.SetSocket(0, fd))
	steerOne(t, s, frame, matched, true)
	must(t, unix.Close(fd))
	steerOne(t, s, frame, matched, false)
}

func TestSocketErrors(t *testing.T) {
	s := load(t, SteerConfig{Queues: 2})
	fd := xdpSocket(t)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(udp)
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"queue beyond", s.SetSocket(2, fd), "queue 2 is outside 0 to 1"},
		{"negative queue", s.SetSocket(-1, fd), "queue -1 is outside 0 to 1"},
		{"clear beyond", s.ClearSocket(2), "queue 2 is outside 0 to 1"},
		{"no descriptor", s.SetSocket(1, -1), "socket of queue 1: bad descriptor -1"},
		{"not AF_XDP", s.SetSocket(1, udp), "set the socket of queue 1"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want …%s…", tt.name, tt.err, tt.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		config SteerConfig
		want   string
	}{
		{SteerConfig{}, "0 queues"},
		{SteerConfig{Queues: -1}, "-1 queues"},
		{SteerConfig{Queues: maxQueues + 1}, "65537 queues"},
		{SteerConfig{Queues: 1, MaxEndpoints: -1}, "-1 endpoints"},
		{SteerConfig{Queues: 1, MaxEndpoints: 1<<20 + 1}, "1048577 endpoints"},
	} {
		s, err := LoadSteer(tt.config)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.config, err)
		}
	}
}

// Close gives every descriptor back, twice is no harm, and what was counted can
// still be read.
func TestClose(t *testing.T) {
	load(t, SteerConfig{Queues: 1}).Close() // what is opened once and kept, is open now
	before := descriptors(t)
	s := load(t, SteerConfig{Queues: 4, Frags: true})
	endpoint := netip.AddrPortFrom(group, ourPort)
	addEndpoints(t, s, endpoint)
	frame := frameTo(group, ourPort)
	run(t, s, frame, nil)
	for range 2 {
		must(t, s.Close())
	}
	if after := descriptors(t); !slices.Equal(before, after) {
		t.Errorf("open before %q, after %q", before, after)
	}
	want := Counters{Matched: 1, NoSocket: 1}
	if got := s.Counters(0); got != want {
		t.Errorf("after Close: %+v, want %+v", got, want)
	}
	if got := s.Total(); got != want {
		t.Errorf("total after Close: %+v, want %+v", got, want)
	}
	must(t, s.RemoveEndpoint(endpoint))
	must(t, s.ClearSocket(0))
	if s.AddEndpoint(endpoint) == nil || s.SetSocket(0, 0) == nil {
		t.Error("a closed program takes endpoints or sockets")
	}
	if _, err := s.Attach(1, "lo", Generic); err == nil {
		t.Error("a closed program was attached")
	}
}

// descriptors lists what this process has open of BPF.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue // the listing's own
		}
		must(t, err)
		if strings.Contains(to, "bpf") {
			open = append(open, to)
		}
	}
	slices.Sort(open)
	return open
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
