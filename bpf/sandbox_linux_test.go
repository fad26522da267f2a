// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
)

// TestSandboxed: a filter of system calls is named as what forbids the program.
func TestSandboxed(t *testing.T) {
	load(t, SteerConfig{Queues: 1}).Close()
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		testnet.Sandboxed(t, unix.SYS_BPF, -1, errno, func() {
			s, err := LoadSteer(SteerConfig{Queues: 1, Frags: true})
			if err == nil {
				s.Close()
			}
			var e *PermissionError
			if !errors.As(err, &e) || !errors.Is(err, errno) || e.Cause != "seccomp" || len(e.Missing) > 0 {
				t.Errorf("%v: %v", errno, err)
			}
		})
	}
}
