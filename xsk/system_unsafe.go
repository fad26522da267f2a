// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// registerUMEM gives umem to the socket, cut into chunks. The kernel pins the
// pages until the socket and all mappings of its rings are gone.
func registerUMEM(fd int, umem []byte, chunk int) error {
	reg := unix.XDPUmemReg{
		Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(umem)))),
		Len:  uint64(len(umem)),
		Size: uint32(chunk),
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	runtime.KeepAlive(umem)
	if errno != 0 {
		return errno
	}
	return nil
}

// mmapOffsets says where in the mappings of the rings their parts are. The answer
// of kernels before 5.4 is shorter, without the flags word, and refused.
func mmapOffsets(fd int) (unix.XDPMmapOffsets, error) {
	var off unix.XDPMmapOffsets
	n, err := sockopt(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&off), unsafe.Sizeof(off))
	if err == nil && n != unsafe.Sizeof(off) {
		err = fmt.Errorf("%d bytes of offsets instead of %d (the kernel is too old)", n, unsafe.Sizeof(off))
	}
	return off, err
}

// statistics reads the socket's counters. Kernels before 5.9 leave the newer ones
// zero.
func statistics(fd int) (unix.XDPStatistics, error) {
	var s unix.XDPStatistics
	_, err := sockopt(fd, unix.XDP_STATISTICS, unsafe.Pointer(&s), unsafe.Sizeof(s))
	return s, err
}

// sockopt fills size bytes at p with an option of level SOL_XDP, or fewer, and
// says how many.
func sockopt(fd, option int, p unsafe.Pointer, size uintptr) (uintptr, error) {
	n := uint32(size) // socklen_t
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(p), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return uintptr(n), nil
}
