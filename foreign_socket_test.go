// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// TestForeignSocket: a program that has a UDP socket of our endpoint is named. It is refused only
// where the kernel would split the packets between both.
func TestForeignSocket(t *testing.T) {
	n := newWire(t, testnet.Options{})
	own, group := endpoint(n, port), "239.1.2.3:7148"
	for _, tt := range []struct {
		name    string
		foreign string
		reuse   bool
		sources []string
		mode    speadx.Mode
		found   bool
		refused bool
	}{
		{name: "own address", foreign: own, sources: []string{own}, mode: speadx.ModeNative, found: true},
		{name: "any address", foreign: "0.0.0.0:7148", sources: []string{own}, mode: speadx.ModeNative, found: true},
		{name: "any address of IPv6", foreign: "[::]:7148", sources: []string{own}, mode: speadx.ModeGeneric, found: true},
		{name: "of a bare port", foreign: own, sources: []string{":7148"}, mode: speadx.ModeNative, found: true},
		{name: "a group", foreign: group, sources: []string{group}, mode: speadx.ModeNative, found: true},
		{name: "another port", foreign: endpoint(n, 7149), sources: []string{own}, mode: speadx.ModeNative},
		{name: "another group", foreign: "239.1.2.4:7148", sources: []string{group}, mode: speadx.ModeNative},
		{name: "lo", foreign: "127.0.0.1:7148", sources: []string{":7148"}, mode: speadx.ModeNative},
		{name: "a group, sockets", foreign: group, reuse: true, sources: []string{group}, mode: speadx.ModeUDP},
		{name: "shared port, sockets", foreign: own, reuse: true, sources: []string{own, ":7148"}, mode: speadx.ModeUDP, refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var other int
			n.Do(func() { other = bindUDP(t, netip.MustParseAddrPort(tt.foreign), tt.reuse) })
			defer unix.Close(other)
			c := one(n)
			c.Streams, c.Mode = nil, tt.mode
			for _, s := range tt.sources {
				c.Streams = append(c.Streams, speadx.Stream{Source: s})
			}
			if tt.mode == speadx.ModeUDP {
				c.Frames = 0
			}
			r, err := tryOpen(t, n, c)
			if tt.refused {
				var e *speadx.OccupiedError
				if !errors.As(err, &e) || e.Reason() != speadx.OccupiedSocket || e.Owner.PID != os.Getpid() || e.Owner.Name == "" {
					t.Fatalf("not refused: %v", err)
				}
				return
			}
			testnet.NeedPrivilege(t, err)
			found := false
			for _, d := range r.Diagnoses() {
				if d.Code == ledger.ForeignSocket {
					found = true
					if d.Device != n.B.Name || !strings.Contains(d.Other, fmt.Sprintf("(process %d)", os.Getpid())) {
						t.Errorf("%+v", d)
					}
				}
			}
			if found != tt.found {
				t.Errorf("found %t, want %t", found, tt.found)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// bindUDP is the socket of another program. (That of package net hears any address in the place of
// a group.)
func bindUDP(t *testing.T, to netip.AddrPort, reuse bool) int {
	t.Helper()
	domain, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		domain, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && reuse {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestDestinationsMixed: several destinations that arrive at a bare port are listed, and one is not.
func TestDestinationsMixed(t *testing.T) {
	n := newWire(t, testnet.Options{})
	c := one(n)
	c.Streams = []speadx.Stream{{Source: ":7148"}, {Source: "239.1.2.9:7148"}}
	r := open(t, n, c)
	heap := func(to string, cnt uint64) {
		t.Helper()
		f := heardFrame{to: to, tag: -1}
		n.Inject(t, f.frames(n, nil, cnt))
		h, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.Release()
	}
	heap("239.1.2.3", 1)
	heap("239.1.2.9", 1) // which has a stream of its own
	heap("239.1.2.3", 2)
	heap("239.1.2.4", 3)
	d := awaitDiagnosis(t, r, ledger.DestinationsMixed, n.B.Name)
	if d.Source != ":7148" || d.Other != "239.1.2.3:7148, 239.1.2.4:7148" {
		t.Errorf("%+v", d)
	}
}
