// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroupSpare is what is left of a memory limit for what comes after the mappings: stacks,
// the Go heap, and what the kernel accounts to the process.
const cgroupSpare = 16 << 20

// LimitError says that a mapping does not fit below the memory limit of a control group.
// The kernel would kill the process when the memory is touched. It wraps [ErrMemory].
type LimitError struct {
	Needed int // bytes of the mapping; some MiB more are for the rest of the program
	Left   int // bytes below the limit
	Limit  int
	File   string // that sets the limit
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %s needed and %s for the rest of the program, %s left of the %s that the control group may have (%s)",
		ErrMemory, Human(e.Needed), Human(cgroupSpare), Human(e.Left), Human(e.Limit), e.File)
}

// Unwrap returns ErrMemory.
func (e *LimitError) Unwrap() error { return ErrMemory }

// memoryLimit is the memory limit of a control group.
type memoryLimit struct {
	file  string // that sets it
	limit int
	left  int
}

// noMemoryLimit is above every limit that is one: version 1 writes the largest multiple of
// a page for none.
const noMemoryLimit = 1 << 60

// GroupLimit returns the memory limit of control groups that leaves this process the least, in
// bytes, and the file that sets it. Not ok: there is none. readFile reads a file of /proc or
// /sys.
func GroupLimit(readFile func(name string) ([]byte, error)) (file string, limit, left int, ok bool) {
	room, ok := (&kernel{readFile: readFile}).cgroupRoom()
	return room.file, room.limit, room.left, ok
}

// GroupDirs returns the directories of a control group and those above it, the nearest first.
// controller is one of version 1, such as "memory"; "" is version 2.
func GroupDirs(readFile func(name string) ([]byte, error), group, controller string) []string {
	return (&kernel{readFile: readFile}).cgroupDirs(group, controller)
}

// cgroupRoom returns the memory limit that leaves us the least: of our control group and
// those above it, of version 1 and 2. Not ok: there is none.
func (k *kernel) cgroupRoom() (room memoryLimit, ok bool) {
	text, err := k.readFile("/proc/self/cgroup")
	if err != nil {
		return room, false
	}
	add := func(l memoryLimit, err error) {
		if err == nil && l.limit < noMemoryLimit && (!ok || l.left < room.left) {
			room, ok = l, true
		}
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		v1 := slices.Contains(strings.Split(part[1], ","), "memory")
		if !v1 && part[1] != "" {
			continue
		}
		controller := ""
		if v1 {
			controller = "memory"
		}
		dirs := k.cgroupDirs(part[2], controller)
		least := noMemoryLimit
		for _, dir := range dirs {
			if !v1 {
				add(k.memoryLimit(dir, "memory.max", "memory.current", "inactive_file"))
				continue
			}
			l, err := k.memoryLimit(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
			if add(l, err); err == nil {
				least = min(least, l.limit)
			}
		}
		if v1 && len(dirs) > 0 {
			// A limit below those that were seen is of a group above that we cannot see. One of
			// them is there as well, and only what is used may have changed between two readings.
			if l, err := k.hiddenLimit(dirs[0]); l.limit < least {
				add(l, err)
			}
		}
	}
	return room, ok
}

// memoryLimit reads the limit of the group in dir. "max" is no number, and no limit.
func (k *kernel) memoryLimit(dir, limit, used, cache string) (memoryLimit, error) {
	l := memoryLimit{file: path.Join(dir, limit)}
	var err error
	if l.limit, err = k.readInt(l.file); err != nil {
		return l, err
	}
	have, _ := k.readInt(path.Join(dir, used))
	// Page cache is given up before anything fails.
	files, _ := k.field(path.Join(dir, "memory.stat"), cache+" ")
	l.left = min(l.limit, max(0, l.limit-have+files))
	return l, nil
}

// hiddenLimit is the least limit of a group of version 1 and all above it.
func (k *kernel) hiddenLimit(dir string) (memoryLimit, error) {
	l := memoryLimit{file: path.Join(dir, "memory.stat")}
	n, found := k.field(l.file, "hierarchical_memory_limit ")
	if !found {
		return l, strconv.ErrSyntax
	}
	have, err := k.readInt(path.Join(dir, "memory.usage_in_bytes"))
	files, _ := k.field(l.file, "total_inactive_file ")
	l.limit, l.left = n, min(n, max(0, n-have+files))
	return l, err
}

// maxAncestors bounds how far up the tree of processes is looked.
const maxAncestors = 64

// cgroupDirs are the directories of a control group and those above it, the nearest first.
// controller is that of version 1, and "" for version 2.
//
// ip netns exec, and whatever else mounts another /sys, hides the control groups from us.
// The process that called it still has them, so they are looked for through our ancestors.
func (k *kernel) cgroupDirs(group, controller string) []string {
	process, root := "self", ""
	for range maxAncestors {
		text, err := k.readFile("/proc/" + process + "/mountinfo")
		if err == nil {
			if m, found := findCgroupMount(string(text), controller); found {
				return m.dirs(root, group)
			}
		}
		parent, found := k.field("/proc/"+process+"/status", "PPid:")
		if !found || parent < 1 {
			break
		}
		process = strconv.Itoa(parent)
		root = "/proc/" + process + "/root"
	}
	return nil
}

// cgroupMount is a mount of the control groups.
type cgroupMount struct {
	root  string // the group at the mount point
	point string
}

// findCgroupMount finds that of a controller of version 1 in a /proc/PID/mountinfo, or with ""
// that of version 2.
//
//	36 35 98:0 /group /mount/point rw,noatime shared:1 - cgroup2 source rw
func findCgroupMount(mountinfo, controller string) (m cgroupMount, found bool) {
	for line := range strings.Lines(mountinfo) {
		mount, kind, ok := strings.Cut(strings.TrimSpace(line), " - ")
		before, after := strings.Fields(mount), strings.Fields(kind)
		if !ok || len(before) < 5 || len(after) < 3 {
			continue
		}
		right := after[0] == "cgroup2"
		if controller != "" {
			right = after[0] == "cgroup" && slices.Contains(strings.Split(after[2], ","), controller)
		}
		if !right {
			continue
		}
		return cgroupMount{unescapeMount(before[3]), unescapeMount(before[4])}, true
	}
	return m, false
}

// dirs are those of a group and the ones above it, below the file root of a process. In a
// container the mount point may be the group itself, whatever its name is outside.
func (m cgroupMount) dirs(root, group string) (list []string) {
	point := path.Join("/", root, m.point)
	below, inside := strings.CutPrefix(path.Clean("/"+group), path.Clean("/"+m.root))
	if !inside || below != "" && below[0] != '/' && m.root != "/" {
		below = ""
	}
	for g := path.Join("/", below); ; g = path.Dir(g) {
		list = append(list, path.Join(point, g))
		if g == "/" {
			return list
		}
	}
}

// unescapeMount undoes what the kernel does to spaces and the like in mountinfo: "\040".
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
