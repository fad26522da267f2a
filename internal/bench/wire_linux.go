// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/blast"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/vnet"
)

// wirePort is where packets go on a wire.
const wirePort = 7148

// wire is a veth pair with a generator at one end, of its own namespaces: each
// contestant has one, made in the same way, and leaves nothing of it.
type wire struct {
	net       *vnet.Net
	dest      netip.AddrPort
	load      load
	generator generator
}

// load is what a generator sends.
type load struct {
	generator string // blast or udp
	senders   int    // at once, each with a heap
	payload   int    // of a packet, without any header, bytes
	heap      int64  // whole packets, near the size asked for
	packets   int    // of a heap
}

// headerBytes are those of a packet with one item in addition to those that place it,
// whose pointer stands in every packet.
const headerBytes = 48

func newLoad(generator string, senders, payload int, size int64) load {
	n := max(int(size)/payload, 1)
	return load{generator: generator, senders: senders, payload: payload, heap: int64(n) * int64(payload), packets: n}
}

// live is how many heaps a receiver has to keep at once: those of all senders, and for
// one as many as is usual.
func (l *load) live() int { return max(l.senders, speadx.DefaultConcurrentHeaps) }

// gbps is the rate of payload of so many packets a second.
func (l *load) gbps(pps float64) float64 { return pps * float64(l.payload) * 8e-9 }

// sent is what a generator did.
type sent struct {
	packets uint64 // that reached the other end
	refused uint64 // that the wire had no room for
	elapsed time.Duration
	idle    uint64        // times that it found nothing to send, and waited spinning
	thread  time.Duration // CPU time of the thread it sent from
}

func (s *sent) pps() float64 { return float64(s.packets) / s.elapsed.Seconds() }

// generator sends heaps.
type generator interface {
	// send sends for about d, whole heaps, so many packets a second; 0: as fast as
	// it can.
	send(ctx context.Context, pps float64, d time.Duration) (sent, error)
	close() error
}

func newWire(l load) (_ *wire, err error) {
	w := &wire{load: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	// Checksums are the kernel's to make: sockets verify them.
	if w.net, err = vnet.Make(vnet.Options{GRO: true}); err != nil {
		return nil, err
	}
	w.dest = netip.AddrPortFrom(w.net.B.Addr4, wirePort)
	if l.generator == "blast" {
		w.generator, err = newBlaster(w)
	} else {
		w.generator = &kernelSender{wire: w}
	}
	return w, err
}

func (w *wire) close() error {
	var errs []error
	if w.generator != nil {
		errs = append(errs, w.generator.close())
	}
	if w.net != nil {
		errs = append(errs, w.net.Close())
	}
	return errors.Join(errs...)
}

// in runs f in the namespace of the receiving end.
func (w *wire) in(f func() error) (err error) {
	if e := w.net.B.Do(func() { err = f() }); e != nil {
		return e
	}
	return err
}

// sendConfig is that of package send. Each destination is sent to from a port of its
// own, so that to the receiver several of them are several senders.
func (w *wire) sendConfig() send.Config {
	return send.Config{
		Destinations: slices.Repeat([]netip.AddrPort{w.dest}, w.load.senders), InFlight: w.load.senders, Interface: w.net.A.Name,
		HeapSize: w.load.heap, MaxPacket: w.load.payload + headerBytes, RepeatPointers: true, NoDescriptors: true, NoStop: true,
	}
}

// blaster is the generator in the kernel.
type blaster struct {
	blast   *blast.Generator
	packets int // of a heap
}

func newBlaster(w *wire) (_ *blaster, err error) {
	b := &blaster{}
	if e := w.net.A.Do(func() { b.blast, b.packets, err = send.OpenBlast(w.sendConfig()) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	if b.packets != w.load.packets {
		return nil, errors.Join(fmt.Errorf("heaps of %d packets instead of %d", b.packets, w.load.packets), b.blast.Close())
	}
	return b, nil
}

// burst is how many packets leave back to back: as many as the kernel hands over at a
// time if it can, and as a NIC's interrupts bring some together.
const burst = 64

// unpacedPps is about what blast can do with nobody there, to say how many heaps take
// so long.
const unpacedPps = 4e6

func (b *blaster) send(ctx context.Context, pps float64, d time.Duration) (sent, error) {
	if pps > 0 {
		b.blast.SetBursts(burst, time.Duration(burst*1e9/pps))
	} else {
		b.blast.SetRate(0)
	}
	heaps := max(pps, 0) * d.Seconds() / float64(b.packets)
	if pps <= 0 {
		heaps = unpacedPps * d.Seconds() / float64(b.packets)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer sched.Hasten()()
	before := threadCPU()
	c, err := b.blast.Run(ctx, uint64(max(heaps, 1)))
	if err != nil {
		return sent{}, err
	}
	s := sent{thread: threadCPU() - before, packets: c.Sent(), refused: c.Refused, elapsed: max(c.Elapsed, 1), idle: c.Idle}
	return s, nil
}

func (b *blaster) close() error { return b.blast.Close() }

// kernelSender is the generator by sockets, for packets that blast cannot make.
type kernelSender struct {
	wire  *wire
	heaps uint64
}

func (k *kernelSender) send(ctx context.Context, pps float64, d time.Duration) (s sent, err error) {
	c := k.wire.sendConfig()
	c.Rate = pps * float64(c.MaxPacket) * 8
	c.Heaps = -1
	if pps > 0 {
		c.Heaps = max(int64(pps*d.Seconds())/int64(k.wire.load.packets), 1)
	}
	c.First = k.heaps
	limit := 10*d + time.Second
	if pps <= 0 {
		limit = d
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	restore, err := sched.OnCPU(generatorCPU())
	if err != nil {
		return sent{}, err
	}
	defer restore()
	leave, err := k.wire.net.A.Enter()
	if err != nil {
		return sent{}, err
	}
	defer leave()
	sender, err := send.Open(c)
	if err != nil {
		return sent{}, err
	}
	before := threadCPU()
	r, err := sender.Run(ctx)
	s = sent{packets: r.Packets, elapsed: max(r.Elapsed, 1), thread: threadCPU() - before}
	k.heaps += r.Heaps
	return s, errors.Join(err, sender.Close())
}

func (k *kernelSender) close() error { return nil }

// allowedCPUs are the processors the process may run on.
func allowedCPUs() []int {
	all, err := sched.CPUs()
	if err != nil {
		return []int{0}
	}
	return all
}

// generatorCPU is where the generator runs, and with it what the kernel does for the
// receiving end; receiverCPU where the receiving thread is.
func generatorCPU() int { p := allCPUs; return p[len(p)-1] }

func receiverCPU() int { return allCPUs[0] }

var allCPUs = allowedCPUs()

// threadCPU and processCPU are the CPU time used so far.
func threadCPU() time.Duration { return usage(unix.RUSAGE_THREAD) }

func processCPU() time.Duration { return usage(unix.RUSAGE_SELF) }

func usage(who int) time.Duration {
	var u unix.Rusage
	if unix.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idleTime is how long a CPU has been idle, from /proc/stat. The kernel measures that by
// the clock; what it did otherwise it may only sample at ticks, which miss a thread that
// naps from timer to timer.
func idleTime(cpu int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "cpu"+strconv.Itoa(cpu) {
			continue
		}
		var ticks int64
		for _, i := range []int{4, 5} { // idle, iowait; see proc_stat(5)
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %w", err)
			}
			ticks += n
		}
		return time.Duration(ticks) * userTick, nil
	}
	return 0, fmt.Errorf("/proc/stat has no CPU %d", cpu)
}

// userTick is the unit of times in /proc: USER_HZ is 100 on every architecture of Go's.
const userTick = 10 * time.Millisecond
