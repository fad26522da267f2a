// SPDX-License-Identifier: Apache-2.0

//go:build linux

package heap

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

// bytesOf is the memory of a table.
func bytesOf[T any](table []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(table))), cap(table)*int(unsafe.Sizeof(t)))
}

// missing is how many pages of b are not in memory.
func missing(t *testing.T, b []byte) (n int) {
	t.Helper()
	if len(b) == 0 {
		return 0
	}
	page := uintptr(os.Getpagesize())
	first := uintptr(unsafe.Pointer(&b[0])) &^ (page - 1)
	end := uintptr(unsafe.Pointer(&b[len(b)-1])) + 1
	resident := make([]byte, (end-first+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, first, end-first, uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, r := range resident {
		if r&1 == 0 {
			n++
		}
	}
	return n
}

// All that packets and consumers write to is in memory before the first packet: the tables
// in the pool's mapping, which is touched, and the rest in Go's.
func TestNothingIsTouchedFirstByAPacket(t *testing.T) {
	share := pool.ShareConfig{Live: 40, Ring: 4, Held: 8, Threads: 3, Largest: 1 << 20, SmallBelow: 16 << 10}
	r := newRig(t, share, Config{Substreams: 2})
	tables := map[string][]byte{
		"large logs": bytesOf(r.large.list), "small logs": bytesOf(r.small.list),
		"heads of large logs": bytesOf(r.large.heads), "heads of small logs": bytesOf(r.small.heads), "ranges": bytesOf(r.coverage.words),
		"index of senders": bytesOf(r.senders.index), "senders": bytesOf(r.senders.list),
	}
	for s, kinds := range r.histories {
		for k, h := range kinds {
			name := string([]byte{'0' + byte(s), '0' + byte(k)})
			tables["cells "+name], tables["index "+name], tables["nodes "+name] = bytesOf(h.cells), bytesOf(h.index), bytesOf(h.nodes)
		}
	}
	mem, sum := r.cfg.Share.Tables(), 0
	low, high := uintptr(unsafe.Pointer(&mem[0])), uintptr(unsafe.Pointer(&mem[len(mem)-1]))
	for name, b := range tables {
		sum += (len(b) + cacheLine - 1) &^ (cacheLine - 1)
		if at := uintptr(unsafe.Pointer(&b[0])); !raceEnabled && (at < low || at+uintptr(len(b))-1 > high) {
			t.Errorf("%s: not in the mapping", name)
		}
		if n := missing(t, b); !raceEnabled && n > 0 {
			t.Errorf("%s: %d pages are not there", name, n)
		}
	}
	if sum != len(mem) || (r.TableBytes()+cacheLine-1)&^(cacheLine-1) != sum {
		t.Errorf("the tables are %d bytes, %d are said and %d mapped", sum, r.TableBytes(), len(mem))
	}

	ofGo := map[string][]byte{"records": bytesOf(r.records), "feeders": bytesOf(r.feeders), "accounts": bytesOf(r.gaps.senders), "heard": bytesOf(r.gaps.heard)}
	for i, v := range r.consumed.views {
		name := "view " + string([]byte{'0' + byte(i)})
		ofGo[name+" pointers"], ofGo[name+" items"], ofGo[name+" ranges"] = bytesOf(v.pointers), bytesOf(v.items), bytesOf(v.ranges)
	}
	sum = 0
	for name, b := range ofGo {
		sum += len(b)
		if n := missing(t, b); n > 0 {
			t.Errorf("%s: %d pages are not there", name, n)
		}
	}
	if sum != r.GoBytes() {
		t.Errorf("%d bytes of Go memory, %d are said", sum, r.GoBytes())
	}
}

// What is kept of heaps is less than what is in them, also where they are small.
func TestTablesAreSmall(t *testing.T) {
	for _, tt := range []struct {
		size, live int
		percent    int // of the pool, at most
	}{
		{16 << 10, 4, 77}, {16 << 10, 1028, 45},
		{64 << 10, 4, 50}, {64 << 10, 260, 48}, {64 << 10, 1028, 40},
		{128 << 10, 4, 46}, {128 << 10, 1028, 41},
		{4 << 20, 4, 3}, {4 << 20, 1028, 3},
	} {
		share := pool.ShareConfig{Live: tt.live, Ring: 4, Held: 2, Threads: 4, Largest: tt.size, SmallBelow: 16 << 10}
		tables, err := Config{}.TableBytes(share)
		if err != nil {
			t.Fatal(err)
		}
		slots, _, err := pool.Size(pool.Config{Shares: []pool.ShareConfig{share}})
		if err != nil {
			t.Fatal(err)
		}
		if got := 100 * tables / slots; got > tt.percent {
			t.Errorf("%d live heaps of %d bytes: tables of %d KiB beside slots of %d, %d %%, want %d at most", tt.live, tt.size, tables>>10, slots>>10, got, tt.percent)
		}
	}
}

// A share without room for the tables is refused.
func TestNoRoomForTables(t *testing.T) {
	share := pool.ShareConfig{Live: 4, Ring: 4, Held: 2, Threads: 1, Largest: 1 << 16}
	need, err := Config{}.TableBytes(share)
	if err != nil {
		t.Fatal(err)
	}
	share.Tables = need - 2*cacheLine
	p, err := pool.New(pool.Config{Shares: []pool.ShareConfig{share}, Pages: pool.PagesOff, Node: -1, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if a, err := New(Config{Share: p.Share(0)}); err == nil {
		a.Close()
		t.Errorf("taken, with %d bytes of %d", share.Tables, need)
	}
}

// A held heap stays whole when its assembler and its pool are closed.
func TestHeldHeapOutlivesTables(t *testing.T) {
	r := newRig(t, pool.ShareConfig{}, Config{})
	r.feed(0, parts(7, 3, 100)...)
	h := r.heap()
	r.Feeder(0).Finish()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.pool.Close(); err != nil {
		t.Fatal(err)
	}
	wantItems(t, h, "[0x3300[0:300]]")
	r.check(h)
	if h.Sender().IsValid() || h.Packets() != 3 || h.HasControl(spead.CtrlStop) {
		t.Errorf("a heap of %d packets", h.Packets())
	}
	if s := r.Stats(); s.Counts[ledger.HeapsDelivered] != 1 {
		t.Errorf("%d heaps delivered", s.Counts[ledger.HeapsDelivered])
	}
	h.Release()
	if r.cfg.Share.Tables() != nil {
		t.Error("the mapping outlives the last heap")
	}
}
