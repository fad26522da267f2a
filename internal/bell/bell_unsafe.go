//go:build linux

package bell

import "unsafe"

// asBytes views v as the eight bytes that an eventfd reads and writes.
func asBytes(v *uint64) []byte { return (*[8]byte)(unsafe.Pointer(v))[:] }
