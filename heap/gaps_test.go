// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

const sizeOfOne = 64

// one is a heap of one packet.
func one(cnt uint64) []byte { return raw(f48, cnt, sizeOfOne, 0, make([]byte, sizeOfOne)) }

// gapRig takes what is finished after each heap, and lets a millisecond pass.
type gapRig struct {
	*rig
	t *testing.T
}

func newGapRig(t *testing.T, cfg Config) gapRig {
	return gapRig{newRig(t, pool.ShareConfig{}, cfg), t}
}

func (r gapRig) send(from Sender, cnt uint64) {
	r.now += 1e6
	r.feedFrom(0, from, one(cnt))
	r.take()
}

func (r gapRig) missing() uint64 { return r.Stats().Counts[ledger.HeapsMissing] }

// want ends the stream and checks how many heaps are missing.
func (r gapRig) want(n uint64) {
	r.t.Helper()
	r.Feeder(0).Finish()
	s := r.Stats()
	if got := s.Counts[ledger.HeapsMissing]; got != n {
		r.t.Errorf("%d heaps missing, want %d: %+v", got, n, r.Sequence())
	}
	if got := s.Counts[ledger.MissingHeapBytes]; got != n*sizeOfOne {
		r.t.Errorf("%d bytes of heaps missing, want %d", got, n*sizeOfOne)
	}
}

// Which heaps are missing is found from the counts, whatever their step is and wherever they begin,
// and however a late start, a restart, a wrap or reordering may look like a gap.
func TestMissingHeaps(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	for _, tt := range []struct {
		name    string
		cfg     Config
		send    func(r gapRig)
		missing uint64
	}{
		{"none", Config{}, func(r gapRig) {
			for i := range uint64(3000) {
				r.send(a, i)
			}
		}, 0},
		{"each 100th", Config{}, func(r gapRig) {
			for i := range uint64(3001) {
				if i%100 != 50 {
					r.send(a, i)
				}
			}
		}, 30},
		{"a late start", Config{}, func(r gapRig) {
			for i := range uint64(300) {
				if i != 100 {
					r.send(a, 5_000_000+i)
				}
			}
		}, 1},
		{"few heaps", Config{}, func(r gapRig) {
			for _, i := range []uint64{1, 2, 3, 5, 6} {
				r.send(a, i)
			}
		}, 1},
		{"a step of 4096", Config{}, func(r gapRig) {
			for i := range uint64(500) {
				if i%7 != 3 {
					r.send(a, 17+4096*i)
				}
			}
		}, 71},
		{"a given step, of which half is missing", Config{ExpectStep: 2}, func(r gapRig) {
			for i := range uint64(201) {
				if i%2 == 0 || i < 40 {
					r.send(a, 2*i)
				}
			}
		}, 80},
		{"a step that is wrong", Config{ExpectStep: 5}, func(r gapRig) {
			for i := range uint64(100) {
				r.send(a, 3*i)
			}
		}, 0},
		{"no sequence", Config{}, func(r gapRig) {
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				r.send(a, rnd.Uint64N(1<<40))
			}
		}, 0},
		{"reordering", Config{}, func(r gapRig) {
			rnd := rand.New(rand.NewPCG(3, 4))
			for block := range uint64(50) {
				for _, i := range rnd.Perm(40) {
					if cnt := 40*block + uint64(i); cnt != 1000 {
						r.send(a, cnt)
					}
				}
			}
		}, 1},
		{"a wrap", Config{}, func(r gapRig) {
			for i := range uint64(1000) {
				if i != 600 {
					r.send(a, (1<<48-500+i)&(1<<48-1))
				}
			}
		}, 1},
		{"a restart with a start item", Config{}, func(r gapRig) {
			for i := range uint64(400) {
				r.send(a, i)
			}
			r.feedFrom(0, a, control(spead.CtrlStart, 1))
			for i := range uint64(400) {
				r.send(a, 2+i)
			}
		}, 0},
		{"a restart far behind", Config{}, func(r gapRig) {
			for i := range uint64(400) {
				r.send(a, 1_000_000+i)
			}
			r.now += 5 * second
			for i := range uint64(400) {
				r.send(a, i)
			}
		}, 0},
		{"a restart far ahead", Config{}, func(r gapRig) {
			for i := range uint64(2000) {
				r.send(a, i)
			}
			for i := range uint64(400) {
				r.send(a, 1<<40+i)
			}
		}, 0},
		{"a gap of 5 seconds", Config{}, func(r gapRig) {
			for i := range uint64(2000) {
				r.send(a, i)
			}
			r.now += 5 * second
			for i := range uint64(2000) {
				r.send(a, 7000+i)
			}
		}, 5000},
		{"a gap of half the positions", Config{}, func(r gapRig) {
			for i := range uint64(2000) {
				r.send(a, i)
			}
			r.now += 500e6
			for i := range uint64(2000) {
				r.send(a, 2500+i)
			}
		}, 500},
		{"two senders in turn, one of which falls silent", Config{}, func(r gapRig) {
			for i := range uint64(1000) {
				if i%2 == 0 || i < 500 {
					r.send([]Sender{a, b}[i%2], i)
				}
			}
		}, 249}, // up to the last of the other
		{"two senders with ranges of their own", Config{}, func(r gapRig) {
			for i := range uint64(600) {
				if i != 300 {
					r.send(a, i)
				}
				if i != 200 && i != 201 {
					r.send(b, 1<<40+i)
				}
			}
		}, 3},
		{"two senders with the same counts", Config{BySender: true}, func(r gapRig) {
			for i := range uint64(600) {
				if i != 300 {
					r.send(a, i)
				}
				if i != 200 && i != 201 {
					r.send(b, i)
				}
			}
		}, 3},
		{"one sender slow", Config{BySender: true}, func(r gapRig) {
			for i := range uint64(600) {
				r.send(a, i)
				if i%100 == 0 {
					r.send(b, i/100)
				}
			}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newGapRig(t, tt.cfg)
			tt.send(r)
			r.want(tt.missing)
		})
	}
}

// A gap is counted when its heaps are not expected any more, and not before: by heaps that follow, or
// by time. A heap that comes after that makes up for another.
func TestMissingHeapsInTime(t *testing.T) {
	r := newGapRig(t, Config{})
	a := senderNo(1)
	for i := range uint64(100) {
		if i != 90 {
			r.send(a, i)
		}
	}
	if n := r.missing(); n != 0 {
		t.Errorf("%d missing at once", n)
	}
	for range 5 {
		r.now += second
		r.Feeder(0).Tick(r.now)
	}
	if n := r.missing(); n != 1 {
		t.Errorf("%d missing after 5 s, want 1", n)
	}
	r.send(a, 90)
	for i := range uint64(1000) {
		if i != 500 {
			r.send(a, 100+i)
		}
	}
	if n := r.missing(); n != 1 {
		t.Errorf("%d missing, want 1: one came late, another is missing", n)
	}
	r.want(1)
}

// The account of a stream says when the first gap and the largest were, and which N-th heaps are
// missing; that of a sender when it was heard last.
func TestSources(t *testing.T) {
	r := newGapRig(t, Config{})
	var senders []Sender
	for n := range 8 {
		senders = append(senders, senderNo(n))
	}
	const start = 1000
	for i := range uint64(8 * 200) {
		if dead := i%8 == 3 && i >= 800; dead || i == 100 || i >= 400 && i < 405 {
			continue
		}
		r.send(senders[i%8], start+i)
	}
	r.want(1 + 5 + 99 + 1)
	seq := r.Sequence()
	if seq.Step != 1 || seq.FirstGap.Cnt != start+100 || seq.FirstGap.Heaps != 1 || seq.LargestGap.Cnt != start+400 || seq.LargestGap.Heaps != 5 {
		t.Errorf("sequence %+v", seq)
	}
	if seq.Every != 8 || seq.Residue%8 != (start+3)%8 {
		t.Errorf("each %dth is missing, %d among them", seq.Every, seq.Residue)
	}
	list := r.Sources()
	if len(list) != 8 {
		t.Fatalf("%d senders", len(list))
	}
	for i, s := range list {
		if s.Sender != senders[i].AddrPort() || s.Step != 8 || s.First.IsZero() {
			t.Errorf("sender %d: %+v", i, s)
		}
		if silent := list[7].Last.Sub(s.Last) > 500*time.Millisecond; silent != (i == 3) {
			t.Errorf("sender %d was heard at %v, the last at %v", i, s.Last, list[7].Last)
		}
	}
	r.close()
	if after := r.Sources(); fmt.Sprint(after) != fmt.Sprint(list) {
		t.Errorf("after Close %+v", after)
	}
}

// Heaps can be told apart by an item. One of which the packet with the item is lost is not
// missing.
func TestMissingItems(t *testing.T) {
	const id = 0x1600
	r := newGapRig(t, Config{ExpectItem: id, ExpectStep: 512, Incomplete: true})
	a := senderNo(1)
	for i := range uint64(200) {
		r.now += 1e6
		p := raw(f48, 1<<40-i*i, 64, 0, make([]byte, 32), f48.Immediate(id, 512*i))
		q := raw(f48, 1<<40-i*i, 64, 32, make([]byte, 32))
		switch i {
		case 50, 60, 61: // missing
		case 100:
			r.feedFrom(0, a, q) // without the item
		default:
			r.feedFrom(0, a, p, q)
		}
		r.take()
	}
	r.Feeder(0).Finish()
	r.take()
	if n := r.missing(); n != 3 {
		t.Errorf("%d missing, want 3", n)
	}
	if s := r.Sources()[0]; s.Missing != 3 || s.LargestGap.Cnt != 512*60 || s.LargestGap.Heaps != 2 {
		t.Errorf("%+v", s)
	}
}

// Against an oracle: any loss, reordering within the reach, any step, one to four threads.
func TestMissingHeapsRandom(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		threads := 1 + rnd.IntN(4)
		r := newRig(t, pool.ShareConfig{Threads: threads, Ring: 64}, Config{})
		step, first := 1+rnd.Uint64N(1000), rnd.Uint64N(1<<47)
		n, loss, shuffle := 200+rnd.IntN(3000), rnd.Float64()*0.4, 1+rnd.IntN(60)
		var sent []uint64
		missing, lastSent := uint64(0), 0
		pending := uint64(0)
		for i := range n {
			if i > 20 && rnd.Float64() < loss {
				pending++
				continue
			}
			missing += pending // what is behind the last is not known
			pending = 0
			sent = append(sent, (first+uint64(i)*step)&(1<<48-1))
			lastSent = i
		}
		_ = lastSent
		for at := 20; at < len(sent); at += shuffle {
			block := sent[at:min(at+shuffle, len(sent))]
			rnd.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		}
		for i, cnt := range sent {
			r.now += 1e5
			r.feed(i%threads, one(cnt))
			r.take()
		}
		for i := range threads {
			r.Feeder(i).Finish()
		}
		if got := r.Stats().Counts[ledger.HeapsMissing]; got != missing {
			t.Errorf("seed %d: %d missing, want %d of %d (step %d, %d threads, in blocks of %d)", seed, got, missing, n, step, threads, shuffle)
		}
		r.close()
	}
}

// A thread that has the accounts stops no other: heaps pass unseen, and none is taken for
// missing.
func TestAccountsStopNobody(t *testing.T) {
	r := newGapRig(t, Config{})
	a := senderNo(1)
	for i := range uint64(100) {
		r.send(a, i)
	}
	r.gaps.mu.Lock()
	for i := range uint64(3 * logSize) {
		r.send(a, 100+i)
	}
	r.gaps.mu.Unlock()
	for i := range uint64(100) {
		if i != 50 {
			r.send(a, 100+3*logSize+i)
		}
	}
	r.want(1)
}

// Readers and feeders at the same time, for the race detector.
func TestSourcesConcurrently(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Threads: 2}, Config{OnFull: DropOldest})
	var feeding, reading sync.WaitGroup
	end := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				r.Sources()
				r.Sequence()
				r.Stats()
			}
		}
	})
	for i := range 2 {
		feeding.Go(func() {
			for n := range uint64(3000) {
				p := one(2*n + uint64(i))
				r.Feeder(i).Feed([]Packet{{First: p, Len: len(p), From: senderNo(i)}}, int64(n)*1e6+1, int64(n)*1e6+1)
			}
			r.Feeder(i).Finish()
		})
	}
	feeding.Wait()
	close(end)
	reading.Wait()
	if s := r.Sources(); len(s) != 2 || s[0].Heaps+s[1].Heaps > 6000 {
		t.Errorf("%+v", s)
	}
}

// BenchmarkAccounts is what the search for missing heaps costs a feeder for each heap.
func BenchmarkAccounts(b *testing.B) {
	r := newRig(b, pool.ShareConfig{}, Config{})
	f := r.Feeder(0)
	h := spead.Packet{Flavour: f48, HeapLength: sizeOfOne, Control: -1}
	f.from = 1
	b.ReportAllocs()
	for b.Loop() {
		h.Cnt++
		f.logStart(&h, int64(h.Cnt))
		if h.Cnt%32 == 0 {
			f.track(int64(h.Cnt))
		}
	}
}
