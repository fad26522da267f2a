// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

const captures = "testdata/captures"

// captureIndex says what is in a capture: made by spead2, told by the program that
// made it.
type captureIndex struct {
	Heaps      []captureHeap // the complete ones
	Duplicates uint64        // packets that stand twice
	Incomplete []uint64      // counts of the heaps that lack packets
	Missing    []uint64      // counts of those of which there is no packet
}

type captureHeap struct {
	Cnt   uint64
	Items []captureItem
}

type captureItem struct {
	ID        uint64
	Immediate *uint64
	Length    int64
	SHA256    string
}

// capture is one file, and what has to come of it.
type capture struct {
	name string
	captureIndex
	source string // the group it was sent to
	frames [][]byte
}

// readCaptures reads all the files that the index names.
func readCaptures(t *testing.T) []capture {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(captures, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index map[string]json.RawMessage
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(captures, "*.pcap"))
	if err != nil || len(files) != len(index) {
		t.Fatalf("%d files and %d entries in the index, %v", len(files), len(index), err)
	}
	var list []capture
	for _, name := range slices.Sorted(maps.Keys(index)) {
		c := capture{name: name, source: "239.1.2.3:7148", frames: readFrames(t, filepath.Join(captures, name+".pcap"))}
		switch name {
		case "ipv6":
			c.source = "[ff15::1:2:3]:7148"
		case "descriptors":
			// Its entry describes the items rather than the heaps.
			c.Heaps = describedHeaps(t, index[name])
		}
		if name != "descriptors" {
			if err := json.Unmarshal(index[name], &c.captureIndex); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if name == "plain-64-56" {
			// Its ids, 0x1600 and 0x3300, do not fit into the 7 bits that
			// SPEAD-64-56 has for them, so that spead2 wrote pointers with the id
			// 0: NULL, which names no item. The heaps are there, and complete.
			for i := range c.Heaps {
				c.Heaps[i].Items = nil
			}
		}
		list = append(list, c)
	}
	return list
}

// describedHeaps is what the entry of descriptors.pcap says of the heaps: there
// are two, the first with all items it names, the second with three of them. It
// gives values: of the items that are sent as immediates their bits, of the others
// the length follows from shape and format.
func describedHeaps(t *testing.T, entry json.RawMessage) []captureHeap {
	var described struct {
		Heaps []struct {
			ID    uint64
			Name  string
			Value json.RawMessage
		}
	}
	if err := json.Unmarshal(entry, &described); err != nil {
		t.Fatal(err)
	}
	number := func(v uint64) *uint64 { return &v }
	immediates := map[string]*uint64{
		"timestamp": number(123456789012),
		"negative":  number(1<<48 - 42), // two's complement in 48 bits
		"small":     number(7),
		"i8":        number(0x80_ff_00_01_7f), // five bytes fit into a pointer
		"bits":      number(0b1_0010001_0_1101001),
	}
	lengths := map[string]int64{
		"label": 7, "f4": 3 * 2 * 4, "f8le": 2 * 3 * 8, "fortran": 2 * 3 * 4, "u16": 3 * 4 * 2,
		"c8": 4 * 8, "record": 2 * (2 + 4), "u12": 5, // 36 bits
	}
	heaps := []captureHeap{{Cnt: 1}, {Cnt: 2}}
	for _, d := range described.Heaps {
		it := captureItem{ID: d.ID, Immediate: immediates[d.Name], Length: lengths[d.Name]}
		heaps[0].Items = append(heaps[0].Items, it)
		switch d.Name {
		case "timestamp":
			it.Immediate = number(123456789013)
		case "label":
		case "u16":
			it.Length = 5 * 4 * 2
		default:
			continue
		}
		heaps[1].Items = append(heaps[1].Items, it)
	}
	return heaps
}

func readFrames(t testing.TB, path string) [][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for {
		data, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, data)
	}
}

// capturedHeap is a heap as it came.
type capturedHeap struct {
	cnt      uint64
	complete bool
	items    []captureItem
}

// receiveCapture takes all heaps.
func receiveCapture(t *testing.T, r *speadx.Receiver) []capturedHeap {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []capturedHeap
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			t.Fatalf("after %d heaps: %v; %s", len(list), err, account(r.Stats()))
		}
		c := capturedHeap{cnt: h.Cnt(), complete: h.Complete()}
		for _, it := range h.Items() {
			ci := captureItem{ID: it.ID, Length: it.Length}
			if it.Immediate {
				value := it.Value
				ci.Immediate = &value
			} else {
				sum := sha256.Sum256(it.Data)
				ci.SHA256 = hex.EncodeToString(sum[:])
			}
			c.items = append(c.items, ci)
		}
		list = append(list, c)
		h.Release()
	}
	return list
}

// check compares what came with what the index says.
func (c *capture) check(t *testing.T, list []capturedHeap) {
	t.Helper()
	var complete []capturedHeap
	var incomplete []uint64
	for _, h := range list {
		if h.complete {
			complete = append(complete, h)
		} else {
			incomplete = append(incomplete, h.cnt)
		}
	}
	// Heaps may be finished in another order than they were sent in.
	slices.SortFunc(complete, func(a, b capturedHeap) int { return int(a.cnt) - int(b.cnt) })
	if len(complete) != len(c.Heaps) || !slices.Equal(incomplete, c.Incomplete) {
		t.Fatalf("%d complete heaps, want %d; incomplete are %d, want %d", len(complete), len(c.Heaps), incomplete, c.Incomplete)
	}
	for i, h := range complete {
		want := c.Heaps[i]
		if h.cnt != want.Cnt {
			t.Errorf("heap %d where heap %d should be", h.cnt, want.Cnt)
		}
		items := slices.DeleteFunc(h.items, func(it captureItem) bool {
			return it.ID == spead.IDDescriptor || it.ID == spead.IDStreamCtrl
		})
		if len(items) != len(want.Items) {
			t.Errorf("heap %d has %d items, want %d", h.cnt, len(items), len(want.Items))
			continue
		}
		for _, w := range want.Items {
			k := slices.IndexFunc(items, func(it captureItem) bool { return it.ID == w.ID })
			if k < 0 {
				t.Errorf("heap %d has no item %#x", h.cnt, w.ID)
				continue
			}
			g := items[k]
			switch {
			case (w.Immediate != nil) != (g.Immediate != nil):
				t.Errorf("heap %d item %#x: immediate is %v", h.cnt, w.ID, g.Immediate != nil)
			case w.Immediate != nil && *w.Immediate != *g.Immediate:
				t.Errorf("heap %d item %#x is %d, want %d", h.cnt, w.ID, *g.Immediate, *w.Immediate)
			case w.Immediate == nil && w.Length != g.Length:
				t.Errorf("heap %d item %#x has %d bytes, want %d", h.cnt, w.ID, g.Length, w.Length)
			case w.SHA256 != "" && w.SHA256 != g.SHA256:
				t.Errorf("heap %d item %#x has other bytes than were sent", h.cnt, w.ID)
			}
		}
	}
}

// checkStats checks where the packets went.
func (c *capture) checkStats(t *testing.T, s *speadx.Stats) {
	t.Helper()
	if s.Packets != uint64(len(c.frames)) {
		t.Errorf("%d packets, want %d", s.Packets, len(c.frames))
	}
	stops := uint64(1)
	if c.name == "two-senders" {
		stops = 0 // it ends without
	}
	incomplete := s.Fates[ledger.DeliveredIncomplete] // whatever there is of one
	if (incomplete > 0) != (len(c.Incomplete) > 0) {
		t.Errorf("%d packets in incomplete heaps", incomplete)
	}
	checkFates(t, s, map[ledger.Fate]uint64{
		ledger.Delivered:           s.Packets - c.Duplicates - stops - incomplete,
		ledger.DeliveredIncomplete: incomplete,
		ledger.Duplicate:           c.Duplicates,
		ledger.StreamControl:       stops,
	})
	if st := &s.Streams[0]; st.Counts[ledger.HeapsStop] != stops || st.Counts[ledger.HeapsComplete] != uint64(len(c.Heaps)) || st.Counts[ledger.HeapsIncomplete] != uint64(len(c.Incomplete)) {
		t.Errorf("%d stop heaps, %d complete, %d incomplete", st.Counts[ledger.HeapsStop], st.Counts[ledger.HeapsComplete], st.Counts[ledger.HeapsIncomplete])
	}
}

func TestCapturesFromFile(t *testing.T) {
	for _, c := range readCaptures(t) {
		t.Run(c.name, func(t *testing.T) {
			r, err := speadx.Open(t.Context(), speadx.Config{
				Streams:    []speadx.Stream{{Source: filepath.Join(captures, c.name+".pcap")}},
				HeapSize:   200_000, // of the largest of them
				Incomplete: true,
				Hugepages:  pool.PagesOff,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			c.check(t, receiveCapture(t, r))
			s := settle(t, r)
			c.checkStats(t, &s)
			checkEnd(t, r)
		})
	}
}

// TestCapturesFromWire replays the captures as they are, VLAN tags and all.
func TestCapturesFromWire(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, c := range readCaptures(t) {
		for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric} {
			t.Run(c.name+"/"+mode.String(), func(t *testing.T) {
				cfg := one(n)
				cfg.Mode = mode
				cfg.Streams[0].Source = c.source
				cfg.HeapSize, cfg.Incomplete = 200_000, true
				cfg.Frames, cfg.AllVLANs = 1024, true
				r := open(t, n, cfg)
				n.Inject(t, c.frames)
				if c.name == "two-senders" { // which has no stop heap
					awaitPackets(t, r, uint64(len(c.frames)))
					r.Stop()
				}
				c.check(t, receiveCapture(t, r))
				s := settle(t, r)
				c.checkStats(t, &s)
				if d := s.Devices[0]; d.Counts[ledger.DeviceMatched] != uint64(len(c.frames)) || d.Counts[ledger.DeviceNoSocket] != 0 || d.Counts[ledger.DeviceFragments] != 0 {
					t.Errorf("the program matched %d frames of %d, %d without a socket, %d fragments", d.Counts[ledger.DeviceMatched], len(c.frames), d.Counts[ledger.DeviceNoSocket], d.Counts[ledger.DeviceFragments])
				}
			})
		}
	}
}
