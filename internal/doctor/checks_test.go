// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/netif"
)

// wellSetUp are the facts of a machine with a fast card, on which nothing is found.
func wellSetUp() *Facts {
	f := &Facts{
		Kernel: fact("6.18.2-amd64", error(nil)), Program: "/usr/bin/speadx",
		Capabilities: Fact[uint64]{Value: 1<<41 - 1}, Memlock: Fact[uint64]{Value: 8 << 20}, RmemMax: Fact[int]{Value: 1 << 20},
		Huge: Fact[[]HugePages]{Value: []HugePages{
			{Bytes: page2M, Node: -1, Total: 4096, Free: 4096, File: "/sys/all"},
			{Bytes: page2M, Node: 0, Total: 0, Free: 0, File: "/sys/node0"},
			{Bytes: page2M, Node: 1, Total: 4096, Free: 4096, File: "/sys/node1"},
		}},
		THP:  Fact[string]{Value: "madvise"},
		CPUs: Fact[[]int]{Value: []int{0, 1, 2, 3, 4, 5, 6, 7}}, NodeCPUs: map[int][]int{0: {0, 1, 2, 3}, 1: {4, 5, 6, 7}},
		Governors: Fact[map[string][]int]{Value: map[string][]int{"performance": {0, 1, 2, 3, 4, 5, 6, 7}}},
	}
	d := Device{
		Named: true, Bottom: true, Multicast: true, Speed: 100000,
		Offloads: Fact[map[string]bool]{Value: map[string]bool{"rx-checksum": true, "rx-vlan-hw-parse": true}},
		Coalesce: Fact[Coalesce]{Value: Coalesce{RxUsecs: 50}},
		RSS:      Fact[RSS]{Value: RSS{Table: []uint32{0, 1, 2, 3}, Key: microsoftKey, Function: hashTop}},
		Hash4:    Fact[uint64]{Value: rxhIPSrc | rxhIPDst | rxhPorts}, Hash6: Fact[uint64]{Value: rxhIPSrc | rxhIPDst | rxhPorts},
		IRQs: Fact[[]IRQ]{Value: []IRQ{{40, "ice-eth1-TxRx-0", []int{4}}, {41, "ice-eth1-TxRx-1", []int{5}}, {42, "ice-eth1-TxRx-2", []int{6}}, {43, "ice-eth1-TxRx-3", []int{7}}}},
	}
	d.Interface = netif.Interface{Name: "eth1", Index: 3, Kind: "device", MTU: 9000, Up: true, Carrier: true, Driver: "ice", Bus: "0000:3b:00.0", Node: 1,
		RxQueues: 4, MaxQueues: 64, RxRing: 8160, RxRingMax: 8160,
		Features: &netif.Features{Basic: true, Redirect: true, ZeroCopy: true, RxSG: true, ZCMaxSegs: 8}}
	f.Devices = []Device{d}
	f.Traffic = []Traffic{{
		Source: "239.1.2.3:7148", Interface: "eth1", Endpoints: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148")},
		Duration: 3 * time.Second, Packets: 300, Bytes: 300 * 8232, MinPacket: 8232, MaxPacket: 8232, SPEAD: 300,
		Flavours: map[string]uint64{"64-48": 300}, HeapSize: 1 << 20, Heaps: 3, Queues: map[int]uint64{0: 300},
		Senders: []Sender{{Addr: netip.MustParseAddrPort("10.0.0.1:1000"), To: netip.MustParseAddrPort("239.1.2.3:7148"), Packets: 300, Queues: []int{0}}},
	}}
	return f
}

func TestWellSetUp(t *testing.T) {
	r := Diagnose(wellSetUp())
	if list := r.Codes(Warn, Fail, Unknown); len(list) > 0 {
		t.Errorf("found %v: %+v", list, r.Findings)
	}
	if want := "speadx recv -i eth1 -H 1048576 239.1.2.3:7148"; r.Command != want {
		t.Errorf("command %q, want %q", r.Command, want)
	}
	if n := len(r.Findings); r.Counts != (Counts{OK: n}) || n < 30 {
		t.Errorf("%d findings, counts %+v", n, r.Counts)
	}
}

var errSecret = errors.New("a reason")

// Each check, one change of a machine that is well set up at a time: what it finds, and
// nothing else finds anything.
func TestChecks(t *testing.T) {
	dev := func(change func(d *Device)) func(*Facts) { return func(f *Facts) { change(&f.Devices[0]) } }
	traffic := func(change func(t *Traffic)) func(*Facts) { return func(f *Facts) { change(&f.Traffic[0]) } }
	without := func(bits ...uint) func(*Facts) {
		return func(f *Facts) {
			for _, b := range bits {
				f.Capabilities.Value &^= 1 << b
			}
		}
	}
	all := func(changes ...func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			for _, c := range changes {
				c(f)
			}
		}
	}
	bind := func(queues ...int) func(*Facts) {
		return dev(func(d *Device) {
			for _, q := range queues {
				d.Queues.Value = append(d.Queues.Value, BoundQueue{Queue: q, Owners: []Owner{{PID: 77, Name: "dpdk"}}})
			}
		})
	}
	ours := dev(func(d *Device) {
		d.Program = &Program{ID: 5, Name: Fact[string]{Value: "steer_frags"}, Mode: "native", Owners: []Owner{{PID: 78, Name: "speadx"}}}
		d.Groups.Value = []netip.Addr{netip.MustParseAddr("239.1.2.3")}
	})
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		code   string
		status Status
		fix    string
		also   []string // codes that find something too
	}{
		{"old kernel", func(f *Facts) { f.Kernel.Value = "5.10.0" }, "kernel", Fail, "apt-get install linux-image-amd64", []string{"mtu_needs_frags"}},
		{"kernel without frags", func(f *Facts) { f.Kernel.Value = "6.1.0-9-amd64" }, "mtu_needs_frags", Warn, "ip link set dev eth1 mtu 3814", nil},
		{"kernel without frags, small MTU", func(f *Facts) { f.Kernel.Value = "6.1.0-9-amd64"; f.Devices[0].MTU = 1500 }, "kernel", OK, "", nil},
		{"driver older than a zero-copy with a fault", func(f *Facts) { f.Kernel.Value = "6.12.0"; f.Devices[0].Driver = "igb" }, "driver", OK, "", nil},
		{"kernel is no version", func(f *Facts) { f.Kernel.Value = "odd" }, "kernel", Unknown, "", []string{"mtu_needs_frags"}},
		{"kernel unseen", func(f *Facts) { f.Kernel.Err = errSecret }, "kernel", Unknown, "", []string{"mtu_needs_frags"}},
		{"no AF_XDP", func(f *Facts) { f.Socket = unix.EAFNOSUPPORT }, "xdp_socket", Fail, "zgrep CONFIG_XDP_SOCKETS /proc/config.gz /boot/config-$(uname -r)", nil},
		{"AF_XDP refused by a policy", func(f *Facts) { f.Socket = unix.EPERM }, "xdp_socket", Fail, unconfined, nil},
		{"no CAP_NET_RAW", all(without(unix.CAP_NET_RAW), func(f *Facts) { f.Socket = unix.EPERM }), "xdp_socket", Fail,
			"sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep /usr/bin/speadx", []string{"capabilities"}},
		{"no CAP_BPF", without(unix.CAP_BPF, unix.CAP_SYS_ADMIN), "capabilities", Fail,
			"sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep /usr/bin/speadx", nil},
		{"CAP_SYS_ADMIN contains CAP_BPF", without(unix.CAP_BPF), "capabilities", OK, "", nil},
		{"no CAP_SYS_NICE", without(unix.CAP_SYS_NICE), "capabilities", Warn,
			"sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep /usr/bin/speadx", nil},
		{"odd path", all(without(unix.CAP_SYS_NICE), func(f *Facts) { f.Program = "/a b/it's" }), "capabilities", Warn,
			`sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep '/a b/it'\''s'`, nil},
		{"capabilities unseen", func(f *Facts) { f.Capabilities.Err = errSecret }, "capabilities", Unknown, "", []string{"memlock", "rmem_max"}},
		{"seccomp", func(f *Facts) { f.Seccomp.Value, f.BPF = 2, unix.EPERM }, "seccomp", Fail, unconfined, nil},
		{"harmless seccomp", func(f *Facts) { f.Seccomp.Value = 2 }, "seccomp", OK, "", nil},
		{"BPF refused without capabilities", all(without(unix.CAP_NET_ADMIN), func(f *Facts) { f.BPF = unix.EPERM; f.RmemMax.Value = wantedRmem }), "seccomp", Unknown, "", []string{"capabilities"}},
		{"user namespace", func(f *Facts) { f.UserNamespace.Value = true }, "user_namespace", Fail, "podman run --userns=host …", []string{"memlock", "rmem_max"}},
		{"socket in a user namespace", func(f *Facts) { f.UserNamespace.Value, f.Socket = true, unix.EPERM }, "xdp_socket", Fail, "podman run --userns=host …", []string{"memlock", "rmem_max", "user_namespace"}},
		{"small memlock", without(unix.CAP_IPC_LOCK), "memlock", Fail, "sudo prlimit --memlock=unlimited --pid $$", []string{"capabilities"}},
		{"unlimited memlock", all(without(unix.CAP_IPC_LOCK), func(f *Facts) { f.Memlock.Value = 1<<64 - 1 }), "memlock", OK, "", []string{"capabilities"}},
		{"no huge pages", func(f *Facts) { f.Huge.Value = nil }, "hugepages", Warn, "echo 143 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", nil},
		{"huge pages on the far node", func(f *Facts) { f.Devices[0].Node = 0; f.Devices[0].IRQs.Value = nil }, "hugepages", Warn, "echo 143 > /sys/node0", nil},
		{"some huge pages", func(f *Facts) { f.Huge.Value[2].Total, f.Huge.Value[2].Free = 100, 63 }, "hugepages", Warn, "echo 180 > /sys/node1", nil},
		{"pages of 1 GiB", func(f *Facts) { f.Huge.Value = []HugePages{{Bytes: page1G, Node: 1, Total: 1, Free: 1}} }, "hugepages", OK, "", nil},
		{"memory limit", func(f *Facts) { f.Memory.Value = []Limit{{"/cg/memory.max", 1 << 30, 1 << 20}} }, "memory_limit", Fail, "echo 1371176960 > /cg/memory.max", nil},
		{"wide memory limit", func(f *Facts) { f.Memory.Value = []Limit{{"/cg/memory.max", 1 << 40, 1 << 39}} }, "memory_limit", OK, "", nil},
		{"limit of huge pages", func(f *Facts) { f.HugeTLB.Value = []Limit{{"/cg/hugetlb.2MB.max", 0, 0}} }, "memory_limit", Warn, "echo 298483712 > /cg/hugetlb.2MB.max", nil},
		{"quota", func(f *Facts) { f.CPUQuota.Value = []Quota{{"/cg/cpu.max", 1.5}} }, "cpu_quota", Warn, "echo max > /cg/cpu.max", nil},
		{"quota of version 1", func(f *Facts) { f.CPUQuota.Value = []Quota{{"/cg/cpu.cfs_quota_us", 1.5}} }, "cpu_quota", Warn, "echo -1 > /cg/cpu.cfs_quota_us", nil},
		{"isolated", func(f *Facts) { f.Isolated.Value = []int{8, 9, 10} }, "isolated_cpus", Warn, "speadx recv --cpus 8-10 -i eth1 239.1.2.3:7148", nil},
		{"isolated and used", func(f *Facts) { f.Isolated.Value = []int{7, 8} }, "isolated_cpus", OK, "", nil},
		{"few processors", func(f *Facts) { f.CPUs.Value = []int{4, 5} }, "processors", Warn, "ethtool -L eth1 combined 1", nil},
		{"processors unseen", func(f *Facts) { f.CPUs.Err = errSecret }, "processors", Unknown, "", []string{"isolated_cpus", "numa"}},
		{"governor", func(f *Facts) { f.Governors.Value = map[string][]int{"powersave": {0, 1}} }, "governor", Warn, "cpupower frequency-set --governor performance", nil},
		{"down", dev(func(d *Device) { d.Up = false }), "interface_up", Fail, "ip link set dev eth1 up", nil},
		{"no carrier", dev(func(d *Device) { d.Carrier = false }), "interface_up", Fail, "ethtool eth1", nil},
		{"bridge", dev(func(d *Device) { d.Master, d.MasterKind = "br0", "bridge" }), "bridge_port", Warn, "ip link set dev eth1 nomaster", nil},
		{"bond", dev(func(d *Device) { d.Master, d.MasterKind = "bond0", "bond" }), "bridge_port", OK, "", nil},
		{"driver older than its zero-copy", func(f *Facts) { f.Kernel.Value = "6.12.0"; f.Devices[0].Driver = "idpf" }, "driver", Warn, "apt-get install linux-image-amd64", nil},
		{"unknown driver", dev(func(d *Device) { d.Driver = "new" }), "driver", OK, "", nil},
		{"far processors", func(f *Facts) { f.CPUs.Value = []int{0, 1, 2, 3} }, "numa", Warn, "numactl --cpunodebind=1 speadx recv -i eth1 239.1.2.3:7148", nil},
		{"far interrupts", dev(func(d *Device) { d.IRQs.Value[2].CPUs = []int{0} }), "irq_placement", Warn, "echo 4-7 > /proc/irq/42/smp_affinity_list", nil},
		{"all interrupts at one processor", dev(func(d *Device) {
			for i := range d.IRQs.Value {
				d.IRQs.Value[i].CPUs = []int{5}
			}
		}), "irq_placement", Warn, "echo 4 > /proc/irq/43/smp_affinity_list", nil},
		{"irqbalance", func(f *Facts) { f.IRQBalance.Value = []int{99} }, "irqbalance", Warn, "systemctl disable --now irqbalance", nil},
		{"short ring", dev(func(d *Device) { d.RxRing = 512 }), "rx_ring", Warn, "ethtool -G eth1 rx 8160", []string{"coalescing"}},
		{"coalescing", dev(func(d *Device) { d.Coalesce.Value.RxUsecs = 1000 }), "coalescing", Warn, "ethtool -C eth1 adaptive-rx off rx-usecs 167", nil},
		{"adaptive coalescing", dev(func(d *Device) { d.Coalesce.Value = Coalesce{1000, true} }), "coalescing", OK, "", nil},
		{"pause frames", dev(func(d *Device) { d.Pause.Value.Tx = true }), "flow_control", Warn, "ethtool -A eth1 autoneg off rx off tx off", nil},
		{"no native XDP", dev(func(d *Device) { d.Features.Basic = false; d.Features.ZeroCopy = false }), "native_xdp", Warn, "speadx recv --mode generic -i eth1 239.1.2.3:7148", nil},
		{"no redirection", dev(func(d *Device) { d.Features.Redirect = false }), "native_xdp", Warn, "speadx recv --mode generic -i eth1 239.1.2.3:7148", nil},
		{"features unseen", dev(func(d *Device) { d.Features = nil }), "native_xdp", Unknown, "", []string{"mtu_needs_frags", "zero_copy"}},
		{"LRO", dev(func(d *Device) { d.Driver = "ixgbe"; d.Offloads.Value["rx-lro"] = true }), "lro", Warn, "ethtool -K eth1 lro off rx-gro-hw off", nil},
		{"LRO that does not matter", dev(func(d *Device) { d.Offloads.Value["rx-gro-hw"] = true }), "lro", OK, "", nil},
		{"no frags", dev(func(d *Device) { d.Driver = "ixgbe"; d.Features.RxSG = false }), "mtu_needs_frags", Warn, "ip link set dev eth1 mtu 3046", nil},
		{"no frags needed", dev(func(d *Device) { d.MTU = 1500; d.Features.RxSG = false; d.Features.ZCMaxSegs = 1 }), "mtu_needs_frags", OK, "", nil},
		{"zero-copy of one frame", dev(func(d *Device) { d.Features.ZCMaxSegs = 1 }), "zero_copy", Warn, "ip link set dev eth1 mtu 3814", nil},
		{"zero-copy with a fault", dev(func(d *Device) { d.Driver = "igb" }), "zero_copy", OK, "", nil},
		{"another program", dev(func(d *Device) {
			d.Program = &Program{ID: 5, Name: Fact[string]{Value: "filter"}, Mode: "native", Owners: []Owner{{PID: 77, Name: "suricata"}}}
		}), "other_program", Fail, "kill 77", nil},
		{"a program that nobody holds", dev(func(d *Device) { d.Program = &Program{ID: 5, Name: Fact[string]{Value: "pinned"}, Mode: "generic"} }), "other_program", Fail, "ip link set dev eth1 xdpgeneric off", nil},
		{"a program of an unknown name", dev(func(d *Device) {
			d.Program = &Program{ID: 5, Name: Fact[string]{Err: errSecret}, Mode: "native", Owners: []Owner{{PID: 77, Name: "suricata"}}}
		}), "other_program", Fail, "kill 77", nil},
		{"our program, of an unknown name", dev(func(d *Device) {
			d.Program = &Program{ID: 5, Name: Fact[string]{Err: errSecret}, Mode: "native", Owners: []Owner{{PID: 77, Name: "speadx"}}}
			d.Groups.Value = []netip.Addr{netip.MustParseAddr("239.1.2.3")}
		}), "other_program", OK, "", nil},
		{"a program unseen", func(f *Facts) {
			f.Hidden = 3
			d := &f.Devices[0]
			d.Program = &Program{ID: 5, Name: Fact[string]{Err: errSecret}, Mode: "native"}
			for q := range 4 {
				d.Queues.Value = append(d.Queues.Value, BoundQueue{Queue: q})
			}
		}, "other_program", Unknown, "", []string{"queues_occupied"}},
		{"the dispatcher", dev(func(d *Device) {
			d.Program = &Program{ID: 5, Name: Fact[string]{Value: "xdp_dispatcher"}, Mode: "native"}
		}), "other_program", Fail, "xdp-loader unload eth1 --all", nil},
		{"our program", ours, "other_program", OK, "", nil},
		{"GRO", dev(func(d *Device) { d.Offloads.Value["rx-gro-list"] = true }), "gro", Warn, "ethtool -K eth1 rx-gro-list off rx-udp-gro-forwarding off", nil},
		{"VLANs mixed", traffic(func(t *Traffic) { t.VLANs = map[int]uint64{3: 100, 4: 200} }), "vlan_stripping", Warn, "ethtool -K eth1 rxvlan off", nil},
		{"no checksums", dev(func(d *Device) { d.Offloads.Value["rx-checksum"] = false }), "checksum", Warn, "ethtool -K eth1 rx on", nil},
		{"offloads unseen", dev(func(d *Device) { d.Offloads = Fact[map[string]bool]{Err: errSecret} }), "lro", Unknown, "", nil},
		{"occupied queue", bind(2), "queues_occupied", Fail, "kill 77", []string{"queues_unserved", "flow_queue"}},
		{"all queues ours", all(ours, bind(0, 1, 2, 3)), "queues_occupied", OK, "", nil},
		{"unserved queues", all(ours, bind(0)), "queues_unserved", Fail, "ethtool -X eth1 equal 1", nil},
		{"unserved queues, with rules", all(ours, bind(0), dev(func(d *Device) { d.Rules.Value = []Rule{{Location: 1}} })), "queues_unserved", Warn, "ethtool -X eth1 equal 1", nil},
		{"queues without traffic unserved", all(ours, bind(0, 1), dev(func(d *Device) { d.RSS.Value.Table = []uint32{0, 1, 0, 1} })), "queues_unserved", OK, "", nil},
		{"bound queues unseen", dev(func(d *Device) { d.Queues.Err = errSecret }), "queues_occupied", Unknown, "", []string{"queues_unserved"}},
		{"hash without ports", all(dev(func(d *Device) { d.Hash4.Value = rxhIPSrc | rxhIPDst }), traffic(func(t *Traffic) {
			s := t.Senders[0]
			s.To = netip.MustParseAddrPort("239.1.2.3:7149")
			t.Senders = append(t.Senders, s)
		})), "rss", Warn, "ethtool -N eth1 rx-flow-hash udp4 sdfn", nil},
		{"hash without ports, of one flow", dev(func(d *Device) { d.Hash4.Value = rxhIPSrc | rxhIPDst }), "rss", OK, "", nil},
		{"RSS unseen", dev(func(d *Device) { d.RSS.Err = errSecret }), "rss", Unknown, "", nil},
		{"rp_filter", dev(func(d *Device) { d.Name = "eth1.42"; d.RPFilter.Value = 1 }), "rp_filter", Warn, "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.eth1/42.rp_filter=2", nil},
		{"loose rp_filter", dev(func(d *Device) { d.RPFilter.Value = 2 }), "rp_filter", OK, "", nil},
		{"rp_filter unseen", dev(func(d *Device) { d.RPFilter.Err = errSecret }), "rp_filter", Unknown, "", nil},
		{"rmem_max", without(unix.CAP_NET_ADMIN), "rmem_max", Warn, "sysctl -w net.core.rmem_max=67108864", []string{"capabilities"}},
		{"no multicast", dev(func(d *Device) { d.Multicast = false }), "memberships", Fail, "ip link set dev eth1 multicast on", nil},
		{"not joined by a receiver", all(ours, dev(func(d *Device) { d.Groups.Value = nil })), "memberships", Fail, "systemctl restart speadx, or start speadx recv -i eth1 again", nil},
		{"silence", traffic(func(t *Traffic) { *t = Traffic{Source: t.Source, Interface: t.Interface, Endpoints: t.Endpoints} }), "traffic", Fail, "tcpdump -ni eth1 'igmp or udp port 7148'", nil},
		{"silence of a group of IPv6", traffic(func(t *Traffic) {
			*t = Traffic{Source: "[ff05::7]:7148", Interface: t.Interface, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("[ff05::7]:7148")}}
		}), "traffic", Fail, "tcpdump -ni eth1 'icmp6 or udp port 7148'", nil},
		{"silence of an address", traffic(func(t *Traffic) {
			*t = Traffic{Source: "10.0.0.1:7148", Interface: t.Interface, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7148")}}
		}), "traffic", Fail, "tcpdump -ni eth1 'udp port 7148'", nil},
		{"silence behind a program", all(ours, traffic(func(t *Traffic) {
			*t = Traffic{Source: t.Source, Interface: t.Interface, Endpoints: t.Endpoints, Taken: true}
		})), "traffic", Unknown, "", nil},
		{"no packet socket", traffic(func(t *Traffic) {
			*t = Traffic{Source: t.Source, Interface: t.Interface, Endpoints: t.Endpoints, Err: errSecret}
		}), "traffic", Unknown, "", nil},
		{"not SPEAD", traffic(func(t *Traffic) { t.SPEAD, t.Foreign = 0, map[string]uint64{"bad_magic": 300} }), "spead", Fail, "tcpdump -ni eth1 -X udp port 7148", nil},
		{"some not SPEAD", traffic(func(t *Traffic) { t.SPEAD, t.Foreign = 200, map[string]uint64{"bad_magic": 100} }), "spead", Warn, "tcpdump -ni eth1 -X udp port 7148", nil},
		{"fragments", traffic(func(t *Traffic) { t.Fragments = 3 }), "fragments", Fail, "speadx recv --mode udp -i eth1 239.1.2.3:7148", nil},
		{"colliding senders", traffic(func(t *Traffic) { t.Colliding = true }), "senders", Warn, "speadx recv --by-source -i eth1 239.1.2.3:7148", nil},
		{"flow to an unserved queue", all(ours, bind(1, 2, 3)), "flow_queue", Fail, "speadx recv -i eth1 --queues all 239.1.2.3:7148", []string{"queues_unserved"}},
		{"flow of an unknown queue", all(traffic(func(t *Traffic) { t.Queues, t.NoQueue = nil, 300 }), dev(func(d *Device) { d.Hash4.Err = errUnsupported })), "flow_queue", Unknown, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := wellSetUp()
			tt.change(f)
			r := Diagnose(f)
			list := r.Find(tt.code)
			if len(list) != 1 {
				t.Fatalf("%s has %d findings", tt.code, len(list))
			}
			if got := list[0]; got.Status != tt.status || got.Fix != tt.fix {
				t.Errorf("%+v, want %s with fix %q", got, tt.status, tt.fix)
			}
			want := slices.Clone(tt.also)
			if tt.status != OK {
				want = append(want, tt.code)
			}
			slices.Sort(want)
			if got := r.Codes(Warn, Fail, Unknown); !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
			}
		})
	}
}

// TestFixedOffload: an offload that cannot be switched has no remedy.
func TestFixedOffload(t *testing.T) {
	f := wellSetUp()
	f.Devices[0].Offloads.Value["rx-checksum"] = false
	if r := Diagnose(f); one(t, r, "checksum").Status != Warn {
		t.Error("an offload that is off is not found")
	}
	f.Devices[0].Fixed = map[string]bool{"rx-checksum": true}
	if r := Diagnose(f); one(t, r, "checksum").Status != OK {
		t.Error("an offload that is fixed is found")
	}
}

// TestHiddenMemoryLimit: memory.stat tells a limit of a group above, and cannot be written.
func TestHiddenMemoryLimit(t *testing.T) {
	f := wellSetUp()
	f.Memory.Value = []Limit{{"/sys/fs/cgroup/memory/memory.stat", 1 << 20, 0}}
	want := fmt.Sprintf("podman run --memory %d …", 1<<20+f.umem()+f.pool())
	if got := one(t, Diagnose(f), "memory_limit"); got.Status != Fail || got.Fix != want {
		t.Errorf("%+v, want the fix %q", got, want)
	}
}

// TestCommandForFragments: the program leaves fragments to the kernel, and a socket gets them
// whole.
func TestCommandForFragments(t *testing.T) {
	f := wellSetUp()
	f.Devices[0].Name, f.Traffic[0].Interface, f.Traffic[0].Fragments = "e h", "e h", 8
	if got, want := recvCommand(f), "speadx recv -i 'e h' --mode udp -H 1048576 239.1.2.3:7148"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	f.Traffic[0].Packets = 0
	if got := one(t, Diagnose(f), "traffic"); got.Status != OK {
		t.Errorf("%+v", got)
	}
}

func TestBits(t *testing.T) {
	for _, tt := range []struct {
		rate float64
		want string
	}{{0, "0 b/s"}, {143.9, "143.9 b/s"}, {1500, "1.5 kb/s"}, {25.27e6, "25.27 Mb/s"}, {99.9e9, "99.9 Gb/s"}, {1.2e12, "1200 Gb/s"}} {
		if got := bits(tt.rate); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.rate, got, tt.want)
		}
	}
}

// Each reason for which something could not be read is in the report.
func TestUnknownSaysWhy(t *testing.T) {
	f := wellSetUp()
	f.Devices[0].RPFilter.Err = errSecret
	list := Diagnose(f).Find("rp_filter")
	if len(list) != 1 || !strings.Contains(list[0].Read, errSecret.Error()) || list[0].Cost != "" || list[0].Fix != "" {
		t.Errorf("%+v", list)
	}
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	code := regexp.MustCompile(`^[a-z][a-z0-9_]+$`)
	for _, c := range Checks {
		n := 0
		for _, set := range []bool{c.machine != nil, c.device != nil, c.traffic != nil} {
			if set {
				n++
			}
		}
		if seen[c.Code] || !code.MatchString(c.Code) || n != 1 || c.Area == "" || c.Look == "" || c.Cost == "" || c.Fix == "" || c.Warn+c.Fail == "" {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
}

func TestDocumentIsFresh(t *testing.T) {
	var want bytes.Buffer
	if err := WriteDocument(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/doctor.md is not what go generate ./internal/doctor writes")
	}
}

func TestWriteText(t *testing.T) {
	f := wellSetUp()
	f.Devices[0].Program = &Program{ID: 5, Name: Fact[string]{Value: "evil\x1b[2J"}, Mode: "native", Owners: []Owner{{PID: 7, Name: "a\nb"}}}
	r := Diagnose(f)
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\x07") || strings.Count(b.String(), "\n") < len(r.Findings) {
		t.Errorf("%q", b.String())
	}
	if lines := strings.Split(strings.TrimSpace(b.String()), "\n"); lines[len(lines)-1] != r.Counts.String() || lines[len(lines)-2] != "To receive: "+r.Command {
		t.Errorf("it ends with %q", lines[len(lines)-2:])
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back.Findings, r.Findings) || back.Sources[0].HeapSize != 1<<20 {
		t.Errorf("%v: %s", err, data)
	}
}
