// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Capability is one of capabilities(7).
type Capability = cap.Value

// The capabilities that can be kept.
const (
	NetAdmin       = cap.NET_ADMIN
	NetBindService = cap.NET_BIND_SERVICE
	BPF            = cap.BPF
)

// ForControl are the capabilities that adding an endpoint can need. CAP_NET_ADMIN is for the
// receive buffer of a UDP socket beyond net.core.rmem_max. CAP_NET_BIND_SERVICE is for a UDP
// port below net.ipv4.ip_unprivileged_port_start. CAP_BPF is for the endpoints of the XDP
// program before Linux 5.19. A group is joined without any.
func ForControl() []Capability { return []Capability{NetAdmin, NetBindService, BPF} }

// ForClosing are the capabilities that it takes to change the maps of an XDP program and to
// detach it: CAP_BPF before Linux 5.19, if kernel.unprivileged_bpf_disabled is not 0, and
// none since.
func ForClosing() []Capability {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return nil
	}
	disabled, _ := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if needsBPF(unix.ByteSliceToString(name.Release[:]), string(bytes.TrimSpace(disabled))) {
		return []Capability{BPF}
	}
	return nil
}

// needsBPF reports whether bpf(2) refuses all commands without CAP_BPF. Linux 5.19 lets
// through what works on open descriptors (commit c8644cd0efe7).
func needsBPF(release, disabled string) bool {
	if disabled == "0" {
		return false
	}
	first, rest, _ := strings.Cut(release, ".")
	second, _, _ := strings.Cut(rest, ".")
	second, _, _ = strings.Cut(second, "-")
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(second)
	return err1 == nil && err2 == nil && (major < 5 || major == 5 && minor < 19)
}

// Confine makes sure that no program that this process starts has privileges that the
// process has not: it sets no_new_privs, and empties the bounding set if CAP_SETPCAP
// allows. What the process itself may do does not change. It is called before there are
// threads that must not be interrupted: it stops all threads once for each capability.
func Confine() error {
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if may, err := cap.GetProc().GetFlag(cap.Effective, cap.SETPCAP); err != nil || !may {
		return err
	}
	for c := range cap.MaxBits() {
		if in, err := cap.GetBound(c); err != nil || !in {
			continue
		}
		if err := cap.DropBound(c); err != nil {
			return fmt.Errorf("take %s out of the bounding set: %w", name(c), err)
		}
	}
	return nil
}

// Drop gives up all capabilities of all threads, but those to keep, and returns the names
// of what is left. A capability that the process does not have is not gained. The
// inheritable and the ambient set are empty then. It stops all threads once.
func Drop(keep ...Capability) (left []string, err error) {
	had, want := cap.GetProc(), cap.NewSet()
	for _, c := range slices.Compact(slices.Sorted(slices.Values(keep))) {
		permitted, err := had.GetFlag(cap.Permitted, c)
		if err != nil || !permitted {
			continue // the kernel may not know it
		}
		for _, set := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := want.SetFlag(set, true, c); err != nil {
				return nil, fmt.Errorf("keep %s: %w", name(c), err)
			}
		}
		left = append(left, name(c))
	}
	// The kernel takes out of the ambient set what is not permitted and inheritable.
	if err := want.SetProc(); err != nil {
		return nil, fmt.Errorf("drop capabilities: %w", err)
	}
	return left, nil
}

// name is such as "CAP_NET_ADMIN".
func name(c Capability) string { return strings.ToUpper(c.String()) }
