// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
)

// lengths are all up to some lines, and around the lengths that matter.
func lengths() []int {
	var all []int
	for n := range 1200 {
		all = append(all, n)
	}
	return append(all, 1400, 1407, 1408, 1409, 4023, 4024, 4096, 8899, 8900, 8972, 65536)
}

// testCopy compares a copy with copy, at all alignments that differ in what is done.
// All sources end where memory that can be read does, and of the destinations of each
// length one.
func testCopy(t *testing.T, least int, f func(dst, src, next []byte)) {
	// A fault in f becomes a panic, which can say for which copy.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	r := rand.New(rand.NewPCG(1, 2))
	source := guarded(t, 1<<17)
	for i := range source {
		source[i] = byte(r.Uint32())
	}
	memory := guarded(t, len(source))
	expected := make([]byte, len(source))
	for _, n := range lengths() {
		if n < least {
			continue
		}
		src := source[len(source)-n:]
		next := src[n-min(n, n%7*100):] // less than src, with the end of memory behind it, or nothing
		// The copy, up to 63 bytes behind it and 64 and more before it.
		dst, want := memory[len(memory)-n-128:], expected[len(expected)-n-128:]
		for k := range 64 {
			for i := range dst {
				dst[i], want[i] = 0xaa, 0xaa
			}
			from, to := len(dst)-n-k, len(dst)-k
			if fault := faults(func() { f(dst[from:to], src, next) }); fault != nil {
				t.Fatalf("%d bytes, %d before the end of memory: %v", n, k, fault)
			}
			Fence()
			copy(want[from:to], src)
			if !bytes.Equal(dst, want) {
				t.Fatalf("%d bytes, %d before the end of memory: not as copied by copy", n, k)
			}
		}
	}
}

// faults is what f panics with, nil if it does not.
func faults(f func()) (fault any) {
	defer func() { fault = recover() }()
	f()
	return nil
}

func TestCopyPast(t *testing.T) {
	testCopy(t, 0, func(dst, src, next []byte) {
		if n := CopyPast(dst, src, next); n != len(dst) {
			t.Fatalf("copied %d bytes of %d", n, len(dst))
		}
	})
}

func TestCopy(t *testing.T) {
	testCopy(t, 0, func(dst, src, next []byte) {
		if n := Copy(dst, src, next); n != len(dst) {
			t.Fatalf("copied %d bytes of %d", n, len(dst))
		}
	})
}

// TestCopyPastShort: the shorter of the two counts, as with copy.
func TestCopyPastShort(t *testing.T) {
	src, dst := bytes.Repeat([]byte{1}, 2000), make([]byte, 3000)
	if n := CopyPast(dst, src, nil); n != 2000 || dst[1999] != 1 || dst[2000] != 0 {
		t.Errorf("of 2000 bytes to 3000 copied %d", n)
	}
	if n := CopyPast(dst[:600], src, nil); n != 600 {
		t.Errorf("of 2000 bytes to 600 copied %d", n)
	}
	if n := Copy(dst, src, nil); n != 2000 || dst[2000] != 0 {
		t.Errorf("of 2000 bytes to 3000 copied %d", n)
	}
}

// BenchmarkCopy writes 640 MiB before it comes back to where it began.
func BenchmarkCopy(b *testing.B) {
	dst := make([]byte, 640<<20)
	src := make([]byte, 1<<20)
	for _, size := range []int{1400, 4024, 8900} {
		for _, c := range []struct {
			name string
			f    func(dst, src, next []byte) int
		}{{"copy", func(dst, src, _ []byte) int { return copy(dst, src) }}, {"Copy", Copy}, {"CopyPast", CopyPast}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				at, from := 0, 0
				for b.Loop() {
					if at+size > len(dst) {
						at = 0
					}
					if from+size > len(src) {
						from = 0
					}
					c.f(dst[at:at+size], src[from:from+size], src[from+size:])
					at += size
					from += size
				}
			})
		}
	}
}

// TestPrefetch: neither is anything read behind the end of memory, nor does it matter
// that a packet is too short.
func TestPrefetch(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	memory := guarded(t, 4096)
	for _, n := range []int{0, 1, 64, 128, 129, 256, 1472} {
		packet := memory[len(memory)-n:]
		for name, prefetch := range map[string]func([]byte){"headers": PrefetchHeaders, "payload": prefetchPayload} {
			if fault := faults(func() { prefetch(packet) }); fault != nil {
				t.Errorf("%s of a packet of %d bytes: %v", name, n, fault)
			}
		}
	}
}
