// SPDX-License-Identifier: Apache-2.0

package blast

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/sandbox"
	"github.com/speadx/speadx/internal/sched"
)

//go:generate go tool bpf2go -tags linux -cflags "-O2 -mcpu=v3 -Wall -Wextra -Werror -I../../bpf/headers" blast blast.bpf.c

const (
	// MaxFrame is the longest frame that a [Generator] can send. The kernel
	// keeps it in one page, with what it needs besides.
	MaxFrame = 3392

	// MaxInFlight is MAX_IN_FLIGHT of the program.
	MaxInFlight = 256

	// blastBatch is how many copies the kernel works on at a time. Four batches
	// are what a veth holds.
	blastBatch = 64

	// blastBurst is how many packets are sent back to back at a rate.
	blastBurst = 16

	// blastGrace is how long the heaps in flight may take after the context has
	// ended.
	blastGrace = time.Second
)

// enum stop of the program
const (
	blastStopNot = iota
	blastStopGroup
	blastStopNow
)

// Config says what a [Generator] sends. Frames and Ifindex have no default.
type Config struct {
	Ifindex int // of the sending end of a veth pair
	CPU     int // to run on, and so the queue of the receiving end: CPU modulo their number

	// Frames are the packets of each destination. Heaps go to one after the other.
	Frames []Frames

	PacketsPerHeap int    // 0: 1
	InFlight       int    // heaps that are sent packet by packet in turn, at most 256; 0: 1
	FirstCount     uint64 // heap count of the first heap; 0: 1

	// Faults: every so manieth packet, counted from 1 as packets are made; 0: none.
	DropEvery      uint64 // is not sent
	DuplicateEvery uint64 // is sent twice
	SwapEvery      uint64 // is sent after the one that follows, if there is one and neither is dropped; not 1
}

// Frames are the templates of a destination's packets: Ethernet frames with
// all headers and checksums as they shall be, IPv4 without options or IPv6. The
// first four item pointers are heap count, heap length, payload offset and payload
// length. The program replaces the values of count and offset.
//
// The frames of all destinations are of one shape: they differ only in the headers
// before SPEAD.
type Frames struct {
	Full []byte
	Last []byte // the last packet of a heap, where that is shorter; else nil. Its payload is how that of Full begins
}

// Counts say what a [Generator] did. Each packet that was made was attempted or
// dropped; repetitions were attempted besides.
type Counts struct {
	Attempted  uint64 // packets given to the interface, repetitions included
	Last       uint64 // of these, how many were the last of a heap
	Refused    uint64 // of these, how many it did not take: they never left
	Dropped    uint64 // packets left out
	Duplicated uint64 // packets sent a second time
	Swapped    uint64 // packets sent after their successor
	Heaps      uint64 // heaps made in full
	Damaged    uint64 // of these, how many lack packets that were dropped, but not all
	Missing    uint64 // of these, how many lack all
	Cut        uint64 // heaps begun and not finished; those just before may lack packets then

	Elapsed time.Duration // from the first packet to the end, without what a call takes besides
	Idle    uint64        // times that no packet was due: how much more the CPU could have done
}

// Sent is how many packets left.
func (c *Counts) Sent() uint64 { return c.Attempted - c.Refused }

func (c *Counts) sub(d Counts) {
	c.Attempted -= d.Attempted
	c.Last -= d.Last
	c.Refused -= d.Refused
	c.Dropped -= d.Dropped
	c.Duplicated -= d.Duplicated
	c.Swapped -= d.Swapped
	c.Heaps -= d.Heaps
	c.Damaged -= d.Damaged
	c.Missing -= d.Missing
	c.Cut -= d.Cut
	c.Elapsed -= d.Elapsed
	c.Idle -= d.Idle
}

// Generator sends SPEAD packets that are made in the kernel, at millions a second: a
// program is run over copies of a packet (BPF_PROG_RUN with live frames, Linux 5.18)
// and redirects them out of one end of a veth pair. The other end takes them only
// with an XDP program on it, or with GRO.
//
// [Generator.SetRate], [Generator.SetBursts] and [Generator.Counts] may be called from any
// goroutine at any time, Run and Close by one at a time.
type Generator struct {
	config Config
	iface  string
	netns  *os.File // of the interface
	prog   *ebpf.Program
	maps   blastMaps

	finishes *ringbuf.Reader
	finished chan struct{} // has an element when the program has finished a run
	reading  sync.WaitGroup

	mu      sync.RWMutex // for state, which Close takes away
	state   *blastState  // shared with the program
	mapping []byte       // the same memory
	last    Counts       // after Close
}

// Load loads the program, for an interface in the network namespace of the
// calling thread. It needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN.
func Load(c Config) (_ *Generator, err error) {
	t, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("blast: %w", err)
	}
	iface, err := net.InterfaceByIndex(c.Ifindex)
	if err != nil {
		return nil, fmt.Errorf("blast: interface %d: %w", c.Ifindex, err)
	}
	netns, err := os.Open(threadNetwork)
	if err != nil {
		return nil, fmt.Errorf("blast: %w", err)
	}
	b := &Generator{config: c, iface: iface.Name, netns: netns, finished: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			_ = b.Close()
		}
	}()
	if _, err := b.taken(); err != nil {
		return nil, err
	}
	spec, err := loadBlast()
	if err != nil {
		return nil, fmt.Errorf("blast: read the blasting program: %w", err)
	}
	if err := t.set(spec, &c); err != nil {
		return nil, fmt.Errorf("blast: %w", err)
	}
	var objects blastObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		const op = "load the blasting program"
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, refused(op, err, sandbox.BPF, sandbox.Perfmon, sandbox.NetAdmin)
		}
		return nil, fmt.Errorf("blast: %s: %w", op, err)
	}
	b.prog, b.maps = objects.Blast, objects.blastMaps
	for i := range t.destinations {
		if err := b.maps.Starts.Put(uint32(i), &t.destinations[i]); err != nil {
			return nil, fmt.Errorf("blast: set destination %d: %w", i, err)
		}
	}
	if b.state, b.mapping, err = mapBlastState(b.maps.States.FD()); err != nil {
		return nil, fmt.Errorf("blast: map the state of the blasting program: %w", err)
	}
	if b.finishes, err = ringbuf.NewReader(b.maps.Finishes); err != nil {
		return nil, fmt.Errorf("blast: %w", err)
	}
	b.reading.Go(b.readFinishes)
	return b, nil
}

// readFinishes passes on that a run is finished.
func (b *Generator) readFinishes() {
	for {
		if _, err := b.finishes.Read(); err != nil {
			return
		}
		b.finished <- struct{}{}
	}
}

// SetRate paces packets, repetitions included, from now on; 0 is as fast as it can.
// They leave a few at a time. The rate is kept on average: after a delay, packets
// follow each other a twentieth faster until it is made good.
func (b *Generator) SetRate(packetsPerSecond float64) {
	if packetsPerSecond <= 0 {
		b.setPace(0, 0)
		return
	}
	b.setPace(blastBurst, uint64(math.Round(blastBurst*1e9/packetsPerSecond)))
}

// SetBursts sends so many packets back to back, at the beginning of each period.
func (b *Generator) SetBursts(packets int, period time.Duration) {
	b.setPace(uint64(max(packets, 1)), uint64(max(period, 1)))
}

func (b *Generator) setPace(burst, period uint64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.state == nil {
		return
	}
	c := &b.state.Control
	atomic.StoreUint64(&c.Burst, burst)
	atomic.StoreUint64(&c.Period, period)
	atomic.AddUint64(&c.Pace, 1)
}

// Counts are those of all runs so far, without Refused, which only Run knows. They
// are read from memory shared with the program, and while it runs they are not all
// of one instant.
func (b *Generator) Counts() Counts {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.state == nil {
		return b.last
	}
	p := &b.state.Progress
	return Counts{
		Last:       atomic.LoadUint64(&p.AttemptedLast),
		Attempted:  atomic.LoadUint64(&p.Attempted),
		Dropped:    atomic.LoadUint64(&p.Dropped),
		Duplicated: atomic.LoadUint64(&p.Duplicated),
		Swapped:    atomic.LoadUint64(&p.Swapped),
		Heaps:      atomic.LoadUint64(&p.Heaps),
		Damaged:    atomic.LoadUint64(&p.Damaged),
		Missing:    atomic.LoadUint64(&p.Missing),
		Cut:        atomic.LoadUint64(&p.Cut),
		Elapsed:    time.Duration(atomic.LoadUint64(&p.Elapsed)),
		Idle:       atomic.LoadUint64(&p.Idle),
	}
}

// Run sends so many heaps, 0 for no limit, or until ctx ends: then it finishes the
// heaps in flight, or cuts them off after a second. The next call goes on with the
// next heap. It gives the counts of this call, and no error because of ctx.
//
// The calling goroutine is bound to the CPU meanwhile, and enters the interface's
// network namespace if it is in another one. A call takes some 20 ms more than the
// packets.
func (b *Generator) Run(ctx context.Context, heaps uint64) (counts Counts, err error) {
	if b.mapping == nil {
		return Counts{}, errors.New("blast: it is closed")
	}
	if ctx.Err() != nil {
		return Counts{}, nil
	}
	restore, err := sched.OnCPU(b.config.CPU)
	if err != nil {
		return Counts{}, fmt.Errorf("blast: %w", err)
	}
	defer restore()
	leave, err := enterNetwork(b.netns)
	if err != nil {
		return Counts{}, fmt.Errorf("blast: enter the network namespace of %s: %w", b.iface, err)
	}
	defer func() {
		if e := leave(); e != nil {
			err = errors.Join(err, fmt.Errorf("blast: leave the network namespace of %s, which the calling goroutine is still in: %w", b.iface, e))
		}
	}()
	taken, err := b.taken()
	if err != nil {
		return Counts{}, err
	}
	before := b.Counts()
	b.begin(heaps)
	err = b.run(ctx)
	counts = b.Counts()
	counts.sub(before)
	after, takenErr := b.taken()
	if takenErr == nil {
		counts.Refused = counts.Attempted - min(after-taken, counts.Attempted)
	}
	return counts, errors.Join(err, takenErr)
}

// begin sets the program on a run.
func (b *Generator) begin(heaps uint64) {
	c, p := &b.state.Control, &b.state.Progress
	end := uint64(math.MaxUint64)
	if heaps > 0 {
		end = p.First + heaps
	}
	atomic.StoreUint64(&c.End, end)
	atomic.StoreUint64(&c.Stop, blastStopNot)
	atomic.AddUint64(&c.Pace, 1)
	p.Finished, p.Began = 0, 0
}

// run runs the program until it has finished.
func (b *Generator) run(ctx context.Context) (err error) {
	returned, watched := make(chan struct{}), make(chan bool)
	tid := unix.Gettid()
	go func() { watched <- b.watch(ctx, tid, returned) }()
	p := &b.state.Progress
	for atomic.LoadUint64(&p.Finished) == 0 {
		err = runLive(b.prog.FD(), b.config.Frames[0].Full, math.MaxUint32, blastBatch)
		if err != nil && !errors.Is(err, unix.EINTR) { // a signal is not always ours
			break
		}
		err = nil
	}
	close(returned)
	if told := <-watched; !told && atomic.LoadUint64(&p.Finished) != 0 {
		<-b.finished
	}
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("blast: %w (the kernel may be too old for live frames: Linux 5.18)", err)
	}
	if errors.Is(err, unix.EPERM) {
		return refused("run the blasting program", err, sandbox.BPF, sandbox.NetAdmin)
	}
	if err != nil {
		return fmt.Errorf("blast: %w", err)
	}
	return nil
}

// watch stops the program when ctx ends. When the program has finished, it
// interrupts the thread that runs it, for the kernel knows no other end than that of
// the repetitions: again and again, in case it comes before the system call. It says
// whether it took from b.finished what belongs to this run.
func (b *Generator) watch(ctx context.Context, tid int, returned <-chan struct{}) (told bool) {
	stop := &b.state.Control.Stop
	ended := ctx.Done()
	var late <-chan time.Time
	for !told {
		select {
		case <-ended:
			atomic.StoreUint64(stop, blastStopGroup)
			ended, late = nil, time.After(blastGrace)
		case <-late:
			atomic.StoreUint64(stop, blastStopNow)
		case <-b.finished:
			told = true
		case <-returned:
			return false
		}
	}
	for {
		// The runtime's own signal, which it expects at any time.
		_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG)
		select {
		case <-returned:
			return true
		case <-time.After(time.Millisecond):
		}
	}
}

// Close frees the program. Counts can still be read. It is idempotent.
func (b *Generator) Close() error {
	counts := b.Counts()
	var errs []error
	if b.finishes != nil {
		errs = append(errs, b.finishes.Close())
		b.reading.Wait()
		b.finishes = nil
	}
	b.mu.Lock()
	if b.mapping != nil {
		errs = append(errs, unix.Munmap(b.mapping))
	}
	b.last, b.state, b.mapping = counts, nil, nil
	b.mu.Unlock()
	if b.netns != nil {
		errs = append(errs, b.netns.Close())
		b.netns = nil
	}
	return errors.Join(append(errs, b.prog.Close(), b.maps.Close())...)
}

// threadNetwork is the network namespace of the thread that opens it.
const threadNetwork = "/proc/thread-self/ns/net"

// enterNetwork puts the calling goroutine, which is locked to its thread, into a
// network namespace until leave is called. If that fails, the goroutine stays locked to
// the thread, so that no other comes into the namespace.
func enterNetwork(ns *os.File) (leave func() error, err error) {
	old, err := os.Open(threadNetwork)
	if err != nil {
		return nil, err
	}
	is, err := old.Stat()
	if err != nil {
		return nil, errors.Join(err, old.Close())
	}
	want, err := ns.Stat()
	if err != nil || os.SameFile(is, want) {
		return func() error { return nil }, errors.Join(err, old.Close())
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, errors.Join(err, old.Close())
	}
	return func() error {
		err := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET)
		if err != nil {
			runtime.LockOSThread() // for good: the thread ends with its goroutine
		}
		return errors.Join(err, old.Close())
	}, nil
}

// refused is for what the kernel refuses, and which needs the given capabilities.
func refused(op string, err error, needs ...sandbox.Privilege) error {
	missing := sandbox.Missing(needs...)
	cause := sandbox.Look().OfPrivilege(err, len(missing) == 0)
	return &bpf.PermissionError{Op: op, Missing: missing, Cause: string(cause), Err: err}
}
