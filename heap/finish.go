// SPDX-License-Identifier: Apache-2.0

package heap

import "github.com/speadx/speadx/ledger"

// finish hands on a heap that the calling thread alone owns: to the ring, or
// its slot back to the pool. The thread holds no pin, so it may wait.
func (f *Feeder) finish(r *record, rec int, now int64) {
	a := f.a
	whole := r.isComplete()
	if r.hist != nil {
		r.hist.leave(r.seq, now, whole)
		if whole {
			f.concurrency.see((r.hist.head.Load() - r.seq) * uint64(a.cfg.Substreams))
		}
	}
	f.logItem(r, now, whole)
	stopHeap := r.stop.Load()
	bare := r.packets.Load() == 0 && r.pointers.empty() // there is nothing to hand over
	switch {
	case stopHeap && whole:
		f.count.stream[ledger.HeapsStop]++
		f.settle(r, ledger.StreamControl)
		a.giveBack(rec)
		return
	case whole && !bare:
		f.count.stream[ledger.HeapsComplete]++
		if r.again {
			f.noteRepeat(r.cnt, r.first)
		}
	default:
		f.count.stream[ledger.HeapsIncomplete]++
		f.count.stream[ledger.IncompleteBytes] += uint64(r.lacks())
		a.incompleteSize.Add(uint64(r.lacks() + r.committed.Load()))
		if !a.cfg.Incomplete || bare {
			f.count.stream[ledger.HeapsDiscarded]++
			f.count.stream[ledger.DiscardedBytes] += uint64(r.committed.Load())
			f.settle(r, ledger.DiscardedIncomplete)
			a.giveBack(rec)
			return
		}
	}
	r.heap.close(a, r, rec, whole, now)
	a.cfg.Share.MarkReady(r.slot)
	if fate := f.enqueue(rec); fate != placed {
		f.drop(rec, fate)
	}
}

// enqueue puts a finished heap into the ring, as the policy says; placed, or
// the fate of its packets if it could not.
func (f *Feeder) enqueue(rec int) ledger.Fate {
	a := f.a
	for !a.ring.push(rec) {
		switch a.cfg.OnFull {
		case DropNewest:
			return ledger.RingFull
		case DropOldest:
			if old := a.ring.exchange(rec); old >= 0 {
				f.drop(old, ledger.RingFull)
				a.cfg.Notify()
				return placed
			}
		default:
			if !f.waitForRoom() {
				return ledger.Shutdown
			}
		}
	}
	a.cfg.Notify()
	return placed
}

// waitForRoom waits until the consumer has taken a heap; false if the assembler
// was aborted instead.
func (f *Feeder) waitForRoom() bool {
	a := f.a
	if f.onWait != nil {
		f.onWait(true)
		defer f.onWait(false)
	}
	began, held := a.since(), a.held.Load()
	f.count.stream[ledger.Blocked]++
	f.board.publish(&f.count)
	a.blocked.Add(1)
	a.room.Wait(func() bool { return a.aborted.Load() || !a.ring.full() })
	waited := int64(a.since() - began)
	if !a.cfg.Recorded {
		atLeast(&a.held, held+waited)
	}
	a.blocked.Add(-1)
	f.count.stream[ledger.BlockedTime] += uint64(waited)
	return !a.aborted.Load()
}

// drop gives back a ready heap that the calling thread owns.
func (f *Feeder) drop(rec int, fate ledger.Fate) {
	came := uint64(f.a.records[rec].committed.Load())
	if fate == ledger.RingFull {
		f.count.stream[ledger.HeapsRingFull]++
		f.count.stream[ledger.RingFullBytes] += came
	} else {
		f.count.stream[ledger.HeapsShutdown]++
		f.count.stream[ledger.ShutdownBytes] += came
	}
	f.settle(&f.a.records[rec], fate)
	f.a.giveBack(rec)
}

// settle gives a heap's packets their fate.
func (f *Feeder) settle(r *record, fate ledger.Fate) {
	f.count.fates[fate] += uint64(r.packets.Swap(0))
}
