// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"time"

	"github.com/speadx/speadx/internal/cache"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
)

// batchSize is how many packets are decoded before the first is placed, and placed
// before the first is copied: packets that continue each other are claimed as one.
// While the payloads of a batch are copied, the headers of the next one are fetched,
// so that decoding does not wait for them.
const batchSize = 32

// Feeder is one thread's way into an [Assembler]. It belongs to one goroutine.
type Feeder struct {
	a *Assembler

	onWait func(waiting bool) // see OnWait

	pinned      pinnedHeaps
	cur         *pinnedHeap // of the run in hand
	concurrency concurrency

	inRun     int    // packets of the run in hand
	runBytes  int64  // their payload
	from      uint32 // number of their sender
	spareFrom uint32 // our spare entry of senders, 0: none
	lastFrom  Sender // the sender of the last packet, whose number is lastNo
	lastNo    uint32

	table      uint64             // our spare table of coverage
	spareNodes [][numKinds]uint64 // our spare node of each history: [substream][kind]

	starts   startLog // heaps that we have started, for gaps
	count    counters // as published, plus what this batch added
	board    board
	finished bool // Finish was called: what comes now is after the stop
	sawStop  bool
	lastNow  int64 // by the stream's clock: see Assembler.faded
	held     int64 // Assembler.held when this thread last came by
	wall     int64 // of the batch

	next    []Packet // behind the batch in hand; their headers are fetched one by one
	headers [batchSize]spead.Packet
	numbers [batchSize]uint32 // of their senders
	joins   [batchSize]bool   // they belong to the run of the packet before
}

// Feed places a batch of packets. now is when they were received, ns, by a clock
// that is never set; wall is the same in ns since 1970. Feed has copied what it
// keeps when it returns. It does not allocate, and it waits only where the ring
// of finished heaps is full under [Block].
func (f *Feeder) Feed(packets []Packet, now, wall int64) {
	f.wall = wall
	now = f.come(now)
	f.lastNow = now
	f.count.stream[ledger.BatchesFed]++
	f.count.stream[ledger.BatchMax] = max(f.count.stream[ledger.BatchMax], uint64(len(packets)))
	for i := range packets[:min(len(packets), batchSize)] {
		cache.PrefetchHeaders(packets[i].First)
	}
	for len(packets) > 0 {
		n := min(len(packets), batchSize)
		f.next = packets[n:]
		f.feed(packets[:n], packets[n:], now)
		packets = packets[n:]
	}
	f.next = nil // it is the caller's
	f.release(now)
	f.hear(f.lastNo)
	f.track(now)
	f.board.publish(&f.count)
}

// OnWait makes Feed call f before and after it waits for room in the ring of finished
// heaps, on the goroutine of Feed. It is set before the first Feed.
func (f *Feeder) OnWait(onWait func(waiting bool)) { f.onWait = onWait }

// Tick does what time asks for, whether packets come or not: it evicts heaps by
// age. now is by the clock of Feed.
func (f *Feeder) Tick(now int64) {
	if f.finished {
		return // the stream may have ended meanwhile
	}
	now = f.come(now)
	f.evictAged(now)
	f.track(now)
	f.board.publish(&f.count)
}

// come notes that the thread comes by at a time, and returns that by the stream's clock.
func (f *Feeder) come(now int64) int64 {
	f.held = f.a.held.Load()
	return now - f.held
}

// feed places a batch, behind which after comes.
func (f *Feeder) feed(packets, after []Packet, now int64) {
	headers := f.headers[:len(packets)]
	f.decode(packets, headers)
	for i := 0; i < len(packets); {
		if headers[i].HeaderLen == 0 {
			i++
			continue
		}
		j := i + 1
		for j < len(packets) && f.joins[j] {
			j++
		}
		f.from = f.numbers[i]
		f.run(packets[i:j], headers[i:j], now)
		i = j
	}
	f.copyOwed(after)
}

// decode reads the headers of a batch, finds out who sent each packet, and which of
// them join the run of the one before. Packets that are refused get their fate, and
// a HeaderLen of 0.
func (f *Feeder) decode(packets []Packet, headers []spead.Packet) {
	bytes, start := 0, 0 // start: where the run begins
	for i := range packets {
		p, h := &packets[i], &headers[i]
		bytes += p.Len
		f.joins[i] = false
		follows := i > 0 && p.From == f.lastFrom && headers[i-1].HeaderLen != 0 && h.DecodeNext(&headers[i-1], p.First, p.Len)
		if !follows {
			reason := h.Decode(p.First, p.Len)
			if reason == spead.OK && h.Size() != p.Len {
				reason = spead.SizeMismatch
			}
			if reason != spead.OK {
				h.HeaderLen = 0
				f.judge(fateOf[reason], 1)
				continue
			}
			if p.From != f.lastFrom || f.lastNo == 0 {
				f.lastFrom, f.lastNo = p.From, f.a.senders.number(p.From, &f.spareFrom)
				f.hear(f.lastNo)
			}
		}
		f.numbers[i] = f.lastNo
		if i > 0 && (follows && h.PayloadLength > 0 || f.numbers[i] == f.numbers[start] && continues(&headers[start], &headers[i-1], h)) {
			f.joins[i] = true
		} else {
			start = i
		}
	}
	f.count.stream[ledger.BytesFed] += uint64(bytes)
}

// continues reports whether h belongs to the run that begins with first and ends,
// so far, with last.
func continues(first, last, h *spead.Packet) bool {
	return h.HeaderLen != 0 && last.HeaderLen != 0 && h.Cnt == first.Cnt && h.HeapLength == first.HeapLength && h.Flavour == first.Flavour &&
		h.PayloadOffset == last.PayloadOffset+last.PayloadLength && h.PayloadLength > 0 && last.PayloadLength > 0 &&
		h.Control == first.Control
}

// run places packets of one heap whose payloads follow each other.
func (f *Feeder) run(packets []Packet, headers []spead.Packet, now int64) {
	h, last := &headers[0], &headers[len(headers)-1]
	f.inRun, f.runBytes = len(headers), last.PayloadOffset+last.PayloadLength-h.PayloadOffset
	fate := f.admit(h, last.PayloadOffset+last.PayloadLength, now)
	if fate == ledger.OversizeHeap && len(headers) > 1 && h.HeapLength < 0 {
		for i := range packets { // those that still fit
			f.run(packets[i:i+1], headers[i:i+1], now)
		}
		return
	}
	if fate == placed {
		if h.PayloadLength == h.HeapLength {
			fate = f.whole(&packets[0], h, now)
		} else {
			fate = f.part(packets, headers, now)
		}
	}
	if fate != placed {
		f.judge(fate, len(packets))
	}
}

// judge gives packets a fate of their own. A packet is counted together with its
// fate, or with its heap's packets, so that the accounts close also while a thread
// waits in the middle of a batch.
func (f *Feeder) judge(fate ledger.Fate, packets int) {
	f.count.fates[fate] += uint64(packets)
	f.count.stream[ledger.PacketsFed] += uint64(packets)
}

// placed stands for the fate of the heap, which is not yet known.
const placed = ledger.NumFates

// admit checks what needs no heap. end is where the run's payload ends.
func (f *Feeder) admit(h *spead.Packet, end, now int64) ledger.Fate {
	a := f.a
	switch {
	case f.finished:
		return ledger.AfterStop
	case h.HeapLength < 0 && a.cfg.RefuseUnsized:
		return ledger.UnsizedRefused
	case max(h.HeapLength, end) > a.placement.largest():
		a.oversize.CompareAndSwap(0, max(h.HeapLength, end))
		if h.HeapLength < 0 && end <= 1<<claimedBits {
			f.extend(h, end, now)
		}
		return ledger.OversizeHeap
	}
	return placed
}

// extend is for a packet that finds no room in a heap whose length is not known. It notes that
// the heap reaches as far as end, so that it is not taken for complete. A packet that is
// refused starts no heap. A heap that starts later learns it from beyond.
func (f *Feeder) extend(h *spead.Packet, end, now int64) {
	key := f.beyondKey(h)
	f.a.beyond.note(key, now) // before looking: see beyond
	if !f.has(h) && !f.join(h, now) {
		return
	}
	f.a.beyond.take(key)
	if r := f.cur.r; r.length.Load() < 0 {
		atLeast(&r.reach, end)
	}
}

// join pins the heap that h belongs to, if it is live.
func (f *Feeder) join(h *spead.Packet, now int64) bool {
	f.makeRoom(h, now)
	hist, _ := f.historyOf(h.Cnt, kindParts)
	for {
		e, found, _ := hist.find(h.Cnt, f.from)
		if !found || !f.isOpen(e) {
			return false
		}
		if rec := int(e.ref & recordMask); f.a.records[rec].pin(e.ref) {
			f.hold(h, &f.a.records[rec], rec)
			return true
		}
	}
}

// seeStop notes that a stop item was seen, in heap cnt; false if that is a repeat of the
// sender's last stop heap.
func (f *Feeder) seeStop(cnt uint64, now int64) bool {
	f.sawStop = true
	a := f.a
	if f.from != 0 && a.senders.list[f.from].stopAgain(a, cnt, now) {
		return false
	}
	a.seeStop(f.from)
	return true
}

// stopHeap takes a stop heap of one packet. It is not delivered; its count and sender
// are remembered, so that a repeat of it is not the stop of another sender.
func (f *Feeder) stopHeap(h *spead.Packet, now int64) ledger.Fate {
	hist, spare := f.historyOf(h.Cnt, kindWhole)
	for {
		e, found, next := hist.find(h.Cnt, f.from)
		again := found && e.left&leftStop != 0 && f.remembered(hist, e, next, h, now)
		if again && e.from == f.from {
			return ledger.StreamControl
		}
		f.beginAgain(hist, h, found, next)
		if hist.start(next, h.Cnt, f.who(), 0, leftAt(now, true)|leftStop, spare) {
			if again {
				f.checkOwner(e.cnt, e.from)
			}
			break
		}
	}
	f.noteStart(h, now)
	if f.seeStop(h.Cnt, now) {
		f.count.stream[ledger.HeapsStop]++
	}
	return ledger.StreamControl
}

// whole places a packet that is a heap by itself. Such a heap takes no place in the window
// of live heaps. Other threads never see it half-made: it is copied first, and then started
// and finished at once.
func (f *Feeder) whole(p *Packet, h *spead.Packet, now int64) ledger.Fate {
	a := f.a
	f.release(now)
	if h.Control == spead.CtrlStop && !a.cfg.IgnoreStop {
		return f.stopHeap(h, now)
	}
	hist, spare := f.historyOf(h.Cnt, kindWhole)
	var r *record
	var rec int
	for {
		e, found, next := hist.find(h.Cnt, f.from)
		known := found && f.remembered(hist, e, next, h, now)
		if known && !f.startsAgain(e) {
			if r != nil {
				a.giveBack(rec)
			}
			return f.repeat(hist, e, next, h)
		}
		if r == nil {
			if h.Extra > a.roomForItems(h) {
				return ledger.TooManyItems
			}
			var ok bool
			if r, rec, ok = f.prepare(h, now, complete); !ok {
				return ledger.NoSlot
			}
			r.pointers.addAll(h) // there is room
			f.raise(r, h)
			r.whole.Store(int64(h.Extra)) // no other packet can have any
			if h.PayloadLength > 0 {      // nobody else claims it: this notes what is there
				a.coverage.claim(&r.cover, &f.table, 0, uint64(h.PayloadLength))
			}
			r.copyPayload(h, p, nil)
			r.committed.Store(h.PayloadLength)
			r.packets.Store(1)
			r.hist = nil // it has left as soon as it has started
		}
		f.beginAgain(hist, h, found, next) // not before: a packet that is refused changes nothing
		r.again, r.first = known, e.from
		if hist.start(next, h.Cnt, f.who(), refTo(r.state.Load(), rec), leftAt(now, true), spare) {
			f.noteStart(h, now)
			break
		}
	}
	f.count.stream[ledger.PacketsFed]++
	f.count.stream[ledger.HeapsSinglePacket]++
	f.count.stream[ledger.PayloadPlaced] += uint64(h.PayloadLength)
	f.finish(r, rec, now)
	return placed
}

// part places a run of packets of a heap that has more than one.
func (f *Feeder) part(packets []Packet, headers []spead.Packet, now int64) ledger.Fate {
	a, h := f.a, &headers[0]
	if !f.has(h) {
		fate := f.acquire(h, now)
		if fate == ledger.TooManyItems && len(headers) > 1 {
			for i := range packets { // those that have fewer
				f.run(packets[i:i+1], headers[i:i+1], now)
			}
			return placed
		}
		if fate != placed {
			return fate
		}
	}
	r := f.cur.r
	last := &headers[len(headers)-1]
	agreed := f.agree(r, h, last.PayloadOffset+last.PayloadLength)
	if agreed == ledger.LengthConflict && len(headers) > 1 && h.HeapLength < 0 {
		for i := range packets { // those that still fit
			f.run(packets[i:i+1], headers[i:i+1], now)
		}
		return placed
	}
	f.checkOwner(r.cnt, r.from)
	if agreed != placed {
		return agreed
	}
	fate := placed
	if h.PayloadLength == 0 {
		fate = f.empty(r, h)
	} else {
		fate = f.placeRun(r, packets, headers)
	}
	if h.Control == spead.CtrlStop && !a.cfg.IgnoreStop && (fate == placed || fate == ledger.Empty || fate == ledger.Duplicate) {
		if !r.stop.Swap(true) {
			f.seeStop(h.Cnt, now)
		}
	}
	f.cur.touched = true
	if n := r.length.Load(); n >= 0 && r.committed.Load()+f.cur.bytes >= n {
		f.release(now) // complete, unless something contradicts that
	}
	return fate
}

// placeRun places a run at once or, if that cannot be, packet by packet.
func (f *Feeder) placeRun(r *record, packets []Packet, headers []spead.Packet) ledger.Fate {
	v := f.place(r, packets, headers)
	if v == claimed {
		return placed
	}
	if len(headers) == 1 {
		h := &headers[0]
		if v != claimDuplicate && h.HeapLength < 0 { // what it would have brought is missing
			atLeast(&r.reach, h.PayloadOffset+h.PayloadLength)
		}
		return refusal[v]
	}
	for i := range packets {
		if fate := f.placeRun(r, packets[i:i+1], headers[i:i+1]); fate != placed {
			f.judge(fate, 1)
		}
	}
	return placed
}

// agree checks a run, which begins with h and ends at offset end, against its
// heap, and tells the heap the length if it did not know it.
func (f *Feeder) agree(r *record, h *spead.Packet, end int64) ledger.Fate {
	n := r.length.Load()
	switch {
	case h.Flavour != r.flavour:
		return ledger.FlavourDiffers
	case h.HeapLength >= 0 && n >= 0 && n != h.HeapLength:
		return ledger.LengthConflict
	case h.HeapLength >= 0 && h.HeapLength < r.reach.Load():
		return ledger.LengthConflict
	case h.HeapLength < 0 && n >= 0 && end > n:
		return ledger.LengthConflict
	}
	if h.HeapLength >= 0 && n < 0 && !r.length.CompareAndSwap(-1, h.HeapLength) && r.length.Load() != h.HeapLength {
		return ledger.LengthConflict
	}
	return placed
}

// place claims the bytes of a run, to be copied and committed. A packet with
// more pointers than there is room for is copied, as its bytes are claimed, but not
// committed: its heap stays incomplete.
func (f *Feeder) place(r *record, packets []Packet, headers []spead.Packet) claim {
	off, last := headers[0].PayloadOffset, &headers[len(headers)-1]
	end := last.PayloadOffset + last.PayloadLength
	if v := f.a.coverage.claim(&r.cover, &f.table, uint64(off), uint64(end)); v != claimed {
		return v
	}
	n, bytes := 0, int64(0)
	for i := range packets {
		h := &headers[i]
		if h.Extra > 0 || h.HeapLength < 0 {
			f.raise(r, h)
		}
		f.owe(r, h, &packets[i])
		if h.Extra == 0 || r.pointers.addAll(h) {
			n++
			bytes += h.PayloadLength
			if h.Extra > 0 && h.PayloadLength > fullPayload {
				atLeast(&r.whole, int64(h.Extra))
			}
		} else {
			r.refused.Store(true)
			f.judge(ledger.TooManyItems, 1)
		}
	}
	f.count.stream[ledger.PacketsFed] += uint64(n)
	f.count.stream[ledger.PayloadPlaced] += uint64(bytes)
	f.cur.packets += int64(n)
	f.cur.bytes += bytes
	return claimed
}

// fullPayload is the payload of a packet that a sender has filled with item
// pointers, in bytes: more of it shows that the sender had no pointers left.
const fullPayload = 8

var refusal = [...]ledger.Fate{claimDuplicate: ledger.Duplicate, claimOverlap: ledger.Overlap, claimFull: ledger.TooManyRanges}

// empty takes the item pointers of a packet without payload.
func (f *Feeder) empty(r *record, h *spead.Packet) ledger.Fate {
	if !r.pointers.addAll(h) {
		r.refused.Store(true)
		return ledger.TooManyItems
	}
	f.raise(r, h)
	return ledger.Empty
}

// raise notes how far the heap reaches, beyond what its length says.
func (f *Feeder) raise(r *record, h *spead.Packet) {
	if h.HeapLength < 0 {
		atLeast(&r.reach, h.PayloadOffset+h.PayloadLength)
	}
	if h.Extra == 0 {
		return
	}
	for i := range h.NumPointers() {
		if p := h.Pointer(i); !p.IsImmediate() {
			atLeast(&r.reach, int64(h.Flavour.Value(p)))
		}
	}
}

// acquire pins the heap that h belongs to, starting it if need be.
func (f *Feeder) acquire(h *spead.Packet, now int64) ledger.Fate {
	a := f.a
	f.makeRoom(h, now)
	hist, spare := f.historyOf(h.Cnt, kindParts)
	var r *record
	var rec int
	for {
		e, found, next := hist.find(h.Cnt, f.from)
		if found && f.isOpen(e) {
			if r != nil { // before the other is pinned: a thread has one slot in hand at most
				a.giveBack(rec)
				r = nil
			}
			cand := int(e.ref & recordMask)
			if a.records[cand].pin(e.ref) {
				f.hold(h, &a.records[cand], cand)
				return placed
			}
			continue // it was closed just now
		}
		known := found && f.remembered(hist, e, next, h, now)
		if known && !f.startsAgain(e) {
			if r != nil {
				a.giveBack(rec)
			}
			return f.repeat(hist, e, next, h)
		}
		if r == nil {
			if h.Extra > a.roomForItems(h) {
				if h.HeapLength < 0 {
					a.beyond.note(f.beyondKey(h), now)
				}
				return ledger.TooManyItems
			}
			f.release(now)
			// Room is made before it is needed, by whoever starts heap number
			// next: all of them evict the same one. So no more than the
			// window are live, and a thread never has two slots in hand.
			f.evict(hist, next, now)
			if f.a.aborted.Load() {
				return ledger.Shutdown
			}
			var ok bool
			if r, rec, ok = f.prepare(h, now, open); !ok {
				return ledger.NoSlot
			}
			continue // looking again: evict may have waited for the consumer
		}
		if f.windowFull(hist, next) {
			// Others have started heaps since: there is room to make again, and
			// our slot goes back first.
			a.giveBack(rec)
			r = nil
			continue
		}
		f.beginAgain(hist, h, found, next) // not before: a packet that is refused changes nothing
		r.hist, r.seq = hist, next
		r.again, r.first = known, e.from
		if hist.start(next, h.Cnt, f.who(), refTo(r.state.Load(), rec), 0, spare) {
			f.noteStart(h, now)
			f.hold(h, r, rec)
			if at := a.beyond.take(f.beyondKey(h)); h.HeapLength < 0 && at != 0 && !a.faded(at, now) {
				atLeast(&r.reach, a.placement.largest()+1)
			}
			return placed
		}
	}
}

// windowFull reports whether a heap still has to leave the window before heap next can
// start.
func (f *Feeder) windowFull(hist *history, next uint64) bool {
	w := f.a.window.live()
	if next < w {
		return false
	}
	e, ok := hist.at(next - w)
	return ok && f.isOpen(e)
}

// isOpen reports whether the heap of an entry is live.
func (f *Feeder) isOpen(e entry) bool {
	s := f.a.records[e.ref&recordMask].state.Load()
	return s>>genShift == e.ref>>recordBits && howOf(s) == open
}

// evict closes the heap that has to leave the window when heap next starts.
func (f *Feeder) evict(hist *history, next uint64, now int64) {
	w := f.a.window.live()
	if next < w {
		return
	}
	if e, ok := hist.at(next - w); ok {
		f.closeHeap(e, evicted, now)
	}
}

// closeHeap closes a heap if it is open, and finishes it if nobody has it
// pinned.
func (f *Feeder) closeHeap(e entry, why how, now int64) {
	rec := int(e.ref & recordMask)
	r := &f.a.records[rec]
	if closed, finisher := r.close(e.ref, why); closed {
		f.count.stream[counterOf[why]]++
		if finisher {
			f.finish(r, rec, now)
		}
	}
}

var counterOf = [...]ledger.StreamCounter{evicted: ledger.HeapsEvicted, aged: ledger.HeapsAged, flushed: ledger.HeapsFlushed}

// prepare takes a slot for a new heap and makes its record ready, to be
// published or given back.
func (f *Feeder) prepare(h *spead.Packet, now int64, how how) (r *record, rec int, ok bool) {
	a := f.a
	slot, memory, ok := a.placement.place(h)
	if !ok {
		return nil, 0, false
	}
	rec = slot
	r = &a.records[rec]
	r.begin(how)
	a.coverage.reset(&r.cover, r.cover.Load()>>claimedBits)
	setInt(&r.committed, 0)
	setInt(&r.packets, 0)
	setInt(&r.length, h.HeapLength)
	setInt(&r.reach, 0)
	setInt(&r.lastSeen, now)
	setBool(&r.stop, false)
	setInt(&r.whole, 0)
	setBool(&r.refused, false)
	r.pointers.reset()
	r.slot, r.cnt, r.from, r.flavour, r.firstSeen, r.began, r.memory = slot, h.Cnt, f.from, h.Flavour, f.wall, now, memory
	r.past = how == open && f.concurrency.past(h, a.pastCache)
	return r, rec, true
}

// memoryNs is for how long a heap that has left is remembered: see faded.
const memoryNs = int64(2 * time.Second)

// maxStep is the largest step that a sender's counts are taken to have.
const maxStep = 64

// remembered reports whether a heap that is in the history, and not live, still counts. Then h
// is one packet too many of it. Otherwise h is the first of a new heap with the same count.
func (f *Feeder) remembered(hist *history, e entry, next uint64, h *spead.Packet, now int64) bool {
	if e.left == 0 {
		return true // closed just now
	}
	begun := f.a.begun.Load()
	if f.a.cfg.BySender {
		s := &f.a.senders.list[f.from]
		if e.epoch != s.epoch.Load() {
			return false
		}
		begun = s.begun.Load()
	}
	if e.seq < hist.floor.Load() || f.a.faded(e.left, now) {
		return false
	}
	window, ago := f.a.window.live(), next-e.seq
	if newest, ok := f.newest(hist, next); ok {
		ahead := (newest-e.cnt)&h.Flavour.MaxValue() > h.Flavour.MaxValue()/4
		if ahead && ago > window && ago*maxStep > h.Flavour.MaxValue() {
			return false // so far back that the counts can have wrapped
		}
	}
	// A start or end of the stream that comes further behind the last one than
	// heaps are reordered is another one.
	return !f.begins(h) || int64(f.a.started()-begun) <= int64(window)
}

// newest is the count of the heap that started last; of our sender, if senders are
// told apart.
func (f *Feeder) newest(hist *history, next uint64) (uint64, bool) {
	if f.a.cfg.BySender {
		s := &f.a.senders.list[f.from]
		return s.newest.Load(), s.started.Load()
	}
	e, ok := hist.at(next - 1)
	return e.cnt, ok
}

// noteStart notes the count of a heap that our sender has started.
func (f *Feeder) noteStart(h *spead.Packet, now int64) {
	f.logStart(h, now)
	if f.a.cfg.BySender {
		s := &f.a.senders.list[f.from]
		s.newest.Store(h.Cnt)
		if !s.started.Swap(true) {
			f.a.senders.active.Add(1)
		}
	}
}

// repeat is the fate of packets whose heap has left, before heap next starts. The first of
// them is h.
func (f *Feeder) repeat(hist *history, e entry, next uint64, h *spead.Packet) ledger.Fate {
	f.checkOwner(e.cnt, e.from)
	if e.left == 0 && !f.wasComplete(e) { // when it was looked up
		if now, ok := hist.at(e.seq); ok {
			e = now
		}
	}
	if f.wasComplete(e) {
		if hist.cameAgain(e, h.PayloadOffset, f.runBytes, h.HeapLength) {
			f.noteRepeat(e.cnt, e.from)
		}
		return ledger.Duplicate // every byte of the heap was there
	}
	if hist.overtaken(e) {
		f.count.stream[ledger.HeapsOvertaken]++
	}
	atLeast(&f.a.lateBy, int64(next-e.seq))
	return ledger.Late
}

// beginAgain forgets the heaps that have left when h, the first packet of a new
// heap, shows that the sender counts from somewhere else now.
func (f *Feeder) beginAgain(hist *history, h *spead.Packet, found bool, next uint64) {
	if f.begins(h) || !found && f.behind(hist, h.Cnt, next) {
		f.forget()
	}
	if h.Control == spead.CtrlStart {
		f.a.senders.list[f.from].last.at.Store(0)
	}
}

// forget makes the heaps that have left be remembered no more: our sender's, if senders
// are told apart, which begins another epoch of it.
func (f *Feeder) forget() {
	if !f.a.cfg.BySender {
		f.a.forget()
		return
	}
	s := &f.a.senders.list[f.from]
	s.begun.Store(f.a.started())
	s.epoch.Add(1)
}

// who is our sender and, where senders are told apart, its epoch: what a heap that it
// starts is remembered by.
func (f *Feeder) who() uint64 {
	if !f.a.cfg.BySender {
		return uint64(f.from)
	}
	return uint64(f.a.senders.list[f.from].epoch.Load())<<32 | uint64(f.from)
}

// behind reports whether a count lies further behind all those remembered than heaps are
// reordered: of our sender, if senders are told apart.
func (f *Feeder) behind(hist *history, cnt, next uint64) bool {
	depth := uint64(len(hist.cells))
	if f.a.cfg.BySender {
		s := &f.a.senders.list[f.from]
		return s.started.Load() && cnt+depth < s.newest.Load()
	}
	return hist.behind(cnt, next, depth)
}

// begins reports whether heaps behind this packet may count from anywhere: after a start,
// and after a stop where the stream can go on.
func (f *Feeder) begins(h *spead.Packet) bool {
	c := &f.a.cfg
	return h.Control == spead.CtrlStart || h.Control == spead.CtrlStop && (c.IgnoreStop || c.BySender || c.Stops > 1)
}

// historyOf returns the history that a heap belongs to, and our spare node.
func (f *Feeder) historyOf(cnt uint64, kind int) (*history, *uint64) {
	s := cnt % uint64(f.a.cfg.Substreams)
	return f.a.histories[s][kind], &f.spareNodes[s][kind]
}

// evictAged evicts the heaps for which no packet has come for too long.
func (f *Feeder) evictAged(now int64) {
	if f.a.cfg.MaxAge < 0 || f.a.blocked.Load() > 0 {
		return // a thread that waits for the consumer has packets waiting behind it
	}
	f.eachLive(func(r *record) bool { return now-r.lastSeen.Load() > int64(f.a.cfg.MaxAge) }, aged, now)
}

// Stalled says that this thread could not feed for that long, since its last Feed or Tick:
// heaps have become no older in that time.
func (f *Feeder) Stalled(d time.Duration) { atLeast(&f.a.held, f.held+int64(d)) }

// SawStop reports whether a stop item came through this feeder.
func (f *Feeder) SawStop() bool { return f.sawStop }

// eachLive closes the live heaps for which the condition holds, oldest first.
func (f *Feeder) eachLive(cond func(*record) bool, why how, now int64) {
	for s := range f.a.histories {
		hist := f.a.histories[s][kindParts]
		next := hist.next()
		for n := next - min(next, f.a.window.live()); n < next; n++ {
			if e, ok := hist.at(n); ok && cond(&f.a.records[e.ref&recordMask]) {
				f.closeHeap(e, why, now)
			}
		}
	}
}

// Finish says that this thread has fed all it had: its source has ended, or it
// has worked off what its source held when [Assembler.Stopping] became true.
// Packets it feeds from now on are after the stop. When every thread has
// finished, the last one closes what is still live and the stream ends.
func (f *Feeder) Finish() {
	if f.finished {
		return
	}
	f.finished = true
	f.track(f.lastNow)
	f.board.publish(&f.count)
	step("feeder.finish")
	if int(f.a.finishedFeeders.Add(1)) == len(f.a.feeders) {
		f.eachLive(func(*record) bool { return true }, flushed, f.lastNow)
		f.closeAccounts()
		f.board.publish(&f.count)
		close(f.a.done)
	}
}

// Finished reports whether Finish was called.
func (f *Feeder) Finished() bool { return f.finished }
