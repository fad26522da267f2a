// SPDX-License-Identifier: Apache-2.0

//go:build linux

package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

const capture = "../testdata/captures/lossy.pcap"

func open(t testing.TB, c speadx.Config) *speadx.Receiver {
	t.Helper()
	c.Hugepages = pool.PagesOff
	r, err := speadx.Open(context.Background(), c)
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

// drain takes all heaps, and returns how many.
func drain(t testing.TB, r *speadx.Receiver) (n uint64) {
	t.Helper()
	for {
		h, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		h.Release()
	}
}

// checkStats compares each counter of a scrape with Stats.
func checkStats(t *testing.T, all map[string]*dto.MetricFamily, s *speadx.Stats) {
	t.Helper()
	f := newFamilies()
	var fates float64
	for i, n := range s.Fates {
		row := ledger.Fate(i).Row()
		got := value(t, all, "speadx_fate_packets_total", map[string]string{"fate": row.Name})
		if fates += got; got != float64(n) {
			t.Errorf("fate %s: %v, want %d", row.Name, got, n)
		}
	}
	packets := value(t, all, "speadx_packets_total", nil)
	if packets != float64(s.Packets) || packets != fates || value(t, all, "speadx_unaccounted_packets", nil) != 0 {
		t.Errorf("%v packets, want %d; %v with a fate", packets, s.Packets, fates)
	}
	missing := 0.0
	for i := range s.Missing {
		missing += value(t, all, "speadx_missing_bytes_total", map[string]string{"cause": ledger.Stage(i).String()})
	}
	if missing != float64(s.MissingBytes()) {
		t.Errorf("%v bytes missing, want %d", missing, s.MissingBytes())
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		for k, n := range st.Counts {
			if got := value(t, all, "speadx_"+f.stream[k].name, map[string]string{"stream": st.Name}); got != ledger.StreamCounter(k).Row().Value(n) {
				t.Errorf("%s %s: %v, want %d", st.Name, f.stream[k].name, got, n)
			}
		}
	}
}

// TestCapture: a scrape of a run is what its Stats say, also after Close.
func TestCapture(t *testing.T) {
	r := open(t, speadx.Config{Streams: []speadx.Stream{{Name: "a", Source: capture}, {Name: "b", Source: capture}}, HeapSize: 1 << 20})
	c := NewCollector(r, Options{})
	heaps := drain(t, r)
	s := r.Stats()
	checkStats(t, gather(t, c), &s)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	all := gather(t, c)
	checkStats(t, all, &s)
	var assembled, waited uint64
	for i := range 2 {
		assembled += all["speadx_heap_assembly_seconds"].Metric[i].Histogram.GetSampleCount()
		waited += all["speadx_heap_wait_seconds"].Metric[i].Histogram.GetSampleCount()
	}
	if assembled != heaps || waited != heaps || heaps == 0 {
		t.Errorf("%d heaps taken, %d assembled, %d waited", heaps, assembled, waited)
	}
	stream := map[string]string{"stream": "b"}
	for name, want := range map[string]float64{"speadx_receiving": 0, "speadx_input_ended": 1} {
		labels := stream
		if name == "speadx_receiving" {
			labels = nil
		}
		if got := value(t, all, name, labels); got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	lost := value(t, all, "speadx_input_last_loss_timestamp_seconds", stream)
	if data := value(t, all, "speadx_input_last_data_timestamp_seconds", stream); data == 0 || lost == 0 || s.Streams[1].Fates.Lost() == 0 {
		t.Errorf("last data %v, last loss %v, of %d lost", data, lost, s.Streams[1].Fates.Lost())
	}
}

// packetsOf are the packets of heaps 1 to n, of size bytes each.
func packetsOf(t testing.TB, n, size int) (out [][]byte) {
	t.Helper()
	pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 1472})
	if err != nil {
		t.Fatal(err)
	}
	for cnt := range n {
		if err := pk.Start(uint64(cnt+1), []spead.OutItem{{ID: 0x1000, Data: make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
		for {
			p, ok := pk.AppendNext(nil)
			if !ok {
				break
			}
			out = append(out, p)
		}
	}
	return out
}

// TestScrapesWhileReceiving: scrapes go on while packets come, and while the receiver is
// closed. Counters never go back, and each scrape is whole.
func TestScrapesWhileReceiving(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().String()
	conn.Close()
	r := open(t, speadx.Config{Streams: []speadx.Stream{{Name: "lo", Source: to}}, Mode: speadx.ModeUDP, HeapSize: 1 << 16})
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(NewCollector(r, Options{})); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 3 {
		scrapers.Go(func() {
			last := map[string]float64{}
			for done := false; !done; {
				select {
				case <-stop:
					done = true // once more, after Close
				default:
				}
				list, err := reg.Gather()
				if err != nil {
					t.Error(err)
					return
				}
				for _, f := range list {
					for _, m := range f.Metric {
						if m.Counter == nil && m.Histogram == nil {
							continue
						}
						key := f.GetName()
						for _, l := range m.Label {
							key += "," + l.GetValue()
						}
						v := m.Counter.GetValue() + float64(m.Histogram.GetSampleCount())
						if v < last[key] {
							t.Errorf("%s went back from %v to %v", key, last[key], v)
						}
						last[key] = v
					}
				}
			}
		})
	}
	out, err := net.Dial("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const heaps = 200
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		for range heaps {
			h, err := r.Next(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			h.Release()
		}
	}()
	for _, p := range packetsOf(t, heaps, 20000) {
		if _, err := out.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	<-taken
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	scrapers.Wait()
	s := r.Stats()
	checkStats(t, gather(t, NewCollector(r, Options{})), &s)
	if s.Fates.Lost() != 0 || s.Streams[0].Counts[ledger.HeapsDelivered] != heaps {
		t.Errorf("%d packets lost, %d heaps delivered", s.Fates.Lost(), s.Streams[0].Counts[ledger.HeapsDelivered])
	}
}

// TestSocketsAndGroups: how a stream is received, and the state of its groups.
func TestSocketsAndGroups(t *testing.T) {
	r := open(t, speadx.Config{Mode: speadx.ModeUDP, Interfaces: []string{"lo"}, NoGRO: true, SpareStreams: 1, Streams: []speadx.Stream{{Name: "g", Source: "239.255.77.1+1:17148"}}})
	c := NewCollector(r, Options{})
	group := map[string]string{"device": "lo", "group": "239.255.77.2"}
	all := gather(t, c)
	if value(t, all, "speadx_multicast_joined", group) != 1 || len(all["speadx_multicast_joined"].Metric) != 2 {
		t.Error("not joined")
	}
	value(t, all, "speadx_socket_info", map[string]string{"stream": "g", "transport": "udp", "gro": "false"})
	// They follow what is added and removed.
	if err := r.Add(t.Context(), "h", "239.255.77.9:17148"); err != nil {
		t.Fatal(err)
	}
	all = gather(t, c)
	value(t, all, "speadx_socket_info", map[string]string{"stream": "h", "transport": "udp", "gro": "false"})
	value(t, all, "speadx_multicast_joined", map[string]string{"device": "lo", "group": "239.255.77.9"})
	if err := r.Remove(t.Context(), "h", "239.255.77.9:17148"); err != nil {
		t.Fatal(err)
	}
	if n := len(gather(t, c)["speadx_socket_info"].Metric); n != 1 {
		t.Errorf("%d series of socket_info after Remove", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if value(t, gather(t, c), "speadx_multicast_joined", group) != 0 {
		t.Error("joined after Close")
	}
}

// BenchmarkReceiver scrapes a receiver of 64 streams on 16 queues of a veth pair, while no
// packets come.
func BenchmarkReceiver(b *testing.B) {
	const streams, queues = 64, 16
	n := testnet.New(b, testnet.Options{Queues: queues})
	cfg := speadx.Config{Interfaces: []string{n.B.Name}, Mode: speadx.ModeNative, HeapSize: 64 << 10, ConcurrentHeaps: 4, Frames: 1024}
	for i := range uint16(streams) {
		cfg.Streams = append(cfg.Streams, speadx.Stream{Source: netip.AddrPortFrom(n.B.Addr4, 7148+i).String()})
	}
	var r *speadx.Receiver
	n.Do(func() { r = open(b, cfg) })
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(queues + 2)) // as speadx recv does
	c := NewCollector(r, Options{})
	if q := len(r.Info().Devices[0].Queues); q != queues {
		b.Fatalf("%d queues", q)
	}
	h := promhttp.HandlerFor(c, promhttp.HandlerOpts{EnableOpenMetrics: true})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			read(r)
		}
	})
	b.Run("scrape", func(b *testing.B) {
		began := processorTime(b)
		for b.Loop() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
		b.ReportMetric((processorTime(b)-began).Seconds()*1e3/float64(b.N), "cpu-ms/scrape")
	})
}
