// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/units"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// recvFlags are the flags of recv.
type recvFlags struct {
	interfaces  []string
	mode        string
	tcp         bool
	filter      string
	queues      string
	heapSize    units.Size
	concurrent  int
	substreams  int
	ring        int
	consumer    int
	spare       int
	allVLANs    bool
	poolMin     units.Size
	hugepages   string
	frames      int
	cpus        string
	gro         bool
	wait        string
	onFull      string
	repeats     string
	maxAge      time.Duration
	carrier     time.Duration
	joint       bool
	bySource    bool
	pyspead     bool
	sized       bool
	heaps       int64
	strict      bool
	expectHeaps heapCount
	duration    time.Duration
	stopOnStop  bool
	stops       string
	expect      expectStep
	incomplete  bool
	verify      bool
	hash        bool
	quiet       bool
	progress    string

	descriptors, values bool

	format  string
	spead2  spead2Flags
	operate operateFlags
	changed func(flag string) bool // whether it was given
}

func newRecvFlags() *recvFlags {
	return &recvFlags{heapSize: speadx.DefaultHeapSize, poolMin: speadx.DefaultPoolMin}
}

// groups are the flags as the help shows them.
func (f *recvFlags) groups() []flagGroup {
	what := newFlagGroup("What to receive")
	fs := what.flags
	fs.StringSliceVarP(&f.interfaces, "interface", "i", nil, "receive on the interface `NAME`, a VLAN or bond too; may be repeated (default that of the address or of the group's route)")
	fs.BoolVar(&f.allVLANs, "all-vlans", false, "receive packets of all VLANs on the interface (default: of eth1.7 only VLAN 7, of eth1 only those without a tag)")
	fs.StringVar(&f.mode, "mode", "auto", "receive in `MODE` auto, zerocopy, native, generic or udp")
	fs.StringVar(&f.filter, "filter", "", "of capture files take the datagrams that match `EXPR`, as tcpdump has it: 'dst host 239.1.2.3 and udp port 7148', 'vlan 7'")
	fs.BoolVar(&f.tcp, "tcp", false, "all sources but files are of TCP, as those that begin with tcp://")
	fs.StringVar(&f.queues, "queues", "all", "take packets from the receive queues in `LIST`, such as 0,2-3, or all")
	fs.BoolVar(&f.joint, "joint", false, "all sources are one stream")
	fs.BoolVar(&f.bySource, "by-source", false, "tell heaps of different senders apart, also where their counts are the same; a stream then ends when each sender has sent its stop heap")
	fs.BoolVar(&f.pyspead, "pyspead", false, "read descriptors as PySPEAD up to 0.5.2 sends them")
	fs.BoolVar(&f.sized, "require-heap-length", false, "refuse heaps that do not tell their length")
	fs.BoolVar(&f.incomplete, "incomplete", false, "deliver incomplete heaps too")

	fs.Var(&f.expect, "expect-step", "find missing heaps by the `[ITEM:]STEP` of the heap counts, or of the values of an immediate item for each sender: 2, or 0x1600:4096 (default what the first heaps show)")

	until := newFlagGroup("Until when")
	fs = until.flags
	fs.BoolVar(&f.stopOnStop, "stop-on-stop", true, "end a stream with its stop heap")
	fs.StringVar(&f.stops, "stop-after-stops", "1", "end a stream with its stop heap of number `N`, or never")
	fs.Int64Var(&f.heaps, "heaps", 0, "stop after `N` heaps (0: do not)")
	fs.DurationVar(&f.duration, "duration", 0, "stop after `TIME`, such as 90s or 1h (0s: do not)")

	fs.BoolVar(&f.strict, "strict", false, "end with exit status 3 if nothing was received, or heaps were lost or discarded")
	fs.Var(&f.expectHeaps, "expect-heaps", "end likewise, and also unless exactly `N` complete heaps came, 0 for none (default any number)")

	out := newFlagGroup("Output")
	fs = out.flags
	fs.StringVar(&f.format, "format", "text", "print in `FORMAT` text or json")
	fs.StringVar(&f.progress, "progress", "auto", "show `HOW` far the start is, and once a second what comes: line, json (all of standard error is then objects, one a line), none, or auto, a line on a terminal and notes elsewhere")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print only the totals, and what is amiss")
	fs.BoolVar(&f.descriptors, "descriptors", false, "print the descriptors, and the items' names")
	fs.BoolVar(&f.values, "values", false, "print the values of described items, in the format text shortened")
	fs.BoolVar(&f.hash, "hash", false, "give the SHA-256 of each item (format json)")
	fs.BoolVar(&f.verify, "verify", false, "check the pattern of send --verify and spead2_send --verify")
	fs.BoolP("help", "h", false, "print this help")

	heaps := newFlagGroup("Heaps, and the pool for them")
	fs = heaps.flags
	fs.VarP(&f.heapSize, "heap-size", "H", "largest heap payload, a `SIZE` such as 64MiB, 64Mi or 67108864")
	fs.IntVar(&f.concurrent, "concurrent-heaps", speadx.DefaultConcurrentHeaps, "let `N` heaps of a substream be incomplete at once (by default more where several senders or queues feed a stream)")
	fs.IntVar(&f.substreams, "substreams", 1, "tell `N` substreams apart, by heap count modulo N")
	fs.IntVar(&f.ring, "ring-heaps", speadx.DefaultRingHeaps, "let `N` finished heaps wait for the consumer")
	fs.IntVar(&f.consumer, "consumer-heaps", speadx.DefaultConsumerHeaps, "let the consumer hold `N` heaps")
	fs.IntVar(&f.spare, "spare-streams", 0, "reserve the memory of `N` streams that --control or a reload adds later")
	fs.Var(&f.poolMin, "pool-min", "give heaps below `SIZE` a small slot (0: none)")
	fs.StringVar(&f.onFull, "on-full", "block", "do `WHAT` with a finished heap when the ring is full: block, drop-newest or drop-oldest")
	fs.StringVar(&f.repeats, "repeats", "drop", "do `WHAT` with a heap whose count was there already, whole and less than 2 s before: drop or deliver")
	fs.DurationVar(&f.maxAge, "max-age", heap.DefaultMaxAge, "give up a heap after `TIME` without a packet for it (0s: never)")

	machine := newFlagGroup("Use of the machine")
	fs = machine.flags
	fs.StringVar(&f.hugepages, "hugepages", "auto", "have the pool and the packet buffers on `PAGES` auto, 1G, 2M, thp or off")
	fs.IntVar(&f.frames, "frames", 0, "give each queue `N` packet buffers of 4 KiB, a power of two (default at least 8192, more for a longer hardware ring or without hardware)")
	fs.StringVar(&f.cpus, "cpus", "auto", "receive on the processors in `LIST`, such as 2,4-5, or auto")
	fs.DurationVar(&f.carrier, "carrier-wait", speadx.DefaultCarrierWait, "wait up to `TIME` for the link of an interface, which some NICs reset when reception starts (0s: do not)")
	fs.StringVar(&f.wait, "wait", "poll", "wait for packets `HOW`: poll, by which they may be seen 0.4 ms late, spin or busy, which keep a core busy")
	fs.BoolVar(&f.gro, "gro", true, "let the kernel join packets on UDP sockets: cheaper, but the losses it counts are then lower bounds")

	return []flagGroup{what, until, out, heaps, machine, f.operate.group(), f.spead2.group()}
}

// config checks the flags and makes a configuration of them. The error joins all that is
// wrong.
func (f *recvFlags) config(fs *pflag.FlagSet, sources []string) (c speadx.Config, err error) {
	f.changed = fs.Changed
	var wrong faults
	wrong.add(f.spead2.apply(f, fs))
	c = speadx.Config{
		Interfaces:    f.interfaces,
		Frames:        f.frames,
		NoGRO:         !f.gro,
		SocketBuffer:  int(f.spead2.buffer),
		HeapSize:      int64(f.heapSize),
		Substreams:    f.substreams,
		RingHeaps:     f.ring,
		ConsumerHeaps: f.consumer,
		SpareStreams:  f.spare,
		AllVLANs:      f.allVLANs,
		PoolMin:       int(f.poolMin),
		MaxAge:        f.maxAge,
		Filter:        f.filter,
		CarrierWait:   f.carrier,
		IgnoreStop:    !f.stopOnStop,
		Incomplete:    f.incomplete,
		BySender:      f.bySource,
		RefuseUnsized: f.sized,
		ExpectStep:    f.expect.step,
		ExpectItem:    f.expect.item,
	}
	switch {
	case f.stops == "never":
		c.IgnoreStop = true
	case fs.Changed("stop-after-stops"):
		if c.Stops, err = strconv.Atoi(f.stops); err != nil || c.Stops < 1 {
			wrong.flag("stop-after-stops", " %q is neither a number of stop heaps nor never", f.stops)
		}
	}
	if fs.Changed("concurrent-heaps") {
		c.ConcurrentHeaps = f.concurrent
	}
	// All other bounds are the library's, which takes 0 for the default: see internal/flagname.
	for _, v := range []struct {
		flag     string
		n, least int64
	}{
		{"heap-size", int64(f.heapSize), 1},
		{"concurrent-heaps", int64(f.concurrent), 1},
		{"substreams", int64(f.substreams), 1},
		{"ring-heaps", int64(f.ring), 1},
		{"consumer-heaps", int64(f.consumer), 1},
		{"pool-min", int64(f.poolMin), 0},
		{"spare-streams", int64(f.spare), 0},
		{"heaps", f.heaps, 0},
		{"duration", int64(f.duration), 0},
		{"max-age", int64(f.maxAge), 0},
		{"carrier-wait", int64(f.carrier), 0},
	} {
		if v.n < v.least {
			wrong.flag(v.flag, " %v is too small (the least is %d)", fs.Lookup(v.flag).Value, v.least)
		}
	}
	if fs.Changed("frames") && f.frames == 0 {
		wrong.flag("frames", " 0 is not a power of two from %d to %d", xsk.MinFrames, xsk.MaxFrames)
	}
	if c.PoolMin == 0 {
		c.PoolMin = -1
	}
	if c.MaxAge == 0 {
		c.MaxAge = -1
	}
	if c.CarrierWait == 0 {
		c.CarrierWait = -1
	}
	if c.Mode, err = speadx.ParseMode(f.mode); err != nil {
		wrong.flag("mode", " %q is none of auto, zerocopy, native, generic, udp", f.mode)
	}
	if c.Wait, err = xsk.ParseWait(f.wait); err != nil {
		wrong.flag("wait", " %q is none of poll, spin, busy", f.wait)
	}
	if c.OnFull, err = heap.ParsePolicy(f.onFull); err != nil {
		wrong.flag("on-full", ": %v", err)
	}
	if c.Repeats, err = heap.ParseRepeats(f.repeats); err != nil {
		wrong.flag("repeats", " %v", err)
	}
	if c.Hugepages, err = pool.ParsePages(f.hugepages); err != nil {
		wrong.flag("hugepages", ": %v", err)
	}
	if f.queues != "all" {
		if c.Queues, err = netif.ParseCPUs(f.queues); err != nil {
			wrong.flag("queues", ": %v", err)
		}
	}
	if f.cpus != "auto" {
		if c.CPUs, err = netif.ParseCPUs(f.cpus); err != nil {
			wrong.flag("cpus", ": %v", err)
		}
	}
	wrong.add(f.operate.monitor.check())
	if f.format != "text" && f.format != "json" {
		wrong.flag("format", " %q is neither text nor json", f.format)
	}
	wrong.add(checkProgress(f.progress))
	if f.tcp {
		sources = tcpSources(sources)
	}
	if err := f.checkSources(fs, c.Mode, sources); err != nil {
		wrong.add(&sourceError{err})
	}
	if f.joint && len(sources) > 0 {
		c.Streams = []speadx.Stream{{Source: sources[0], Sources: sources[1:], Joint: true}}
	} else {
		for _, s := range sources {
			c.Streams = append(c.Streams, speadx.Stream{Source: s})
		}
	}
	wrong.add(explain(c.Validate()))
	return c, wrong.err()
}

// explain names the flag in place of the setting that the library refuses, or that a
// diagnosis advises to change. It does so for each of several errors that are joined.
func explain(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, err := range several.Unwrap() {
			list = append(list, explain(err))
		}
		return errors.Join(list...)
	}
	if d := (*speadx.DiagnosisError)(nil); errors.As(err, &d) {
		return fmt.Errorf("%s [%s]", d.Diagnosis.Sentence(flagname.Name), d.Diagnosis.Code)
	}
	var e *speadx.SettingError
	if !errors.As(err, &e) || flagname.Flag(e.Setting) == "" {
		return err
	}
	return wrongFlag(strings.TrimPrefix(flagname.Flag(e.Setting), "--"), " %v %s", e.Value, e.Reason)
}

// tcpSources makes all sources that are no files ones of TCP.
func tcpSources(sources []string) []string {
	out := slices.Clone(sources)
	for i, text := range out {
		// What is wrong with a source is found later.
		if src, err := speadx.ParseSource(text); err == nil && src.File == "" && !src.TCP {
			out[i] = tcpPrefix + text
		}
	}
	return out
}

// checkSources finds what is wrong with the sources whatever the machine is like.
func (f *recvFlags) checkSources(fs *pflag.FlagSet, mode speadx.Mode, sources []string) error {
	type destination struct {
		netip.AddrPort
		tcp bool
	}
	seen := map[destination]string{}
	for _, text := range sources {
		if text == "true" || text == "false" {
			return fmt.Errorf("source %q is no source (a flag that is on or off takes its value with =, as in --gro=false)", text)
		}
		src, err := speadx.ParseSource(text)
		if err != nil {
			return err
		}
		if src.File != "" {
			continue
		}
		for _, ep := range src.Endpoints {
			d := destination{ep, src.TCP}
			if other, ok := seen[d]; ok {
				return fmt.Errorf("source %q: %v is part of source %q already, and a packet belongs to one stream", text, ep, other)
			}
			seen[d] = text
			xdp := !src.TCP && mode != speadx.ModeAuto && mode != speadx.ModeUDP
			if xdp && ep.Addr().IsUnspecified() && !fs.Changed("interface") && !fs.Changed("bind") {
				return fmt.Errorf("source %q names no interface to receive on in mode %v (--interface)", text, mode)
			}
		}
	}
	return nil
}

// withoutEffect are lines about the flags that were given and do nothing.
func (f *recvFlags) withoutEffect(in *speadx.Info) []string {
	var out []string
	idle := func(because string, flags ...string) {
		var names []string
		for _, name := range flags {
			if f.changed(name) {
				names = append(names, "--"+name)
			}
		}
		if len(names) > 0 {
			out = append(out, fmt.Sprintf("%s: without effect, as %s", strings.Join(names, ", "), because))
		}
	}
	xdp, udp, tcp := len(in.Devices) > 0, len(in.Sockets) > 0, len(in.Listeners) > 0
	if !xdp && !udp {
		because := "all packets come from files"
		if tcp {
			because = "all packets come over TCP, or from files"
		}
		idle(because, "interface", "bind", "mode")
	}
	if !xdp {
		idle("nothing comes over AF_XDP", "queues", "frames", "wait", "carrier-wait")
	}
	switch {
	case !udp && !tcp:
		idle("nothing comes over UDP sockets", "gro", "buffer")
	case !udp:
		idle("nothing comes over UDP sockets", "gro")
	}
	if !slices.ContainsFunc(in.Streams, func(s speadx.StreamInfo) bool { return len(s.Files) > 0 }) {
		idle("no packets come from capture files", "filter")
	}
	if f.quiet {
		idle("--quiet prints no heaps", "descriptors", "values")
	}
	if f.format != "json" {
		idle("hashes are part of --format json", "hash")
	}
	if f.operate.monitor.listen == "" {
		idle("metrics are not served (--metrics)", "metrics-config", "metrics-namespace")
	}
	return out
}
