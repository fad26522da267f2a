//go:build !amd64

package cache

// Past says whether this machine can copy past its cache.
const Past = false

func copyPast(dst, src *byte, n uintptr) { panic("unreachable") }

// Fence makes what [CopyPast] wrote visible before anything that the thread writes
// from now on.
func Fence() {}

// Prefetch says that the line at p, and the one after it, will be read soon.
func Prefetch(p *byte) {}
