// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// newPool makes a pool on ordinary pages, closed when the test ends.
func newPool(t testing.TB, shares ...ShareConfig) *Pool {
	t.Helper()
	p, err := New(Config{Shares: shares, Pages: PagesOff, Node: -1, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func take(t *testing.T, s *Share, size int64) int {
	t.Helper()
	slot, ok := s.Take(size)
	if !ok {
		t.Fatalf("no slot for %d bytes; %+v", size, s.Counts())
	}
	return slot
}

func release(t *testing.T, s *Share, slots ...int) {
	t.Helper()
	for _, slot := range slots {
		if err := s.Free(slot); err != nil {
			t.Error(err)
		}
	}
}

// TestNew takes the pages this machine has best.
func TestNew(t *testing.T) {
	p, err := New(Config{Shares: []ShareConfig{{Live: 1, Largest: 3 << 20}}, Node: 0})
	if err != nil {
		t.Fatal(err)
	}
	m := p.mapping
	t.Logf("%v pages of %d bytes, %d mapped, node %d, %q", m.Kind, m.PageBytes, m.Mapped, m.Node, m.Notes)
	if want := 3<<20 + 8192; len(m.Bytes) != want || m.Mapped%m.PageBytes != 0 || m.Mapped < want {
		t.Errorf("%d bytes in %d mapped, want %d", len(m.Bytes), m.Mapped, want)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestSlotsAreApart writes every slot from end to end and reads them all back.
func TestSlotsAreApart(t *testing.T) {
	p := newPool(t,
		ShareConfig{Name: "a", Live: 2, Ring: 1, Largest: 20000, SmallBelow: 1000},
		ShareConfig{Name: "b", Live: 1, Held: 1, Threads: 1, Largest: 100})
	total := 0
	each := func(f func(b []byte, mark byte)) {
		for i := range 2 {
			s := p.Share(i)
			for slot := range s.Slots() {
				f(s.Bytes(slot), byte(10*i+slot+1))
			}
		}
	}
	each(func(b []byte, mark byte) {
		total += len(b)
		if len(b) != cap(b) {
			t.Errorf("slot %d of %d bytes has a capacity of %d", mark, len(b), cap(b))
		}
		for i := range b {
			b[i] = mark
		}
	})
	each(func(b []byte, mark byte) {
		for i := range b {
			if b[i] != mark {
				t.Fatalf("byte %d of slot %d is slot %d's", i, mark, b[i])
			}
		}
	})
	if total != len(p.mapping.Bytes) {
		t.Errorf("the slots are %d bytes of %d", total, len(p.mapping.Bytes))
	}
	a := p.Share(0)
	if a.SlotSize() != 28672 || a.SmallSize() != 12288 || a.Slots() != 6 || a.Config().Name != "a" {
		t.Errorf("share a: slots of %d and %d bytes, %d of them, %+v", a.SlotSize(), a.SmallSize(), a.Slots(), a.Config())
	}
	for _, slot := range []int{-1, 6} {
		if !panics(func() { a.Bytes(slot) }) {
			t.Errorf("Bytes(%d) of %d slots does not panic", slot, a.Slots())
		}
	}
}

// The tables of a share are memory of its own, which a guarded pool lets be.
func TestTables(t *testing.T) {
	for _, guard := range []bool{false, true} {
		p, err := New(Config{Shares: []ShareConfig{{Live: 2, Largest: 100, Tables: 100}, {Live: 1, Tables: 1 << 20}, {Live: 1}}, Node: -1, NoLock: true, Pages: PagesOff, Guard: guard})
		if err != nil {
			t.Fatal(err)
		}
		for i, size := range []int{128, 1 << 20, 0} {
			b := p.Share(i).Tables()
			if len(b) != size || cap(b) != size || bytes.Count(b, []byte{0}) != size {
				t.Errorf("share %d has %d bytes of tables, capacity %d, want %d that are 0", i, len(b), cap(b), size)
			}
			for k := range b {
				b[k] = byte(i + 1)
			}
		}
		for i := range 3 {
			s := p.Share(i)
			slot := take(t, s, 0)
			if b := s.Bytes(slot); bytes.Count(b, []byte{0}) != len(b) {
				t.Errorf("a slot of share %d shows what is in a table", i)
			}
			clear(s.Bytes(slot))
			if b := s.Tables(); bytes.Count(b, []byte{byte(i + 1)}) != len(b) {
				t.Errorf("the tables of share %d are not what was written", i)
			}
			release(t, s, slot)
		}
		held := take(t, p.Share(2), 0)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if p.Share(1).Tables()[0] != 2 {
			t.Error("the tables went before the last slot was free")
		}
		release(t, p.Share(2), held)
		if b := p.Share(1).Tables(); b != nil {
			t.Errorf("%d bytes of tables of memory that is unmapped", len(b))
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}

func TestClasses(t *testing.T) {
	s := newPool(t, ShareConfig{Live: 2, Largest: 100000, SmallBelow: 16384}).Share(0)
	plain := newPool(t, ShareConfig{Live: 2, Largest: 10000, SmallBelow: 16384}).Share(0)
	const none = -1
	for _, tt := range []struct {
		size           int64
		bytes, noSmall int // of the slot in s, and in plain, which has no small ones
	}{
		{0, 24576, 20480}, {1, 24576, 20480}, {10000, 24576, 20480}, {16383, 24576, 20480},
		{16384, 110592, 20480}, {100000, 110592, none}, {110592, 110592, none}, {110593, none, none},
		{1 << 47, none, none}, {-1, 110592, 20480}, {-1 << 63, 110592, 20480},
	} {
		for _, share := range []struct {
			s    *Share
			want int
		}{{s, tt.bytes}, {plain, tt.noSmall}} {
			got := none
			if slot, ok := share.s.Take(tt.size); ok {
				got = len(share.s.Bytes(slot))
				release(t, share.s, slot)
			}
			if got != share.want {
				t.Errorf("a heap of %d bytes got a slot of %d, want %d", tt.size, got, share.want)
			}
		}
	}
}

// TestExhaustion checks that each class gives exactly its slots, the last one
// freed first, and that neither takes the other's.
func TestExhaustion(t *testing.T) {
	s := newPool(t, ShareConfig{Live: 2, Ring: 1, Largest: 100000, SmallBelow: 16384}).Share(0)
	for _, class := range []struct {
		size  int64
		slots []int
	}{{-1, []int{0, 1, 2}}, {0, []int{3, 4, 5}}} {
		var got []int
		for range 3 {
			got = append(got, take(t, s, class.size))
		}
		if !slices.Equal(got, class.slots) {
			t.Errorf("took %v, want %v", got, class.slots)
		}
		if slot, ok := s.Take(class.size); ok {
			t.Errorf("took slot %d beyond the last", slot)
		}
		release(t, s, got[1])
		release(t, s, got[0])
		if again := take(t, s, class.size); again != got[0] {
			t.Errorf("took slot %d, want %d, freed last", again, got[0])
		}
		release(t, s, got[0], got[2])
	}
	want := Counts{Free: 6, HighFilling: 3}
	if got := s.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestNotTaken(t *testing.T) {
	p := newPool(t, ShareConfig{Name: "a", Live: 3, Largest: 1}, ShareConfig{Name: "b", Live: 2, Largest: 1})
	s := p.Share(0)
	slot := take(t, s, 1)
	before := s.Counts()
	for _, foreign := range []int{-1, s.Slots(), 1 << 40, 2} {
		err := s.Free(foreign)
		if !errors.Is(err, ErrNotTaken) || !strings.Contains(err.Error(), fmt.Sprintf("slot %d of share a", foreign)) {
			t.Errorf("Free(%d) = %v", foreign, err)
		}
	}
	if err := p.Share(1).Free(slot); !errors.Is(err, ErrNotTaken) {
		t.Errorf("Free of the other share's slot = %v", err)
	}
	if got := s.Counts(); got != before {
		t.Errorf("counts %+v after refusals, %+v before", got, before)
	}
	release(t, s, slot)
	for range 2 {
		if err := s.Free(slot); !errors.Is(err, ErrNotTaken) {
			t.Errorf("second Free = %v", err)
		}
	}
	if got := s.Counts(); got.Free != 3 {
		t.Errorf("%d slots are free of 3", got.Free)
	}
	seen := map[int]bool{take(t, s, 1): true, take(t, s, 1): true, take(t, s, 1): true}
	if len(seen) != 3 {
		t.Errorf("a slot was handed out twice: %v", seen)
	}
	for slot := range seen {
		release(t, s, slot)
	}
}

func TestMarkPanics(t *testing.T) {
	s := newPool(t, ShareConfig{Live: 1, Largest: 1}).Share(0)
	slot := take(t, s, 1)
	wrong := func(state string, marks ...func(int)) {
		t.Helper()
		before := s.Counts()
		for i, mark := range marks {
			if !panics(func() { mark(slot) }) {
				t.Errorf("mark %d of a slot that is %s does not panic", i, state)
			}
		}
		if got := s.Counts(); got != before {
			t.Errorf("counts %+v after the panic, %+v before", got, before)
		}
	}
	wrong("filling", s.MarkHeld)
	s.MarkReady(slot)
	wrong("ready", s.MarkReady)
	s.MarkHeld(slot)
	wrong("held", s.MarkReady, s.MarkHeld)
	release(t, s, slot)
	wrong("free", s.MarkReady, s.MarkHeld)
}

// TestModel runs a long random history against plain bookkeeping.
func TestModel(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	s := newPool(t, ShareConfig{Live: 2, Ring: 2, Held: 1, Threads: 1, Largest: 30000, SmallBelow: 10000}).Share(0)
	const each = 6
	want := Counts{Free: 2 * each, LeastFree: each, LeastFreeSmall: each}
	state := map[int]state{} // of the slots taken
	large, small := each, each
	for i := range 20000 {
		slot := -1
		for slot = range state {
			break // any
		}
		switch op := rng.IntN(5); {
		case op < 2: // take more often than free, so that it runs dry
			size, left, least := int64(20000), &large, &want.LeastFree
			if rng.IntN(2) == 0 {
				size, left, least = 5000, &small, &want.LeastFreeSmall
			}
			got, ok := s.Take(size)
			if _, taken := state[got]; ok && taken {
				t.Fatalf("operation %d: slot %d was handed out twice", i, got)
			}
			if ok != (*left > 0) {
				t.Fatalf("operation %d: Take is %v with %d left", i, ok, *left)
			}
			if ok {
				state[got] = filling
				*left--
				*least = min(*least, *left)
			}
		case slot < 0:
		case op == 2 && state[slot] == filling:
			s.MarkReady(slot)
			state[slot] = ready
		case op == 3 && state[slot] == ready:
			s.MarkHeld(slot)
			state[slot] = held
		case op == 4:
			release(t, s, slot)
			delete(state, slot)
			if slot < each {
				large++
			} else {
				small++
			}
		}
		var n [nStates]int
		for _, st := range state {
			n[st]++
		}
		want.Free, want.Filling, want.Ready, want.Held = large+small, n[filling], n[ready], n[held]
		want.HighFilling = max(want.HighFilling, want.Filling)
		want.HighReady = max(want.HighReady, want.Ready)
		want.HighHeld = max(want.HighHeld, want.Held)
		if got := s.Counts(); got != want {
			t.Fatalf("operation %d: counts %+v, want %+v", i, got, want)
		}
	}
	for slot := range state {
		release(t, s, slot)
	}
}

// TestStress has more goroutines than slots take, mark, pass on and free them.
// Each writes its slot from end to end, so that the race detector sees two
// owners, and an owner table sees them without it.
func TestStress(t *testing.T) {
	const feeders, consumers, rounds = 4, 2, 5000
	s := newPool(t, ShareConfig{Live: 2, Threads: 1, Largest: 30000, SmallBelow: 10000}).Share(0)
	owned := make([]atomic.Bool, s.Slots())
	ring := make(chan int, 2)
	done := make(chan struct{})
	var watch, feed, consume sync.WaitGroup

	watch.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			c := s.Counts()
			if min(c.Free, c.Filling, c.Ready, c.Held) < 0 || max(c.HighFilling, c.HighReady, c.HighHeld) > s.Slots() {
				t.Errorf("inconsistent counts %+v", c)
				return
			}
		}
	})
	giveBack := func(slot int) {
		owned[slot].Store(false)
		if err := s.Free(slot); err != nil {
			t.Error(err)
		}
	}
	var taken atomic.Int64
	for id := range feeders {
		rng := rand.New(rand.NewPCG(1, uint64(id)))
		feed.Go(func() {
			for range rounds {
				slot, ok := s.Take(rng.Int64N(20000))
				if !ok {
					continue
				}
				taken.Add(1)
				if owned[slot].Swap(true) {
					t.Errorf("slot %d was handed out twice", slot)
				}
				b := s.Bytes(slot)
				for i := 0; i < len(b); i += 512 {
					b[i] = byte(id)
				}
				switch rng.IntN(3) {
				case 0:
					giveBack(slot)
				case 1:
					s.MarkReady(slot)
					giveBack(slot) // dropped by the ring
				default:
					s.MarkReady(slot)
					ring <- slot
				}
			}
		})
	}
	for range consumers {
		consume.Go(func() {
			for slot := range ring {
				s.MarkHeld(slot)
				b := s.Bytes(slot)
				for i := 0; i < len(b); i += 512 {
					b[i] = 255
				}
				giveBack(slot)
			}
		})
	}
	feed.Wait()
	close(ring)
	consume.Wait()
	close(done)
	watch.Wait()

	c := s.Counts()
	if c.Free != s.Slots() || c.Filling+c.Ready+c.Held != 0 {
		t.Errorf("at rest: %+v", c)
	}
	if c.LeastFree != 0 && c.LeastFreeSmall != 0 {
		t.Errorf("the pool never ran dry: %+v", c)
	}
	t.Logf("%d of %d takes, %+v", taken.Load(), feeders*rounds, c)
	all := map[int]bool{}
	for _, size := range []int64{0, 20000} {
		for range s.Slots() / 2 {
			all[take(t, s, size)] = true
		}
	}
	if len(all) != s.Slots() {
		t.Errorf("%d slots are left of %d", len(all), s.Slots())
	}
	for slot := range all {
		release(t, s, slot)
	}
}

// TestDoubleFreeRace has several goroutines free the same slots: each free is
// accepted once.
func TestDoubleFreeRace(t *testing.T) {
	s := newPool(t, ShareConfig{Live: 8, Largest: 1}).Share(0)
	for range 200 {
		var slots []int
		for range 8 {
			slots = append(slots, take(t, s, 1))
		}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for _, slot := range slots {
					if err := s.Free(slot); err == nil {
						accepted.Add(1)
					} else if !errors.Is(err, ErrNotTaken) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := accepted.Load(); n != 8 {
			t.Fatalf("%d frees of 8 slots were accepted", n)
		}
	}
}

// mapped reports whether a mapping of this process begins at or covers b's first byte.
func mapped(t *testing.T, first string) bool {
	t.Helper()
	var want uint64
	if _, err := fmt.Sscanf(first, "0x%x", &want); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil && from <= want && want < to {
			return true
		}
	}
	return false
}

func TestCloseIdle(t *testing.T) {
	p := newPool(t, ShareConfig{Live: 2, Largest: 64 << 20})
	first := fmt.Sprintf("%p", p.mapping.Bytes)
	if !mapped(t, first) {
		t.Fatalf("%s is not mapped", first)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if mapped(t, first) {
		t.Errorf("%s is still mapped", first)
	}
	if slot, ok := p.Share(0).Take(1); ok {
		t.Errorf("took slot %d of a closed pool", slot)
	}
	if got := p.Share(0).Counts(); got != (Counts{Free: 2, LeastFree: 2}) {
		t.Errorf("counts %+v", got)
	}
	if !panics(func() { p.Share(0).Bytes(0) }) {
		t.Error("Bytes of unmapped memory does not panic")
	}
}

// TestCloseHeld closes a pool whose slots are in several hands: what they hold
// stays readable, and the last Free unmaps.
func TestCloseHeld(t *testing.T) {
	p := newPool(t, ShareConfig{Live: 2, Largest: 64 << 20}, ShareConfig{Live: 1, Largest: 1})
	a, b := p.Share(0), p.Share(1)
	one, two, other := take(t, a, -1), take(t, a, -1), take(t, b, 1)
	a.MarkReady(one)
	a.MarkHeld(one)
	first := fmt.Sprintf("%p", p.mapping.Bytes)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	release(t, b, other)
	release(t, a, two)
	if slot, ok := a.Take(1); ok {
		t.Errorf("took slot %d of a closed pool", slot)
	}
	mem := a.Bytes(one)
	mem[0], mem[len(mem)-1] = 1, 1
	if !mapped(t, first) {
		t.Errorf("%s is unmapped while a slot is held", first)
	}
	release(t, a, one)
	if mapped(t, first) {
		t.Errorf("%s is still mapped", first)
	}
	if err := a.Free(one); !errors.Is(err, ErrNotTaken) {
		t.Errorf("Free in an unmapped pool = %v", err)
	}
}

// TestCloseInFlow closes while slots are taken and freed at full speed.
func TestCloseInFlow(t *testing.T) {
	for range 50 {
		p := newPool(t, ShareConfig{Live: 2, Largest: 1}, ShareConfig{Live: 2, Largest: 1})
		first := fmt.Sprintf("%p", p.mapping.Bytes)
		var wg sync.WaitGroup
		started := make(chan struct{}, 2)
		for i := range 2 {
			s := p.Share(i)
			wg.Go(func() {
				for n := 0; ; n++ {
					slot, ok := s.Take(1)
					if !ok {
						return
					}
					s.Bytes(slot)[0] = 1 // faults if it was unmapped
					if err := s.Free(slot); err != nil {
						t.Error(err)
					}
					if n == 10 {
						started <- struct{}{}
					}
				}
			})
		}
		<-started
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if !p.unmapped.Load() || p.mapping.Bytes != nil {
			t.Fatalf("%s was not unmapped", first)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	s := newPool(t, ShareConfig{Live: 2, Largest: 30000, SmallBelow: 10000}).Share(0)
	for _, size := range []int64{-1, 100} {
		if n := testing.AllocsPerRun(1000, func() {
			slot, _ := s.Take(size)
			s.Bytes(slot)[0] = 1
			s.MarkReady(slot)
			s.MarkHeld(slot)
			_ = s.Free(slot)
			_ = s.Counts()
		}); n != 0 {
			t.Errorf("%v allocations for a heap of %d bytes", n, size)
		}
	}
}

// BenchmarkTakeFree is the life of a slot nobody marks; BenchmarkLife that of
// a delivered heap. The parallel ones contend for one free list.
func BenchmarkTakeFree(b *testing.B) {
	s := newPool(b, ShareConfig{Live: 4, Threads: 16, Largest: 1}).Share(0)
	for b.Loop() {
		slot, _ := s.Take(1)
		_ = s.Free(slot)
	}
}

func BenchmarkLife(b *testing.B) {
	s := newPool(b, ShareConfig{Live: 4, Threads: 16, Largest: 1}).Share(0)
	for b.Loop() {
		slot, _ := s.Take(1)
		s.MarkReady(slot)
		s.MarkHeld(slot)
		_ = s.Free(slot)
	}
}

func BenchmarkTakeFreeParallel(b *testing.B) {
	s := newPool(b, ShareConfig{Live: 4, Threads: 128, Largest: 1}).Share(0)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			slot, _ := s.Take(1)
			_ = s.Free(slot)
		}
	})
}

func BenchmarkLifeParallel(b *testing.B) {
	s := newPool(b, ShareConfig{Live: 4, Threads: 128, Largest: 1}).Share(0)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			slot, _ := s.Take(1)
			s.MarkReady(slot)
			s.MarkHeld(slot)
			_ = s.Free(slot)
		}
	})
}

// BenchmarkMutexParallel is the obvious alternative to BenchmarkTakeFreeParallel:
// a locked slice of free slots, without states, counts or marks.
func BenchmarkMutexParallel(b *testing.B) {
	var mu sync.Mutex
	slots := make([]int, 132)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			slot := slots[len(slots)-1]
			slots = slots[:len(slots)-1]
			mu.Unlock()
			mu.Lock()
			slots = append(slots, slot)
			mu.Unlock()
		}
	})
}
