// SPDX-License-Identifier: Apache-2.0

package sched

import (
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// CPUs are the processors that the calling thread may run on, in order: one at least.
// They are those of the process where the thread was not bound.
func CPUs() ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("processors of this process: %w", err)
	}
	var all []int
	for cpu := range len(allowed) * strconv.IntSize {
		if allowed.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all, nil
}

// Bind has the calling thread run on these processors, for good.
func Bind(cpus ...int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return unix.SchedSetaffinity(0, &set)
}

// OnCPU locks the calling goroutine to its thread, and that to a processor, until restore
// is called.
func OnCPU(cpu int) (restore func(), err error) {
	runtime.LockOSThread()
	var old unix.CPUSet
	if err = unix.SchedGetaffinity(0, &old); err == nil {
		err = Bind(cpu)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	return func() {
		_ = unix.SchedSetaffinity(0, &old)
		runtime.UnlockOSThread()
	}, nil
}
