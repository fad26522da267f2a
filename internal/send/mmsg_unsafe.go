// SPDX-License-Identifier: Apache-2.0

//go:build linux

package send

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is the kernel's struct mmsghdr: a message and how much of it was sent.
type mmsghdr struct {
	hdr  unix.Msghdr
	sent uint32
	_    [4]byte
}

// Does not compile if Go's layout stops matching the kernel's on 64-bit machines.
var _ [64]byte = [unsafe.Sizeof(mmsghdr{})]byte{}

// setBase points v at b, which must not be empty. What v refers to stays alive
// as long as v does.
func setBase(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

// sendmmsg sends the messages, see sendmmsg(2), and gives how many it sent. It
// fails only if the first could not be sent. A connection may take a part of a
// message, and no signal tells that it is closed.
func sendmmsg(fd int, messages []mmsghdr) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(messages))), uintptr(len(messages)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
