// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

func TestLikelyCause(t *testing.T) {
	fate := func(f ledger.Fate) (list ledger.Fates) { list[f] = 9; return list }
	for _, tt := range []struct {
		name string
		f    quietFacts
		want ledger.Reason
	}{
		{"link", quietFacts{down: true, known: true}, ledger.ReasonLinkDown},
		{"nothing", quietFacts{known: true}, ledger.ReasonNoTraffic},
		{"nothing, any interface", quietFacts{sockets: true}, ledger.ReasonNoTraffic},
		{"queue", quietFacts{known: true, quietCounts: quietCounts{noSocket: 9, devices: 9}}, ledger.ReasonOtherQueue},
		{"fragments", quietFacts{known: true, xdp: true, quietCounts: quietCounts{fates: fate(ledger.Fragment), devices: 9}}, ledger.ReasonFragments},
		{"fragments for sockets", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{ReasmFails: 9, Fragments: 9, Reassembled: 5, IPReceived: 9}}}, ledger.ReasonFragmentsLost},
		{"parts of fragments for sockets", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{Fragments: 9, IPReceived: 9}}}, ledger.ReasonFragmentsLost},
		{"fragments that sockets got", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{Fragments: 9, Reassembled: 4, IPReceived: 9, IPDelivered: 4}}}, ledger.ReasonOtherTraffic},
		{"fragments of others", quietFacts{known: true, xdp: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{Fragments: 9, IPReceived: 9}}}, ledger.ReasonOtherTraffic},
		{"checksum", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{BadChecksum: 9, Errors: 9, IPReceived: 9}}}, ledger.ReasonBadChecksum},
		{"checksums of others", quietFacts{known: true, xdp: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{BadChecksum: 9, IPReceived: 9}}}, ledger.ReasonOtherTraffic},
		{"rp_filter", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{ReversePath: 9, IPReceived: 9}}}, ledger.ReasonReversePath},
		{"port", quietFacts{known: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{NoPort: 9, IPReceived: 9}}}, ledger.ReasonOtherPort},
		{"endpoint", quietFacts{known: true, quietCounts: quietCounts{devices: 9, fates: fate(ledger.OtherEndpoint)}}, ledger.ReasonOtherPort},
		{"interface", quietFacts{known: true, quietCounts: quietCounts{protocols: netif.Protocols{NoPort: 9, IPReceived: 9}}}, ledger.ReasonOtherDevice},
		{"vlan", quietFacts{known: true, quietCounts: quietCounts{devices: 900, protocols: netif.Protocols{IPReceived: 9}}}, ledger.ReasonOtherVLAN},
		{"firewall", quietFacts{known: true, sockets: true, quietCounts: quietCounts{devices: 90, protocols: netif.Protocols{IPReceived: 90, IPDelivered: 9}}}, ledger.ReasonNotDelivered},
		{"firewall, AF_XDP", quietFacts{known: true, xdp: true, quietCounts: quietCounts{devices: 90, protocols: netif.Protocols{IPReceived: 90, IPDelivered: 9}}}, ledger.ReasonOtherTraffic},
		{"a little ARP", quietFacts{known: true, quietCounts: quietCounts{devices: 5}}, ledger.ReasonOtherTraffic},
		{"no SPEAD", quietFacts{known: true, quietCounts: quietCounts{devices: 9, fates: fate(ledger.BadMagic)}}, ledger.ReasonNotSPEAD},
	} {
		if got := likelyCause(&tt.f); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestQuietTimes: it is said after 5 s and at doubled intervals, and again when it becomes
// quiet after packets.
func TestQuietTimes(t *testing.T) {
	began := time.Unix(1000, 0)
	q := quiet{since: began, next: quietTime, base: &quietCounts{}}
	var said []int
	for sec := 1; sec <= 100; sec++ {
		n := uint64(0)
		if sec >= 50 {
			n = 7 // came in second 50
		}
		d, note := q.look(began.Add(time.Duration(sec)*time.Second), n)
		if note {
			q.base = &quietCounts{}
		}
		if note != (sec == 51) {
			t.Errorf("second %d: note %t", sec, note)
		}
		if d > 0 {
			said = append(said, sec, int(d/time.Second))
		}
	}
	want := []int{5, 5, 10, 10, 20, 20, 40, 40, 55, 5, 60, 10, 70, 20, 90, 40}
	if len(said) != len(want) {
		t.Fatalf("said %v, want %v", said, want)
	}
	for i := range want {
		if said[i] != want[i] {
			t.Errorf("said %v, want %v", said, want)
			break
		}
	}
	if !q.ever {
		t.Error("nothing has ever arrived")
	}
}

// quietFrame is what a datagram of 8 bytes to 239.1.2.3 is like that arrives in the place of ours.
type quietFrame struct {
	from        string // "": the sender's end
	port        uint16 // 0: 7148
	vlan        uint16 // 0: without a tag
	offset      int    // of a fragment that is not the first one, in bytes
	more        bool   // more fragments follow
	badChecksum bool
}

func (q quietFrame) bytes(from netip.Addr) []byte {
	if q.from != "" {
		from = netip.MustParseAddr(q.from)
	}
	if q.port == 0 {
		q.port = 7148
	}
	b := []byte{0x01, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1}
	if q.vlan != 0 {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), q.vlan)
	}
	b = append(b, 8, 0)
	word := uint16(q.offset / 8)
	if q.more {
		word |= 0x2000
	}
	ip := []byte{0x45, 0, 0, 36, 0, 1, byte(word >> 8), byte(word), 9, 17, 0, 0}
	ip = append(append(ip, from.AsSlice()...), 239, 1, 2, 3)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	b = append(b, ip...)
	b = binary.BigEndian.AppendUint16(append(b, 0x12, 0x34), q.port)
	length := byte(16)
	if q.more {
		length = 32 // with that of the second fragment
	}
	b = append(b, 0, length, 0, 0)
	if q.badChecksum {
		b[len(b)-1] = 1
	}
	return append(b, make([]byte, 8)...)
}

// TestNothingArrives: what comes in the place of our packets is told, with where we listen.
func TestNothingArrives(t *testing.T) {
	strict := func(t *testing.T, n *testnet.Net) {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		_, to, _ := net.ParseCIDR("10.99.0.0/16")
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: to}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"all", n.B.Name} {
			sysctl(t, "ipv4/conf/"+name+"/rp_filter", "1")
		}
	}
	unplug := func(t *testing.T, n *testnet.Net) {
		if err := n.A.Do(func() {
			l, err := netlink.LinkByIndex(n.A.Index)
			if err == nil {
				err = netlink.LinkSetDown(l)
			}
			if err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	whole := []quietFrame{{port: 7149, more: true}, {offset: 16}}
	for _, tt := range []struct {
		name   string
		mode   Mode
		source string // "": 239.1.2.3:7148
		queues []int
		frames []quietFrame
		begin  func(*testing.T, *testnet.Net) // in the receiver's namespace, when it receives
		want   ledger.Reason
	}{
		{name: "nothing", mode: ModeNative, want: ledger.ReasonNoTraffic},
		{name: "link", mode: ModeNative, begin: unplug, want: ledger.ReasonLinkDown},
		{name: "link, sockets", mode: ModeUDP, begin: unplug, want: ledger.ReasonLinkDown},
		{name: "queue", mode: ModeNative, queues: []int{1}, frames: []quietFrame{{}}, want: ledger.ReasonOtherQueue},
		{name: "port", mode: ModeNative, frames: []quietFrame{{port: 7149}}, want: ledger.ReasonOtherPort},
		{name: "port, sockets", mode: ModeUDP, frames: []quietFrame{{port: 7149}}, want: ledger.ReasonOtherPort},
		{name: "fragments", mode: ModeNative, frames: []quietFrame{{more: true}, {offset: 16}}, want: ledger.ReasonFragments},
		{name: "fragments, generic mode", mode: ModeGeneric, frames: []quietFrame{{more: true}, {offset: 16}}, want: ledger.ReasonFragments},
		{name: "fragments of another port", mode: ModeNative, frames: whole, want: ledger.ReasonOtherPort},
		{name: "fragments of another port, any address", mode: ModeNative, source: ":7148", frames: whole, want: ledger.ReasonOtherTraffic},
		{name: "fragments of another port, sockets", mode: ModeUDP, frames: whole, want: ledger.ReasonOtherPort},
		{name: "parts, sockets", mode: ModeUDP, frames: []quietFrame{{more: true}}, want: ledger.ReasonFragmentsLost},
		{name: "no room for fragments, sockets", mode: ModeUDP, frames: []quietFrame{{more: true}, {offset: 16}}, begin: func(t *testing.T, _ *testnet.Net) {
			sysctl(t, "ipv4/ipfrag_low_thresh", "0")
			sysctl(t, "ipv4/ipfrag_high_thresh", "0")
		}, want: ledger.ReasonFragmentsLost},
		{name: "checksum", mode: ModeUDP, frames: []quietFrame{{badChecksum: true}}, want: ledger.ReasonBadChecksum},
		{name: "rp_filter", mode: ModeUDP, frames: []quietFrame{{from: "10.99.0.1"}}, begin: strict, want: ledger.ReasonReversePath},
		{name: "firewall", mode: ModeUDP, frames: []quietFrame{{}}, begin: func(t *testing.T, _ *testnet.Net) { testnet.DropInput(t) }, want: ledger.ReasonNotDelivered},
		{name: "vlan", mode: ModeUDP, frames: []quietFrame{{vlan: 9}}, want: ledger.ReasonOtherVLAN},
		{name: "no SPEAD", mode: ModeNative, frames: []quietFrame{{}}, want: ledger.ReasonNotSPEAD},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := testnet.New(t, testnet.Options{Queues: 2, SenderQueues: 1}) // all comes on queue 0
			log := &codes{}
			c := Config{
				Streams: []Stream{{Source: "239.1.2.3:7148"}}, Interfaces: []string{n.B.Name}, Mode: tt.mode, Queues: tt.queues,
				HeapSize: 64 << 10, Frames: 64, Hugepages: pool.PagesOff, Logger: slog.New(log),
			}
			if tt.source != "" {
				c.Streams[0].Source = tt.source
			}
			var r *Receiver
			var err error
			n.Do(func() { r, err = Open(t.Context(), c) })
			testnet.NeedPrivilege(t, err)
			defer r.Close()
			if tt.begin != nil {
				n.Do(func() { tt.begin(t, n) })
			}
			r.quiet.mu.Lock()
			s := r.Stats()
			r.quiet.base = r.quietCounts(&s)
			r.quiet.mu.Unlock()
			if tt.frames != nil {
				var frames [][]byte
				for i := range 40 {
					for _, f := range tt.frames {
						b := f.bytes(n.A.Addr4)
						if f.more || f.offset > 0 { // a datagram of its own
							ip := bytes.Index(b, []byte{8, 0, 0x45}) + 2
							b[ip+5] = byte(i)
							sum := binary.BigEndian.Uint16(b[ip+10:]) + 1 - uint16(i)
							binary.BigEndian.PutUint16(b[ip+10:], sum)
						}
						frames = append(frames, b)
					}
				}
				n.Inject(t, frames)
			}
			// Nothing tells when the kernel has handled the frames: the counters are read until
			// they show it.
			var d ledger.Diagnosis
			for deadline := time.Now().Add(10 * time.Second); d.Cause != tt.want && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				r.quiet.mu.Lock()
				r.quiet.since, r.quiet.next = time.Now().Add(-quietTime), quietTime
				r.quiet.mu.Unlock()
				r.listenQuiet(time.Now(), false)
				for _, found := range r.Diagnoses() {
					if found.Code == ledger.NothingArrived {
						d = found
					}
				}
			}
			if d.Cause != tt.want || d.Duration < quietTime {
				t.Fatalf("%+v, %+v, want %s", d, d.Silence, tt.want)
			}
			if len(d.Silence.Where) != 1 {
				t.Fatalf("listens at %v", d.Silence.Where)
			}
			p := d.Silence.Where[0]
			group := map[bool]int{true: 1}[tt.source == ""]
			if p.Device != n.B.Name || p.Mode != tt.mode.String() || p.Groups != group || len(p.Addrs) != 1 || p.Up != (tt.want != ledger.ReasonLinkDown) || (len(p.Queues) == 0) != (tt.mode == ModeUDP) {
				t.Errorf("listens at %+v", p)
			}
			// The one second's look must not blame fragments of others.
			r.findings.look(r)
			if n := log.count(ledger.Fragments); (n > 0) != (tt.want == ledger.ReasonFragments) {
				t.Errorf("fragments were reported %d times", n)
			}
		})
	}
}

// sysctl sets one of net in the namespace of the calling thread.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// TestFragmentRemedies: AF_XDP's remedies name sockets and the sender, those of sockets only the latter.
func TestFragmentRemedies(t *testing.T) {
	for _, tt := range []struct {
		d       ledger.Diagnosis
		sockets bool
	}{
		{ledger.Diagnosis{Code: ledger.Fragments, Count: 9}, true},
		{ledger.Diagnosis{Code: ledger.NothingArrived, Cause: ledger.ReasonFragments}, true},
		{ledger.Diagnosis{Code: ledger.NothingArrived, Cause: ledger.ReasonFragmentsLost}, false},
	} {
		text := tt.d.Sentence(flagname.Name)
		if strings.Contains(text, "--mode udp") != tt.sockets || !strings.Contains(text, "Let the sender use smaller packets") {
			t.Errorf("%s %s: %q", tt.d.Code, tt.d.Cause, text)
		}
	}
}

// TestNothingArrivedAtEnd: a run that has received nothing says so also before 5 s.
func TestNothingArrivedAtEnd(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		log := &codes{}
		r, err := Open(t.Context(), Config{
			Streams: []Stream{{Source: "127.0.0.1:47148"}}, Mode: ModeUDP, HeapSize: 64 << 10, Hugepages: pool.PagesOff, Logger: slog.New(log),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if arrives {
			conn, err := net.Dial("udp4", "127.0.0.1:47148")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			// A packet of a heap of 8 bytes.
			pkt := []byte{0x53, 4, 2, 6, 0, 0, 0, 4}
			for _, it := range [][2]uint64{{1, 7}, {2, 8}, {3, 0}, {4, 8}} {
				pkt = binary.BigEndian.AppendUint64(pkt, 1<<63|it[0]<<48|it[1])
			}
			if _, err := conn.Write(append(pkt, make([]byte, 8)...)); err != nil {
				t.Fatal(err)
			}
			h, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.Release()
		}
		r.quiet.mu.Lock()
		r.quiet.since = r.quiet.since.Add(-quietAtEnd)
		r.quiet.mu.Unlock()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if got := log.count(ledger.NothingArrived); (got > 0) == arrives {
			t.Errorf("something arrived: %t, and it was said %d times that nothing has", arrives, got)
		}
	}
}
