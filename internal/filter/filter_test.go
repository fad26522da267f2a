// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/frame"
)

func datagram(src, dst string, vlan int) *frame.Datagram {
	return &frame.Datagram{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst), VLAN: vlan}
}

func TestFilter(t *testing.T) {
	a := datagram("10.0.0.1:5000", "239.1.2.3:7148", -1)
	b := datagram("10.0.0.2:5000", "239.1.2.4:7149", 7)
	c := datagram("[fd00::1]:5000", "[ff15::1]:7148", 0)
	for _, tt := range []struct {
		text string
		want [3]bool
	}{
		{"dst host 239.1.2.3", [3]bool{true, false, false}},
		{"host 10.0.0.2", [3]bool{false, true, false}},
		{"dst 239.1.2.4", [3]bool{false, true, false}},
		{"src host 239.1.2.3", [3]bool{}},
		{"udp port 7148", [3]bool{true, false, true}},
		{"udp dst port 7149", [3]bool{false, true, false}},
		{"portrange 7149-7150", [3]bool{false, true, false}},
		{"net 239.1.0.0/16", [3]bool{true, true, false}},
		{"dst net ff15::/16", [3]bool{false, false, true}},
		{"ip6", [3]bool{false, false, true}},
		{"ip and not port 7149", [3]bool{true, false, false}},
		{"vlan", [3]bool{false, true, true}},
		{"vlan 7", [3]bool{false, true, false}},
		{"vlan 7 and port 7149", [3]bool{false, true, false}},
		{"not vlan", [3]bool{true, false, false}},
		{"host 10.0.0.1 or host 10.0.0.2 and port 7149", [3]bool{false, true, false}}, // from left to right
		{"host 10.0.0.1 or (host 10.0.0.2 and port 7149)", [3]bool{true, true, false}},
		{"!(port 7148)&&udp", [3]bool{false, true, false}},
		{"udp", [3]bool{true, true, true}},
	} {
		f, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := [3]bool{f(a), f(b), f(c)}; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, position := range map[string]int{
		"": 0, "  ": 2, "tcp": 0, "host": 4, "host example.org": 5, "port x": 5, "port 70000": 5, "portrange 5": 10,
		"portrange 9-5": 10, "net 10.0.0.1": 4, "vlan 5000": 5, "port 1 port 2": 7, "(port 1": 7, "port 1 and": 10,
		"port 1)": 6, "src vlan 7": 4, "port 1 & port 2": 7, strings.Repeat("(", 200): 101, strings.Repeat("! ", 200): 202,
	} {
		_, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.30q: %v", text, err)
			continue
		}
		if e.Position != position {
			t.Errorf("%.30q: %v at %d, want %d", text, err, e.Position, position)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"dst host 239.1.2.3 and udp port 7148", "not (vlan 7 or net 10.0.0.0/8)", "portrange 1-2||ip6"} {
		f.Add(s)
	}
	d := datagram("10.0.0.1:5000", "239.1.2.3:7148", 7)
	f.Fuzz(func(t *testing.T, text string) {
		if filter, err := Parse(text); err == nil {
			filter(d)
		} else if err.Error() == "" {
			t.Error("no text")
		}
	})
}
