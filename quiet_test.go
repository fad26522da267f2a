//go:build linux

package speadx

import (
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

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
		{"fragments for sockets", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{Fragments: 9, IPReceived: 9}}}, ledger.ReasonFragments},
		{"fragments of others", quietFacts{known: true, xdp: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{Fragments: 9, IPReceived: 9}}}, ledger.ReasonOtherTraffic},
		{"checksum", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{BadChecksum: 9, Errors: 9, IPReceived: 9}}}, ledger.ReasonBadChecksum},
		{"checksums of others", quietFacts{known: true, xdp: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{BadChecksum: 9, IPReceived: 9}}}, ledger.ReasonOtherTraffic},
		{"rp_filter", quietFacts{sockets: true, quietCounts: quietCounts{protocols: netif.Protocols{ReversePath: 9, IPReceived: 9}}}, ledger.ReasonReversePath},
		{"port", quietFacts{known: true, quietCounts: quietCounts{devices: 9, protocols: netif.Protocols{NoPort: 9, IPReceived: 9}}}, ledger.ReasonOtherPort},
		{"endpoint", quietFacts{known: true, quietCounts: quietCounts{devices: 9, fates: fate(ledger.OtherEndpoint)}}, ledger.ReasonOtherPort},
		{"interface", quietFacts{known: true, quietCounts: quietCounts{protocols: netif.Protocols{NoPort: 9, IPReceived: 9}}}, ledger.ReasonOtherDevice},
		{"vlan", quietFacts{known: true, quietCounts: quietCounts{devices: 900, protocols: netif.Protocols{IPReceived: 9}}}, ledger.ReasonOtherVLAN},
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

// udpFrame is a datagram of 8 bytes to 239.1.2.3, with a VLAN tag unless vlan is 0.
func udpFrame(from netip.Addr, port, vlan uint16, fragment, badChecksum bool) []byte {
	b := []byte{0x01, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1}
	if vlan != 0 {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), vlan)
	}
	b = append(b, 8, 0)
	ip := []byte{0x45, 0, 0, 36, 0, 1, 0, 0, 9, 17, 0, 0}
	if fragment {
		ip[6] = 0x20 // more fragments
	}
	ip = append(append(ip, from.AsSlice()...), 239, 1, 2, 3)
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	b = append(b, ip...)
	b = binary.BigEndian.AppendUint16(append(b, 0x12, 0x34), port)
	b = append(b, 0, 16, 0, 0)
	if badChecksum {
		b[len(b)-1] = 1
	}
	return append(b, make([]byte, 8)...)
}

// TestNothingArrives: what comes in the place of our packets is told, with where we listen.
func TestNothingArrives(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  Mode
		frame func(from netip.Addr) []byte
		want  ledger.Reason
	}{
		{"nothing", ModeNative, nil, ledger.ReasonNoTraffic},
		{"port", ModeNative, func(a netip.Addr) []byte { return udpFrame(a, 7149, 0, false, false) }, ledger.ReasonOtherPort},
		{"port, sockets", ModeUDP, func(a netip.Addr) []byte { return udpFrame(a, 7149, 0, false, false) }, ledger.ReasonOtherPort},
		{"fragments", ModeNative, func(a netip.Addr) []byte { return udpFrame(a, 7148, 0, true, false) }, ledger.ReasonFragments},
		{"fragments, sockets", ModeUDP, func(a netip.Addr) []byte { return udpFrame(a, 7148, 0, true, false) }, ledger.ReasonFragments},
		{"checksum", ModeUDP, func(a netip.Addr) []byte { return udpFrame(a, 7148, 0, false, true) }, ledger.ReasonBadChecksum},
		{"vlan", ModeUDP, func(a netip.Addr) []byte { return udpFrame(a, 7148, 9, false, false) }, ledger.ReasonOtherVLAN},
		{"no SPEAD", ModeNative, func(a netip.Addr) []byte { return udpFrame(a, 7148, 0, false, false) }, ledger.ReasonNotSPEAD},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := testnet.New(t, testnet.Options{})
			log := &codes{}
			var r *Receiver
			var err error
			n.Do(func() {
				r, err = Open(t.Context(), Config{
					Streams: []Stream{{Source: "239.1.2.3:7148"}}, Interfaces: []string{n.B.Name}, Mode: tt.mode,
					HeapSize: 64 << 10, Frames: 64, Hugepages: pool.PagesOff, Logger: slog.New(log),
				})
			})
			testnet.NeedPrivilege(t, err)
			defer r.Close()
			r.quiet.mu.Lock()
			s := r.Stats()
			r.quiet.base = r.quietCounts(&s)
			r.quiet.mu.Unlock()
			if tt.frame != nil {
				frames := make([][]byte, 40)
				for i := range frames {
					frames[i] = tt.frame(n.A.Addr4)
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
			if p.Device != n.B.Name || p.Mode != tt.mode.String() || p.Groups != 1 || len(p.Addrs) != 1 || p.Addrs[0] != "239.1.2.3:7148" || !p.Up || (len(p.Queues) == 0) != (tt.mode == ModeUDP) {
				t.Errorf("listens at %+v", p)
			}
		})
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
