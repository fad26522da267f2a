// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/peer"
)

// Receiver is a speadx receiver that has queues of a device.
type Receiver struct {
	Owner
	Queues    []int
	Endpoints []netip.AddrPort
}

// receiversOn are the receivers that have queues of a device, of those that told what they
// receive.
func receiversOn(ifindex int, list []peer.Info) (out []Receiver) {
	for _, p := range list {
		for _, r := range p.Receives {
			if r.Ifindex != ifindex || r.Sockets || len(r.Queues) == 0 {
				continue
			}
			// It tells the endpoints of each VLAN apart.
			k := slices.IndexFunc(out, func(o Receiver) bool { return o.PID == p.PID && slices.Equal(o.Queues, r.Queues) })
			if k >= 0 {
				out[k].Endpoints = append(slices.Clone(out[k].Endpoints), r.Endpoints...)
			} else {
				out = append(out, Receiver{Owner{PID: p.PID, Name: p.Program}, r.Queues, r.Endpoints})
			}
		}
	}
	slices.SortFunc(out, func(a, b Receiver) int { return slices.Compare(a.Queues, b.Queues) })
	return out
}

// sharedCheck is for several receivers on one device: a packet reaches its receiver only on a
// queue of this receiver.
func sharedCheck(_ *Facts, d *Device) verdict {
	list := d.Receivers.Value
	switch {
	case !d.Bottom:
		return verdict{}
	case d.Receivers.Err != nil:
		return unknown("the receivers of this machine", d.Receivers.Err)
	case len(list) < 2:
		return verdict{}
	}
	var names, commands []string
	for i := range list {
		r := &list[i]
		names = append(names, fmt.Sprintf("%s (process %d) has %s", r.Name, r.PID, plain(len(r.Queues), "queue", cpuList(r.Queues))))
		commands = append(commands, d.steering(r)...)
	}
	text := strings.Join(names, ", ")
	if len(commands) == 0 {
		return ok("%s, and steering rules lead each endpoint there", text)
	}
	if d.Rules.Err != nil {
		text += fmt.Sprintf("; the driver tells no steering rules: %v", d.Rules.Err)
	}
	return warn(strings.Join(commands, " && "), "%s; %s not steered there", text, areNot(len(commands)))
}

// areNot begins a statement on flows that are not steered.
func areNot(n int) string {
	if n == 1 {
		return "1 flow is"
	}
	return fmt.Sprintf("%d flows are", n)
}

// steering are the commands that steer a receiver's endpoints to its queues, each to the next
// queue. An endpoint that a rule leads to one of them already needs none.
func (d *Device) steering(r *Receiver) (commands []string) {
	for i, ep := range r.Endpoints {
		addr := ep.Addr().Unmap().WithZone("")
		for _, family := range []struct {
			six  bool
			flow string
		}{{false, "udp4"}, {true, "udp6"}} {
			if addr.IsUnspecified() && addr.Is6() || addr.Is6() == family.six {
				if rule := d.ruleFor(addr, ep.Port(), family.six); rule != nil && slices.Contains(r.Queues, rule.Queue) {
					continue
				}
				to := ""
				if !addr.IsUnspecified() {
					to = fmt.Sprintf(" dst-ip %v", addr)
				}
				commands = append(commands, fmt.Sprintf("ethtool -N %s flow-type %s%s dst-port %d action %d", quote(d.Name), family.flow, to, ep.Port(), r.Queues[i%len(r.Queues)]))
			}
		}
	}
	return commands
}

// ruleFor is the first rule that counts for every packet to an endpoint; nil: none.
func (d *Device) ruleFor(addr netip.Addr, port uint16, six bool) (best *Rule) {
	for i := range d.Rules.Value {
		r := &d.Rules.Value[i]
		if r.IPv6 != six || r.SrcPortMask != 0 || !zero(r.SrcMask) || (port^r.DstPort)&r.DstPortMask != 0 {
			continue
		}
		if !zero(r.DstMask) && (addr.IsUnspecified() || !masked(addr, r.Dst, r.DstMask)) {
			continue
		}
		if best == nil || r.Location < best.Location {
			best = r
		}
	}
	return best
}

// zero reports whether a mask leaves an address open.
func zero(mask netip.Addr) bool { return !mask.IsValid() || mask.IsUnspecified() }
