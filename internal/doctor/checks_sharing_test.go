// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/peer"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/xsk"
)

func addrs(list ...string) (out []netip.AddrPort) {
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// The commands steer each endpoint to a queue of its receiver, and none is given where a rule
// does that.
func TestSharedQueues(t *testing.T) {
	full4, full6 := netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	none4, none6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	to4 := func(location, queue int, addr string, port uint16) Rule {
		return Rule{Location: location, Queue: queue, Src: none4, SrcMask: none4, Dst: netip.MustParseAddr(addr), DstMask: full4, DstPort: port, DstPortMask: 0xffff}
	}
	two := []Receiver{
		{Owner{PID: 7, Name: "speadx"}, []int{0, 1}, addrs("239.1.2.3:7148", "239.1.2.4:7148", "239.1.2.5:7148")},
		{Owner{PID: 8, Name: "speadx"}, []int{2}, addrs("[ff05::1]:7149", "[::]:7150")},
	}
	all := []string{
		"ethtool -N eth1 flow-type udp4 dst-ip 239.1.2.3 dst-port 7148 action 0",
		"ethtool -N eth1 flow-type udp4 dst-ip 239.1.2.4 dst-port 7148 action 1",
		"ethtool -N eth1 flow-type udp4 dst-ip 239.1.2.5 dst-port 7148 action 0",
		"ethtool -N eth1 flow-type udp6 dst-ip ff05::1 dst-port 7149 action 2",
		"ethtool -N eth1 flow-type udp4 dst-port 7150 action 2",
		"ethtool -N eth1 flow-type udp6 dst-port 7150 action 2",
	}
	rest := func(without ...int) (list []string) {
		for i, c := range all {
			if !slices.Contains(without, i) {
				list = append(list, c)
			}
		}
		return list
	}
	port4 := Rule{Queue: 2, Src: none4, SrcMask: none4, Dst: none4, DstMask: none4, DstPort: 7150, DstPortMask: 0xffff}
	port6 := Rule{Queue: 2, IPv6: true, Src: none6, SrcMask: none6, Dst: none6, DstMask: none6, DstPort: 7150, DstPortMask: 0xffff}
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  []string
	}{
		{"no rules", nil, all},
		{"to a queue of its receiver", []Rule{to4(1, 1, "239.1.2.3", 7148)}, rest(0)},
		{"to another one's queue", []Rule{to4(1, 2, "239.1.2.3", 7148)}, all},
		{"the lower location counts", []Rule{to4(5, 0, "239.1.2.3", 7148), to4(4, 2, "239.1.2.3", 7148)}, all},
		{"another port", []Rule{to4(1, 0, "239.1.2.3", 7149)}, all},
		{"dropped", []Rule{to4(1, -1, "239.1.2.3", 7148)}, all},
		{"one sender only", []Rule{{Queue: 0, Src: netip.MustParseAddr("10.0.0.1"), SrcMask: full4, Dst: netip.MustParseAddr("239.1.2.3"), DstMask: full4}}, all},
		{"a port of one family", []Rule{port4}, rest(4)},
		{"one address of an endpoint at any", []Rule{{Queue: 2, IPv6: true, Src: none6, SrcMask: none6, Dst: netip.MustParseAddr("ff05::9"), DstMask: full6, DstPort: 7150, DstPortMask: 0xffff}}, all},
		{"all", []Rule{
			to4(1, 0, "239.1.2.3", 7148), to4(2, 0, "239.1.2.4", 7148), to4(3, 0, "239.1.2.5", 7148), port4, port6,
			{Queue: 2, IPv6: true, Src: none6, SrcMask: none6, Dst: netip.MustParseAddr("ff05::1"), DstMask: full6, DstPort: 7149, DstPortMask: 0xffff},
		}, nil},
	} {
		f := wellSetUp()
		f.Devices[0].Receivers.Value, f.Devices[0].Rules.Value = two, tt.rules
		got := Diagnose(f).Find("shared_queues")
		want := Finding{Status: OK, Fix: strings.Join(tt.want, " && ")}
		if tt.want != nil {
			want.Status = Warn
		}
		if len(got) != 1 || got[0].Status != want.Status || got[0].Fix != want.Fix || !strings.Contains(got[0].Read, "process 8") {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
	f := wellSetUp()
	f.Devices[0].Receivers.Value = two[:1]
	if got := Diagnose(f).Find("shared_queues"); len(got) != 0 {
		t.Errorf("one receiver: %+v", got)
	}
	f.Devices[0].Receivers = Fact[[]Receiver]{Err: errors.New("a reason")}
	if got := Diagnose(f).Find("shared_queues"); len(got) != 1 || got[0].Status != Unknown {
		t.Errorf("not known: %+v", got)
	}
}

func TestReceiversOn(t *testing.T) {
	got := receiversOn(3, []peer.Info{
		{PID: 7, Program: "b", Receives: []peer.Receives{{Ifindex: 3, Queues: []int{2}, Endpoints: addrs("239.1.2.3:7148")}, {Ifindex: 4, Queues: []int{0}}}},
		{PID: 8, Program: "a", Receives: []peer.Receives{{Ifindex: 3, Queues: []int{0, 1}}, {Ifindex: 3, Sockets: true, Endpoints: addrs("239.1.2.3:7149")}}},
		{PID: 9, Program: "c", Refused: true},
	})
	if len(got) != 2 || got[0].PID != 8 || got[1].PID != 7 || !slices.Equal(got[1].Endpoints, addrs("239.1.2.3:7148")) {
		t.Errorf("%+v", got)
	}
}

// Two receivers share a wire.
func TestSharedWire(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	for i, source := range []string{"239.9.8.7:7148", "239.9.8.7:7149"} {
		r, err := speadx.Open(t.Context(), speadx.Config{
			Streams: []speadx.Stream{{Source: source}}, Interfaces: []string{n.B.Name},
			Mode: speadx.ModeNative, Queues: []int{i}, Frames: xsk.MinFrames, HeapSize: 1 << 16,
		})
		testnet.NeedPrivilege(t, err)
		defer r.Close()
	}
	f, err := Examine(t.Context(), []string{n.B.Name}, nil, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got := Diagnose(f).Find("shared_queues")
	want := "ethtool -N " + n.B.Name + " flow-type udp4 dst-ip 239.9.8.7 dst-port 7148 action 0 && ethtool -N " + n.B.Name + " flow-type udp4 dst-ip 239.9.8.7 dst-port 7149 action 1"
	if len(got) != 1 || got[0].Status != Warn || got[0].Fix != want {
		t.Errorf("%+v, want %s", got, want)
	}
}
