// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/drivers"
	"github.com/speadx/speadx/xsk"
)

func upCheck(_ *Facts, d *Device) verdict {
	what := fmt.Sprintf("%s, MTU %d, %s", orNone(d.Driver, d.Kind), d.MTU, count(d.RxQueues, "receive queue"))
	switch {
	case !d.Up:
		return fail("ip link set dev "+d.Name+" up", "switched off (%s)", what)
	case !d.Carrier:
		return fail("ethtool "+d.Name, "no carrier: look at the cable, the switch port, or the other end of a veth pair (%s)", what)
	}
	return ok("up, with a carrier (%s)", what)
}

func orNone(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return "none"
}

// what names the driver of a device or its kind. Some have neither, such as lo.
func (d *Device) what() string {
	if d.Driver == "" && d.Kind == "device" {
		return "it"
	}
	return orNone(d.Driver, d.Kind)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func bridgeCheck(_ *Facts, d *Device) verdict {
	switch {
	case d.Master == "":
		return ok("it belongs to no other device")
	case d.MasterKind == "bridge":
		return warn("ip link set dev "+d.Name+" nomaster", "it is a port of the bridge %s", d.Master)
	}
	return ok("it belongs to the %s %s", orNone(d.MasterKind, "device"), d.Master)
}

func driverCheck(f *Facts, d *Device) verdict {
	if !d.Bottom || d.Driver == "" {
		return verdict{}
	}
	known := drivers.ByName(d.Driver)
	if known == nil {
		return ok("%s, which docs/drivers.md does not list", d.Driver)
	}
	const fix = "apt-get install linux-image-amd64"
	older := func(since string) bool {
		v, parsed := parseVersion(since)
		have, known := parseVersion(f.Kernel.Value)
		return parsed && known && f.Kernel.Err == nil && have.less(v)
	}
	settings, _, _ := strings.Cut(strings.ReplaceAll(known.Settings, "`", ""), " (see ") // a reference within docs/drivers.md
	text := fmt.Sprintf("%s. Attaching the program: %s. It needs: %s", d.Driver, known.Resets, settings)
	switch {
	case older(known.Native):
		return warn(fix, "%s has native XDP since Linux %s", d.Driver, known.Native).costs("generic mode is used")
	case older(known.ZeroCopy) && !xsk.ZeroCopyFault(d.Driver):
		return warn(fix, "%s has zero-copy since Linux %s", d.Driver, known.ZeroCopy).costs("native mode is used: the kernel copies each packet once")
	}
	return ok("%s", text)
}

func numaCheck(f *Facts, d *Device) verdict {
	if !d.Bottom || d.Node < 0 {
		return verdict{}
	}
	near := f.NodeCPUs[d.Node]
	switch {
	case f.CPUs.Err != nil:
		return unknown("the processors of this process", f.CPUs.Err)
	case len(near) == 0:
		return unknown(fmt.Sprintf("the processors of NUMA node %d", d.Node), errNothing)
	case !slices.ContainsFunc(near, func(cpu int) bool { return slices.Contains(f.CPUs.Value, cpu) }):
		return warn(fmt.Sprintf("numactl --cpunodebind=%d speadx recv -i %s", d.Node, quote(d.Name))+f.sources(), "the card is on node %d (processors %s), and this process may run on %s", d.Node, cpuList(near), cpuList(f.CPUs.Value))
	}
	return ok("the card is on node %d (processors %s)", d.Node, cpuList(near))
}

func irqCheck(f *Facts, d *Device) verdict {
	switch {
	case !d.Bottom:
		return verdict{}
	case d.IRQs.Err != nil:
		return unknown("the interrupts", d.IRQs.Err)
	case len(d.IRQs.Value) == 0:
		return verdict{}
	}
	near := f.NodeCPUs[d.Node]
	one := map[int]int{} // interrupts that one processor alone handles
	for _, irq := range d.IRQs.Value {
		fix := fmt.Sprintf("echo %s > /proc/irq/%d/smp_affinity_list", cpuList(near), irq.Number)
		if len(near) > 0 && len(irq.CPUs) > 0 && !slices.ContainsFunc(irq.CPUs, func(cpu int) bool { return slices.Contains(near, cpu) }) {
			return warn(fix, "interrupt %d (%s) is handled on %s, and the card is near %s", irq.Number, irq.Name, cpuList(irq.CPUs), cpuList(near))
		}
		if len(irq.CPUs) == 1 {
			one[irq.CPUs[0]]++
		}
	}
	for cpu, n := range one {
		if n == len(d.IRQs.Value) && n > 1 && (f.CPUs.Err != nil || len(f.CPUs.Value) > 1) {
			others := near
			if len(others) == 0 {
				others = f.CPUs.Value
			}
			others = slices.DeleteFunc(slices.Clone(others), func(other int) bool { return other == cpu })
			if len(others) == 0 {
				continue
			}
			return warn(fmt.Sprintf("echo %d > /proc/irq/%d/smp_affinity_list", others[0], d.IRQs.Value[n-1].Number), "all %d receive interrupts are handled on processor %d", n, cpu)
		}
	}
	var list []string
	for _, irq := range d.IRQs.Value {
		list = append(list, fmt.Sprintf("%d on %s", irq.Number, cpuList(irq.CPUs)))
	}
	const most = 8
	if len(list) > most {
		list = append(list[:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	return ok("%s", strings.Join(list, ", "))
}

func irqbalanceCheck(f *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || len(d.IRQs.Value) == 0:
		return verdict{}
	case f.IRQBalance.Err != nil:
		return unknown("running processes", f.IRQBalance.Err)
	case len(f.IRQBalance.Value) > 0:
		return warn("systemctl disable --now irqbalance", "irqbalance runs (process %d)", f.IRQBalance.Value[0])
	}
	return ok("irqbalance does not run")
}

func ringCheck(_ *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || d.RxRingMax == 0:
		return verdict{}
	case d.RxRing < d.RxRingMax:
		return warn(fmt.Sprintf("ethtool -G %s rx %d", d.Name, d.RxRingMax), "%d of %d descriptors", d.RxRing, d.RxRingMax)
	}
	return ok("%d descriptors, which is the most", d.RxRing)
}

// packetBytes is the size of packets by which a card's settings are judged.
const packetBytes = 1024

func coalesceCheck(_ *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || d.RxRing == 0:
		return verdict{}
	case errors.Is(d.Coalesce.Err, errUnsupported):
		return verdict{}
	case d.Coalesce.Err != nil:
		return unknown("the coalescing", d.Coalesce.Err)
	case d.Coalesce.Value.Adaptive:
		return ok("adaptive")
	case d.Speed <= 0:
		return ok("%d µs (the link speed is not known)", d.Coalesce.Value.RxUsecs)
	}
	us := d.Coalesce.Value.RxUsecs
	// Mb/s × µs are bits.
	packets := us * d.Speed / 8 / packetBytes
	if packets > d.RxRing/2 {
		right := d.RxRing / 4 * packetBytes * 8 / d.Speed
		return warn(fmt.Sprintf("ethtool -C %s adaptive-rx off rx-usecs %d", d.Name, max(right, 1)),
			"%d µs: up to %d packets of %d bytes come meanwhile at %d Gb/s, and the ring has %d", us, packets, packetBytes, d.Speed/1000, d.RxRing)
	}
	return ok("%d µs", us)
}

func pauseCheck(_ *Facts, d *Device) verdict {
	switch {
	case !d.Bottom || d.RxRing == 0:
		return verdict{}
	case errors.Is(d.Pause.Err, errUnsupported):
		return verdict{}
	case d.Pause.Err != nil:
		return unknown("the flow control", d.Pause.Err)
	case d.Pause.Value.Rx || d.Pause.Value.Tx:
		return warn("ethtool -A "+d.Name+" autoneg off rx off tx off", "pause frames: obeyed %s, sent %s", onOff(d.Pause.Value.Rx), onOff(d.Pause.Value.Tx))
	}
	return ok("no pause frames")
}

func onOff(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}

func nativeCheck(f *Facts, d *Device) verdict {
	fix := fmt.Sprintf("speadx recv --mode generic -i %s", quote(d.Name)) + f.sources()
	switch {
	case !d.Bottom:
		return verdict{}
	case d.Features == nil:
		return unknown("the driver's XDP features", fmt.Errorf("the kernel tells them since Linux 6.3"))
	case d.Features.Basic && d.Features.Redirect:
		return ok("the driver runs XDP programs and passes packets to sockets")
	case d.Features.Basic:
		return warn(fix, "the driver runs XDP programs, and cannot pass their packets to sockets")
	}
	return warn(fix, "%s has no native XDP", d.what())
}

func lroCheck(_ *Facts, d *Device) verdict {
	if !d.Bottom {
		return verdict{}
	}
	if d.Offloads.Err != nil {
		return unknown("the offloads", d.Offloads.Err)
	}
	lro, hw := d.Offloads.Value["rx-lro"], d.Offloads.Value["rx-gro-hw"]
	// Some drivers switch them off themselves when a program comes.
	known := drivers.ByName(d.Driver)
	refuses := d.Features == nil || !d.Features.Basic || known != nil && strings.Contains(strings.ToLower(known.Settings), "lro")
	switch {
	case (lro || hw) && !refuses:
		return ok("LRO %s, hardware GRO %s; the driver has native XDP all the same", onOff(lro), onOff(hw))
	case lro || hw:
		return warn("ethtool -K "+d.Name+" lro off rx-gro-hw off", "LRO %s, hardware GRO %s", onOff(lro), onOff(hw))
	}
	return ok("both are off")
}

func fragsCheck(f *Facts, d *Device) verdict {
	if !d.Bottom {
		return verdict{}
	}
	if d.MTU <= xsk.OneFrameMTU {
		return ok("an MTU of %d fits one frame", d.MTU)
	}
	if f.Kernel.Err != nil {
		return unknown("the kernel's release", f.Kernel.Err)
	}
	fix := fmt.Sprintf("ip link set dev %s mtu %d", d.Name, xsk.OneFrameMTU)
	if known := drivers.ByName(d.Driver); known != nil && known.Several == "" && known.MTU != "" {
		fix = fmt.Sprintf("ip link set dev %s mtu %s", d.Name, known.MTU)
	}
	switch {
	case !f.atLeast(6, 6):
		return warn(fix, "an MTU of %d needs packets in several frames, which Linux %s does not have", d.MTU, f.Kernel.Value).
			costs("mode auto takes UDP sockets")
	case d.Features == nil:
		return unknown("whether the driver takes packets in several buffers", errNothing)
	case d.Features.Basic && !d.Features.RxSG:
		return warn(fix, "an MTU of %d needs packets in several buffers, which the driver does not take in native mode", d.MTU).
			costs("mode auto takes generic mode")
	}
	return ok("an MTU of %d needs several frames, which driver and kernel have", d.MTU)
}

func zeroCopyCheck(_ *Facts, d *Device) verdict {
	switch {
	case !d.Bottom:
		return verdict{}
	case d.Features == nil:
		return unknown("whether the driver has zero-copy", fmt.Errorf("the kernel tells it since Linux 6.3"))
	case !d.Features.ZeroCopy:
		return ok("%s has no zero-copy: the kernel copies each packet once", d.what())
	case xsk.ZeroCopyFault(d.Driver):
		return ok("the zero-copy of %s has a fault that damages data, so mode auto takes native mode", d.Driver)
	case d.MTU > xsk.OneFrameMTU && d.Features.ZCMaxSegs == 1:
		return warn(fmt.Sprintf("ip link set dev %s mtu %d", d.Name, xsk.OneFrameMTU), "the driver's zero-copy takes packets of one frame, and the MTU is %d", d.MTU)
	}
	return ok("the driver has zero-copy, for packets of up to %s", count(max(d.Features.ZCMaxSegs, 1), "frame"))
}

func programCheck(f *Facts, d *Device) verdict {
	p := d.Program
	switch {
	case p == nil && d.Bottom:
		return ok("no XDP program")
	case p == nil:
		return verdict{}
	case p.speadx():
		return ok("that of a speadx receiver, %s", f.holders(p.Owners))
	case p.Name.Err != nil && len(p.Owners) == 0:
		return unknown(fmt.Sprintf("whose program %d in %s mode is, %s", p.ID, p.Mode, f.holders(nil)), p.Name.Err)
	}
	name := fmt.Sprintf("%q", p.Name.Value)
	if p.Name.Err != nil {
		name = fmt.Sprintf("whose name could not be read (%v)", p.Name.Err)
	}
	flag := map[string]string{"native": "xdpdrv", "generic": "xdpgeneric", "hardware": "xdpoffload"}[p.Mode]
	fix := fmt.Sprintf("ip link set dev %s %s off", d.Name, orNone(flag, "xdp"))
	switch {
	case p.Name.Err == nil && p.Name.Value == "xdp_dispatcher":
		fix = "xdp-loader unload " + d.Name + " --all"
	case len(p.Owners) > 0:
		fix = fmt.Sprintf("kill %d", p.Owners[0].PID)
	}
	return fail(fix, "program %d in %s mode, %s, %s", p.ID, p.Mode, name, f.holders(p.Owners))
}

// holders names processes that hold something.
func (f *Facts) holders(list []Owner) string {
	if len(list) == 0 {
		if f.Hidden > 0 {
			return fmt.Sprintf("held by no process that could be seen: %d of other users hide what they have open", f.Hidden)
		}
		return "held by no process that could be seen"
	}
	var texts []string
	for _, o := range list {
		texts = append(texts, fmt.Sprintf("%s (process %d)", o.Name, o.PID))
	}
	return "held by " + strings.Join(texts, ", ")
}

func groCheck(_ *Facts, d *Device) verdict {
	if !d.Bottom || d.Offloads.Err != nil {
		return verdict{} // lro says that they are unknown
	}
	list, forward := d.Offloads.Value["rx-gro-list"], d.Offloads.Value["rx-udp-gro-forwarding"]
	if list || forward {
		return warn("ethtool -K "+d.Name+" rx-gro-list off rx-udp-gro-forwarding off", "rx-gro-list %s, rx-udp-gro-forwarding %s", onOff(list), onOff(forward))
	}
	return ok("UDP packets are not joined before the program")
}

func vlanCheck(f *Facts, d *Device) verdict {
	if !d.Bottom || d.Offloads.Err != nil {
		return verdict{}
	}
	if !d.Offloads.Value["rx-vlan-hw-parse"] {
		return ok("the card leaves the tag in the frame")
	}
	for i := range f.Traffic {
		t := &f.Traffic[i]
		if len(t.VLANs) > 1 && f.below(t.Interface, d.Name) {
			return warn("ethtool -K "+d.Name+" rxvlan off", "the card takes the tag out of the frame, and packets of %s came from VLANs %s", t.Source, vlans(t.VLANs))
		}
	}
	return ok("the card takes the tag out of the frame, which does not matter: the program looks at addresses")
}

// below reports whether the packets of an interface come in on the device.
func (f *Facts) below(name, device string) bool {
	if name == device {
		return true
	}
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Name == name {
			return slices.Contains(d.Lower, device) || slices.ContainsFunc(d.Lower, func(lower string) bool { return lower != name && f.below(lower, device) })
		}
	}
	return false
}

func checksumCheck(_ *Facts, d *Device) verdict {
	if !d.Bottom || d.Offloads.Err != nil {
		return verdict{}
	}
	if on, there := d.Offloads.Value["rx-checksum"]; there && !on && !d.Fixed["rx-checksum"] {
		return warn("ethtool -K "+d.Name+" rx on", "the card does not check sums")
	}
	return ok("the card checks sums, or has nothing to check")
}

func rpFilterCheck(_ *Facts, d *Device) verdict {
	switch {
	case !d.Named:
		return verdict{}
	case d.RPFilter.Err != nil:
		return unknown("rp_filter", d.RPFilter.Err)
	case d.RPFilter.Value == 1:
		return warn(fmt.Sprintf("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.%s.rp_filter=2", strings.ReplaceAll(d.Name, ".", "/")), "1 (strict)")
	}
	return ok("%d", d.RPFilter.Value)
}

func groupCheck(f *Facts, d *Device) verdict {
	if !d.Named {
		return verdict{}
	}
	var groups, missing []netip.Addr
	for i := range f.Traffic {
		t := &f.Traffic[i]
		if t.Interface != d.Name {
			continue
		}
		for _, ep := range t.Endpoints {
			if a := ep.Addr(); a.IsMulticast() && !slices.Contains(groups, a) {
				groups = append(groups, a)
				if !slices.Contains(d.Groups.Value, a.WithZone("")) {
					missing = append(missing, a)
				}
			}
		}
	}
	switch {
	case d.Groups.Err != nil:
		return unknown("the memberships", d.Groups.Err)
	case len(groups) > 0 && !d.Multicast:
		return fail("ip link set dev "+d.Name+" multicast on", "the interface takes no multicast groups")
	case len(missing) > 0 && f.received(d):
		return fail(fmt.Sprintf("systemctl restart speadx, or start speadx recv -i %s again", d.Name), "speadx receives here, and %v is not joined", missing[0])
	case len(missing) > 0:
		return ok("%s of the interface; %s of the sources not joined yet, which recv does", count(len(d.Groups.Value), "group"), count(len(missing), "group"))
	}
	return ok("%s of the interface", count(len(d.Groups.Value), "group"))
}

// received reports whether a speadx receiver has its program below the interface.
func (f *Facts) received(d *Device) bool {
	return slices.ContainsFunc(f.Devices, func(e Device) bool { return e.Program.speadx() && f.below(d.Name, e.Name) })
}
