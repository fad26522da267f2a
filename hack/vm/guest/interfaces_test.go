// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/xsk"
)

// hardware is the wire of a card whose driver has native XDP and strips VLAN tags.
func hardware(t *testing.T) *wire {
	t.Helper()
	w := wireOf("igb")
	if w == nil {
		t.Fatal("this guest has no igb")
	}
	w.prepare(t, 1500)
	w.setQueues(t)
	return w
}

// overlay is an interface on top of a wire's card, and its counterpart at the sender.
type overlay struct {
	name     string
	own, far netip.Addr
}

// vlan puts VLAN devices on both ends of a wire.
func (w *wire) vlan(t *testing.T, id byte) overlay {
	t.Helper()
	o := overlay{fmt.Sprintf("vlan%d", id), netip.AddrFrom4([4]byte{10, 10, id, 1}), netip.AddrFrom4([4]byte{10, 10, id, 2})}
	up := func(lower string, own, far netip.Addr, mac string) {
		run(t, "ip", "link", "add", "link", lower, "name", o.name, "type", "vlan", "id", fmt.Sprint(id))
		o.up(t, own, far, mac)
	}
	up(w.rx, o.own, o.far, w.Sender)
	t.Cleanup(func() { run(t, "ip", "link", "del", o.name) })
	w.sender.do(t, func() { up(w.tx, o.far, o.own, w.Receiver) })
	t.Cleanup(func() { w.sender.do(t, func() { run(t, "ip", "link", "del", o.name) }) })
	return o
}

func (o overlay) up(t *testing.T, own, far netip.Addr, mac string) {
	t.Helper()
	run(t, "ip", "link", "set", o.name, "up")
	run(t, "ip", "addr", "replace", own.String()+"/24", "dev", o.name)
	run(t, "ip", "neigh", "replace", far.String(), "lladdr", mac, "dev", o.name)
}

// on changes a configuration to receive at an address on interfaces.
func on(addr netip.Addr, interfaces ...string) func(*speadx.Config) {
	return func(c *speadx.Config) {
		c.Streams = []speadx.Stream{{Source: netip.AddrPortFrom(addr, port).String()}}
		c.Interfaces = interfaces
	}
}

// sendTo sends the heaps first+1 to first+n to an address, and a stop heap where they are
// the last.
func (w *wire) sendTo(t *testing.T, addr netip.Addr, iface string, first uint64, n int64, last bool) {
	t.Helper()
	c := send.Config{
		Destinations: []netip.AddrPort{netip.AddrPortFrom(addr, port)}, Interface: iface, MaxPacket: 1400,
		First: first, Heaps: n, NoStop: !last, NoDescriptors: first > 0,
	}
	w.send(t, c)
}

// came checks that the heaps 1 to n came, and that the accounts close.
func (r *reception) came(t *testing.T, n int64) {
	t.Helper()
	if err := r.ended(t); err != nil {
		t.Fatal(err)
	}
	r.checkHeaps(t, n)
	r.settle(t)
}

// A VLAN device stands for the card below it. Its driver leaves the tag in the frame, or
// takes it out: then the program sees none.
func TestVLAN(t *testing.T) {
	w := hardware(t)
	o := w.vlan(t, 5)
	for _, offload := range []string{"on", "off"} {
		for _, mode := range []speadx.Mode{speadx.ModeAuto, speadx.ModeNative, speadx.ModeGeneric} {
			t.Run(fmt.Sprintf("offload %s/%v", offload, mode), func(t *testing.T) {
				run(t, "ethtool", "-K", w.rx, "rxvlan", offload)
				awaitCarrier(t, w.rx)
				r := w.open(t, mode, on(o.own, o.name))
				if in := r.Info(); len(in.Devices) != 1 || in.Devices[0].Name != w.rx {
					t.Errorf("devices %+v", in.Devices)
				}
				w.sendTo(t, o.own, o.name, 0, 10, true)
				r.came(t, 10)
			})
		}
	}
	run(t, "ethtool", "-K", w.rx, "rxvlan", "on")
}

// Two VLANs of one card are two names of one device: one program, and a membership on each.
func TestTwoVLANs(t *testing.T) {
	w := hardware(t)
	a, b := w.vlan(t, 5), w.vlan(t, 6)
	group := netip.MustParseAddr("239.1.2.3")
	r := w.open(t, speadx.ModeNative, on(group, a.name, b.name))
	if in := r.Info(); len(in.Devices) != 1 || in.Devices[0].Name != w.rx || len(in.Sockets) != 0 {
		t.Errorf("devices %+v, sockets %+v", in.Devices, in.Sockets)
	}
	w.sendTo(t, group, a.name, 0, 5, false)
	w.sendTo(t, group, b.name, 5, 5, true)
	r.came(t, 10)
}

// A bond in mode active-backup stands for both of its cards: when one loses its carrier the
// stream goes on over the other.
func TestBond(t *testing.T) {
	a, b := hardware(t), wireOf("virtio-zerocopy")
	b.prepare(t, 1500)
	o := overlay{"bondrx", netip.MustParseAddr("10.11.0.1"), netip.MustParseAddr("10.11.0.2")}
	run(t, "ip", "netns", "exec", string(b.sender), "ip", "link", "set", b.tx, "netns", string(a.sender))
	t.Cleanup(func() {
		run(t, "ip", "netns", "exec", string(a.sender), "ip", "link", "set", b.tx, "netns", string(b.sender))
	})
	bond := func(own, far netip.Addr, mac string, legs ...string) {
		run(t, "ip", "link", "add", o.name, "type", "bond", "mode", "active-backup", "miimon", "50")
		for _, leg := range legs {
			run(t, "ip", "link", "set", leg, "down")
			run(t, "ip", "link", "set", leg, "master", o.name)
		}
		run(t, "ip", "link", "set", o.name, "type", "bond", "primary", legs[0])
		o.up(t, own, far, mac)
		awaitCarrier(t, o.name)
	}
	bond(o.own, o.far, a.Sender, a.rx, b.rx)
	t.Cleanup(func() { run(t, "ip", "link", "del", o.name) })
	a.sender.do(t, func() { bond(o.far, o.own, a.Receiver, a.tx, b.tx) })
	t.Cleanup(func() { a.sender.do(t, func() { run(t, "ip", "link", "del", o.name) }) })

	r := a.open(t, speadx.ModeNative, on(o.own, o.name))
	if in := r.Info(); len(in.Devices) != 2 {
		t.Fatalf("devices %+v", in.Devices)
	}
	await(t, "the first card to be active", func() bool { return activeLeg(t, o.name) == a.rx })
	a.sendTo(t, o.own, "", 0, 5, false)
	await(t, "5 heaps", func() bool { return r.count() == 5 })
	for _, device := range []string{a.Device, a.Device + "s"} { // both ends of the first wire
		setCarrier(t, device, false)
		t.Cleanup(func() { setCarrier(t, device, true) })
	}
	await(t, "the other card to be active", func() bool { return activeLeg(t, o.name) == b.rx })
	a.sender.do(t, func() {
		await(t, "the sender's other card to be active", func() bool { return activeLeg(t, o.name) == b.tx })
	})
	a.sendTo(t, o.own, "", 5, 5, true)
	r.came(t, 10)
	if s := r.Stats(); s.Devices[0].Counts[ledger.DeviceMatched] == 0 || s.Devices[1].Counts[ledger.DeviceMatched] == 0 {
		t.Errorf("packets came over one card only: %d and %d", s.Devices[0].Counts[ledger.DeviceMatched], s.Devices[1].Counts[ledger.DeviceMatched])
	}
}

// activeLeg is the name of the card that a bond uses.
func activeLeg(t *testing.T, name string) string {
	t.Helper()
	bond, ok := linkOf(t, name).(*netlink.Bond)
	if !ok || bond.ActiveSlave < 0 {
		return ""
	}
	leg, err := netlink.LinkByIndex(bond.ActiveSlave)
	if err != nil {
		t.Fatal(err)
	}
	return leg.Attrs().Name
}

// A macvlan has an address of its own on a card. Only generic mode runs there.
func TestMacvlan(t *testing.T) {
	w := hardware(t)
	o := overlay{"macvlan0", netip.MustParseAddr("10.12.0.1"), netip.MustParseAddr("10.12.0.2")}
	const mac = "52:54:00:00:12:01"
	run(t, "ip", "link", "add", "link", w.rx, "name", o.name, "address", mac, "type", "macvlan", "mode", "bridge")
	t.Cleanup(func() { run(t, "ip", "link", "del", o.name) })
	o.up(t, o.own, o.far, w.Sender)
	w.sender.do(t, func() {
		run(t, "ip", "addr", "replace", o.far.String()+"/24", "dev", w.tx)
		run(t, "ip", "neigh", "replace", o.own.String(), "lladdr", mac, "dev", w.tx)
	})
	for _, mode := range []speadx.Mode{speadx.ModeAuto, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			r := w.open(t, mode, on(o.own, o.name))
			if in := r.Info(); mode == speadx.ModeAuto && (len(in.Devices) != 1 || in.Devices[0].Mode != xsk.ModeGeneric) {
				t.Errorf("devices %+v", in.Devices)
			}
			w.sendTo(t, o.own, "", 0, 10, true)
			r.came(t, 10)
		})
	}
}

// The address of a bridge is received on its port, before the bridge, or on the bridge.
func TestBridge(t *testing.T) {
	w := hardware(t)
	o := overlay{"bridge0", netip.MustParseAddr("10.13.0.1"), netip.MustParseAddr("10.13.0.2")}
	run(t, "ip", "link", "add", o.name, "address", w.Receiver, "type", "bridge")
	t.Cleanup(func() { run(t, "ip", "link", "del", o.name) })
	run(t, "ip", "link", "set", w.rx, "master", o.name)
	o.up(t, o.own, o.far, w.Sender)
	w.sender.do(t, func() {
		run(t, "ip", "addr", "replace", o.far.String()+"/24", "dev", w.tx)
		run(t, "ip", "neigh", "replace", o.own.String(), "lladdr", w.Receiver, "dev", w.tx)
	})
	await(t, "the bridge to forward", func() bool {
		state, err := readFile("/sys/class/net/" + w.rx + "/brport/state")
		if err != nil {
			t.Fatal(err)
		}
		return state == "3"
	})
	for _, tt := range []struct {
		name string
		mode speadx.Mode
	}{{w.rx, speadx.ModeNative}, {w.rx, speadx.ModeGeneric}, {o.name, speadx.ModeAuto}, {o.name, speadx.ModeUDP}} {
		t.Run(fmt.Sprintf("%s/%v", tt.name, tt.mode), func(t *testing.T) {
			r := w.open(t, tt.mode, on(o.own, tt.name))
			w.sendTo(t, o.own, "", 0, 10, true)
			r.came(t, 10)
		})
	}
}

// A group is joined on the wire, by IGMP or MLD, and left at the end. What is sent to it
// arrives, as does IPv6.
func TestGroups(t *testing.T) {
	w := hardware(t)
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		for _, tt := range []struct {
			name  string
			group netip.Addr
			proto byte // of the report's packet, behind the hop-by-hop header of IPv6
		}{
			{"IGMP", netip.MustParseAddr("239.9.8.7"), unix.IPPROTO_IGMP},
			{"MLD", netip.MustParseAddr("ff15::9:8:7"), unix.IPPROTO_ICMPV6},
			{"IPv6", w.rx6, 0},
		} {
			t.Run(fmt.Sprintf("%v/%s", mode, tt.name), func(t *testing.T) {
				var wiretap int
				w.sender.do(t, func() {
					run(t, "ip", "link", "set", w.tx, "promisc", "on") // the card drops groups that it has not joined
					wiretap = openWiretap(t, w.tx)
				})
				r := w.open(t, mode, on(tt.group, w.rx))
				if tt.proto != 0 {
					awaitReport(t, wiretap, tt.group, joined)
				}
				w.sendTo(t, tt.group, w.tx, 0, 10, true)
				r.came(t, 10)
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				// Detaching the program resets some cards, and the report may be lost with the link.
				if tt.proto != 0 && mode != speadx.ModeNative {
					awaitReport(t, wiretap, tt.group, left)
				}
			})
		}
	}
}

// openWiretap receives all frames that come in on an interface, with a timeout for each
// read. What the interface sends is left out: a stream would fill the socket's buffer, and
// the report behind it would be dropped.
func openWiretap(t *testing.T, name string) int {
	t.Helper()
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: linkOf(t, name).Attrs().Index}); err != nil {
		t.Fatal(err)
	}
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	return fd
}

// Types of records in membership reports (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
const (
	left   = 3 // CHANGE_TO_INCLUDE_MODE, of no sources
	joined = 4 // CHANGE_TO_EXCLUDE_MODE
)

// awaitReport waits for a membership report of a group: IGMPv3 (RFC 3376, 4.2) or MLDv2
// (RFC 3810, 5.2) with a record of that type.
func awaitReport(t *testing.T, fd int, group netip.Addr, record byte) {
	t.Helper()
	frame := make([]byte, 2048)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, _, err := unix.Recvfrom(fd, frame, 0)
		if err != nil || n < 14 {
			continue
		}
		if report(frame[:n], group, record) {
			return
		}
	}
	t.Fatalf("no report of %v with a record of type %d on the wire", group, record)
}

func report(frame []byte, group netip.Addr, record byte) bool {
	want := append([]byte{record, 0, 0, 0}, group.AsSlice()...) // no auxiliary data, no sources
	const v3, mldv2 = 0x22, 143
	kind, body := uint16(frame[12])<<8|uint16(frame[13]), frame[14:]
	switch {
	case group.Is4() && kind == unix.ETH_P_IP && len(body) > 24 && body[9] == unix.IPPROTO_IGMP:
		body = body[int(body[0]&0xf)*4:]
		return len(body) > 8 && body[0] == v3 && bytes.Contains(body[8:], want)
	case group.Is6() && kind == unix.ETH_P_IPV6 && len(body) > 56 && body[6] == 0 && body[40] == unix.IPPROTO_ICMPV6:
		body = body[48:] // behind the router alert
		return body[0] == mldv2 && bytes.Contains(body[8:], want)
	}
	return false
}

// Busy polling drives the driver from the receiving thread, where the queue has a NAPI id;
// elsewhere it is refused, as it would do nothing.
func TestBusyPolling(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.mode == speadx.ModeUDP {
			return
		}
		before := netstat(t, "BusyPollRxPackets")
		r, err := w.tryOpen(t, w.mode, func(c *speadx.Config) { c.Wait = speadx.WaitBusy })
		if !w.at.BusyPolling(w.mode.String()) {
			if !errors.Is(err, xsk.ErrNoBusyPoll) {
				t.Errorf("the matrix says that there is no busy polling, and Open: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if napi := r.Info().Devices[0].Queues[0].NAPI; napi == 0 {
			t.Error("the queue has no NAPI id")
		}
		w.last(t, r, 0, 5)
		// In an emulated machine the card's interrupt is mostly quicker, so the number may be 0.
		t.Logf("%d packets by busy polling", netstat(t, "BusyPollRxPackets")-before)
	})
}
