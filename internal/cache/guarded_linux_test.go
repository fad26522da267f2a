// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// guarded is memory of n bytes, whole pages, behind which reads and writes fault.
func guarded(t *testing.T, n int) []byte {
	t.Helper()
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, n+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mprotect(memory[n:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return memory[:n:n]
}
