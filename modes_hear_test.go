// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/testnet"
)

// heardFrame is a SPEAD packet that one mode may hear and another one may not.
type heardFrame struct {
	name     string
	xdp, udp bool // whether the mode hears it

	from, to   string // "": the sender's and the receiver's address, of IPv4
	port       uint16 // 0: that of any address
	mac        string // "": where packets to that address go
	second     bool   // it comes in on another interface
	tag        int    // VLAN; -1: without a tag
	checksum   int    // of UDP: 0 is right, or one of the following
	ipChecksum bool   // that of IPv4 is wrong
	fragments  bool
	options    bool // of IPv4, or a header of hop-by-hop options
}

const (
	noChecksum    = 1
	wrongChecksum = 2
)

const (
	anyPort   = 7148 // at any address
	ownPort   = 7149 // at the receiver's address
	groupPort = 7150 // of a group
	otherPort = 7151 // of a socket of the test
)

func onesSum(sum uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return sum
}

// frames are those of a heap of one packet with that count.
func (f *heardFrame) frames(n *testnet.Net, second net.HardwareAddr, cnt uint64) (out [][]byte) {
	from, to := n.A.Addr4, n.B.Addr4
	if f.from != "" {
		from = netip.MustParseAddr(f.from)
	}
	if f.to != "" {
		to = netip.MustParseAddr(f.to)
	}
	port := f.port
	if port == 0 {
		port = anyPort
	}
	payload := []byte{0x53, 4, 2, 6, 0, 0, 0, 4}
	for _, it := range [][2]uint64{{1, cnt}, {2, 8}, {3, 0}, {4, 8}} {
		payload = binary.BigEndian.AppendUint64(payload, 1<<63|it[0]<<48|it[1])
	}
	payload = append(payload, make([]byte, 8)...)
	udp := binary.BigEndian.AppendUint16([]byte{0x12, 0x34}, port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(payload)))
	udp = append(append(udp, 0, 0), payload...)
	sum := ^uint16(onesSum(onesSum(onesSum(uint32(17+len(udp)), from.AsSlice()), to.AsSlice()), udp))
	switch f.checksum {
	case wrongChecksum:
		sum ^= 1
	case noChecksum:
		sum = 0
	}
	binary.BigEndian.PutUint16(udp[6:], sum)

	mac := n.B.MAC
	switch {
	case f.mac != "":
		mac, _ = net.ParseMAC(f.mac)
	case f.second && !to.IsMulticast():
		mac = second
	case to.IsMulticast():
		a := to.As16()
		mac = net.HardwareAddr{1, 0, 0x5e, a[13] & 0x7f, a[14], a[15]}
	}
	link := append(slices.Clone(mac), 2, 0, 0, 0, 0, 1)
	if f.tag >= 0 {
		link = binary.BigEndian.AppendUint16(append(link, 0x81, 0), uint16(f.tag))
	}
	type part struct {
		data   []byte
		offset int
		more   bool
	}
	parts := []part{{data: udp}}
	if f.fragments {
		parts = []part{{udp[:24], 0, true}, {udp[24:], 24, false}}
	}
	for _, p := range parts {
		if to.Is4() {
			words, word := byte(5), uint16(p.offset/8)
			var options []byte
			if f.options {
				words, options = 6, []byte{1, 1, 1, 1}
			}
			if p.more {
				word |= 0x2000
			}
			ip := []byte{0x40 | words, 0, 0, 0, 0, byte(cnt), 0, 0, 9, 17, 0, 0}
			binary.BigEndian.PutUint16(ip[2:], uint16(int(words)*4+len(p.data)))
			binary.BigEndian.PutUint16(ip[6:], word)
			ip = append(append(append(ip, from.AsSlice()...), to.AsSlice()...), options...)
			sum := ^uint16(onesSum(0, ip))
			if f.ipChecksum {
				sum ^= 1
			}
			binary.BigEndian.PutUint16(ip[10:], sum)
			out = append(out, slices.Concat(link, []byte{8, 0}, ip, p.data))
			continue
		}
		next, extra := byte(17), []byte(nil)
		switch {
		case f.options:
			next, extra = 0, []byte{17, 0, 1, 4, 0, 0, 0, 0}
		case f.fragments:
			word := uint16(p.offset)
			if p.more {
				word |= 1
			}
			next, extra = 44, []byte{17, 0, byte(word >> 8), byte(word), 0, 0, 0, byte(cnt)}
		}
		ip := []byte{0x60, 0, 0, 0, 0, byte(len(extra) + len(p.data)), next, 9}
		out = append(out, slices.Concat(link, []byte{0x86, 0xdd}, ip, from.AsSlice(), to.AsSlice(), extra, p.data))
	}
	return out
}

// TestModesHear: which packets AF_XDP and UDP sockets hear. docs/limits.md lists the differences.
func TestModesHear(t *testing.T) {
	const v6 = "fd77::2"
	plain := []heardFrame{
		{name: "to our address", xdp: true, udp: true},
		{name: "to the address of an endpoint", port: ownPort, xdp: true, udp: true},
		{name: "to a group", to: "239.1.2.3", port: groupPort, xdp: true, udp: true},
		{name: "IPv6", from: "fd77::1", to: v6, xdp: true, udp: true},
		{name: "without a checksum", checksum: noChecksum, xdp: true, udp: true},
		{name: "IPv6 without a checksum", from: "fd77::1", to: v6, checksum: noChecksum, xdp: true, udp: true},
		{name: "wrong checksum", checksum: wrongChecksum, xdp: true},
		{name: "IPv6, wrong checksum", from: "fd77::1", to: v6, checksum: wrongChecksum, xdp: true},
		{name: "wrong checksum of IPv4", ipChecksum: true, xdp: true},
		{name: "wrong MAC address", mac: "02:00:00:00:00:77", xdp: true},
		{name: "broadcast", to: "255.255.255.255", mac: "ff:ff:ff:ff:ff:ff", xdp: true, udp: true},
		{name: "broadcast to the network", to: "10.77.0.255", mac: "ff:ff:ff:ff:ff:ff", xdp: true, udp: true},
		{name: "group that was not joined", to: "239.9.9.9", xdp: true},
		{name: "address of another machine", to: "10.77.0.9", xdp: true},
		{name: "source that cannot be", from: "127.0.0.1", xdp: true},
		{name: "options of IPv4", options: true, xdp: true, udp: true},
		{name: "options of IPv6", from: "fd77::1", to: v6, options: true, udp: true},
		{name: "fragments", fragments: true, udp: true},
		{name: "fragments of IPv6", from: "fd77::1", to: v6, fragments: true, udp: true},
		{name: "VLAN of another interface", tag: 7},
		{name: "priority tag", tag: 0, xdp: true, udp: true},
		{name: "another interface", second: true},
		{name: "another interface, to the address of an endpoint", port: ownPort, second: true},
		{name: "another interface, to a group", to: "239.1.2.3", port: groupPort, second: true},
	}
	for i := range plain {
		if f := &plain[i]; f.name != "priority tag" && f.tag == 0 {
			f.tag = -1
		}
	}
	elsewhere := heardFrame{from: "10.99.0.1", tag: -1, xdp: true}
	loose := elsewhere
	elsewhere.name, loose.name, loose.udp = "rp_filter 1, route to the sender elsewhere", "rp_filter 2, route to the sender elsewhere", true
	closed := heardFrame{name: "firewall", tag: -1, xdp: true}
	marker := heardFrame{port: otherPort, tag: -1}

	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			secondWire(t, n)
			var mac net.HardwareAddr
			var own *net.UDPConn
			var counters *netif.ProtocolCounters
			filter := func(value string) {
				t.Helper()
				if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+n.B.Name+"/rp_filter", []byte(value), 0); err != nil {
					t.Fatal(err)
				}
			}
			n.Do(func() {
				l := linkByName(t, secondB)
				mac = l.Attrs().HardwareAddr
				attrs := netlink.NewLinkAttrs()
				attrs.Name, attrs.ParentIndex = "sx-b.7", n.B.Index
				vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: 7}
				lo := linkByName(t, "lo").Attrs().Index
				_, to, _ := net.ParseCIDR("10.99.0.0/16")
				var err error
				own, err = net.ListenUDP("udp4", &net.UDPAddr{Port: otherPort})
				if err == nil {
					counters, err = netif.OpenProtocols()
				}
				for _, step := range []func() error{
					func() error {
						err := netlink.LinkAdd(vlan)
						if errors.Is(err, unix.EOPNOTSUPP) {
							return nil // a kernel without VLANs hears them on no interface
						}
						return errors.Join(err, netlink.LinkSetUp(vlan))
					},
					func() error {
						return netlink.RouteAdd(&netlink.Route{LinkIndex: lo, Scope: netlink.SCOPE_LINK, Dst: to})
					},
				} {
					if err == nil {
						err = step()
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"all", secondB, n.B.Name} {
					if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte("0"), 0); err != nil {
						t.Fatal(err)
					}
				}
			})
			defer own.Close()
			defer counters.Close()
			c := one(n)
			c.Streams = []speadx.Stream{{Source: ":7148"}, {Source: endpoint(n, ownPort)}, {Source: "239.1.2.3:7150"}}
			c.Mode, c.HeapSize = mode, 64<<10
			if mode == speadx.ModeUDP {
				c.Frames = 0
			}
			r := open(t, n, c)

			var all []heardFrame
			send := func(list ...heardFrame) {
				t.Helper()
				for _, f := range list {
					all = append(all, f)
					on, last := n.A.Name, marker
					if last.second = f.second; f.second {
						on = secondA
					}
					injectOn(t, n, on, append(f.frames(n, mac, uint64(len(all))), last.frames(n, mac, 1000)...))
				}
			}
			// The markers come behind the frames on the same way: then those were handled.
			settled := func(markers int) {
				t.Helper()
				if err := own.SetReadDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				for range markers {
					if _, err := own.Read(make([]byte, 2000)); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(plain...)
			settled(len(plain))
			n.Do(func() { filter("1") })
			send(elsewhere)
			settled(1)
			n.Do(func() { filter("2") })
			send(loose)
			settled(1)
			var open func()
			n.Do(func() { open = testnet.DropInput(t) })
			before, err := counters.Read()
			if err != nil {
				t.Fatal(err)
			}
			send(closed)
			want := map[bool]uint64{true: 2, false: 1}[mode == speadx.ModeUDP] // the marker, and the frame
			for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				now, err := counters.Read()
				if err != nil || time.Now().After(deadline) {
					t.Fatal("the firewall's packets do not come", err)
				}
				if now.Sub(before).IPReceived >= want {
					break
				}
			}
			open()

			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r.Stop()
			heard := map[uint64]bool{}
			for h, err := range r.Heaps(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				heard[h.Cnt()] = true
				h.Release()
			}
			for i, f := range all {
				want := f.xdp
				if mode == speadx.ModeUDP {
					want = f.udp
				}
				if got := heard[uint64(i+1)]; got != want {
					t.Errorf("%s: heard %t, want %t", f.name, got, want)
				}
			}
		})
	}
}

// injectOn sends frames out of an interface at the sender's end, from one processor: so they are
// handled in this order.
func injectOn(t *testing.T, n *testnet.Net, name string, frames [][]byte) {
	t.Helper()
	if err := n.A.Do(func() {
		var was, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &was); err != nil {
			t.Fatal(err)
		}
		for i := range 1024 {
			if was.IsSet(i) {
				one.Set(i)
				break
			}
		}
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.SchedSetaffinity(0, &was) }()
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: linkByName(t, name).Attrs().Index}
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, to); err != nil {
				t.Fatal(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
