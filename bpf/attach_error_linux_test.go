package bpf

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a veth cannot show: the remedies for the refusals of other drivers.
func TestHints(t *testing.T) {
	nic := situation{iface: "eth0", mode: Native, frags: true, found: true, mtu: 9000, kind: "device"}
	plain, small, slave, bond, generic, lost := nic, nic, nic, nic, nic, nic
	plain.frags = false
	small.frags, small.mtu = false, 1500
	slave.master = true
	bond.kind = "bond"
	generic.mode = Generic
	lost.found = false
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
		{"i40e, jumbo without frags", plain, unix.EINVAL, "MTU of 9000 needs the program with frags"},
		{"ice, jumbo without frags", plain, unix.EOPNOTSUPP, "MTU of 9000 needs the program with frags"},
		{"veth, jumbo without frags", plain, unix.ERANGE, "ip link set dev eth0 mtu 1500"},
		{"header split", small, unix.EBUSY, "ethtool -G eth0 tcp-data-split off"},
		{"busy with frags", nic, unix.EBUSY, ""},
		{"no native XDP", nic, unix.EOPNOTSUPP, "use generic mode"},
		{"no native XDP on a bond", bond, unix.EOPNOTSUPP, "a bond has no native XDP"},
		{"LRO", nic, unix.EINVAL, "ethtool -K eth0 lro off rx-gro-hw off"},
		{"invalid in generic mode", generic, unix.EINVAL, ""},
		{"slave of a bond with a program", slave, unix.EEXIST, "the interface above it"},
		{"no space on hardware", nic, unix.ENOSPC, ""},
		{"no memory", nic, unix.ENOMEM, ""},
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
