// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx"
)

func TestParseSource(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a file:with+signs.pcap")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		source string
		want   []string // addresses and ports; nil: a file
	}{
		{"239.1.2.3:7148", []string{"239.1.2.3:7148"}},
		{"10.0.0.1:1", []string{"10.0.0.1:1"}},
		{"10.0.0.1:65535", []string{"10.0.0.1:65535"}},
		{"[ff15::1:2:3]:7148", []string{"[ff15::1:2:3]:7148"}},
		{"[fe80::1%eth0]:7148", []string{"[fe80::1%eth0]:7148"}},
		{"[::ffff:239.1.2.3]:7148", []string{"239.1.2.3:7148"}}, // is IPv4
		{":7148", []string{"[::]:7148"}},
		{"239.1.2.3", []string{"239.1.2.3:7148"}}, // a group without a port
		{"[ff15::1]", []string{"[ff15::1]:7148"}},
		{"*:7148", []string{"[::]:7148"}},
		{"7148", []string{"[::]:7148"}},
		{"239.1.2.254+2:7148", []string{"239.1.2.254:7148", "239.1.2.255:7148", "239.1.3.0:7148"}},
		{"239.1.2.3+0:7148", []string{"239.1.2.3:7148"}},
		{"[ff15::ffff]+1:7148", []string{"[ff15::ffff]:7148", "[ff15::1:0]:7148"}},
		{"tcp://:7148", []string{"[::]:7148"}},
		{"tcp://*:7148", []string{"[::]:7148"}},
		{"tcp://7148", []string{"[::]:7148"}},
		{"tcp://127.0.0.1:7148", []string{"127.0.0.1:7148"}},
		{"tcp://[::1]:7148", []string{"[::1]:7148"}},
		{"tcp://[fe80::1%eth0]:7148", []string{"[fe80::1%eth0]:7148"}},
		{"tcp://[::ffff:10.0.0.1]:7148", []string{"10.0.0.1:7148"}},
		{file, nil},
	} {
		got, err := speadx.ParseSource(tt.source)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		var want []netip.AddrPort
		for _, w := range tt.want {
			want = append(want, netip.MustParseAddrPort(w))
		}
		if !slices.Equal(got.Endpoints, want) || (got.File == tt.source) != (want == nil) || got.TCP != strings.HasPrefix(tt.source, "tcp://") {
			t.Errorf("%s: %+v, want %v", tt.source, got, want)
		}
	}
	many, err := speadx.ParseSource("239.0.0.0+4095:7148")
	if err != nil || len(many.Endpoints) != 4096 || many.Endpoints[4095].String() != "239.0.15.255:7148" {
		t.Errorf("%d addresses, %v", len(many.Endpoints), err)
	}
}

func TestParseSourceRefusals(t *testing.T) {
	for source, want := range map[string]string{
		"":                         "empty",
		":":                        `":"`,
		"239.1.2.3:":               "239.1.2.3:",
		"239.1.2.3:0":              "port",
		"239.1.2.3:65536":          "65536",
		"239.1.2.3:-1":             "239.1.2.3:-1",
		"239.1.2.3:http":           "239.1.2.3:http",
		"65536":                    "65536",
		"0":                        "port",
		"239.1.2:7148":             "not an IP address",
		"example.org:7148":         "not an IP address",
		"ff15::1:7148":             "ff15::1:7148", // where does the port begin?
		"[ff15::1:7148":            "[ff15::1",
		"239.1.2.3+:7148":          "not a number",
		"239.1.2.3+-1:7148":        "not a number",
		"239.1.2.3+x:7148":         "not a number",
		"239.1.2.3+4096:7148":      "4095",
		"239.1.2.3+99999999999:80": "not a number",
		"255.255.255.254+2:7148":   "only 2 addresses",
		"nosuchfile.pcap":          "nosuchfile.pcap",
		"10.0.0.1":                 "no port",
		"239.1.2.3:1@nosuchfile":   "nosuchfile",
		"x@parse.go":               "before the @",
		"tcp://:1@parse.go":        "before the @",
		"vlan9999/:1@parse.go":     "not a VLAN",
		"vlan/:1@parse.go":         "not a VLAN",
		"tcp://":                   "no port number (one of TCP is like tcp://:7148",
		"tcp://nosuchfile.pcap":    "no port number",
		"tcp://:":                  "no port number",
		"tcp://127.0.0.1":          "no port number",
		"tcp://::1:7148":           "no port number",
		"tcp://:0":                 "0 is not a port",
		"tcp://:65536":             "65536 is not a port",
		"tcp://localhost:7148":     `"localhost" is not an IP address (names are not looked up)`,
		"tcp://127.0.0.1+1:7148":   "a connection is to one",
		"tcp://127.0.0.1+0:7148":   "a connection is to one",
		"tcp://239.1.2.3:7148":     "239.1.2.3 is a multicast group",
		"tcp://[ff15::1]:7148":     "ff15::1 is a multicast group",
		"tcp://tcp://:7148":        "no port number",
		"udp://127.0.0.1:7148":     "no port",
	} {
		got, err := speadx.ParseSource(source)
		if err == nil {
			t.Errorf("%q is read as %+v", source, got)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "source ") {
			t.Errorf("%q: %q does not say %q", source, err, want)
		}
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"239.1.2.3+7:7148", "[ff15::1]:7148", ":7148", "x.pcap", "[::]+4095:1", "*:1", "tcp://[::1]:7148"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := speadx.ParseSource(s)
		switch {
		case err != nil:
		case got.File != "":
			if got.File != s || got.Endpoints != nil || got.TCP {
				t.Errorf("%q: %+v", s, got)
			}
		case got.TCP && (len(got.Endpoints) != 1 || got.Endpoints[0].Addr().IsMulticast()):
			t.Errorf("%q: %+v", s, got)
		case len(got.Endpoints) == 0 || len(got.Endpoints) > 4096:
			t.Errorf("%q: %d addresses", s, len(got.Endpoints))
		default:
			for i, ep := range got.Endpoints {
				if !ep.IsValid() || ep.Port() == 0 || ep.Addr().Is4In6() {
					t.Errorf("%q: %v", s, ep)
				}
				// What it prints is read again as itself.
				if again, err := speadx.ParseSource(ep.String()); err != nil || len(again.Endpoints) != 1 || again.Endpoints[0] != ep {
					t.Errorf("%q: address %d, %v, is read as %+v, %v", s, i, ep, again, err)
				}
			}
		}
	})
}
