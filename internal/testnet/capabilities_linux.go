// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// WithCapabilities runs f on a thread that has no other effective capabilities.
func WithCapabilities(t testing.TB, keep []uint, f func() error) error {
	t.Helper()
	result := make(chan error)
	var setErr error
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if setErr = SetCapabilities(keep); setErr != nil {
			result <- nil
			return
		}
		result <- f()
	}()
	err := <-result
	NeedPrivilege(t, setErr)
	return err
}

// SetCapabilities leaves the calling thread no other effective capabilities.
func SetCapabilities(keep []uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective, data[1].Effective = 0, 0
	for _, c := range keep {
		data[c/32].Effective |= 1 << (c % 32)
	}
	return unix.Capset(&header, &data[0])
}
