// SPDX-License-Identifier: Apache-2.0

// Package cache says to the processor what Go has no words for: that memory will
// be read soon, and that what is written will not be.
//
// A store of the ordinary kind reads its cache line first, and what it writes
// drives something else out of the cache. Where many megabytes are written before
// the first of them is read, both are for nothing: [CopyPast] writes whole lines
// past the cache, so that each byte goes over the memory bus twice (read from the
// source, written) instead of three times.
//
//	Copy       source ─read─► registers ─► cache ◄─read─ destination
//	                                         └─written back later─► destination
//	CopyPast   source ─read─► registers ─► write-combining buffer ─► destination
//
// There is assembly for amd64, with AVX-512 or, for CopyPast, with AVX2. On other
// machines both are copy and the rest does nothing, and [Past] is false.
package cache
