package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/units"
)

// printInfo says what a receiver resolved its configuration to.
func printInfo(w io.Writer, in speadx.Info) {
	for _, d := range in.Devices {
		umem := 0
		var queues []string
		for _, q := range d.Queues {
			umem += q.UMEMBytes
			queues = append(queues, fmt.Sprint(q.Queue))
		}
		q := d.Queues[0]
		fmt.Fprintf(w, "%s: driver %s, MTU %d, %s %s, mode %s%s, receiving %s\n", d.Name, orNone(d.Driver), d.MTU,
			plural(len(queues), "queue"), ranges(queues), d.Mode, multiBuffer(q.MultiBuffer), endpoints(d.Endpoints))
		for _, r := range d.Rungs {
			if r.Err != nil {
				fmt.Fprintf(w, "  not %s: %s\n", r.Name(), r.Reason())
			}
		}
		fmt.Fprintf(w, "  UMEM: %d × %d frames of %s = %s on %s pages%s\n", len(queues), q.Frames, units.Size(q.ChunkBytes),
			units.Size(umem), q.Pages, onNode(q.Node))
		notes(w, q.Notes)
	}
	for _, s := range in.Sockets {
		gro := "without GRO"
		if s.GRO {
			gro = "with GRO"
		}
		fmt.Fprintf(w, "UDP socket: receiving %s, buffer %s, %s\n", endpoints(s.Endpoints), units.Size(s.Buffer), gro)
		notes(w, s.Notes)
	}
	for _, s := range in.Streams {
		for _, f := range s.Files {
			fmt.Fprintf(w, "capture file %s\n", f)
		}
	}
	for _, n := range in.Notes {
		fmt.Fprintln(w, strings.ReplaceAll(n, "\n", "\n  "))
	}
	fmt.Fprintf(w, "pool: %s on %s pages%s\n", units.Size(in.PoolBytes), in.PoolPages, onNode(in.PoolNode))
	for _, s := range in.Streams {
		c := s.Sum
		fmt.Fprintf(w, "  %s: %d slots of %s = %d live + %d in the ring + %d held + %d for threads", s.Name,
			c.Live+c.Ring+c.Held+c.Threads, units.Size(s.SlotSize), c.Live, c.Ring, c.Held, c.Threads)
		if s.SmallSize > 0 {
			fmt.Fprintf(w, ", and as many of %s for heaps below %s", units.Size(s.SmallSize), units.Size(c.SmallBelow))
		}
		fmt.Fprintln(w)
		if s.Blocks {
			fmt.Fprintf(w, "  a full ring makes the receiving thread wait%s (--on-full)\n", alsoOthers(s.SharesThreads))
		}
	}
	notes(w, in.PoolNotes)
}

func alsoOthers(shared bool) string {
	if shared {
		return ", and with it the other streams of its queue"
	}
	return ""
}

func notes(w io.Writer, list []string) {
	for _, n := range list {
		fmt.Fprintf(w, "  %s\n", n)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

func multiBuffer(on bool) string {
	if on {
		return " with multi-buffer"
	}
	return ""
}

func onNode(n int) string {
	if n < 0 {
		return ""
	}
	return fmt.Sprintf(" of NUMA node %d", n)
}

// ranges shortens a list that is mostly 0, 1, 2, ….
func ranges(list []string) string {
	if n := len(list); n > 4 && list[0] == "0" && list[n-1] == fmt.Sprint(n-1) {
		return "0-" + list[n-1]
	}
	return strings.Join(list, ",")
}

func endpoints[T fmt.Stringer](list []T) string {
	const most = 4
	var out []string
	for i, ep := range list {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		out = append(out, strings.Replace(ep.String(), "[::]", "", 1))
	}
	return strings.Join(out, ", ")
}
