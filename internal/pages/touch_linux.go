// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/speadx/speadx/internal/sched"
)

const (
	// partBytes is how much memory is touched at once, unless a page is larger. The kernel
	// takes 5 to 40 ms to clear as much: that is how soon Touched can end it.
	partBytes = 16 << 20
	// maxThreads bounds the threads that touch memory. Some ten of them use all bandwidth
	// that a NUMA node has.
	maxThreads = 16
)

// stopped is the error that Touched returned. No other pages are tried after it.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

// touched tells that so many bytes have been touched, of so many.
func (o *Options) touched(bytes, of int) error {
	if o.Touched == nil {
		return nil
	}
	if err := o.Touched(bytes, of); err != nil {
		return &stopped{err}
	}
	return nil
}

// populateAll makes every page of b present and writable, on several threads.
func (k *kernel) populateAll(b []byte, page int, o Options) error {
	if err := o.touched(0, len(b)); err != nil {
		return err
	}
	var done atomic.Int64
	return k.inParts(b, page, o, func(part []byte) error {
		if err := k.populate(part, page); err != nil {
			return err
		}
		return o.touched(int(done.Add(int64(len(part)))), len(b))
	})
}

// inParts calls f for each part of b, on as many threads as o and the machine allow. After
// an error no further part is begun. The first error is returned when all threads have
// ended. Each part begins on a page.
func (k *kernel) inParts(b []byte, page int, o Options, f func(part []byte) error) error {
	size := max(partBytes, page)
	parts := (len(b) + size - 1) / size
	cpus := k.near(o.Node)
	var next atomic.Int64
	work := func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= parts {
				return nil
			}
			if err := f(b[i*size : min((i+1)*size, len(b))]); err != nil {
				next.Store(int64(parts))
				return err
			}
		}
	}
	threads := min(parts, len(cpus), runtime.GOMAXPROCS(0), maxThreads)
	if o.Threads > 0 {
		threads = min(threads, o.Threads)
	}
	if threads <= 1 {
		return work()
	}
	var (
		all    sync.WaitGroup
		once   sync.Once
		failed error
	)
	for range threads {
		all.Go(func() {
			if o.Node >= 0 {
				// Never unlocked: the thread, with its affinity, ends with us. Memory that
				// could not be bound to the node is then near it all the same.
				runtime.LockOSThread()
				_ = sched.Bind(cpus...) // refused: it runs where it may
			}
			if err := work(); err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	all.Wait()
	return failed
}

// near is the processors that memory of a node is touched on: those of the node that this
// process may use, or else all that it may use.
func (k *kernel) near(node int) []int {
	cpus, err := k.cpus(node)
	if err == nil && len(cpus) > 0 {
		return cpus
	}
	if cpus, err = k.cpus(-1); err != nil {
		return nil
	}
	return cpus
}

// touchError is the error of populateAll, for people. What Touched returned stays as it is.
func touchError(what string, err error) error {
	if s := (*stopped)(nil); errors.As(err, &s) {
		return s
	}
	return fmt.Errorf("%s: %w", what, err)
}
