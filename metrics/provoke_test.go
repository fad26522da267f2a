// SPDX-License-Identifier: Apache-2.0

//go:build linux

package metrics

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/ledger"
)

// quarter is a part of a heap's payload: each heap here has four.
const quarter = 1000

// part is the packet with one quarter of a heap of SPEAD-64-48.
func part(cnt uint64, k int) []byte { return packetOf(cnt, 4*quarter, k*quarter, quarter) }

func packetOf(cnt uint64, length, offset, n int) []byte {
	b := []byte{0x53, 4, 2, 6, 0, 0, 0, 4}
	for id, v := range []uint64{cnt, uint64(length), uint64(offset), uint64(n)} {
		b = binary.BigEndian.AppendUint64(b, 0x8000<<48|uint64(id+1)<<48|v)
	}
	return append(b, make([]byte, n)...)
}

// live is a receiver of a UDP socket of this machine that packets are sent to.
type live struct {
	*testing.T
	*speadx.Receiver
	to    netip.AddrPort
	out   []net.Conn
	sent  uint64
	taken chan uint64 // by the consumer, when it has ended
}

// send sends a packet from the k-th sender.
func (l *live) send(k int, packet []byte) {
	l.Helper()
	for len(l.out) <= k {
		c, err := net.Dial("udp4", l.to.String())
		if err != nil {
			l.Fatal(err)
		}
		l.Cleanup(func() { c.Close() })
		l.out = append(l.out, c)
	}
	if _, err := l.out[k].Write(packet); err != nil {
		l.Fatal(err)
	}
	l.sent++
}

// heaps sends whole heaps with counts from first to last.
func (l *live) heaps(first, last uint64) {
	for cnt := first; cnt <= last; cnt++ {
		for k := range 4 {
			l.send(0, part(cnt, k))
		}
	}
}

// await waits until the counters are so.
func (l *live) await(what string, ok func(*speadx.Stats) bool) {
	l.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s := l.Stats()
		if ok(&s) {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("no %s: %v", what, s.Fates)
		}
	}
}

func (l *live) arrived() {
	l.Helper()
	l.await("arrival of all packets", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.PacketsFed] == l.sent })
}

// consume takes heaps until the end, and holds each for a time.
func (l *live) consume(hold time.Duration) {
	for n := uint64(0); ; n++ {
		h, err := l.Next(context.Background())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.Error(err)
			}
			l.taken <- n
			return
		}
		time.Sleep(hold)
		h.Release()
	}
}

// TestEachDiagnosisOfPackets provokes the diagnoses that packets can: the packets come through
// a socket. Counter, code, values, sentence, metric and sums are checked at the end.
func TestEachDiagnosisOfPackets(t *testing.T) {
	for _, tt := range []struct {
		code    ledger.Code
		change  func(c *speadx.Config)
		run     func(l *live)
		counted func(s *speadx.Stats) uint64 // what the diagnosis counts
		want    func(d *ledger.Diagnosis) bool
		missing ledger.Causes // bytes
		also    ledger.Code
	}{
		{
			code: ledger.Unreadable,
			run: func(l *live) {
				go l.consume(0)
				l.heaps(1, 2)
				for range 3 {
					l.send(0, []byte("this is not SPEAD"))
				}
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.BadMagic] },
			want:    func(d *ledger.Diagnosis) bool { return d.Count == 3 && d.Fate == ledger.BadMagic.String() },
		},
		{
			code:   ledger.LatePackets,
			change: func(c *speadx.Config) { c.ConcurrentHeaps = 1 },
			run: func(l *live) {
				go l.consume(0)
				l.send(0, part(1, 0))
				l.heaps(2, 2)
				l.send(0, part(1, 1))
				l.send(0, part(1, 2))
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.Late] },
			want: func(d *ledger.Diagnosis) bool {
				return d.Count == 2 && d.Setting == "ConcurrentHeaps" && d.Value == 1 && d.Suggested == 2
			},
			// Two quarters came too late, one was discarded with its heap, and one never came.
			missing: ledger.Causes{ledger.Assembly: 3 * quarter, ledger.Network: quarter},
		},
		{
			code: ledger.RegularBytes,
			run: func(l *live) {
				go l.consume(0)
				for cnt := range uint64(10) {
					for _, k := range []int{0, 1, 3} {
						l.send(0, part(cnt+1, k))
					}
				}
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Streams[0].Counts[ledger.HeapsIncomplete] },
			want:    func(d *ledger.Diagnosis) bool { return d.Count == 10 && d.Every == 4 },
			missing: ledger.Causes{ledger.Assembly: 10 * 3 * quarter, ledger.Network: 10 * quarter}, // what came was discarded
			also:    ledger.NetworkLoss,
		},
		{
			code: ledger.RegularHeaps,
			run: func(l *live) {
				go l.consume(0)
				for cnt := range uint64(320) {
					if cnt%8 != 3 {
						l.heaps(cnt, cnt)
						l.arrived()
					}
				}
			},
			counted: func(s *speadx.Stats) uint64 { return s.Streams[0].Counts[ledger.HeapsMissing] / 40 * 8 },
			want:    func(d *ledger.Diagnosis) bool { return d.Every == 8 && d.Modulo == 8 && d.Heap == 3 },
			missing: ledger.Causes{ledger.Network: 40 * 4 * quarter},
			also:    ledger.HeapsGone,
		},
		{
			code: ledger.HeapTooLarge,
			run: func(l *live) {
				go l.consume(0)
				l.send(0, packetOf(1, 1<<20, 0, 1000))
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.OversizeHeap] },
			want:    func(d *ledger.Diagnosis) bool { return d.Setting == "HeapSize" && d.Suggested == 1<<20 },
		},
		{
			code: ledger.SendersCollide,
			run: func(l *live) {
				go l.consume(0)
				l.send(0, part(7, 0))
				l.arrived()
				l.send(1, part(7, 1))
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Streams[0].Counts[ledger.SourceConflicts] },
			want:    func(d *ledger.Diagnosis) bool { return d.Heap == 7 && d.Count == 1 && d.Senders[0] != d.Senders[1] },
		},
		{
			code:   ledger.SlotsHeld,
			change: func(c *speadx.Config) { c.ConsumerHeaps, c.ConcurrentHeaps = 1, 1 },
			run: func(l *live) {
				var held []*heap.Heap
				for cnt := uint64(1); ; cnt++ {
					l.heaps(cnt, cnt)
					l.arrived()
					if s := l.Stats(); s.Fates[ledger.NoSlot] > 0 {
						break
					}
					h, err := l.Next(context.Background())
					if err != nil {
						l.Fatal(err)
					}
					held = append(held, h)
				}
				for _, h := range held {
					h.Release()
				}
				go l.consume(0)
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.NoSlot] },
			want: func(d *ledger.Diagnosis) bool {
				return d.Count == 4 && d.Setting == "ConsumerHeaps" && d.Value == 1 && d.Suggested > 1
			},
		},
		{
			code:   ledger.RingOverflow,
			change: func(c *speadx.Config) { c.RingHeaps, c.OnFull = 2, heap.DropNewest },
			run: func(l *live) {
				l.heaps(1, 6)
				l.arrived()
				go l.consume(0)
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.RingFull] },
			want: func(d *ledger.Diagnosis) bool {
				return d.Count == 4*4 && d.Setting == "RingHeaps" && d.Value == 2 && d.Suggested > 2
			},
			missing: ledger.Causes{ledger.Ring: 4 * 4 * quarter},
		},
		{
			code:   ledger.RingBlocked,
			change: func(c *speadx.Config) { c.RingHeaps = 2 },
			run: func(l *live) {
				l.heaps(1, 6)
				l.await("blocked thread", func(s *speadx.Stats) bool { return s.Streams[0].Slots.Ready > 2 })
				time.Sleep(50 * time.Millisecond) // is what is counted
				go l.consume(0)
				l.arrived()
				l.await("end of the wait", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.BlockedTime] > 0 })
			},
			counted: func(s *speadx.Stats) uint64 { return s.Streams[0].Counts[ledger.Blocked] },
			want: func(d *ledger.Diagnosis) bool {
				return d.Count > 0 && d.Blocked >= 10*time.Millisecond && d.Setting == "RingHeaps" && d.Value == 2
			},
		},
		{
			code:   ledger.ConsumerSlow,
			change: func(c *speadx.Config) { c.RingHeaps, c.OnFull = 2, heap.DropNewest },
			run: func(l *live) {
				go l.consume(20 * time.Millisecond)
				for cnt := range uint64(100) {
					l.heaps(cnt+1, cnt+1)
					time.Sleep(4 * time.Millisecond) // the interval of the heaps
				}
				l.arrived()
			},
			counted: func(s *speadx.Stats) uint64 { return s.Fates[ledger.RingFull] },
			want:    func(d *ledger.Diagnosis) bool { return d.Count > 0 && d.Duration > d.Interval && d.Setting == "" },
		},
	} {
		t.Run(string(tt.code), func(t *testing.T) {
			free, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			to := netip.MustParseAddrPort(free.LocalAddr().String())
			free.Close()
			cfg := speadx.Config{Streams: []speadx.Stream{{Name: "s", Source: to.String()}}, Mode: speadx.ModeUDP, HeapSize: 4 * quarter, IgnoreStop: true, NoGRO: true}
			if tt.change != nil {
				tt.change(&cfg)
			}
			l := &live{T: t, Receiver: open(t, cfg), to: to, taken: make(chan uint64, 1)}
			c := NewCollector(l.Receiver, Options{})
			tt.run(l)
			l.Stop()
			<-l.taken
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			checkDiagnosis(t, l.Receiver, c, tt.code, tt.counted, tt.want)
			if s := l.Stats(); tt.missing.Sum() > 0 && s.Missing != tt.missing {
				t.Errorf("missing bytes %v, want %v", s.Missing, tt.missing)
			}
			if tt.also != "" {
				checkDiagnosis(t, l.Receiver, c, tt.also, nil, nil)
			}
		})
	}
}

// checkDiagnosis checks that a diagnosis was made, with its values, and that the counter, the
// metric and the sums agree. Without counted and want only the code and the sentence count.
func checkDiagnosis(t *testing.T, r *speadx.Receiver, c *Collector, code ledger.Code, counted func(*speadx.Stats) uint64, want func(*ledger.Diagnosis) bool) {
	t.Helper()
	s := r.Stats()
	all := gather(t, c)
	checkStats(t, all, &s)
	if s.Unaccounted != 0 || s.Missing.Sum() != s.MissingBytes() {
		t.Errorf("%d packets unaccounted, %d bytes missing, %d with a cause", s.Unaccounted, s.MissingBytes(), s.Missing.Sum())
	}
	var n uint64
	var found []ledger.Code
	for _, d := range r.Diagnoses() {
		found = append(found, d.Code)
		if d.Code != code {
			continue
		}
		if n += d.Count; d.Every > 0 && d.Count == 0 {
			n += d.Every
		}
		if want != nil && !want(&d) {
			t.Errorf("%+v", d)
		}
		if text := d.Sentence(flagname.Name); text == "" || strings.ContainsAny(text, "{}") {
			t.Errorf("says %q", text)
		}
		series := map[string]string{"code": string(code)}
		if got := value(t, all, "speadx_diagnosis_timestamp_seconds", series); got == 0 {
			t.Errorf("the metric is %v", got)
		}
	}
	if n == 0 {
		t.Fatalf("found %v, not %s: %v", found, code, s.Fates)
	}
	if counted != nil && counted(&s) != n {
		t.Errorf("the counter is %d, the diagnosis has %d", counted(&s), n)
	}
}

// TestSilentSender: in a capture one of two senders falls silent.
func TestSilentSender(t *testing.T) {
	file := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0}
	record := func(second uint32, from byte, payload []byte) {
		udp := binary.BigEndian.AppendUint16([]byte{0x1b, 0xec, 0x1b, 0xec}, uint16(8+len(payload)))
		udp = append(append(udp, 0, 0), payload...)
		ip := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(udp)))
		ip = append(ip, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 239, 1, 2, 3)
		frame := append(append(append(make([]byte, 12), 8, 0), ip...), udp...)
		for _, v := range []uint32{1_700_000_000 + second, 0, uint32(len(frame)), uint32(len(frame))} {
			file = binary.LittleEndian.AppendUint32(file, v)
		}
		file = append(file, frame...)
	}
	for second := range uint32(20) {
		for k := range 4 {
			record(second, 1, part(uint64(2*second+2), k))
			if second < 10 {
				record(second, 2, part(uint64(2*second+3), k))
			}
		}
	}
	path := filepath.Join(t.TempDir(), "silent.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, speadx.Config{Streams: []speadx.Stream{{Name: "s", Source: path}}, HeapSize: 4 * quarter})
	c := NewCollector(r, Options{})
	if n := drain(t, r); n != 30 {
		t.Errorf("%d heaps", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	checkStats(t, gather(t, c), &s)
	for _, d := range r.Diagnoses() {
		if d.Code == ledger.SourceSilent {
			if d.Source != "10.0.0.2:7148" || d.Duration != 10*time.Second {
				t.Errorf("%+v", d)
			}
			return
		}
	}
	t.Errorf("no %s: %+v", ledger.SourceSilent, r.Diagnoses())
}
