// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

var (
	groupA = netip.MustParseAddrPort("239.1.2.3:7148")
	groupB = netip.MustParseAddrPort("239.1.2.4:7148")
)

// collector receives and notes the heaps of each stream.
type collector struct {
	mu   sync.Mutex
	list map[string][]got
	done chan struct{}
}

func collect(t *testing.T, r *speadx.Receiver) *collector {
	c := &collector{list: map[string][]got{}, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for h, err := range r.Heaps(context.Background()) {
			if errors.Is(err, speadx.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			g := inspect(h)
			h.Release()
			c.mu.Lock()
			c.list[g.stream] = append(c.list[g.stream], g)
			c.mu.Unlock()
		}
	}()
	return c
}

// counts are those of a stream's heaps; each has to be whole and right.
func (c *collector) counts(t *testing.T, stream string) (counts []uint64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.list[stream] {
		if !g.complete || g.wrong != nil {
			t.Errorf("heap %d of %s: complete %v, %v", g.cnt, stream, g.complete, g.wrong)
		}
		counts = append(counts, g.cnt)
	}
	return counts
}

// member reports whether the receiver's namespace is in a group.
func member(t *testing.T, n *testnet.Net, group netip.Addr) bool {
	t.Helper()
	var text []byte
	var err error
	n.Do(func() { text, err = os.ReadFile("/proc/thread-self/net/igmp") })
	if err != nil {
		t.Fatal(err)
	}
	b := group.As4()
	return bytes.Contains(text, fmt.Appendf(nil, "\t%02X%02X%02X%02X ", b[3], b[2], b[1], b[0])) // as a little-endian word
}

func change(t *testing.T, n *testnet.Net, f func(context.Context, string, string) error, stream, source string) {
	t.Helper()
	if err := tryChange(t, n, f, stream, source); err != nil {
		t.Fatal(err)
	}
}

func tryChange(t *testing.T, n *testnet.Net, f func(context.Context, string, string) error, stream, source string) (err error) {
	t.Helper()
	n.Do(func() { err = f(t.Context(), stream, source) })
	return err
}

// flow sends heaps to a destination until the function that it returns is called, which
// returns what was sent.
func flow(t *testing.T, n *testnet.Net, to netip.AddrPort) func() send.Result {
	t.Helper()
	s := openSender(t, n, send.Config{Destinations: []netip.AddrPort{to}, Heaps: -1, HeapSize: 64 << 10, MaxPacket: 8972, Rate: 0.2e9, NoStop: true, Verify: true})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan send.Result, 1)
	go func() {
		res, err := s.Run(ctx)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		result <- res
	}()
	return func() send.Result { cancel(); return <-result }
}

// burst sends some heaps after those with counts up to first.
func burst(t *testing.T, n *testnet.Net, to netip.AddrPort, first uint64, heaps int64) send.Result {
	t.Helper()
	return sendHeaps(t, n, send.Config{Destinations: []netip.AddrPort{to}, First: first, Heaps: heaps, HeapSize: 64 << 10, MaxPacket: 8972, Rate: 0.5e9, NoStop: true})
}

func heapsOf(s *speadx.Stats, stream string) uint64 {
	for i := range s.Streams {
		if s.Streams[i].Name == stream {
			return s.Streams[i].Counts[ledger.HeapsDelivered]
		}
	}
	return 0
}

// TestChangeEndpoints: while A flows, B is removed and added again and again. Of A nothing
// is lost. Of B exactly the heaps come that were sent while it was in.
func TestChangeEndpoints(t *testing.T) {
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize, cfg.NoGRO = mode, 64<<10, true
			cfg.Streams = []speadx.Stream{{Name: "A", Source: groupA.String()}, {Name: "B", Source: groupB.String()}}
			r := open(t, n, cfg)
			c := collect(t, r)
			stopA := flow(t, n, groupA)
			var want []uint64
			count, since := uint64(0), time.Time{}
			for range 4 {
				if !member(t, n, groupB.Addr()) {
					t.Error("the group was not joined")
				}
				burst(t, n, groupB, count, 5)
				for range 5 {
					count++
					want = append(want, count)
				}
				if b := r.Times()[1]; b.Since.IsZero() || b.Since.Before(since) {
					t.Errorf("received since %v", b.Since)
				}
				// What was sent while it is in is worked off before it is out, even if
				// Remove comes at once.
				change(t, n, r.Remove, "B", groupB.String())
				if member(t, n, groupB.Addr()) {
					t.Error("the group was not left")
				}
				b := r.Times()[1]
				if _, expected := b.Silent(time.Now()); expected || !b.Since.IsZero() {
					t.Errorf("data is expected, and received since %v", b.Since)
				}
				since = time.Now()
				burst(t, n, groupB, count, 5)
				count += 5
				change(t, n, r.Add, "B", groupB.String())
			}
			burst(t, n, groupB, count, 1)
			want = append(want, count+1)
			sentA := stopA()
			awaitStats(t, r, "the last heaps", func(s *speadx.Stats) bool {
				return heapsOf(s, "B") == uint64(len(want)) && s.Streams[0].Counts[ledger.PacketsFed] == sentA.Packets
			})
			r.Stop()
			<-c.done
			s := settle(t, r)
			if got := c.counts(t, "B"); !slices.Equal(got, want) {
				t.Errorf("of B came %d, want %d", got, want)
			}
			gotA := c.counts(t, "A")
			for i, cnt := range gotA {
				if cnt != uint64(i+1) {
					t.Fatalf("of A came %d after %d heaps", cnt, i)
				}
			}
			a := &s.Streams[0]
			lost := a.Counts[ledger.PacketsFed] - a.Fates[ledger.Delivered] - a.Fates[ledger.DiscardedIncomplete]
			if incomplete := a.Counts[ledger.HeapsIncomplete]; lost != 0 || incomplete > 1 || a.Counts[ledger.PacketsFed] != sentA.Packets || len(gotA) < 10 {
				t.Errorf("of A %d of %d packets came, %d of them lost, %d heaps incomplete, %d received", a.Counts[ledger.PacketsFed], sentA.Packets, lost, incomplete, len(gotA))
			}
			if other := s.Fates[ledger.OtherEndpoint] + s.Fates[ledger.KernelDropped]; other != 0 {
				t.Errorf("%d packets were lost: %s", other, account(s))
			}
		})
	}
}

// TestAddUnicast: another port of the same stream, by AF_XDP and by a socket, whose port is
// free when it was removed.
func TestAddUnicast(t *testing.T) {
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize = mode, 64<<10
			cfg.Streams[0].Name = "A"
			r := open(t, n, cfg)
			c := collect(t, r)
			second := netip.AddrPortFrom(n.B.Addr4, port+1)
			for round := range uint64(3) {
				change(t, n, r.Add, "A", second.String())
				if got := r.Endpoints(); len(got) != 1 || got[0].Name != "A" || len(got[0].Endpoints) != 2 || got[0].Endpoints[1] != second {
					t.Errorf("endpoints %+v", got)
				}
				burst(t, n, second, round*10, 3)
				awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return heapsOf(s, "A") == 3*(round+1) })
				change(t, n, r.Remove, "", second.String())
			}
			r.Stop()
			<-c.done
			settle(t, r)
			if got := c.counts(t, "A"); !slices.Equal(got, []uint64{1, 2, 3, 11, 12, 13, 21, 22, 23}) {
				t.Errorf("heaps %d", got)
			}
		})
	}
}

// TestSpareStream: a whole new stream, with a numbering and a name of its own. It counts for
// the end, and a spare one that is not used does not.
func TestSpareStream(t *testing.T) {
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize, cfg.SpareStreams = mode, 64<<10, 2
			cfg.Streams[0].Name = "A"
			r := open(t, n, cfg)
			if s := r.Stats(); len(s.Streams) != 1 || r.SpareStreams() != 2 {
				t.Errorf("%d streams in use, %d spare", len(s.Streams), r.SpareStreams())
			}
			c := collect(t, r)
			change(t, n, r.Add, "B", "239.1.2.4+1:7148")
			if s := r.Stats(); len(s.Streams) != 2 || s.Streams[1].Name != "B" || r.SpareStreams() != 1 {
				t.Errorf("%d streams in use, %d spare", len(s.Streams), r.SpareStreams())
			}
			sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: 64 << 10, MaxPacket: 8972}) // A, which ends
			burst(t, n, groupB, 0, 3)
			awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return heapsOf(s, "B") == 3 })
			var e *speadx.ChangeError
			if err := tryChange(t, n, r.Add, "A", "239.1.2.9:7148"); !errors.As(err, &e) || e.Reason != speadx.ChangeStreamEnded {
				t.Errorf("added to a stream that has ended: %v", err)
			}
			select {
			case <-r.Done():
				t.Error("the end came before that of all streams")
			default:
			}
			sendHeaps(t, n, send.Config{Destinations: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.5:7148")}, First: 3, Heaps: 2, HeapSize: 64 << 10, MaxPacket: 8972})
			<-c.done // by the stop heap
			settle(t, r)
			if a, b := c.counts(t, "A"), c.counts(t, "B"); !slices.Equal(a, []uint64{1, 2, 3}) || !slices.Equal(b, []uint64{1, 2, 3, 4, 5}) {
				t.Errorf("heaps %d and %d", a, b)
			}
		})
	}
}

// TestRemovedStreamDoesNotHoldUpTheEnd: a stream without endpoints cannot end by a stop item.
func TestRemovedStreamDoesNotHoldUpTheEnd(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Streams = []speadx.Stream{{Name: "A", Source: groupA.String()}, {Name: "B", Source: groupB.String()}}
	r := open(t, n, cfg)
	c := collect(t, r)
	sendHeaps(t, n, send.Config{Destinations: []netip.AddrPort{groupA}, Heaps: 1, HeapSize: 1000})
	awaitStats(t, r, "stop heap", func(s *speadx.Stats) bool { return s.Fates[ledger.StreamControl] > 0 })
	change(t, n, r.Remove, "B", groupB.String())
	<-c.done
	settle(t, r)
}

// TestChangeErrors: each reason, and after each the receiver is as it was.
func TestChangeErrors(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Interfaces = nil // each address has its own
	cfg.Streams = []speadx.Stream{{Name: "A", Source: groupA.String()}, {Name: "T", Source: "tcp://127.0.0.1:7148"}}
	r := open(t, n, cfg)
	before := fmt.Sprint(r.Endpoints())
	for _, tt := range []struct {
		name           string
		f              func(context.Context, string, string) error
		stream, source string
		want           speadx.ChangeReason
	}{
		{"no source", r.Add, "A", "", speadx.ChangeBadSource},
		{"no file", r.Add, "A", "nowhere.pcap", speadx.ChangeBadSource},
		{"remove nonsense", r.Remove, "A", "239.1.2.3:0", speadx.ChangeBadSource},
		{"TCP", r.Add, "A", "tcp://:7149", speadx.ChangeFixed},
		{"remove TCP", r.Remove, "T", "tcp://127.0.0.1:7148", speadx.ChangeFixed},
		{"to a stream of TCP", r.Add, "T", groupB.String(), speadx.ChangeFixed},
		{"new stream", r.Add, "B", groupB.String(), speadx.ChangeNoSpareStream},
		{"new stream without a name", r.Add, "", groupB.String(), speadx.ChangeNoSpareStream},
		{"a name of two lines", r.Add, "B\nerror: forged", groupB.String(), speadx.ChangeBadName},
		{"a name for terminals", r.Add, "B\x1b[2J", groupB.String(), speadx.ChangeBadName},
		{"a name that is not UTF-8", r.Add, "B\xff", groupB.String(), speadx.ChangeBadName},
		{"a name that is too long", r.Add, strings.Repeat("B", 256), groupB.String(), speadx.ChangeBadName},
		{"twice", r.Add, "A", groupA.String(), speadx.ChangeReceived},
		{"twice, among others", r.Add, "A", "239.1.2.1+4:7148", speadx.ChangeReceived},
		{"lo", r.Add, "A", "127.0.0.1:7149", speadx.ChangeOtherInterface},
		{"any address", r.Add, "A", ":7149", speadx.ChangeFailed}, // native mode has no interface for it
		{"remove what is not there", r.Remove, "A", groupB.String(), speadx.ChangeNotReceived},
		{"remove some that are not there", r.Remove, "A", "239.1.2.3+1:7148", speadx.ChangeNotReceived},
		{"remove from nobody", r.Remove, "", groupB.String(), speadx.ChangeNotReceived},
		{"remove from no stream", r.Remove, "X", groupA.String(), speadx.ChangeNoStream},
		{"remove from another stream", r.Remove, "T", groupA.String(), speadx.ChangeNotReceived},
	} {
		err := tryChange(t, n, tt.f, tt.stream, tt.source)
		var e *speadx.ChangeError
		if !errors.As(err, &e) || e.Reason != tt.want || e.Source != tt.source || e.Stream != tt.stream {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		} else if !strings.HasPrefix(err.Error(), "speadx: source ") {
			t.Errorf("%s: message %q", tt.name, err)
		}
		if now := fmt.Sprint(r.Endpoints()); now != before {
			t.Fatalf("%s: endpoints %s, were %s", tt.name, now, before)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Add(cancelled, "A", groupB.String()); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func(context.Context, string, string) error{r.Add, r.Remove} {
		var e *speadx.ChangeError
		if err := tryChange(t, n, f, "A", groupA.String()); !errors.As(err, &e) || e.Reason != speadx.ChangeEnding {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestChangePortTaken: a port of which somebody else has the socket. The endpoints before it
// are given back.
func TestChangePortTaken(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Mode = speadx.ModeUDP
	cfg.Streams[0].Name = "A"
	r := open(t, n, cfg)
	other := open(t, n, speadx.Config{Streams: []speadx.Stream{{Source: "127.0.0.2:7149"}}, Mode: speadx.ModeUDP, HeapSize: 1000})
	err := tryChange(t, n, r.Add, "A", "127.0.0.1+1:7149")
	var e *speadx.ChangeError
	if !errors.As(err, &e) || e.Reason != speadx.ChangeFailed || !strings.Contains(err.Error(), "port 7149 is taken") {
		t.Errorf("got %v", err)
	}
	if got := r.Endpoints(); len(got[0].Endpoints) != 1 {
		t.Errorf("endpoints %+v", got)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, n, r.Add, "A", "127.0.0.1+1:7149")
	if got := r.Endpoints(); len(got[0].Endpoints) != 3 {
		t.Errorf("endpoints %+v", got)
	}
}

// TestFailedAddGivesTheSpareBack: a new stream that cannot be received leaves nothing. Its
// spare stream is there for the next.
func TestFailedAddGivesTheSpareBack(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := one(n)
	cfg.Mode, cfg.SpareStreams, cfg.HeapSize = speadx.ModeUDP, 1, 64<<10
	cfg.Streams[0].Name = "A"
	r := open(t, n, cfg)
	c := collect(t, r)
	before := fmt.Sprint(r.Endpoints())
	other := open(t, n, speadx.Config{Streams: []speadx.Stream{{Source: "127.0.0.2:7149"}}, Mode: speadx.ModeUDP, HeapSize: 1000})
	for _, name := range []string{"B", "", "B"} {
		err := tryChange(t, n, r.Add, name, "127.0.0.1+1:7149")
		var e *speadx.ChangeError
		if !errors.As(err, &e) || e.Reason != speadx.ChangeFailed {
			t.Errorf("got %v", err)
		}
		if now := fmt.Sprint(r.Endpoints()); now != before || r.SpareStreams() != 1 {
			t.Errorf("endpoints %s, were %s; %d spare streams", now, before, r.SpareStreams())
		}
		if s := r.Stats(); len(s.Streams) != 1 {
			t.Errorf("%d streams", len(s.Streams))
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, n, r.Add, "C", groupB.String())
	burst(t, n, groupB, 0, 3)
	awaitStats(t, r, "heaps", func(s *speadx.Stats) bool { return heapsOf(s, "C") == 3 })
	r.Stop()
	<-c.done
	settle(t, r)
	if got := c.counts(t, "C"); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("heaps %d", got)
	}
}

// TestRemoveWhileStalled: the consumer takes nothing, and the thread waits for it. Remove
// comes back within its time, and Close too.
func TestRemoveWhileStalled(t *testing.T) {
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize = mode, 64<<10
			cfg.Streams = []speadx.Stream{{Name: "A", Source: groupA.String(), Sources: []string{groupB.String()}}}
			r := open(t, n, cfg)
			burst(t, n, groupA, 0, 20)
			awaitStats(t, r, "blocked thread", func(s *speadx.Stats) bool {
				return s.Streams[0].Slots.Ready >= speadx.DefaultRingHeaps
			})
			change(t, n, r.Remove, "A", groupB.String())
			if got := r.Endpoints(); len(got[0].Endpoints) != 1 {
				t.Errorf("endpoints %+v", got)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			s := r.Stats()
			checkLedger(t, &s)
		})
	}
}

// TestChangeStress: endpoints change while packets flow, statistics are read and the
// receiver is closed.
func TestChangeStress(t *testing.T) {
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.Mode, cfg.HeapSize, cfg.SpareStreams = mode, 64<<10, 3
			cfg.Streams = []speadx.Stream{{Name: "A", Source: groupA.String()}}
			r := open(t, n, cfg)
			c := collect(t, r)
			stop := flow(t, n, groupA)
			var wg sync.WaitGroup
			for k := range 3 {
				wg.Add(1)
				n.Go(func() {
					defer wg.Done()
					source := fmt.Sprintf("239.2.2.%d+3:7148", 10*k)
					for range 10 {
						if err := r.Add(context.Background(), fmt.Sprint(k), source); err != nil {
							t.Error(err)
						}
						r.Stats()
						r.Endpoints()
						if err := r.Remove(context.Background(), "", source); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			sent := stop()
			awaitStats(t, r, "packets", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.PacketsFed] == sent.Packets })
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			<-c.done
			if s := r.Stats(); s.Unaccounted != 0 || len(s.Streams) != 4 {
				t.Errorf("%d streams, unaccounted %d: %s", len(s.Streams), s.Unaccounted, account(s))
			}
		})
	}
}
