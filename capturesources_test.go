// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
)

// deal writes the frames of a capture into files, as to says of each; they are a
// millisecond apart.
func deal(t *testing.T, frames [][]byte, files int, to func(i int, frame []byte) int) []string {
	t.Helper()
	dir := t.TempDir()
	var out []string
	var writers []*pcapgo.Writer
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("part%d.pcap", i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := pcapgo.NewWriterNanos(f)
		if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
			t.Fatal(err)
		}
		out, writers = append(out, path), append(writers, w)
	}
	for i, frame := range frames {
		frame = bytes.Clone(frame)
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1_700_000_000, int64(i)*1e6), CaptureLength: len(frame), Length: len(frame)}
		if err := writers[to(i, frame)].WritePacket(info, frame); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// receiveCaptures receives all heaps of a configuration, as stream and count.
func receiveCaptures(t *testing.T, c speadx.Config) (heaps map[string][]uint64, s speadx.Stats, info speadx.Info) {
	t.Helper()
	heaps, s, info, _ = receiveFound(t, c)
	return heaps, s, info
}

// receiveFound is receiveCaptures, with what the receiver found.
func receiveFound(t *testing.T, c speadx.Config) (heaps map[string][]uint64, s speadx.Stats, info speadx.Info, found []ledger.Diagnosis) {
	t.Helper()
	c.HeapSize, c.Hugepages = 64<<10, pool.PagesOff
	r, err := speadx.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	heaps = map[string][]uint64{}
	for h, err := range r.Heaps(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if h.Complete() {
			heaps[h.Stream()] = append(heaps[h.Stream()], h.Cnt())
		}
		h.Release()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s = r.Stats()
	if s.Unaccounted != 0 || s.InFlight != 0 {
		t.Errorf("%d unaccounted, %d in flight", s.Unaccounted, s.InFlight)
	}
	return heaps, s, r.Info(), r.Diagnoses()
}

// One stream in several captures is whole: rotated ones, named in any order, and one for each
// of two interfaces.
func TestJointCaptures(t *testing.T) {
	frames := readFrames(t, filepath.Join(captures, "plain-64-48.pcap"))
	whole, _, _ := receiveCaptures(t, speadx.Config{Streams: []speadx.Stream{{Source: filepath.Join(captures, "plain-64-48.pcap"), Name: "x"}}})
	if len(whole["x"]) == 0 {
		t.Fatal("no heaps")
	}
	for name, to := range map[string]func(int, []byte) int{
		"rotated":        func(i int, _ []byte) int { return i * 2 / len(frames) },
		"named wrong":    func(i int, _ []byte) int { return 1 - i*2/len(frames) },
		"two interfaces": func(i int, _ []byte) int { return i % 2 },
	} {
		files := deal(t, frames, 2, to)
		got, s, _ := receiveCaptures(t, speadx.Config{Streams: []speadx.Stream{{Source: files[0], Sources: files[1:], Name: "x"}}})
		if fmt.Sprint(got) != fmt.Sprint(whole) || s.Packets != uint64(len(frames)) {
			t.Errorf("%s: heaps %v of %d packets, want %v of %d", name, got, s.Packets, whole, len(frames))
		}
	}
}

// Each destination in a capture is a stream of its own. It can be chosen, by name or filter,
// or all of them are one.
func TestDestinationsInCapture(t *testing.T) {
	frames := readFrames(t, filepath.Join(captures, "plain-64-48.pcap"))
	// The same stream is sent to a second group, one packet behind the first.
	var both [][]byte
	for _, f := range frames {
		second := bytes.Clone(f)
		second[33] = 4 // 239.1.2.4
		both = append(both, f, second)
	}
	file := deal(t, both, 1, func(int, []byte) int { return 0 })[0]
	whole, _, _ := receiveCaptures(t, speadx.Config{Streams: []speadx.Stream{{Source: filepath.Join(captures, "plain-64-48.pcap"), Name: "x"}}})
	n, one, two := uint64(len(frames)), "239.1.2.3:7148@"+file, "239.1.2.4:7148@"+file
	for _, tt := range []struct {
		name   string
		config speadx.Config
		want   map[string][]uint64
		others uint64
	}{
		{"told apart", speadx.Config{Streams: []speadx.Stream{{Source: file}}}, map[string][]uint64{one: whole["x"], two: whole["x"]}, 0},
		{"both named", speadx.Config{Streams: []speadx.Stream{{Source: two}, {Source: one}}}, map[string][]uint64{one: whole["x"], two: whole["x"]}, 0},
		{"one named", speadx.Config{Streams: []speadx.Stream{{Source: two}}}, map[string][]uint64{two: whole["x"]}, n},
		{"default port", speadx.Config{Streams: []speadx.Stream{{Source: "239.1.2.4@" + file, Name: "x"}}}, whole, n},
		{"filter", speadx.Config{Filter: "dst host 239.1.2.4", Streams: []speadx.Stream{{Source: file, Name: "x"}}}, whole, n},
	} {
		got, s, info := receiveCaptures(t, tt.config)
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || s.Packets != 2*n || s.Fates[ledger.OtherEndpoint] != tt.others {
			t.Errorf("%s: %v of %d packets and %d others, want %v of %d and %d", tt.name, got, s.Packets, s.Fates[ledger.OtherEndpoint], tt.want, 2*n, tt.others)
		}
		if (len(info.Notes) > 0) != (tt.name == "told apart") {
			t.Errorf("%s: notes %q", tt.name, info.Notes)
		}
	}
	// As one stream the second copy is a repeat of the first.
	_, s, _ := receiveCaptures(t, speadx.Config{Streams: []speadx.Stream{{Source: file, Joint: true}}})
	if len(s.Streams) != 1 || s.Fates[ledger.Duplicate] == 0 {
		t.Errorf("joint: %d streams, %v", len(s.Streams), s.Fates)
	}
}

// What a capture cut off is not blamed on the sender.
func TestCutCapture(t *testing.T) {
	frames := readFrames(t, filepath.Join(captures, "plain-64-48.pcap"))
	path := filepath.Join(t.TempDir(), "cut.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(96, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		cut := frame[:min(96, len(frame))]
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(cut), Length: len(frame)}, cut); err != nil {
			t.Fatal(err)
		}
	}
	_, s, _ := receiveCaptures(t, speadx.Config{Streams: []speadx.Stream{{Source: path}}})
	if s.Fates[ledger.CaptureCut] < uint64(len(frames))-1 || s.Fates[ledger.PayloadOverflow] != 0 {
		t.Errorf("%d cut, %d payload_overflow, of %d packets", s.Fates[ledger.CaptureCut], s.Fates[ledger.PayloadOverflow], len(frames))
	}
}
