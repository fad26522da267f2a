// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
)

// TestSandboxed: a filter of system calls that answers as a kernel without AF_XDP would is
// told from that, and from a lack of privileges.
func TestSandboxed(t *testing.T) {
	fd, err := linux.socket()
	testnet.NeedPrivilege(t, err)
	unix.Close(fd)
	for _, errno := range []unix.Errno{unix.EAFNOSUPPORT, unix.EPERM, unix.ENOSYS} {
		testnet.Sandboxed(t, unix.SYS_SOCKET, unix.AF_XDP, errno, func() {
			_, err := Open(Config{Ifname: "lo", Ifindex: 1, Mode: ModeGeneric, Frames: 64, MaxChain: 1})
			var e *OpenError
			if !errors.As(err, &e) || !errors.Is(err, errno) || e.Step != StepSocket || e.Forbidden != "seccomp" {
				t.Errorf("%v: %v", errno, err)
			}
		})
	}
}
