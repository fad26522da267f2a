// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// The command for more senders than the default window has room for names a window.
func TestCommandForManySenders(t *testing.T) {
	for n, want := range map[int]string{1: "", 8: "", 9: "--concurrent-heaps 20", 20: "--concurrent-heaps 42"} {
		f := wellSetUp()
		f.Traffic[0].Senders = nil
		for i := range n {
			f.Traffic[0].Senders = append(f.Traffic[0].Senders, Sender{Addr: netip.MustParseAddrPort(fmt.Sprintf("10.0.1.%d:7148", i+1))})
		}
		if got := recvCommand(f); strings.Contains(got, "--concurrent-heaps") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%d senders: %s, want %q", n, got, want)
		}
	}
}
