// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sandboxed runs f on a thread of its own, on which a seccomp filter answers a system call
// with errno, as those of systemd and of containers do. If first is not negative, only calls
// with this first argument are meant.
func Sandboxed(tb testing.TB, call uint32, first int, errno unix.Errno, f func()) {
	tb.Helper()
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K

		// Of struct seccomp_data; the low half of an argument on a little-endian machine.
		offsetCall, offsetFirst = 0, 16

		retAllow, retErrno = 0x7fff0000, 0x00050000
	)
	filter := []unix.SockFilter{
		{Code: load, K: offsetCall},
		{Code: equal, K: call, Jf: 3},
		{Code: load, K: offsetFirst},
		{Code: equal, K: uint32(first), Jf: 1},
		{Code: answer, K: retErrno | uint32(errno)},
		{Code: answer, K: retAllow},
	}
	if first < 0 {
		filter[3] = unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
		}
		if err != nil {
			done <- err
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
}
