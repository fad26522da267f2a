// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string][]int{
		"0":            {0},
		"3,5-7":        {3, 5, 6, 7},
		"0-3,8-11":     {0, 1, 2, 3, 8, 9, 10, 11},
		"5,3":          {5, 3}, // the order is the user's
		"2-2":          {2},
		"65535":        {65535},
		"1,1":          {1, 1},
		"007":          {7},
		"65534-65535":  {65534, 65535},
		"0,2,4,6,8,10": {0, 2, 4, 6, 8, 10},
	} {
		if got, err := ParseCPUs(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", ",", "1,", ",1", "a", "1-", "-1", "3-1", "1-2-3", "1 2", "0x1", "1.5", "65536", "0-65536",
		"0-99999999999999999999", "--", "1;2",
	} {
		if got, err := ParseCPUs(text); err == nil || !strings.Contains(err.Error(), "3,5-7") {
			t.Errorf("%q is read as %d, %v", text, got, err)
		}
	}
}

// TestCPUs compares with what the kernel says of this thread.
func TestCPUs(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	all, err := CPUs(-1)
	if err != nil || len(all) != allowed.Count() || !slices.IsSorted(all) {
		t.Fatalf("%d, %v; %d are allowed", all, err, allowed.Count())
	}
	for _, cpu := range all {
		if !allowed.IsSet(cpu) {
			t.Errorf("processor %d is not allowed", cpu)
		}
	}

	// With one of them allowed, it is the only one.
	var less unix.CPUSet
	last := all[len(all)-1]
	less.Set(last)
	if err := unix.SchedSetaffinity(0, &less); err != nil {
		t.Fatal(err)
	}
	got, err := CPUs(-1)
	if back := unix.SchedSetaffinity(0, &allowed); back != nil {
		t.Fatal(back)
	}
	if err != nil || !slices.Equal(got, []int{last}) {
		t.Errorf("%d, %v; want %d", got, err, last)
	}

	// The nodes together have all of them.
	nodes, err := filepath.Glob("/sys/devices/system/node/node[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var together []int
	for _, dir := range nodes {
		node, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "node"))
		if err != nil {
			t.Fatal(err)
		}
		near, err := CPUs(node)
		if text, _ := os.ReadFile(filepath.Join(dir, "cpulist")); strings.TrimSpace(string(text)) == "" {
			// A node may have memory and no processors.
			if err != nil || len(near) != 0 {
				t.Errorf("node %d, without processors: %d, %v", node, near, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("node %d: %v", node, err)
		}
		together = append(together, near...)
	}
	slices.Sort(together)
	if len(nodes) > 0 && !slices.Equal(together, all) {
		t.Errorf("the nodes have %d, together %d", together, all)
	}
	if _, err := CPUs(1 << 20); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("a node that is not there: %v", err)
	}
}
