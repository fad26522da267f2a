// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// TestManyNext: hundreds of goroutines in Next have one thread, not hundreds. Those
// that wait get a heap each, none twice, and Close ends the others.
func TestManyNext(t *testing.T) {
	const waiters, heaps = 300, 12
	n := newWire(t, testnet.Options{})
	r := open(t, n, stalled(n, heap.Block))
	before := threads(t)
	var mu sync.Mutex
	var counts []uint64
	var ended int
	var all sync.WaitGroup
	for range waiters {
		all.Go(func() {
			h, err := r.Next(t.Context())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				counts = append(counts, h.Cnt())
				h.Release()
			case errors.Is(err, speadx.ErrClosed):
				ended++
			default:
				t.Error(err)
			}
		})
	}
	awaitInNext(t, waiters)
	if more := threads(t) - before; more > 20 {
		t.Errorf("%d goroutines wait in Next, and there are %d threads more", waiters, more)
	}
	sendAndAwait(t, n, r, heaps)
	awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsDelivered] == heaps })
	awaitInNext(t, waiters-heaps)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	slices.Sort(counts)
	if len(counts) != heaps || len(slices.Compact(counts)) != heaps || ended != waiters-heaps {
		t.Errorf("heaps %d, and %d times the end", counts, ended)
	}
	settle(t, r)
}

// awaitInNext waits until n goroutines wait in Next: for the turn, or in a
// system call.
func awaitInNext(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 4<<20)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		waiting := 0
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			head, frames, _ := strings.Cut(g, "\n")
			if (strings.Contains(head, "[select") || strings.Contains(head, "[syscall")) && strings.Contains(frames, "speadx.(*Receiver).Next(") {
				waiting++
			}
		}
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait in Next, not %d", waiting, n)
		}
	}
}

// threads is how many threads this process has.
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// uncomparable is a context that == panics for.
type uncomparable struct {
	context.Context
	values map[string]int
}

// TestNextUncomparableContext: a context may be of any type.
func TestNextUncomparableContext(t *testing.T) {
	n := newWire(t, testnet.Options{})
	r := open(t, n, stalled(n, heap.Block))
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := r.Next(uncomparable{ctx, map[string]int{}})
			done <- err
		}()
		awaitInNext(t, 1)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
