// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
)

func frameTo(addr netip.Addr, port uint16) []byte {
	if addr.Is4() {
		return ether(etherIPv4, ipv4(addr, protoUDP, 0, nil, udp(port, payload)))
	}
	return ether(etherIPv6, ipv6(addr, protoUDP, udp(port, payload)))
}

func TestEndpointForms(t *testing.T) {
	v4, v6 := frameTo(group, ourPort), frameTo(group6, ourPort)
	for _, tt := range []struct {
		endpoint string
		v4, v6   kind
	}{
		{"239.1.2.3:7148", matched, other},
		{"[::ffff:239.1.2.3]:7148", matched, other},
		{"[ff05::1:2:3]:7148", other, matched},
		{"[ff05::1:2:3%eth0]:7148", other, matched},
		{"0.0.0.0:7148", matched, matched},
		{"[::]:7148", matched, matched},
		{"0.0.0.0:7149", other, other},
		{"239.1.2.4:7148", other, other},
	} {
		t.Run(tt.endpoint, func(t *testing.T) {
			s := load(t, SteerConfig{Queues: 1})
			endpoint := netip.MustParseAddrPort(tt.endpoint)
			steerOne(t, s, v4, other, false)
			addEndpoints(t, s, endpoint, endpoint) // the second one changes nothing
			steerOne(t, s, v4, tt.v4, false)
			steerOne(t, s, v6, tt.v6, false)
			for range 2 {
				if err := s.RemoveEndpoint(endpoint); err != nil {
					t.Fatal(err)
				}
				steerOne(t, s, v4, other, false)
				steerOne(t, s, v6, other, false)
			}
		})
	}
}

func TestMaxEndpoints(t *testing.T) {
	s := load(t, SteerConfig{Queues: 1, MaxEndpoints: 3})
	for port := uint16(1); port <= 3; port++ {
		addEndpoints(t, s, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(port)}), port))
	}
	err := s.AddEndpoint(netip.AddrPortFrom(group, ourPort))
	if err == nil || !strings.Contains(err.Error(), "239.1.2.3:7148") || !strings.Contains(err.Error(), "3 already") {
		t.Errorf("a fourth of three endpoints: %v", err)
	}
	steerOne(t, s, frameTo(group, ourPort), other, false)
	if err := s.RemoveEndpoint(netip.MustParseAddrPort("10.0.0.2:2")); err != nil {
		t.Fatal(err)
	}
	addEndpoints(t, s, netip.AddrPortFrom(group, ourPort))
	steerOne(t, s, frameTo(group, ourPort), matched, false)
}

func TestEndpointNeedsPort(t *testing.T) {
	s := load(t, SteerConfig{Queues: 1})
	if err := s.AddEndpoint(netip.AddrPortFrom(group, 0)); err == nil {
		t.Error("added an endpoint without a port")
	}
	if err := s.RemoveEndpoint(netip.AddrPort{}); err == nil {
		t.Error("removed an endpoint without a port")
	}
}

// While endpoints come and go, those that stay are always matched, each packet is
// counted once, and a change holds from the moment it was made.
func TestEndpointsChangeWhileRunning(t *testing.T) {
	s := load(t, SteerConfig{Queues: 1})
	stays := netip.AddrPortFrom(group, ourPort)
	comes := netip.AddrPortFrom(group, otherPort)
	addEndpoints(t, s, stays)

	const runs = 3000
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range runs {
				run(t, s, frameTo(group, ourPort), nil)
				run(t, s, frameTo(group, otherPort), nil)
			}
		})
	}
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			addEndpoints(t, s, comes)
			for port := uint16(20000); port < 20020; port++ { // churn in the same buckets
				addEndpoints(t, s, netip.AddrPortFrom(group, port))
			}
			for port := uint16(20000); port < 20020; port++ {
				if err := s.RemoveEndpoint(netip.AddrPortFrom(group, port)); err != nil {
					t.Error(err)
				}
			}
			if err := s.RemoveEndpoint(comes); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	close(stop)
	changes.Wait()

	c := s.Total()
	if c.Matched+c.Other != 4*runs || c.Matched < 2*runs || c.Fragments != 0 || c.NoSocket != c.Matched {
		t.Errorf("%+v of %d packets, half of them to an endpoint that stays", c, 4*runs)
	}
	steerOne(t, s, frameTo(group, otherPort), other, false)
	addEndpoints(t, s, comes)
	steerOne(t, s, frameTo(group, otherPort), matched, false)
}
