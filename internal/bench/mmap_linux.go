// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapped takes fresh pages from the kernel.
type mapped struct {
	size int
	b    []byte
}

func (m *mapped) take() (_ []byte, err error) {
	m.b, err = unix.Mmap(-1, 0, m.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	return m.b, os.NewSyscallError("mmap", err)
}

func (m *mapped) release() error {
	return os.NewSyscallError("munmap", unix.Munmap(m.b))
}
