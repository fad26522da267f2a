// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// freeTCPPort is a port of a host that nobody listens on.
func freeTCPPort(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// overTCP is a configuration that receives one stream over a connection to addr.
func overTCP(addr netip.AddrPort) speadx.Config {
	return speadx.Config{
		Streams:   []speadx.Stream{{Source: "tcp://" + addr.String()}},
		HeapSize:  1 << 20,
		Hugepages: pool.PagesOff, // those of the machine are for others
	}
}

// openHere is open in the namespace of the test.
func openHere(t testing.TB, ctx context.Context, c speadx.Config) *speadx.Receiver {
	t.Helper()
	r, err := speadx.Open(ctx, c)
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

// sendOverTCP sends heaps that hold the pattern, until all of them are with the
// kernel.
func sendOverTCP(t testing.TB, c send.Config, to ...netip.AddrPort) (send.Result, error) {
	t.Helper()
	c.Engine, c.Verify, c.Destinations = send.TCP, true, to
	s, err := send.Open(c)
	if err != nil {
		return send.Result{}, err
	}
	res, err := s.Run(t.Context())
	return res, errors.Join(err, s.Close())
}

// TestTCP receives a stream over a connection, to its stop heap or to its end.
func TestTCP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, packet := range []int{1472, 8972, 65535} {
			for _, noStop := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/stop %v", host, packet, !noStop), func(t *testing.T) {
					const heaps = 20
					addr := freeTCPPort(t, host)
					cfg := overTCP(addr)
					cfg.Mode = speadx.ModeNative // is of no account here
					r := openHere(t, t.Context(), cfg)
					if in := r.Info(); len(in.Listeners) != 1 || in.Listeners[0].Addr != addr || in.Listeners[0].Buffer != 0 ||
						in.Listeners[0].Stream != cfg.Streams[0].Source || len(in.Sockets)+len(in.Devices) != 0 || in.Threads != 1 || in.Streams[0].Blocks {
						t.Errorf("info %+v", in)
					}
					list := receiveAside(t, r)
					sent, err := sendOverTCP(t, send.Config{Heaps: heaps, HeapSize: 1_000_000, Items: 3, MaxPacket: packet, NoStop: noStop}, addr)
					if err != nil {
						t.Fatal(err)
					}
					checkHeaps(t, list(), heaps)
					checkEnd(t, r)
					s := settle(t, r)
					if s.Packets != sent.Packets || s.Bytes != sent.Bytes || s.SkippedBytes != 0 {
						t.Errorf("%d packets of %d bytes were sent: %d of %d received, %d bytes skipped", sent.Packets, sent.Bytes, s.Packets, s.Bytes, s.SkippedBytes)
					}
					checkFates(t, &s, map[ledger.Fate]uint64{
						ledger.Delivered:     sent.Packets - sent.StopHeaps,
						ledger.StreamControl: sent.StopHeaps,
					})
				})
			}
		}
	}
}

// TestTCPFaults: what a sender leaves out, repeats or sends late has the fates that
// it has over UDP.
func TestTCPFaults(t *testing.T) {
	addr := freeTCPPort(t, "127.0.0.1")
	cfg := overTCP(addr)
	cfg.Incomplete, cfg.RingHeaps = true, 8
	r := openHere(t, t.Context(), cfg)
	list := receiveAside(t, r)
	sent, err := sendOverTCP(t, send.Config{
		Heaps: 50, HeapSize: 100_000, Rate: 1e9, NoDescriptors: true,
		Faults: send.Faults{Drop: 0.01, Reorder: 0.1, Duplicate: 0.05, Seed: 3},
	}, addr)
	if err != nil {
		t.Fatal(err)
	}
	complete := uint64(0)
	for _, g := range list() {
		if g.complete {
			complete++
		}
		if g.wrong != nil {
			t.Error(g.wrong)
		}
	}
	s := settle(t, r)
	if s.Packets != sent.Packets || complete != sent.Heaps-sent.DamagedHeaps-sent.MissingHeaps || sent.DamagedHeaps == 0 || s.Fates[ledger.Duplicate] == 0 {
		t.Errorf("%d complete heaps of %+v; %s", complete, sent, account(s))
	}
}

// TestTCPSlowConsumer: a consumer that takes nothing for a while holds the sender
// up, and loses nothing.
func TestTCPSlowConsumer(t *testing.T) {
	const heaps = 100 // more than all the buffers on the way hold
	addr := freeTCPPort(t, "127.0.0.1")
	cfg := overTCP(addr)
	cfg.SocketBuffer = 256 << 10
	r := openHere(t, t.Context(), cfg)
	type outcome struct {
		send.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := sendOverTCP(t, send.Config{Heaps: heaps, HeapSize: 1 << 20, MaxPacket: 8972}, addr)
		done <- outcome{res, err}
	}()
	awaitStats(t, r, "blocked thread", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.Blocked] > 0 })
	select {
	case o := <-done:
		t.Fatalf("all was sent, and nothing taken: %+v, %v", o.Result, o.err)
	default:
	}
	if s := r.Stats(); s.Unaccounted != 0 {
		t.Errorf("%d packets are unaccounted for while the thread waits: %s", s.Unaccounted, account(s))
	}
	checkHeaps(t, receive(t, r), heaps)
	o := <-done
	if o.err != nil {
		t.Fatal(o.err)
	}
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{ledger.Delivered: o.Packets - 1, ledger.StreamControl: 1})
	if s.Packets != o.Packets {
		t.Errorf("%d packets of %d", s.Packets, o.Packets)
	}
}

// TestTCPEnds: while nobody has connected, and while a sender sends nothing, all
// ways to end it do. Open's context, once Open has returned, is none of them.
func TestTCPEnds(t *testing.T) {
	for name, way := range map[string]struct {
		end  func(*speadx.Receiver)
		want error
	}{
		"Stop":  {(*speadx.Receiver).Stop, io.EOF},
		"Close": {func(r *speadx.Receiver) { r.Close() }, speadx.ErrClosed},
	} {
		for _, connected := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/connected %v", name, connected), func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				addr := freeTCPPort(t, "127.0.0.1")
				r := openHere(t, ctx, overTCP(addr))
				cancel()
				want := map[ledger.Fate]uint64{}
				if connected {
					s, err := send.Open(send.Config{Engine: send.TCP, Destinations: []netip.AddrPort{addr}, HeapSize: 1000, Heaps: 1, NoStop: true, Verify: true, NoDescriptors: true})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					if _, err := s.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					h, err := r.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					h.Release()
					want[ledger.Delivered] = 1
				}
				select {
				case <-r.Done():
					t.Fatal("it ended with Open's context")
				default:
				}
				way.end(r)
				checkNext(t, r, way.want)
				if err := r.Add(t.Context(), "more", "127.0.0.1:7149"); !errors.Is(err, speadx.ErrClosed) {
					t.Errorf("Add after the end: %v", err)
				}
				s := settle(t, r)
				checkFates(t, &s, want)
			})
		}
	}
}

// packets are those of one heap of n bytes.
func packets(t testing.TB, cnt uint64, n int) [][]byte {
	t.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 1472})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(cnt, []spead.OutItem{{ID: 0x1000, Data: bytes.Repeat([]byte{byte(cnt)}, n)}}); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		header, payload, ok := p.Next(nil, nil)
		if !ok {
			return all
		}
		all = append(all, append(header, bytes.Join(payload, nil)...))
	}
}

// TestTCPLostSync: whatever a sender sends, the accounts close: what is no packet is
// one in the ledger for each stretch, with the reason.
func TestTCPLostSync(t *testing.T) {
	addr := freeTCPPort(t, "127.0.0.1")
	cfg := overTCP(addr)
	cfg.Incomplete = true
	r := openHere(t, t.Context(), cfg)
	list := receiveAside(t, r)
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	noFlavour := []byte{0x53, 4, 2, 5, 0, 0, 0, 0}
	noLength := []byte{0x53, 4, 2, 6, 0, 0, 0, 1, 0x80, 1, 0, 0, 0, 0, 0, 9}
	tooLong := append([]byte{0x53, 4, 2, 6, 0, 0, 0, 1, 0x80, 4, 0, 0, 0, 1, 0, 0}, make([]byte, 65536)...)
	stream := bytes.Join([][]byte{
		make([]byte, 800), bytes.Join(packets(t, 1, 10_000), nil),
		noFlavour, make([]byte, 80), bytes.Join(packets(t, 2, 10_000), nil),
		tooLong, bytes.Join(packets(t, 3, 10_000), nil),
		noLength, bytes.Join(packets(t, 4, 10_000), nil)[:10_000],
	}, nil)
	if _, err := c.Write(stream); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for i, g := range list() {
		if g.cnt != uint64(i+1) || g.complete != (i < 3) || i > 3 {
			t.Errorf("heap %d is %+v", i+1, g)
		}
	}
	each := uint64(len(packets(t, 1, 10_000)))
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{
		ledger.Delivered: 3 * each, ledger.DeliveredIncomplete: each - 1,
		ledger.BadMagic: 1, ledger.BadFlavour: 1, ledger.MissingItems: 1, ledger.ChainTooLong: 1, ledger.PayloadOverflow: 1,
	})
	if !slices.ContainsFunc(r.Diagnoses(), func(d ledger.Diagnosis) bool { return d.Code == ledger.PacketTooLong && d.Count == 1 }) {
		t.Errorf("found %+v", r.Diagnoses())
	}
	if want := uint64(800 + 88 + 16); s.SkippedBytes != want {
		t.Errorf("%d bytes were skipped, want %d", s.SkippedBytes, want)
	}
}

// TestTCPReset: heaps that came before a connection broke off are handed over, and
// then the error says whose it was.
func TestTCPReset(t *testing.T) {
	addr := freeTCPPort(t, "127.0.0.1")
	r := openHere(t, t.Context(), overTCP(addr))
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().String()
	for cnt := range uint64(3) {
		if _, err := c.Write(bytes.Join(packets(t, cnt, 10_000), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(packets(t, 9, 10_000)[0][:1000]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
	for cnt := range uint64(3) {
		h, err := r.Next(t.Context())
		if err != nil || h.Cnt() != cnt || h.Sender().String() != from {
			t.Fatalf("heap %d: %v", cnt, err)
		}
		h.Release()
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, unix.ECONNRESET) || !strings.Contains(err.Error(), "speadx: tcp "+addr.String()+": connection from "+from) {
		t.Errorf("the end is %v", err)
	}
	s := settle(t, r)
	if s.Fates[ledger.PayloadOverflow] != 1 || s.Fates[ledger.Delivered] != s.Packets-1 {
		t.Errorf("%s", account(s))
	}
}

// TestTCPBesideUDP: a port of UDP is not one of TCP, and one stream may come in over
// several connections.
func TestTCPBesideUDP(t *testing.T) {
	first, second := freeTCPPort(t, "127.0.0.1"), freeTCPPort(t, "127.0.0.1")
	cfg := overTCP(first)
	cfg.Mode = speadx.ModeUDP
	cfg.ConcurrentHeaps = 8
	cfg.Streams[0].Sources = []string{"tcp://" + second.String()}
	cfg.Streams = append(cfg.Streams, speadx.Stream{Source: first.String()})
	r := openHere(t, t.Context(), cfg)
	if in := r.Info(); in.Threads != 3 || len(in.Listeners) != 2 || in.Listeners[1].Addr != second || len(in.Sockets) != 1 || in.Streams[0].Sum.Threads != 2 || !in.Streams[1].Blocks {
		t.Errorf("info %+v", in)
	}
	list := receiveAside(t, r)
	sent, err := sendOverTCP(t, send.Config{Heaps: 10, HeapSize: 100_000, NoStop: true}, first, second)
	if err != nil {
		t.Fatal(err)
	}
	// The end of both connections is that of the first stream. The other one's is not
	// to come.
	awaitStats(t, r, "delivered heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsDelivered] == 10 })
	r.Stop()
	checkHeaps(t, list(), 10)
	s := settle(t, r)
	checkFates(t, &s, map[ledger.Fate]uint64{ledger.Delivered: sent.Packets})

	cfg.Streams[1].Source = "tcp://" + first.String()
	if r, err := speadx.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "is received by source tcp://"+first.String()+" already") {
		t.Errorf("one port twice: %v", err)
		if err == nil {
			r.Close()
		}
	}
}

// TestTCPPortTaken: the error says who has it, and nothing is left open.
func TestTCPPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := speadx.Open(t.Context(), overTCP(l.Addr().(*net.TCPAddr).AddrPort()))
	if err == nil {
		r.Close()
	}
	if want := fmt.Sprintf("speadx: tcp %v: bind: address already in use (port %d is taken by this process)", l.Addr(), l.Addr().(*net.TCPAddr).Port); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
