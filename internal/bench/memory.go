// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// MemoryOptions says what [Memory] measures. The zero value is what `speadx bench
// memory` does.
type MemoryOptions struct {
	Packets []int   // UDP payload of a full packet, bytes; nil: 1472, 4096 and 8972
	Heaps   []int64 // payload of a heap, bytes; nil: 64 KiB, 1 MiB and 64 MiB
	Threads []int   // feeding threads; nil: 1, and 2 where there are as many processors
	Bytes   int64   // of packets, in memory; 0: 1 GiB
	Rounds  int     // turns of each contestant; 0: 9
	Spead2  string  // the program spead2_bench, measured as well; "": it is not
}

// MemoryPackets and MemoryHeaps are the sizes measured unless others are asked for.
func MemoryPackets() []int { return []int{1472, 4096, 8972} }

// MemoryHeaps are those of a spectrum, of a correlator and of a beamformer.
func MemoryHeaps() []int64 { return []int64{64 << 10, 1 << 20, 64 << 20} }

// memoryBatch is how many packets are fed at once: as many as a queue hands over.
const memoryBatch = 256

// memoryLive is the window of the assembler, for each thread.
const memoryLive = 4

// minPacket is what the smallest packet takes that has any payload.
const minPacket = 56

// processors is how many threads can run at once.
func processors() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }

// Complete puts the defaults in, and tells what cannot be measured. [Memory] does the
// same.
func (o *MemoryOptions) Complete() error {
	if o.Packets == nil {
		o.Packets = MemoryPackets()
	}
	if o.Heaps == nil {
		o.Heaps = MemoryHeaps()
	}
	if o.Threads == nil {
		o.Threads = []int{1, 2}[:min(processors(), 2)]
	}
	o.Threads = slices.Sorted(slices.Values(o.Threads)) // the gain is over one thread
	if o.Bytes == 0 {
		o.Bytes = 1 << 30
	}
	if o.Rounds == 0 {
		o.Rounds = 9
	}
	for _, n := range o.Threads {
		if n < 1 || n > processors() {
			return fmt.Errorf("bench memory: %d threads cannot be measured on %d processors", n, processors())
		}
	}
	for _, n := range o.Packets {
		if n < minPacket || n > 65507 { // what a UDP datagram holds
			return fmt.Errorf("bench memory: a packet of %d bytes does not lie within %d and the 65507 of a UDP datagram", n, minPacket)
		}
	}
	for _, n := range o.Heaps {
		if n < 1 || n > o.Bytes {
			return fmt.Errorf("bench memory: a heap of %d bytes does not lie within 1 and the %d bytes of packets (--bytes)", n, o.Bytes)
		}
	}
	if twice(o.Packets) || twice(o.Heaps) || twice(o.Threads) {
		return errors.New("bench memory: a size of packet or heap, or a number of threads, stands there twice")
	}
	if o.Rounds < 1 {
		return fmt.Errorf("bench memory: %d rounds are too few", o.Rounds)
	}
	return nil
}

func twice[T cmp.Ordered](values []T) bool {
	sorted := slices.Sorted(slices.Values(values))
	return len(slices.Compact(sorted)) < len(values)
}

// runtimeAllocs is how many allocations are left to the runtime, for each of several
// threads: twice what was seen.
const runtimeAllocs = 8

// Allocates reports whether r, a result of [Memory] or [Pool], shows that memory is
// allocated while packets flow.
//
// With one thread nothing else runs, and the fewest allocations of any turn have to
// be 0. Several threads wait for each other. For that the runtime may allocate by itself:
// a sudog for the goroutine that waits, an m for the thread that is woken. These grow with
// the number of threads, not with the length of the turn. Of single turns of two threads
// (Go 1.26) most had 0 or 1, and some up to 8. The best of three hardly ever had 1. An
// allocation on the path of the packets comes at least once for each heap. In a turn of
// few heaps only the measurement with one thread finds it.
func (r *Result) Allocates() bool {
	own := uint64(0)
	if r.Threads > 1 {
		own = runtimeAllocs * uint64(r.Threads)
	}
	return r.Allocs != nil && *r.Allocs > own
}

// Memory measures how fast heaps come together from packets that lie in memory:
// decoding, placing, completing, taking and releasing, with nothing of a network.
//
//	speadx       the assembler, fed by one thread or several
//	copy         plain copy of the same payloads to the same memory, by as many
//	spead2_bench `spead2_bench mem`, with the same sizes
//
// The packets take more memory than a cache holds, so that each comes from memory,
// as it would from a NIC without direct cache access. Contestants take turns. Several
// threads take heaps in turn, or, in a second measurement, pieces of each heap.
//
// spead2_bench takes no turns: it runs once for each size, after the others, and where
// one thread is measured.
func Memory(ctx context.Context, o MemoryOptions, emit func(Result)) error {
	if err := o.Complete(); err != nil {
		return err
	}
	for _, size := range o.Heaps {
		for _, packet := range o.Packets {
			if err := memoryOf(ctx, size, packet, o, emit); err != nil {
				return fmt.Errorf("bench memory: heaps of %d bytes in packets of %d: %w", size, packet, err)
			}
		}
	}
	return nil
}

func memoryOf(ctx context.Context, size int64, packet int, o MemoryOptions, emit func(Result)) (err error) {
	s, err := newMemorySource(size, packet, o.Bytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.arena.Unmap()) }()
	var rigs []*memoryRig
	defer func() {
		for _, m := range rigs {
			err = errors.Join(err, m.close())
		}
	}()
	for _, threads := range o.Threads {
		for _, same := range []bool{false, true} {
			if same && threads == 1 {
				continue
			}
			m, err := newMemoryRig(s, threads, same)
			if err != nil {
				return err
			}
			rigs = append(rigs, m)
		}
	}
	for round := range o.Rounds {
		for i := range rigs { // another one is the first in each round
			if err := rigs[(round+i)%len(rigs)].round(ctx, round); err != nil {
				return err
			}
		}
	}
	for _, m := range rigs {
		if err := m.recount(ctx); err != nil {
			return err
		}
	}
	var single *memoryRig // nil: one thread is not measured
	for _, m := range rigs {
		if m.threads == 1 {
			single = m
		}
	}
	for _, m := range rigs {
		for _, r := range m.results(single) {
			emit(r)
		}
		if m == single && o.Spead2 != "" {
			r, err := memorySpead2(ctx, o.Spead2, s)
			if err != nil {
				return err
			}
			if r.Gbps > 0 {
				// One trial, after the others' turns: it has no interval.
				ours, _, _ := Median(m.ours)
				plain, _, _ := Median(m.plain)
				r.Ratio = &Ratio{To: "copy", Value: r.Gbps / plain}
				r.Note = fmt.Sprintf("speadx is %s x this", figure(ours/r.Gbps))
			}
			emit(r)
		}
	}
	return nil
}

// memorySource is the packets of a measurement: heaps of one layout, one after the
// other.
type memorySource struct {
	arena   *pages.Mapping
	size    int64 // payload of a heap
	packet  int   // of a full packet, with its headers
	heaps   int
	layout  []layout // of a heap's packets
	heapLen int      // of all packets of a heap, bytes
}

// layout says where in a heap's packets one of them is, and where in the heap its
// payload.
type layout struct {
	at, len       int
	offset, width int // of payload
}

func newMemorySource(size int64, packet int, total int64) (_ *memorySource, err error) {
	pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: packet})
	if err != nil {
		return nil, err
	}
	s := &memorySource{size: size, packet: packet, heaps: int(max(total/size, 1))}
	data := make([]byte, size)
	start := func(cnt int) error {
		pattern.Fill(data, uint64(cnt-1)*uint64(size)) // so that a copy to a wrong place is seen
		return pk.Start(uint64(cnt), []spead.OutItem{{ID: 0x1234, Data: data}})
	}
	if err := start(1); err != nil {
		return nil, err
	}
	for one := []byte(nil); ; {
		begin := len(one)
		var ok bool
		if one, ok = pk.AppendNext(one); !ok {
			s.heapLen = len(one)
			break
		}
		var h spead.Packet
		if reason := h.Decode(one[begin:], len(one)-begin); reason != spead.OK {
			return nil, fmt.Errorf("a packet made for the measurement: %v", reason)
		}
		s.layout = append(s.layout, layout{at: begin, len: h.Size(), offset: int(h.PayloadOffset), width: int(h.PayloadLength)})
	}
	if s.arena, err = pages.Map(s.heapLen*s.heaps, pages.Options{Node: -1, Name: "packets"}); err != nil {
		return nil, err
	}
	at := s.arena.Bytes[:0]
	for i := range s.heaps {
		if err := start(i + 1); err != nil {
			return nil, errors.Join(err, s.arena.Unmap())
		}
		for ok := true; ok; {
			at, ok = pk.AppendNext(at)
		}
	}
	return s, nil
}

// heapBytes are the packets of heap i.
func (s *memorySource) heapBytes(i int) []byte { return s.arena.Bytes[i*s.heapLen : (i+1)*s.heapLen] }

// holds reports whether a heap's payload is what was sent.
func (s *memorySource) holds(h *heap.Heap) bool {
	return pattern.Check(h.Payload(), (h.Cnt()-1)*uint64(s.size)) < 0
}

// packets is how many there are.
func (s *memorySource) packets() int { return s.heaps * len(s.layout) }

// payload is the heap payload of all packets, bytes.
func (s *memorySource) payload() int64 { return s.size * int64(s.heaps) }

// piece is some packets of a heap that one thread takes.
type piece struct {
	heap, first, n int
	place          int64 // in the order of heaps, or of all pieces where heaps are shared
}

// samePiece is how many packets of a heap a thread takes at a time where threads
// share the heaps.
const samePiece = 16

// sameLead is how many pieces one thread may be ahead of another then. On a NIC the
// queues are fed at one pace; the pieces of a heap that is further apart would be too
// many ranges.
const sameLead = 32

// split deals the packets out to threads: whole heaps in turn, or, if they are to
// share heaps, pieces of each.
func (s *memorySource) split(threads int, same bool) [][]piece {
	work := make([][]piece, threads)
	turn, step, place := 0, memoryBatch, int64(0)
	if same {
		step = samePiece
	}
	for i := range s.heaps {
		for at := 0; at < len(s.layout); at += step {
			work[turn] = append(work[turn], piece{heap: i, first: at, n: min(step, len(s.layout)-at), place: place})
			if same {
				turn = (turn + 1) % threads
				place++
			}
		}
		if !same {
			turn = (turn + 1) % threads
			place++
		}
	}
	return work
}

// memoryRig runs the contestants with one number of threads.
type memoryRig struct {
	source    *memorySource
	threads   int
	same      bool // they share heaps
	work      [][]piece
	pool      *pool.Pool
	assembler *heap.Assembler
	batches   [][]heap.Packet // by thread
	now       int64
	places    [][]byte // by heap: where the assembler put it
	targets   [][]byte // by heap: where copy puts it

	// lead holds the place of the piece that each thread is at. So none is further ahead of
	// another than the window allows. A NIC would feed them at one pace.
	lead     []progress
	mostLead int64
	turns    uint64       // of feed
	errs     atomic.Int64 // heaps that came out wrong

	ours, plain []float64 // Gb/s, by round
	allocs      uint64    // in our turn with the fewest
}

// progress has a cache line of its own.
type progress struct {
	place atomic.Int64
	_     cpu.CacheLinePad
}

// newAssembler makes an assembler with a pool of its own.
func newAssembler(cfg heap.Config, share pool.ShareConfig) (p *pool.Pool, a *heap.Assembler, err error) {
	if share.Tables, err = cfg.TableBytes(share); err != nil {
		return nil, nil, err
	}
	if p, err = pool.New(pool.Config{Shares: []pool.ShareConfig{share}, Node: -1}); err != nil {
		return nil, nil, err
	}
	cfg.Share = p.Share(0)
	if a, err = heap.New(cfg); err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	return p, a, nil
}

// newMemoryRig makes what is needed for so many threads, and warms up.
func newMemoryRig(s *memorySource, threads int, same bool) (_ *memoryRig, err error) {
	m := &memoryRig{source: s, threads: threads, same: same, work: s.split(threads, same), places: make([][]byte, s.heaps), allocs: math.MaxUint64}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	m.pool, m.assembler, err = newAssembler(heap.Config{Name: "bench"}, pool.ShareConfig{
		Name: "bench", Live: memoryLive * threads, Ring: memoryLive * threads, Held: threads, Threads: threads, Largest: int(s.size),
	})
	if err != nil {
		return nil, err
	}
	m.lead, m.mostLead = make([]progress, threads), memoryLive-1
	if same {
		pieces := (len(s.layout) + samePiece - 1) / samePiece
		m.mostLead = int64(min(sameLead, (memoryLive-1)*pieces))
	}
	for range threads {
		m.batches = append(m.batches, make([]heap.Packet, memoryBatch))
	}
	m.run(m.feed) // finds the places
	if err := m.check(); err != nil {
		return nil, err
	}
	m.aim(m.pool.Share(0))
	return m, nil
}

func (m *memoryRig) close() error {
	var errs []error
	if m.assembler != nil {
		errs = append(errs, m.assembler.Close())
	}
	if m.pool != nil {
		errs = append(errs, m.pool.Close())
	}
	return errors.Join(errs...)
}

// round is a turn of speadx and one of copy, in this order or the other.
func (m *memoryRig) round(ctx context.Context, round int) error {
	for turn := range 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if (round+turn)%2 == 0 {
			took, n := m.run(m.feed)
			m.ours = append(m.ours, m.gbps(took))
			if err := m.check(); err != nil {
				return err
			}
			m.allocs = min(m.allocs, n)
		} else {
			took, _ := m.run(m.copy)
			m.plain = append(m.plain, m.gbps(took))
		}
	}
	return nil
}

// recounts is how many turns more there are for the count of allocations alone.
const recounts = 3

// recount counts again where memory was allocated in all turns. Few of them may all have
// met an allocation of something else in the process; one on the path of the packets
// comes each time.
func (m *memoryRig) recount(ctx context.Context) error {
	for range recounts {
		if m.allocs == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, n := m.run(m.feed)
		if err := m.check(); err != nil {
			return err
		}
		m.allocs = min(m.allocs, n)
	}
	return nil
}

// results are those of speadx and of copy, with what they gain over a single thread.
func (m *memoryRig) results(single *memoryRig) []Result {
	c := Conditions{Packet: m.source.packet, Heap: m.source.size, Threads: m.threads, SameHeap: m.same}
	mpps := float64(m.source.packets()) / float64(m.source.payload()) / 8 * 1e3 // for each Gb/s
	of := func(contestant string, rates []float64) Result {
		r := Result{Bench: "memory", Contestant: contestant, Conditions: c, Trials: len(rates)}
		r.Gbps, r.GbpsLow, r.GbpsHigh = Median(rates)
		r.Mpps = r.Gbps * mpps
		return r
	}
	ours, plain := of("speadx", m.ours), of("copy", m.plain)
	ratio := RatioOf(m.ours, m.plain)
	ratio.To = "copy"
	ours.Ratio = &ratio
	ours.Allocs = &m.allocs
	ours.Machine = &Machine{Pages: m.pool.Memory().Pages}
	if single != nil && single != m {
		ours.Gain, plain.Gain = RatioOf(m.ours, single.ours).Value, RatioOf(m.plain, single.plain).Value
		scaling := RatioOf(products(m.ours, single.plain), products(m.plain, single.ours))
		scaling.To = "copy"
		ours.GainRatio = &scaling
	}
	return []Result{ours, plain}
}

func products(a, b []float64) []float64 {
	p := make([]float64, min(len(a), len(b)))
	for i := range p {
		p[i] = a[i] * b[i]
	}
	return p
}

// check is an error unless all heaps came out of all turns so far.
func (m *memoryRig) check() error {
	s := m.assembler.Stats()
	m.turns++
	if want := m.turns * uint64(m.source.heaps); s.Counts[ledger.HeapsDelivered] != want || m.errs.Load() > 0 {
		return fmt.Errorf("of %d heaps %d came out, of all %d incomplete or not as they were sent", want, s.Counts[ledger.HeapsDelivered], m.errs.Load())
	}
	return nil
}

func (m *memoryRig) gbps(took time.Duration) float64 {
	return float64(m.source.payload()) * 8 / float64(took)
}

// run lets each thread do its part, all of them beginning at once. It gives the time
// from then to the end of the last, and how often memory was allocated meanwhile.
func (m *memoryRig) run(part func(thread int)) (time.Duration, uint64) {
	m.now += int64(time.Minute) // nothing is remembered of the last turn
	for i := range m.lead {
		m.lead[i].place.Store(0)
	}
	runtime.GC()
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for t := 1; t < len(m.work); t++ {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			part(t)
		})
	}
	ready.Wait()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	close(begin)
	part(0)
	done.Wait()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.Mallocs - before.Mallocs
}

// await lets a thread begin with a piece when the others are near enough.
func (m *memoryRig) await(thread int, p *piece) {
	if len(m.lead) == 1 {
		return
	}
	m.lead[thread].place.Store(p.place)
	for i := range m.lead {
		for p.place-m.lead[i].place.Load() >= m.mostLead {
			runtime.Gosched()
		}
	}
}

// leave lets the others go on without this thread.
func (m *memoryRig) leave(thread int) { m.lead[thread].place.Store(math.MaxInt64) }

// aim gives copy its targets, among them no place twice for heaps that are under way
// at once. The assembler takes care of that for itself, but in another turn the threads
// meet in other heaps.
func (m *memoryRig) aim(share *pool.Share) {
	if len(m.work) == 1 {
		m.targets = slices.Clone(m.places)
		return
	}
	var slots [][]byte
	add := func(b []byte) {
		if len(slots) < memoryLive-1 && !slices.ContainsFunc(slots, func(o []byte) bool { return &o[0] == &b[0] }) {
			slots = append(slots, b)
		}
	}
	for _, b := range m.places {
		add(b)
	}
	for slot := range share.Slots() {
		add(share.Bytes(slot)[:m.source.size])
	}
	for i := range m.places {
		m.targets = append(m.targets, slots[i%len(slots)])
	}
}

// feed feeds the packets of a thread, and takes and releases what is finished.
func (m *memoryRig) feed(thread int) {
	f := m.assembler.Feeder(thread)
	batch := m.batches[thread]
	for i := range m.work[thread] {
		p := &m.work[thread][i]
		m.await(thread, p)
		bytes := m.source.heapBytes(p.heap)
		for k := range p.n {
			l := &m.source.layout[p.first+k]
			batch[k].First, batch[k].Len = bytes[l.at:l.at+l.len:l.at+l.len], l.len
		}
		f.Feed(batch[:p.n], m.now, m.now)
		for h := m.assembler.TryNext(); h != nil; h = m.assembler.TryNext() {
			if h.Complete() && (m.turns > 0 || m.source.holds(h)) {
				m.places[int(h.Cnt())-1] = h.Payload()
			} else {
				m.errs.Add(1)
			}
			h.Release()
		}
	}
	m.leave(thread)
}

// copy copies the payloads of a thread's packets to slots of the pool.
func (m *memoryRig) copy(thread int) {
	for i := range m.work[thread] {
		p := &m.work[thread][i]
		m.await(thread, p)
		bytes, place := m.source.heapBytes(p.heap), m.targets[p.heap]
		for k := range p.n {
			l := &m.source.layout[p.first+k]
			copy(place[l.offset:l.offset+l.width], bytes[l.at+l.len-l.width:l.at+l.len])
		}
	}
	m.leave(thread)
}

// memorySpead2 runs spead2_bench, whose figure is of packets with their headers, over
// 100 GiB of them.
func memorySpead2(ctx context.Context, program string, s *memorySource) (Result, error) {
	r := Result{Bench: "memory", Contestant: "spead2_bench", Conditions: Conditions{Packet: s.packet, Heap: s.size, Threads: 1}}
	out, err := exec.CommandContext(ctx, program, "mem", "--quiet",
		"--packet", strconv.Itoa(s.packet), "--heap-size", strconv.FormatInt(s.size, 10)).Output()
	if err != nil {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		r.Note = fmt.Sprintf("%s mem failed: %v", program, err)
		return r, nil
	}
	gbps, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		r.Note = fmt.Sprintf("%s mem printed no rate: %.40q", program, out)
		return r, nil
	}
	r.Gbps = gbps * float64(s.payload()) / float64(s.heapLen*s.heaps)
	r.Mpps = r.Gbps * float64(s.packets()) / float64(s.payload()) / 8 * 1e3
	r.Trials = 1
	return r, nil
}
