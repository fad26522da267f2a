// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

import (
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// runner is one goroutine that can be stopped at named steps.
type runner struct {
	stopped chan string
	resume  chan bool
	done    chan bool
}

// start runs f until its first step for which at is true; others run free then.
func start(t *testing.T, f func(), at func(string) bool) *runner {
	r := &runner{make(chan string), make(chan bool), make(chan bool)}
	r.arm(at)
	go func() { f(); close(r.done) }()
	r.wait(t)
	return r
}

func (r *runner) arm(at func(string) bool) {
	hook := func(p string) {
		if at(p) {
			r.stopped <- p
			<-r.resume
		}
	}
	StepHook, pool.StepHook = hook, hook
}

func (r *runner) wait(t *testing.T) {
	select {
	case <-r.stopped:
	case <-r.done:
		t.Fatal("it was over before")
	}
	unhook()
}

// on lets it go on until at.
func (r *runner) on(t *testing.T, at func(string) bool) {
	r.arm(at)
	r.resume <- true
	r.wait(t)
}

func (r *runner) end() { close(r.resume); <-r.done }

func point(want string) func(string) bool { return func(p string) bool { return p == want } }

// A thread that drops the oldest heap never has that and its own at once: the
// pool does not run dry while the consumer keeps to its slack.
func TestSlotsDropOldest(t *testing.T) {
	defer unhook()
	r := newRig(t, pool.ShareConfig{Live: 2, Ring: 2, Held: 1, Threads: 2, Largest: 4096}, Config{OnFull: DropOldest})
	whole := func(cnt uint64) []byte { return parts(cnt, 1, 50)[0] }
	r.feed(1, parts(1, 2, 50)[0], parts(2, 2, 50)[0])
	r.feed(1, whole(10))
	h := r.TryNext() // the consumer keeps to its slack of one
	r.feed(1, whole(11), whole(12))
	t1 := start(t, func() { r.feed(0, whole(13)) }, point("free.load"))
	r.feed(1, whole(14))
	r.feed(1, whole(15))
	s := r.Stats()
	if s.Fates[ledger.NoSlot] != 0 {
		t.Errorf("the consumer holds 1 of 1, and %d heap found no slot (of %d)", s.Fates[ledger.NoSlot], r.cfg.Share.Slots())
	}
	t1.end()
	h.Release()
}

// Nor does one that prepared a heap which another thread started.
func TestSlotsPinAndPrepared(t *testing.T) {
	defer unhook()
	r := newRig(t, pool.ShareConfig{Live: 2, Ring: 2, Held: 1, Threads: 3, Largest: 4096}, Config{OnFull: DropNewest})
	whole := func(cnt uint64) []byte { return parts(cnt, 1, 50)[0] }
	r.feed(1, whole(10))
	h := r.TryNext()
	r.feed(1, whole(11), whole(12)) // the ring is full
	t1 := start(t, func() { r.feed(0, parts(100, 3, 50)[0]) }, point("history.start.load"))
	r.feed(1, parts(100, 3, 50)[1])
	t1.on(t, point("free.load")) // has pinned 100 and has its own slot
	r.feed(1, parts(101, 2, 50)[0], parts(102, 2, 50)[0])
	t3 := start(t, func() { r.feed(2, whole(200)) }, point("history.start.load"))
	r.feed(1, whole(201))
	s := r.Stats()
	if s.Fates[ledger.NoSlot] != 0 {
		t.Errorf("the consumer holds 1 of 1, and %d heap found no slot (of %d)", s.Fates[ledger.NoSlot], r.cfg.Share.Slots())
	}
	t3.end()
	t1.end()
	h.Release()
}

// Nor do the heaps that a thread has pinned, when another thread evicts all of them.
func TestSlotsPinned(t *testing.T) {
	defer unhook()
	r := newRig(t, pool.ShareConfig{Live: 3, Ring: 1, Held: 1, Threads: 2, Largest: 4096}, Config{OnFull: DropNewest})
	part := func(i int, cnts ...uint64) (packets [][]byte) {
		for _, cnt := range cnts {
			packets = append(packets, parts(cnt, 3, 50)[i])
		}
		return packets
	}
	whole := func(cnt uint64) []byte { return parts(cnt, 1, 50)[0] }
	r.feed(1, whole(10))
	h := r.TryNext()
	r.feed(1, whole(11)) // the ring is full
	r.feed(1, part(0, 1, 2, 3)...)
	t1 := start(t, func() { r.feed(0, part(1, 1, 2, 3)...) }, point("feeder.commit.packets"))
	r.feed(1, part(0, 4, 5, 6)...)
	if s := r.Stats(); s.Fates[ledger.NoSlot] != 0 {
		t.Errorf("the consumer holds 1 of 1, and %d heap found no slot (of %d)", s.Fates[ledger.NoSlot], r.cfg.Share.Slots())
	}
	t1.end()
	h.Release()
}

// A length may be told while another thread places beyond it: the ranges stay
// within the payload.
func TestRangesBeyondPayload(t *testing.T) {
	defer unhook()
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Threads: 2, Largest: 4096}, Config{Incomplete: true})
	r.feed(1, raw(f, 1, -1, 0, make([]byte, 100)))
	t1 := start(t, func() { r.feed(0, raw(f, 1, -1, 200, make([]byte, 100))) }, point("coverage.load"))
	r.feed(1, raw(f, 1, 150, 100, make([]byte, 50)))
	t1.end()
	for i := range 2 {
		r.Feeder(i).Finish()
	}
	h := r.TryNext()
	for _, g := range h.Ranges() {
		if g.End > int64(len(h.Payload())) {
			t.Errorf("range %v of a payload of %d bytes (length %d, received %d)", g, len(h.Payload()), h.Length(), h.Received())
		}
	}
	h.Release()
}

// A heap without a length is not complete if a packet of it is refused while another
// thread starts it, whichever of the two is stopped where.
func TestRefusedWhileStarted(t *testing.T) {
	defer unhook()
	far, near := raw(f48, 1, -1, 1<<30, make([]byte, 10)), raw(f48, 1, -1, 0, make([]byte, 10))
	for _, tt := range []struct {
		at            string
		first, second []byte
	}{
		{"beyond.note", far, near},
		{"history.head", far, near},
		{"history.start.cas", near, far},
		{"beyond.take", near, far},
	} {
		r := newRig(t, pool.ShareConfig{Threads: 2, Largest: 4096}, Config{})
		t1 := start(t, func() { r.feed(0, tt.first) }, point(tt.at))
		r.feed(1, tt.second)
		t1.end()
		for i := range 2 {
			r.Feeder(i).Finish()
		}
		if h := r.TryNext(); h != nil {
			t.Errorf("stopped at %s: a heap of %d bytes is complete", tt.at, h.Received())
			h.Release()
		}
	}
}

// A heap of one packet that lost the race to start notes nothing of the heap
// that won it.
func TestWholeSeq(t *testing.T) {
	defer unhook()
	f := spead.Flavour48
	r := newRig(t, pool.ShareConfig{Threads: 2, Largest: 4096}, Config{Incomplete: true})
	// T1's heap is incomplete for good: a pointer lies beyond it.
	t1 := start(t, func() { r.feed(0, raw(f, 1, 50, 0, make([]byte, 50), f.Addressed(itemData, 1000))) }, point("history.start.load"))
	b := parts(2, 1, 50)[0]
	r.feed(1, b)
	t1.end()
	r.feed(1, b) // every byte was there: a duplicate
	if s := r.Stats(); s.Fates[ledger.Duplicate] != 1 {
		t.Errorf("want duplicate 1: %s", fates(s))
	}
	for h := r.TryNext(); h != nil; h = r.TryNext() {
		h.Release()
	}
}
