// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCgroupRoom: limits of both versions are found where the groups are mounted, in
// containers, and through the process above us where another /sys hides them.
func TestCgroupRoom(t *testing.T) {
	const (
		v2 = "41 31 0:38 / /sys/fs/cgroup rw shared:2 - cgroup2 cgroup2 rw\n"
		v1 = "34 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  memoryLimit
		none  bool
	}{
		{
			name: "version 1, the group above",
			files: map[string]string{
				"/proc/self/cgroup": "4:cpu:/x\n3:memory:/a/b\n0::/\n", "/proc/self/mountinfo": v1,
				"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712",
				"/sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "1000",
				"/sys/fs/cgroup/memory/a/memory.usage_in_bytes":   "700",
				"/sys/fs/cgroup/memory/a/memory.stat":             "inactive_file 1\ntotal_inactive_file 100\n",
			},
			want: memoryLimit{"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", 1000, 400},
		},
		{
			name: "version 1, a group above the container",
			files: map[string]string{
				"/proc/self/cgroup":                           "3:memory:/docker/x\n",
				"/proc/self/mountinfo":                        "35 31 0:32 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
				"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
				"/sys/fs/cgroup/memory/memory.usage_in_bytes": "300",
				"/sys/fs/cgroup/memory/memory.stat":           "hierarchical_memory_limit 1000\ntotal_inactive_file 0\n",
			},
			want: memoryLimit{"/sys/fs/cgroup/memory/memory.stat", 1000, 700},
		},
		{
			name: "version 2, mounted elsewhere",
			files: map[string]string{
				"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": "41 31 0:38 / /my\\040cgroups rw - cgroup2 none rw\n",
				"/my cgroups/a/memory.max": "500", "/my cgroups/a/memory.current": "20",
			},
			want: memoryLimit{"/my cgroups/a/memory.max", 500, 480},
		},
		{
			name: "container with names of the outside",
			files: map[string]string{
				"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": "41 31 0:38 /docker/x /sys/fs/cgroup rw - cgroup2 none rw\n",
				"/sys/fs/cgroup/memory.max": "500",
			},
			want: memoryLimit{"/sys/fs/cgroup/memory.max", 500, 500},
		},
		{
			name: "hidden by another /sys",
			files: map[string]string{
				"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": "31 1 0:28 / /sys rw - sysfs swns rw\n",
				"/proc/self/status": "Name:\tx\nPPid:\t77\n", "/proc/77/mountinfo": "31 1 0:28 / /sys rw - sysfs swns rw\n",
				"/proc/77/status": "PPid:\t5\n", "/proc/5/mountinfo": v2,
				"/proc/5/root/sys/fs/cgroup/a/memory.max": "800", "/proc/5/root/sys/fs/cgroup/a/memory.current": "100",
			},
			want: memoryLimit{"/proc/5/root/sys/fs/cgroup/a/memory.max", 800, 700},
		},
		{name: "no limit", files: map[string]string{"/proc/self/cgroup": "0::/a\n", "/proc/self/mountinfo": v2, "/sys/fs/cgroup/a/memory.max": "max\n"}, none: true},
		{name: "nowhere mounted", files: map[string]string{"/proc/self/cgroup": "0::/a\n", "/proc/self/status": "PPid:\t0\n"}, none: true},
		{name: "nonsense", files: map[string]string{"/proc/self/cgroup": "0\n:::\n0::\n", "/proc/self/mountinfo": "- - -\n\n - cgroup2\n"}, none: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := kernel{readFile: func(name string) ([]byte, error) {
				text, ok := tt.files[name]
				if !ok {
					return nil, fs.ErrNotExist
				}
				return []byte(text), nil
			}}
			got, ok := k.cgroupRoom()
			if ok == tt.none || got != tt.want {
				t.Errorf("%+v, %t; want %+v of %v", got, ok, tt.want, slices.Collect(maps.Keys(tt.files)))
			}
		})
	}
}

func FuzzFindCgroupMount(f *testing.F) {
	f.Add("35 31 0:32 /a\\040b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "/a b/c", "memory")
	f.Add("41 31 0:38 / /sys/fs/cgroup rw - cgroup2 none rw\n", "/../x", "")
	f.Fuzz(func(t *testing.T, mountinfo, group, controller string) {
		m, found := findCgroupMount(mountinfo, controller)
		if !found {
			return
		}
		dirs := m.dirs("/proc/1/root", group)
		if len(dirs) == 0 || len(dirs) > len(group)+2 {
			t.Errorf("%d directories of %q in %+v", len(dirs), group, m)
		}
		for _, d := range dirs {
			if !strings.HasPrefix(d, "/") {
				t.Errorf("%q is no path", d)
			}
		}
	})
}

// TestAbsent: what cannot be read is not said to be missing.
func TestAbsent(t *testing.T) {
	if got := absent("none", fmt.Errorf("x: %w", fs.ErrNotExist)); got != "none" {
		t.Error(got)
	}
	if got := absent("none", &fs.PathError{Op: "open", Path: "/sys", Err: unix.EACCES}); got == "none" {
		t.Error("permission denied means none")
	}
	for _, errno := range []error{fs.ErrNotExist, unix.EACCES} {
		k := kernel{readFile: func(string) ([]byte, error) { return nil, errno }, pageSize: 4096}
		if _, err := k.thpSize(); !errors.Is(err, errno) || strings.Contains(err.Error(), "has none") != errors.Is(errno, fs.ErrNotExist) {
			t.Errorf("%v: %v", errno, err)
		}
		if _, err := k.mapHuge(size2M, Kind2M, Options{Node: -1}); !errors.Is(err, errno) || strings.Contains(err.Error(), "has none") != errors.Is(errno, fs.ErrNotExist) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

const (
	inCgroup = "PAGES_TEST_CGROUP" // directory of the group that the child joins
	hideSys  = "PAGES_TEST_HIDE"   // whether it mounts another /sys, as ip netns exec does
)

// TestMemoryLimit maps more than a control group may have, according to its files. What is
// needed and left is said before the memory is touched. Less than the limit is mapped.
func TestMemoryLimit(t *testing.T) {
	const limit = 96 << 20
	for _, tt := range []struct {
		name, group, mount, file, used string
	}{
		{"version 1", "3:memory:/a\n0::/\n", "cgroup cgroup rw,memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
		{"version 2", "0::/a\n", "cgroup2 none rw", "memory.max", "memory.current"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{
				"/proc/self/cgroup": tt.group, "/proc/self/mountinfo": "35 31 0:32 / /limits rw - " + tt.mount + "\n",
				"/limits/a/" + tt.file: fmt.Sprintln(limit), "/limits/a/" + tt.used: fmt.Sprintln(1 << 20),
			}
			before := machine.readFile
			t.Cleanup(func() { machine.readFile = before })
			machine.readFile = func(name string) ([]byte, error) {
				if text, ok := files[name]; ok {
					return []byte(text), nil
				}
				return before(name)
			}
			if e := mapBeyond(t); e.Needed != 256<<20 || e.Limit != limit || e.Left != limit-1<<20 || e.File != "/limits/a/"+tt.file {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestRealMemoryLimit is TestMemoryLimit with a real control group, where the machine takes
// one. A child is in the group; it must not be killed.
func TestRealMemoryLimit(t *testing.T) {
	if dir := os.Getenv(inCgroup); dir != "" {
		beLimited(t, dir)
		return
	}
	const limit = 96 << 20
	dir, file, ok := newCgroup(t, limit)
	if !ok {
		t.Log("no control group of this machine takes a memory limit: TestMemoryLimit has one of files")
		return
	}
	for _, hidden := range []bool{false, true} {
		c := exec.Command(os.Args[0], "-test.run=^TestRealMemoryLimit$", "-test.v")
		c.Env = append(os.Environ(), inCgroup+"="+dir, fmt.Sprintf("%s=%t", hideSys, hidden))
		if hidden {
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
		}
		out, err := c.CombinedOutput()
		want := fmt.Sprintf("refused %d of %d by %s", 256<<20, limit, file)
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("hidden %t: %v, %q not in\n%s", hidden, err, want, out)
		}
	}
}

// newCgroup makes a control group with a memory limit, below that of the test. Not ok: the
// machine has none, or none can be made.
func newCgroup(t *testing.T, limit int) (dir, file string, ok bool) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if part[1] != "memory" && part[1] != "" {
			continue
		}
		name := "memory.max"
		if part[1] == "memory" {
			name = "memory.limit_in_bytes"
		}
		for _, base := range machine.cgroupDirs(part[2], part[1]) {
			dir := filepath.Join(base, fmt.Sprintf("speadx-test-%d", os.Getpid()))
			if os.Mkdir(dir, 0o700) != nil {
				continue
			}
			t.Cleanup(func() { _ = os.Remove(dir) })
			if os.WriteFile(filepath.Join(dir, name), fmt.Append(nil, limit), 0o600) == nil {
				return dir, name, true
			}
		}
	}
	return "", "", false
}

func beLimited(t *testing.T, dir string) {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(hideSys) == "true" {
		err := errors.Join(unix.Mount("none", "/", "", unix.MS_REC|unix.MS_SLAVE, ""),
			unix.Unmount("/sys", unix.MNT_DETACH), unix.Mount("sysfs", "/sys", "sysfs", 0, ""))
		if err != nil {
			t.Fatal(err)
		}
	}
	e := mapBeyond(t)
	fmt.Printf("refused %d of %d by %s\n", e.Needed, e.Limit, filepath.Base(e.File))
}

// mapBeyond maps 256 MiB, which must be refused, and then 16 MiB.
func mapBeyond(t *testing.T) *LimitError {
	t.Helper()
	m, err := Map(256<<20, Options{Choice: Off, Node: -1, Name: "test"})
	var e *LimitError
	if !errors.As(err, &e) || !errors.Is(err, ErrMemory) {
		t.Fatalf("%v, %v", m, err)
	}
	if e.Left <= 0 || e.Left > e.Limit {
		t.Errorf("%d left of %d", e.Left, e.Limit)
	}
	m, err = Map(16<<20, Options{Choice: Off, Node: -1, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmap(); err != nil {
		t.Error(err)
	}
	return e
}
