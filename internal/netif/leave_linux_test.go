// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
)

// TestLeave: groups are left one by one, and their places in the sockets are used again.
func TestLeave(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	joined := func() int {
		text, err := os.ReadFile("/proc/thread-self/net/igmp")
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("0203EF ")) // 239.3.2.*, as little-endian words
	}
	group := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("239.3.2.%d", i)) }
	m := &Membership{}
	defer m.Close()
	const groups = 50 // a socket holds 20
	for range 3 {
		for i := range groups {
			if err := m.Add(group(i), n.B.Index); err != nil {
				t.Fatal(err)
			}
		}
		if got := joined(); got != groups || len(m.v4) != 3 {
			t.Fatalf("in %d groups by %d sockets", got, len(m.v4))
		}
		for i := range groups {
			for range 2 { // the second time it is no error
				if err := m.Leave(group(i), n.B.Index); err != nil {
					t.Fatal(err)
				}
			}
			if got := joined(); got != groups-1-i {
				t.Fatalf("in %d groups after %d were left", got, i+1)
			}
		}
	}
	six := netip.MustParseAddr("ff15::7:1")
	if err := m.Add(six, n.B.Index); err != nil {
		t.Fatal(err)
	}
	if err := m.Leave(six, n.B.Index); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile("/proc/thread-self/net/igmp6"); err != nil || bytes.Contains(text, []byte("ff150000000000000000000000070001")) {
		t.Errorf("still in the group, %v:\n%s", err, text)
	}
	if err := m.Leave(group(1), 12345); err != nil {
		t.Errorf("a group on another interface: %v", err)
	}
}
