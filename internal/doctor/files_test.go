// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/speadx/speadx/internal/holders"
)

func TestReadProcess(t *testing.T) {
	m := files{fstest.MapFS{
		"proc/sys/kernel/osrelease":                                        file("6.12.48-amd64"),
		"proc/thread-self/status":                                          file("Name:\tspeadx\nCapEff:\t000001fffeffffff\nSeccomp:\t2"),
		"proc/self/uid_map":                                                file("         0       1000          1"),
		"proc/sys/net/core/rmem_max":                                       file("212992"),
		"proc/self/cgroup":                                                 file("0::/system.slice/speadx.service"),
		"sys/devices/system/cpu/isolated":                                  file("2-3"),
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor":             file("powersave"),
		"sys/devices/system/cpu/cpu11/cpufreq/scaling_governor":            file("performance"),
		"sys/devices/system/node/node1/cpulist":                            file("4-5,7"),
		"sys/kernel/mm/transparent_hugepage/enabled":                       file("always [madvise] never"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":            file("10"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages":          file("8"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages":          file("3"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages": file("2"),
		"sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages":       file("1"),
	}}
	var f Facts
	m.readProcess(&f)
	want := Facts{
		Kernel: Fact[string]{Value: "6.12.48-amd64"}, Capabilities: Fact[uint64]{Value: 0x1fffeffffff}, Seccomp: Fact[int]{Value: 2},
		UserNamespace: Fact[bool]{Value: true}, RmemMax: Fact[int]{Value: 212992}, THP: Fact[string]{Value: "madvise"},
		Huge:     Fact[[]HugePages]{Value: []HugePages{{page2M, -1, 10, 6, "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"}}},
		Isolated: Fact[[]int]{Value: []int{2, 3}}, NodeCPUs: map[int][]int{1: {4, 5, 7}},
		Governors: Fact[map[string][]int]{Value: map[string][]int{"powersave": {0}, "performance": {11}}},
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("%+v\nwant %+v", f, want)
	}
}

// Of a machine that shows nothing each fact says why, and the checks that need it are
// unknown: none of them takes it for a good sign.
func TestReadNothing(t *testing.T) {
	var f Facts
	files{fstest.MapFS{}}.readProcess(&f)
	for name, err := range map[string]error{
		"kernel": f.Kernel.Err, "capabilities": f.Capabilities.Err, "seccomp": f.Seccomp.Err, "user namespace": f.UserNamespace.Err,
		"rmem_max": f.RmemMax.Err, "thp": f.THP.Err, "memory": f.Memory.Err, "hugetlb": f.HugeTLB.Err, "quota": f.CPUQuota.Err, "isolated": f.Isolated.Err,
	} {
		if err == nil {
			t.Errorf("%s was read", name)
		}
	}
	got := Diagnose(&f).Codes(Unknown)
	want := []string{"capabilities", "cpu_quota", "isolated_cpus", "kernel", "memlock", "memory_limit", "rmem_max", "seccomp", "user_namespace"}
	if !slices.Equal(got, want) {
		t.Errorf("unknown %v, want %v", got, want)
	}
}

func TestReadGarbage(t *testing.T) {
	m := files{fstest.MapFS{
		"proc/thread-self/status":                    file("CapEff:\tzz\nSeccomp:\t"),
		"proc/sys/net/core/rmem_max":                 file("many"),
		"sys/devices/system/cpu/isolated":            file("3-1"),
		"sys/kernel/mm/transparent_hugepage/enabled": file("always"),
		"proc/self/cgroup":                           file("::\nx\n1:memory"),
		"proc/interrupts":                            file(" : \n 5\n 6:\n"),
		"proc/thread-self/net/igmp":                  file("x\n\tzz\n9\n\t"),
		"proc/thread-self/net/igmp6":                 file("1 eth1 ff02\n1 eth1 zz020000000000000000000000000001\n"),
	}}
	var f Facts
	m.readProcess(&f)
	if f.Capabilities.Err == nil || f.Seccomp.Err == nil || f.RmemMax.Err == nil || f.Isolated.Err == nil || f.THP.Err == nil {
		t.Errorf("%+v", f)
	}
	if list, err := m.irqs("eth1", "../.."); err != nil || len(list) > 0 {
		t.Errorf("interrupts %v, %v", list, err)
	}
	if list, err := m.groups(1); err != nil || len(list) > 0 {
		t.Errorf("groups %v, %v", list, err)
	}
}

func TestCgroups(t *testing.T) {
	v2 := fstest.MapFS{
		"proc/self/cgroup":                     file("0::/a/b"),
		"proc/self/mountinfo":                  file("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 none rw"),
		"sys/fs/cgroup/a/memory.max":           file("1000000"),
		"sys/fs/cgroup/a/memory.current":       file("900000"),
		"sys/fs/cgroup/a/memory.stat":          file("anon 1\ninactive_file 200000"),
		"sys/fs/cgroup/a/b/memory.max":         file("max"),
		"sys/fs/cgroup/a/b/cpu.max":            file("150000 100000"),
		"sys/fs/cgroup/a/cpu.max":              file("max 100000"),
		"sys/fs/cgroup/a/hugetlb.2MB.max":      file("4194304"),
		"sys/fs/cgroup/a/hugetlb.2MB.current":  file("2097152"),
		"sys/fs/cgroup/a/hugetlb.2MB.rsvd.max": file("0"),
		"sys/fs/cgroup/a/hugetlb.1GB.max":      file("max"),
		"sys/fs/cgroup/other/memory.max":       file("1"),
		"sys/fs/cgroup/a/b/sibling/memory.max": file("1"),
	}
	v1 := fstest.MapFS{
		"proc/self/cgroup": file("9:hugetlb:/\n4:memory:/in/the/host\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/"),
		"proc/self/mountinfo": file("1 2 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"4 2 0:5 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n6 2 0:7 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb"),
		// Inside a container the group's own path is not there.
		"sys/fs/cgroup/memory/memory.limit_in_bytes":       file("1000000"),
		"sys/fs/cgroup/memory/memory.usage_in_bytes":       file("900000"),
		"sys/fs/cgroup/memory/memory.stat":                 file("inactive_file 5\ntotal_inactive_file 200000"),
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":       file("150000"),
		"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":      file("100000"),
		"sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes": file("4194304"),
		"sys/fs/cgroup/hugetlb/hugetlb.2MB.usage_in_bytes": file("2097152"),
		"sys/fs/cgroup/hugetlb/hugetlb.1GB.limit_in_bytes": file("9223372036854771712"),
		"sys/fs/cgroup/unified/cgroup.procs":               file(""),
	}
	// ip netns exec mounts another /sys, which has no control groups.
	hidden := fstest.MapFS{"proc/self/status": file("Name:\tx\nPPid:\t77")}
	for name, f := range v2 {
		switch {
		case strings.HasPrefix(name, "sys/"):
			hidden["proc/77/root/"+name] = f
		case name == "proc/self/mountinfo":
			hidden["proc/77/mountinfo"] = f
		default:
			hidden[name] = f
		}
	}
	for _, tt := range []struct {
		name                   string
		m                      fstest.MapFS
		memory, hugetlb, quota string
	}{
		{"hidden by another /sys", hidden, "/proc/77/root/sys/fs/cgroup/a/memory.max", "/proc/77/root/sys/fs/cgroup/a/hugetlb.2MB.max", "/proc/77/root/sys/fs/cgroup/a/b/cpu.max"},
		{"version 2", v2, "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/a/hugetlb.2MB.max", "/sys/fs/cgroup/a/b/cpu.max"},
		{"version 1", v1, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"},
	} {
		memory, hugetlb, quota := files{tt.m}.cgroups()
		if want := []Limit{{tt.memory, 1000000, 300000}}; !reflect.DeepEqual(memory.Value, want) || memory.Err != nil {
			t.Errorf("%s: memory %+v, want %+v", tt.name, memory, want)
		}
		if want := []Limit{{tt.hugetlb, 4194304, 2097152}}; !reflect.DeepEqual(hugetlb.Value, want) {
			t.Errorf("%s: huge pages %+v, want %+v", tt.name, hugetlb, want)
		}
		if want := []Quota{{tt.quota, 1.5}}; !reflect.DeepEqual(quota.Value, want) {
			t.Errorf("%s: quota %+v, want %+v", tt.name, quota, want)
		}
	}
}

func TestGroups(t *testing.T) {
	// As a machine of little-endian order writes them.
	igmp := "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"3\teth1      :     2      V3\n\t\t\t\t070809EF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
	igmp6 := "1    lo              ff020000000000000000000000000001     1 0000000C 0\n" +
		"3    eth1            ff150000000000000000000000000001     1 00000004 0\n"
	m := files{fstest.MapFS{"proc/thread-self/net/igmp": file(igmp), "proc/thread-self/net/igmp6": file(igmp6)}}
	got, err := m.groups(3)
	want := []netip.Addr{netip.MustParseAddr("239.9.8.7"), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("ff15::1")}
	if hostIsBigEndian {
		want[0], want[1] = netip.MustParseAddr("7.8.9.239"), netip.MustParseAddr("1.0.0.224")
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestIRQs(t *testing.T) {
	text := `           CPU0       CPU1
 24:          2          0  IO-APIC   5-edge      ACPI:Ged
 40:          1          0 PCI-MSIX-0000:3b:00.0   0-edge      ice-eth1-TxRx-0
 41:          1          0 PCI-MSIX-0000:3b:00.0   1-edge      ice-0000:3b:00.0:misc
 42:          1          0 PCI-MSIX-0000:3b:00.0   2-edge      virtio2-config
 43:          1          0 PCI-MSIX-0000:3b:00.0   3-edge      virtio2-input.0
 44:          1          0 PCI-MSIX-0000:3b:00.0   4-edge      virtio2-output.0
 45:          1          0 PCI-MSIX-0000:af:00.0   1-edge      mlx5_comp1@pci:0000:af:00.0
 39:          1          0 PCI-MSIX-0000:3b:00.0   9-edge      eth1
 38:          1          0 PCI-MSIX-0000:01:00.0   9-edge      eth3
 46:          1          0 PCI-MSIX-0000:af:00.0   1-edge      eth10-TxRx-0
NMI:          0          0   Non-maskable interrupts`
	m := files{fstest.MapFS{
		"proc/interrupts": file(text),
		"sys/bus/pci/devices/0000:3b:00.0/msi_irqs/41": file(""),
		"sys/bus/pci/devices/0000:3b:00.0/msi_irqs/42": file(""),
		"sys/bus/pci/devices/0000:3b:00.0/msi_irqs/43": file(""),
		"sys/bus/pci/devices/0000:3b:00.0/msi_irqs/44": file(""),
		"sys/bus/pci/devices/0000:af:00.0/msi_irqs/45": file(""),
		"proc/irq/40/smp_affinity_list":                file("0-1"),
		"proc/irq/40/effective_affinity_list":          file("1"),
		"proc/irq/43/smp_affinity_list":                file("0-1"),
	}}
	got, err := m.irqs("eth1", "0000:3b:00.0")
	want := []IRQ{{40, "ice-eth1-TxRx-0", []int{1}}, {43, "virtio2-input.0", []int{0, 1}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got, err := m.irqs("eth3", ""); err != nil || len(got) != 1 || got[0].Number != 38 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := m.irqs("eth2", "0000:af:00.0"); err != nil || len(got) != 1 || got[0].Number != 45 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHolders(t *testing.T) {
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	m := files{fstest.MapFS{
		"proc/7/comm": file("suricata"), "proc/7/fd/3": link("anon_inode:bpf-prog"), "proc/7/fdinfo/3": file("pos:\t0\nprog_type:\t6\nprog_id:\t41"),
		"proc/7/fd/4": link("anon_inode:bpf_link"), "proc/7/fdinfo/4": file("link_type:\txdp\nlink_id:\t2\nprog_id:\t41"), "proc/7/fd/5": link("socket:[500]"),
		"proc/7/maps": file("7f00-7f01 rw-s 00000000 00:08 500 socket:[500]\n7f02-7f03 rw-s 100000000 00:08 500 socket:[500]"),
		"proc/8/comm": file("tcpdump"), "proc/8/fd/3": link("socket:[501]"), "proc/8/fd/4": link("/dev/null"), "proc/8/fd/5": link("socket:[x]"),
		"proc/8/maps":  file("7f00-7f01 rw-s 00000000 00:08 501 socket:[501]\n7f00-7f01 rw-s 100000000 08:01 9 /data"),
		"proc/self/fd": file(""), "proc/uptime": file("1"),
	}}
	h, err := holders.Read(m.FS)
	if err != nil {
		t.Fatal(err)
	}
	want := holders.Holdings{
		Programs: map[uint32][]Owner{41: {{PID: 7, Name: "suricata"}}},
		Sockets:  map[uint32][]Owner{500: {{PID: 7, Name: "suricata"}}, 501: {{PID: 8, Name: "tcpdump"}}},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("%+v, want %+v", h, want)
	}
	if list := m.xskHolders(); !slices.Equal(list, []Owner{{PID: 7, Name: "suricata"}}) {
		t.Errorf("AF_XDP sockets of %v", list)
	}
	if pids, err := m.processes("tcpdump"); err != nil || !slices.Equal(pids, []int{8}) {
		t.Errorf("%v, %v", pids, err)
	}
}

func TestCPUList(t *testing.T) {
	for want, list := range map[string][]int{"none": nil, "3": {3}, "0-3,6,8-9": {9, 8, 6, 3, 2, 1, 0, 0}} {
		if got := cpuList(list); got != want {
			t.Errorf("%v is %q, want %q", list, got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	for release, want := range map[string]version{"6.12.48-amd64": {6, 12}, "6.6": {6, 6}, "5.11-rc1": {5, 11}, "10.0+": {10, 0}} {
		if got, ok := parseVersion(release); !ok || got != want {
			t.Errorf("%q is %v, %v", release, got, ok)
		}
	}
	for _, release := range []string{"", "6", "x.y", "6.", "-1.2"} {
		if v, ok := parseVersion(release); ok {
			t.Errorf("%q is %v", release, v)
		}
	}
}

var hostIsBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1
