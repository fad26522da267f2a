// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestLookupLoopback(t *testing.T) {
	i, err := Lookup("lo")
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != "lo" || i.Index != 1 || i.Kind != "device" || i.MTU == 0 || i.RxQueues != 1 || i.Node != -1 || len(i.Lower) != 0 {
		t.Errorf("%+v", i)
	}
}

func TestLookupUnknown(t *testing.T) {
	for _, name := range []string{"nosuchif0", "a-name-that-is-much-longer-than-an-interface-can-have", ""} {
		_, err := Lookup(name)
		if err == nil || !strings.Contains(err.Error(), "lo") {
			t.Errorf("Lookup(%q): %v, want an error that lists lo", name, err)
		}
		if _, err := Lowers(name); err == nil {
			t.Errorf("Lowers(%q): no error", name)
		}
	}
}

func TestLookupVeth(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 3, MTU: 9000})
	i, err := Lookup(n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != n.B.Name || i.Index != n.B.Index || !bytes.Equal(i.MAC, n.B.MAC) {
		t.Errorf("%+v is not %+v", i, n.B)
	}
	if i.Kind != "veth" || i.Driver != "veth" || i.MTU != 9000 || !i.Up || !i.Carrier || i.RxQueues != 3 || i.MaxQueues != 3 {
		t.Errorf("%+v", i)
	}
	if n := netdevRxQueues(i.Index); n != 0 && n != 3 {
		t.Errorf("the kernel counts %d receive queues, want 3", n)
	}
	if n := RxQueues(i.Name, i.Index, i.Driver); n != 3 || i.AllQueues != 3 {
		t.Errorf("%d receive queues of %d, want 3 of 3", n, i.AllQueues)
	}
	if o := ReadOffloads(i.Name); o != (Offloads{}) {
		t.Errorf("a veth has %+v", o)
	}
	if len(i.Lower) != 0 || i.Node != -1 {
		t.Errorf("a veth has lower devices %q, node %d", i.Lower, i.Node)
	}
	// Since 6.3 the kernel tells; a veth does everything but zero-copy.
	if f := i.Features; f != nil && (!f.Basic || !f.RxSG || f.ZeroCopy || f.Bits == 0) {
		t.Errorf("features %+v", f)
	}
	if lowers, err := Lowers(n.B.Name); err != nil || !slices.Equal(lowers, []string{n.B.Name}) {
		t.Errorf("Lowers = %q, %v", lowers, err)
	}

	link, err := netlink.LinkByName(n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkAddAltName(link, "a-name-of-many-letters"); err != nil {
		t.Fatal(err)
	}
	if alt, err := Lookup("a-name-of-many-letters"); err != nil || alt.Name != n.B.Name {
		t.Errorf("by alternative name: %+v, %v", alt, err)
	}
}

// Not every kernel has VLANs and bonds, so that these are made of what netlink
// would say of them.
func TestLowers(t *testing.T) {
	attrs := func(index int, name string, parent, master int) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Index, a.Name, a.ParentIndex, a.MasterIndex, a.NetNsID = index, name, parent, master, -1
		return a
	}
	device := func(index int, name string, master int) netlink.Link {
		return &netlink.Device{LinkAttrs: attrs(index, name, 0, master)}
	}
	vlan := func(index int, name string, parent int) netlink.Link {
		return &netlink.Vlan{LinkAttrs: attrs(index, name, parent, 0)}
	}
	bond := func(index int, name string) netlink.Link {
		return netlink.NewLinkBond(attrs(index, name, 0, 0))
	}
	elsewhere := attrs(20, "elsewhere", 2, 0)
	elsewhere.NetNsID = 0
	all := []netlink.Link{
		device(1, "lo", 0), device(2, "eth0", 0), device(5, "eth2", 6), device(3, "eth1", 6),
		bond(6, "bond0"), bond(7, "empty"),
		vlan(8, "eth0.7", 2), vlan(9, "eth0.7.8", 8), vlan(10, "bond0.42", 6),
		vlan(11, "circle", 12), vlan(12, "elcric", 11), vlan(13, "orphan", 99),
		&netlink.Veth{LinkAttrs: attrs(14, "veth0", 2, 0)},
		&netlink.Vlan{LinkAttrs: elsewhere},
	}
	for _, tt := range []struct {
		name  string
		want  []string
		under []string
	}{
		{"eth0", []string{"eth0"}, nil},
		{"eth1", []string{"eth1"}, nil},
		{"veth0", []string{"veth0"}, nil},
		{"eth0.7", []string{"eth0"}, []string{"eth0"}},
		{"eth0.7.8", []string{"eth0"}, []string{"eth0.7"}},
		{"bond0", []string{"eth1", "eth2"}, []string{"eth1", "eth2"}},
		{"bond0.42", []string{"eth1", "eth2"}, []string{"bond0"}},
		{"empty", nil, nil},
		{"circle", nil, []string{"elcric"}},
		{"orphan", nil, nil},
		{"elsewhere", nil, nil},
	} {
		link := all[slices.IndexFunc(all, func(l netlink.Link) bool { return l.Attrs().Name == tt.name })]
		got, err := bottom(link, all)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("at the bottom of %s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
		if got := sortedNames(under(link, all)); !slices.Equal(got, tt.under) {
			t.Errorf("under %s: %q, want %q", tt.name, got, tt.under)
		}
	}
}

func TestByAddressAndForRoute(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	link, err := netlink.LinkByName(n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, dst := range []string{"239.0.0.0/8", "ff15::/16"} {
		_, prefix, err := net.ParseCIDR(dst)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: prefix}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ addr, want string }{
		{"239.1.2.3", n.B.Name},
		{"ff15::1:2:3", n.B.Name},
		{n.B.Addr4.String(), n.B.Name},
		{n.B.Addr6.String(), n.B.Name},
		{"::ffff:" + n.B.Addr4.String(), n.B.Name},
		{n.A.Addr4.String(), n.B.Name}, // the way to a neighbour
		{"127.0.0.1", "lo"},
		{"127.9.9.9", "lo"},
		{"::1", "lo"},
		{"ff02::1%lo", "lo"},
		{"ff02::1%1", "lo"},
	} {
		if got, err := ForRoute(netip.MustParseAddr(tt.addr)); err != nil || got != tt.want {
			t.Errorf("ForRoute(%s) = %q, %v; want %q", tt.addr, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ addr, want string }{
		{n.B.Addr4.String(), n.B.Name}, {n.B.Addr6.String(), n.B.Name}, {"127.0.0.1", "lo"}, {"::1", "lo"},
	} {
		if got, err := ByAddress(netip.MustParseAddr(tt.addr)); err != nil || got != tt.want {
			t.Errorf("ByAddress(%s) = %q, %v; want %q", tt.addr, got, err, tt.want)
		}
	}
	for _, addr := range []string{"192.0.2.1", "239.1.2.3", "2001:db8::1", "fe80::1%nosuchif0"} {
		if got, err := ByAddress(netip.MustParseAddr(addr)); err == nil {
			t.Errorf("ByAddress(%s) = %q, want an error", addr, got)
		}
	}
}

// 64 groups need four sockets at the kernel's default of 20 groups a socket.
func TestJoin(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	group := func(k int) (v4, v6 netip.Addr) {
		return netip.AddrFrom4([4]byte{239, 1, 2, byte(k)}), netip.AddrFrom16([16]byte{0xff, 0x15, 15: byte(k + 1)})
	}
	v4, _ := group(0)
	m, err := Join(v4, n.B.Index)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 64 {
		v4, v6 := group(k)
		for _, g := range []netip.Addr{v4, v6, v4} {
			if err := m.Add(g, n.B.Index); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got4, got6 := memberships(t, "igmp", "0201EF"), memberships(t, "igmp6", "ff15"); got4 != 64 || got6 != 64 {
		t.Errorf("member of %d IPv4 and %d IPv6 groups, want 64 of each", got4, got6)
	}
	if len(m.v4) != 4 {
		t.Errorf("%d sockets for 64 groups, want 4", len(m.v4))
	}
	for _, fd := range append(m.v4, m.v6...) {
		if sa, err := unix.Getsockname(fd); err != nil || port(sa) != 0 {
			t.Errorf("a membership's socket is bound: %+v, %v", sa, err)
		}
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if got4, got6 := memberships(t, "igmp", "0201EF"), memberships(t, "igmp6", "ff15"); got4 != 0 || got6 != 0 {
		t.Errorf("member of %d IPv4 and %d IPv6 groups after Close", got4, got6)
	}
}

// Without a route nobody can say which interface is meant.
func TestNoRoute(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	link, err := netlink.LinkByName(n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	group := netip.MustParseAddr("239.1.2.3")
	if got, err := ForRoute(group); err == nil {
		t.Errorf("ForRoute(%v) = %q, want an error", group, got)
	}
	if m, err := Join(group, 0); err == nil {
		m.Close()
		t.Errorf("Join(%v, 0): no error", group)
	}
}

func TestJoinRefused(t *testing.T) {
	testnet.New(t, testnet.Options{})
	for _, tt := range []struct {
		group   string
		ifindex int
	}{{"10.0.0.1", 1}, {"239.1.2.3", 9999}, {"ff15::1", 9999}} {
		m, err := Join(netip.MustParseAddr(tt.group), tt.ifindex)
		if err == nil {
			m.Close()
			t.Errorf("Join(%s, %d): no error", tt.group, tt.ifindex)
		}
	}
}

func TestPCINode(t *testing.T) {
	dir := t.TempDir()
	for bus, text := range map[string]string{"0000:3b:00.0": "1\n", "0000:00:03.0": "-1\n", "0000:00:04.0": "x"} {
		if err := os.Mkdir(filepath.Join(dir, bus), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, bus, "numa_node"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for bus, want := range map[string]int{"0000:3b:00.0": 1, "0000:00:03.0": -1, "0000:00:04.0": -1, "N/A": -1, "": -1, "../0000:3b:00.0": -1, "..": -1} {
		if got := pciNode(dir, bus); got != want {
			t.Errorf("node of %q is %d, want %d", bus, got, want)
		}
	}
}

// memberships counts the groups in /proc/net/igmp or igmp6 that contain the
// hexadecimal digits.
func memberships(t *testing.T, file, digits string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), digits)
}

func port(sa unix.Sockaddr) int {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	return -1
}

// An interface receives on its channels, and virtio_net also on what it adds.
func TestReceivingQueues(t *testing.T) {
	for _, tt := range []struct {
		driver            string
		counted, channels int
		want              int
	}{
		{"mlx5_core", 32, 16, 16}, // Linux before 6.1: the upper half is for zero-copy alone
		{"mlx5_core", 16, 16, 16},
		{"virtio_net", 6, 4, 6}, // two were added for a program
		{"igb", 2, 4, 2},        // fewer are in use than ethtool says
		{"tun", 4, 0, 4},        // the driver tells ethtool nothing
		{"igb", 0, 4, 4},        // the kernel tells nothing
		{"", 0, 0, 0},
	} {
		if got := receiving(tt.driver, tt.counted, tt.channels); got != tt.want {
			t.Errorf("%+v: %d queues", tt, got)
		}
	}
}

func TestOffloadNames(t *testing.T) {
	for want, o := range map[string]Offloads{"": {}, "lro": {LRO: true}, "rx-gro-hw": {HWGRO: true}, "lro rx-gro-hw": {true, true}} {
		if got := strings.Join(o.Names(), " "); got != want {
			t.Errorf("%+v: %q", o, got)
		}
	}
}

// Kernels before 6.8 tell the number of queues by sysfs only, which shows the
// interfaces of the namespace that it was mounted in.
func TestSysfsRxQueues(t *testing.T) {
	dir := t.TempDir()
	for _, queue := range []string{"rx-0", "rx-1", "rx-2", "tx-0"} {
		if err := os.MkdirAll(filepath.Join(dir, "eth7", "queues", queue), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "eth7", "ifindex"), []byte("12\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		ifindex int
		want    int
	}{{"eth7", 12, 3}, {"eth7", 13, 0}, {"eth8", 12, 0}, {"../eth7", 12, 0}, {"", 12, 0}} {
		if got := sysfsRxQueues(dir, tt.name, tt.ifindex); got != tt.want {
			t.Errorf("%q with index %d: %d queues, want %d", tt.name, tt.ifindex, got, tt.want)
		}
	}
}

// A carrier that is lost and comes back ends the wait; one that does not come ends it at
// the limit.
func TestAwaitCarrier(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	l, err := NewLink(n.B.Index, n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	set := func(up bool) {
		t.Helper()
		err := n.A.Do(func() {
			peer, err := netlink.LinkByName(n.A.Name)
			if err == nil && up {
				err = netlink.LinkSetUp(peer)
			} else if err == nil {
				err = netlink.LinkSetDown(peer)
			}
			if err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if up, waited, err := l.AwaitCarrier(t.Context(), time.Minute); !up || waited >= time.Minute || err != nil {
		t.Errorf("with a carrier: %t after %v, %v", up, waited, err)
	}
	set(false)
	const limit = 30 * time.Millisecond
	if up, waited, err := l.AwaitCarrier(t.Context(), limit); up || waited < limit || err != nil {
		t.Errorf("without: %t after %v, %v", up, waited, err)
	}
	if up, waited, err := l.AwaitCarrier(t.Context(), -1); up || waited >= limit || err != nil {
		t.Errorf("without a wait: %t after %v, %v", up, waited, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.AwaitCarrier(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	done := make(chan bool)
	go func() {
		up, _, err := l.AwaitCarrier(t.Context(), time.Minute)
		done <- up && err == nil
	}()
	set(true)
	if !<-done {
		t.Error("the carrier that came back was not seen")
	}
}

// An interface that is dormant has a carrier, and the kernel never sends on it: that part of
// the wait ends.
func TestAwaitCarrierOfADormantInterface(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	l, err := NewLink(n.B.Index, n.B.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if up, _, err := l.AwaitCarrier(t.Context(), time.Minute); !up || err != nil {
		t.Fatalf("%t, %v", up, err)
	}
	const dormant = 5 // IF_OPER_DORMANT
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(n.B.Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_OPERSTATE, []byte{dormant}))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		t.Fatal(err)
	}
	if state, err := l.State(); err != nil || !state.Carrier || state.Running {
		t.Fatalf("dormant: %+v, %v", state, err)
	}
	l.notice = 50 * time.Millisecond
	if up, waited, err := l.AwaitCarrier(t.Context(), time.Minute); !up || waited < l.notice || waited > 30*time.Second || err != nil {
		t.Errorf("dormant: %t after %v, %v", up, waited, err)
	}
}
