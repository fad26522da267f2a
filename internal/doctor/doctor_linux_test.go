// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/sizing"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/xsk"
)

// setUp makes facts about the machine those of one that is well set up, as a test cannot
// give it huge pages or another governor. What the tests provoke is read from the kernel.
func setUp(f *Facts) {
	f.Huge = Fact[[]HugePages]{Value: []HugePages{{Bytes: page2M, Node: -1, Total: 4096, Free: 4096, File: "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"}}}
	f.Memory, f.HugeTLB, f.CPUQuota = Fact[[]Limit]{}, Fact[[]Limit]{}, Fact[[]Quota]{}
	f.CPUs = Fact[[]int]{Value: []int{0, 1, 2, 3, 4, 5, 6, 7}}
	f.Isolated, f.Governors, f.IRQBalance = Fact[[]int]{}, Fact[map[string][]int]{}, Fact[[]int]{}
}

// examine reads the facts of a set-up and checks them.
func examine(t *testing.T, names ...string) (*Facts, *Report) {
	t.Helper()
	f, err := Read(names)
	if err != nil {
		t.Fatal(err)
	}
	setUp(f)
	return f, Diagnose(f)
}

// finds fails the test unless those and no other checks have found something.
func finds(t *testing.T, r *Report, codes ...string) {
	t.Helper()
	got := r.Codes(Warn, Fail)
	slices.Sort(codes)
	if !slices.Equal(got, codes) {
		var b strings.Builder
		if err := r.WriteText(&b); err != nil {
			t.Error(err)
		}
		t.Fatalf("found %v, want %v:\n%s", got, codes, b.String())
	}
	for _, f := range r.Findings {
		found := f.Status == Warn || f.Status == Fail
		if f.Read == "" || found != (f.Cost != "") || found != (f.Fix != "") {
			t.Errorf("%+v", f)
		}
	}
}

// one is the finding of a check that has one.
func one(t *testing.T, r *Report, code string) Finding {
	t.Helper()
	list := r.Find(code)
	if len(list) != 1 {
		t.Fatalf("%s has %d findings: %+v", code, len(list), list)
	}
	return list[0]
}

// Nothing is found where nothing is wrong, also while a receiver runs on all queues, and
// nothing is unknown.
func TestClean(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	_, r := examine(t, n.B.Name)
	finds(t, r)
	if list := r.Codes(Unknown); len(list) > 0 {
		t.Errorf("unknown: %v", list)
	}
	open(t, n, nil)
	_, r = examine(t, n.B.Name)
	finds(t, r)
	if list := r.Codes(Unknown); len(list) > 0 {
		t.Errorf("unknown while receiving: %v", list)
	}
}

// open starts a receiver at B.
func open(t *testing.T, n *testnet.Net, queues []int) *speadx.Receiver {
	t.Helper()
	r, err := speadx.Open(t.Context(), speadx.Config{
		Streams: []speadx.Stream{{Source: group.String()}}, Interfaces: []string{n.B.Name},
		Mode: speadx.ModeNative, Queues: queues, Frames: xsk.MinFrames, HeapSize: 1 << 16,
	})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

var group = netip.MustParseAddrPort("239.9.8.7:7148")

// A receiver has one of two queues.
func TestUnservedQueue(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	receiver := open(t, n, []int{0})
	f, r := examine(t, n.B.Name)
	finds(t, r, "queues_unserved")
	got := one(t, r, "queues_unserved")
	if got.Status != Fail || got.Interface != n.B.Name || got.Fix != "speadx recv -i "+n.B.Name+" --queues all …" {
		t.Errorf("%+v", got)
	}
	if b := f.Devices[0].bound(); !slices.Equal(b, []int{0}) {
		t.Errorf("bound queues %v", b)
	}
	if !f.Devices[0].Program.speadx() {
		t.Errorf("the program is not known as ours: %+v", f.Devices[0].Program)
	}
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	awaitUnbound(t, n)
	_, r = examine(t, n.B.Name)
	finds(t, r)
}

// awaitUnbound waits until the kernel has let go of the queues of closed sockets.
func awaitUnbound(t *testing.T, n *testnet.Net) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		bound, err := netif.BoundQueues(n.B.Index)
		if err == nil && len(bound) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("bound queues: %v, %v", bound, err)
		}
	}
}

// What doctor takes for the need of memory is what a receiver takes.
func TestNeedIsThatOfTheReceiver(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	f, _ := examine(t, n.B.Name)
	f.Traffic = []Traffic{{Source: group.String(), HeapSize: 1 << 20}}
	r, err := speadx.Open(t.Context(), speadx.Config{
		Streams: []speadx.Stream{{Source: group.String()}}, Interfaces: []string{n.B.Name},
		Mode: speadx.ModeNative, HeapSize: 1 << 20, ConcurrentHeaps: speadx.DefaultConcurrentHeaps + sizing.RoomForSenders(1<<20, 1, 1),
	})
	testnet.NeedPrivilege(t, err)
	defer r.Close()
	in := r.Info()
	umem := 0
	for _, q := range in.Devices[0].Queues {
		umem += q.UMEMBytes
	}
	if got := f.umem(); got != umem {
		t.Errorf("packet buffers of %d bytes, the receiver has %d", got, umem)
	}
	if got := f.pool(); got < in.PoolBytes*3/4 || got > in.PoolBytes*5/4 {
		t.Errorf("a pool of %d bytes, the receiver has %d", got, in.PoolBytes)
	}
}

// An AF_XDP socket that is not speadx's is bound to a queue.
func TestOccupiedQueue(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	q, err := xsk.Open(xsk.Config{Ifindex: n.B.Index, Ifname: n.B.Name, Queue: 1, Frames: xsk.MinFrames, Mode: xsk.ModeGeneric})
	testnet.NeedPrivilege(t, err)
	defer q.Close()
	f, r := examine(t, n.B.Name)
	finds(t, r, "queues_occupied", "queues_unserved")
	got := one(t, r, "queues_occupied")
	if b := f.Devices[0].bound(); got.Status != Fail || !slices.Equal(b, []int{1}) {
		t.Errorf("bound %v: %+v", b, got)
	}
	if q := f.Devices[0].Queues.Value[0]; len(q.Owners) == 0 {
		// The kernel does not tell the socket, and there is no program to go by.
		if want := "speadx recv -i " + n.B.Name + " --queues 0 …"; got.Fix != want {
			t.Errorf("fix %q, want %q", got.Fix, want)
		}
	} else if q.Owners[0].PID != os.Getpid() {
		t.Errorf("owned by %v", q.Owners)
	}
}

// An XDP program that is not of speadx.
func TestOtherProgram(t *testing.T) {
	for _, mode := range []string{"native", "generic"} {
		t.Run(mode, func(t *testing.T) {
			n := testnet.New(t, testnet.Options{})
			p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
				Name: "stranger", Type: ebpf.XDP, License: "Apache-2.0", Flags: unix.BPF_F_XDP_HAS_FRAGS,
				Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()},
			})
			testnet.NeedPrivilege(t, err)
			defer p.Close()
			flags := map[string]link.XDPAttachFlags{"native": link.XDPDriverMode, "generic": link.XDPGenericMode}
			l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: n.B.Index, Flags: flags[mode]})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, r := examine(t, n.B.Name)
			finds(t, r, "other_program")
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			id, _ := info.ID()
			got := f.Devices[0].Program
			if got.ID != uint32(id) || got.Name.Value != "stranger" || got.Mode != mode || len(got.Owners) != 1 || got.Owners[0].PID != os.Getpid() {
				t.Errorf("%+v, want program %d of process %d", got, id, os.Getpid())
			}
			if fix := one(t, r, "other_program").Fix; fix != fmt.Sprintf("kill %d", os.Getpid()) {
				t.Errorf("fix %q", fix)
			}
		})
	}
}

// An MTU that needs several frames, at a driver that takes one: tap.
func TestMTUNeedsFrags(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0"}, Mode: netlink.TUNTAP_MODE_TAP}
	if err := netlink.LinkAdd(tap); err != nil {
		t.Fatalf("make a tap: %v", err)
	}
	if err := netlink.LinkSetMTU(tap, 9000); err != nil {
		t.Fatal(err)
	}
	_, r := examine(t, "tap0")
	if got := one(t, r, "mtu_needs_frags"); got.Status != Warn || got.Fix != fmt.Sprintf("ip link set dev tap0 mtu %d", xsk.OneFrameMTU) {
		t.Errorf("%+v", got)
	}
	if err := netlink.LinkSetMTU(tap, xsk.OneFrameMTU); err != nil {
		t.Fatal(err)
	}
	_, r = examine(t, "tap0")
	if got := one(t, r, "mtu_needs_frags"); got.Status != OK {
		t.Errorf("at an MTU of %d: %+v", xsk.OneFrameMTU, got)
	}
	// A veth takes several, at the same MTU.
	_, r = examine(t, n.B.Name)
	if got := one(t, r, "mtu_needs_frags"); got.Status != OK {
		t.Errorf("%+v", got)
	}
}

// withoutCapabilities takes capabilities off the calling thread until the test ends.
func withoutCapabilities(t *testing.T, bits ...uint) {
	t.Helper()
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var old, data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &old[0]); err != nil {
		t.Fatal(err)
	}
	data = old
	for _, bit := range bits {
		data[bit/32].Effective &^= 1 << (bit % 32)
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Capset(&hdr, &old[0]); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

func TestMissingCapability(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	withoutCapabilities(t, unix.CAP_NET_RAW)
	f, r := examine(t, n.B.Name)
	finds(t, r, "capabilities", "xdp_socket")
	got := one(t, r, "capabilities")
	if got.Status != Fail || !strings.Contains(got.Read, "CAP_NET_RAW") || strings.Contains(got.Read, "CAP_NET_ADMIN") {
		t.Errorf("%+v", got)
	}
	if want := "sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep " + quote(f.Program); got.Fix != want {
		t.Errorf("fix %q, want %q", got.Fix, want)
	}
	// It says what it could not see.
	err := f.Listen(t.Context(), []string{n.B.Name}, []Source{{group.String(), []netip.AddrPort{group}}}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got := one(t, Diagnose(f), "traffic"); got.Status != Unknown || !strings.Contains(got.Read, "CAP_NET_RAW") {
		t.Errorf("%+v", got)
	}
}

func TestSmallMemlock(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 1 << 20
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old); err != nil {
			t.Error(err)
		}
	}()
	_, r := examine(t, n.B.Name) // with CAP_IPC_LOCK the limit does not count
	finds(t, r)
	withoutCapabilities(t, unix.CAP_IPC_LOCK)
	f, r := examine(t, n.B.Name)
	finds(t, r, "capabilities", "memlock")
	if got := one(t, r, "memlock"); got.Status != Fail || f.Memlock.Value != 1<<20 || got.Fix != "sudo prlimit --memlock=unlimited --pid $$" {
		t.Errorf("%+v of a limit of %d", got, f.Memlock.Value)
	}
	if got := one(t, r, "capabilities"); got.Status != Warn {
		t.Errorf("%+v", got)
	}
}

// The machine of a test may have huge pages or not, so its files are others.
func TestNoHugePages(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	f, _ := examine(t, n.B.Name)
	const dir = "sys/kernel/mm/hugepages/hugepages-2048kB/"
	machine := fstest.MapFS{
		dir + "nr_hugepages": {Data: []byte("0\n")}, dir + "free_hugepages": {Data: []byte("0\n")},
		"sys/kernel/mm/transparent_hugepage/enabled": {Data: []byte("always madvise [never]\n")},
	}
	f.Huge, f.THP = fact(files{machine}.hugePages()), fact(files{machine}.thp())
	r := Diagnose(f)
	finds(t, r, "hugepages")
	need := (f.umem() + f.pool() + page2M - 1) / page2M
	if got, want := one(t, r, "hugepages").Fix, fmt.Sprintf("echo %d > /%snr_hugepages", need, dir); got != want {
		t.Errorf("fix %q, want %q", got, want)
	}
	machine[dir+"nr_hugepages"], machine[dir+"free_hugepages"] = file(fmt.Sprint(need)), file(fmt.Sprint(need))
	f.Huge = fact(files{machine}.hugePages())
	finds(t, Diagnose(f))
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }

func TestBridgePort(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	port, err := netlink.LinkByIndex(n.B.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		t.Fatal(err)
	}
	f, r := examine(t, n.B.Name)
	finds(t, r, "bridge_port")
	if d := f.Devices[0]; d.Master != "br0" || d.MasterKind != "bridge" {
		t.Errorf("master %q of kind %q", d.Master, d.MasterKind)
	}
	if got := one(t, r, "bridge_port"); got.Fix != "ip link set dev "+n.B.Name+" nomaster" {
		t.Errorf("%+v", got)
	}
}

func TestRPFilter(t *testing.T) {
	for _, where := range []string{"all", "sx-b"} {
		n := testnet.New(t, testnet.Options{})
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+where+"/rp_filter", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		_, r := examine(t, n.B.Name)
		finds(t, r, "rp_filter")
		if got := one(t, r, "rp_filter"); got.Fix != "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.sx-b.rp_filter=2" {
			t.Errorf("%+v", got)
		}
		// 2 counts more than 1.
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/sx-b/rp_filter", []byte("2"), 0); err != nil {
			t.Fatal(err)
		}
		_, r = examine(t, n.B.Name)
		finds(t, r)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoInterface(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	if _, err := Read([]string{"none9"}); err == nil || !strings.Contains(err.Error(), n.B.Name) {
		t.Errorf("the error does not name the interfaces there are: %v", err)
	}
	// Without a name it looks at what is up.
	f, err := Read(nil)
	if err != nil || len(f.Devices) != 1 || f.Devices[0].Name != n.B.Name {
		t.Errorf("%+v, %v", f, err)
	}
}

// flow are packets to be injected.
type flow struct {
	from, to netip.AddrPort
	vlan     int
	payloads [][]byte
	fragment bool
}

// frames are the flow's packets with all their headers.
func (w flow) frames() (list [][]byte) {
	for _, p := range w.payloads {
		b := []byte("\x01\x00\x5e\x09\x08\x07\x02\x00\x00\x00\x00\x01")
		if w.vlan > 0 {
			b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), uint16(w.vlan))
		}
		b = append(b, 0x08, 0, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(28+len(p)))
		flags := uint16(0x4000)
		if w.fragment {
			flags = 0x2000
		}
		b = binary.BigEndian.AppendUint16(append(b, 0, 1), flags)
		b = append(b, 9, 17, 0, 0)
		b = append(append(b, w.from.Addr().AsSlice()...), w.to.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, w.from.Port())
		b = binary.BigEndian.AppendUint16(b, w.to.Port())
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p)))
		list = append(list, append(append(b, 0, 0), p...))
	}
	return list
}

// spead48 is a packet of SPEAD-64-48.
func spead48(cnt, heapLength, offset, length int) []byte {
	b := []byte{0x53, 4, 2, 6, 0, 0, 0, 4}
	for id, v := range []int{1: cnt, 2: heapLength, 3: offset, 4: length} {
		if id > 0 {
			b = binary.BigEndian.AppendUint64(b, 1<<63|uint64(id)<<48|uint64(v))
		}
	}
	return append(b, make([]byte, length)...)
}

// sends injects packets over and over until the test ends.
func sends(t *testing.T, n *testnet.Net, flows ...flow) {
	t.Helper()
	var frames [][]byte
	for _, w := range flows {
		frames = append(frames, w.frames()...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := n.Net.Inject(frames); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// listen examines the interfaces and listens to the sources.
func listen(t *testing.T, names []string, sources ...string) (*Facts, *Report) {
	t.Helper()
	var list []Source
	for _, text := range sources {
		p, err := speadx.ParseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Source{text, p.Endpoints})
	}
	f, err := Examine(t.Context(), names, list, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	setUp(f)
	return f, Diagnose(f)
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestListen(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	sends(t, n,
		flow{from: addrPort("10.77.0.1:1000"), to: group, payloads: [][]byte{spead48(1, 5000, 0, 1000), spead48(1, 5000, 1000, 4000), spead48(2, 6000, 0, 1000)}},
		flow{from: addrPort("10.77.0.3:1001"), to: group, payloads: [][]byte{spead48(7, 100, 0, 100)}},
		flow{from: addrPort("10.77.0.3:1001"), to: addrPort("239.9.8.7:7149"), payloads: [][]byte{[]byte("of another port")}},
		flow{from: addrPort("10.77.0.3:1001"), to: addrPort("239.9.8.6:7148"), payloads: [][]byte{[]byte("of another group")}},
	)
	f, r := listen(t, []string{n.B.Name}, "239.9.8.7:7148")
	finds(t, r)
	if len(f.Traffic) != 1 {
		t.Fatalf("%+v", f.Traffic)
	}
	got := f.Traffic[0]
	var byQueue, bySender uint64
	for _, k := range got.Queues {
		byQueue += k
	}
	for _, s := range got.Senders {
		bySender += s.Packets
	}
	if got.Packets == 0 || byQueue != got.Packets || bySender != got.Packets || got.SPEAD != got.Packets || got.Flavours["64-48"] != got.Packets {
		t.Errorf("%d packets do not add up: %+v", got.Packets, got)
	}
	if got.HeapSize != 6000 || got.Heaps != 3 || got.MinPacket != 140 || got.MaxPacket != 4040 || got.Colliding || got.Unsized > 0 {
		t.Errorf("%+v", got)
	}
	var from []string
	for _, s := range got.Senders {
		from = append(from, s.Addr.String())
	}
	slices.Sort(from)
	if !slices.Equal(from, []string{"10.77.0.1:1000", "10.77.0.3:1001"}) {
		t.Errorf("senders %v", from)
	}
	if want := "speadx recv -i " + n.B.Name + " -H 6000 239.9.8.7:7148"; r.Command != want {
		t.Errorf("command %q, want %q", r.Command, want)
	}
	// The group is left again.
	f, _ = examine(t, n.B.Name)
	if groups := f.Devices[0].Groups; groups.Err != nil || slices.Contains(groups.Value, group.Addr()) {
		t.Errorf("groups %v after listening", groups)
	}
}

// Two senders with one heap count, packets that are not SPEAD, fragments, several VLANs.
func TestListenFindings(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	a, b := addrPort("10.77.0.1:1000"), addrPort("10.77.0.3:1001")
	colliding, foreign, mixed, broken, tagged := addrPort("239.9.8.7:1"), addrPort("239.9.8.7:2"), addrPort("239.9.8.7:3"), addrPort("239.9.8.7:4"), addrPort("239.9.8.7:5")
	sends(t, n,
		flow{from: a, to: colliding, payloads: [][]byte{spead48(1, 100, 0, 100)}},
		flow{from: b, to: colliding, payloads: [][]byte{spead48(1, 100, 0, 100)}},
		flow{from: a, to: foreign, payloads: [][]byte{[]byte("not SPEAD at all")}},
		flow{from: a, to: mixed, payloads: [][]byte{spead48(1, 100, 0, 100), spead48(1, 100, 0, 100)[:50]}},
		flow{from: a, to: broken, payloads: [][]byte{spead48(1, 100, 0, 100)}, fragment: true},
		flow{from: a, to: tagged, vlan: 7, payloads: [][]byte{spead48(1, 100, 0, 100)}},
		flow{from: a, to: tagged, vlan: 8, payloads: [][]byte{spead48(2, 100, 0, 100)}},
	)
	f, r := listen(t, []string{n.B.Name}, "239.9.8.7:1", "239.9.8.7:2", "239.9.8.7:3", "239.9.8.7:4", "239.9.8.7:5", "239.9.8.7:6")
	type key struct{ code, source string }
	got := map[key]Status{}
	for _, x := range r.Findings {
		if x.Status == Warn || x.Status == Fail {
			got[key{x.Code, x.Source}] = x.Status
		}
	}
	want := map[key]Status{
		{"senders", "239.9.8.7:1"}:   Warn,
		{"spead", "239.9.8.7:2"}:     Fail,
		{"spead", "239.9.8.7:3"}:     Warn,
		{"fragments", "239.9.8.7:4"}: Fail,
		{"vlan_stripping", ""}:       Warn,
		{"traffic", "239.9.8.7:6"}:   Fail,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	for i := range f.Traffic {
		switch tr := &f.Traffic[i]; tr.Source {
		case "239.9.8.7:2":
			if tr.Foreign["bad_magic"] != tr.Packets {
				t.Errorf("%+v", tr)
			}
		case "239.9.8.7:3":
			if tr.Foreign["payload_overflow"] == 0 || tr.Foreign["payload_overflow"]+tr.SPEAD != tr.Packets {
				t.Errorf("%+v", tr)
			}
		case "239.9.8.7:5":
			if tr.VLANs[7] == 0 || tr.VLANs[7]+tr.VLANs[8] != tr.Packets {
				t.Errorf("%+v", tr)
			}
		}
	}
}

// The queue that a packet socket tells is the one on which AF_XDP gets the packets. A
// receiver on that queue alone receives a flow. On the other queue it receives nothing, and
// doctor says so.
func TestListenQueue(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 2})
	sends(t, n, flow{from: addrPort("10.77.0.1:1000"), to: group, payloads: [][]byte{spead48(1, 100, 0, 100)}})
	f, _ := listen(t, []string{n.B.Name}, group.String())
	queues := f.Traffic[0].Queues
	if len(queues) != 1 {
		t.Fatalf("one flow arrives on queues %v", queues)
	}
	queue := 0
	for q := range queues {
		queue = q
	}
	receiver := open(t, n, []int{1 - queue})
	f, r := listen(t, []string{n.B.Name}, group.String())
	if got := one(t, r, "flow_queue"); got.Status != Fail || f.Traffic[0].Queues[queue] != f.Traffic[0].Packets {
		t.Errorf("%+v of packets on %v", got, f.Traffic[0].Queues)
	}
	if s := receiver.Stats(); s.Devices[0].Counts[ledger.DeviceNoSocket] == 0 {
		t.Errorf("the program found no packet without a socket: %+v", s.Devices[0])
	}
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	awaitUnbound(t, n)
	receiver = open(t, n, []int{queue})
	if _, err := receiver.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Now the program takes all packets.
	f, r = listen(t, []string{n.B.Name}, group.String())
	if got := one(t, r, "traffic"); got.Status != Unknown || f.Traffic[0].Packets != 0 {
		t.Errorf("%+v, %d packets", got, f.Traffic[0].Packets)
	}
}

// A source of a VLAN is seen on the device below, with its tag. The kernels of tests may
// have no VLAN interfaces, so the facts have one that is not there.
func TestListenOnVLAN(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	sends(t, n, flow{from: addrPort("10.77.0.1:1000"), to: group, vlan: 42, payloads: [][]byte{spead48(1, 100, 0, 100)}})
	f, _ := examine(t, n.B.Name)
	vlan := Device{Named: true, Multicast: true}
	vlan.Name, vlan.Kind, vlan.Index, vlan.Up, vlan.Carrier, vlan.Lower = "v42", "vlan", n.B.Index, true, true, []string{n.B.Name}
	f.Devices[0].Named = false
	f.Devices = append(f.Devices, vlan)
	source := Source{group.String(), []netip.AddrPort{group}}
	if err := f.Listen(t.Context(), []string{"v42"}, []Source{source}, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	finds(t, Diagnose(f))
	if got := f.Traffic[0]; got.Packets == 0 || got.VLANs[42] != got.Packets || got.Interface != "v42" {
		t.Errorf("%+v", got)
	}
}

// Without an interface the route to the group says which.
func TestListenByRoute(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	sends(t, n, flow{from: addrPort("10.77.0.1:1000"), to: group, payloads: [][]byte{spead48(1, 100, 0, 100)}})
	f, r := listen(t, nil, group.String())
	finds(t, r)
	if got := f.Traffic[0]; got.Packets == 0 || got.Interface != n.B.Name {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if _, err := Examine(ctx, nil, []Source{{group.String(), []netip.AddrPort{group}}}, time.Hour); err != nil || time.Since(began) > time.Minute {
		t.Errorf("after the end of the context: %v after %v", err, time.Since(began))
	}
}
