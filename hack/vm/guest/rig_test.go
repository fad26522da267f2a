// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// rate is what a guest receives without loss however busy the machine below is, in bits
// a second.
const rate = 20e6

// heapSize is the payload of the tests' heaps.
const heapSize = 64 << 10

// reception is a receiver, and the heaps that it has delivered.
type reception struct {
	*speadx.Receiver
	opened time.Duration

	mu    sync.Mutex
	heaps []got
	err   error
	done  chan struct{} // closed when there are no more heaps
}

// got is what is left of a heap after its release.
type got struct {
	cnt      uint64
	complete bool
	wrong    error // what does not hold the pattern
}

// tryOpen opens a receiver on a wire, of packets to its IPv4 address unless change says
// otherwise.
func (w *wire) tryOpen(t *testing.T, mode speadx.Mode, change func(*speadx.Config)) (*reception, error) {
	t.Helper()
	open := make(chan struct{})
	close(open)
	return w.tryOpenWith(t, mode, change, open)
}

// tryOpenWith is tryOpen with a consumer that takes nothing until the gate is closed.
func (w *wire) tryOpenWith(t *testing.T, mode speadx.Mode, change func(*speadx.Config), gate <-chan struct{}) (*reception, error) {
	t.Helper()
	rec := &reception{done: make(chan struct{})}
	c := speadx.Config{
		Streams:    []speadx.Stream{{Source: netip.AddrPortFrom(w.rx4, port).String()}},
		Interfaces: []string{w.rx},
		Mode:       mode,
		HeapSize:   heapSize,
		Frames:     1024,
		Hugepages:  pool.PagesOff,
	}
	if change != nil {
		change(&c)
	}
	began := time.Now()
	r, err := speadx.Open(t.Context(), c)
	if err != nil {
		return nil, err
	}
	rec.Receiver, rec.opened = r, time.Since(began)
	go func() {
		defer close(rec.done)
		select {
		case <-gate:
			rec.take()
		case <-r.Done():
		}
	}()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		<-rec.done
	})
	return rec, nil
}

func (w *wire) open(t *testing.T, mode speadx.Mode, change func(*speadx.Config)) *reception {
	t.Helper()
	rec, err := w.tryOpen(t, mode, change)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// take takes heaps until there are no more, and looks at what is in them.
func (r *reception) take() {
	for h, err := range r.Heaps(context.Background()) {
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
		g := got{cnt: h.Cnt(), complete: h.Complete()}
		if g.complete {
			g.wrong = verify(h)
		}
		h.Release()
		r.mu.Lock()
		r.heaps = append(r.heaps, g)
		r.mu.Unlock()
	}
}

func verify(h *heap.Heap) error {
	var items [][]byte
	for _, it := range h.Items() {
		if it.ID >= pattern.FirstID && !it.Immediate {
			items = append(items, it.Data)
		}
	}
	if len(items) == 0 {
		return errors.New("there is nothing to verify")
	}
	return pattern.CheckHeap(h.Cnt(), items)
}

// count is how many heaps were delivered so far.
func (r *reception) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.heaps)
}

// ended waits for the end of reception, and returns why it ended, if not by a stop heap.
func (r *reception) ended(t *testing.T) error {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("not ended after %v: %s", patience, account(r.Stats()))
	}
	return r.err
}

// send sends from the other end of the wire.
func (w *wire) send(t *testing.T, c send.Config) send.Result {
	t.Helper()
	if c.Destinations == nil {
		c.Destinations = []netip.AddrPort{netip.AddrPortFrom(w.rx4, port)}
	}
	if c.HeapSize == 0 {
		c.HeapSize = heapSize
	}
	if c.Rate == 0 {
		c.Rate = rate
	}
	c.Verify, c.NoGSO = true, true
	var s *send.Sender
	var err error
	w.sender.do(t, func() { s, err = send.Open(c) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	result, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// stream sends n heaps in packets of the MTU and checks that they come, each once, whole
// and with the right bytes, and that the ledger closes.
func (w *wire) stream(t *testing.T, r *reception, mtu int, n int64) {
	t.Helper()
	sent := w.send(t, send.Config{Heaps: n, MaxPacket: mtu - 28})
	if err := r.ended(t); err != nil {
		t.Fatal(err)
	}
	r.checkHeaps(t, n)
	s := r.settle(t)
	if s.Fates[ledger.Delivered] != sent.Packets-sent.StopHeaps || s.Fates[ledger.StreamControl] != sent.StopHeaps || s.Packets != sent.Packets {
		t.Errorf("%d packets were sent, and received: %s", sent.Packets, account(s))
	}
}

// checkHeaps checks that the heaps 1 to n came.
func (r *reception) checkHeaps(t *testing.T, n int64) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var counts []uint64
	for _, g := range r.heaps {
		if !g.complete || g.wrong != nil {
			t.Errorf("heap %d: complete %t, %v", g.cnt, g.complete, g.wrong)
		}
		counts = append(counts, g.cnt)
	}
	slices.Sort(counts)
	if len(counts) != int(n) || len(slices.Compact(counts)) != int(n) || n > 0 && (counts[0] != 1 || counts[n-1] != uint64(n)) {
		t.Errorf("received the heaps %d, want 1 to %d: %s", counts, n, account(r.Stats()))
	}
}

// settle waits until the receiver is at rest and checks that every packet has a fate, that
// every slot is free, and every frame in one place.
func (r *reception) settle(t *testing.T) speadx.Stats {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(patience):
		t.Fatalf("not at rest after %v: %s", patience, account(r.Stats()))
	}
	s := r.Stats()
	sum := s.InFlight
	for _, n := range s.Fates {
		sum += n
	}
	if sum != s.Packets || s.Unaccounted != 0 || s.InFlight != 0 {
		t.Errorf("the ledger does not close: unaccounted %d: %s", s.Unaccounted, account(s))
	}
	for i := range s.Streams {
		if c := s.Streams[i].Slots; c.Filling != 0 || c.Ready != 0 || c.Held != 0 {
			t.Errorf("slots are not free: %+v", c)
		}
	}
	if !r.conserved() {
		t.Error("frames are not conserved")
	}
	return s
}

// conserved reports whether each frame was in one place when reception ended.
func (r *reception) conserved() bool {
	return !slices.ContainsFunc(r.Diagnoses(), func(d ledger.Diagnosis) bool { return d.Code == ledger.FramesNotConserved })
}

// account is the part of the statistics that is not zero.
func account(s speadx.Stats) string {
	text := fmt.Sprintf("%d packets, %d in flight", s.Packets, s.InFlight)
	for f, n := range s.Fates {
		if n > 0 {
			text += fmt.Sprintf(", %d %v", n, ledger.Fate(f))
		}
	}
	return text
}
