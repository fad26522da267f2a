// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"testing"
	"time"

	"github.com/speadx/speadx/pool"
)

// The consumer's time for a heap is that from take to take while heaps wait, and from take to
// release where none does. A time is observed once.
func TestConsumerTimes(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	one := func(cnt uint64) []byte { return raw(f48, cnt, 64, 0, make([]byte, 64)) }
	r.feed(0, one(1), one(2), one(3))
	const work = 3 * time.Millisecond
	a := r.heap() // two wait
	time.Sleep(work)
	a.Release()
	if s := r.ConsumerTimes(); s.Count != 0 {
		t.Errorf("%d times before the next take", s.Count)
	}
	b := r.heap()
	c := r.heap() // none waits behind it
	time.Sleep(work)
	b.Release()
	c.Release()
	time.Sleep(work) // waiting is no work
	r.feed(0, one(4))
	r.heap().Release()
	s := r.ConsumerTimes()
	if s.Count != 4 || s.Sum < 2*work || s.Quantile(1) < work {
		t.Errorf("%d times, sum %v, longest %v", s.Count, s.Sum, s.Longest)
	}
}

func BenchmarkTake(b *testing.B) {
	r := newRig(b, pool.ShareConfig{}, Config{})
	for i := range b.N {
		r.now += 3 * second
		r.feed(0, raw(f48, uint64(i), 64, 0, make([]byte, 64)))
		r.heap().Release()
	}
}
