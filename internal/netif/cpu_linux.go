// SPDX-License-Identifier: Apache-2.0

package netif

import "github.com/speadx/speadx/internal/sched"

// CPUs are the processors near a NUMA node that this process may run on, in
// order; with node -1 all that it may run on.
func CPUs(node int) ([]int, error) { return sched.NodeCPUs(node) }

// ParseCPUs reads a list of numbers as the kernel and taskset write it, such as
// "3,5-7".
func ParseCPUs(s string) ([]int, error) { return sched.ParseCPUs(s) }
