// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// TestSteadyState: once it runs, the receiver allocates nothing, neither for a
// packet nor for a heap. What else goes on in the process is the scheduler, with far less than
// one allocation in 20 heaps, and each second a look at the counters and the interfaces.
func TestSteadyState(t *testing.T) {
	const warm, heaps = 200, 2000
	check := func(t *testing.T, r *speadx.Receiver) {
		take(t, r, warm)
		began := time.Now()
		packets, start := r.Stats().Packets, mallocs()
		take(t, r, heaps)
		n := mallocs() - start
		looks := uint64(time.Since(began)/time.Second) + 1
		packets = r.Stats().Packets - packets
		t.Logf("%d allocations for %d heaps in some %d packets", n, heaps, packets)
		if n > heaps/20+looks*200 || packets < 5*heaps {
			t.Errorf("%d allocations while %d heaps in some %d packets were received", n, heaps, packets)
		}
	}
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize = mode, 16<<10
			r := open(t, n, cfg)
			s := openSender(t, n, send.Config{Heaps: -1, HeapSize: 8 << 10, Items: 2, Verify: true, Rate: 0.4e9, NoDescriptors: true, NoStop: true})
			ctx, stop := context.WithCancel(t.Context())
			var sending sync.WaitGroup
			sending.Go(func() {
				if _, err := s.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			check(t, r)
			stop()
			sending.Wait()
		})
	}
	t.Run("tcp", func(t *testing.T) {
		addr := freeTCPPort(t, "127.0.0.1")
		cfg := overTCP(addr)
		cfg.HeapSize = 16 << 10
		r := openHere(t, t.Context(), cfg)
		s, err := send.Open(send.Config{
			Engine: send.TCP, Destinations: []netip.AddrPort{addr},
			Heaps: -1, HeapSize: 8 << 10, Items: 2, Verify: true, Rate: 0.4e9, NoDescriptors: true, NoStop: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, stop := context.WithCancel(t.Context())
		var sending sync.WaitGroup
		sending.Go(func() {
			if _, err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		check(t, r)
		stop()
		sending.Wait()
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "heaps.pcap")
		writeCapture(t, path, warm+heaps+100)
		r, err := speadx.Open(t.Context(), speadx.Config{
			Streams: []speadx.Stream{{Source: path}}, HeapSize: 16 << 10, Hugepages: pool.PagesOff,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		check(t, r)
	})
}

// take receives so many heaps and checks them, without allocating.
func take(t *testing.T, r *speadx.Receiver, heaps int) {
	t.Helper()
	ctx := t.Context()
	var items [4][]byte
	for range heaps {
		h, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		list := items[:0]
		for _, it := range h.Items() {
			list = append(list, it.Data)
		}
		if err := pattern.CheckHeap(h.Cnt(), list); err != nil {
			t.Fatal(err)
		}
		h.Release()
	}
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// writeCapture writes a capture of heaps of 8 KiB that hold the pattern.
func writeCapture(t *testing.T, path string, heaps int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: spead.DefaultMaxPacket})
	if err != nil {
		t.Fatal(err)
	}
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(10, 0, 0, 2)}
	udp := &layers.UDP{SrcPort: 5000, DstPort: port}
	payload := make([]byte, 8<<10)
	for i := range heaps {
		pattern.Fill(payload, uint64(i*len(payload)))
		if err := p.Start(uint64(i+1), []spead.OutItem{{ID: pattern.FirstID, Data: payload}}); err != nil {
			t.Fatal(err)
		}
		for {
			packet, segments, ok := p.Next(nil, nil)
			if !ok {
				break
			}
			for _, s := range segments {
				packet = append(packet, s...)
			}
			b := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, eth, ip, udp, gopacket.Payload(packet)); err != nil {
				t.Fatal(err)
			}
			info := gopacket.CaptureInfo{Timestamp: time.Unix(1e9, int64(i)*1000), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}
			if err := w.WritePacket(info, b.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestKilled: a process that is killed in full flow leaves nothing on the
// interface, and the next receiver works at once.
func TestKilled(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	s := openSender(t, n, send.Config{Heaps: -1, HeapSize: heapBytes, MaxPacket: heapPacket, Verify: true, Rate: 1e9, NoStop: true, NoDescriptors: true})
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer sending.Wait()
	defer stop()
	for range 3 {
		c := startChild(t, n, one(n))
		if programs(t, n) == "" {
			t.Fatal("the child has no program on the interface")
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err == nil {
			t.Error("the child ended by itself")
		}
		if left := programs(t, n); left != "" {
			t.Errorf("left on the interface: %s", left)
		}
		r, err := tryOpen(t, n, one(n))
		if err != nil {
			t.Fatal(err)
		}
		take(t, r, 20)
		r.Close()
	}
}
