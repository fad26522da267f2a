// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"testing"
)

// The program's own time by packet, as the kernel measures it. What a redirect
// costs after the program has decided on it is not in it.
func BenchmarkSteer(b *testing.B) {
	jumbo := make([]byte, 8972)
	for _, frags := range []bool{false, true} {
		program := "plain"
		if frags {
			program = "frags"
		}
		for _, bb := range []struct {
			name  string
			frame []byte
			large bool
		}{
			{name: "match", frame: frameTo(group, ourPort)},
			{name: "match-vlan", frame: ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, payload)), etherService, etherVLAN)},
			{name: "match-ipv6", frame: frameTo(group6, ourPort)},
			{name: "match-any-address", frame: frameTo(otherGroup, anyPort)},
			{name: "match-jumbo", frame: ether(etherIPv4, ipv4(group, protoUDP, 0, nil, udp(ourPort, jumbo))), large: true},
			{name: "other-udp", frame: frameTo(otherGroup, otherPort)},
			{name: "other-tcp", frame: ether(etherIPv4, ipv4(group, protoTCP, 0, nil, make([]byte, 20)))},
		} {
			if bb.large && !frags {
				continue
			}
			b.Run(program+"/"+bb.name, func(b *testing.B) {
				s := load(b, SteerConfig{Queues: 1, Frags: frags})
				addEndpoints(b, s, netip.AddrPortFrom(group, ourPort), netip.AddrPortFrom(group6, ourPort),
					netip.AddrPortFrom(netip.Addr{}, anyPort))
				must(b, s.AddVLANEndpoint(netip.AddrPortFrom(group, ourPort), VLAN{100, 101})) // of match-vlan
				if err := s.SetSocket(0, xdpSocket(b)); err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				_, each, err := s.prog.Benchmark(bb.frame, b.N, b.ResetTimer)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(each.Nanoseconds()), "ns/run")
			})
		}
	}
}

func BenchmarkCounters(b *testing.B) {
	s := load(b, SteerConfig{Queues: 16})
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Counters(3)
	}
}
