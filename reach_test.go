// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// spoken are the packets of a heap with one item.
func spoken(t *testing.T, cnt uint64, size int) (packets [][]byte) {
	t.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour(40), MaxPacket: 1024})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(cnt, []spead.OutItem{{ID: 0x1234, Data: make([]byte, size)}}); err != nil {
		t.Fatal(err)
	}
	for {
		b, ok := p.AppendNext(nil)
		if !ok {
			return packets
		}
		packets = append(packets, b)
	}
}

// ipUDP is an IPv4 packet with a UDP datagram. The kernel takes it, as it has checksums
// where it needs some.
func ipUDP(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(b[20:], from.Port())
	binary.BigEndian.PutUint16(b[22:], to.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	return append(b, payload...)
}

// tunnel makes a tun device that is up and has an address, and gives the file of its other
// end.
func tunnel(t *testing.T, name string, prefix netip.Prefix) *os.File {
	t.Helper()
	link := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TUN,
		Flags: netlink.TUNTAP_NO_PI, Queues: 1, NonPersist: true,
	}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Fds[0].Close() })
	made, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(made); err != nil {
		t.Fatal(err)
	}
	addAddress(t, name, prefix)
	return link.Fds[0]
}

func addAddress(t *testing.T, name string, prefix netip.Prefix) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		t.Fatal(err)
	}
}

// bridge makes a bridge with the interface as a port.
func bridge(t *testing.T, name, port string, up bool) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	br, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(port)
	if err == nil {
		err = netlink.LinkSetMaster(link, br)
	}
	if err == nil && up {
		err = netlink.LinkSetUp(br)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func linkIndex(t *testing.T, name string) int {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Index
}

func codesOf(list []ledger.Diagnosis) (out []ledger.Code) {
	for _, d := range list {
		out = append(out, d.Code)
	}
	return out
}

// TestReach: of each endpoint it is known whether its packets can come in where they are
// looked for. What cannot be received is refused or received by a socket; what may be is
// warned of.
func TestReach(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	tunnel(t, "tun9", netip.MustParsePrefix("10.99.0.2/24"))
	addAddress(t, "lo", netip.MustParsePrefix("10.9.9.9/32"))
	addAddress(t, n.B.Name, netip.MustParsePrefix("10.88.0.2/24"))
	own := netip.AddrPortFrom(n.B.Addr4, 7148).String()
	const foreign, service, inTunnel, group = "10.1.2.3:7148", "10.9.9.9:7148", "10.99.0.2:7148", "239.1.2.3:7148"
	for _, tt := range []struct {
		name    string
		source  string
		on      []string
		mode    Mode
		queues  []int
		want    string
		found   []ledger.Code
		refused ledger.Code
	}{
		{name: "own", source: own, want: "stream s: by sx-b\ndevice sx-b: " + own + " of 0\n"},
		{name: "own of lo", source: "127.0.0.2:7148", want: "stream s: by lo\ndevice lo: 127.0.0.2:7148 of 0\n"},
		{name: "broadcast", source: "10.77.0.255:7148", want: "stream s: by sx-b\ndevice sx-b: 10.77.0.255:7148 of 0\n"},
		{name: "foreign", source: foreign, refused: ledger.ForeignAddress},
		{name: "foreign, sockets", source: foreign, mode: ModeUDP, refused: ledger.ForeignAddress},
		{
			name: "foreign on a mirror port", source: foreign, on: []string{"sx-b"}, found: []ledger.Code{ledger.ForeignAddress},
			want: "stream s: by sx-b\ndevice sx-b: " + foreign + " of 0\n",
		},
		{name: "service address", source: service, want: "stream s: udp " + service + " on 0\n", found: []ledger.Code{ledger.InwardAddress}},
		{name: "service address, sockets", source: service, mode: ModeUDP, want: "stream s: udp " + service + " on 0\n"},
		{name: "service address, native", source: service, mode: ModeNative, refused: ledger.InwardAddress},
		{name: "service address, queues", source: service, queues: []int{0}, refused: ledger.InwardAddress},
		{name: "service address on an interface", source: service, on: []string{"sx-b"}, want: "stream s: by sx-b\ndevice sx-b: " + service + " of 0\n"},
		{
			name: "of another interface", source: inTunnel, on: []string{"sx-b"}, found: []ledger.Code{ledger.AddressElsewhere},
			want: "stream s: by sx-b\ndevice sx-b: " + inTunnel + " of 0\n",
		},
		{name: "tunnel", source: inTunnel, want: "stream s: udp " + inTunnel + " on 0\n", found: []ledger.Code{ledger.NotEthernet}},
		{name: "tunnel, any address", source: ":7148", on: []string{"tun9"}, want: fmt.Sprintf("stream s: udp [::]:7148 on %d\n", linkIndex(t, "tun9")), found: []ledger.Code{ledger.NotEthernet}},
		{name: "tunnel, generic", source: inTunnel, mode: ModeGeneric, refused: ledger.NotEthernet},
		{name: "tunnel, queues", source: inTunnel, queues: []int{0}, refused: ledger.NotEthernet},
		{
			name: "tunnel and Ethernet", source: ":7148", on: []string{"tun9", "sx-b"}, found: []ledger.Code{ledger.NotEthernet},
			want: fmt.Sprintf("stream s: udp [::]:7148 on %d by sx-b\ndevice sx-b: [::]:7148 of 0\n", linkIndex(t, "tun9")),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p *plan
			var err error
			c := Config{Streams: []Stream{{Name: "s", Source: tt.source}}, Interfaces: tt.on, Mode: tt.mode, Queues: tt.queues}
			n.Do(func() { p, err = makePlan(&c, thisMachine) })
			refused := (*DiagnosisError)(nil)
			if errors.As(err, &refused) {
				if refused.Diagnosis.Code != tt.refused {
					t.Errorf("refused by %v, want %q", err, tt.refused)
				}
				return
			}
			if err != nil || tt.refused != "" {
				t.Fatalf("error %v, want %q", err, tt.refused)
			}
			if got := planned(p); got != tt.want {
				t.Errorf("planned\n%swant\n%s", got, tt.want)
			}
			if got := codesOf(p.found); !slices.Equal(got, tt.found) {
				t.Errorf("found %v, want %v", got, tt.found)
			}
		})
	}

	t.Run("bridge", func(t *testing.T) {
		n.Do(func() {
			bridge(t, "br9", n.B.Name, false)
			br, err := netlink.LinkByName("br9")
			if err != nil {
				t.Fatal(err)
			}
			c := Config{Streams: []Stream{{Name: "s", Source: group}}, Interfaces: []string{n.B.Name}}
			for _, up := range []bool{false, true} {
				want := []ledger.Code{ledger.GroupUnanswered}
				if up {
					want = nil
					if err := netlink.LinkSetUp(br); err != nil {
						t.Fatal(err)
					}
				}
				p, err := makePlan(&c, thisMachine)
				if err != nil {
					t.Fatal(err)
				}
				if got := codesOf(p.found); !slices.Equal(got, want) {
					t.Errorf("up %t: found %v, want %v", up, got, want)
				}
				if len(p.joins) != 2 || p.joins[0].ifindex != n.B.Index || p.joins[1].ifindex != br.Attrs().Index {
					t.Errorf("up %t: joins %v", up, p.joins)
				}
			}
		})
	})
}

// listenOn opens a receiver inside the wire's end, which is closed with the test.
func listenOn(t *testing.T, n *testnet.Net, c Config, machine resolver) *Receiver {
	t.Helper()
	c.HeapSize, c.Hugepages = 1<<16, pool.PagesOff
	var r *Receiver
	var err error
	n.Do(func() { r, err = openOn(t.Context(), c, machine) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// nextHeap takes a heap and tells its stream and count.
func nextHeap(t *testing.T, r *Receiver) (stream string, cnt uint64) {
	t.Helper()
	h, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	return h.Stream(), h.Cnt()
}

func diagnosed(r *Receiver, code ledger.Code) *ledger.Diagnosis {
	for _, d := range r.Diagnoses() {
		if d.Code == code {
			return &d
		}
	}
	return nil
}

// TestReceiveFromTunnel: the packets of a device without Ethernet headers arrive.
func TestReceiveFromTunnel(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	far := tunnel(t, "tun9", netip.MustParsePrefix("10.99.0.2/24"))
	from, to := netip.MustParseAddrPort("10.99.0.1:4000"), netip.MustParseAddrPort("10.99.0.2:7148")
	r := listenOn(t, n, Config{Streams: []Stream{{Source: to.String()}}, Interfaces: []string{"tun9"}}, thisMachine)
	for _, p := range spoken(t, 5, 4000) {
		if _, err := far.Write(ipUDP(from, to, p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, cnt := nextHeap(t, r); cnt != 5 {
		t.Errorf("heap %d", cnt)
	}
	if d := diagnosed(r, ledger.NotEthernet); d == nil || d.Device != "tun9" || d.Other != "none" {
		t.Errorf("not told why sockets: %v", d)
	}
}

// TestBridgeAnswersQueries: a group that is received on a port of a bridge is still
// reported when a switch asks.
func TestBridgeAnswersQueries(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	n.Do(func() { bridge(t, "br9", n.B.Name, true) })
	group := netip.MustParseAddr("239.1.2.3")
	listenOn(t, n, Config{
		Streams: []Stream{{Source: netip.AddrPortFrom(group, 7148).String()}}, Interfaces: []string{n.B.Name}, Mode: ModeNative,
	}, thisMachine)
	var fd int
	if err := n.A.Do(func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: n.A.Index, Protocol: htons(unix.ETH_P_ALL)}); err != nil {
		t.Fatal(err)
	}
	second := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second); err != nil {
		t.Fatal(err)
	}
	// What the join itself sent has come by the time that a query for another one is asked.
	// So only what follows a whole second of silence and a query counts.
	buf := make([]byte, 2048)
	report := func() bool {
		k, _, err := unix.Recvfrom(fd, buf, 0)
		// IGMPv2: a report is sent to its group, and names it.
		return err == nil && k >= 46 && buf[12] == 8 && buf[13] == 0 && buf[23] == 2 && buf[38] == 0x16
	}
	for {
		if k, _, err := unix.Recvfrom(fd, buf, 0); err != nil || k == 0 {
			break
		}
	}
	query := igmpQuery(n.A.Addr4)
	for deadline := time.Now().Add(20 * time.Second); ; {
		n.Inject(t, [][]byte{query})
		if report() && netip.AddrFrom4([4]byte(buf[42:46])) == group {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no answer to the queries")
		}
	}
}

// TestSocketOfBridgePort: a socket hears a group on a bridge port, whose packets are those of the
// bridge for IP.
func TestSocketOfBridgePort(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	n.Do(func() { bridge(t, "br9", n.B.Name, true) })
	to := netip.MustParseAddrPort("239.1.2.3:7148")
	r := listenOn(t, n, Config{Streams: []Stream{{Source: to.String()}}, Interfaces: []string{n.B.Name}, Mode: ModeUDP}, thisMachine)
	n.Do(func() { sysctl(t, "ipv4/conf/br9/rp_filter", "0"); sysctl(t, "ipv4/conf/all/rp_filter", "0") })
	for _, p := range spoken(t, 5, 3000) {
		n.Inject(t, [][]byte{slices.Concat([]byte{1, 0, 0x5e, 1, 2, 3}, n.A.MAC, []byte{8, 0}, ipUDP(netip.AddrPortFrom(n.A.Addr4, 4000), to, p))})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// igmpQuery is a general query of version 2 that asks for answers within 0.1 s.
func igmpQuery(from netip.Addr) []byte {
	b := []byte{1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0}
	ip := make([]byte, 32)
	ip[0], ip[3], ip[8], ip[9] = 0x46, 32, 1, 2
	src := from.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], []byte{224, 0, 0, 1, 0x94, 4, 0, 0, 0x11, 1})
	sum := func(at, from, to int) {
		s := uint32(0)
		for i := from; i < to; i += 2 {
			s += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
		binary.BigEndian.PutUint16(ip[at:], ^uint16(s))
	}
	sum(10, 0, 24)
	sum(26, 24, 32)
	return append(b, ip...)
}

// TestSocketsShareAPort: a socket of any address and one of a group have one port, as
// endpoints of AF_XDP can. Each packet comes to one of them, and no other process gets in.
func TestSocketsShareAPort(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	group, own := netip.MustParseAddrPort("239.1.2.3:7148"), netip.AddrPortFrom(n.B.Addr4, 7148)
	r := listenOn(t, n, Config{
		Streams: []Stream{{Name: "any", Source: ":7148"}, {Name: "group", Source: group.String()}, {Name: "own", Source: own.String()}},
		Mode:    ModeUDP,
	}, thisMachine)
	from := netip.AddrPortFrom(n.A.Addr4, 4000)
	addAddress(t, n.B.Name, netip.MustParsePrefix("10.77.0.3/24"))
	mac := func(to netip.Addr) []byte {
		if to.IsMulticast() {
			return []byte{1, 0, 0x5e, 1, 2, 3}
		}
		return n.B.MAC
	}
	for i, tt := range []struct {
		to     netip.AddrPort
		stream string
	}{
		{group, "group"},
		{own, "own"},
		{netip.MustParseAddrPort("10.77.0.3:7148"), "any"},
	} {
		for _, p := range spoken(t, uint64(i+1), 3000) {
			frame := slices.Concat(mac(tt.to.Addr()), n.A.MAC, []byte{8, 0}, ipUDP(from, tt.to, p))
			n.Inject(t, [][]byte{frame})
		}
		if stream, cnt := nextHeap(t, r); stream != tt.stream || cnt != uint64(i+1) {
			t.Errorf("heap %d of stream %s, want %d of %s", cnt, stream, i+1, tt.stream)
		}
	}
	if s := r.Stats(); s.Fates[ledger.Duplicate] != 0 {
		t.Errorf("packets came twice: %v", s.Fates)
	}
	n.Do(func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 7148, Addr: own.Addr().As4()}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("another socket can take the port: %v", err)
		}
	})
}

// tag puts a VLAN tag into a frame.
func tag(frame []byte, id uint16) []byte {
	return slices.Concat(frame[:12], binary.BigEndian.AppendUint16([]byte{0x81, 0}, 0x6000|id), frame[12:])
}

// TestReceiveOneVLAN: an interface of a VLAN receives that one, and the device only what has no
// tag, unless all are asked for. Where tags are taken off, that is said.
func TestReceiveOneVLAN(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     string
		all    bool
		hidden bool
		want   []uint64 // heaps; their count is the VLAN, 1 of none
		found  []ledger.Code
	}{
		{name: "a VLAN", on: "sx-b.7", want: []uint64{7}},
		{name: "the device", on: "sx-b", want: []uint64{1}},
		{name: "all", on: "sx-b", all: true, want: []uint64{1, 7, 8}},
		{name: "all by a VLAN", on: "sx-b.7", all: true, want: []uint64{1, 7, 8}},
		{name: "tags are hidden", on: "sx-b.7", hidden: true, want: []uint64{1, 7}, found: []ledger.Code{ledger.VLANTagsHidden}},
	} {
		for _, mode := range []Mode{ModeNative, ModeGeneric} {
			t.Run(tt.name+"/"+mode.String(), func(t *testing.T) {
				n := testnet.New(t, testnet.Options{})
				machine := thisMachine
				machine.lookup = func(string) (*netif.Interface, error) {
					i, err := netif.Lookup("sx-b")
					if err == nil {
						i.HiddenTags = tt.hidden
					}
					return i, err
				}
				machine.lowers = func(string) ([]string, error) { return []string{"sx-b"}, nil }
				machine.masters = func(string) ([]*netif.Interface, error) { return nil, nil }
				machine.over = func(string, string) (bool, error) { return true, nil }
				machine.vlans = func(name string) (v netif.VLANs, err error) {
					if name == "sx-b.7" || tt.on == "sx-b.7" { // the address is there
						v.Tags = []int{7}
					}
					return v, nil
				}
				to := netip.AddrPortFrom(n.B.Addr4, 7148)
				r := listenOn(t, n, Config{
					Streams: []Stream{{Source: to.String()}}, Interfaces: []string{tt.on}, Mode: mode, AllVLANs: tt.all, IgnoreStop: true,
				}, machine)
				for _, vlan := range []uint64{8, 1, 7} {
					for _, p := range spoken(t, vlan, 3000) {
						frame := slices.Concat(n.B.MAC, n.A.MAC, []byte{8, 0}, ipUDP(netip.AddrPortFrom(n.A.Addr4, 4000), to, p))
						if vlan > 1 {
							frame = tag(frame, uint16(vlan))
						}
						n.Inject(t, [][]byte{frame})
					}
				}
				var got []uint64
				for range tt.want {
					_, cnt := nextHeap(t, r)
					got = append(got, cnt)
				}
				r.Stop()
				if h, err := r.Next(t.Context()); err == nil {
					t.Errorf("heap %d too", h.Cnt())
					h.Release()
				}
				slices.Sort(got)
				if !slices.Equal(got, tt.want) {
					t.Errorf("heaps %d, want %d", got, tt.want)
				}
				if found := codesOf(r.Diagnoses()); !slices.Equal(found, tt.found) {
					t.Errorf("found %v, want %v", found, tt.found)
				}
			})
		}
	}
}
