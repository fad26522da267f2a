// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/pages"
)

// files are the files of a machine: /proc and /sys below the root. Its functions pass FS
// on, since files itself has no ReadFile. Without one [fs.ReadFile] reads files of
// /proc/sys a byte at a time, and those end after the first byte.
type files struct{ fs.FS }

// text reads a file, without the white space around it.
func (m files) text(name string) (string, error) {
	b, err := fs.ReadFile(m.FS, name)
	if err != nil {
		var e *fs.PathError
		if errors.As(err, &e) {
			e.Path = "/" + e.Path
		}
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// number reads a file that holds one whole number.
func (m files) number(name string) (int, error) {
	s, err := m.text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("/%s: %q is not a number", name, s)
	}
	return n, nil
}

// list reads a file that holds a list such as 0-3,6; an empty file is an empty list.
func (m files) list(name string) ([]int, error) {
	s, err := m.text(name)
	if err != nil || s == "" {
		return nil, err
	}
	list, err := netif.ParseCPUs(s)
	if err != nil {
		return nil, fmt.Errorf("/%s: %w", name, err)
	}
	return list, nil
}

// fields are the lines "Key: value" of a file.
func (m files) fields(name string) (map[string]string, error) {
	s, err := m.text(name)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(s) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out, nil
}

// readProcess reads what the machine says of this process and of itself.
func (m files) readProcess(f *Facts) {
	f.Kernel = fact(m.text("proc/sys/kernel/osrelease"))
	status, err := m.fields("proc/thread-self/status")
	f.Capabilities = statusField(status, err, "CapEff", func(s string) (uint64, error) { return strconv.ParseUint(s, 16, 64) })
	f.Seccomp = statusField(status, err, "Seccomp", strconv.Atoi)
	uids, err := m.text("proc/self/uid_map")
	f.UserNamespace = fact(strings.Join(strings.Fields(uids), " ") != "0 0 4294967295" && err == nil, err)
	f.RmemMax = fact(m.number("proc/sys/net/core/rmem_max"))
	f.Huge = fact(m.hugePages())
	f.THP = fact(m.thp())
	f.Memory, f.HugeTLB, f.CPUQuota = m.cgroups()
	f.Isolated = fact(m.list("sys/devices/system/cpu/isolated"))
	f.Governors = fact(m.governors())
	f.NodeCPUs = m.nodes()
}

// statusField is one line of /proc/PID/status.
func statusField[T any](status map[string]string, err error, key string, parse func(string) (T, error)) (f Fact[T]) {
	if err != nil {
		f.Err = err
		return f
	}
	text, found := status[key]
	if !found {
		f.Err = fmt.Errorf("/proc/self/status has no line %s", key)
		return f
	}
	return fact(parse(text))
}

// hugePages are those of the machine and of each node. A kernel without any is no error.
func (m files) hugePages() (list []HugePages, err error) {
	add := func(node int, pattern string) error {
		dirs, err := fs.Glob(m.FS, pattern)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			kB, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(path.Base(dir), "hugepages-"), "kB"))
			if err != nil {
				continue
			}
			h := HugePages{Bytes: kB << 10, Node: node, File: "/" + dir + "/nr_hugepages"}
			if h.Total, err = m.number(dir + "/nr_hugepages"); err != nil {
				return err
			}
			if h.Free, err = m.number(dir + "/free_hugepages"); err != nil {
				return err
			}
			if node < 0 {
				// The node's files do not have these. 0 is right where they are missing.
				promised, _ := m.number(dir + "/resv_hugepages")
				allowed, _ := m.number(dir + "/nr_overcommit_hugepages")
				made, _ := m.number(dir + "/surplus_hugepages")
				h.Free = max(0, h.Free-promised) + max(0, allowed-made)
			}
			list = append(list, h)
		}
		return nil
	}
	if err := add(-1, "sys/kernel/mm/hugepages/hugepages-*kB"); err != nil {
		return nil, err
	}
	nodes, err := fs.Glob(m.FS, "sys/devices/system/node/node[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range nodes {
		n, err := strconv.Atoi(strings.TrimPrefix(path.Base(dir), "node"))
		if err != nil {
			continue
		}
		if err := add(n, dir+"/hugepages/hugepages-*kB"); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// thp is the choice in brackets: always [madvise] never.
func (m files) thp() (string, error) {
	s, err := m.text("sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(s, "[")
	choice, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "", fmt.Errorf("/sys/kernel/mm/transparent_hugepage/enabled: %q has no choice in brackets", s)
	}
	return choice, nil
}

// governors are the processors by their governor. None is no error: a kernel without
// frequency scaling, as in most virtual machines.
func (m files) governors() (map[string][]int, error) {
	names, err := fs.Glob(m.FS, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
	if err != nil {
		return nil, err
	}
	out := map[string][]int{}
	for _, name := range names {
		cpu, err := strconv.Atoi(strings.TrimPrefix(path.Base(path.Dir(path.Dir(name))), "cpu"))
		if err != nil {
			continue
		}
		governor, err := m.text(name)
		if err != nil {
			return nil, err
		}
		out[governor] = append(out[governor], cpu)
	}
	return out, nil
}

// nodes are the processors of each NUMA node.
func (m files) nodes() map[int][]int {
	names, err := fs.Glob(m.FS, "sys/devices/system/node/node[0-9]*/cpulist")
	if err != nil {
		return nil
	}
	out := map[int][]int{}
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimPrefix(path.Base(path.Dir(name)), "node"))
		if err != nil {
			continue
		}
		if cpus, err := m.list(name); err == nil {
			out[n] = cpus
		}
	}
	return out
}

// cgroups are the limits of this process's control groups and those above it, of both
// versions. Of memory it is the one that leaves the least.
func (m files) cgroups() (memory, hugetlb Fact[[]Limit], cpu Fact[[]Quota]) {
	text, err := m.text("proc/self/cgroup")
	if err != nil {
		return Fact[[]Limit]{Err: err}, Fact[[]Limit]{Err: err}, Fact[[]Quota]{Err: err}
	}
	if file, limit, left, ok := pages.GroupLimit(m.absolute); ok {
		memory.Value = []Limit{{File: file, Bytes: limit, Room: left}}
	}
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(part[1], ",") {
			if controller != "" && controller != "hugetlb" && controller != "cpu" {
				continue
			}
			for _, dir := range pages.GroupDirs(m.absolute, part[2], controller) {
				dir = strings.TrimPrefix(dir, "/")
				switch controller {
				case "":
					hugetlb.Value = m.limits(hugetlb.Value, dir+"/hugetlb.*.max", ".max", ".current")
					cpu.Value = m.quota2(cpu.Value, dir+"/cpu.max")
				case "hugetlb":
					hugetlb.Value = m.limits(hugetlb.Value, dir+"/hugetlb.*.limit_in_bytes", ".limit_in_bytes", ".usage_in_bytes")
				case "cpu":
					cpu.Value = m.quota1(cpu.Value, dir)
				}
			}
		}
	}
	return memory, hugetlb, cpu
}

// absolute reads a file by its absolute name.
func (m files) absolute(name string) ([]byte, error) {
	return fs.ReadFile(m.FS, strings.TrimPrefix(name, "/"))
}

// noLimit is above every limit that is one: version 1 writes the largest multiple of a
// page for none.
const noLimit = 1 << 60

// limit adds the limit of a file, unless there is none.
func (m files) limit(list []Limit, file, used string) []Limit {
	n, err := m.number(file) // "max" is no number
	if err != nil || n >= noLimit {
		return list
	}
	have, _ := m.number(used)
	return append(list, Limit{File: "/" + file, Bytes: n, Room: min(n, max(0, n-have))})
}

// limits adds the limits of huge pages.
func (m files) limits(list []Limit, pattern, end, usedEnd string) []Limit {
	names, err := fs.Glob(m.FS, pattern)
	if err != nil {
		return list
	}
	for _, name := range names {
		if base := strings.TrimSuffix(name, end); !strings.HasSuffix(base, ".rsvd") {
			list = m.limit(list, name, base+usedEnd)
		}
	}
	return list
}

// quota2 reads "200000 100000" of version 2: microseconds of each period.
func (m files) quota2(list []Quota, file string) []Quota {
	text, err := m.text(file)
	if err != nil {
		return list
	}
	var quota, period float64
	if n, err := fmt.Sscanf(text, "%g %g", &quota, &period); n != 2 || err != nil || period <= 0 {
		return list // "max"
	}
	return append(list, Quota{"/" + file, quota / period})
}

func (m files) quota1(list []Quota, dir string) []Quota {
	quota, err1 := m.number(dir + "/cpu.cfs_quota_us")
	period, err2 := m.number(dir + "/cpu.cfs_period_us")
	if err1 != nil || err2 != nil || quota <= 0 || period <= 0 {
		return list
	}
	return append(list, Quota{"/" + dir + "/cpu.cfs_quota_us", float64(quota) / float64(period)})
}

// groups are the multicast groups of an interface, in the network namespace of the
// calling thread.
func (m files) groups(ifindex int) ([]netip.Addr, error) {
	v4, err := m.text("proc/thread-self/net/igmp")
	if err != nil {
		return nil, err
	}
	groups := parseIGMP(v4, ifindex)
	v6, err := m.text("proc/thread-self/net/igmp6")
	if errors.Is(err, fs.ErrNotExist) {
		return groups, nil // a kernel without IPv6
	}
	return append(groups, parseIGMP6(v6, ifindex)...), err
}

// parseIGMP reads lines such as "2\tsx-b : 1 V3", each followed by those of its groups,
// "\t\t\t\t010000E0 1 0:00000000 0", whose address is in the machine's byte order.
func parseIGMP(text string, ifindex int) (groups []netip.Addr) {
	here := false
	for line := range strings.Lines(text) {
		word := strings.Fields(line)
		if len(word) == 0 {
			continue
		}
		if !strings.HasPrefix(line, "\t") {
			n, err := strconv.Atoi(word[0])
			here = err == nil && n == ifindex
			continue
		}
		if n, err := strconv.ParseUint(word[0], 16, 32); err == nil && here {
			var b [4]byte
			binary.NativeEndian.PutUint32(b[:], uint32(n))
			groups = append(groups, netip.AddrFrom4(b))
		}
	}
	return groups
}

// parseIGMP6 reads lines such as "2 sx-b ff020000000000000000000000000001 1 0000000C 0".
func parseIGMP6(text string, ifindex int) (groups []netip.Addr) {
	for line := range strings.Lines(text) {
		word := strings.Fields(line)
		if len(word) < 3 || len(word[2]) != 32 {
			continue
		}
		if n, err := strconv.Atoi(word[0]); err != nil || n != ifindex {
			continue
		}
		if b, err := hex.DecodeString(word[2]); err == nil {
			groups = append(groups, netip.AddrFrom16([16]byte(b)))
		}
	}
	return groups
}

// irqs are the interrupts of the receive queues of a PCI device or of an interface. The
// driver chooses their names. Most contain the name of the interface or the address of the
// card, and what the queue is for.
func (m files) irqs(name, bus string) (list []IRQ, err error) {
	text, err := m.text("proc/interrupts")
	if err != nil {
		return nil, err
	}
	var of []string // numbers of the device's interrupts
	if bus != "" && bus == path.Base(bus) {
		if entries, err := fs.ReadDir(m.FS, "sys/bus/pci/devices/"+bus+"/msi_irqs"); err == nil {
			for _, e := range entries {
				of = append(of, e.Name())
			}
		}
	}
	for line := range strings.Lines(text) {
		number, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		word := strings.Fields(rest)
		if len(word) == 0 {
			continue
		}
		action := word[len(word)-1]
		if !slices.Contains(of, number) && !belongs(action, name) || !forReceive(action) {
			continue
		}
		irq := IRQ{Number: n, Name: action}
		for _, file := range []string{"effective_affinity_list", "smp_affinity_list"} {
			if cpus, err := m.list(fmt.Sprintf("proc/irq/%d/%s", n, file)); err == nil && len(cpus) > 0 {
				irq.CPUs = cpus
				break
			}
		}
		list = append(list, irq)
	}
	if len(list) > 1 {
		// The interrupt with the bare name is that of the card, unless it is the only one.
		list = slices.DeleteFunc(list, func(i IRQ) bool { return i.Name == name })
	}
	return list, nil
}

// belongs reports whether an interrupt's name begins with the interface's, or has it
// between separators.
func belongs(action, name string) bool {
	return slices.Contains(strings.FieldsFunc(action, func(r rune) bool { return r == '-' || r == '@' || r == ':' }), name)
}

// forReceive tells the interrupts of queues from those of the card itself.
func forReceive(action string) bool {
	lower := strings.ToLower(action)
	for _, other := range []string{"config", "async", "misc", "output", "-tx-", "control", "mgmt", "event", "ctrl", "cmd", "pages", "recovery"} {
		if strings.Contains(lower, other) {
			return false
		}
	}
	return strings.Trim(lower, "0123456789") != "" && strings.ContainsAny(lower, "0123456789")
}

// processes are the ids of the processes with that name.
func (m files) processes(name string) (pids []int, err error) {
	dirs, err := fs.ReadDir(m.FS, "proc")
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if comm, err := m.text("proc/" + d.Name() + "/comm"); err == nil && comm == name {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// fillRing is where a process maps the fill ring of an AF_XDP socket (XDP_UMEM_PGOFF_FILL_RING).
// No other socket has a mapping there.
const fillRing = "100000000"

// xskHolders are the processes that have the rings of an AF_XDP socket mapped.
func (m files) xskHolders() (list []Owner) {
	dirs, err := fs.ReadDir(m.FS, "proc")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		maps, err := m.text("proc/" + d.Name() + "/maps")
		if err != nil || !mapsFillRing(maps) {
			continue
		}
		o := Owner{PID: pid, Name: "unknown"}
		if comm, err := m.text("proc/" + d.Name() + "/comm"); err == nil {
			o.Name = comm
		}
		list = append(list, o)
	}
	return list
}

// mapsFillRing reports whether there is a line such as
// "7f0a-7f0b rw-s 100000000 00:08 52637 socket:[52637]".
func mapsFillRing(maps string) bool {
	for line := range strings.Lines(maps) {
		word := strings.Fields(line)
		if len(word) >= 6 && strings.TrimLeft(word[2], "0") == fillRing && strings.HasPrefix(word[5], "socket:") {
			return true
		}
	}
	return false
}
