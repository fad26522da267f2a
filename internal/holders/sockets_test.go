// SPDX-License-Identifier: Apache-2.0

package holders

import (
	"net/netip"
	"testing"
	"testing/fstest"
)

func TestUDPSockets(t *testing.T) {
	const head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	fsys := fstest.MapFS{
		"proc/thread-self/net/udp": {Data: []byte(head +
			"  1: 02004D0A:1BEC 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41 2 0 0\n" +
			"  2: 00000000:1BED 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 42 2 0 0\n" +
			"  x: nonsense\n")},
		"proc/thread-self/net/udp6": {Data: []byte(head +
			"  3: 00000000000000000000000000000000:1BEE 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 43 2 0 0\n" +
			"  4: 777700FD000000000000000002000000:1BEC 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 44 2 0 0\n" +
			"  5: 0000000000000000FFFF000001020A0A:1BEF 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 45 2 0 0\n")},
	}
	list, err := UDPSockets(fsys)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.77.0.2:7148", "0.0.0.0:7149", "[::]:7150", "[fd00:7777::2]:7148", "10.10.2.1:7151"}
	if len(list) != len(want) {
		t.Fatalf("%+v", list)
	}
	for i, s := range list {
		if s.Local.String() != want[i] || s.Inode != uint32(41+i) {
			t.Errorf("%+v, want %s", s, want[i])
		}
	}
	for to, hears := range map[string][5]bool{
		"10.77.0.2:7148":      {true, false, false, false, false},
		"10.77.0.3:7148":      {false, false, false, false, false},
		"[::]:7148":           {true, false, false, true, false},
		"239.1.2.3:7149":      {false, true, false, false, false},
		"[ff15::1]:7149":      {false, false, false, false, false},
		"239.1.2.3:7150":      {false, false, true, false, false},
		"[fd00:7777::2]:7150": {false, false, true, false, false},
		"0.0.0.0:7151":        {false, false, false, false, true},
	} {
		for i := range list {
			if got := list[i].Hears(netip.MustParseAddrPort(to)); got != hears[i] {
				t.Errorf("%v hears %s: %t", list[i].Local, to, got)
			}
		}
	}
}
