// SPDX-License-Identifier: Apache-2.0

package cache

import "testing"

func TestCopyAVX512(t *testing.T) {
	if !hasAVX512 {
		t.Log("this processor has no AVX-512: its copy is not tested here")
		return
	}
	testCopy(t, 64, func(dst, src, next []byte) { copyPastAVX512(&dst[0], &src[0], uintptr(len(dst)), soon(src, next)) })
	testCopy(t, 64, func(dst, src, next []byte) { copyAVX512(&dst[0], &src[0], uintptr(len(dst)), soon(src, next)) })
}

func TestCopyPastAVX2(t *testing.T) {
	if !Past {
		t.Log("this processor has no AVX2: its copy is not tested here")
		return
	}
	testCopy(t, 64, func(dst, src, _ []byte) { copyPastAVX2(&dst[0], &src[0], uintptr(len(dst))) })
}
