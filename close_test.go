// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// TestCloseIsIdempotent: also with several at once, and nothing comes after it.
func TestCloseIsIdempotent(t *testing.T) {
	n := newWire(t, testnet.Options{})
	r := open(t, n, stalled(n, heap.Block))
	sendAndAwait(t, n, r, 5)
	var closing sync.WaitGroup
	for range 4 {
		closing.Go(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			checkNext(t, r, speadx.ErrClosed)
		})
	}
	closing.Wait()
	r.Stop()
	<-r.Done()
	checkNext(t, r, speadx.ErrClosed)
	for h, err := range r.Heaps(t.Context()) {
		if h != nil || !errors.Is(err, speadx.ErrClosed) {
			t.Errorf("after Close: %v, %v; want ErrClosed", h, err)
		}
	}
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{ledger.Shutdown: 5 * heapPackets})
	if r.Info().PoolSlots == 0 || len(r.Info().Devices) != 1 {
		t.Errorf("Info after Close: %+v", r.Info())
	}
}

// TestHeldHeaps: heaps that are held over Close stay valid, and with the last of
// them the memory goes.
func TestHeldHeaps(t *testing.T) {
	n := newWire(t, testnet.Options{})
	locked := lockedBytes(t)
	cfg := stalled(n, heap.Block)
	cfg.ConsumerHeaps = 3
	r := open(t, n, cfg)
	sendAndAwait(t, n, r, 5)
	var held []*heap.Heap
	for range 3 {
		h, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i, h := range held {
		s := r.Stats()
		if c := s.Streams[0].Slots; c.Held != len(held)-i {
			t.Errorf("%d slots are held, want %d", c.Held, len(held)-i)
		}
		if got := lockedBytes(t) - locked; got < r.Info().PoolBytes {
			t.Errorf("with %d heaps held, %d bytes are locked; the pool has %d", len(held)-i, got, r.Info().PoolBytes)
		}
		if err := verify(h); err != nil || h.Cnt() != uint64(i+1) || h.Stream() == "" {
			t.Errorf("heap %d, held over Close: %v", h.Cnt(), err)
		}
		h.Release()
	}
	if got := lockedBytes(t) - locked; got != 0 {
		t.Errorf("%d bytes are locked after the last Release", got)
	}
	settle(t, r)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a second Release was not noticed")
			}
		}()
		held[0].Release()
	}()
}

// lockedBytes is how much memory of this process is locked: a pool's, and nothing
// else's.
func lockedBytes(t *testing.T) int {
	t.Helper()
	n, err := readStatus("self", "VmLck")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// readStatus reads a number of bytes from /proc/PID/status.
func readStatus(pid, key string) (int, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%s/status has no %s", pid, key)
}

// TestNextContexts: several wait, each under a context of its own. The one whose
// context ends leaves, and no other.
func TestNextContexts(t *testing.T) {
	const waiters = 8
	n := newWire(t, testnet.Options{})
	r := open(t, n, stalled(n, heap.Block))
	type result struct {
		who int
		h   *heap.Heap
		err error
	}
	results := make(chan result, waiters+1)
	var cancels []context.CancelCauseFunc
	for i := range waiters {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancels = append(cancels, cancel)
		go func() {
			h, err := r.Next(ctx)
			results <- result{i, h, err}
		}()
	}
	next := func() result {
		select {
		case res := <-results:
			return res
		case <-time.After(patience):
			t.Fatal("Next does not return")
			return result{}
		}
	}
	for i := range waiters / 2 {
		cancels[i](errors.New("enough"))
		if res := next(); res.who != i || !errors.Is(res.err, context.Canceled) || res.h != nil {
			t.Fatalf("Next %d: %v, %v; want %d cancelled", res.who, res.h, res.err, i)
		}
	}
	// Those left get a heap each, none twice.
	sendAndAwait(t, n, r, waiters/2)
	var counts []uint64
	for range waiters / 2 {
		res := next()
		if res.err != nil || res.who < waiters/2 {
			t.Fatalf("Next %d: %v", res.who, res.err)
		}
		counts = append(counts, res.h.Cnt())
		res.h.Release()
	}
	slices.Sort(counts)
	if want := []uint64{1, 2, 3, 4}; !slices.Equal(counts, want) {
		t.Errorf("heaps %d, want %d", counts, want)
	}

	// A context that is done: what there is comes first.
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if h, err := r.Next(done); h != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", h, err)
	}
	sendAndAwait(t, n, r, waiters/2+1)
	awaitStats(t, r, "finished heap", func(s *speadx.Stats) bool { return s.Streams[0].Slots.Ready > 0 })
	if h, err := r.Next(done); err != nil {
		t.Errorf("a finished heap was withheld: %v", err)
	} else {
		h.Release()
	}

	// Those that wait when it is closed get the end.
	for i := range waiters {
		go func() {
			for {
				h, err := r.Next(t.Context())
				if err != nil {
					results <- result{i, h, err}
					return
				}
				h.Release()
			}
		}()
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for range waiters {
		if res := next(); !errors.Is(res.err, speadx.ErrClosed) {
			t.Errorf("Next while it is closed: %v", res.err)
		}
	}
	settle(t, r)
	for _, cancel := range cancels {
		cancel(nil)
	}
}

// TestNextWhileClosing calls Next again and again from several goroutines while
// the receiver is closed.
func TestNextWhileClosing(t *testing.T) {
	for range 100 {
		r := openFile(t, "plain-64-48", speadx.Config{})
		var consumers sync.WaitGroup
		for range 4 {
			consumers.Go(func() {
				for range 50 { // also after the end
					ctx, cancel := context.WithCancel(t.Context())
					h, err := r.Next(ctx)
					cancel()
					switch {
					case err == nil:
						h.Release()
					case !errors.Is(err, io.EOF) && !errors.Is(err, speadx.ErrClosed):
						t.Error(err)
					}
				}
			})
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		consumers.Wait()
		settle(t, r)
	}
}

// openFile opens a receiver of a capture.
func openFile(t testing.TB, name string, c speadx.Config) *speadx.Receiver {
	t.Helper()
	c.Streams = []speadx.Stream{{Source: filepath.Join(captures, name+".pcap")}}
	c.HeapSize, c.Hugepages = 200_000, pool.PagesOff
	r, err := speadx.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestHeapsIterator: it may be left and begun again, and ends without an error.
func TestHeapsIterator(t *testing.T) {
	r := openFile(t, "plain-64-48", speadx.Config{})
	var counts []uint64
	for h, err := range r.Heaps(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, h.Cnt())
		h.Release()
		if len(counts) == 2 {
			break
		}
	}
	for h, err := range r.Heaps(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, h.Cnt())
		h.Release()
	}
	if want := []uint64{1, 3, 5, 7, 9, 11}; !slices.Equal(counts, want) {
		t.Errorf("heaps %d, want %d", counts, want)
	}
	for range r.Heaps(t.Context()) {
		t.Error("a heap after the end")
	}
	// An error is yielded, once, and is the last.
	n := newWire(t, testnet.Options{})
	r = open(t, n, one(n))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs []error
	for h, err := range r.Heaps(ctx) {
		if h != nil {
			t.Error("a heap and nothing was sent")
		}
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("errors %v", errs)
	}
}

// TestOpenClose opens and closes receivers, one at once after the other, with
// packets flowing: each works, and nothing is left of it. SPEADX_SOAK says how
// often.
func TestOpenClose(t *testing.T) {
	cycles := 100
	if text := os.Getenv("SPEADX_SOAK"); text != "" {
		var err error
		if cycles, err = strconv.Atoi(text); err != nil || cycles < 1 {
			t.Fatalf("SPEADX_SOAK=%s is no number of cycles", text)
		}
	}
	n := newWire(t, testnet.Options{})
	s := openSender(t, n, send.Config{Heaps: -1, HeapSize: heapBytes, MaxPacket: heapPacket, Rate: 0.5e9, NoStop: true})
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer sending.Wait()
	defer stop()

	cycle := func(i int) {
		cfg := stalled(n, heap.DropNewest)
		cfg.Frames = 512
		cfg.Mode = []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeAuto, speadx.ModeUDP}[i%4]
		r, err := openQuietly(n, cfg)
		if err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		h, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		if i%3 == 0 {
			h.Release() // else after Close
		}
		if err := r.Close(); err != nil {
			t.Fatalf("cycle %d: %v", i, err)
		}
		if i%3 != 0 {
			h.Release()
		}
		settle(t, r)
		if t.Failed() {
			t.Fatalf("cycle %d", i)
		}
	}
	for i := range 8 { // what stays of the first few, as memory of Go's own, does not count
		cycle(i)
	}
	before := takeInventory(t)
	goroutines := goleak.IgnoreCurrent()
	for i := range cycles {
		cycle(i)
	}
	if err := goleak.Find(goroutines); err != nil {
		t.Error(err)
	}
	takeInventory(t).compare(t, before, cycles)
	if links := programs(t, n); links != "" {
		t.Errorf("left on the interface: %s", links)
	}
}

func openQuietly(n *testnet.Net, cfg speadx.Config) (r *speadx.Receiver, err error) {
	if nsErr := n.Net.Do(func() { r, err = speadx.Open(context.Background(), cfg) }); nsErr != nil {
		return nil, nsErr
	}
	return r, err
}

// inventory is what this process has of the kernel.
type inventory struct {
	descriptors []string
	sockets     int // mappings of descriptors: the rings of AF_XDP, counters of programs
	mappings    int
	locked      int // bytes, of pools
	resident    int // bytes
}

func takeInventory(t *testing.T) inventory {
	t.Helper()
	debug.FreeOSMemory() // what Go has no use for
	in := inventory{locked: lockedBytes(t)}
	var err error
	if in.resident, err = readStatus("self", "VmRSS"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue // the listing's own
		}
		if i := strings.IndexByte(to, '['); i >= 0 && !strings.HasPrefix(to, "anon_inode") {
			to = to[:i] // without the inode's number
		}
		in.descriptors = append(in.descriptors, to)
	}
	slices.Sort(in.descriptors)
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		in.mappings++
		if text := lines.Text(); strings.Contains(text, "socket:") || strings.Contains(text, "bpf") {
			in.sockets++
		}
	}
	return in
}

// compare reports what there is more of than before.
func (in inventory) compare(t *testing.T, before inventory, cycles int) {
	t.Helper()
	if !slices.Equal(in.descriptors, before.descriptors) {
		t.Errorf("descriptors %q, before %q", in.descriptors, before.descriptors)
	}
	if in.sockets != before.sockets || in.locked != before.locked {
		t.Errorf("%d mapped descriptors, %d bytes locked; before %d, %d", in.sockets, in.locked, before.sockets, before.locked)
	}
	// Go has memory of its own, for its heap and for threads, but not more each
	// time.
	if more := in.mappings - before.mappings; more > 40+cycles/10 {
		t.Errorf("%d mappings more than before %d cycles", more, cycles)
	}
	if more := in.resident - before.resident; more > 64<<20 {
		t.Errorf("%d bytes more than before %d cycles", more, cycles)
	}
}

// programs lists the XDP programs on the receiver's end of the wire.
func programs(t *testing.T, n *testnet.Net) (found string) {
	t.Helper()
	n.Do(func() {
		if xdp := linkByName(t, n.B.Name).Attrs().Xdp; xdp != nil && xdp.Attached {
			found = fmt.Sprintf("XDP program %d", xdp.ProgId)
		}
	})
	return found
}
