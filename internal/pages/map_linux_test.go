// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// host is a machine made up for a test. Its memory is real, its page pools,
// nodes and refusals are not.
type host struct {
	kernel
	files map[string]string // what /proc and /sys hold; other files do not exist
	fail  map[string]error  // call → the error it returns
	mu    sync.Mutex        // held for calls, which several threads make
	calls []string          // the system calls made, in order
	out   int               // mappings not unmapped
	huge  int               // bytes the kernel says lie on transparent huge pages; -1: all
	last  []byte            // the latest range made accessible
}

// newHost has 1 GiB free, four free 2 MiB pages and no 1 GiB page on its two
// nodes, and gives transparent huge pages to whoever advises them.
func newHost() *host {
	h := &host{kernel: machine, fail: map[string]error{}, huge: -1, files: map[string]string{
		"/proc/meminfo": "MemTotal:  9 kB\nMemAvailable:  1048576 kB\n",
		"/sys/kernel/mm/transparent_hugepage/enabled":        "always [madvise] never\n",
		"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": "2097152\n",
		"/sys/devices/system/node/node0/meminfo":             "Node 0 MemFree: 524288 kB\nNode 0 Active(file): 0 kB\n",
		"/sys/devices/system/node/node1/meminfo":             "Node 1 MemFree: 524288 kB\nNode 1 Active(file): 0 kB\n",
	}}
	h.setHuge("/sys/kernel/mm/hugepages", 1<<20, 0, 0)
	h.setHuge("/sys/kernel/mm/hugepages", 2<<10, 6, 4)
	h.setHuge("/sys/devices/system/node/node0/hugepages", 2<<10, 3, 3)
	h.setHuge("/sys/devices/system/node/node1/hugepages", 2<<10, 3, 1)
	h.readFile = func(name string) ([]byte, error) {
		if name == "/proc/self/smaps" {
			return h.smaps(), nil
		}
		if s, ok := h.files[name]; ok {
			return []byte(s), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	mapped := map[uintptr][]byte{}
	h.mmap = func(length, prot, flags int) ([]byte, error) {
		name := "mmap"
		switch {
		case flags&unix.MAP_HUGETLB == 0:
		case flags&^unix.MAP_HUGETLB == unix.MAP_HUGE_1GB:
			name = "mmap 1G"
		case flags&^unix.MAP_HUGETLB == unix.MAP_HUGE_2MB:
			name = "mmap 2M"
		default:
			return nil, unix.EINVAL
		}
		if err := h.called(name); err != nil {
			return nil, err
		}
		h.out++
		// Newer kernels align what is large enough by themselves; this one
		// never does.
		whole, err := machine.mmap(length+h.pageSize, prot, 0)
		if err != nil {
			return nil, err
		}
		b := whole[h.pageSize:]
		mapped[address(b)] = whole
		return b, nil
	}
	h.munmap = func(b []byte) error {
		h.out--
		return machine.munmap(mapped[address(b)])
	}
	h.mprotect = func(b []byte, prot int) error {
		h.last = b
		return errors.Join(h.called("mprotect"), machine.mprotect(b, prot))
	}
	h.madvise = func(b []byte, advice int) error {
		name, ok := map[int]string{
			unix.MADV_HUGEPAGE: "hugepage", unix.MADV_NOHUGEPAGE: "nohugepage",
			unix.MADV_POPULATE_WRITE: "populate", unix.MADV_COLLAPSE: "collapse",
		}[advice]
		if !ok {
			return unix.EINVAL
		}
		return h.called(name)
	}
	h.mlock = func([]byte) error { return h.called("mlock") }
	h.mbind = func(_ []byte, mode, node int) error {
		return h.called(fmt.Sprintf("mbind %d on %d", mode, node))
	}
	return h
}

const (
	bindTo1   = "mbind 2 on 1" // MPOL_BIND
	preferOn1 = "mbind 1 on 1" // MPOL_PREFERRED
)

func (h *host) called(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, name)
	return h.fail[name]
}

func (h *host) setHuge(dir string, kB, total, free int) {
	dir = fmt.Sprintf("%s/hugepages-%dkB/", dir, kB)
	h.files[dir+"nr_hugepages"] = fmt.Sprintln(total)
	h.files[dir+"free_hugepages"] = fmt.Sprintln(free)
}

// smaps lists the latest mapping between two neighbours full of huge pages
// that are none of ours.
func (h *host) smaps() []byte {
	first, end := address(h.last), address(h.last)+uintptr(len(h.last))
	huge := h.huge
	if huge < 0 {
		huge = len(h.last)
	}
	return fmt.Appendf(nil, `%x-%x rw-p 00000000 00:00 0
AnonHugePages:      2048 kB
%x-%x rw-p 00000000 00:00 0
Size:       9 kB
AnonHugePages:    %d kB
%x-%x rw-p 00000000 00:00 0 [stack]
AnonHugePages:      2048 kB
`, first-(2<<20), first, first, end, huge>>10, end, end+(2<<20))
}

// want is what a mapping should have become; the strings must each occur in a
// note, and there be no other notes.
type want struct {
	kind   Kind
	mapped int
	node   int
	notes  []string
	calls  []string
}

func TestLadder(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name string
		set  func(h *host)
		size int
		o    Options
		want want
		err  []string // or: what the error says
	}{
		{
			name: "2M is free, 1G would be wasted", size: 3 * mib, o: Options{Node: -1},
			want: want{Kind2M, 4 * mib, -1, []string{"1G pages: 3 MiB would not fill half a page"}, []string{"mmap 2M", "populate"}},
		},
		{
			name: "1G is free", size: 513 * mib, o: Options{Node: -1},
			set:  func(h *host) { h.setHuge("/sys/kernel/mm/hugepages", 1<<20, 1, 1) },
			want: want{Kind1G, 1024 * mib, -1, nil, []string{"mmap 1G", "populate"}},
		},
		{
			name: "1G is free and not wanted", size: 513 * mib, o: Options{Node: -1, No1G: true},
			set: func(h *host) {
				h.setHuge("/sys/kernel/mm/hugepages", 1<<20, 1, 1)
				h.setHuge("/sys/kernel/mm/hugepages", 2<<10, 300, 300)
			},
			want: want{Kind2M, 514 * mib, -1, nil, []string{"mmap 2M", "populate"}},
		},
		{
			name: "1G asked for where it is not wanted", size: 3 * mib, o: Options{Node: -1, No1G: true, Choice: Page1G},
			want: want{Kind2M, 4 * mib, -1, nil, []string{"mmap 2M", "populate"}},
		},
		{
			name: "1G insisted on, none there", size: 3 * mib, o: Options{Node: -1, Choice: Page1G},
			err: []string{"map 3 MiB for test", "1G pages", "1 needed, 0 free", "echo 1 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"},
		},
		{
			name: "too few of 2M", size: 10 * mib, o: Options{Node: -1},
			want: want{KindTHP, 10 * mib, -1,
				[]string{"1G pages", "5 needed, 4 free (echo 7 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages)"},
				[]string{"mmap", "mprotect", "hugepage", "populate"}},
		},
		{
			name: "free pages are promised to others", size: 8 * mib, o: Options{Node: -1, Choice: Page2M},
			set: func(h *host) { h.files["/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages"] = "1\n" },
			err: []string{"4 needed, 3 free (echo 7 > "},
		},
		{
			name: "pages made on demand", size: 12 * mib, o: Options{Node: -1, Choice: Page2M},
			set: func(h *host) {
				h.files["/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"] = "3\n"
				h.files["/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages"] = "1\n"
			},
			want: want{Kind2M, 12 * mib, -1, nil, []string{"mmap 2M", "populate"}},
		},
		{
			name: "no more pages may be made on demand", size: 14 * mib, o: Options{Node: -1, Choice: Page2M},
			set: func(h *host) {
				h.files["/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"] = "3\n"
				h.files["/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages"] = "1\n"
			},
			err: []string{"7 needed, 6 free"},
		},
		{
			name: "hugetlb mmap refused", size: 2 * mib, o: Options{Node: -1, Choice: Page2M},
			set: func(h *host) { h.fail["mmap 2M"] = unix.ENOMEM },
			err: []string{"mmap of 1 pages, 4 free", "cannot allocate memory", "cgroup"},
		},
		{
			name: "hugetlb pages gone when touched", size: 2 * mib, o: Options{Node: -1, Choice: Page2M},
			set: func(h *host) { h.fail["populate"] = unix.EFAULT },
			err: []string{"touching 1 pages", "bad address", "cgroup"},
		},
		{
			name: "bound, near pages", size: 2 * mib, o: Options{Node: 1, Choice: Page2M},
			want: want{Kind2M, 2 * mib, 1, nil, []string{"mmap 2M", bindTo1, "populate"}},
		},
		{
			name: "the free pages are on the far node", size: 4 * mib, o: Options{Node: 1, Choice: Page2M},
			err: []string{"2 needed, 1 free on node 1 (echo 4 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages)"},
		},
		{
			name: "strict binding refused", size: 4 * mib, o: Options{Node: 1, Choice: THP},
			set: func(h *host) { h.fail[bindTo1] = unix.EPERM },
			want: want{KindTHP, 4 * mib, -1, []string{"not bound to node 1, only preferred there: operation not permitted"},
				[]string{"mmap", "mprotect", "hugepage", bindTo1, preferOn1, "populate"}},
		},
		{
			name: "any placement refused", size: 4 * mib, o: Options{Node: 1, Choice: THP},
			set: func(h *host) { h.fail[bindTo1], h.fail[preferOn1] = unix.EPERM, unix.ENOSYS },
			want: want{KindTHP, 4 * mib, -1, []string{"not bound to node 1: operation not permitted; nor preferred there: function not implemented"},
				[]string{"mmap", "mprotect", "hugepage", bindTo1, preferOn1, "populate"}},
		},
		{
			name: "the node cannot hold it", size: 600 * mib, o: Options{Node: 1, Choice: Off},
			want: want{Kind4K, 600 * mib, -1, []string{"only preferred there: it has not enough free memory"},
				[]string{"mmap", "mprotect", "nohugepage", preferOn1, "populate"}},
		},
		{
			name: "locked", size: mib, o: Options{Node: -1, Choice: Off, Lock: true},
			want: want{Kind4K, mib, -1, nil, []string{"mmap", "mprotect", "nohugepage", "populate", "mlock"}},
		},
		{
			name: "lock refused", size: mib, o: Options{Node: -1, Choice: Off, Lock: true},
			set: func(h *host) { h.fail["mlock"] = unix.ENOMEM },
			want: want{Kind4K, mib, -1, []string{"not locked: cannot allocate memory (RLIMIT_MEMLOCK is below 1 MiB"},
				[]string{"mmap", "mprotect", "nohugepage", "populate", "mlock"}},
		},
		{
			name: "hugetlb needs no lock", size: mib, o: Options{Node: -1, Choice: Page2M, Lock: true},
			want: want{Kind2M, 2 * mib, -1, nil, []string{"mmap 2M", "populate"}},
		},
		{
			name: "huge pages promised, not given", size: 10 * mib, o: Options{Node: -1},
			set: func(h *host) { h.huge = 6 * mib },
			want: want{Kind4K, 10 * mib, -1, []string{"1G", "2M", "10 MiB needed, got 6 MiB (memory is fragmented"},
				[]string{"mmap", "mprotect", "hugepage", "populate", "collapse"}},
		},
		{
			name: "huge pages insisted on, not given", size: 10 * mib, o: Options{Node: -1, Choice: THP},
			set: func(h *host) { h.huge = 6 * mib },
			err: []string{"transparent huge pages: 10 MiB needed, got 6 MiB"},
		},
		{
			name: "transparent huge pages switched off", size: 10 * mib, o: Options{Node: -1},
			set: func(h *host) {
				h.files["/sys/kernel/mm/transparent_hugepage/enabled"] = "always madvise [never]\n"
			},
			want: want{Kind4K, 10 * mib, -1, []string{"1G", "2M", "transparent huge pages: switched off (echo madvise > "},
				[]string{"mmap", "mprotect", "nohugepage", "populate"}},
		},
		{
			name: "kernel without huge pages of any sort", size: 10 * mib, o: Options{Node: -1},
			set: func(h *host) {
				h.files = map[string]string{}
				h.fail["nohugepage"] = unix.EINVAL
			},
			want: want{Kind4K, 10 * mib, -1, []string{"1G", "2M pages: the kernel has none of this size", "transparent huge pages: the kernel has none"},
				[]string{"mmap", "mprotect", "nohugepage", "populate"}},
		},
		{
			name: "transparent huge pages of 512 MiB", size: 10 * mib, o: Options{Node: -1},
			set: func(h *host) {
				h.files["/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"] = "536870912\n"
			},
			want: want{Kind4K, 10 * mib, -1, []string{"1G", "2M", "10 MiB would not fill half a page of 512 MiB"},
				[]string{"mmap", "mprotect", "nohugepage", "populate"}},
		},
		{
			name: "more than the machine has", size: 1025 * mib, o: Options{Node: -1},
			err: []string{"map 1.0 GiB for test: not enough memory: 1.0 GiB needed, 1 GiB available"},
		},
		{
			name: "more than the cgroup may have", size: 10 * mib, o: Options{Node: -1, Choice: Off},
			set: func(h *host) {
				h.files["/proc/self/cgroup"] = "4:cpu:/old\n0::/a/b\n"
				h.files["/proc/self/mountinfo"] = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:2 - cgroup2 cgroup2 rw\n"
				h.files["/sys/fs/cgroup/a/memory.max"] = "26214400\n"
				h.files["/sys/fs/cgroup/a/memory.current"] = "2097152\n"
				h.files["/sys/fs/cgroup/a/memory.stat"] = "anon 0\ninactive_file 1048576\n"
				h.files["/sys/fs/cgroup/a/b/memory.max"] = "max\n"
				h.files["/sys/fs/cgroup/memory.max"] = "104857600\n"
			},
			err: []string{"not enough memory: 10 MiB needed and 16 MiB for the rest of the program, 24 MiB left of the 25 MiB that the control group may have (/sys/fs/cgroup/a/memory.max)"},
		},
		{
			name: "room in the cgroup", size: 8 * mib, o: Options{Node: -1, Choice: Off},
			set: func(h *host) {
				h.files["/proc/self/cgroup"] = "0::/\n"
				h.files["/proc/self/mountinfo"] = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:2 - cgroup2 cgroup2 rw\n"
				h.files["/sys/fs/cgroup/memory.max"] = "25165824\n"
				h.files["/sys/fs/cgroup/memory.current"] = "0\n"
			},
			want: want{Kind4K, 8 * mib, -1, nil, []string{"mmap", "mprotect", "nohugepage", "populate"}},
		},
		{name: "mmap refused", size: mib, o: Options{Node: -1, Choice: Off}, set: func(h *host) { h.fail["mmap"] = unix.ENOMEM }, err: []string{"mmap: cannot allocate"}},
		{name: "mprotect refused", size: mib, o: Options{Node: -1, Choice: Off}, set: func(h *host) { h.fail["mprotect"] = unix.ENOMEM }, err: []string{"mprotect: cannot allocate"}},
		{name: "madvise refused", size: mib, o: Options{Node: -1, Choice: THP}, set: func(h *host) { h.fail["hugepage"] = unix.ENOMEM }, err: []string{"madvise: cannot allocate"}},
		{name: "pages refused when touched", size: mib, o: Options{Node: -1, Choice: Off}, set: func(h *host) { h.fail["populate"] = unix.ENOMEM }, err: []string{"touching the pages: not enough memory: cannot allocate"}},
		{name: "nothing", size: 0, o: Options{Node: -1}, err: []string{"0 bytes is not positive"}},
		{name: "less than nothing", size: -1, o: Options{Node: -1}, err: []string{"-1 bytes is not positive"}},
		{name: "all there is", size: math.MaxInt, o: Options{Node: -1}, err: []string{"not enough memory: 9223372036854775807 bytes exceed the address space"}},
		{name: "all there is in 4K", size: math.MaxInt &^ 4095, o: Options{Node: -1, Choice: Off}, err: []string{"exceed the address space"}},
		{name: "all there is in 1G", size: math.MaxInt, o: Options{Node: -1, Choice: Page1G}, err: []string{"exceed the address space"}},
		{name: "no such choice", size: 1, o: Options{Node: -1, Choice: 9}, err: []string{"unknown choice of pages Choice(9)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost()
			if tt.set != nil {
				tt.set(h)
			}
			tt.o.Name = "test"
			m, err := h.mapMemory(tt.size, tt.o)
			if tt.err != nil {
				if err == nil {
					t.Fatalf("mapped %+v, want an error", m.want(h))
				}
				for _, s := range tt.err {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("error %q does not say %q", err, s)
					}
				}
				if h.out != 0 {
					t.Errorf("%d mappings are left after %v", h.out, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := m.want(h)
			if got.kind != tt.want.kind || got.mapped != tt.want.mapped || got.node != tt.want.node {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if !slices.Equal(got.calls, tt.want.calls) {
				t.Errorf("calls %q, want %q", got.calls, tt.want.calls)
			}
			if len(got.notes) != len(tt.want.notes) {
				t.Fatalf("notes %q, want ones with %q", got.notes, tt.want.notes)
			}
			for i, s := range tt.want.notes {
				if !strings.Contains(got.notes[i], s) {
					t.Errorf("note %q does not say %q", got.notes[i], s)
				}
			}
			if len(m.Bytes) != tt.size || cap(m.Bytes) != tt.size {
				t.Errorf("len %d, cap %d, want %d", len(m.Bytes), cap(m.Bytes), tt.size)
			}
			if m.Kind == KindTHP && address(m.Bytes)%size2M != 0 {
				t.Errorf("transparent huge pages begin at %#x", address(m.Bytes))
			}
			if err := m.Unmap(); err != nil || h.out != 0 {
				t.Errorf("Unmap: %v, %d mappings left", err, h.out)
			}
		})
	}
}

func (m *Mapping) want(h *host) want {
	return want{m.Kind, m.Mapped, m.Node, m.Notes, slices.Compact(h.calls)} // "populate" once for each part
}

func TestErrMemory(t *testing.T) {
	for _, o := range []Options{{Node: -1}, {Node: -1, Choice: THP}, {Node: -1, Choice: Off}} {
		h := newHost()
		if _, err := h.mapMemory(2<<30, o); !errors.Is(err, ErrMemory) {
			t.Errorf("%v: %v is not ErrMemory", o.Choice, err)
		}
	}
}

// TestTouchFault maps a page beyond the end of a file, where a write is SIGBUS.
func TestTouchFault(t *testing.T) {
	fd, err := unix.MemfdCreate("empty", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	b, err := unix.Mmap(fd, 0, machine.pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	if err := touch(b, machine.pageSize); !errors.Is(err, unix.EFAULT) {
		t.Errorf("touch beyond the end of a file: %v, want EFAULT", err)
	}
}

// TestMapHere maps on the machine the test runs on, whatever that has.
func TestMapHere(t *testing.T) {
	for _, choice := range []Choice{Auto, Off} {
		const size = 5<<20 + 1
		m, err := Map(size, Options{Choice: choice, Node: -1, Lock: true, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: got %v, notes %q", choice, m.Kind, m.Notes)
		if choice == Off && m.Kind != Kind4K {
			t.Errorf("off got %v", m.Kind)
		}
		checkResident(t, m)
		first := address(m.Bytes)
		for range 2 {
			if err := m.Unmap(); err != nil {
				t.Fatal(err)
			}
		}
		if m.Bytes != nil {
			t.Error("Bytes is left after Unmap")
		}
		if listed(t, first) {
			t.Errorf("%#x is still mapped", first)
		}
	}
}

// checkResident checks that each page of m was in memory before the test
// touched it (mincore(2)), that m is zeroed and that both ends can be written.
func checkResident(t *testing.T, m *Mapping) {
	t.Helper()
	if address(m.Bytes)%uintptr(m.PageBytes) != 0 {
		t.Errorf("memory at %#x does not begin on a page of %s", address(m.Bytes), Human(m.PageBytes))
	}
	resident, err := mincore(m.Bytes)
	if err != nil {
		t.Fatalf("mincore: %v", err)
	}
	for i, r := range resident {
		if r&1 == 0 {
			t.Fatalf("page %d is not in memory", i)
		}
	}
	for i := range m.Bytes {
		if m.Bytes[i] != 0 {
			t.Fatalf("byte %d is %d, want 0", i, m.Bytes[i])
		}
	}
	m.Bytes[0], m.Bytes[len(m.Bytes)-1] = 1, 1
}

func listed(t *testing.T, first uintptr) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(maps), fmt.Sprintf("%x-", first))
}

// TestBindHere binds to node 0, which every machine has, and reads back where
// the first page is.
func TestBindHere(t *testing.T) {
	m, err := Map(1<<20, Options{Choice: Off, Node: 0, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Unmap() }()
	if m.Node != 0 {
		// A container without CAP_SYS_NICE, or a kernel without NUMA.
		if s := fmt.Sprint(m.Notes); !strings.Contains(s, unix.EPERM.Error()) && !strings.Contains(s, unix.ENOSYS.Error()) {
			t.Errorf("not bound to node 0: %q", m.Notes)
		}
		return
	}
	maps, err := os.ReadFile("/proc/self/numa_maps")
	if err != nil {
		t.Logf("bound; this kernel has no numa_maps to check it with: %v", err)
		return
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasPrefix(line, fmt.Sprintf("%x ", address(m.Bytes))) {
			if !strings.Contains(line, " bind:0 ") {
				t.Errorf("numa_maps says %q", line)
			}
			return
		}
	}
	t.Error("numa_maps does not list the mapping")
}

func TestOnlyNode(t *testing.T) {
	for _, node := range []int{0, 1, 31, 32, 63, 64, 1000, maxNodes - 1} {
		mask := onlyNode(node)
		for n := range maxNodes {
			if got := mask[n/wordBits]>>(n%wordBits)&1 == 1; got != (n == node) {
				t.Errorf("the set of node %d: node %d is in it: %v", node, n, got)
			}
		}
	}
}

// TestTouch maps on a kernel that cannot populate: the pages must be there all
// the same.
func TestTouch(t *testing.T) {
	h := newHost()
	h.fail["populate"] = unix.EINVAL
	m, err := h.mapMemory(1<<20, Options{Choice: Off, Node: -1})
	if err != nil {
		t.Fatal(err)
	}
	checkResident(t, m)
	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
}

// TestNoSuchNode asks for a node that no machine has.
func TestNoSuchNode(t *testing.T) {
	for _, node := range []int{1000, maxNodes} {
		m, err := Map(1<<20, Options{Choice: Off, Node: node, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if m.Node != -1 || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "not bound to node") {
			t.Errorf("node %d: bound to %d, notes %q", node, m.Node, m.Notes)
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHugetlbHere reserves a few 2 MiB pages if it may, and maps them. Where it
// may not, or they are gone again, the error must say what is missing.
func TestHugetlbHere(t *testing.T) {
	const n = 3
	reserve(t, n)
	m, err := Map(n*size2M-1, Options{Choice: Page2M, Node: -1, Lock: true, Name: "test"})
	if err != nil {
		if !strings.Contains(err.Error(), "2M pages") {
			t.Errorf("error %q does not name the pages", err)
		}
		t.Logf("no huge pages here: %v", err)
		return
	}
	if m.Kind != Kind2M || m.Mapped != n*size2M || m.Notes != nil {
		t.Errorf("got %v, %d bytes, notes %q", m.Kind, m.Mapped, m.Notes)
	}
	checkResident(t, m)
	first := address(m.Bytes)
	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
	if listed(t, first) {
		t.Errorf("%#x is still mapped", first)
	}
}

// reserve adds n pages of 2 MiB to the machine's pool until the test ends, as
// far as that is allowed.
func reserve(t *testing.T, n int) {
	const file = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	before, err := machine.readInt(file)
	if err != nil {
		return
	}
	set := func(total int) error { return os.WriteFile(file, fmt.Append(nil, total), 0) }
	if set(before+n) != nil {
		return
	}
	after, err := machine.readInt(file)
	if err != nil || after <= before {
		return
	}
	t.Cleanup(func() {
		// Others may have changed it meanwhile: take away only what we added.
		if now, err := machine.readInt(file); err == nil {
			_ = set(max(0, now-(after-before)))
		}
	})
}
