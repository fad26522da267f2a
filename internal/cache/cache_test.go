package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
func testCopy(t *testing.T, least int, f func(dst, src []byte)) {
	r := rand.New(rand.NewPCG(1, 2))
	src := make([]byte, 70000)
	for i := range src {
		src[i] = byte(r.Uint32())
	}
	dst := make([]byte, len(src))
	want := make([]byte, len(src))
	for _, n := range lengths() {
		if n < least {
			continue
		}
		for k := range 64 {
			from, to := r.IntN(64), k
			for i := range dst[:n+128] {
				dst[i], want[i] = 0xaa, 0xaa
			}
			f(dst[to:to+n], src[from:from+n])
			Fence()
			copy(want[to:to+n], src[from:from+n])
			if !bytes.Equal(dst[:n+128], want[:n+128]) {
				t.Fatalf("%d bytes from %d to %d modulo 64: not as copied by copy", n, from, to)
			}
		}
	}
}

func TestCopyPast(t *testing.T) {
	testCopy(t, 0, func(dst, src []byte) {
		if n := CopyPast(dst, src); n != len(dst) {
			t.Fatalf("copied %d bytes of %d", n, len(dst))
		}
	})
}

func TestCopy(t *testing.T) {
	testCopy(t, 0, func(dst, src []byte) {
		if n := Copy(dst, src); n != len(dst) {
			t.Fatalf("copied %d bytes of %d", n, len(dst))
		}
	})
}

// TestCopyPastShort: the shorter of the two counts, as with copy.
func TestCopyPastShort(t *testing.T) {
	src, dst := bytes.Repeat([]byte{1}, 2000), make([]byte, 3000)
	if n := CopyPast(dst, src); n != 2000 || dst[1999] != 1 || dst[2000] != 0 {
		t.Errorf("of 2000 bytes to 3000 copied %d", n)
	}
	if n := CopyPast(dst[:600], src); n != 600 {
		t.Errorf("of 2000 bytes to 600 copied %d", n)
	}
	if n := Copy(dst, src); n != 2000 || dst[2000] != 0 {
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
			f    func(dst, src []byte) int
		}{{"copy", func(dst, src []byte) int { return copy(dst, src) }}, {"Copy", Copy}, {"CopyPast", CopyPast}} {
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
					c.f(dst[at:at+size], src[from:from+size])
					at += size
					from += size
				}
			})
		}
	}
}

// TestPrefetch: there is nothing to see but that nothing is touched, or read beyond
// the end of memory.
func TestPrefetch(t *testing.T) {
	for _, n := range []int{0, 1, 128, 129, 1472} {
		b := make([]byte, n)
		PrefetchHeaders(b)
		PrefetchPayload(b)
		if !bytes.Equal(b, make([]byte, n)) {
			t.Errorf("the prefetched packet of %d bytes has changed", n)
		}
	}
}
