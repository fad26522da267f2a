package heap

import "time"

// finish hands on a heap that the calling thread alone owns: to the ring, or
// its slot back to the pool. The thread holds no pin, so it may wait.
func (f *Feeder) finish(r *record, rec int, now int64) {
	a := f.a
	whole := r.isComplete()
	if r.hist != nil {
		r.hist.leave(r.seq, now, whole)
		if whole {
			f.crowd.see((r.hist.head.Load() - r.seq) * uint64(a.cfg.Substreams))
		}
	}
	stopHeap := r.stop.Load()
	bare := r.packets.Load() == 0 && r.pointers.empty() // there is nothing to hand over
	switch {
	case stopHeap && whole:
		f.count[cStopHeaps]++
		f.settle(r, StreamControl)
		a.giveBack(rec)
		return
	case whole && !bare:
		f.count[cComplete]++
	default:
		f.count[cIncomplete]++
		if !a.cfg.Incomplete || bare {
			f.count[cDiscarded]++
			f.settle(r, DiscardedIncomplete)
			a.giveBack(rec)
			return
		}
	}
	r.heap.close(a, r, rec, whole)
	a.cfg.Share.MarkReady(r.slot)
	if fate := f.enqueue(rec); fate != placed {
		f.drop(rec, fate)
	}
}

// enqueue puts a finished heap into the ring, as the policy says; placed, or
// the fate of its packets if it could not.
func (f *Feeder) enqueue(rec int) Fate {
	a := f.a
	for !a.ring.push(rec) {
		switch a.cfg.OnFull {
		case DropNewest:
			return RingFull
		case DropOldest:
			if old := a.ring.exchange(rec); old >= 0 {
				f.drop(old, RingFull)
				a.cfg.Notify()
				return placed
			}
		default:
			if !f.waitForRoom() {
				return Shutdown
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
	began := time.Now()
	f.count[cBlocked]++
	f.board.publish(&f.count)
	a.blocked.Add(1)
	a.room.Wait(func() bool { return a.aborted.Load() || !a.ring.full() })
	if !a.cfg.Recorded {
		f.Stalled(f.lastNow + int64(time.Since(began)))
	}
	a.blocked.Add(-1)
	f.count[cBlockedNs] += uint64(time.Since(began))
	return !a.aborted.Load()
}

// drop gives back a ready heap that the calling thread owns.
func (f *Feeder) drop(rec int, fate Fate) {
	if fate == RingFull {
		f.count[cRingFullHeaps]++
	} else {
		f.count[cShutdownHeaps]++
	}
	f.settle(&f.a.records[rec], fate)
	f.a.giveBack(rec)
}

// settle gives a heap's packets their fate.
func (f *Feeder) settle(r *record, fate Fate) {
	f.count[fate] += uint64(r.packets.Swap(0))
}
