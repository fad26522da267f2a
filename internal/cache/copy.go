package cache

// leastPast is the shortest copy that goes past the cache, bytes. A shorter one
// has few whole lines, and its ends are written the ordinary way in any case.
const leastPast = 512

// CopyPast is copy(dst, src) past the cache, where the machine can. What it writes
// may become visible to other processors later than what the thread writes after
// it, until the thread calls [Fence]. Where dst and src overlap, the result is
// undefined.
func CopyPast(dst, src []byte) int {
	n := min(len(dst), len(src))
	if !Past || n < leastPast {
		return copy(dst, src)
	}
	copyPast(&dst[0], &src[0], uintptr(n))
	return n
}
