// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package cache

// Past reports whether this machine can copy past its cache.
const Past = false

func copyLong(dst, src, _ []byte) { copy(dst, src) }

func copyLongPast(dst, src, _ []byte) { copy(dst, src) }

// Fence makes what [CopyPast] wrote visible before anything that the thread writes
// from now on.
func Fence() {}

func prefetch(p *byte, n uintptr) {}
