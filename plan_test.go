// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
)

// planned is a plan in words.
func planned(p *plan) string {
	var b strings.Builder
	for _, s := range p.streams {
		fmt.Fprintf(&b, "stream %s:", s.name)
		for _, ep := range s.udp {
			fmt.Fprintf(&b, " udp %v on %d", ep.addr, ep.ifindex)
		}
		for _, addr := range s.tcp {
			fmt.Fprintf(&b, " tcp %v", addr)
		}
		for _, d := range s.devices {
			fmt.Fprintf(&b, " by %s", d.facts.Name)
		}
		for _, f := range s.files {
			fmt.Fprintf(&b, " from %s", f.path)
		}
		b.WriteByte('\n')
	}
	for _, d := range p.devices {
		fmt.Fprintf(&b, "device %s:", d.facts.Name)
		for _, ep := range d.endpoints {
			fmt.Fprintf(&b, " %v of %d", ep.addr, ep.stream)
			if tags := ep.vlan.String(); tags != "" {
				fmt.Fprintf(&b, " in %s", tags)
			}
		}
		b.WriteByte('\n')
	}
	for _, j := range p.joins {
		fmt.Fprintf(&b, "join %v on %d %s\n", j.addr.Addr(), j.ifindex, j.name)
	}
	return b.String()
}

// TestPlan resolves what can be asked for. Nothing is opened, so the interfaces are
// a wire's end and lo.
func TestPlan(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	unicast, v6 := netip.AddrPortFrom(n.B.Addr4, 7148).String(), netip.AddrPortFrom(n.B.Addr6, 7148).String()
	const group = "239.1.2.3:7148"
	wire := n.B.Index
	for _, tt := range []struct {
		name   string
		config Config
		want   string
		notes  []string
	}{
		{
			name:   "address of an interface",
			config: Config{Streams: []Stream{{Source: unicast}}},
			want:   "stream " + unicast + ": by sx-b\ndevice sx-b: " + unicast + " of 0\n",
		},
		{
			name:   "address of IPv6",
			config: Config{Streams: []Stream{{Source: v6}}},
			want:   "stream " + v6 + ": by sx-b\ndevice sx-b: " + v6 + " of 0\n",
		},
		{
			name:   "address of lo",
			config: Config{Streams: []Stream{{Source: "127.0.0.2:7148"}}},
			want:   "stream 127.0.0.2:7148: by lo\ndevice lo: 127.0.0.2:7148 of 0\n",
		},
		{
			name:   "group, by its route",
			config: Config{Streams: []Stream{{Source: group}}},
			want:   "stream " + group + ": by sx-b\ndevice sx-b: " + group + fmt.Sprintf(" of 0\njoin 239.1.2.3 on %d sx-b\n", wire),
		},
		{
			name:   "group on two interfaces",
			config: Config{Streams: []Stream{{Name: "x", Source: group}}, Interfaces: []string{"sx-b", "lo"}},
			want: fmt.Sprintf("stream x: by sx-b by lo\ndevice sx-b: %s of 0\ndevice lo: %s of 0\njoin 239.1.2.3 on %d sx-b\njoin 239.1.2.3 on 1 lo\n",
				group, group, wire),
		},
		{
			name:   "an interface named twice",
			config: Config{Streams: []Stream{{Source: unicast}}, Interfaces: []string{"sx-b", "sx-b"}},
			want:   "stream " + unicast + ": by sx-b\ndevice sx-b: " + unicast + " of 0\n",
		},
		{
			name: "streams with interfaces of their own",
			config: Config{Streams: []Stream{
				{Source: "1.2.3.4:1", Interfaces: []string{"lo"}}, {Name: "y", Source: "1.2.3.4:2", Sources: []string{"1.2.3.4:3"}},
			}, Interfaces: []string{"sx-b"}},
			want: "stream 1.2.3.4:1: by lo\nstream y: by sx-b\ndevice lo: 1.2.3.4:1 of 0\ndevice sx-b: 1.2.3.4:2 of 1 1.2.3.4:3 of 1\n",
		},
		{
			name:   "any address on an interface",
			config: Config{Streams: []Stream{{Source: ":7148"}}, Interfaces: []string{"sx-b"}},
			want:   "stream :7148: by sx-b\ndevice sx-b: [::]:7148 of 0\n",
		},
		{
			name:   "any address",
			config: Config{Streams: []Stream{{Source: "7148"}}},
			want:   "stream 7148: udp [::]:7148 on 0\n",
			notes:  []string{"uses a UDP socket"},
		},
		{
			name:   "sockets",
			config: Config{Streams: []Stream{{Source: unicast}, {Source: group}, {Source: ":1"}}, Mode: ModeUDP},
			want: fmt.Sprintf("stream %s: udp %s on 0\nstream %s: udp %s on %d\nstream :1: udp [::]:1 on 0\n",
				unicast, unicast, group, group, wire),
		},
		{
			name:   "sockets on two interfaces",
			config: Config{Streams: []Stream{{Source: unicast}, {Source: group}}, Interfaces: []string{"sx-b", "lo"}, Mode: ModeUDP},
			want: fmt.Sprintf("stream %s: udp %s on %d udp %s on 1\nstream %s: udp %s on %d udp %s on 1\n",
				unicast, unicast, wire, unicast, group, group, wire, group),
		},
		{
			name:   "files",
			config: Config{Streams: []Stream{{Source: "doc.go", Sources: []string{"plan.go", unicast}}}},
			want:   "stream doc.go: by sx-b from doc.go from plan.go\ndevice sx-b: " + unicast + " of 0\n",
		},
		{
			// Neither the mode nor the interfaces are theirs.
			name: "TCP",
			config: Config{
				Streams:    []Stream{{Source: "tcp://:7148", Sources: []string{"tcp://127.0.0.1:7148", unicast}}, {Source: "tcp://" + unicast}},
				Interfaces: []string{"sx-b"}, Mode: ModeNative,
			},
			want: "stream tcp://:7148: tcp [::]:7148 tcp 127.0.0.1:7148 by sx-b\nstream tcp://" + unicast + ": tcp " + unicast + "\ndevice sx-b: " + unicast + " of 0\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p *plan
			var err error
			n.Do(func() { p, err = makePlan(&tt.config, thisMachine) })
			if err != nil {
				t.Fatal(err)
			}
			if got := planned(p); got != tt.want {
				t.Errorf("planned\n%swant\n%s", got, tt.want)
			}
			if !slices.EqualFunc(p.notes, tt.notes, strings.Contains) {
				t.Errorf("notes %q, want %q", p.notes, tt.notes)
			}
		})
	}
}

// TestUseSockets: what was to come over devices comes over sockets.
func TestUseSockets(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	c := Config{
		Streams:    []Stream{{Source: "239.1.2.3:1", Sources: []string{"1.2.3.4:1"}}, {Source: ":2"}, {Source: "doc.go"}},
		Interfaces: []string{"sx-b", "lo"},
	}
	p, err := makePlan(&c, thisMachine)
	if err != nil {
		t.Fatal(err)
	}
	p.useSockets()
	want := fmt.Sprintf("stream 239.1.2.3:1: udp 239.1.2.3:1 on %[1]d udp 239.1.2.3:1 on 1 udp 1.2.3.4:1 on %[1]d udp 1.2.3.4:1 on 1\nstream :2: udp [::]:2 on %[1]d udp [::]:2 on 1\nstream doc.go: from doc.go\n", n.B.Index)
	if got := planned(p); got != want {
		t.Errorf("planned\n%swant\n%s", got, want)
	}
	if p.node() != -1 {
		t.Errorf("node %d", p.node())
	}
}
