// SPDX-License-Identifier: Apache-2.0

//go:build linux

package sandbox

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Privilege is one of the capabilities of the kernel.
type Privilege struct {
	Name string // such as CAP_BPF
	bit  uint
}

// include/uapi/linux/capability.h
var (
	NetAdmin = Privilege{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}
	BPF      = Privilege{"CAP_BPF", unix.CAP_BPF}
	Perfmon  = Privilege{"CAP_PERFMON", unix.CAP_PERFMON}
)

// Missing lists which of the capabilities the calling thread lacks. It is empty where that
// cannot be read.
func Missing(needs ...Privilege) []string {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return nil
	}
	return missing(status, needs)
}

// missing lists which capabilities are not effective, by a /proc/PID/status.
func missing(status []byte, needs []Privilege) []string {
	effective, ok := effectiveCapabilities(status)
	if !ok {
		return nil
	}
	has := func(bit uint) bool { return effective&(1<<bit) != 0 }
	var names []string
	for _, c := range needs {
		// CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON. It does not include
		// CAP_NET_ADMIN, which old kernels demand for a map of sockets.
		if !has(c.bit) && (c == NetAdmin || !has(unix.CAP_SYS_ADMIN)) {
			names = append(names, c.Name)
		}
	}
	return names
}

func effectiveCapabilities(status []byte) (set uint64, ok bool) {
	for line := range bytes.Lines(status) {
		if hex, found := bytes.CutPrefix(line, []byte("CapEff:")); found {
			set, err := strconv.ParseUint(string(bytes.TrimSpace(hex)), 16, 64)
			return set, err == nil
		}
	}
	return 0, false
}
