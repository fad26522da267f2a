// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/internal/wakeup"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// Policy says what happens to a finished heap when the ring is full.
type Policy uint8

const (
	// Block makes the thread that finished it wait for the consumer. What then
	// overflows is what the thread reads from, and is lost and counted there.
	Block Policy = iota
	// DropNewest drops the heap just finished.
	DropNewest
	// DropOldest drops the heap that has waited longest in the ring.
	DropOldest
)

var policyNames = [...]string{"block", "drop-newest", "drop-oldest"}

// String is the policy's name on the command line.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ParsePolicy is the inverse of Policy.String.
func ParsePolicy(s string) (Policy, error) {
	for i, n := range policyNames {
		if s == n {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("policy %q is none of block, drop-newest, drop-oldest", s)
}

// Defaults of Config.
const (
	DefaultMaxAge    = 10 * time.Second
	DefaultMaxItems  = 4096 // less where slots are small: see [Config]
	DefaultMaxRanges = 1024 // likewise
)

// Config says what an assembler is to do. Share must be set. Its sum gives the window, the
// depth of the ring and the number of feeding threads. The assembler's tables are in the
// share's Tables: see TableBytes.
type Config struct {
	Name       string      // of the stream, for the consumer
	Share      *pool.Share // where heaps go
	Substreams int         // heaps with equal cnt mod Substreams share a window; default 1
	// Window is how many heaps of a substream may be live while one sender is heard. Each
	// sender more lets some more be live, see WindowFor, as far as the share has room.
	// Default: all that the share has room for.
	Window int

	OnFull        Policy        // what to do when the ring is full
	MaxAge        time.Duration // evict a heap for which no packet came for so long; 0: DefaultMaxAge, negative: never
	Repeats       Repeats       // what to do with a heap whose count was there already
	Incomplete    bool          // deliver incomplete heaps too
	IgnoreStop    bool          // a stop item does not end the stream, and its heap is delivered
	Stops         int           // the stream ends with the stop item of this number; default 1: the first
	RefuseUnsized bool          // refuse heaps that do not tell their length

	// Recorded says that a feeder's times are those of a capture, in which no time
	// passes while a thread waits for the consumer. The times of several such
	// feeders cannot be compared: then nothing ages, and heaps that have left are
	// remembered by their number only.
	Recorded bool

	// MaxItems is how many item pointers a heap may have, and MaxRanges in how
	// many separate pieces it may be. Both take memory for each slot, so by
	// default small slots have less. There is a pointer for each 64 bytes, at least
	// 128 and at most DefaultMaxItems. There is a piece for each 256 bytes, at least
	// 64 and at most DefaultMaxRanges. A pointer counts once, however many packets
	// repeat it.
	MaxItems, MaxRanges int

	// BySender makes heaps of different senders different heaps, also where their
	// counts are the same. They share the window. The stream then ends when each
	// sender of a heap has sent its stop item, and at least Stops have.
	BySender bool

	// Clock reads the clock of Feed's now, for [Assembler.Times]. May be nil.
	Clock func() int64
	// ExpectStep is by how much the counts of heaps that follow each other differ. Default: what
	// the first heaps show. With ExpectItem it is the step of that immediate item's value, whose
	// heaps are then looked for instead, for each sender.
	ExpectStep int64
	ExpectItem uint64

	// Notify is called when there is a heap to take. It must not wait. May be
	// nil.
	Notify func()
	// OnStop is called once, when the first stop item is seen. May be nil.
	OnStop func()
}

// Assembler puts the packets of one stream together. See the package comment.
type Assembler struct {
	cfg      Config
	window   window
	timeless bool // the feeders' times cannot be compared
	maxSmall int  // item pointers of a heap in a small slot

	tableBytes, goBytes int

	pastCache int64                // tests have a lower one
	since     func() time.Duration // a steady clock; tests have their own
	placement placement
	records   []record
	*tables
	ring    *ring
	feeders []Feeder
	room    *wakeup.Event // signalled when a heap was taken from a full ring

	consumed struct { // what consumers have taken
		mu    sync.Mutex // Next is not on the packet path
		count counters
		board board
		views []*view // not in use
		times consumerTime
	}

	heapTimes heapTimes // of the heaps that were taken
	gaps      *gaps
	dropped   bool // the tables, by Close; guarded by gaps.mu

	incompleteSize atomic.Uint64 // bytes that incomplete heaps should have had

	beyond   beyond
	stops    atomic.Int64 // stop items seen, of BySender senders that have stopped
	conflict atomic.Pointer[Conflict]
	repeated atomic.Pointer[Repeated]

	stopping        atomic.Bool
	aborted         atomic.Bool
	done            chan struct{} // closed when the stream has ended
	finishedFeeders atomic.Int64
	oversize        atomic.Int64
	lateBy          atomic.Int64  // see Stats
	blocked         atomic.Int64  // threads that wait for room in the ring
	held            atomic.Int64  // for how long threads were held up, ns: see faded
	begun           atomic.Uint64 // started() when the memory was cleared last
}

// Heaps of one packet have a history of their own, since they take no place in
// the window.
const (
	kindParts = iota
	kindWhole
	numKinds
)

// Rename gives the stream another name. It is called before the first packet is fed.
func (a *Assembler) Rename(name string) { a.cfg.Name = name }

// memoryOf returns the number of heaps that a history remembers. It is a power of 2: up to
// 64 windows, but 16 windows where 64 are more than 16384 heaps. Of the window that most
// heaps make, there are 8 at least. What is remembered follows from the window of one sender,
// so that a sender that begins again is noticed as soon with as without room for others.
func memoryOf(window, most int) int {
	n := max(min(64*window, 1<<14), 16*window, 8*most)
	return 1 << (bits.Len(uint(n)) - 1)
}

// shape is what a configuration and a share come to.
type shape struct {
	Config            // with its defaults
	window, most  int // heaps of a substream that are live at first, and at most
	large, small  int // slots
	maxSmall      int // item pointers of a heap in a small slot
	threads, ring int
	held          int
	timeless      bool
}

// resolve fills in the defaults of c and checks it, for such a share.
func (c Config) resolve(share pool.ShareConfig) (*shape, error) {
	slots, large, small, err := share.Slots()
	if err != nil {
		return nil, fmt.Errorf("heap: %w", err)
	}
	s := &shape{Config: c, large: slots, threads: share.Threads, ring: share.Ring, held: share.Held}
	if small > 0 {
		s.small = slots
	}
	if s.Substreams == 0 {
		s.Substreams = 1
	}
	if s.Substreams < 0 || share.Live%s.Substreams != 0 || share.Live < s.Substreams {
		return nil, fmt.Errorf("heap: %d live heaps cannot be divided among %d substreams", share.Live, s.Substreams)
	}
	s.most = share.Live / s.Substreams
	if s.Window == 0 {
		s.Window = s.most
	}
	s.window = s.Window
	if s.window < 1 || s.window > s.most {
		return nil, fmt.Errorf("heap: a window of %d heaps, in a share with room for %d live ones of each substream", s.window, s.most)
	}
	if s.ring < 1 || s.threads < 1 {
		return nil, fmt.Errorf("heap: a ring of %d heaps and %d feeding threads: at least one of each is needed", s.ring, s.threads)
	}
	if s.Stops == 0 {
		s.Stops = 1
	}
	if s.Stops < 0 {
		return nil, fmt.Errorf("heap: the stop item of number %d cannot end a stream (the first has number 1)", s.Stops)
	}
	if s.ExpectStep < 0 || s.ExpectItem != 0 && s.ExpectStep == 0 {
		return nil, fmt.Errorf("heap: an expected step of %d (the least is 1)", s.ExpectStep)
	}
	if s.Repeats > RepeatsDeliver {
		return nil, fmt.Errorf("heap: unknown %v", s.Repeats)
	}
	if s.OnFull > DropOldest {
		return nil, fmt.Errorf("heap: unknown %v", s.OnFull)
	}
	if s.timeless = s.Recorded && s.threads > 1; s.timeless {
		s.MaxAge = -1
	}
	if s.MaxAge == 0 {
		s.MaxAge = DefaultMaxAge
	}
	s.maxSmall = s.MaxItems
	if s.MaxItems == 0 {
		s.MaxItems, s.maxSmall = defaultItems(large), defaultItems(small)
	}
	if s.MaxRanges == 0 {
		s.MaxRanges = min(max(large/bytesPerRange, 64), DefaultMaxRanges)
	}
	if s.MaxItems < 1 || s.MaxRanges < 2 {
		return nil, fmt.Errorf("heap: limits of %d item pointers and %d ranges leave no room for a heap", s.MaxItems, s.MaxRanges)
	}
	if s.MaxItems > mostEntries || s.MaxRanges > mostEntries {
		return nil, fmt.Errorf("heap: limits of %d item pointers and %d ranges are more than %d", s.MaxItems, s.MaxRanges, mostEntries)
	}
	if s.Notify == nil {
		s.Notify = func() {}
	}
	if s.OnStop == nil {
		s.OnStop = func() {}
	}
	if s.threads > maxFeeders || s.large+s.small+s.threads > maxRecords {
		return nil, fmt.Errorf("heap: %d slots and %d feeding threads are more than the %d a stream can have (fewer live heaps, or a shallower ring)",
			s.large+s.small, s.threads, maxRecords)
	}
	return s, nil
}

// An item costs its pointer and some payload, or a descriptor, which is some 150 bytes and
// has a pointer too. A heap is in half as many pieces as it has packets, at most.
const (
	bytesPerItem  = 64
	bytesPerRange = 256
	mostEntries   = 1 << 30
)

func defaultItems(slot int) int { return min(max(slot/bytesPerItem, 128), DefaultMaxItems) }

// TableBytes is how many bytes of tables an assembler of such a share needs: the Tables of
// its [pool.ShareConfig].
func (c Config) TableBytes(share pool.ShareConfig) (int, error) {
	s, err := c.resolve(share)
	if err != nil {
		return 0, err
	}
	var m tableMemory
	newTables(s, &m, 1)
	return m.used, nil
}

// tables are the tables of an assembler that hold no pointers to Go memory. They are part
// of the share's mapping: on the same pages as the slots, touched, locked and bound like
// them.
type tables struct {
	large, small logs // of the heaps in slots of that class
	coverage     *coverage
	histories    [][numKinds]*history // by substream
	senders      *senders
}

// newTables makes the tables in m. hash is any odd number.
func newTables(s *shape, m *tableMemory, hash uint64) *tables {
	t := &tables{
		large:     newLogs(m, s.large, s.MaxItems, hash),
		small:     newLogs(m, s.small, s.maxSmall, hash),
		coverage:  newCoverage(m, s.large+s.small+s.threads, s.MaxRanges),
		histories: make([][numKinds]*history, s.Substreams),
		senders:   newSenders(m, hash),
	}
	for i := range t.histories {
		for k := range t.histories[i] {
			t.histories[i][k] = newHistory(m, memoryOf(s.window, s.most), s.threads, hash)
			t.histories[i][k].bySender = s.BySender
		}
	}
	return t
}

// drop lets go of memory that may be unmapped: late use is a panic, not a segmentation
// fault. What Stats reads stays.
func (t *tables) drop() {
	t.large, t.small, t.coverage, t.histories = logs{}, logs{}, nil, nil
	t.senders.index, t.senders.list = nil, nil
}

// initLog gives the log of record i its memory.
func (t *tables) initLog(l *pointerLog, s *shape, i int) {
	if i < s.large {
		t.large.init(l, i)
	} else {
		t.small.init(l, i-s.large)
	}
}

// New makes an assembler, with all the memory it will ever use.
func New(cfg Config) (*Assembler, error) {
	if cfg.Share == nil {
		return nil, errors.New("heap: no share of a pool given")
	}
	share := cfg.Share.Config()
	s, err := cfg.resolve(share)
	if err != nil {
		return nil, err
	}
	need, err := cfg.TableBytes(share)
	if err != nil {
		return nil, err
	}
	m := &tableMemory{mem: cfg.Share.Tables()}
	if len(m.mem) < need {
		return nil, fmt.Errorf("heap: the share has %d bytes for tables, and %d are needed (pool.ShareConfig.Tables is what heap.Config.TableBytes says)", len(m.mem), need)
	}
	if raceEnabled {
		m = nil
	}
	room, err := wakeup.New()
	if err != nil {
		return nil, fmt.Errorf("heap: %w", err)
	}
	// A sender must not be able to choose counts that meet in one place of a hash table.
	hash := rand.Uint64() | 1
	a := &Assembler{
		cfg:       s.Config,
		window:    window{base: s.window, most: s.most, subs: s.Substreams},
		timeless:  s.timeless,
		maxSmall:  s.maxSmall,
		pastCache: pastCache,
		since:     sinceStart,
		placement: slotPerHeap{cfg.Share},
		records:   make([]record, s.large+s.small),
		tables:    newTables(s, m, hash),
		ring:      newRing(s.ring),
		feeders:   make([]Feeder, s.threads),
		room:      room,
		beyond:    beyond{hash: hash},
		gaps:      newGaps(s),
		done:      make(chan struct{}),
	}
	a.window.now.Store(int64(s.window))
	a.senders.window = &a.window
	clear(a.records) // memory that the kernel makes when it is touched first is touched here
	clear(a.feeders)
	a.tableBytes, a.goBytes = need, a.goMemory(s.held)
	for i := range a.records {
		a.initLog(&a.records[i].pointers, s, i)
		a.records[i].state.Store(uint64(complete) << pinBits)
		a.coverage.reset(&a.records[i].cover, uint64(i))
	}
	for range s.held {
		a.consumed.views = append(a.consumed.views, newView(&a.cfg))
	}
	for i := range a.feeders {
		f := &a.feeders[i]
		f.a, f.table = a, uint64(len(a.records)+i)
		f.pinned.alone = s.threads == 1
		f.spareNodes = make([][numKinds]uint64, s.Substreams)
		for s := range f.spareNodes {
			for k := range f.spareNodes[s] {
				f.spareNodes[s][k] = a.histories[s][k].spare(i)
			}
		}
	}
	return a, nil
}

// TableBytes is how many bytes of the share's mapping the tables take.
func (a *Assembler) TableBytes() int { return a.tableBytes }

// GoBytes is how many bytes of Go memory there are for heaps: their records, and what
// consumers see of as many as they hold.
func (a *Assembler) GoBytes() int { return a.goBytes }

// Feeder returns the feeder of thread i, from 0 to the share's Threads-1. Each
// belongs to one goroutine, and each must be finished for the stream to end.
func (a *Assembler) Feeder(i int) *Feeder { return &a.feeders[i] }

// TryNext takes the heap that has waited longest; nil if there is none. It may
// be called from several goroutines. The heap is the caller's until Release.
func (a *Assembler) TryNext() *Heap {
	rec := a.ring.pop()
	if rec < 0 {
		return nil
	}
	r := &a.records[rec]
	a.cfg.Share.MarkHeld(r.slot)
	h := &r.heap
	a.heapTimes.taken(h, a)
	fate := ledger.Delivered
	if !h.complete {
		fate = ledger.DeliveredIncomplete
	}
	h.open(r, a.consume(r, fate, ledger.HeapsDelivered))
	a.room.Signal()
	return h
}

// consume settles a heap in the consumers' counters, and lends it a view.
func (a *Assembler) consume(r *record, fate ledger.Fate, heaps ledger.StreamCounter) *view {
	c := &a.consumed
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.fates[fate] += uint64(r.packets.Swap(0))
	c.count.stream[heaps]++
	if heaps == ledger.HeapsShutdown {
		c.count.stream[ledger.ShutdownBytes] += uint64(r.committed.Load())
	} else {
		c.times.take(&r.heap, a.ring.waiting())
	}
	c.board.publish(&c.count)
	n := len(c.views)
	if n == 0 { // the consumer holds more heaps than it said
		return newView(&a.cfg)
	}
	v := c.views[n-1]
	c.views = c.views[:n-1]
	return v
}

// takeBack takes a heap's view back.
func (a *Assembler) takeBack(h *Heap, v *view) {
	a.consumed.mu.Lock()
	defer a.consumed.mu.Unlock()
	a.consumed.times.release(h)
	a.consumed.views = append(a.consumed.views, v)
}

// Stopping reports whether a stop item was seen, so that each thread has to
// finish when it has worked off what its source holds now.
func (a *Assembler) Stopping() bool { return a.stopping.Load() }

// Done is closed when every thread has finished and no heap is live any more.
// What is in the ring can still be taken.
func (a *Assembler) Done() <-chan struct{} { return a.done }

// Abort wakes the threads that wait for room in the ring; they, and those that
// would wait, drop their heaps with the fate Shutdown.
func (a *Assembler) Abort() {
	a.aborted.Store(true)
	a.room.Signal()
}

// Close drops the heaps that nobody has taken. It is to be called when every
// thread has finished and nobody calls TryNext any more. Heaps that are held
// stay valid until their Release.
func (a *Assembler) Close() error {
	for rec := a.ring.pop(); rec >= 0; rec = a.ring.pop() {
		r := &a.records[rec]
		a.takeBack(&r.heap, a.consume(r, ledger.Shutdown, ledger.HeapsShutdown))
		a.giveBack(rec)
	}
	a.Sources() // which keeps what it needs of the tables
	a.gaps.mu.Lock()
	a.dropped = true
	a.gaps.mu.Unlock()
	a.tables.drop()
	return a.room.Close()
}

// Config returns the configuration with its defaults filled in.
func (a *Assembler) Config() Config { return a.cfg }

// seeStop notes that a stop item of a sender was seen.
func (a *Assembler) seeStop(from uint32) {
	var n int64
	if a.cfg.BySender {
		if a.senders.list[from].stopped.Swap(true) {
			return
		}
		if n = a.stops.Add(1); n < a.senders.active.Load() {
			return
		}
	} else {
		n = a.stops.Add(1)
	}
	if n >= int64(a.cfg.Stops) && a.stopping.CompareAndSwap(false, true) {
		a.cfg.OnStop()
	}
}

// forget makes the assembler remember no heap that has left.
func (a *Assembler) forget() {
	for s := range a.histories {
		for _, h := range a.histories[s] {
			h.forget()
		}
	}
	a.begun.Store(a.started())
}

// roomForItems is how many item pointers a heap may have that h is the first packet of.
func (a *Assembler) roomForItems(h *spead.Packet) int {
	if a.cfg.Share.IsSmall(h.HeapLength) {
		return a.maxSmall
	}
	return a.cfg.MaxItems
}

// faded reports whether what happened at a time is too long ago to be remembered. Both
// times are by the stream's clock: the feeders', less the time in which a thread was held up.
// The packets that wait behind such a thread are no older for that. A thread that was held up
// raises that time to what it was before, and as much more as the thread waited. So where
// several threads wait together their time counts once, and a wait of a microsecond takes
// off a microsecond.
func (a *Assembler) faded(at, now int64) bool { return !a.timeless && now-at >= memoryNs }

var loaded = time.Now()

// sinceStart is a steady clock.
func sinceStart() time.Duration { return time.Since(loaded) }

// started is how many heaps have started.
func (a *Assembler) started() uint64 {
	var n uint64
	for s := range a.histories {
		for _, h := range a.histories[s] {
			n += h.head.Load()
		}
	}
	return n
}

// giveBack frees the slot of a record that the calling thread alone owns.
func (a *Assembler) giveBack(rec int) {
	r := &a.records[rec]
	r.packets.Store(0)
	if howOf(r.state.Load()) == open { // prepared and not needed
		r.begin(complete)
	}
	if err := a.cfg.Share.Free(r.slot); err != nil {
		panic("heap: " + err.Error())
	}
}
