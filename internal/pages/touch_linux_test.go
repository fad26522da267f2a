// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTouchedAddsUp: what Touched is told of begins at none and ends at all, and each part
// is counted once.
func TestTouchedAddsUp(t *testing.T) {
	for _, threads := range []int{1, 3} {
		h := newHost()
		useCPUs(t, h, 3)
		const parts = 10
		var mu sync.Mutex
		var seen []int
		m, err := h.mapMemory(parts*partBytes-1, Options{Choice: Off, Node: -1, Threads: threads, Touched: func(bytes, of int) error {
			mu.Lock()
			defer mu.Unlock()
			if of != parts*partBytes {
				t.Errorf("of %d bytes, want %d", of, parts*partBytes)
			}
			seen = append(seen, bytes/partBytes)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if seen[0] != 0 {
			t.Errorf("the first call is told of %d parts", seen[0])
		}
		slices.Sort(seen) // threads overtake each other between the count and the call
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(seen, want) {
			t.Errorf("%d threads: told of %d parts, want %d", threads, seen, want)
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	}
}

// useCPUs gives the host n processors, and Go as many.
func useCPUs(t *testing.T, h *host, n int) {
	t.Helper()
	h.cpus = func(int) ([]int, error) { return make([]int, n), nil }
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// TestThreads: that many threads are in the kernel at once, and no more. Each waits there
// for the others, so that fewer would not end.
func TestThreads(t *testing.T) {
	for _, tt := range []struct{ cpus, asked, parts, want int }{
		{cpus: 3, parts: 12, want: 3},
		{cpus: 3, asked: 2, parts: 12, want: 2},
		{cpus: 3, asked: 8, parts: 12, want: 3},
		{cpus: 3, parts: 2, want: 2},
		{cpus: 1, parts: 3, want: 1},
		{cpus: 40, parts: 2 * maxThreads, want: maxThreads},
		{cpus: 0, parts: 3, want: 1}, // they cannot be known
	} {
		h := newHost()
		useCPUs(t, h, max(tt.cpus, 1))
		if tt.cpus == 0 {
			h.cpus = func(int) ([]int, error) { return nil, unix.ENOSYS }
		}
		var inside, most atomic.Int64
		together := make(chan struct{})
		var once sync.Once
		h.madvise = func(_ []byte, advice int) error {
			if advice != unix.MADV_POPULATE_WRITE {
				return nil
			}
			n := inside.Add(1)
			defer inside.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if n == int64(tt.want) {
				once.Do(func() { close(together) })
			}
			select {
			case <-together:
				return nil
			case <-time.After(10 * time.Second):
				return context.DeadlineExceeded
			}
		}
		m, err := h.mapMemory(tt.parts*partBytes, Options{Choice: Off, Node: -1, Threads: tt.asked})
		if err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		if got := most.Load(); got != int64(tt.want) {
			t.Errorf("%+v: %d threads at once", tt, got)
		}
		if err := m.Unmap(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTouchedStops: the error of Touched is that of Map. Nothing is left mapped, and no
// other sort of pages is tried.
func TestTouchedStops(t *testing.T) {
	stop := errors.New("enough")
	for _, tt := range []struct {
		choice Choice
		after  int // parts
		calls  []string
	}{
		{Auto, 0, []string{"mmap 2M"}},
		{Auto, 3, []string{"mmap 2M", "populate"}},
		{Off, 3, []string{"mmap", "mprotect", "nohugepage", "populate"}},
		{THP, 3, []string{"mmap", "mprotect", "hugepage", "populate"}},
	} {
		h := newHost()
		useCPUs(t, h, 2)
		h.setHuge("/sys/kernel/mm/hugepages", 2<<10, 100, 100)
		m, err := h.mapMemory(10*partBytes, Options{Choice: tt.choice, Node: -1, Lock: true, Touched: func(bytes, _ int) error {
			if bytes >= tt.after*partBytes {
				return stop
			}
			return nil
		}})
		if m != nil || !errors.Is(err, stop) {
			t.Errorf("%v: %v, %v", tt.choice, m, err)
		}
		if errors.Is(err, ErrMemory) {
			t.Errorf("%v: %v says that memory is short", tt.choice, err)
		}
		if h.out != 0 {
			t.Errorf("%v: %d mappings are left", tt.choice, h.out)
		}
		if got := slices.Compact(h.calls); !slices.Equal(got, tt.calls) {
			t.Errorf("%v: calls %q, want %q", tt.choice, got, tt.calls)
		}
		if n := len(h.calls); n > 10 {
			t.Errorf("%v: %d calls: touching went on", tt.choice, n)
		}
	}
}

// TestStoppedWhileCollapsing: asking for huge pages once more can be ended too.
func TestStoppedWhileCollapsing(t *testing.T) {
	h := newHost()
	h.huge = 0 // the faults got none
	stop := errors.New("enough")
	collapsing := false
	madvise := h.madvise
	h.madvise = func(b []byte, advice int) error {
		if advice == unix.MADV_COLLAPSE {
			collapsing = true
		}
		return madvise(b, advice)
	}
	useCPUs(t, h, 1)
	_, err := h.mapMemory(4*partBytes, Options{Choice: THP, Node: -1, Touched: func(int, int) error {
		if collapsing {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) || h.out != 0 {
		t.Errorf("%v, %d mappings are left", err, h.out)
	}
	if n := strings.Count(strings.Join(h.calls, " "), "collapse"); n != 1 {
		t.Errorf("%d parts were collapsed", n)
	}
}

// TestTouchFails: a thread that gets no memory ends the others.
func TestTouchFails(t *testing.T) {
	h := newHost()
	useCPUs(t, h, 2)
	h.fail["populate"] = unix.ENOMEM
	m, err := h.mapMemory(20*partBytes, Options{Choice: Off, Node: -1})
	if m != nil || !errors.Is(err, ErrMemory) || !errors.Is(err, unix.ENOMEM) || h.out != 0 {
		t.Errorf("%v, %v, %d mappings are left", m, err, h.out)
	}
	if n := strings.Count(strings.Join(h.calls, " "), "populate"); n > 2 {
		t.Errorf("%d parts were touched after the first had failed", n)
	}
}

// TestTouchHere maps what several threads touch, near a node: all of it is in memory.
func TestTouchHere(t *testing.T) {
	m, err := Map(3*partBytes+1, Options{Choice: Off, Node: 0, Threads: 4, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	checkResident(t, m)
	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
}
