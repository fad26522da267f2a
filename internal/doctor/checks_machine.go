// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/sizing"
	"github.com/speadx/speadx/xsk"
)

// version is the first two numbers of a kernel's version.
type version struct{ major, minor int }

func (v version) less(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// parseVersion reads the numbers that a release such as 6.12.48-amd64 begins with.
func parseVersion(release string) (v version, ok bool) {
	major, rest, found := strings.Cut(release, ".")
	if !found {
		return v, false
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	var err1, err2 error
	v.major, err1 = strconv.Atoi(major)
	v.minor, err2 = strconv.Atoi(rest[:digits])
	return v, err1 == nil && err2 == nil && v.major >= 0
}

// atLeast reports whether the kernel is known to be of that version or newer.
func (f *Facts) atLeast(major, minor int) bool {
	v, ok := parseVersion(f.Kernel.Value)
	return f.Kernel.Err == nil && ok && !v.less(version{major, minor})
}

func kernelCheck(f *Facts) verdict {
	if f.Kernel.Err != nil {
		return unknown("the kernel's release", f.Kernel.Err)
	}
	v, parsed := parseVersion(f.Kernel.Value)
	const fix = "apt-get install linux-image-amd64"
	switch {
	case !parsed:
		return verdict{status: Unknown, read: fmt.Sprintf("Linux %q is no version", f.Kernel.Value)}
	case v.less(version{5, 11}):
		return fail(fix, "Linux %s: speadx needs 5.11", f.Kernel.Value)
	case v.less(version{6, 6}):
		return ok("Linux %s, in which a packet must fit one frame; 6.6 has no such limit", f.Kernel.Value)
	}
	return ok("Linux %s", f.Kernel.Value)
}

func socketCheck(f *Facts) verdict {
	switch {
	case f.Socket == nil:
		return ok("an AF_XDP socket opens")
	case errors.Is(f.Socket, unix.EAFNOSUPPORT):
		return fail("zgrep CONFIG_XDP_SOCKETS /proc/config.gz /boot/config-$(uname -r)", "the kernel has no AF_XDP sockets: it was built without CONFIG_XDP_SOCKETS")
	case f.UserNamespace.Value && errors.Is(f.Socket, os.ErrPermission):
		return fail(hostUsers, "an AF_XDP socket is refused: %v (the capabilities of this user namespace do not count in this network namespace)", f.Socket)
	case f.lacks(unix.CAP_NET_RAW):
		return fail(f.setcap(), "an AF_XDP socket is refused: %v (CAP_NET_RAW is missing)", f.Socket)
	}
	return fail(unconfined, "an AF_XDP socket is refused: %v (a security policy, since CAP_NET_RAW is there)", f.Socket)
}

// unconfined is how a container has no seccomp filter.
const unconfined = "podman run --security-opt seccomp=unconfined …"

// hostUsers is how a container has no user namespace of its own.
const hostUsers = "podman run --userns=host …"

type capability struct {
	name   string
	bit    uint
	needed bool
	why    string
}

var capabilities = []capability{
	{"CAP_NET_RAW", unix.CAP_NET_RAW, true, "to open AF_XDP sockets"},
	{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, true, "to attach the program"},
	{"CAP_BPF", unix.CAP_BPF, true, "to load the program"},
	{"CAP_IPC_LOCK", unix.CAP_IPC_LOCK, false, "to lock memory beyond RLIMIT_MEMLOCK"},
	{"CAP_SYS_NICE", unix.CAP_SYS_NICE, false, "so that receiving threads are scheduled first"},
}

// lacks reports whether a capability is known to be missing.
func (f *Facts) lacks(bit uint) bool {
	c := f.Capabilities
	if c.Err != nil || c.Value&(1<<bit) != 0 {
		return false
	}
	return bit != unix.CAP_BPF || c.Value&(1<<unix.CAP_SYS_ADMIN) == 0 // which contains it
}

// lacksHere is lacks for what the kernel allows in the first user namespace only.
func (f *Facts) lacksHere(bit uint) bool { return f.UserNamespace.Value || f.lacks(bit) }

func (f *Facts) setcap() string {
	return "sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep " + quote(f.Program)
}

// quote makes one word of the shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func capabilityCheck(f *Facts) verdict {
	if f.Capabilities.Err != nil {
		return unknown("capabilities", f.Capabilities.Err)
	}
	var missing []string
	needed := false
	for _, c := range capabilities {
		if f.lacks(c.bit) {
			missing = append(missing, fmt.Sprintf("%s (%s)", c.name, c.why))
			needed = needed || c.needed
		}
	}
	switch {
	case len(missing) == 0:
		return ok("all that reception can use are effective")
	case needed:
		return fail(f.setcap(), "missing: %s", strings.Join(missing, ", "))
	}
	return warn(f.setcap(), "missing: %s", strings.Join(missing, ", ")).costs("memory is locked up to RLIMIT_MEMLOCK only, and receiving threads wait for their turn among all others")
}

func seccompCheck(f *Facts) verdict {
	if f.Seccomp.Err != nil {
		return unknown("the seccomp mode", f.Seccomp.Err)
	}
	mode := "no seccomp filter"
	if f.Seccomp.Value != 0 {
		mode = "a seccomp filter is active"
	}
	lacking := f.Capabilities.Err != nil || f.lacks(unix.CAP_BPF) || f.lacks(unix.CAP_NET_ADMIN) || f.UserNamespace.Value
	switch {
	case f.BPF == nil:
		return ok("%s, and an XDP program loads", mode)
	case lacking:
		return unknown("whether a policy forbids XDP programs", fmt.Errorf("the capabilities to load one are missing (%s)", mode))
	case errors.Is(f.BPF, os.ErrPermission):
		return fail(unconfined, "%s, and an XDP program is refused although the capabilities are there: %v", mode, f.BPF)
	}
	return fail("dmesg | tail", "%s, and an XDP program does not load: %v", mode, f.BPF)
}

func userNamespaceCheck(f *Facts) verdict {
	switch {
	case f.UserNamespace.Err != nil:
		return unknown("the user namespace", f.UserNamespace.Err)
	case f.UserNamespace.Value:
		return fail(hostUsers, "the process is in a user namespace of its own")
	}
	return ok("the first one, in which capabilities count")
}

// frameBytes is the size of a packet buffer.
const frameBytes = 4096

// umem is how much memory the packet buffers of all queues take by default.
func (f *Facts) umem() int {
	sum := 0
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Bottom {
			sum += d.RxQueues * xsk.FramesFor(d.RxRing, d.RxQueues) * frameBytes
		}
	}
	if sum == 0 {
		sum = xsk.DefaultFrames * frameBytes
	}
	return sum
}

// heapSize is the largest heap that was seen, or what recv takes for it.
func (f *Facts) heapSize() int {
	size := 0
	for i := range f.Traffic {
		size = max(size, int(min(f.Traffic[i].HeapSize, 1<<40)))
	}
	if size == 0 {
		size = speadx.DefaultHeapSize
	}
	return size
}

// pool is about how much memory the slots for one stream take by default: the terms of
// the sum are in docs/architecture.md. A stream that several queues feed may get more.
func (f *Facts) pool() int {
	threads := 0
	for i := range f.Devices {
		if f.Devices[i].Bottom {
			threads += f.Devices[i].RxQueues
		}
	}
	const beside = 8192 // for descriptors
	slots := speadx.DefaultConcurrentHeaps + speadx.DefaultRingHeaps + speadx.DefaultConsumerHeaps + max(threads, 1)
	streams := max(len(f.Traffic), 1)
	slots += sizing.RoomForSenders(int64(f.heapSize()), streams, 1)
	return streams * slots * (f.heapSize() + beside + speadx.DefaultPoolMin)
}

func memlockCheck(f *Facts) verdict {
	if f.Memlock.Err != nil {
		return unknown("RLIMIT_MEMLOCK", f.Memlock.Err)
	}
	need := uint64(f.umem())
	limit := "unlimited"
	if f.Memlock.Value < 1<<62 {
		limit = pages.Human(int(f.Memlock.Value))
	}
	switch {
	case f.Capabilities.Err != nil && f.Memlock.Value < need:
		return unknown("CAP_IPC_LOCK", f.Capabilities.Err)
	case f.Capabilities.Err == nil && !f.lacksHere(unix.CAP_IPC_LOCK):
		return ok("%s, which does not bind: CAP_IPC_LOCK is there", limit)
	case f.Memlock.Value < need && f.UserNamespace.Value:
		return fail(hostUsers, "%s, the packet buffers take %v, and CAP_IPC_LOCK of this user namespace does not count", limit, pages.Human(int(need)))
	case f.Memlock.Value < need:
		return fail("sudo prlimit --memlock=unlimited --pid $$", "%s, the packet buffers take %v and CAP_IPC_LOCK is missing", limit, pages.Human(int(need)))
	}
	return ok("%s, the packet buffers take %v", limit, pages.Human(int(need)))
}

// pageBytes are the huge pages that the pool and the packet buffers can lie on.
const page2M, page1G = 2 << 20, 1 << 30

func hugepageCheck(f *Facts) verdict {
	if f.Huge.Err != nil {
		return unknown("huge pages", f.Huge.Err)
	}
	node := f.node()
	need := f.umem() + f.pool()
	var free, total, free2M, total2M int
	file := "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	here := func(h HugePages) bool { return h.Node == node }
	if !slices.ContainsFunc(f.Huge.Value, here) {
		here = func(h HugePages) bool { return h.Node == -1 }
	}
	for _, h := range f.Huge.Value {
		if !here(h) || h.Bytes != page2M && h.Bytes != page1G {
			continue
		}
		free += h.Free * h.Bytes
		total += h.Total * h.Bytes
		if h.Bytes == page2M {
			free2M, total2M, file = h.Free, h.Total, h.File
		}
	}
	have := fmt.Sprintf("%v of %v on huge pages are free", pages.Human(free), pages.Human(total))
	if total == 0 {
		have = "there are none"
	}
	if free >= need {
		return ok("%s, about %v are used", have, pages.Human(need))
	}
	thp := "transparent huge pages are off"
	switch {
	case f.THP.Err != nil:
		thp = "whether there are transparent huge pages is not known"
	case f.THP.Value != "never":
		thp = "transparent huge pages: " + f.THP.Value
	}
	// What huge pages are free otherwise is used too.
	more := (need - free + page2M - 1) / page2M
	fix := fmt.Sprintf("echo %d > %s", total2M+more, file)
	if free2M > total2M { // made on demand
		fix = fmt.Sprintf("echo %d > %s", free2M+more, file)
	}
	return warn(fix, "%s, about %v would be used (%s)", have, pages.Human(need), thp)
}

// node is the NUMA node of the first card that has one; -1: there is none.
func (f *Facts) node() int {
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Bottom && d.Node >= 0 {
			return d.Node
		}
	}
	return -1
}

func memoryLimitCheck(f *Facts) verdict {
	if f.Memory.Err != nil {
		return unknown("limits of control groups", f.Memory.Err)
	}
	need := f.umem() + f.pool()
	if len(f.Memory.Value) == 0 && len(f.HugeTLB.Value) == 0 {
		return ok("no control group limits memory")
	}
	least := -1
	for _, l := range f.Memory.Value {
		if l.Room < need {
			fix := fmt.Sprintf("echo %d > %s", l.Bytes+need-l.Room, l.File)
			if path.Base(l.File) == "memory.stat" { // it only tells the limit of a group that is hidden
				fix = fmt.Sprintf("podman run --memory %d …", l.Bytes+need-l.Room)
			}
			return fail(fix, "%s: %v of %v are left, about %v are used", l.File, pages.Human(l.Room), pages.Human(l.Bytes), pages.Human(need))
		}
		if least < 0 || l.Room < least {
			least = l.Room
		}
	}
	for _, l := range f.HugeTLB.Value {
		if l.Room < need && f.hugepagesFree() > 0 {
			return warn(fmt.Sprintf("echo %d > %s", l.Bytes+need-l.Room, l.File),
				"%s: %v of %v are left, about %v are used", l.File, pages.Human(l.Room), pages.Human(l.Bytes), pages.Human(need)).
				costs("the pool comes to lie on smaller pages")
		}
	}
	if least < 0 {
		return ok("no control group limits memory that is not on huge pages")
	}
	return ok("%v are left below the limits of control groups, about %v are used", pages.Human(least), pages.Human(need))
}

func (f *Facts) hugepagesFree() (n int) {
	for _, h := range f.Huge.Value {
		if h.Node == -1 {
			n += h.Free
		}
	}
	return n
}

func quotaCheck(f *Facts) verdict {
	if f.CPUQuota.Err != nil {
		return unknown("quotas of control groups", f.CPUQuota.Err)
	}
	if len(f.CPUQuota.Value) > 0 {
		q := slices.MinFunc(f.CPUQuota.Value, func(a, b Quota) int { return cmp.Compare(a.Processors, b.Processors) })
		fix := "echo max > " + q.File
		if path.Base(q.File) == "cpu.cfs_quota_us" {
			fix = "echo -1 > " + q.File
		}
		return warn(fix, "%s: %.4g processors", q.File, q.Processors)
	}
	return ok("no control group has a quota of processor time")
}

func isolatedCheck(f *Facts) verdict {
	switch {
	case f.Isolated.Err != nil:
		return unknown("isolated processors", f.Isolated.Err)
	case f.CPUs.Err != nil:
		return unknown("the processors of this process", f.CPUs.Err)
	case len(f.Isolated.Value) == 0:
		return ok("none are isolated; this process may run on %s", cpuList(f.CPUs.Value))
	case slices.ContainsFunc(f.Isolated.Value, func(cpu int) bool { return slices.Contains(f.CPUs.Value, cpu) }):
		return ok("%s are isolated, and this process may run on %s", cpuList(f.Isolated.Value), cpuList(f.CPUs.Value))
	}
	return warn("speadx recv --cpus "+cpuList(f.Isolated.Value)+f.interfaces()+f.sources(), "%s are isolated, and this process runs on %s by itself", cpuList(f.Isolated.Value), cpuList(f.CPUs.Value))
}

func processorsCheck(f *Facts) verdict {
	if f.CPUs.Err != nil {
		return unknown("the processors of this process", f.CPUs.Err)
	}
	n := len(f.CPUs.Value)
	queues := 0
	var most *Device
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Bottom {
			queues += d.RxQueues
			if most == nil || d.RxQueues > most.RxQueues {
				most = d
			}
		}
	}
	if queues > n && most.RxQueues > 1 {
		return warn(fmt.Sprintf("ethtool -L %s combined %d", most.Name, max(1, min(n-1, most.RxQueues-1))), "%s for %d receive queues", count(n, "processor"), queues)
	}
	return ok("%s for %s", count(n, "processor"), count(queues, "receive queue"))
}

func governorCheck(f *Facts) verdict {
	if f.Governors.Err != nil {
		return unknown("the governor", f.Governors.Err)
	}
	var slow, all []string
	for name, cpus := range f.Governors.Value {
		text := fmt.Sprintf("%s on %s", name, cpuList(cpus))
		all = append(all, text)
		if name != "performance" && name != "schedutil" {
			slow = append(slow, text)
		}
	}
	slices.Sort(slow)
	slices.Sort(all)
	switch {
	case len(all) == 0:
		return ok("this kernel does not change the processors' frequency")
	case len(slow) > 0:
		return warn("cpupower frequency-set --governor performance", "%s", strings.Join(slow, ", "))
	}
	return ok("%s", strings.Join(all, ", "))
}

// wantedRmem is the buffer that recv asks for its UDP sockets.
const wantedRmem = 64 << 20

func rmemCheck(f *Facts) verdict {
	switch {
	case f.RmemMax.Err != nil:
		return unknown("net.core.rmem_max", f.RmemMax.Err)
	case f.RmemMax.Value >= wantedRmem:
		return ok("%v", pages.Human(f.RmemMax.Value))
	case f.Capabilities.Err == nil && !f.lacksHere(unix.CAP_NET_ADMIN):
		return ok("%v, which does not bind: CAP_NET_ADMIN is there", pages.Human(f.RmemMax.Value))
	}
	return warn(fmt.Sprintf("sysctl -w net.core.rmem_max=%d", wantedRmem), "%v, UDP sockets ask for %v", pages.Human(f.RmemMax.Value), pages.Human(wantedRmem))
}

// cpuList writes numbers as the kernel does: 0-3,6.
func cpuList(cpus []int) string {
	if len(cpus) == 0 {
		return "none"
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(cpus)))
	var parts []string
	for i := 0; i < len(sorted); {
		k := i
		for k+1 < len(sorted) && sorted[k+1] == sorted[k]+1 {
			k++
		}
		switch k {
		case i:
			parts = append(parts, strconv.Itoa(sorted[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", sorted[i], sorted[k]))
		}
		i = k + 1
	}
	return strings.Join(parts, ",")
}
