// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"math"
	"time"

	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/sandbox"
	"github.com/speadx/speadx/internal/sched"
	"golang.org/x/sys/unix"
)

// system is what this package asks of the kernel. Tests replace single calls to
// make them fail, or all of them to play the kernel.
type system struct {
	socket      func() (fd int, err error) // of AF_XDP
	eventfd     func() (fd int, err error)
	close       func(fd int) error
	mapUMEM     func(size int, o pages.Options) (*pages.Mapping, error)
	unmapUMEM   func(*pages.Mapping) error
	regUMEM     func(fd int, umem []byte, chunk int) error // XDP_UMEM_REG
	setInt      func(fd, level, option, value int) error   // setsockopt of an int
	getInt      func(fd, level, option int) (int, error)   // getsockopt of an int
	offsets     func(fd int) (unix.XDPMmapOffsets, error)  // XDP_MMAP_OFFSETS
	statistics  func(fd int) (unix.XDPStatistics, error)   // XDP_STATISTICS
	mapRing     func(fd int, offset int64, size int) ([]byte, error)
	unmapRing   func([]byte) error
	bind        func(fd int, sa *unix.SockaddrXDP) error
	poll        func(fds []unix.PollFd, timeout *unix.Timespec) (int, error)
	kick        func(fd int) unix.Errno // recvfrom of nothing, MSG_DONTWAIT
	read        func(fd int, p []byte) (int, error)
	write       func(fd int, p []byte) (int, error)
	memlock     func() (bytes uint64, err error) // RLIMIT_MEMLOCK
	forbidden   func(err error) sandbox.Cause    // why a socket was refused
	multiBuffer func() bool                      // the kernel knows XDP_USE_SG
	sleep       func(time.Duration)
	nap         func(time.Duration) // finer than sleep, and a signal ends it
}

var linux = &system{
	forbidden: func(err error) sandbox.Cause {
		raw, capErr := sandbox.Capable(unix.CAP_NET_RAW)
		return sandbox.Look().OfSocket(err, raw || capErr != nil)
	},
	socket: func() (int, error) {
		return unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	},
	eventfd: func() (int, error) {
		return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	},
	close:      unix.Close,
	mapUMEM:    pages.Map,
	unmapUMEM:  (*pages.Mapping).Unmap,
	regUMEM:    registerUMEM,
	setInt:     unix.SetsockoptInt,
	getInt:     unix.GetsockoptInt,
	offsets:    mmapOffsets,
	statistics: statistics,
	mapRing: func(fd int, offset int64, size int) ([]byte, error) {
		return unix.Mmap(fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	},
	unmapRing: unix.Munmap,
	bind: func(fd int, sa *unix.SockaddrXDP) error {
		return unix.Bind(fd, sa)
	},
	poll: func(fds []unix.PollFd, timeout *unix.Timespec) (int, error) {
		return unix.Ppoll(fds, timeout, nil)
	},
	// The call cannot block, so the scheduler need not hear of it. While busy
	// polling it runs the driver for up to busyPollMicros.
	kick: func(fd int) unix.Errno {
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		return errno
	},
	read:  unix.Read,
	write: unix.Write,
	memlock: func() (uint64, error) {
		var limit unix.Rlimit
		err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit)
		return limit.Cur, err
	},
	multiBuffer: multiBuffer,
	sleep:       time.Sleep,
	nap:         sched.Nap,
}

// multiBuffer asks whether the kernel lets packets span frames. Linux 6.6 brought it. Some
// distributions have it in older kernels, so the release does not tell. bind looks at its
// flags first, and then for the interface, whose index here is none. So a kernel that knows
// the flag answers ENODEV, and another one EINVAL (xsk_bind). Without the privilege for a
// socket the answer is yes, and opening one says what is missing.
func multiBuffer() bool {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	err = unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_USE_SG | unix.XDP_COPY, Ifindex: math.MaxInt32})
	return !errors.Is(err, unix.EINVAL)
}
