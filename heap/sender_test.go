// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

func TestSenderOf(t *testing.T) {
	for _, s := range []string{"10.0.0.1:7148", "[fd00::1]:7148", "[::ffff:10.0.0.1]:7148"} {
		a := netip.MustParseAddrPort(s)
		got := SenderOf(a).AddrPort()
		if got != netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) || SenderOf(a).String() != got.String() {
			t.Errorf("%s comes back as %v", s, got)
		}
	}
	if s := SenderOf(netip.AddrPort{}); s != (Sender{}) || s.AddrPort().IsValid() || s.String() != "unknown" {
		t.Errorf("no address is %v", s)
	}
	seen := map[Sender]bool{}
	for n := range 4000 {
		seen[senderNo(n)] = true
	}
	if len(seen) != 4000 {
		t.Fatalf("%d of 4000 senders differ: the tests below mean nothing", len(seen))
	}
}

// Without BySender, packets of a heap that another sender has started are counted, and
// the first such heap is named. Their fates stay what they are.
func TestConflicts(t *testing.T) {
	a, b, c := senderNo(1), senderNo(2), senderNo(3)
	for _, tt := range []struct {
		name      string
		feed      func(r *rig)
		conflicts uint64
		cnt       uint64 // of the first conflict
		fates     map[ledger.Fate]uint64
	}{
		{"none", func(r *rig) {
			r.feedFrom(0, a, parts(1, 2, 100)...)
			r.feedFrom(0, b, parts(2, 2, 100)...)
		}, 0, 0, map[ledger.Fate]uint64{ledger.Delivered: 4}},
		{"halves", func(r *rig) {
			r.feedFrom(0, a, parts(7, 2, 100)[0])
			r.feedFrom(0, b, parts(7, 2, 100)[1])
		}, 1, 7, map[ledger.Fate]uint64{ledger.Delivered: 2}},
		{"another length", func(r *rig) {
			r.feedFrom(0, a, parts(7, 2, 100)[0])
			r.feedFrom(0, b, parts(7, 3, 100)...)
			r.feedFrom(0, a, parts(7, 2, 100)[1])
		}, 3, 7, map[ledger.Fate]uint64{ledger.Delivered: 2, ledger.LengthConflict: 3}},
		{"late", func(r *rig) {
			r.feedFrom(0, a, parts(7, 2, 100)...)
			r.feedFrom(0, b, parts(7, 2, 100)...)
			r.feedFrom(0, c, parts(8, 2, 100)...)
			r.feedFrom(0, b, parts(8, 2, 100)...)
		}, 4, 7, map[ledger.Fate]uint64{ledger.Delivered: 4, ledger.Duplicate: 4}},
		{"heaps of one packet", func(r *rig) {
			r.feedFrom(0, a, parts(7, 1, 100)...)
			r.feedFrom(0, b, parts(7, 1, 100)...)
		}, 1, 7, map[ledger.Fate]uint64{ledger.Delivered: 1, ledger.Duplicate: 1}},
		{"stop heaps", func(r *rig) {
			r.feedFrom(0, a, control(spead.CtrlStop, 7))
			r.feedFrom(0, b, control(spead.CtrlStop, 7))
		}, 1, 7, map[ledger.Fate]uint64{ledger.StreamControl: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{Ring: 8}, Config{})
			tt.feed(r)
			r.end()
			r.wantFates(tt.fates)
			s := r.Stats()
			if s.Counts[ledger.SourceConflicts] != tt.conflicts {
				t.Errorf("%d conflicts, want %d", s.Counts[ledger.SourceConflicts], tt.conflicts)
			}
			want := Conflict{}
			if tt.conflicts > 0 {
				want = Conflict{tt.cnt, [2]netip.AddrPort{a.AddrPort(), b.AddrPort()}}
			}
			if s.Conflict != want {
				t.Errorf("the first conflict is %v, want %v", s.Conflict, want)
			}
		})
	}
}

// With BySender, heaps of two senders with the same counts are heaps of their own, of
// whatever size, also where their packets are mixed.
func TestBySender(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	for _, tt := range []struct{ n int }{{1}, {2}, {5}} {
		r := newRig(t, pool.ShareConfig{Live: 4, Ring: 8}, Config{BySender: true})
		got := map[string]int{}
		for cnt := uint64(1); cnt < 400; cnt++ {
			p, q := parts(cnt, tt.n, 100), parts(cnt, tt.n, 60)
			for i := range p {
				r.feedFrom(0, a, p[i])
				r.feedFrom(0, b, q[i], q[i]) // and a repeat
			}
			for h := r.TryNext(); h != nil; h = r.TryNext() {
				r.check(h)
				got[fmt.Sprintf("%v %d", h.Sender(), h.Length())]++
				h.Release()
			}
		}
		r.end()
		if got[fmt.Sprintf("%v %d", a.AddrPort(), tt.n*100)] != 399 || got[fmt.Sprintf("%v %d", b.AddrPort(), tt.n*60)] != 399 || len(got) != 2 {
			t.Errorf("heaps of %d packets: %v", tt.n, got)
		}
		r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: 2 * 399 * uint64(tt.n), ledger.Duplicate: 399 * uint64(tt.n)})
		if s := r.Stats(); s.Counts[ledger.SourceConflicts] != 0 || s.Conflict != (Conflict{}) || s.Senders != 2 {
			t.Errorf("%d conflicts, %v, %d senders", s.Counts[ledger.SourceConflicts], s.Conflict, s.Senders)
		}
	}
}

// The senders of a batch may take turns packet by packet.
func TestSendersWithinABatch(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Live: 8, Ring: 16}, Config{BySender: true})
	var batch []Packet
	for i := range 4 {
		for s := range 8 {
			batch = append(batch, split(parts(5, 4, 50)[i], s))
			batch[len(batch)-1].From = senderNo(s)
		}
	}
	r.Feeder(0).Feed(batch, r.now, r.now)
	from := map[netip.AddrPort]bool{}
	for h := r.TryNext(); h != nil; h = r.TryNext() {
		r.check(h)
		from[h.Sender()] = true
		h.Release()
	}
	if len(from) != 8 {
		t.Errorf("heaps of %d senders, want 8\n%s", len(from), fates(r.Stats()))
	}
	r.end()
}

// All senders beyond the 1024th are one. Nothing of theirs is lost for it, and nothing
// grows, however many there are.
func TestManySenders(t *testing.T) {
	for _, bySender := range []bool{false, true} {
		r := newRig(t, pool.ShareConfig{Largest: 4096, Live: 4, Ring: 8}, Config{BySender: bySender})
		const senders = 4000
		known, unknown := 0, 0
		grow(t, func() {
			for n := range senders {
				cnt := uint64(2*n + 1)
				r.feedFrom(0, senderNo(n), parts(cnt, 2, 50)...)
				r.feedFrom(0, senderNo(n), parts(cnt+1, 1, 50)...)
				for h := r.TryNext(); h != nil; h = r.TryNext() {
					if h.Sender().IsValid() {
						if known++; h.Sender() != senderNo(n).AddrPort() {
							t.Errorf("heap %d is from %v, and was sent from %v", h.Cnt(), h.Sender(), senderNo(n))
						}
					} else {
						unknown++
					}
					h.Release()
				}
			}
		})
		r.end()
		if known != 2*maxSenders || unknown != 2*(senders-maxSenders) {
			t.Errorf("by sender %v: %d heaps of known senders, %d of others\n%s", bySender, known, unknown, fates(r.Stats()))
		}
		if s := r.Stats(); s.Senders != maxSenders+1 || s.Counts[ledger.SourceConflicts] != 0 || s.Fates[ledger.Delivered] != 3*senders {
			t.Errorf("by sender %v: %d senders, %d conflicts\n%s", bySender, s.Senders, s.Counts[ledger.SourceConflicts], fates(s))
		}
	}
}

// The senders beyond the 1024th stop as one.
func TestManySendersStop(t *testing.T) {
	r := newRig(t, pool.ShareConfig{Largest: 4096}, Config{BySender: true})
	const senders = maxSenders + 10
	for n := range senders {
		r.feedFrom(0, senderNo(n), parts(uint64(n), 1, 50)...)
		r.take()
	}
	for n := range senders {
		if want := n > maxSenders; r.Stopping() != want {
			t.Fatalf("after %d of %d stops the stream is stopping: %v", n, senders, !want)
		}
		r.feedFrom(0, senderNo(n), control(spead.CtrlStop, 1<<20))
	}
	r.end()
}

// A sender is found within a few places of where the search begins, also where many
// share an address or a port.
func TestSenderProbes(t *testing.T) {
	const n = 1000
	v4 := func(i, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), uint16(port))
	}
	v6 := func(prefix, i, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0: 0xfd, 6: byte(prefix >> 8), 7: byte(prefix), 14: byte(i >> 8), 15: byte(i)}), uint16(port))
	}
	for name, sender := range map[string]func(i int) netip.AddrPort{
		"ports of an IPv4 address": func(i int) netip.AddrPort { return v4(1, 40000+i) },
		"ports, every 64th":        func(i int) netip.AddrPort { return v4(1, 64*i+1) },
		"ports of an IPv6 address": func(i int) netip.AddrPort { return v6(0, 1, 40000+i) },
		"IPv4 addresses":           func(i int) netip.AddrPort { return v4(i, 7148) },
		"IPv6 addresses":           func(i int) netip.AddrPort { return v6(0, i, 7148) },
		"IPv6 networks":            func(i int) netip.AddrPort { return v6(i, 1, 7148) },
		"addresses and ports":      func(i int) netip.AddrPort { return v4(i%32, 7000+i/32) },
	} {
		total := 0
		hashes := []uint64{0x9e3779b97f4a7c15, 0xd1342543de82ef95, 0xaf251af3b0f025b5, 0x2545f4914f6cdd1d}
		for _, hash := range hashes {
			s := newSenders(nil, hash)
			var spare uint32
			for i := range n {
				s.number(SenderOf(sender(i)), &spare)
			}
			for at := range s.index {
				if no := s.index[at].Load(); no != 0 {
					total += 1 + (at-int(s.place(s.list[no].Sender)))&(len(s.index)-1)
				}
			}
		}
		// Random places would need 1.2 probes on average.
		if average := float64(total) / float64(n*len(hashes)); average > 1.5 {
			t.Errorf("%s: %.2f probes on average", name, average)
		}
	}
}

// Feeders that meet a new sender at once give it one number, and each sender its own.
func TestNewSenderMetByAll(t *testing.T) {
	const feeders, senders = 4, 200
	for range 20 {
		s := newSenders(nil, 0x9e3779b97f4a7c15)
		var got [feeders][senders]uint32
		var wg sync.WaitGroup
		start := make(chan bool)
		for f := range feeders {
			wg.Add(1)
			go func() {
				defer wg.Done()
				var spare uint32
				<-start
				for n := range senders {
					got[f][n] = s.number(senderNo(n), &spare)
				}
				for n := range senders {
					if again := s.number(senderNo(n), &spare); again != got[f][n] {
						t.Errorf("sender %d has the numbers %d and %d", n, got[f][n], again)
					}
				}
			}()
		}
		close(start)
		wg.Wait()
		seen := map[uint32]int{}
		for n := range senders {
			for f := range feeders {
				if got[f][n] != got[0][n] || got[f][n] == 0 {
					t.Fatalf("sender %d has the numbers %d and %d", n, got[0][n], got[f][n])
				}
			}
			seen[got[0][n]]++
			if s.list[got[0][n]].Sender != senderNo(n) {
				t.Errorf("number %d of sender %d is another's", got[0][n], n)
			}
		}
		if len(seen) != senders || s.heard.Load() != senders {
			t.Fatalf("%d numbers for %d senders, %d heard", len(seen), senders, s.heard.Load())
		}
	}
}

// The same through the feeders: each packet of a heap comes by another one, with those of
// all other senders, and every sender's heap is made of its own.
func TestNewSendersByAllFeeders(t *testing.T) {
	const feeders, senders = 4, 60
	r := newRig(t, pool.ShareConfig{Live: senders, Ring: senders, Threads: feeders, Largest: 4096}, Config{BySender: true})
	var wg sync.WaitGroup
	start := make(chan bool)
	for f := range feeders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			<-start
			for n := range senders {
				r.feedFrom(f, senderNo(n), parts(1, feeders, 50+n)[f]) // all with one count
			}
		}()
	}
	close(start)
	wg.Wait()
	from := map[netip.AddrPort]int64{}
	for h := r.TryNext(); h != nil; h = r.TryNext() {
		r.check(h)
		from[h.Sender()] = h.Length()
		h.Release()
	}
	for n := range senders {
		if got, want := from[senderNo(n).AddrPort()], int64(feeders*(50+n)); got != want {
			t.Errorf("sender %d: a heap of %d bytes, want %d", n, got, want)
		}
	}
	r.end()
	r.wantFates(map[ledger.Fate]uint64{ledger.Delivered: feeders * senders})
	if s := r.Stats(); s.Senders != senders || s.Counts[ledger.SourceConflicts] != 0 {
		t.Errorf("%d senders, want %d; %d conflicts", s.Senders, senders, s.Counts[ledger.SourceConflicts])
	}
}

// A sender that begins again at count 1 loses nothing while another goes on, whether it
// says so or had gone far enough.
func TestSenderOfTwoRestarts(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	for _, sent := range []uint64{10, 300, 3000} {
		for _, n := range []int{1, 2} {
			r := newRig(t, pool.ShareConfig{Ring: 64}, Config{BySender: true})
			got := map[netip.AddrPort]uint64{}
			next := uint64(1) // of b, which never restarts
			for range 3 {
				for cnt := uint64(1); cnt <= sent; cnt++ {
					if cnt == 1 && sent < 300 {
						r.feedFrom(0, a, control(spead.CtrlStart, 1<<30))
					}
					r.feedFrom(0, a, parts(cnt, n, 50)...)
					r.feedFrom(0, b, parts(next, n, 50)...)
					next++
					for h := r.TryNext(); h != nil; h = r.TryNext() {
						if !h.HasControl(spead.CtrlStart) {
							got[h.Sender()]++
						}
						h.Release()
					}
				}
			}
			if got[a.AddrPort()] != 3*sent || got[b.AddrPort()] != 3*sent {
				t.Errorf("3 times %d heaps of %d packets sent by both, came %v\n%s", sent, n, got, fates(r.Stats()))
			}
			r.end()
		}
	}
}

// Two senders of SPEAD-64-8 wrap every 256 heaps, at places of their own.
func TestCountsWrapBySender(t *testing.T) {
	const f = spead.Flavour(8)
	for _, n := range []int{1, 2} {
		r := newRig(t, pool.ShareConfig{}, Config{BySender: true})
		got := [2]int{}
		for i := range uint64(2000) {
			for s := range 2 {
				cnt := (i + 100*uint64(s)) & 0xff
				for k := range n {
					r.feedFrom(0, senderNo(s), raw(f, cnt, int64(20*n), int64(20*k), make([]byte, 20)))
				}
				for h := r.TryNext(); h != nil; h = r.TryNext() {
					if h.Cnt() == cnt && h.Sender() == senderNo(s).AddrPort() {
						got[s]++
					}
					h.Release()
				}
			}
		}
		if got != [2]int{2000, 2000} {
			t.Errorf("heaps of %d packets: %v of 2000 each\n%s", n, got, fates(r.Stats()))
		}
		r.end()
	}
}

// With BySender a stream ends when all that were heard have stopped, and no fewer than
// Stops. A sender that stops twice counts once.
func TestStopsBySender(t *testing.T) {
	a, b, c := senderNo(1), senderNo(2), senderNo(3)
	stopped := 0
	r := newRig(t, pool.ShareConfig{Ring: 8}, Config{BySender: true, OnStop: func() { stopped++ }})
	r.feedFrom(0, a, parts(1, 1, 10)...)
	r.feedFrom(0, b, parts(1, 1, 10)...)
	r.feedFrom(0, a, control(spead.CtrlStop, 2))
	r.feedFrom(0, a, control(spead.CtrlStop, 2), control(spead.CtrlStop, 3))
	r.feedFrom(0, c, parts(1, 1, 10)...) // heard only now
	r.feedFrom(0, b, control(spead.CtrlStop, 2))
	if r.Stopping() {
		t.Error("two of three senders have stopped, and so has the stream")
	}
	r.feedFrom(0, c, parts(2, 1, 10)...)
	r.feedFrom(0, c, control(spead.CtrlStop, 3))
	if !r.Stopping() || stopped != 1 {
		t.Errorf("all have stopped: the stream is stopping: %v, told %d times", r.Stopping(), stopped)
	}
	if got := len(r.end()); got != 4 {
		t.Errorf("%d heaps, want 4", got)
	}

	r = newRig(t, pool.ShareConfig{}, Config{BySender: true, Stops: 2})
	r.feedFrom(0, a, control(spead.CtrlStop, 1))
	if r.Stopping() {
		t.Error("one sender was heard and has stopped, and Stops is 2")
	}
	r.feedFrom(0, b, control(spead.CtrlStop, 1))
	if !r.Stopping() {
		t.Error("two have stopped")
	}
	r.end()
}

// A stop heap that is repeated counts once also if stops of other senders came in between.
func TestStopsRepeatedByTurns(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	one := func(cnt uint64) [][]byte { return [][]byte{control(spead.CtrlStop, cnt)} }
	long := func(cnt uint64) [][]byte {
		return [][]byte{raw(f48, cnt, 200, 0, make([]byte, 100), stop), raw(f48, cnt, 200, 100, make([]byte, 100))}
	}
	for _, tt := range []struct {
		name string
		heap func(cnt uint64) [][]byte
		ofB  uint64 // count of b's stop heap; that of a's is 7
	}{
		{"one packet, one count", one, 7},
		{"one packet, two counts", one, 8},
		{"two packets", long, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, pool.ShareConfig{}, Config{Stops: 3})
			for range 3 {
				r.feedFrom(0, a, tt.heap(7)...)
				r.feedFrom(0, b, tt.heap(tt.ofB)...)
			}
			if r.Stopping() {
				t.Error("two stops, each repeated, are taken for three")
			}
			r.feedFrom(0, a, tt.heap(9)...)
			if !r.Stopping() {
				t.Error("a's second stop is not the third")
			}
			r.end()
			if s := r.Stats(); s.Counts[ledger.HeapsStop] != 3 && tt.name != "two packets" {
				t.Errorf("%d stop heaps, want 3", s.Counts[ledger.HeapsStop])
			}
		})
	}
	// A sender that says that it begins again, soon after, stops again.
	r := newRig(t, pool.ShareConfig{}, Config{Stops: 3})
	for i := range 3 {
		if r.Stopping() {
			t.Errorf("stopping after %d of 3 stops", i)
		}
		r.feedFrom(0, a, control(spead.CtrlStart, 1), control(spead.CtrlStop, 2))
		r.feedFrom(0, b, parts(uint64(100+i), 1, 50)...)
		r.take()
	}
	if !r.Stopping() {
		t.Error("three stops do not stop it")
	}
	r.end()
	// A sender that begins again with the counts it had stops again.
	for _, n := range []int{1, 2} {
		r := newRig(t, pool.ShareConfig{Ring: 64}, Config{Stops: 3})
		for i := range 3 {
			if r.Stopping() {
				t.Errorf("heaps of %d packets: stopping after %d of 3 stops", n, i)
			}
			for cnt := uint64(1); cnt <= 20; cnt++ {
				r.feedFrom(0, a, parts(cnt, n, 50)...)
			}
			r.feedFrom(0, a, control(spead.CtrlStop, 21))
			if got := len(r.take()); got != 20 {
				t.Errorf("heaps of %d packets: %d of 20 heaps in run %d", n, got, i+1)
			}
		}
		if !r.Stopping() {
			t.Errorf("heaps of %d packets: three stops do not stop it", n)
		}
		r.end()
	}
}

// The stream ends with the n-th stop item. A stop heap that is repeated, or that tells it
// in each of its packets, counts once.
func TestStops(t *testing.T) {
	stop := f48.Immediate(spead.IDStreamCtrl, spead.CtrlStop)
	long := func(cnt uint64) [][]byte {
		return [][]byte{raw(f48, cnt, 200, 0, make([]byte, 100), stop), raw(f48, cnt, 200, 100, make([]byte, 100), stop)}
	}
	for _, n := range []int{0, 1, 2, 3, 5} {
		r := newRig(t, pool.ShareConfig{Ring: 8}, Config{Stops: n})
		for i := 1; i <= max(n, 1); i++ {
			if r.Stopping() {
				t.Errorf("Stops %d: stopping after %d", n, i-1)
			}
			cnt := uint64(10 * i)
			if i%2 == 1 {
				r.feed(0, control(spead.CtrlStop, cnt), control(spead.CtrlStop, cnt))
				r.feed(0, control(spead.CtrlStop, cnt))
			} else {
				r.feed(0, long(cnt)...)
				r.feed(0, long(cnt)...)
			}
			r.feed(0, parts(cnt+1, 2, 50)...)
			wantCounts(t, r.take(), cnt+1)
		}
		if !r.Stopping() {
			t.Errorf("Stops %d: not stopping after so many", n)
		}
		r.end()
		if s := r.Stats(); s.Counts[ledger.HeapsStop] != uint64(max(n, 1)) {
			t.Errorf("Stops %d: %d stop heaps", n, s.Counts[ledger.HeapsStop])
		}
	}
	if _, err := New(Config{Share: newRig(t, pool.ShareConfig{}, Config{}).cfg.Share, Stops: -1}); err == nil {
		t.Error("Stops -1 is accepted")
	}
}

// A stranger whose packets start no heap does not keep the stream of others from ending.
func TestStrangersEndNoStream(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{BySender: true})
	r.feedFrom(0, senderNo(1), parts(1, 1, 50)...)
	r.feedFrom(0, senderNo(2), raw(spead.Flavour48, 1, 1<<40, 0, make([]byte, 10)))
	r.feedFrom(0, senderNo(1), control(spead.CtrlStop, 2))
	if !r.Stopping() {
		t.Error("the stream waits for the stop of a sender of nothing")
	}
	wantCounts(t, r.end(), 1)
	r.wantFate(ledger.OversizeHeap, 1)
}

// What one sender begins or ends is no reason to forget what the others have sent.
func TestMemoryOfEachSender(t *testing.T) {
	a, b := senderNo(1), senderNo(2)
	for _, code := range []uint64{spead.CtrlStart, spead.CtrlStop} {
		r := newRig(t, pool.ShareConfig{Ring: 20}, Config{BySender: true, Stops: 9})
		r.feedFrom(0, b, parts(7, 1, 50)...)
		r.feedFrom(0, b, parts(8, 2, 50)...)
		r.feedFrom(0, a, parts(1, 1, 50)...)
		r.feedFrom(0, a, control(code, 2))
		n := len(r.take())
		r.feedFrom(0, b, parts(7, 1, 50)...) // repeats
		r.feedFrom(0, b, parts(8, 2, 50)...)
		if again := len(r.take()); again != 0 || n < 3 {
			t.Errorf("control %d of another sender: %d heaps, and %d once more", code, n, again)
		}
		r.wantFate(ledger.Duplicate, 3)
		r.feedFrom(0, a, parts(1, 1, 50)...) // which has begun again
		if len(r.take()) != 1 {
			t.Errorf("control %d: the sender's own heaps are still remembered", code)
		}
		r.end()
	}
}

// The stop that ends a stream is no reason to forget it: what another queue still held,
// or what the network repeats, is a repeat.
func TestRepeatsBehindTheStop(t *testing.T) {
	for n := range 3 {
		r := newRig(t, pool.ShareConfig{Threads: 2}, Config{})
		p := parts(7, n+1, 50)
		r.feed(0, p...)
		r.feed(0, control(spead.CtrlStop, 8))
		r.feed(1, p...)
		wantCounts(t, r.end(), 7)
		r.wantFate(ledger.Duplicate, uint64(n+1))
	}
}
