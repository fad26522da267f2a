package cache

import "testing"

func TestCopyAVX512(t *testing.T) {
	if !hasAVX512 {
		t.Log("this processor has no AVX-512: its copy is not tested here")
		return
	}
	testCopy(t, 64, func(dst, src []byte) { copyPastAVX512(&dst[0], &src[0], uintptr(len(dst))) })
	testCopy(t, 64, func(dst, src []byte) { copyAVX512(&dst[0], &src[0], uintptr(len(dst))) })
}

func TestCopyPastAVX2(t *testing.T) {
	if !Past {
		t.Log("this processor has no AVX2: its copy is not tested here")
		return
	}
	testCopy(t, 64, func(dst, src []byte) { copyPastAVX2(&dst[0], &src[0], uintptr(len(dst))) })
}
