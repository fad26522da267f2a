// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/vishvananda/netlink"
)

// What most tests send to.
const port = 7148

// patience is how long a test waits for what should happen at once, on a machine
// that is busy with other things.
const patience = 60 * time.Second

// newWire makes a wire that loses nothing: a sender that is faster than the wire
// waits. (The wire of testnet alone drops what finds its 256 places taken. With a
// queueing discipline Linux 6.16 and newer hold the sender up instead; on older
// ones the test's sender is slow enough, see [sendHeaps].)
func newWire(t testing.TB, o testnet.Options) *testnet.Net {
	t.Helper()
	n := testnet.New(t, o)
	if err := n.A.Do(func() { holdUp(t, n.A.Name) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// holdUp gives an interface a queue that is longer than any socket's buffer.
func holdUp(t testing.TB, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetTxQLen(link, 100_000); err != nil {
		t.Fatal(err)
	}
	attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT}
	if err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "pfifo"}); err != nil {
		t.Fatal(err)
	}
}

// endpoint is the text of a source: the receiver's IPv4 address and a port.
func endpoint(n *testnet.Net, port uint16) string {
	return netip.AddrPortFrom(n.B.Addr4, port).String()
}

// one is a configuration that receives one stream at the receiver's end.
func one(n *testnet.Net) speadx.Config {
	return speadx.Config{
		Streams:    []speadx.Stream{{Source: endpoint(n, port)}},
		Interfaces: []string{n.B.Name},
		Mode:       speadx.ModeNative,
		HeapSize:   1 << 20,
		Frames:     8192,          // 24 MB of jumbo packets, 12 MB of small ones
		Hugepages:  pool.PagesOff, // those of the machine are for others
	}
}

// open opens a receiver at the wire's end, to be closed at the end of the test.
func open(t testing.TB, n *testnet.Net, c speadx.Config) *speadx.Receiver {
	t.Helper()
	r, err := tryOpen(t, n, c)
	testnet.NeedPrivilege(t, err)
	return r
}

// tryOpen is open for what may fail.
func tryOpen(t testing.TB, n *testnet.Net, c speadx.Config) (r *speadx.Receiver, err error) {
	t.Helper()
	n.Do(func() { r, err = speadx.Open(context.Background(), c) })
	if err == nil {
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return r, err
}

// openSender opens a sender at the other end, to be closed at the end of the test.
func openSender(t testing.TB, n *testnet.Net, c send.Config) *send.Sender {
	t.Helper()
	if c.Destinations == nil {
		c.Destinations = []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, port)}
	}
	if c.Rate == 0 {
		c.Rate = 2e9
	}
	var s *send.Sender
	var err error
	if nsErr := n.A.Do(func() { s, err = send.Open(c) }); nsErr != nil {
		t.Fatal(nsErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sendHeaps sends heaps that hold the pattern, and returns when they are on the
// wire. It sends no faster than 2 Gb/s.
func sendHeaps(t testing.TB, n *testnet.Net, c send.Config) send.Result {
	t.Helper()
	c.Verify = true
	s := openSender(t, n, c)
	res, err := s.Run(t.Context())
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return res
}

// got is what is left of a heap after its release.
type got struct {
	stream   string
	cnt      uint64
	complete bool
	length   int64
	received int64
	packets  int64
	items    int
	wrong    error // what does not hold the pattern
}

// receive takes heaps until there are no more, and checks what is in them.
func receive(t testing.TB, r *speadx.Receiver) []got {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []got
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			t.Fatalf("after %d heaps: %v; %s", len(list), err, account(r.Stats()))
		}
		list = append(list, inspect(h))
		h.Release()
	}
	return list
}

// receiveAside is receive in another goroutine; the function it returns waits for
// the result.
func receiveAside(t testing.TB, r *speadx.Receiver) func() []got {
	done := make(chan []got, 1)
	go func() {
		defer close(done)
		done <- receive(t, r)
	}()
	return func() []got {
		list, ok := <-done
		if !ok {
			t.FailNow()
		}
		return list
	}
}

// inspect notes what a heap is.
func inspect(h *heap.Heap) got {
	g := got{
		stream: h.Stream(), cnt: h.Cnt(), complete: h.Complete(), length: h.Length(),
		received: h.Received(), packets: h.Packets(), items: len(h.Items()),
	}
	if g.complete {
		g.wrong = verify(h)
	}
	return g
}

// verify checks that the items of a heap hold the pattern.
func verify(h *heap.Heap) error {
	var items [][]byte
	for _, it := range h.Items() {
		if it.ID >= pattern.FirstID && !it.Immediate {
			items = append(items, it.Data)
		}
	}
	if len(items) == 0 {
		return errors.New("there is nothing to verify")
	}
	return pattern.CheckHeap(h.Cnt(), items)
}

// checkHeaps checks that the heaps with the counts 1 to n came, each once, whole
// and with the right bytes.
func checkHeaps(t testing.TB, list []got, n int) {
	t.Helper()
	var counts []uint64
	for _, g := range list {
		if !g.complete || g.wrong != nil || g.received != g.length {
			t.Errorf("heap %d: complete %v, %d of %d bytes, %v", g.cnt, g.complete, g.received, g.length, g.wrong)
		}
		counts = append(counts, g.cnt)
	}
	slices.Sort(counts)
	if len(counts) != n || len(slices.Compact(counts)) != n || n > 0 && (counts[0] != 1 || counts[n-1] != uint64(n)) {
		t.Errorf("received the heaps %d, want 1 to %d", counts, n)
	}
}

// awaitStats waits until the statistics are such; no event tells.
func awaitStats(t testing.TB, r *speadx.Receiver, what string, cond func(*speadx.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s := r.Stats()
		if cond(&s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v: %s", what, patience, account(s))
		}
	}
}

// awaitPackets waits until the receiver has counted n packets, wherever they are.
func awaitPackets(t testing.TB, r *speadx.Receiver, n uint64) {
	t.Helper()
	awaitStats(t, r, fmt.Sprintf("%d packets", n), func(s *speadx.Stats) bool { return s.Packets >= n })
}

// settle waits for the end of reception and checks that nothing is in flight.
func settle(t testing.TB, r *speadx.Receiver) speadx.Stats {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(patience):
		t.Fatalf("not done after %v: %s", patience, account(r.Stats()))
	}
	s := r.Stats()
	checkLedger(t, &s)
	if s.InFlight != 0 {
		t.Errorf("%d packets are in flight: %s", s.InFlight, account(s))
	}
	for i := range s.Streams {
		if c := s.Streams[i].Slots; c.Filling != 0 || c.Ready != 0 || c.Held != 0 {
			t.Errorf("stream %s: slots are not free: %+v", s.Streams[i].Name, c)
		}
	}
	return s
}

// checkLedger checks that the accounts of a receiver at rest close, by sums of its
// own.
func checkLedger(t testing.TB, s *speadx.Stats) {
	t.Helper()
	sum := s.InFlight
	for _, n := range s.Fates {
		sum += n
	}
	if sum != s.Packets || s.Unaccounted != 0 {
		t.Errorf("the ledger does not close: %d packets, %d with a fate or in flight, unaccounted %d: %s", s.Packets, sum, s.Unaccounted, account(*s))
	}
	var fed, settled uint64
	for i := range s.Streams {
		st := &s.Streams[i]
		fed += st.Counts[ledger.PacketsFed]
		settled += st.Fates.Settled() + st.InFlight
		out := st.Counts[ledger.HeapsDelivered] + st.Counts[ledger.HeapsDiscarded] + st.Counts[ledger.HeapsRingFull] + st.Counts[ledger.HeapsShutdown]
		if in := st.Counts[ledger.HeapsComplete] + st.Counts[ledger.HeapsIncomplete]; in != out+uint64(st.Slots.Ready) {
			t.Errorf("stream %s: %d heaps left the assembler, %d went somewhere", st.Name, in, out)
		}
	}
	if fed != settled {
		t.Errorf("the streams' ledgers do not close: %d packets, %d with a fate", fed, settled)
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		var matched, noSocket uint64
		for _, q := range d.Queues {
			matched += q.Counts[ledger.QueueMatched]
			noSocket += q.Counts[ledger.QueueNoSocket]
		}
		if matched > d.Counts[ledger.DeviceMatched] || noSocket > d.Counts[ledger.DeviceNoSocket] || d.Counts[ledger.DeviceNoSocket] > d.Counts[ledger.DeviceMatched] {
			t.Errorf("device %s: queues matched %d of %d packets, %d of %d without a socket", d.Name, matched, d.Counts[ledger.DeviceMatched], noSocket, d.Counts[ledger.DeviceNoSocket])
		}
	}
}

// checkFates checks the fates that are named; all others have to be 0.
func checkFates(t testing.TB, s *speadx.Stats, want map[ledger.Fate]uint64) {
	t.Helper()
	for f := range ledger.NumFates {
		if s.Fates[f] != want[f] {
			t.Errorf("%d packets are %v, want %d: %s", s.Fates[f], f, want[f], account(*s))
		}
	}
}

// account is the part of the statistics that is not zero, for messages.
func account(s speadx.Stats) string {
	text := fmt.Sprintf("%d packets, %d in flight", s.Packets, s.InFlight)
	for f, n := range s.Fates {
		if n > 0 {
			text += fmt.Sprintf(", %d %v", n, ledger.Fate(f))
		}
	}
	return text
}

// checkEnd checks that Next says there is nothing more.
func checkEnd(t testing.TB, r *speadx.Receiver) {
	t.Helper()
	checkNext(t, r, io.EOF)
}

// checkNext: Next gives an error and no heap.
func checkNext(t testing.TB, r *speadx.Receiver, want error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if h, err := r.Next(ctx); h != nil || !errors.Is(err, want) {
		t.Errorf("Next after the end: %v, %v; want %v", h, err, want)
	}
}

func linkByName(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}
