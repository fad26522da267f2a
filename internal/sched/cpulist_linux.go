// SPDX-License-Identifier: Apache-2.0

package sched

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// NodeCPUs are the processors of a NUMA node that this process may run on, in order. With
// node -1 they are all that it may run on.
func NodeCPUs(node int) ([]int, error) {
	allowed, err := CPUs()
	if err != nil || node < 0 {
		return allowed, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", node))
	if err != nil {
		return nil, fmt.Errorf("processors of NUMA node %d: %w", node, err)
	}
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return nil, nil // a node of memory alone
	}
	list, err := ParseCPUs(trimmed)
	if err != nil {
		return nil, fmt.Errorf("processors of NUMA node %d: %w", node, err)
	}
	near := list[:0]
	for _, cpu := range list {
		if slices.Contains(allowed, cpu) {
			near = append(near, cpu)
		}
	}
	return near, nil
}

// maxNumber bounds the numbers in lists, so that a range cannot exhaust memory.
const maxNumber = 1 << 16

// ParseCPUs reads a list of numbers as the kernel and taskset write it, such as
// "3,5-7".
func ParseCPUs(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b < a || b >= maxNumber {
			return nil, fmt.Errorf("%q is not a number or a range (a list is like 3,5-7)", part)
		}
		for i := a; i <= b; i++ {
			out = append(out, i)
		}
	}
	return out, nil
}
