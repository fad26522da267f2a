// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/units"
)

// spead2Flags are the flags of spead2_recv that recv has another name for, or
// does not need.
type spead2Flags struct {
	bind                               string
	buffer, packet, memLower, memUpper units.Size
	affinity                           string
	number                             int  // of those that mean nothing here
	set                                bool // likewise
}

func (s *spead2Flags) group() flagGroup {
	g := newFlagGroup("Flags of spead2_recv, by their names there")
	fs := g.flags
	fs.StringVar(&s.bind, "bind", "", "receive on the interface that has this `ADDRESS`")
	fs.StringVar(&s.affinity, "affinity", "", "--cpus `LIST`")
	fs.Var(&s.memLower, "mem-lower", "--pool-min `SIZE`")
	fs.Var(&s.memUpper, "mem-upper", "--heap-size `SIZE`")
	fs.Var(&s.buffer, "buffer", "receive buffer of a UDP or TCP socket, a `SIZE` (default 64MiB; with TCP the kernel's choice)")
	// They are accepted, and answered by a line that says why they do nothing.
	fs.Var(&s.packet, "packet", "")
	fs.IntVar(&s.number, "threads", 0, "")
	fs.BoolVar(&s.set, "ring", false, "")
	fs.BoolVar(&s.set, "mem-pool", false, "")
	fs.IntVar(&s.number, "mem-max-free", 0, "")
	fs.IntVar(&s.number, "mem-initial", 0, "")
	fs.BoolVar(&s.set, "memcpy-nt", false, "")
	fs.BoolVar(&s.set, "ibv", false, "")
	fs.IntVar(&s.number, "ibv-vector", 0, "")
	fs.IntVar(&s.number, "ibv-max-poll", 0, "")
	for name, why := range notNeeded {
		fl := fs.Lookup(name)
		fl.Usage, fl.Hidden = "spead2_recv's, not needed: "+why, true
	}
	g.note = `Its --packet, --threads, --ring, --mem-pool, --mem-max-free, --mem-initial,
--memcpy-nt, --ibv, --ibv-vector and --ibv-max-poll are accepted, and a line says
why they are not needed.
`
	return g
}

// notNeeded says of a flag why it is not.
var notNeeded = map[string]string{
	"packet":       "packets of any size are received",
	"threads":      "each queue, socket, connection or file has a thread of its own",
	"ring":         "heaps always come through a ring (--ring-heaps)",
	"mem-pool":     "heaps are always in a pool",
	"mem-max-free": "the pool's size follows from --heap-size, --concurrent-heaps, --ring-heaps and --consumer-heaps",
	"mem-initial":  "the pool's size follows from --heap-size, --concurrent-heaps, --ring-heaps and --consumer-heaps",
	"memcpy-nt":    "each byte is copied once, with the copy that is fastest",
	"ibv":          "AF_XDP bypasses the kernel on any NIC (--mode)",
	"ibv-vector":   "--wait says how to wait for packets",
	"ibv-max-poll": "--wait says how to wait for packets",
}

// sameAs gives the flag that stands for one of spead2_recv's.
var sameAs = map[string]string{
	"bind":      "interface",
	"affinity":  "cpus",
	"mem-lower": "pool-min",
	"mem-upper": "heap-size",
}

// notes are the lines to print about those that were given.
func (s *spead2Flags) notes(fs *pflag.FlagSet) []string {
	var out []string
	fs.Visit(func(fl *pflag.Flag) {
		if why := notNeeded[fl.Name]; why != "" {
			out = append(out, fmt.Sprintf("--%s is not needed: %s", fl.Name, why))
		}
	})
	return out
}

// apply gives the flags of recv the values of those that stand for them.
func (s *spead2Flags) apply(f *recvFlags, fs *pflag.FlagSet) error {
	for theirs, ours := range sameAs {
		if fs.Changed(theirs) && fs.Changed(ours) {
			return fmt.Errorf("--%s is --%s by another name: give one of them", theirs, ours)
		}
	}
	if fs.Changed("bind") {
		if _, err := netip.ParseAddr(s.bind); err != nil {
			return wrongFlag("bind", " %q is not an address (--interface takes a name)", s.bind)
		}
	}
	if fs.Changed("affinity") {
		f.cpus = s.affinity
	}
	if fs.Changed("mem-lower") {
		f.poolMin = s.memLower
	}
	if fs.Changed("mem-upper") {
		f.heapSize = s.memUpper
	}
	return nil
}

// interfaces is what --bind stands for, nil if it was not given.
func (s *spead2Flags) interfaces() ([]string, error) {
	if s.bind == "" {
		return nil, nil
	}
	addr, err := netip.ParseAddr(s.bind)
	if err != nil {
		return nil, err
	}
	name, err := netif.ByAddress(addr)
	if err != nil {
		return nil, fmt.Errorf("--bind: %w (ip -br addr shows those there are)", err)
	}
	return []string{name}, nil
}
