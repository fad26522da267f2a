// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"slices"
	"testing"
)

// TestMissing: CAP_SYS_ADMIN includes CAP_BPF, and not CAP_NET_ADMIN.
func TestMissing(t *testing.T) {
	both := []Privilege{BPF, NetAdmin}
	for _, tt := range []struct {
		status string
		want   []string
	}{
		{"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", []string{"CAP_BPF", "CAP_NET_ADMIN"}},
		{"CapEff:\t0000000000001000\n", []string{"CAP_BPF"}},
		{"CapEff:\t0000008000000000\n", []string{"CAP_NET_ADMIN"}},
		{"CapEff:\t0000008000001000\n", nil},
		{"CapEff:\t0000000000200000\n", []string{"CAP_NET_ADMIN"}}, // CAP_SYS_ADMIN
		{"CapEff:\t0000000000201000\n", nil},                       // and CAP_NET_ADMIN
		{"CapEff:\tnonsense\n", nil},
		{"", nil},
	} {
		if got := missing([]byte(tt.status), both); !slices.Equal(got, tt.want) {
			t.Errorf("%q: missing %q, want %q", tt.status, got, tt.want)
		}
	}
}
