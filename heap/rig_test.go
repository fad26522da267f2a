// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// rig is an assembler over a small pool on ordinary pages.
type rig struct {
	*Assembler
	pool *pool.Pool
	tb   testing.TB
	now  int64
}

func newRig(tb testing.TB, share pool.ShareConfig, cfg Config) *rig {
	tb.Helper()
	if share.Live == 0 {
		share.Live = 4
	}
	if share.Ring == 0 {
		share.Ring = 4
	}
	if share.Held == 0 {
		share.Held = 2
	}
	if share.Threads == 0 {
		share.Threads = 1
	}
	if share.Largest == 0 {
		share.Largest = 1 << 16
	}
	tables, err := cfg.TableBytes(share)
	if err != nil {
		tb.Fatal(err)
	}
	share.Tables = tables
	p, err := pool.New(pool.Config{Shares: []pool.ShareConfig{share}, Pages: pool.PagesOff, Node: -1, NoLock: true})
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Share = p.Share(0)
	a, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{Assembler: a, pool: p, tb: tb, now: 1e9}
	tb.Cleanup(r.close)
	return r
}

// close may be called early, where a test makes many rigs.
func (r *rig) close() {
	r.Close()
	if err := r.pool.Close(); err != nil {
		r.tb.Error(err)
	}
}

// feed feeds packets through feeder i, as one batch.
func (r *rig) feed(i int, packets ...[]byte) {
	batch := make([]Packet, len(packets))
	for j, p := range packets {
		batch[j] = split(p, j)
	}
	r.Feeder(i).Feed(batch, r.now, r.now)
}

// feedFrom feeds packets of one sender through feeder i, as one batch.
func (r *rig) feedFrom(i int, from Sender, packets ...[]byte) {
	batch := make([]Packet, len(packets))
	for j, p := range packets {
		batch[j] = split(p, j)
		batch[j].From = from
	}
	r.Feeder(i).Feed(batch, r.now, r.now)
}

// split makes a Packet of p: every third in two or three segments, as frames of
// a jumbo packet are.
func split(p []byte, how int) Packet {
	headers := len(p)
	if len(p) >= 8 {
		headers = min(8+8*int(binary.BigEndian.Uint16(p[6:])), len(p))
	}
	switch how % 3 {
	case 1:
		cut := headers + (len(p)-headers)/2
		return Packet{First: p[:cut], Rest: [][]byte{p[cut:]}, Len: len(p)}
	case 2:
		cut := headers + (len(p)-headers)/3
		return Packet{First: p[:headers], Rest: [][]byte{p[headers:cut], p[cut:]}, Len: len(p)}
	}
	return Packet{First: p, Len: len(p)}
}

// heap takes one heap, which the caller releases.
func (r *rig) heap() *Heap {
	r.tb.Helper()
	h := r.TryNext()
	if h == nil {
		r.tb.Fatalf("no heap\n%s", fates(r.Stats()))
	}
	return h
}

// take takes all finished heaps, checks those that say what they hold, releases
// them and returns their counts.
func (r *rig) take() []uint64 {
	r.tb.Helper()
	var cnts []uint64
	for h := r.TryNext(); h != nil; h = r.TryNext() {
		cnts = append(cnts, h.Cnt())
		r.check(h)
		h.Release()
	}
	return cnts
}

// check compares a heap made by content with what it must hold.
func (r *rig) check(h *Heap) {
	r.tb.Helper()
	for _, it := range h.Items() {
		if it.ID != itemData {
			continue
		}
		want := content(h.Cnt(), len(it.Data))
		for _, g := range h.Ranges() {
			from, to := max(g.Start-it.Offset, 0), min(g.End-it.Offset, it.Length)
			if from < to && !bytes.Equal(it.Data[from:to], want[from:to]) {
				r.tb.Errorf("heap %d: bytes [%d, %d) of its item are not those sent", h.Cnt(), from, to)
			}
		}
	}
	if whole := (Range{0, int64(len(h.Payload()))}); h.Complete() && whole.End > 0 && (len(h.Ranges()) != 1 || h.Ranges()[0] != whole) {
		r.tb.Errorf("heap %d of %d bytes is complete and has the ranges %v", h.Cnt(), whole.End, h.Ranges())
	}
	at := int64(0)
	for _, g := range append(h.Ranges(), Range{int64(len(h.Payload())), int64(len(h.Payload()))}) {
		for i, b := range h.Payload()[at:g.Start] {
			if b != 0 {
				r.tb.Fatalf("heap %d: byte %d did not come and is %#x, not 0", h.Cnt(), at+int64(i), b)
			}
		}
		at = g.End
	}
}

// end finishes all feeders, takes what is left and checks that nothing is lost.
func (r *rig) end() []uint64 {
	r.tb.Helper()
	for i := range r.feeders {
		r.Feeder(i).Finish()
	}
	cnts := r.take()
	if !r.ended() {
		r.tb.Error("every feeder has finished and the stream has not ended")
	}
	r.balance()
	return cnts
}

// balance checks that the accounts close and every slot is free.
func (r *rig) balance() {
	r.tb.Helper()
	s := r.Stats()
	if s.Counts[ledger.PacketsFed] != s.Fates.Settled()+s.InFlight {
		r.tb.Errorf("%d packets, %d settled and %d in flight: %d unaccounted for\n%s",
			s.Counts[ledger.PacketsFed], s.Fates.Settled(), s.InFlight, int64(s.Counts[ledger.PacketsFed]-s.Fates.Settled()-s.InFlight), fates(s))
	}
	c := r.cfg.Share.Counts()
	if s.InFlight == 0 && (c.Filling != 0 || c.Ready != 0 || c.Held != 0 || c.Free != r.cfg.Share.Slots()) {
		r.tb.Errorf("nothing is in flight and slots are %+v of %d", c, r.cfg.Share.Slots())
	}
	if s.Fates[ledger.NoSlot] != 0 {
		r.tb.Errorf("%d packets found no slot", s.Fates[ledger.NoSlot])
	}
}

func (r *rig) wantFate(f ledger.Fate, n uint64) {
	r.tb.Helper()
	if s := r.Stats(); s.Fates[f] != n {
		r.tb.Errorf("%d packets %v, want %d\n%s", s.Fates[f], f, n, fates(s))
	}
}

// wantFates checks all fates but those of heaps: each must be as wanted, the others 0.
func (r *rig) wantFates(want map[ledger.Fate]uint64) {
	r.tb.Helper()
	s := r.Stats()
	for f := range ledger.NumFates {
		if s.Fates[f] != want[f] {
			r.tb.Errorf("%d packets %v, want %d\n%s", s.Fates[f], f, want[f], fates(s))
		}
	}
}

func fates(s Stats) string {
	var b bytes.Buffer
	for f, n := range s.Fates {
		if n != 0 {
			fmt.Fprintf(&b, "  %v %d", ledger.Fate(f), n)
		}
	}
	return b.String()
}

func wantCounts(tb testing.TB, got []uint64, want ...uint64) {
	tb.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		tb.Errorf("heaps %v, want %v", got, want)
	}
}

// described says what items a heap has, in few words.
func described(h *Heap) string {
	var out []string
	for _, it := range h.Items() {
		if it.Immediate {
			out = append(out, fmt.Sprintf("%#x=%d", it.ID, it.Value))
			continue
		}
		s := fmt.Sprintf("%#x[%d:%d]", it.ID, it.Offset, it.Offset+it.Length)
		if it.Missing {
			s += "?"
		}
		out = append(out, s)
	}
	return fmt.Sprint(out)
}

func wantItems(tb testing.TB, h *Heap, want string) {
	tb.Helper()
	if got := described(h); got != want {
		tb.Errorf("items %s, want %s", got, want)
	}
}

// senderNo is one of many senders, with addresses of both kinds and several ports.
func senderNo(n int) Sender {
	a := netip.AddrFrom4([4]byte{10, byte(n >> 10), byte(n >> 2), 1})
	if n%2 == 1 {
		a = netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(n >> 10), 14: byte(n >> 2), 15: 1})
	}
	return SenderOf(netip.AddrPortFrom(a, uint16(5000+n%4)))
}

const (
	f48 = spead.Flavour48

	itemTime = 0x1600
	itemData = 0x3300
)

// content is what item itemData of heap cnt holds.
func content(cnt uint64, n int) []byte {
	b := make([]byte, n)
	x := cnt*0x9e3779b97f4a7c15 + 1
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return b
}

// packetsOf makes the packets of a heap with an immediate and n bytes of content.
func packetsOf(tb testing.TB, f spead.Flavour, cnt uint64, n, maxPacket int, extra ...spead.OutItem) [][]byte {
	tb.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: f, MaxPacket: maxPacket})
	if err != nil {
		tb.Fatal(err)
	}
	items := append([]spead.OutItem{
		{ID: itemTime, Immediate: true, Value: cnt & f.MaxValue()},
		{ID: itemData, Data: content(cnt&f.MaxValue(), n)},
	}, extra...)
	if f < 24 || f.MaxID() < itemData {
		// No room for these values, or these ids.
		items = []spead.OutItem{{ID: itemData & f.MaxID(), Data: content(cnt&f.MaxValue(), n)}}
	}
	if err := p.Start(cnt, items); err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(nil) {
		out = append(out, b)
	}
	return out
}

// raw makes a packet from its parts. heapLength < 0 leaves HEAP_LENGTH out.
func raw(f spead.Flavour, cnt uint64, heapLength, offset int64, payload []byte, pointers ...spead.Pointer) []byte {
	all := []spead.Pointer{f.Immediate(spead.IDHeapCnt, cnt)}
	if heapLength >= 0 {
		all = append(all, f.Immediate(spead.IDHeapLength, uint64(heapLength)))
	}
	all = append(all, f.Immediate(spead.IDPayloadOffset, uint64(offset)), f.Immediate(spead.IDPayloadLength, uint64(len(payload))))
	all = append(all, pointers...)
	b := []byte{0x53, 4, byte(64-f) / 8, byte(f) / 8, 0, 0, byte(len(all) >> 8), byte(len(all))}
	for _, p := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(p))
	}
	return append(b, payload...)
}

// parts makes a heap of n packets of size bytes each.
func parts(cnt uint64, n, size int) [][]byte {
	f := spead.Flavour48
	data := content(cnt, n*size)
	out := make([][]byte, n)
	for i := range out {
		var ptrs []spead.Pointer
		if i == 0 {
			ptrs = []spead.Pointer{f.Addressed(itemData, 0)}
		}
		out[i] = raw(f, cnt, int64(n*size), int64(i*size), data[i*size:(i+1)*size], ptrs...)
	}
	return out
}

func control(code uint64, cnt uint64) []byte {
	f := spead.Flavour48
	return raw(f, cnt, 1, 0, []byte{0}, f.Immediate(spead.IDStreamCtrl, code), f.Addressed(spead.IDNull, 0))
}

const second = int64(time.Second)

func (r *rig) ended() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}
