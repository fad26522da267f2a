// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/units"
	"github.com/speadx/speadx/xsk"
)

// printInfo says what a receiver resolved its configuration to. Where the pages
// were its own choice, that is how to have better ones too.
func printInfo(w io.Writer, in speadx.Info, anyPages bool) {
	for i := range in.Devices {
		printDevice(w, &in.Devices[i])
	}
	for _, s := range in.Sockets {
		gro := "without GRO"
		if s.GRO {
			gro = "with GRO"
		}
		fmt.Fprintf(w, "UDP socket: receiving %s, buffer %s, %s\n", endpoints(s.Endpoints), units.Size(s.Buffer), gro)
		indented(w, s.Notes)
	}
	for _, l := range in.Listeners {
		buffer := "the kernel's choice of buffer"
		if l.Buffer > 0 {
			buffer = "buffer " + units.Size(l.Buffer).String()
		}
		fmt.Fprintf(w, "TCP socket: listening on %s, %s\n", endpoints([]netip.AddrPort{l.Addr}), buffer)
		indented(w, l.Notes)
	}
	for _, s := range in.Streams {
		for _, f := range s.Files {
			fmt.Fprintf(w, "capture file %s\n", f)
		}
	}
	printNotes(w, in)
	printPool(w, &in)
	if n := missingHugePages(&in); anyPages && n > 0 {
		fmt.Fprintf(w, "to have all of this on 2 MiB pages: echo %d > %s\n", n, hugePages+"nr_hugepages")
	}
	printThreads(w, &in)
}

// printNotes says why something does not go the best way.
func printNotes(w io.Writer, in speadx.Info) {
	for _, n := range in.Notes {
		fmt.Fprintln(w, strings.ReplaceAll(n, "\n", "\n  "))
	}
}

func printDevice(w io.Writer, d *speadx.DeviceInfo) {
	umem := 0
	var queues []string
	var notes []string
	byPages := map[string][]string{} // what the queues' pages are
	for _, q := range d.Queues {
		umem += q.UMEMBytes
		n := strconv.Itoa(q.Queue)
		queues = append(queues, n)
		p := pagesOf(q.Pages) + onNode(q.Node)
		byPages[p] = append(byPages[p], n)
		for _, note := range q.Notes {
			if !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	q := d.Queues[0]
	fmt.Fprintf(w, "%s: driver %s, MTU %d, %s %s, mode %s%s, receiving %s\n", d.Name, orNone(d.Driver), d.MTU,
		plural(len(queues), "queue"), ranges(queues), d.Mode, multiBuffer(q.MultiBuffer), endpoints(d.Endpoints))
	for _, r := range d.Rungs {
		if r.Err != nil {
			fmt.Fprintf(w, "  not %s: %s\n", r.Name(), r.Reason())
		}
	}
	const instant = 100 * time.Millisecond
	switch {
	case !d.Carrier:
		fmt.Fprintf(w, "  no link after %.1f s: cable, switch port, or the other end of a veth pair\n", d.CarrierTime.Seconds())
	case d.CarrierTime >= instant:
		fmt.Fprintf(w, "  the link came up after %.1f s\n", d.CarrierTime.Seconds())
	}
	fmt.Fprintf(w, "  UMEM: %d × %d frames of %s = %s on %s\n", len(queues), q.Frames, units.Size(q.ChunkBytes),
		units.Size(umem), pagesByQueue(byPages, d.Queues))
	indented(w, notes)
}

// pagesByQueue says which queues have which pages, in the order of the queues.
func pagesByQueue(byPages map[string][]string, queues []xsk.Info) string {
	var out []string
	for _, q := range queues {
		p := pagesOf(q.Pages) + onNode(q.Node)
		list := byPages[p]
		if list == nil {
			continue
		}
		delete(byPages, p)
		if len(list) < len(queues) {
			p += fmt.Sprintf(" (%s %s)", plural(len(list), "queue"), ranges(list))
		}
		out = append(out, p)
	}
	return strings.Join(out, ", ")
}

func printPool(w io.Writer, in *speadx.Info) {
	fmt.Fprintf(w, "pool: %s on %s%s, %s of it tables, and %s of Go memory\n", units.Size(in.PoolBytes), pagesOf(in.PoolPages), onNode(in.PoolNode),
		wholeKiB(in.TableBytes), wholeKiB(in.GoBytes))
	for _, s := range in.Streams {
		c := s.Sum
		fmt.Fprintf(w, "  %s: %d slots of %s = %d live%s + %d in the ring + %d held + %d for threads", s.Name,
			c.Live+c.Ring+c.Held+c.Threads, units.Size(s.SlotSize), c.Live, ofOne(&s), c.Ring, c.Held, c.Threads)
		if s.SmallSize > 0 {
			fmt.Fprintf(w, ", and as many of %s for heaps below %s", units.Size(s.SmallSize), units.Size(c.SmallBelow))
		}
		fmt.Fprintln(w)
		if s.Blocks {
			fmt.Fprintf(w, "  a full ring makes the receiving thread wait%s (--on-full)\n", alsoOthers(s.SharesThreads))
		}
	}
	indented(w, in.PoolNotes)
}

// ofOne says how many of the live heaps one sender may have, where there is room for more senders.
func ofOne(s *speadx.StreamInfo) string {
	if s.LiveOfOne == 0 || s.LiveOfOne == s.Sum.Live {
		return ""
	}
	return fmt.Sprintf(" (%d of one sender)", s.LiveOfOne)
}

// wholeKiB rounds a size up.
func wholeKiB(n int) units.Size { return units.Size((n + 1023) &^ 1023) }

// hugePages is where the kernel keeps its pages of 2 MiB.
const hugePages = "/sys/kernel/mm/hugepages/hugepages-2048kB/"

// missingHugePages is how many huge pages of 2 MiB the machine had to have for
// all of the memory to be on them, where several parts of it are not; the notes
// of each say what it alone lacks. 0: there is nothing to add.
func missingHugePages(in *speadx.Info) int {
	const page = 2 << 20
	parts, pages := 0, 0
	add := func(kind string, bytes int) {
		if kind != "2M" && kind != "1G" {
			parts++
			pages += (bytes + page - 1) / page
		}
	}
	for _, d := range in.Devices {
		for _, q := range d.Queues {
			add(q.Pages, q.UMEMBytes)
		}
	}
	add(in.PoolPages, in.PoolBytes)
	total, err := readNumber(hugePages + "nr_hugepages")
	if err != nil || parts < 2 {
		return 0
	}
	free, err := readNumber(hugePages + "free_hugepages")
	if err != nil {
		return 0
	}
	return total - free + pages
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// printThreads says where the receiving threads run, if that is fixed.
func printThreads(w io.Writer, in *speadx.Info) {
	var cpus []string
	for _, cpu := range in.PinnedCPUs {
		if cpu < 0 {
			return
		}
		cpus = append(cpus, strconv.Itoa(cpu))
	}
	fmt.Fprintf(w, "%d %s on %s %s\n", in.Threads, plural(in.Threads, "thread"), plural(len(cpus), "processor"), ranges(cpus))
}

func alsoOthers(shared bool) string {
	if shared {
		return ", and with it the other streams of its queue"
	}
	return ""
}

func indented(w io.Writer, list []string) {
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

// pagesOf spells a kind of pages out.
func pagesOf(kind string) string {
	switch kind {
	case "1G":
		return "1 GiB pages"
	case "2M":
		return "2 MiB pages"
	case "thp":
		return "transparent huge pages"
	default:
		return kind + " pages"
	}
}

func onNode(n int) string {
	if n < 0 {
		return ""
	}
	return fmt.Sprintf(" of NUMA node %d", n)
}

// ranges shortens a list that is mostly 0, 1, 2, ….
func ranges(list []string) string {
	if n := len(list); n > 4 && list[0] == "0" && list[n-1] == strconv.Itoa(n-1) {
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
