// SPDX-License-Identifier: Apache-2.0

// Recv-memory-pool receives the heaps of a digitiser on a UDP port and prints of each
// its timestamp and the mean power of its samples: the receiver of
// docs/tutorial-memory-pools.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

// The items of a heap.
const (
	timestampID = 0x1600 // index of the first sample, an immediate item
	samplesID   = 0x3300 // samples of 8 bits
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("recv-memory-pool", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintln(stderr, "Usage: recv-memory-pool [-H heap-size] port") }
	heapSize := flags.Int64("H", 1<<20, "bytes of samples in a heap")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	port, err := strconv.ParseUint(flags.Arg(0), 10, 16)
	if flags.NArg() != 1 || err != nil || port == 0 || *heapSize < 1 {
		flags.Usage()
		return 2
	}
	// The first Ctrl-C ends reception in good order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := receive(ctx, int(port), *heapSize, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func receive(ctx context.Context, port int, heapSize int64, stdout, stderr io.Writer) error {
	r, err := speadx.Open(ctx, speadx.Config{
		Streams: []speadx.Stream{{Source: fmt.Sprintf(":%d", port)}},
		Mode:    speadx.ModeUDP,

		// The pool: 2 heaps being assembled, 2 that wait for us, 1 in our hands, and
		// 1 in those of the thread that reads the socket.
		HeapSize:        heapSize,
		ConcurrentHeaps: 2,
		RingHeaps:       2,
		ConsumerHeaps:   1,

		Logger: slog.New(slog.NewTextHandler(stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer r.Close()
	defer context.AfterFunc(ctx, r.Stop)() // Ctrl-C ends reception, and not the wait for what has been received
	// The receiving thread needs one of Go's processors as soon as it wakes up.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), r.Info().Threads+2))
	// And we come right behind it, if we may: where all processors are busy, as with
	// the sender on the same machine, the ring would fill up. Without the privilege
	// (CAP_SYS_NICE) nothing changes.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10)

	var c consumer
	for h, err := range r.Heaps(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.heap(h, stdout); err != nil {
			fmt.Fprintf(stderr, "heap %d: %v\n", h.Cnt(), err)
		}
		h.Release() // before the next one is asked for: ConsumerHeaps is 1
	}
	fmt.Fprintf(stdout, "Received %d heaps\n", c.heaps)
	return nil
}

// consumer is what we do with heaps.
type consumer struct {
	group spead.ItemGroup // without Hold: its values are valid until the heap's Release
	heaps int             // that had both items
}

// heap prints what is in one heap. A heap without one of the two items is passed over.
func (c *consumer) heap(h *heap.Heap, stdout io.Writer) error {
	timestamp, ok := uint64(0), false
	for _, item := range h.Items() {
		if item.ID == timestampID && item.Immediate {
			timestamp, ok = item.Value, true
		}
	}
	updated, err := c.group.Update(h)
	for _, item := range updated {
		if item.ID() == samplesID && ok {
			c.heaps++
			fmt.Fprintf(stdout, "Timestamp: %-10d Power: %.6g\n", timestamp, power(item))
		}
	}
	return err
}

// power is the mean power of an item's samples, read where they lie in the pool.
func power(item *spead.Item) float64 {
	if view, err := spead.ViewOf[int8](item.Value()); err == nil {
		if samples, ok := view.Slice(); ok {
			return meanPower(samples)
		}
	}
	// The first heap, with the descriptors, was lost. The id says all that is to be
	// known: bytes are samples.
	return meanPower(item.Raw())
}

// meanPower is the mean of the squares of samples of 8 bits with a sign. Several sums
// run side by side, as each addition would else wait for the one before.
func meanPower[T int8 | byte](samples []T) float64 {
	n, total := len(samples), int64(0)
	if n == 0 {
		return 0
	}
	for len(samples) > 0 {
		// No sum overflows in so many: each gets 2^16 squares of at most 2^14.
		part := samples[:min(len(samples), 4<<16)]
		samples = samples[len(part):]
		var a, b, c, d int32
		for ; len(part) >= 8; part = part[8:] {
			s := part[:8:8]
			a += square(s[0]) + square(s[4])
			b += square(s[1]) + square(s[5])
			c += square(s[2]) + square(s[6])
			d += square(s[3]) + square(s[7])
		}
		total += int64(a) + int64(b) + int64(c) + int64(d)
		for _, s := range part {
			total += int64(square(s))
		}
	}
	return float64(total) / float64(n)
}

func square[T int8 | byte](s T) int32 { return int32(int8(s)) * int32(int8(s)) }
