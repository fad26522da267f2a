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

func (s *spead2Flags) register(fs *pflag.FlagSet) {
	fs.StringVar(&s.bind, "bind", "", "spead2_recv's: address of the interface to receive on")
	fs.Var(&s.packet, "packet", "spead2_recv's: not needed, packets of any size are received")
	fs.Var(&s.buffer, "buffer", "spead2_recv's: receive buffer of a UDP socket (default 64MiB)")
	fs.IntVar(&s.number, "threads", 0, "spead2_recv's: not needed, each queue or socket has its thread")
	fs.StringVar(&s.affinity, "affinity", "", "spead2_recv's: --cpus")
	fs.BoolVar(&s.set, "ring", false, "spead2_recv's: not needed, there is always a ring")
	fs.BoolVar(&s.set, "mem-pool", false, "spead2_recv's: not needed, there is always a pool")
	fs.Var(&s.memLower, "mem-lower", "spead2_recv's: --pool-min")
	fs.Var(&s.memUpper, "mem-upper", "spead2_recv's: --heap-size")
	fs.IntVar(&s.number, "mem-max-free", 0, "spead2_recv's: not needed, the pool's size follows from the other flags")
	fs.IntVar(&s.number, "mem-initial", 0, "spead2_recv's: not needed, the pool's size follows from the other flags")
	fs.BoolVar(&s.set, "memcpy-nt", false, "spead2_recv's: not needed")
	fs.BoolVar(&s.set, "ibv", false, "spead2_recv's: not needed, AF_XDP takes its place (--mode)")
	fs.IntVar(&s.number, "ibv-vector", 0, "spead2_recv's: not needed, see --wait")
	fs.IntVar(&s.number, "ibv-max-poll", 0, "spead2_recv's: not needed")
	fs.VisitAll(func(fl *pflag.Flag) {
		if notNeeded[fl.Name] != "" || sameAs[fl.Name] != "" {
			fl.Hidden = true // they are in the table of docs, not in everybody's way
		}
	})
}

// notNeeded says of a flag why it is not.
var notNeeded = map[string]string{
	"packet":       "packets of any size are received",
	"threads":      "each queue, socket or file has a thread of its own",
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
	if s.bind != "" {
		addr, err := netip.ParseAddr(s.bind)
		if err != nil {
			return fmt.Errorf("--bind %q is not an address (--interface takes a name)", s.bind)
		}
		name, err := netif.ByAddress(addr)
		if err != nil {
			return fmt.Errorf("--bind: %w", err)
		}
		f.interfaces = []string{name}
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
