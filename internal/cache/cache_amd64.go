package cache

import "golang.org/x/sys/cpu"

// Past says whether this machine can copy past its cache.
var Past = cpu.X86.HasAVX2

var hasAVX512 = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasBMI2

// copyPast copies n bytes, at least one line's worth more than the unaligned
// beginning: the ends by ordinary stores, the whole lines between past the cache.
func copyPast(dst, src *byte, n uintptr) {
	if hasAVX512 {
		copyPastAVX512(dst, src, n)
	} else {
		copyPastAVX2(dst, src, n)
	}
}

//go:noescape
func copyPastAVX512(dst, src *byte, n uintptr)

//go:noescape
func copyPastAVX2(dst, src *byte, n uintptr)

// Fence makes what [CopyPast] wrote visible before anything that the thread writes
// from now on.
func Fence()

// Prefetch says that the line at p, and the one after it, will be read soon.
//
//go:noescape
func Prefetch(p *byte)
