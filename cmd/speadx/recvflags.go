package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/units"
	"github.com/speadx/speadx/xsk"
)

// recvFlags are the flags of recv.
type recvFlags struct {
	interfaces []string
	mode       string
	queues     string
	heapSize   units.Size
	concurrent int
	substreams int
	ring       int
	consumer   int
	poolMin    units.Size
	hugepages  string
	frames     int
	cpus       string
	gro        bool
	wait       string
	onFull     string
	maxAge     time.Duration
	joint      bool
	heaps      int64
	duration   time.Duration
	stopOnStop bool
	incomplete bool
	verify     bool
	hash       bool
	quiet      bool
	format     string
	spead2     spead2Flags
}

func newRecvFlags() *recvFlags {
	return &recvFlags{heapSize: speadx.DefaultHeapSize, poolMin: speadx.DefaultPoolMin}
}

func (f *recvFlags) register(fs *pflag.FlagSet) {
	fs.StringSliceVarP(&f.interfaces, "interface", "i", nil, "interface to receive on, a VLAN or bond too; may be repeated (default that of the address or of the group's route)")
	fs.StringVar(&f.mode, "mode", "auto", "auto, zerocopy, native, generic or udp")
	fs.StringVar(&f.queues, "queues", "all", "receive queues to take packets from: all, or a list such as 0,2-3")
	fs.VarP(&f.heapSize, "heap-size", "H", "largest heap payload, such as 64MiB, 64Mi or 67108864")
	fs.IntVar(&f.concurrent, "concurrent-heaps", speadx.DefaultConcurrentHeaps, "heaps of a substream that may be incomplete at once (several queues get more by default)")
	fs.IntVar(&f.substreams, "substreams", 1, "substreams, told apart by heap count modulo their number")
	fs.IntVar(&f.ring, "ring-heaps", speadx.DefaultRingHeaps, "finished heaps that may wait for the consumer")
	fs.IntVar(&f.consumer, "consumer-heaps", speadx.DefaultConsumerHeaps, "heaps that the consumer may hold")
	fs.Var(&f.poolMin, "pool-min", "heaps with less payload take a small slot (0: none do)")
	fs.StringVar(&f.hugepages, "hugepages", "auto", "pages of the pool and the packet buffers: auto, 1G, 2M, thp or off")
	fs.IntVar(&f.frames, "frames", 0, "packet buffers of 4 KiB of each queue, a power of two (default 8192, or twice the hardware ring)")
	fs.StringVar(&f.cpus, "cpus", "auto", "processors of the receiving threads: auto, or a list such as 2,4-5")
	fs.BoolVar(&f.gro, "gro", true, "let the kernel join packets on UDP sockets: cheaper, but its losses are then lower bounds")
	fs.StringVar(&f.wait, "wait", "poll", "how to wait for packets: poll, spin or busy")
	fs.StringVar(&f.onFull, "on-full", "block", "what to do with a finished heap when the ring is full: block, drop-newest or drop-oldest")
	fs.DurationVar(&f.maxAge, "max-age", heap.DefaultMaxAge, "give up a heap for which no packet came for so long (0: never)")
	fs.BoolVar(&f.joint, "joint", false, "all sources are one stream (default: each is one)")
	fs.Int64Var(&f.heaps, "heaps", 0, "stop after so many heaps (0: do not)")
	fs.DurationVar(&f.duration, "duration", 0, "stop after so long (0: do not)")
	fs.BoolVar(&f.stopOnStop, "stop-on-stop", true, "end a stream with its stop heap")
	fs.BoolVar(&f.incomplete, "incomplete", false, "deliver incomplete heaps too")
	fs.BoolVar(&f.verify, "verify", false, "check the pattern of send --verify and spead2_send --verify")
	fs.BoolVar(&f.hash, "hash", false, "print the SHA-256 of each item (format json)")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print only the totals")
	fs.StringVar(&f.format, "format", "text", "text or json")
	f.spead2.register(fs)
}

// config checks the flags and makes a configuration of them.
func (f *recvFlags) config(fs *pflag.FlagSet, sources []string) (c speadx.Config, err error) {
	if err := f.spead2.apply(f, fs); err != nil {
		return c, err
	}
	c = speadx.Config{
		Interfaces:    f.interfaces,
		Frames:        f.frames,
		NoGRO:         !f.gro,
		SocketBuffer:  int(f.spead2.buffer),
		HeapSize:      int64(f.heapSize),
		Substreams:    f.substreams,
		RingHeaps:     f.ring,
		ConsumerHeaps: f.consumer,
		PoolMin:       int(f.poolMin),
		MaxAge:        f.maxAge,
		IgnoreStop:    !f.stopOnStop,
		Incomplete:    f.incomplete,
	}
	if fs.Changed("concurrent-heaps") {
		c.ConcurrentHeaps = f.concurrent
	}
	for _, v := range []struct {
		flag string
		n    int64
	}{
		{"heap-size", int64(f.heapSize)}, {"concurrent-heaps", int64(f.concurrent)}, {"substreams", int64(f.substreams)},
		{"ring-heaps", int64(f.ring)}, {"consumer-heaps", int64(f.consumer)}, {"pool-min", int64(f.poolMin) + 1},
		{"frames", int64(f.frames) + 1}, {"heaps", f.heaps + 1}, {"duration", int64(f.duration) + 1}, {"max-age", int64(f.maxAge) + 1},
	} {
		if v.n <= 0 {
			return c, fmt.Errorf("--%s %v is too small", v.flag, fs.Lookup(v.flag).Value)
		}
	}
	if fs.Changed("frames") && f.frames == 0 {
		return c, errors.New("--frames 0 leaves nothing to receive into (a power of two)")
	}
	if c.PoolMin == 0 {
		c.PoolMin = -1
	}
	if c.MaxAge == 0 {
		c.MaxAge = -1
	}
	if c.Mode, err = speadx.ParseMode(f.mode); err != nil {
		return c, fmt.Errorf("--mode: %w", err)
	}
	if c.Wait, err = xsk.ParseWait(f.wait); err != nil {
		return c, fmt.Errorf("--wait: %w", err)
	}
	if c.OnFull, err = heap.ParsePolicy(f.onFull); err != nil {
		return c, fmt.Errorf("--on-full: %w", err)
	}
	if c.Hugepages, err = pages.ParseChoice(f.hugepages); err != nil {
		return c, fmt.Errorf("--hugepages: %w", err)
	}
	if f.queues != "all" {
		if c.Queues, err = netif.ParseCPUs(f.queues); err != nil {
			return c, fmt.Errorf("--queues: %w", err)
		}
	}
	if f.cpus != "auto" {
		if c.CPUs, err = netif.ParseCPUs(f.cpus); err != nil {
			return c, fmt.Errorf("--cpus: %w", err)
		}
	}
	if f.format != "text" && f.format != "json" {
		return c, fmt.Errorf("--format %q is neither text nor json", f.format)
	}
	for _, s := range sources {
		if _, err := speadx.ParseSource(s); err != nil {
			return c, err
		}
	}
	if f.joint {
		c.Streams = []speadx.Stream{{Source: sources[0], Sources: sources[1:]}}
	} else {
		for _, s := range sources {
			c.Streams = append(c.Streams, speadx.Stream{Source: s})
		}
	}
	return c, nil
}
