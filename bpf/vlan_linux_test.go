// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
)

// TestVLANs: an endpoint is of one VLAN or of none. Removing it from one leaves the others.
func TestVLANs(t *testing.T) {
	ours := netip.AddrPortFrom(group, ourPort)
	body := ipv4(group, protoUDP, 0, nil, udp(ourPort, payload))
	first := ipv4(group, protoUDP, 0x2000, nil, udp(ourPort, payload))
	frames := map[VLAN][2][]byte{
		{}:         {ether(etherIPv4, body), ether(etherIPv4, first)},
		{100, 0}:   {ether(etherIPv4, body, etherVLAN), ether(etherIPv4, first, etherVLAN)},
		{100, 101}: {ether(etherIPv4, body, etherService, etherVLAN), ether(etherIPv4, first, etherService, etherVLAN)},
	}
	priority := ether(etherIPv4, body, etherVLAN)
	priority[14], priority[15] = 0xe0, 0 // VLAN 0
	expect := func(s *Steer, in map[VLAN]bool) {
		t.Helper()
		for vlan, f := range frames {
			want := [2]kind{other, other}
			if in[vlan] {
				want = [2]kind{matched, fragment}
			}
			for i := range f {
				steerOne(t, s, f[i], want[i], false)
			}
		}
		want := other
		if in[VLAN{}] {
			want = matched
		}
		steerOne(t, s, priority, want, false)
	}
	s := load(t, SteerConfig{Queues: 1, Frags: true})
	in := map[VLAN]bool{}
	for vlan := range frames {
		must(t, s.AddVLANEndpoint(ours, vlan))
		in[vlan] = true
		expect(s, in)
	}
	must(t, s.AddVLANEndpoint(netip.AddrPortFrom(group, otherPort), VLAN{100, 0}))
	for vlan := range frames {
		must(t, s.RemoveVLANEndpoint(ours, vlan))
		if vlan == (VLAN{100, 0}) {
			must(t, s.RemoveVLANEndpoint(netip.AddrPortFrom(group, otherPort), vlan))
		}
		in[vlan] = false
		expect(s, in)
	}

	must(t, s.AddVLANEndpoint(ours, VLAN{101, 100}))
	expect(s, nil)
	for _, wrong := range []VLAN{{4096, 0}, {1, 5000}} {
		if err := s.AddVLANEndpoint(ours, wrong); err == nil {
			t.Errorf("VLAN %v is taken", wrong)
		}
	}

	all := load(t, SteerConfig{Queues: 1, Frags: true, AllVLANs: true})
	must(t, all.AddEndpoint(ours))
	expect(all, map[VLAN]bool{{}: true, {100, 0}: true, {100, 101}: true})
	if err := all.AddVLANEndpoint(ours, VLAN{7, 0}); err == nil {
		t.Error("one VLAN of a program for all")
	}
}
