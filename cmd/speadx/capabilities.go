// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// needCapabilities says which of the privileges are missing that who needs, which
// makes a veth pair of its own and receives on it.
func needCapabilities(who string) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capabilities of this process: %w", err)
	}
	var missing []string
	for _, c := range []struct {
		name string
		bit  uint
		why  string
	}{
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, "to make network namespaces"},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "to make a veth pair and attach to it"},
		{"CAP_NET_RAW", unix.CAP_NET_RAW, "for AF_XDP sockets"},
		{"CAP_BPF", unix.CAP_BPF, "to load the steering program"},
	} {
		if data[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			missing = append(missing, fmt.Sprintf("%s (%s)", c.name, c.why))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s is missing %s: run it as root", who, strings.Join(missing, ", "))
	}
	return nil
}
