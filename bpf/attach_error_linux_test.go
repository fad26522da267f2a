// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/netif"
	"golang.org/x/sys/unix"
)

// What a veth cannot show: the remedies for the refusals of other drivers.
func TestHints(t *testing.T) {
	nic := situation{iface: "eth0", mode: Native, frags: true, found: true, mtu: 9000, kind: "device"}
	with := func(change func(*situation)) situation {
		s := nic
		change(&s)
		return s
	}
	plain := with(func(s *situation) { s.frags = false })
	small := with(func(s *situation) { s.mtu = 1500 })
	old := with(func(s *situation) { s.frags, s.mtu = false, 1500 })
	middle := with(func(s *situation) { s.mtu = 3000 })
	slave := with(func(s *situation) { s.master = true })
	bond := with(func(s *situation) { s.kind = "bond" })
	generic := with(func(s *situation) { s.mode = Generic })
	lost := with(func(s *situation) { s.found = false })
	lro := with(func(s *situation) { s.offloads.LRO = true })
	gro := with(func(s *situation) { s.mtu, s.offloads.HWGRO = 1500, true })
	occupied := func(o OtherProgram) situation {
		s := nic
		s.other = &o
		return s
	}
	for _, tt := range []struct {
		name string
		is   situation
		err  unix.Errno
		want string // "": no hint
	}{
		{"i40e, jumbo without frags", plain, unix.EINVAL, "which Linux 5.18 has"},
		{"ice, jumbo without frags", plain, unix.EOPNOTSUPP, "which Linux 5.18 has"},
		{"veth, jumbo without frags", plain, unix.ERANGE, "ip link set dev eth0 mtu 3498 or less"},
		{"header split", old, unix.EBUSY, "ethtool -G eth0 tcp-data-split off"},
		{"busy with frags", nic, unix.EBUSY, ""},
		{"no native XDP", small, unix.EOPNOTSUPP, "the driver has no native XDP"},
		{"no native XDP on a bond", bond, unix.EOPNOTSUPP, "a bond has no native XDP"},
		// igb at an MTU of 9000, which has neither LRO nor hardware GRO.
		{"driver without multi-buffer", nic, unix.EINVAL, "does not run programs on packets in several buffers"},
		{"small buffers", middle, unix.EINVAL, "mtu 1500 shows"},
		{"LRO", lro, unix.EINVAL, "ethtool -K eth0 lro off"},
		{"LRO, another errno", lro, unix.EOPNOTSUPP, "ethtool -K eth0 lro off"},
		{"hardware GRO", gro, unix.EOPNOTSUPP, "ethtool -K eth0 rx-gro-hw off"},
		{"no evidence", small, unix.EINVAL, "dmesg"},
		{"multi-buffer, and yet refused", with(func(s *situation) { s.features = &netif.Features{Basic: true, RxSG: true} }), unix.EINVAL, "dmesg"},
		{"lo", with(func(s *situation) { s.mtu, s.features = 65536, &netif.Features{} }), unix.EOPNOTSUPP, "the driver has no native XDP"},
		{"invalid in generic mode", generic, unix.EINVAL, ""},
		{"slave of a bond with a program", slave, unix.EEXIST, "the interface above it"},
		{"no space on hardware", nic, unix.ENOSPC, ""},
		{"no memory", nic, unix.ENOMEM, "fewer queues"},
		{"no interface", lost, unix.EOPNOTSUPP, ""},
		{"libxdp", occupied(OtherProgram{ID: 7, Name: "xdp_dispatcher", Mode: "native", Link: 3}), unix.EBUSY, "xdp-loader unload eth0 --all"},
		{"hardware", occupied(OtherProgram{ID: 7, Mode: "hardware"}), unix.EEXIST, "stop its owner"},
	} {
		got := tt.is.hint(fmt.Errorf("failed to attach link: %w", tt.err))
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v: hint %q, want %q", tt.name, tt.err, got, tt.want)
		}
	}
}

func TestOtherProgramText(t *testing.T) {
	for _, tt := range []struct {
		other OtherProgram
		want  string
	}{
		{OtherProgram{ID: 57, Name: "xdp_dispatcher", Mode: "native", Link: 12}, `XDP program 57 "xdp_dispatcher" in native mode by link 12`},
		{OtherProgram{ID: 57, Mode: "generic"}, `XDP program 57 in generic mode`},
		{OtherProgram{Mode: "several"}, `XDP program in several mode`},
	} {
		if got := tt.other.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
