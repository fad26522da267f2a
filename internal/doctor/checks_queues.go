// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/sizing"
)

// errNothing is for what the kernel does not tell without an error.
var errNothing = errors.New("the kernel does not tell")

func occupiedCheck(f *Facts, d *Device) verdict {
	switch {
	case !d.Bottom:
		return verdict{}
	case d.Queues.Err != nil:
		return unknown("which queues are bound", d.Queues.Err)
	case len(d.Queues.Value) == 0:
		return ok("no AF_XDP socket is bound to one")
	}
	var holders []Owner
	for _, q := range d.Queues.Value {
		for _, o := range q.Owners {
			if !slices.Contains(holders, o) {
				holders = append(holders, o)
			}
		}
	}
	text := fmt.Sprintf("%s of %d bound, %s", plain(len(d.Queues.Value), "queue", cpuList(d.bound())), d.RxQueues, f.holders(holders))
	if d.Program.speadx() {
		return ok("%s; a second receiver cannot have them", text)
	}
	if p := d.Program; p != nil && p.Name.Err != nil && len(holders) == 0 {
		return unknown("whose socket has "+text, p.Name.Err)
	}
	fix := fmt.Sprintf("speadx recv -i %s --queues %s", d.Name, cpuList(d.without(d.bound()))) + f.sources()
	switch {
	case len(holders) > 0:
		fix = fmt.Sprintf("kill %d", holders[0].PID)
	case len(d.without(d.bound())) == 0:
		fix = "ss --xdp --processes"
	}
	return fail(fix, "%s", text)
}

// plain names one or several of something by a list.
func plain(n int, what, list string) string {
	if n == 1 {
		return what + " " + list
	}
	return what + "s " + list
}

// bound are the numbers of the bound queues.
func (d *Device) bound() (list []int) {
	for _, q := range d.Queues.Value {
		list = append(list, q.Queue)
	}
	slices.Sort(list)
	return list
}

// without are the queues of the device that are not in the list.
func (d *Device) without(list []int) (rest []int) {
	for q := range d.RxQueues {
		if !slices.Contains(list, q) {
			rest = append(rest, q)
		}
	}
	return rest
}

func unservedCheck(f *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || d.RxQueues == 1:
		return verdict{}
	case d.Queues.Err != nil:
		return unknown("which queues are bound", d.Queues.Err)
	case len(d.Queues.Value) == 0:
		return ok("none is bound; recv takes all %d", d.RxQueues)
	}
	bound := d.bound()
	idle := d.without(bound)
	if d.RSS.Err == nil && len(d.RSS.Value.Table) > 0 {
		idle = slices.DeleteFunc(idle, func(q int) bool { return !slices.Contains(d.RSS.Value.Table, uint32(q)) })
	}
	if len(idle) == 0 {
		return ok("each queue that packets can arrive on is bound (%s)", cpuList(bound))
	}
	fix := fmt.Sprintf("speadx recv -i %s --queues all", d.Name) + f.sources()
	if d.RSS.Err == nil && bound[len(bound)-1] == len(bound)-1 {
		fix = fmt.Sprintf("ethtool -X %s equal %d", d.Name, len(bound))
	}
	text := fmt.Sprintf("%s of %d bound, %s not", plain(len(bound), "queue", cpuList(bound)), d.RxQueues, cpuList(idle))
	if n := len(d.Rules.Value); n > 0 {
		return warn(fix, "%s, and %s steer packets: flow_queue says where those of a SOURCE go", text, count(n, "rule")).
			costs("what no rule steers to a bound queue goes to the kernel")
	}
	return fail(fix, "%s", text)
}

func rssCheck(f *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || d.RxQueues == 1:
		return verdict{}
	case errors.Is(d.RSS.Err, errUnsupported):
		return verdict{}
	case d.RSS.Err != nil:
		return unknown("the RSS table", d.RSS.Err)
	}
	var used []int
	for _, q := range d.RSS.Value.Table {
		if !slices.Contains(used, int(q)) {
			used = append(used, int(q))
		}
	}
	text := fmt.Sprintf("%d entries spread over %s, hash %s", len(d.RSS.Value.Table), plain(len(used), "queue", cpuList(used)), d.RSS.Value.hash())
	if n := len(d.Rules.Value); n > 0 {
		text += ", " + count(n, "steering rule")
	}
	if d.Hash4.Err != nil {
		return ok("%s (the fields of the hash are not known)", text)
	}
	text += fmt.Sprintf(" of %s for UDP over IPv4", hashFields(d.Hash4.Value))
	if d.Hash4.Value&rxhPorts == 0 && f.differInPortsOnly(d) {
		return warn("ethtool -N "+d.Name+" rx-flow-hash udp4 sdfn", "%s", text)
	}
	return ok("%s", text)
}

// differInPortsOnly reports whether several flows that were seen have the same addresses.
func (f *Facts) differInPortsOnly(d *Device) bool {
	type flow struct{ from, to string }
	seen := map[flow]bool{}
	for i := range f.Traffic {
		t := &f.Traffic[i]
		if !f.below(t.Interface, d.Name) {
			continue
		}
		for _, s := range t.Senders {
			k := flow{s.Addr.Addr().String(), s.To.Addr().String()}
			if s.Addr.Addr().Is4() && seen[k] {
				return true
			}
			seen[k] = true
		}
	}
	return false
}

func trafficCheck(f *Facts, t *Traffic) verdict {
	switch {
	case t.Err != nil:
		return unknown("packets", t.Err)
	case t.Packets == 0 && t.Unseen == 0 && t.Fragments == 0 && t.Taken:
		return unknown("packets", errors.New("a program on the interface takes packets before a packet socket sees them; the receiver's own totals tell"))
	case t.Packets == 0 && t.Fragments == 0 && t.Unseen == 0:
		return fail(fmt.Sprintf("tcpdump -ni %s '%s'", t.Interface, t.filter()), "no packet in %v", t.Duration)
	}
	if t.Packets == 0 && t.Fragments > 0 {
		return ok("no whole packet in %v", t.Duration)
	}
	text := fmt.Sprintf("%d packets in %v, %s, of %d to %d bytes", t.Packets, t.Duration, bits(t.rate()*8), t.MinPacket, t.MaxPacket)
	if t.Unseen > 0 {
		text += fmt.Sprintf("; the packet sockets had no room for %d more", t.Unseen)
	}
	if len(t.VLANs) > 0 {
		text += ", VLAN " + vlans(t.VLANs)
	}
	return ok("%s", text)
}

// filter is that of tcpdump for the packets of a source, and for what brings a group here.
func (t *Traffic) filter() string {
	if len(t.Endpoints) == 0 {
		return "udp"
	}
	ep := t.Endpoints[0]
	filter := fmt.Sprintf("udp port %d", ep.Port())
	switch a := ep.Addr().Unmap(); {
	case a.IsMulticast() && a.Is4():
		return "igmp or " + filter
	case a.IsMulticast():
		return "icmp6 or " + filter
	}
	return filter
}

// bits writes a rate: 12 b/s, 3.5 Mb/s, 8 Gb/s.
func bits(rate float64) string {
	unit := ""
	for _, larger := range []string{"k", "M", "G"} {
		if rate < 1000 {
			break
		}
		rate, unit = rate/1000, larger
	}
	return strconv.FormatFloat(rate, 'g', 4, 64) + " " + unit + "b/s"
}

// rate is the payload in bytes per second.
func (t *Traffic) rate() float64 {
	if t.Duration <= 0 {
		return 0
	}
	return float64(t.Bytes) / t.Duration.Seconds()
}

func vlans(byID map[int]uint64) string {
	var ids []int
	for id := range byID {
		ids = append(ids, id)
	}
	return cpuList(ids)
}

func speadCheck(_ *Facts, t *Traffic) verdict {
	if t.Err != nil || t.Packets == 0 {
		return verdict{}
	}
	var wrong []string
	n := uint64(0)
	for reason, k := range t.Foreign {
		wrong = append(wrong, fmt.Sprintf("%s %d", reason, k))
		n += k
	}
	slices.Sort(wrong)
	fix := fmt.Sprintf("tcpdump -ni %s -X", t.Interface)
	if len(t.Endpoints) > 0 {
		fix += fmt.Sprintf(" udp port %d", t.Endpoints[0].Port())
	}
	switch {
	case t.SPEAD == 0:
		return fail(fix, "none of %d packets is SPEAD (%s)", t.Packets, strings.Join(wrong, ", "))
	case n > 0:
		return warn(fix, "%d of %d packets are not (%s)", n, t.Packets, strings.Join(wrong, ", "))
	}
	var flavours []string
	for name := range t.Flavours {
		flavours = append(flavours, "SPEAD-"+name)
	}
	slices.Sort(flavours)
	size := fmt.Sprintf("heaps of up to %d bytes", t.HeapSize)
	if t.Unsized > 0 {
		size += ", and packets that do not tell the length of their heap"
	}
	return ok("%s, %s", strings.Join(flavours, ", "), size)
}

func fragmentCheck(_ *Facts, t *Traffic) verdict {
	switch {
	case t.Err != nil || t.Packets+t.Fragments == 0:
		return verdict{}
	case t.Fragments > 0:
		return fail(fmt.Sprintf("speadx recv --mode udp -i %s %s", t.Interface, quote(t.Source)), "%d fragments", t.Fragments)
	}
	return ok("none")
}

func senderCheck(_ *Facts, t *Traffic) verdict {
	if t.Err != nil || len(t.Senders) == 0 {
		return verdict{}
	}
	var list []string
	const most = 4
	for i, s := range t.Senders {
		if i == most {
			list = append(list, fmt.Sprintf("and %d more", len(t.Senders)-most))
			break
		}
		list = append(list, s.Addr.String())
	}
	text := fmt.Sprintf("%s: %s", count(len(t.Senders), "sender"), strings.Join(list, ", "))
	if t.More > 0 {
		text += fmt.Sprintf("; %d packets of further ones", t.More)
	}
	if t.Colliding {
		return warn(fmt.Sprintf("speadx recv --by-source -i %s %s", t.Interface, quote(t.Source)), "%s; two of them use one heap count", text)
	}
	return ok("%s", text)
}

func flowCheck(f *Facts, t *Traffic) verdict {
	if t.Err != nil || t.Packets == 0 {
		return verdict{}
	}
	var seen []int
	for q := range t.Queues {
		seen = append(seen, q)
	}
	slices.Sort(seen)
	var parts []string
	var all []int
	const most = 4 // in the text
	for i := range t.Senders {
		for _, e := range f.expected(t, &t.Senders[i]) {
			if i < most {
				parts = append(parts, e.String())
			}
			if !slices.Contains(all, e.queue) {
				all = append(all, e.queue)
			}
		}
	}
	slices.Sort(all)
	text := "packets arrive on " + plain(len(seen), "queue", cpuList(seen))
	if len(seen) == 0 {
		text = "the kernel does not tell which queue packets arrive on"
		seen = all
	}
	if len(parts) > 0 {
		text += "; " + strings.Join(parts, "; ")
	}
	if len(seen) == 0 {
		return unknown("the queue", errors.New("neither the packets nor the RSS settings of the driver tell it"))
	}
	for i := range f.Devices {
		d := &f.Devices[i]
		if !d.Bottom || !f.below(t.Interface, d.Name) || d.Queues.Err != nil || len(d.Queues.Value) == 0 {
			continue
		}
		for _, q := range seen {
			if q < d.RxQueues && !slices.Contains(d.bound(), q) {
				return fail(fmt.Sprintf("speadx recv -i %s --queues all %s", t.Interface, quote(t.Source)), "%s; queue %d of %s is not bound, and %s", text, q, d.Name, plain(len(d.bound()), "queue", cpuList(d.bound()))+" is")
			}
		}
	}
	return ok("%s", text)
}

// expectation is the queue that a flow must arrive on by the settings of a device.
type expectation struct {
	device string
	sender string
	queue  int
	by     string
}

func (e expectation) String() string {
	return fmt.Sprintf("%s goes to queue %d of %s by %s", e.sender, e.queue, e.device, e.by)
}

// expected computes the queues of a sender: one for each device below the interface whose
// settings tell it.
func (f *Facts) expected(t *Traffic, s *Sender) (list []expectation) {
	for i := range f.Devices {
		d := &f.Devices[i]
		if !d.Bottom || !f.below(t.Interface, d.Name) {
			continue
		}
		e := expectation{device: d.Name, sender: s.Addr.String()}
		if r := steeredBy(d.Rules.Value, s.Addr, s.To); r != nil {
			if r.Queue < 0 {
				continue // it drops them
			}
			e.queue, e.by = r.Queue, "steering rule "+strconv.Itoa(r.Location)
		} else if q, ok := d.hashed(s.Addr, s.To); ok {
			e.queue, e.by = q, "the RSS table"
		} else {
			continue
		}
		list = append(list, e)
	}
	return list
}

// plan fills in the queues that the senders' packets must arrive on.
func (f *Facts) plan(t *Traffic) {
	for i := range t.Senders {
		s := &t.Senders[i]
		for _, e := range f.expected(t, s) {
			if !slices.Contains(s.Planned, e.queue) {
				s.Planned = append(s.Planned, e.queue)
			}
		}
	}
}

// sources are the sources that were looked at, as the end of a command: " …" if there are
// none, since recv needs some.
func (f *Facts) sources() string {
	var b strings.Builder
	var known []string
	for i := range f.Traffic {
		if s := f.Traffic[i].Source; !slices.Contains(known, s) {
			known = append(known, s)
			b.WriteString(" " + quote(s))
		}
	}
	if len(known) == 0 {
		return " …"
	}
	return b.String()
}

// interfaces are those that were looked at for sources, as a part of a command.
func (f *Facts) interfaces() string {
	var b strings.Builder
	var known []string
	for i := range f.Traffic {
		if name := f.Traffic[i].Interface; name != "" && !slices.Contains(known, name) {
			known = append(known, name)
			b.WriteString(" -i " + quote(name))
		}
	}
	return b.String()
}

// recvCommand is the command that receives the sources that were listened to.
func recvCommand(f *Facts) string {
	if len(f.Traffic) == 0 {
		return ""
	}
	words := []string{"speadx recv" + f.interfaces()}
	by, fragments := false, false
	for i := range f.Traffic {
		t := &f.Traffic[i]
		by = by || t.Colliding
		fragments = fragments || t.Fragments > 0
	}
	if fragments {
		words = append(words, "--mode", "udp")
	}
	seen := false
	for i := range f.Traffic {
		seen = seen || f.Traffic[i].HeapSize > 0
	}
	if seen {
		words = append(words, "-H", strconv.Itoa(f.heapSize()))
	}
	most := 0
	for i := range f.Traffic {
		most = max(most, len(f.Traffic[i].Senders))
	}
	window := speadx.DefaultConcurrentHeaps
	if need := heap.WindowFor(window, most, 1); need > window+sizing.RoomForSenders(int64(f.heapSize()), len(f.Traffic), 1) {
		words = append(words, "--concurrent-heaps", strconv.Itoa(need))
	}
	if by {
		words = append(words, "--by-source")
	}
	return strings.Join(words, " ") + f.sources()
}
