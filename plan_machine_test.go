// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/netif"
)

// fake is a machine with two NICs, and VLANs and a bond on them.
var fake = func() resolver {
	type link struct {
		netif.Interface
		lowers []string
	}
	links := map[string]link{}
	for i, l := range []link{
		{netif.Interface{Name: "eth0", MTU: 9000, RxQueues: 16, RxRing: 1024}, nil},
		{netif.Interface{Name: "eth1", MTU: 1500, RxQueues: 8, RxRing: 8192}, nil},
		{netif.Interface{Name: "eth2", MTU: 9000, RxQueues: 1, RxRing: 1024}, nil},
		{netif.Interface{Name: "eth0.5", MTU: 9000}, []string{"eth0"}},
		{netif.Interface{Name: "eth0.6", MTU: 9000}, []string{"eth0"}},
		{netif.Interface{Name: "bond0", MTU: 1500}, []string{"eth0", "eth1"}},
		{netif.Interface{Name: "bond0.7", MTU: 1500}, []string{"eth0", "eth1"}},
	} {
		l.Index, l.Up, l.Node, l.LinkType = i+1, true, -1, "ether"
		if l.lowers == nil {
			l.lowers = []string{l.Name}
		}
		links[l.Name] = l
	}
	find := func(name string) (link, error) {
		l, ok := links[name]
		if !ok {
			return l, fmt.Errorf("no interface %s", name)
		}
		return l, nil
	}
	return resolver{
		lookup:  func(name string) (*netif.Interface, error) { l, err := find(name); return &l.Interface, err },
		lowers:  func(name string) ([]string, error) { l, err := find(name); return l.lowers, err },
		masters: func(string) ([]*netif.Interface, error) { return nil, nil },
		vlans: func(name string) (netif.VLANs, error) {
			_, id, _ := strings.Cut(name, ".")
			n, err := strconv.Atoi(id)
			if err != nil {
				return netif.VLANs{}, nil
			}
			return netif.VLANs{Tags: []int{n}}, nil
		},
		over:     func(string, string) (bool, error) { return true, nil },
		bindable: func() bool { return true },
		forRoute: func(netip.Addr) (string, error) { return "eth0", nil },
		owner:    func(netip.Addr) (netif.Owner, error) { return netif.Owner{Local: true, Interface: "eth0"}, nil },
	}
}()

// TestPlanSameDevice: several names of one device give it one endpoint for each
// destination and VLAN, and a membership for each name. Sockets in its stead know the names.
func TestPlanSameDevice(t *testing.T) {
	const group, unicast = "239.1.2.3:1", "10.0.0.1:1"
	for _, tt := range []struct {
		name       string
		source     []string
		interfaces []string
		want       string
		sockets    string
		links      map[int]string
	}{
		{
			name: "two VLANs of one device", source: []string{group}, interfaces: []string{"eth0.5", "eth0.6"},
			want:    "stream s: by eth0\ndevice eth0: 239.1.2.3:1 of 0 in 5 239.1.2.3:1 of 0 in 6\njoin 239.1.2.3 on 4 eth0.5\njoin 239.1.2.3 on 5 eth0.6\n",
			sockets: "stream s: udp 239.1.2.3:1 on 4 udp 239.1.2.3:1 on 5\n",
			links:   map[int]string{4: "eth0.5", 5: "eth0.6"},
		},
		{
			name: "a device and a VLAN on it", source: []string{unicast, group}, interfaces: []string{"eth0", "eth0.5"},
			want:    "stream s: by eth0\ndevice eth0: 10.0.0.1:1 of 0 10.0.0.1:1 of 0 in 5 239.1.2.3:1 of 0 239.1.2.3:1 of 0 in 5\njoin 239.1.2.3 on 1 eth0\njoin 239.1.2.3 on 4 eth0.5\n",
			sockets: "stream s: udp 10.0.0.1:1 on 1 udp 10.0.0.1:1 on 4 udp 239.1.2.3:1 on 1 udp 239.1.2.3:1 on 4\n",
			links:   map[int]string{1: "eth0", 4: "eth0.5"},
		},
		{
			name: "a bond, a VLAN on it, and a member", source: []string{group}, interfaces: []string{"bond0", "bond0.7", "eth1", "bond0"},
			want: "stream s: by eth0 by eth1\ndevice eth0: 239.1.2.3:1 of 0 239.1.2.3:1 of 0 in 7\ndevice eth1: 239.1.2.3:1 of 0 239.1.2.3:1 of 0 in 7\n" +
				"join 239.1.2.3 on 6 bond0\njoin 239.1.2.3 on 7 bond0.7\njoin 239.1.2.3 on 2 eth1\n",
			sockets: "stream s: udp 239.1.2.3:1 on 6 udp 239.1.2.3:1 on 7 udp 239.1.2.3:1 on 2\n",
			links:   map[int]string{6: "bond0", 7: "bond0.7", 2: "eth1"},
		},
		{
			// A packet does not hold the zone.
			name: "addresses of two zones", source: []string{"[fe80::1%eth0.5]:1", "[fe80::1%eth0.6]:1"}, interfaces: []string{"eth0.5", "eth0.6"},
			want: "stream s: by eth0\ndevice eth0: [fe80::1%eth0.5]:1 of 0 in 5 [fe80::1%eth0.5]:1 of 0 in 6\n",
			sockets: "stream s: udp [fe80::1%eth0.5]:1 on 4 udp [fe80::1%eth0.5]:1 on 5" +
				" udp [fe80::1%eth0.6]:1 on 4 udp [fe80::1%eth0.6]:1 on 5\n",
			links: map[int]string{4: "eth0.5", 5: "eth0.6"},
		},
		{
			name: "a group of two ports", source: []string{group, "239.1.2.3:2"}, interfaces: []string{"eth0.5"},
			want:    "stream s: by eth0\ndevice eth0: 239.1.2.3:1 of 0 in 5 239.1.2.3:2 of 0 in 5\njoin 239.1.2.3 on 4 eth0.5\n",
			sockets: "stream s: udp 239.1.2.3:1 on 4 udp 239.1.2.3:2 on 4\n",
			links:   map[int]string{4: "eth0.5"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Streams: []Stream{{Name: "s", Source: tt.source[0], Sources: tt.source[1:], Interfaces: tt.interfaces}}}
			p, err := makePlan(&c, fake)
			if err != nil {
				t.Fatal(err)
			}
			if got := planned(p); got != tt.want {
				t.Errorf("planned\n%swant\n%s", got, tt.want)
			}
			for _, d := range p.devices {
				if _, err := lookupTable(d.endpoints); err != nil {
					t.Errorf("%s: %v", d.facts.Name, err)
				}
			}
			p.useSockets()
			if got := planned(p); got != tt.sockets {
				t.Errorf("instead\n%swant\n%s", got, tt.sockets)
			}
			if got := p.streams[0].links; !maps.Equal(got, tt.links) {
				t.Errorf("interfaces %v, want %v", got, tt.links)
			}
		})
	}
}

// TestPlanQueues: queues that a device does not have are refused before anything is
// opened.
func TestPlanQueues(t *testing.T) {
	for _, tt := range []struct {
		queues []int
		frames int
		asked  []int
		want   int // queues; 0: an error
		each   int // frames
	}{
		{nil, 0, nil, 8, 16384},
		{[]int{}, 512, nil, 8, 512},
		{[]int{3, 1, 3}, 0, []int{1, 3}, 2, 16384},
		{[]int{8}, 0, nil, 0, 0},
	} {
		c := Config{Streams: []Stream{{Source: "10.0.0.1:1"}}, Interfaces: []string{"eth1"}, Queues: tt.queues, Frames: tt.frames}
		p, err := makePlan(&c, fake)
		if (err != nil) != (tt.want == 0) {
			t.Errorf("queues %d: %v", tt.queues, err)
		}
		if err != nil {
			continue
		}
		if d := p.devices[0]; !slices.Equal(d.asked, tt.asked) || d.queues != tt.want || d.frames != tt.each {
			t.Errorf("queues %d: %d, %d of %d frames, want %d, %d of %d", tt.queues, d.asked, d.queues, d.frames, tt.asked, tt.want, tt.each)
		}
	}
}
