// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// hugeCount says how many hugetlb pages of one size there are.
type hugeCount struct {
	usable int    // that a mapping could have now
	total  int    // in the pool that path sets
	path   string // the file that sets how many there are
	where  string // " on node 1", or ""
}

// hugePages counts the hugetlb pages of page bytes, those of one node if node
// is not negative: half a region on the far node is worse than smaller pages
// on the near one.
func (k *kernel) hugePages(page, node int) (hugeCount, error) {
	name := fmt.Sprintf("hugepages-%dkB", page>>10)
	dir := path.Join("/sys/kernel/mm/hugepages", name)
	free, err := k.readInt(path.Join(dir, "free_hugepages"))
	if err != nil {
		return hugeCount{}, err
	}
	// Free pages may be promised to mappings that have not touched them yet,
	// and the kernel may be allowed to make further ones on demand. Neither
	// file is missing on a kernel that has the first; 0 is right if it were.
	promised, _ := k.readInt(path.Join(dir, "resv_hugepages"))
	allowed, _ := k.readInt(path.Join(dir, "nr_overcommit_hugepages"))
	made, _ := k.readInt(path.Join(dir, "surplus_hugepages"))
	onDemand := max(0, allowed-made)

	c := hugeCount{usable: max(0, free-promised) + onDemand, path: path.Join(dir, "nr_hugepages")}
	if node >= 0 {
		nodeDir := path.Join(nodeDir(node), "hugepages", name)
		// No such node: mbind will say so.
		if nodeFree, err := k.readInt(path.Join(nodeDir, "free_hugepages")); err == nil {
			c.usable = min(c.usable, nodeFree+onDemand)
			c.path = path.Join(nodeDir, "nr_hugepages")
			c.where = fmt.Sprintf(" on node %d", node)
		}
	}
	c.total, err = k.readInt(c.path)
	return c, err
}

// roomFor returns an error that names both figures if need bytes of ordinary
// memory exceed what is available. The kernel would overcommit, and kill
// somebody when the pages are touched.
func (k *kernel) roomFor(need int) error {
	if have, ok := k.fieldKB("/proc/meminfo", "MemAvailable:"); ok && need > have {
		return fmt.Errorf("%w: %s needed, %s available", ErrMemory, Human(need), Human(have))
	}
	if l, ok := k.cgroupRoom(); ok && need > l.left-cgroupSpare {
		return &LimitError{Needed: need, Left: l.left, Limit: l.limit, File: l.file}
	}
	return nil
}

// nodeShort reports whether node is known to have less than need bytes of memory
// that is free or could be made free at once.
func (k *kernel) nodeShort(node, need int) bool {
	file := path.Join(nodeDir(node), "meminfo")
	prefix := fmt.Sprintf("Node %d ", node)
	free, ok := k.fieldKB(file, prefix+"MemFree:")
	active, _ := k.fieldKB(file, prefix+"Active(file):")
	inactive, _ := k.fieldKB(file, prefix+"Inactive(file):")
	return ok && free+active+inactive < need
}

// absent is what a file of the kernel that cannot be read means: truth only if it is not there.
func absent(truth string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return truth
	}
	return "whether the kernel has them is unknown" // the error says why
}

// thpSize returns the size of a transparent huge page, or why there are none.
func (k *kernel) thpSize() (int, error) {
	const dir = "/sys/kernel/mm/transparent_hugepage"
	enabled, err := k.readFile(path.Join(dir, "enabled"))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", absent("the kernel has none", err), err)
	}
	if bytes.Contains(enabled, []byte("[never]")) {
		return 0, fmt.Errorf("switched off (echo madvise > %s/enabled)", dir)
	}
	size, err := k.readInt(path.Join(dir, "hpage_pmd_size"))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", absent("the kernel does not say their size", err), err)
	}
	if size < k.pageSize || size > size1G || size&(size-1) != 0 {
		return 0, fmt.Errorf("a size of %d bytes is no page size", size)
	}
	return size, nil
}

// anonHuge returns how many bytes of b lie on transparent huge pages.
func (k *kernel) anonHuge(b []byte) (int, error) {
	data, err := k.readFile("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	first, end := uint64(address(b)), uint64(address(b))+uint64(len(b))
	got, inside, seen := 0, false, false
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		key, rest, _ := strings.Cut(lines.Text(), " ")
		if from, to, ok := addressRange(key); ok {
			inside = from < end && to > first
			seen = seen || inside
		} else if inside && key == "AnonHugePages:" {
			kb, err := number(rest)
			if err != nil {
				return 0, fmt.Errorf("/proc/self/smaps: %w", err)
			}
			got += kb << 10
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("/proc/self/smaps: %w", err)
	}
	if !seen {
		return 0, errors.New("/proc/self/smaps does not list the mapping")
	}
	return got, nil
}

// addressRange reads the "7f00-7f10" that begins a mapping in smaps.
func addressRange(s string) (from, to uint64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, false
	}
	from, errA := strconv.ParseUint(a, 16, 64)
	to, errB := strconv.ParseUint(b, 16, 64)
	return from, to, errA == nil && errB == nil
}

func nodeDir(node int) string { return fmt.Sprintf("/sys/devices/system/node/node%d", node) }

// readInt reads a file that holds one number.
func (k *kernel) readInt(name string) (int, error) {
	data, err := k.readFile(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

// field finds the line of a file that begins with key and reads its number.
func (k *kernel) field(name, key string) (int, bool) {
	data, err := k.readFile(name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if rest, found := strings.CutPrefix(line, key); found {
			n, err := number(rest)
			return n, err == nil
		}
	}
	return 0, false
}

// fieldKB is field for a number of KiB, in bytes.
func (k *kernel) fieldKB(name, key string) (int, bool) {
	n, ok := k.field(name, key)
	return n << 10, ok
}

// number reads what follows a key in these files: "  64 kB" is 64.
func number(s string) (int, error) {
	return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "kB")))
}
