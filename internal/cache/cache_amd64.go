// SPDX-License-Identifier: Apache-2.0

package cache

import "golang.org/x/sys/cpu"

// Past reports whether this machine can copy past its cache.
var Past = cpu.X86.HasAVX2

var hasAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasBMI2

// copyLong is Copy of at least [leastLong] bytes.
func copyLong(dst, src, next []byte) {
	if hasAVX512 {
		copyAVX512(&dst[0], &src[0], uintptr(len(src)), soon(src, next))
	} else {
		prefetchPayload(next)
		copy(dst, src)
	}
}

// copyLongPast is CopyPast of at least [leastLong] bytes, where Past.
func copyLongPast(dst, src, next []byte) {
	if hasAVX512 {
		copyPastAVX512(&dst[0], &src[0], uintptr(len(src)), soon(src, next))
	} else {
		prefetchPayload(next)
		copyPastAVX2(&dst[0], &src[0], uintptr(len(src)))
	}
}

// soon is where to fetch from while src is copied: from src itself, which changes
// nothing, if nothing is next. To fetch from behind the end of next, or of memory, is not
// an error.
func soon(src, next []byte) *byte {
	if len(next) == 0 {
		return &src[0]
	}
	return &next[0]
}

// copyAVX512 fetches, while it copies n bytes, about as many from next.
//
//go:noescape
func copyAVX512(dst, src *byte, n uintptr, next *byte)

//go:noescape
func copyPastAVX512(dst, src *byte, n uintptr, next *byte)

//go:noescape
func copyPastAVX2(dst, src *byte, n uintptr)

// Fence makes what [CopyPast] wrote visible before anything that the thread writes
// from now on.
func Fence()

// prefetch says that n bytes at p will be read soon.
//
//go:noescape
func prefetch(p *byte, n uintptr)
