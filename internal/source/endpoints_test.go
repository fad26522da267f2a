// SPDX-License-Identifier: Apache-2.0

package source

import (
	"net/netip"
	"testing"
)

func endpoints(t testing.TB, list map[string]int32) *Endpoints {
	t.Helper()
	var all []Endpoint
	for addr, stream := range list {
		all = append(all, Endpoint{netip.MustParseAddrPort(addr), stream})
	}
	e, err := NewEndpoints(all)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEndpoints(t *testing.T) {
	e := endpoints(t, map[string]int32{
		"239.1.2.3:7148":        1,
		"239.1.2.3:7149":        2,
		"0.0.0.0:7148":          3,
		"[::]:9000":             4,
		"[ff15::1]:7148":        5,
		"[ff02::1%eth0]:7150":   6,
		"[::ffff:10.0.0.1]:100": 7,
	})
	l := newLookup(e, 0)
	for _, tt := range []struct {
		dst    string
		stream int32
		ok     bool
	}{
		{"239.1.2.3:7148", 1, true},
		{"239.1.2.3:7149", 2, true},
		{"239.1.2.4:7148", 3, true},
		{"[ff15::2]:7148", 3, true},
		{"[ff15::1]:7148", 5, true},
		{"10.0.0.9:9000", 4, true},
		{"[2001:db8::1]:9000", 4, true},
		{"[ff02::1]:7150", 6, true},
		{"10.0.0.1:100", 7, true},
		{"239.1.2.4:7149", 0, false},
		{"10.0.0.1:7147", 0, false},
		{"10.0.0.1:0", 0, false},
	} {
		dst := netip.MustParseAddrPort(tt.dst)
		if stream, ok := e.Lookup(dst); ok != tt.ok || ok && stream != tt.stream {
			t.Errorf("Lookup(%s) = %d, %v; want %d, %v", tt.dst, stream, ok, tt.stream, tt.ok)
		}
		for range 2 { // the second time from memory
			if stream, ok := l.find(dst); ok != tt.ok || ok && stream != tt.stream {
				t.Errorf("find(%s) = %d, %v; want %d, %v", tt.dst, stream, ok, tt.stream, tt.ok)
			}
		}
	}
	if stream, ok := endpoints(t, map[string]int32{"10.0.0.1:1": 1}).Lookup(netip.AddrPort{}); ok {
		t.Errorf("the zero address belongs to stream %d", stream)
	}
	all := newLookup(nil, 9)
	if stream, ok := all.find(testDst); !ok || stream != 9 {
		t.Errorf("without endpoints: %d, %v; want 9", stream, ok)
	}
}

func TestEndpointsTwice(t *testing.T) {
	for _, pair := range [][2]string{
		{"239.1.2.3:7148", "239.1.2.3:7148"},
		{"10.0.0.1:1", "[::ffff:10.0.0.1]:1"},
		{"0.0.0.0:1", "[::]:1"},
		{"[ff02::1%a]:1", "[ff02::1%b]:1"},
	} {
		list := []Endpoint{{netip.MustParseAddrPort(pair[0]), 0}, {netip.MustParseAddrPort(pair[1]), 1}}
		if _, err := NewEndpoints(list); err == nil {
			t.Errorf("%s and %s: no error", pair[0], pair[1])
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	e := endpoints(b, map[string]int32{"239.1.2.3:7148": 1, "239.1.2.4:7148": 2, "239.1.2.5:7148": 3})
	dst := [2]netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148"), netip.MustParseAddrPort("239.1.2.4:7148")}
	for _, bb := range []struct {
		name string
		mask int
	}{{"same", 0}, {"alternating", 1}} {
		b.Run(bb.name, func(b *testing.B) {
			l := newLookup(e, 0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := l.find(dst[i&bb.mask]); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
