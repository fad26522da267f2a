// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// oracle is the definition of the generator, one word after the other, from
// the beginning.
func oracle(n int) []byte {
	b := make([]byte, 0, n+4)
	for x := uint64(1); len(b) < n; {
		x = x * 48271 % 2147483647
		b = binary.BigEndian.AppendUint32(b, uint32(x))
	}
	return b[:n]
}

// TestStandard holds what the C++ standard demands of minstd_rand: its
// 10000th value.
func TestStandard(t *testing.T) {
	if got := word(9999); got != 399268537 {
		t.Errorf("10000th word is %d, want 399268537", got)
	}
	if got := word(0); got != 48271 {
		t.Errorf("first word is %d, want 48271", got)
	}
}

func TestFillAndCheck(t *testing.T) {
	all := oracle(5000)
	buf := make([]byte, 300)
	for position := range 70 {
		for n := range 150 {
			dst := buf[:n+1]
			dst[n] = 0xa5 // must stay
			Fill(dst[:n], uint64(position))
			if want := all[position : position+n]; !bytes.Equal(dst[:n], want) || dst[n] != 0xa5 {
				t.Fatalf("position %d, %d bytes: %x, want %x", position, n, dst[:n], want)
			}
			if at := Check(dst[:n], uint64(position)); at != -1 {
				t.Fatalf("position %d, %d bytes: mismatch at %d", position, n, at)
			}
		}
	}
}

// TestCheckFindsEveryByte damages each byte of a stretch, one bit at a time
// and together with all later ones.
func TestCheckFindsEveryByte(t *testing.T) {
	all := oracle(5000)
	for position := 1001; position < 1005; position++ {
		data := bytes.Clone(all[position : position+131])
		for i := range data {
			for bit := range 8 {
				data[i] ^= 1 << bit
				if at := Check(data, uint64(position)); at != i {
					t.Fatalf("position %d: bit %d of byte %d is reported at %d", position, bit, i, at)
				}
				data[i] ^= 1 << bit
			}
		}
		for i := len(data) - 1; i >= 0; i-- {
			data[i]++
			if at := Check(data, uint64(position)); at != i {
				t.Fatalf("position %d: damage from byte %d on is reported at %d", position, i, at)
			}
		}
	}
}

// TestJump compares far positions with steps from near ones, past the end of
// the period too.
func TestJump(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := rng.Uint64N(1 << 40)
		want := word(n) * 48271 % modulus
		if got := word(n + 1); got != want {
			t.Fatalf("word %d is %d, want %d", n+1, got, want)
		}
	}
	all := oracle(64)
	for _, from := range []uint64{period, 3 * period, period * (1 << 30)} {
		if at := Check(all[:60], from); at != -1 {
			t.Errorf("position %d is not the beginning again", from)
		}
	}
	got := make([]byte, 20)
	Fill(got, period-4)
	if binary.BigEndian.Uint32(got) != 1 || !bytes.Equal(got[4:], all[:16]) {
		t.Errorf("around the end of the period: %x", got)
	}
}

// TestPosition walks over heaps as spead2_send does, with one generator for
// all of them.
func TestPosition(t *testing.T) {
	const items, itemSize, heaps = 3, 20, 7
	all := oracle(items * itemSize * heaps)
	for cnt := uint64(1); cnt <= heaps; cnt++ {
		for i := range items {
			got := make([]byte, itemSize)
			Fill(got, Position(cnt, items, i, itemSize))
			if !bytes.Equal(got, all[:itemSize]) {
				t.Errorf("heap %d item %d: %x, want %x", cnt, i, got, all[:itemSize])
			}
			all = all[itemSize:]
		}
	}
	// Far beyond what 64 bits hold without care: 2^48 heaps of 64 MiB.
	const cnt, size = 1<<48 + 1, 64 << 20
	want := uint64(1)
	for _, f := range []uint64{1 << 24, 1 << 24, size / 4} {
		want = want * f % periodWords
	}
	if got := Position(cnt, 1, 0, size); got != want*4 {
		t.Errorf("position of heap 2^48+1 is %d, want %d", got, want*4)
	}
}

func TestCheckHeap(t *testing.T) {
	heap := func(cnt uint64, n, size int) [][]byte {
		payload := make([]byte, n*size)
		Fill(payload, uint64(n*size)*(cnt-1))
		var items [][]byte
		for i := range n {
			items = append(items, payload[i*size:][:size])
		}
		return items
	}
	if err := CheckHeap(5, heap(5, 4, 404)); err != nil {
		t.Error(err)
	}
	if err := CheckHeap(9, nil); err != nil {
		t.Errorf("a heap without items: %v", err)
	}
	if n := testing.AllocsPerRun(10, func() { _ = CheckHeap(9, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}

	items := heap(5, 4, 404)
	items[2][7]++
	var m *MismatchError
	if err := CheckHeap(5, items); !errors.As(err, &m) || m.Cnt != 5 || m.Item != 2 || m.Offset != 7 || m.Got != m.Want+1 {
		t.Errorf("damage is reported as %v", err)
	}
	items = heap(5, 4, 404)
	items[1] = items[1][:400]
	if err := CheckHeap(5, items); !errors.As(err, &m) || m.Item != 1 || m.Offset != -1 {
		t.Errorf("a short item is reported as %v", err)
	}
	if err := CheckHeap(4, heap(5, 4, 404)); err == nil {
		t.Error("another heap's payload is accepted")
	}
}

func BenchmarkFill(b *testing.B) {
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		Fill(buf, 12345678*4)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, size := range []int{8 << 10, 1 << 20, 64 << 20} {
		b.Run(byteSize(size), func(b *testing.B) {
			buf := make([]byte, size)
			Fill(buf, 12345678*4)
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if Check(buf, 12345678*4) >= 0 {
					b.Fatal("mismatch")
				}
			}
		})
	}
}

func byteSize(n int) string {
	return map[int]string{8 << 10: "8KiB", 1 << 20: "1MiB", 64 << 20: "64MiB"}[n]
}
