// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/speadx/speadx/ledger"
)

// Sender is the address and port that a packet came from. It can be compared, and
// holds no pointers, as there is one in each packet of a batch. The zero value
// stands for a sender that is not known.
type Sender struct {
	hi, lo uint64 // the address; that of IPv4 as it is mapped into IPv6
	port   uint16
}

// SenderOf is the sender at a.
func SenderOf(a netip.AddrPort) Sender {
	if !a.IsValid() {
		return Sender{}
	}
	b := a.Addr().As16()
	return Sender{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), a.Port()}
}

// AddrPort is the sender's address and port; it is not valid if they are not known.
func (s Sender) AddrPort() netip.AddrPort {
	if s == (Sender{}) {
		return netip.AddrPort{}
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], s.hi)
	binary.BigEndian.PutUint64(b[8:], s.lo)
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), s.port)
}

// String is the address and port, "unknown" if they are not known.
func (s Sender) String() string {
	if s == (Sender{}) {
		return "unknown"
	}
	return s.AddrPort().String()
}

// maxSenders is how many senders a stream tells apart. Those that come when there
// are so many share the number 0, so that nobody can fill memory by sending from
// ever other addresses.
const (
	maxSenders      = 1024
	senderIndexBits = 12 // the index is a quarter full at most
)

// senders are the senders that a stream has heard, by numbers from 1.
//
// A feeder that meets a new sender writes it into an entry of its own. It publishes the
// entry by one compare-and-swap of an empty place of the index. Open addressing finds it
// there. The feeder that loses looks again. Two feeders that bring one sender meet at one
// place, so no sender has two numbers. Entries never change afterwards.
type senders struct {
	index  []atomic.Uint32 // number of the sender whose hash leads here; 0: none
	list   []senderEntry   // by number
	taken  atomic.Uint32   // entries given to feeders
	heard  atomic.Int64    // senders published, the others as one
	active atomic.Int64    // of BySender, those that have started a heap
	others atomic.Bool     // entry 0 is in use
	hash   uint64          // odd
	window *window         // grows with the senders; nil: it does not
}

type senderEntry struct {
	Sender
	newest  atomic.Uint64 // count of the heap it started last
	started atomic.Bool   // whether there is one
	stopped atomic.Bool   // its stop item was seen
	epoch   atomic.Uint32 // one more each time that its heaps are forgotten
	begun   atomic.Uint64 // heaps of all senders that had started then
	last    stopNote      // its last stop heap
}

// stopNote is what is remembered of a sender's stop heap. The history forgets such heaps
// when another sender stops, as what follows a stop may count from anywhere.
type stopNote struct {
	cnt     atomic.Uint64
	started atomic.Uint64 // heaps of all senders that had started then
	at      atomic.Int64  // ns; 0: there was none
}

// stopAgain reports whether a stop heap repeats the sender's last: it has its count, and comes no
// further behind it than heaps are reordered and remembered. It is the last from now on.
func (e *senderEntry) stopAgain(a *Assembler, cnt uint64, now int64) bool {
	l, started := &e.last, a.started()
	again := l.at.Load() != 0 && l.cnt.Load() == cnt && started-l.started.Load() <= a.window.live() && !a.faded(l.at.Load(), now)
	l.cnt.Store(cnt)
	l.started.Store(started)
	l.at.Store(now)
	return again
}

func newSenders(m *tableMemory, hash uint64) *senders {
	return &senders{index: newTable[atomic.Uint32](m, 1<<senderIndexBits), list: newTable[senderEntry](m, maxSenders+1), hash: hash}
}

// number is that of a sender, which is given one if need be. spare is the calling
// feeder's entry, 0 if it has none.
func (s *senders) number(who Sender, spare *uint32) uint32 {
	mask := uint64(len(s.index) - 1)
	for place := s.place(who); ; place++ {
		cell := &s.index[place&mask]
		step("senders.load")
		n := cell.Load()
		if n == 0 {
			if *spare == 0 && !s.take(spare) {
				if !s.others.Load() && !s.others.Swap(true) {
					s.hear()
				}
				return 0
			}
			s.list[*spare].Sender = who
			step("senders.cas")
			if cell.CompareAndSwap(0, *spare) {
				s.hear()
				n, *spare = *spare, 0
				return n
			}
			n = cell.Load()
		}
		if s.list[n].Sender == who {
			return n
		}
	}
}

// hear counts a new sender, whose heaps need room in the window.
func (s *senders) hear() {
	if n := s.heard.Add(1); s.window != nil {
		s.window.heard(n)
	}
}

// place is where in the index the search for a sender begins. A product's upper bits
// depend on all bits of its factor, the lower ones only on those below. So the port, of
// which there are many to an address, comes in first, and the place is taken from the top.
func (s *senders) place(who Sender) uint64 {
	h := (uint64(who.port)*s.hash ^ who.lo) * s.hash
	return (h ^ h>>32 ^ who.hi) * s.hash >> (64 - senderIndexBits)
}

// take gives a feeder an entry; false if there are no more.
func (s *senders) take(spare *uint32) bool {
	for {
		n := s.taken.Load()
		if int(n) == maxSenders {
			return false
		}
		step("senders.take")
		if s.taken.CompareAndSwap(n, n+1) {
			*spare = n + 1
			return true
		}
	}
}

// Conflict is two senders that sent heaps of one count, or parts of one heap.
type Conflict struct {
	Cnt     uint64
	Senders [2]netip.AddrPort
}

// checkOwner notes a conflict if the run in hand is of a heap, with that count, that
// another sender has started.
func (f *Feeder) checkOwner(cnt uint64, owner uint32) {
	if owner == f.from {
		return
	}
	a := f.a
	f.count.stream[ledger.SourceConflicts] += uint64(f.inRun)
	if a.conflict.Load() == nil {
		a.conflict.CompareAndSwap(nil, &Conflict{cnt, [2]netip.AddrPort{a.senders.list[owner].AddrPort(), a.senders.list[f.from].AddrPort()}})
	}
}
