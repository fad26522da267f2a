// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"os"

	"github.com/speadx/speadx/internal/sched"
	"golang.org/x/sys/unix"
)

// kernel is every way this package touches the machine, so that tests can
// stand in for one with several nodes, without huge pages, or that refuses.
type kernel struct {
	mmap     func(length, prot, flags int) ([]byte, error) // anonymous and private
	munmap   func(b []byte) error
	mprotect func(b []byte, prot int) error
	madvise  func(b []byte, advice int) error
	mlock    func(b []byte) error
	mbind    func(b []byte, mode, node int) error
	readFile func(name string) ([]byte, error) // in /proc and /sys
	cpus     func(node int) ([]int, error)     // that this process may use; -1: of all nodes
	pageSize int
}

// machine is the kernel we run on.
var machine = kernel{
	mmap: func(length, prot, flags int) ([]byte, error) {
		return unix.Mmap(-1, 0, length, prot, flags|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	},
	munmap:   unix.Munmap,
	mprotect: unix.Mprotect,
	madvise:  unix.Madvise,
	mlock:    unix.Mlock,
	mbind:    mbind,
	readFile: os.ReadFile,
	cpus:     sched.NodeCPUs,
	pageSize: os.Getpagesize(),
}
