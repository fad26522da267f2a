// SPDX-License-Identifier: Apache-2.0

package blast

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/spead"
)

// enum xdp_action, include/uapi/linux/bpf.h
const (
	xdpDrop     = 1
	xdpRedirect = 4
)

// with overwrites bytes of a frame.
func with(frame []byte, at int, bytes ...byte) []byte {
	copy(frame[at:], bytes)
	return frame
}

// blastHeap describes the heaps of a test.
type blastHeap struct {
	flavour spead.Flavour
	size    int // bytes of a heap
	payload int // bytes of a packet
	to      []netip.AddrPort
}

// frames makes the templates, and says how many packets a heap has.
func (h blastHeap) frames(tb testing.TB) (all []Frames, packets int) {
	tb.Helper()
	if h.flavour == 0 {
		h.flavour = spead.Flavour48
	}
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: h.flavour, MaxPacket: 48 + h.payload, RepeatPointers: true})
	if err != nil {
		tb.Fatal(err)
	}
	for _, to := range h.to {
		data := make([]byte, h.size)
		for i := range data {
			data[i] = byte(i % h.payload) // all packets have the same payload
		}
		if err := p.Start(77, []spead.OutItem{{ID: 0x1000, Data: data}}); err != nil {
			tb.Fatal(err)
		}
		var f Frames
		packets = 0
		for {
			packet, ok := p.AppendNext(nil)
			if !ok {
				break
			}
			packets++
			frame := udpFrame(to, packet)
			if packets == 1 {
				f.Full = frame
			} else if len(frame) != len(f.Full) {
				f.Last = frame
			}
		}
		all = append(all, f)
	}
	return all, packets
}

// udpFrame is a frame with all checksums.
func udpFrame(to netip.AddrPort, payload []byte) []byte {
	link := layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	udp := layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(to.Port())}
	var ip gopacket.SerializableLayer
	if to.Addr().Is4() {
		link.EthernetType = layers.EthernetTypeIPv4
		v4 := layers.IPv4{Version: 4, Flags: layers.IPv4DontFragment, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(192, 0, 2, 1), DstIP: to.Addr().AsSlice()}
		ip, _ = &v4, udp.SetNetworkLayerForChecksum(&v4)
	} else {
		link.EthernetType = layers.EthernetTypeIPv6
		v6 := layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("2001:db8::1"), DstIP: to.Addr().AsSlice()}
		ip, _ = &v6, udp.SetNetworkLayerForChecksum(&v6)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &link, ip, &udp, gopacket.Payload(payload)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func loadBlastOf(tb testing.TB, c Config) *Generator {
	tb.Helper()
	b, err := Load(c)
	testnet.NeedPrivilege(tb, err)
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
	})
	return b
}

// sentPacket is what a packet is to a test.
type sentPacket struct {
	heap uint64 // from 0
	row  int    // in the heap
}

// blastOrder is the order of the packets of a number of heaps, faults applied, made of
// a list of them all. number is how many packets were made before.
func blastOrder(c Config, first, heaps, number uint64) (list []sentPacket, counts Counts) {
	var made []sentPacket
	for left := heaps; left > 0; {
		width := min(left, uint64(c.InFlight))
		for row := range c.PacketsPerHeap {
			for k := range width {
				made = append(made, sentPacket{first + heaps - left + k, row})
			}
		}
		left -= width
	}
	hit := func(every uint64, i int) bool { return every > 0 && (number+uint64(i)+1)%every == 0 }
	order := make([]int, len(made))
	for i := range order {
		order[i] = i
	}
	for i := range len(order) - 1 {
		if hit(c.SwapEvery, i) && !hit(c.DropEvery, i) && !hit(c.DropEvery, i+1) {
			order[i], order[i+1] = order[i+1], order[i]
			counts.Swapped++
		}
	}
	lost := make(map[uint64]int)
	for _, i := range order {
		copies := 1
		switch {
		case hit(c.DropEvery, i):
			counts.Dropped++
			lost[made[i].heap]++
			copies = 0
		case hit(c.DuplicateEvery, i):
			counts.Duplicated++
			copies = 2
		}
		for range copies {
			list = append(list, made[i])
			counts.Attempted++
			if made[i].row == c.PacketsPerHeap-1 {
				counts.Last++
			}
		}
	}
	counts.Heaps = heaps
	for _, n := range lost {
		if n == c.PacketsPerHeap {
			counts.Missing++
		} else {
			counts.Damaged++
		}
	}
	return list, counts
}

var (
	blastTo4 = []netip.AddrPort{netip.MustParseAddrPort("10.77.0.2:7148"), netip.MustParseAddrPort("239.1.2.3:7149"), netip.MustParseAddrPort("10.77.0.2:7150")}
	blastTo6 = []netip.AddrPort{netip.MustParseAddrPort("[fd77::2]:7148"), netip.MustParseAddrPort("[ff15::3]:7149")}
)

// Every packet of several runs is what it should be, and in its place: the frames
// that are given to the program hold rubbish where packets differ.
func TestBlastPackets(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	for _, tt := range []struct {
		name string
		heap blastHeap
		c    Config
	}{
		{"one packet a heap", blastHeap{size: 64, payload: 64, to: blastTo4[:1]}, Config{}},
		{"several packets", blastHeap{size: 3000, payload: 1000, to: blastTo4[:1]}, Config{}},
		{"a shorter last packet", blastHeap{size: 3001, payload: 1000, to: blastTo4[:1]}, Config{}},
		{"in flight", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{InFlight: 3}},
		{"destinations", blastHeap{size: 500, payload: 104, to: blastTo4}, Config{InFlight: 4, FirstCount: 1000}},
		{"IPv6", blastHeap{size: 5001, payload: 1000, to: blastTo6}, Config{InFlight: 2}},
		{"counts wrap", blastHeap{flavour: 24, size: 500, payload: 104, to: blastTo4[:1]}, Config{FirstCount: 1<<24 - 2}},
		{"drop", blastHeap{size: 500, payload: 104, to: blastTo4[:2]}, Config{InFlight: 3, DropEvery: 3}},
		{"drop all", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{DropEvery: 1, SwapEvery: 2}},
		{"drop whole heaps", blastHeap{size: 64, payload: 64, to: blastTo4[:1]}, Config{InFlight: 2, DropEvery: 5}},
		{"duplicate", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{InFlight: 2, DuplicateEvery: 2}},
		{"duplicate all", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{DuplicateEvery: 1}},
		{"swap", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{InFlight: 2, SwapEvery: 2}},
		{"swap across groups", blastHeap{size: 500, payload: 104, to: blastTo4[:1]}, Config{SwapEvery: 5}},
		{"all faults", blastHeap{size: 1000, payload: 104, to: blastTo4}, Config{InFlight: 5, DropEvery: 7, DuplicateEvery: 4, SwapEvery: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			c.Frames, c.PacketsPerHeap = tt.heap.frames(t)
			n.A.Do(func() {
				c.Ifindex = n.A.Index
				checkBlast(t, c, tt.heap)
			})
		})
	}
}

func checkBlast(t *testing.T, c Config, heap blastHeap) {
	b := loadBlastOf(t, c)
	c = b.config
	var first, number uint64
	for _, heaps := range []uint64{1, 7, 4} {
		list, want := blastOrder(c, first, heaps, number)
		first += heaps
		number += heaps * uint64(c.PacketsPerHeap)
		before := b.Counts()
		b.begin(heaps)
		for tries := 0; b.state.Progress.Finished == 0; tries++ {
			frame := scribbled(c.Frames[0].Full)
			out := make([]byte, len(frame))
			o := &ebpf.RunOptions{Data: frame, DataOut: out}
			action, err := b.prog.Run(o)
			testnet.NeedPrivilege(t, err)
			switch {
			case action == xdpDrop:
			case action != xdpRedirect:
				t.Fatalf("action %d", action)
			case len(list) == 0:
				t.Fatal("more packets than there should be")
			default:
				checkBlastPacket(t, c, heap, o.DataOut, list[0])
				list = list[1:]
			}
			if tries > 10000 {
				t.Fatal("the run does not end")
			}
		}
		if len(list) > 0 {
			t.Errorf("%d packets were not sent", len(list))
		}
		got := b.Counts()
		got.sub(before)
		if (got.Elapsed > 0) != (want.Attempted > 0) || got.Idle > 0 {
			t.Errorf("%d packets took %v, and %d times none was due", want.Attempted, got.Elapsed, got.Idle)
		}
		got.Elapsed = 0 // the program's own clock
		if got != want {
			t.Errorf("counts %+v\nwant %+v", got, want)
		}
		<-b.finished // one a run
	}
}

// scribbled is the frame with rubbish where packets differ.
func scribbled(frame []byte) []byte {
	frame = bytes.Clone(frame)
	headers := 14 + 20 + 8
	if binary.BigEndian.Uint16(frame[12:]) == uint16(layers.EthernetTypeIPv6) {
		headers += 20
	}
	rubbish := bytes.Repeat([]byte{0xa5}, headers)
	copy(frame, rubbish)
	copy(frame[headers+8:], rubbish[:8])   // heap count
	copy(frame[headers+24:], rubbish[:16]) // payload offset and length
	return frame
}

func checkBlastPacket(t *testing.T, c Config, heap blastHeap, frame []byte, want sentPacket) {
	t.Helper()
	to := heap.to[want.heap%uint64(len(heap.to))]
	headers := 14 + 20 + 8
	if to.Addr().Is6() {
		headers += 20
	}
	var p spead.Packet
	packet := frame[headers:]
	if r := p.Decode(packet, len(packet)); r != spead.OK || p.Size() != len(packet) {
		t.Fatalf("%x: %v", frame, r)
	}
	if want := udpFrame(to, packet); !bytes.Equal(frame, want) {
		t.Fatalf("frame %x\nwant  %x", frame, want)
	}
	flavour := c.Frames[0].flavour(t)
	offset := want.row * heap.payload
	size := min(heap.payload, heap.size-offset)
	if p.Flavour != flavour || p.Cnt != (c.FirstCount+want.heap)&flavour.MaxValue() ||
		p.PayloadOffset != int64(offset) || p.HeapLength != int64(heap.size) || len(packet)-p.HeaderLen != size {
		t.Fatalf("flavour %v, count %d, offset %d, heap of %d bytes, %d bytes of payload; want packet %d of heap %d",
			p.Flavour, p.Cnt, p.PayloadOffset, p.HeapLength, len(packet)-p.HeaderLen, want.row, want.heap)
	}
	if p.NumPointers() != 5 || p.Pointer(4) != flavour.Addressed(0x1000, 0) {
		t.Fatalf("%d pointers, the last %#x", p.NumPointers(), p.Pointer(p.NumPointers()-1))
	}
	for i, got := range packet[p.HeaderLen:] {
		if got != byte(i) {
			t.Fatalf("byte %d of the payload is %#x", i, got)
		}
	}
}

func (f Frames) flavour(t *testing.T) spead.Flavour {
	t.Helper()
	look, err := readBlastFrame(f.Full)
	if err != nil {
		t.Fatal(err)
	}
	return look.flavour
}

// dropAll attaches a program to B that drops all packets: a receiver that costs
// nothing.
func dropAll(tb testing.TB, n *testnet.Net) {
	tb.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		License:      "Apache-2.0",
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()},
	})
	testnet.NeedPrivilege(tb, err)
	tb.Cleanup(func() { prog.Close() })
	var l link.Link
	n.Do(func() { l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: n.B.Index}) })
	testnet.NeedPrivilege(tb, err)
	tb.Cleanup(func() { l.Close() })
}

// wireBlast is a generator at A's end of a wire.
func wireBlast(tb testing.TB, n *testnet.Net, c Config) *Generator {
	tb.Helper()
	c.Ifindex = n.A.Index
	var b *Generator
	if err := n.A.Do(func() { b = loadBlastOf(tb, c) }); err != nil {
		tb.Fatal(err)
	}
	return b
}

func runBlast(tb testing.TB, n *testnet.Net, b *Generator, ctx context.Context, heaps uint64) (counts Counts) {
	tb.Helper()
	var err error
	if e := n.A.Do(func() { counts, err = b.Run(ctx, heaps) }); e != nil {
		tb.Fatal(e)
	}
	if err != nil {
		testnet.NeedPrivilege(tb, err)
	}
	return counts
}

// A burst has as many packets as it should, repetitions included, and the next one
// comes after its period, or when the pace is set anew.
func TestBlastBursts(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	var c Config
	c.Frames, c.PacketsPerHeap = blastHeap{size: 500, payload: 104, to: blastTo4[:1]}.frames(t)
	c.DropEvery, c.DuplicateEvery = 7, 3
	b := wireBlast(t, n, c)
	b.begin(0)
	for _, burst := range []int{1, 5, 10_000, 1} {
		b.SetBursts(burst, time.Hour)
		sent := 0
		for range burst + burst/5 + 10 { // drops are turns of their own
			action, err := b.prog.Run(&ebpf.RunOptions{Data: c.Frames[0].Full})
			testnet.NeedPrivilege(t, err)
			if action == xdpRedirect {
				sent++
			}
		}
		if sent != burst {
			t.Errorf("a burst of %d packets has %d", burst, sent)
		}
	}
}

// Runs by number of heaps end by themselves, at any pace, and go on where the last
// one ended.
func TestBlastRuns(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dropAll(t, n)
	var c Config
	c.Frames, c.PacketsPerHeap = blastHeap{size: 10_001, payload: 1000, to: blastTo4[:1]}.frames(t)
	c.InFlight = 3
	b := wireBlast(t, n, c)
	sent := uint64(0)
	for _, pace := range []func(){
		func() {},
		func() { b.SetRate(200_000) },
		func() { b.SetBursts(40, time.Millisecond) },
		func() { b.SetRate(0) },
	} {
		pace()
		before := b.Counts()
		got := runBlast(t, n, b, t.Context(), 100)
		if got.Heaps != 100 || got.Attempted != 1100 || got.Last != 100 || got.Refused > got.Attempted {
			t.Errorf("counts of a run of 100 heaps: %+v", got)
		}
		sent += got.Sent()
		all := b.Counts()
		all.sub(before)
		if got.Refused = 0; all != got {
			t.Errorf("a run counts %+v, all of them %+v more than before", got, all)
		}
	}
	for deadline := time.Now().Add(5 * time.Second); dropped(t, n) != sent; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d packets were sent, %d have come", sent, dropped(t, n))
		}
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if got := b.Counts(); got.Heaps != 400 {
		t.Errorf("counts after the end: %+v", got)
	}
	if _, err := b.Run(t.Context(), 1); err == nil {
		t.Error("it runs after it was closed")
	}
	b.SetRate(1)
}

// dropped is how many packets the program of dropAll has seen.
func dropped(t *testing.T, n *testnet.Net) (packets uint64) {
	t.Helper()
	n.Do(func() {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			t.Fatal(err)
		}
		defer tool.Close()
		stats, err := tool.Stats(n.B.Name)
		if err != nil {
			t.Fatal(err)
		}
		packets = stats["rx_queue_0_xdp_drops"]
	})
	return packets
}

// The longest frame that there may be is one that the kernel takes.
func TestBlastLongest(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dropAll(t, n)
	b := wireBlast(t, n, Config{Frames: []Frames{{Full: longestFrame(t)}}})
	if got := runBlast(t, n, b, t.Context(), 100); got.Attempted != 100 || got.Refused != 0 {
		t.Errorf("counts %+v", got)
	}
}

func longestFrame(t *testing.T) []byte {
	t.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 9000, RepeatPointers: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(1, []spead.OutItem{{ID: 0x1000, Data: make([]byte, MaxFrame-42-48)}}); err != nil {
		t.Fatal(err)
	}
	packet, _ := p.AppendNext(nil)
	return udpFrame(blastTo4[0], packet)
}

// An end of the wire that has no program takes nothing, and that is seen.
func TestBlastRefused(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	var c Config
	c.Frames, c.PacketsPerHeap = blastHeap{size: 64, payload: 64, to: blastTo4[:1]}.frames(t)
	if got := runBlast(t, n, wireBlast(t, n, c), t.Context(), 100); got.Attempted != 100 || got.Refused != 100 || got.Sent() != 0 {
		t.Errorf("counts %+v", got)
	}
}

// The context ends a run at the end of the heaps in flight, or cuts them off if that
// takes too long. The next run goes on.
func TestBlastCancel(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dropAll(t, n)
	var c Config
	c.Frames, c.PacketsPerHeap = blastHeap{size: 10_000, payload: 1000, to: blastTo4[:1]}.frames(t)
	c.InFlight = 4
	b := wireBlast(t, n, c)
	for _, tt := range []struct {
		name string
		pace func()
		cut  uint64
	}{
		{"as fast as it can", func() { b.SetRate(0) }, 0},
		{"at a rate", func() { b.SetRate(100_000) }, 0},
		{"in a pause", func() { b.SetBursts(10, time.Hour) }, 4},
	} {
		tt.pace()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan Counts, 1)
		before := b.Counts()
		go func() { done <- runBlast(t, n, b, ctx, 0) }()
		for b.Counts().Attempted < before.Attempted+10 {
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		cancel()
		got := <-done
		if took := time.Since(start); took > blastGrace+2*time.Second {
			t.Errorf("%s: it ended after %v", tt.name, took)
		}
		if got.Cut != tt.cut || tt.cut == 0 && (got.Heaps == 0 || got.Heaps%4 != 0 || got.Attempted != 10*got.Heaps) {
			t.Errorf("%s: counts %+v", tt.name, got)
		}
	}
	b.SetRate(0)
	if got := runBlast(t, n, b, t.Context(), 5); got.Heaps != 5 || got.Attempted != 50 {
		t.Errorf("counts of the run after: %+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := runBlast(t, n, b, ended, 5); got != (Counts{}) {
		t.Errorf("counts of a run that had no time: %+v", got)
	}
}

// A signal that comes from elsewhere does not end a run.
func TestBlastSignal(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dropAll(t, n)
	var c Config
	c.Frames, c.PacketsPerHeap = blastHeap{size: 64, payload: 64, to: blastTo4[:1]}.frames(t)
	b := wireBlast(t, n, c)
	b.SetRate(20_000)
	tids, done := make(chan int), make(chan Counts)
	go func() {
		var counts Counts
		var err error
		if e := n.A.Do(func() {
			tids <- unix.Gettid()
			counts, err = b.Run(t.Context(), 3000)
		}); e != nil || err != nil {
			t.Error(e, err)
		}
		done <- counts
	}()
	tid := <-tids
	for b.Counts().Attempted < 10 {
		time.Sleep(time.Millisecond)
	}
	if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGURG); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.Attempted != 3000 {
		t.Errorf("counts %+v", got)
	}
}

// A thread that cannot go back to its network namespace says so.
func TestBlastCannotReturn(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	var there *os.File
	if err := n.A.Do(func() {
		var err error
		if there, err = os.Open(threadNetwork); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	var entered error
	err := testnet.WithCapabilities(t, []uint{unix.CAP_SYS_ADMIN}, func() error {
		leave, err := enterNetwork(there)
		if entered = errors.Join(err, testnet.SetCapabilities(nil)); entered != nil {
			return nil
		}
		return leave()
	})
	if entered != nil {
		t.Fatal(entered)
	}
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("without the privilege it left with error %v", err)
	}
}

func TestBlastErrors(t *testing.T) {
	good, _ := blastHeap{size: 500, payload: 104, to: blastTo4[:1]}.frames(t)
	frame := good[0].Full
	other := func(h blastHeap) Frames {
		frames, _ := h.frames(t)
		return frames[0]
	}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{}, "no frames"},
		{Config{Frames: good, PacketsPerHeap: -1}, "-1 packets a heap"},
		{Config{Frames: good, InFlight: 257}, "257 heaps in flight are outside 1 to 256"},
		{Config{Frames: good, CPU: -1}, "CPU -1 is outside"},
		{Config{Frames: good, SwapEvery: 1}, "SwapEvery is at least 2"},
		{Config{Frames: []Frames{{Full: make([]byte, MaxFrame+1)}}}, "a frame of 3393 bytes is longer than 3392, which is what a page has room for: make the packets smaller"},
		{Config{Frames: []Frames{{Full: make([]byte, 100)}}}, "neither UDP over IPv4 without options nor over IPv6"},
		{Config{Frames: []Frames{{Full: frame[:42]}}}, "has no SPEAD packet"},
		{Config{Frames: []Frames{{Full: append(bytes.Clone(frame), 0)}}}, "1 bytes beyond the SPEAD packet"},
		{Config{Frames: []Frames{{Full: with(bytes.Clone(frame), 40, 0, 0)}}}, "no UDP checksum"},
		{Config{Frames: []Frames{{Full: good[0].Last, Last: frame}}}, "destination 0: the payload of the last frame is not how that of the full one begins"},
		{Config{Frames: []Frames{{Full: frame, Last: udpFrame(blastTo4[0], append(bytes.Clone(good[0].Last[42:len(good[0].Last)-1]), 0xee))}}}, "is not how that of the full one begins"},
		{Config{Frames: []Frames{good[0], other(blastHeap{size: 500, payload: 96, to: blastTo4[:1]})}}, "destination 1: they are not as long as those of destination 0"},
		{Config{Frames: []Frames{other(blastHeap{flavour: 8, size: 200, payload: 96, to: blastTo4[:1]})}, PacketsPerHeap: 4}, "more than flavour 64-8 can address"},
		{Config{Frames: good, Ifindex: 1 << 30}, "interface 1073741824"},
		{Config{Frames: good, Ifindex: 1}, "statistics of lo"},
	} {
		b, err := Load(tt.config)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want …%s…", err, tt.want)
		}
	}
	var closed Generator
	if _, err := closed.Run(t.Context(), 1); err == nil || errors.Is(err, unix.EINVAL) {
		t.Errorf("a run of what is closed gives %v", err)
	}
}

// The fastest rate at which packets go into a program that
// drops them; and how exactly a rate is kept over half a second.
func BenchmarkBlast(b *testing.B) {
	n := testnet.New(b, testnet.Options{})
	dropAll(b, n)
	for _, bb := range []struct {
		payload int
		rate    float64
	}{
		{64, 0}, {1408, 0}, {3072, 0},
		{1408, 0.2e6}, {1408, 0.5e6}, {1408, 1e6}, {1408, 2e6},
	} {
		name := fmt.Sprintf("%d-bytes", bb.payload)
		if bb.rate > 0 {
			name += fmt.Sprintf("/%.1fMpps", bb.rate/1e6)
		}
		b.Run(name, func(b *testing.B) {
			var c Config
			c.Frames, c.PacketsPerHeap = blastHeap{size: 8 * bb.payload, payload: bb.payload, to: blastTo4[:1]}.frames(b)
			c.InFlight = 4
			blast := wireBlast(b, n, c)
			blast.SetRate(bb.rate)
			var total Counts
			var packets uint64
			var took time.Duration
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				idle := blast.Counts()
				go func() {
					defer cancel()
					for blast.Counts() == idle {
						time.Sleep(time.Millisecond)
					}
					time.Sleep(50 * time.Millisecond)
					start, before := time.Now(), blast.Counts().Attempted
					time.Sleep(500 * time.Millisecond)
					packets += blast.Counts().Attempted - before
					took += time.Since(start)
				}()
				run := runBlast(b, n, blast, ctx, 0)
				total.Attempted += run.Attempted
				total.Refused += run.Refused
			}
			b.ReportMetric(float64(packets)/took.Seconds()/1e6, "Mpps")
			b.ReportMetric(100*float64(total.Refused)/float64(total.Attempted), "%refused")
		})
	}
}
