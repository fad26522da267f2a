// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/peer"
)

// What a device receives is told by VLAN, so that one group on two VLANs is two endpoints.
func TestReceivesByVLAN(t *testing.T) {
	a, b := netip.MustParseAddrPort("239.1.2.3:7148"), netip.MustParseAddrPort("239.1.2.4:7148")
	d := &planDevice{facts: &netif.Interface{Name: "eth1", Index: 3}}
	endpoints := []planDeviceEndpoint{{a, 0, bpf.VLAN{Outer: 7}}, {a, 1, bpf.VLAN{}}, {b, 0, bpf.VLAN{Outer: 7}}, {b, 1, bpf.VLAN{Outer: 7, Inner: 8}}}
	got := d.receives(endpoints, []int{0, 2})
	want := []peer.Receives{{VLAN: "7", Endpoints: []netip.AddrPort{a, b}}, {VLAN: "", Endpoints: []netip.AddrPort{a}}, {VLAN: "7.8", Endpoints: []netip.AddrPort{b}}}
	if !slices.EqualFunc(got, want, func(x, y peer.Receives) bool {
		return x.VLAN == y.VLAN && slices.Equal(x.Endpoints, y.Endpoints) && x.Ifindex == 3 && x.Interface == "eth1" && slices.Equal(x.Queues, []int{0, 2})
	}) {
		t.Errorf("%+v, want %+v", got, want)
	}
	d.allVLANs = true
	if got := d.receives(endpoints[1:2], nil); len(got) != 1 || got[0].VLAN != peer.AnyVLAN {
		t.Errorf("all VLANs: %+v", got)
	}
}

// The error names the process, and the choices fit the case.
func TestOccupiedError(t *testing.T) {
	cause := errors.New("a cause")
	for _, tt := range []struct {
		err    OccupiedError
		choice string
	}{
		{OccupiedError{Device: "eth1", Queues: []int{2, 0, 1, 5}, Free: []int{3, 4, 7}, Owner: Process{77, "speadx"}, Err: cause}, "--queues 3-4,7"},
		{OccupiedError{Device: "eth1", Queues: []int{0}, Owner: Process{77, "speadx"}}, "fewer queues"},
		{OccupiedError{Endpoint: netip.MustParseAddrPort("239.1.2.3:7148"), Owner: Process{77, "speadx"}}, "one process"},
		{OccupiedError{Device: "eth1", Program: "XDP program 5", Owner: Process{77, "cilium-agent"}}, "kill 77"},
		{OccupiedError{Device: "eth1", Program: "XDP program 5", Owner: Process{77, "speadx"}, User: "1000"}, "as user 1000"},
		{OccupiedError{Device: "eth1", Program: "XDP program 5"}, "--mode udp"},
		{OccupiedError{Device: "eth1", Mode: "generic", Owner: Process{77, "speadx"}}, "--mode generic"},
		{OccupiedError{Endpoint: netip.MustParseAddrPort("10.0.0.2:7148"), Socket: true, Owner: Process{77, "spead2_recv"}}, "another port"},
	} {
		text := tt.err.Error()
		if !slices.ContainsFunc(tt.err.Choices(), func(c string) bool { return strings.Contains(c, tt.choice) && strings.Contains(text, c) }) {
			t.Errorf("%q does not offer %q", text, tt.choice)
		}
		if tt.err.Owner.PID != 0 && !strings.Contains(text, tt.err.Owner.Name+" (process 77)") || !strings.HasPrefix(text, tt.err.Device) {
			t.Errorf("%q does not name the process", text)
		}
	}
	if err := error(&OccupiedError{Err: cause}); !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

func TestRanges(t *testing.T) {
	for want, list := range map[string][]int{"": nil, "3": {3}, "0-1": {1, 0}, "0,2-4,9": {9, 4, 3, 2, 0}} {
		if got := ranges(list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
}

func TestOccupiedReason(t *testing.T) {
	ep := netip.MustParseAddrPort("239.1.2.3:7148")
	for want, e := range map[OccupiedReason]*OccupiedError{
		OccupiedEndpoint: {Endpoint: ep}, OccupiedSocket: {Endpoint: ep, Socket: true}, OccupiedQueues: {Queues: []int{1}},
		OccupiedProgram: {Program: "XDP program 5"}, OccupiedVersion: {Program: "XDP program 5", Err: bpf.ErrOtherVersion}, OccupiedMode: {Mode: "native"},
	} {
		if got := e.Reason(); got != want {
			t.Errorf("%+v: %s, want %s", e, got, want)
		}
	}
}
