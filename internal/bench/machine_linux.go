// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"golang.org/x/sys/unix"
)

func (m *Machine) askSystem() {
	m.CPU = cpuModel(readText("/proc/cpuinfo"))
	m.Memory = memTotal(readText("/proc/meminfo"))
	m.L3 = l3Size("/sys/devices/system/cpu/cpu0/cache")
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
}
