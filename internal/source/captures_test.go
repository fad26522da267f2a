// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/klauspost/compress/zstd"
)

// numbered makes records whose packets have the numbers, captured a second apart.
func numbered(t *testing.T, numbers ...int) (records []testRecord, payloads [][]byte) {
	t.Helper()
	for _, n := range numbers {
		p := speadPacket(n, 6, 100)
		payloads = append(payloads, p)
		records = append(records, testRecord{at: time.Unix(1_700_000_000+int64(n), 0), frame: udpFrame(testDst, p)})
	}
	return records, payloads
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.pcap")
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func openAll(t *testing.T, captures ...Capture) *PCAP {
	t.Helper()
	p, err := OpenPCAP(captures, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Several captures come as one, in the order of time: rotated ones, whatever order they are
// named in, and those of two interfaces.
func TestPCAPMerge(t *testing.T) {
	_, want := numbered(t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	for name, parts := range map[string][][]int{
		"rotated":        {{0, 1, 2, 3}, {4, 5, 6}, {7, 8, 9}},
		"rotated, wrong": {{7, 8, 9}, {0, 1, 2, 3}, {4, 5, 6}},
		"two interfaces": {{0, 2, 4, 6, 8}, {1, 3, 5, 7, 9}},
		"one is empty":   {{}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			var all []Capture
			for _, p := range parts {
				records, _ := numbered(t, p...)
				all = append(all, Capture{Path: writeFile(t, classic(t, layers.LinkTypeEthernet, records...)), Stream: 3})
			}
			list, err := receiveAll(t, openAll(t, all...), NewBatch(3))
			if err != nil {
				t.Fatal(err)
			}
			checkPackets(t, list, want)
		})
	}
}

// A capture in many parts needs few descriptors.
func TestPCAPMergeMany(t *testing.T) {
	const parts = 300
	var all []Capture
	var want [][]byte
	for i := range parts {
		records, p := numbered(t, i)
		want = append(want, p...)
		all = append(all, Capture{Path: writeFile(t, classic(t, layers.LinkTypeEthernet, records...))})
	}
	p := openAll(t, all...)
	open := 0
	for _, f := range p.records.(*merge).files {
		if f.opened {
			open++
		}
	}
	if open > mergeOpen {
		t.Errorf("%d files are open, want %d at most", open, mergeOpen)
	}
	list, err := receiveAll(t, p, NewBatch(64))
	if err != nil {
		t.Fatal(err)
	}
	checkPackets(t, list, want)
}

// A file that is damaged ends there. The others are read to their end, and then it is named.
func TestPCAPMergeDamaged(t *testing.T) {
	records, all := numbered(t, 0, 1, 2, 3)
	whole := classic(t, layers.LinkTypeEthernet, records[0], records[2])
	damaged := writeFile(t, whole[:len(whole)-10])
	p := openAll(t, Capture{Path: damaged}, Capture{Path: writeFile(t, classic(t, layers.LinkTypeEthernet, records[1], records[3]))})
	list, err := receiveAll(t, p, NewBatch(10))
	checkPackets(t, list, [][]byte{all[0], all[1], all[3]})
	if !errors.Is(err, errEndsInside) || !bytes.Contains([]byte(err.Error()), []byte(damaged+": record 2")) {
		t.Errorf("the end is %v", err)
	}
}

func TestPCAPCompressed(t *testing.T) {
	records, want := numbered(t, 0, 1, 2, 3)
	for _, w := range writers {
		plain := w.write(t, layers.LinkTypeEthernet, records...)
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		e, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"gzip": zipped.Bytes(), "zstd": e.EncodeAll(plain, nil)} {
			list, _, err := readPCAP(t, data, 10)
			if err != nil {
				t.Errorf("%s %s: %v", w.name, name, err)
			}
			checkPackets(t, list, want)
			if _, _, err := readPCAP(t, data[:len(data)/2], 10); err == nil {
				t.Errorf("half of %s %s gives no error", w.name, name)
			}
		}
	}
}

// A pipe is received from while it is written: what has come is handed on, and waiting for
// more ends with Wake.
func TestPCAPPipe(t *testing.T) {
	for _, w := range writers {
		records, want := numbered(t, 0, 1, 2)
		file := w.write(t, layers.LinkTypeEthernet, records...)
		last := len(file) - len(w.write(t, layers.LinkTypeEthernet, records[2])) + len(w.write(t, layers.LinkTypeEthernet))
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := write.Write(file[:last]); err != nil {
			t.Fatal(err)
		}
		p := openAll(t, Capture{Path: fmt.Sprintf("/proc/self/fd/%d", read.Fd())})
		read.Close()
		b := NewBatch(10)
		list := receiveN(t, p, b, 2)
		if n, err := p.Receive(b, time.Millisecond); n != 0 || err != nil {
			t.Errorf("%s: nothing has come, and Receive = %d, %v", w.name, n, err)
		}
		p.Release()
		if _, err := write.Write(file[last:]); err != nil {
			t.Fatal(err)
		}
		list = append(list, receiveN(t, p, b, 1)...)
		checkPackets(t, list, want)
		p.Wake()
		if n, err := p.Receive(b, time.Hour); n != 0 || err != nil {
			t.Errorf("%s: woken, and Receive = %d, %v", w.name, n, err)
		}
		write.Close()
		if n, err := p.Receive(b, time.Hour); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: the end is %d, %v", w.name, n, err)
		}
	}
}

// A pipe that stops in the middle of a record does not hold up who wants to stop.
func TestPCAPPipeStopsInside(t *testing.T) {
	records, _ := numbered(t, 0)
	file := classic(t, layers.LinkTypeEthernet, records...)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	if _, err := write.Write(file[:len(file)-10]); err != nil {
		t.Fatal(err)
	}
	p := openAll(t, Capture{Path: fmt.Sprintf("/proc/self/fd/%d", read.Fd())})
	read.Close()
	p.Wake()
	for {
		if _, err := p.Receive(NewBatch(10), time.Hour); err != nil {
			if !errors.Is(err, errStopped) {
				t.Errorf("the end is %v", err)
			}
			return
		}
	}
}

func TestPCAPNamedPipe(t *testing.T) {
	if _, err := openInput(t.TempDir()); err == nil {
		t.Error("a directory is no error")
	}
	if !IsPipe(StandardInput) || !IsPipe("/dev/null") || IsPipe(writeFile(t, nil)) {
		t.Error("IsPipe")
	}
}

// Of a capture with several destinations, those that are wanted come, each to its stream.
func TestPCAPWanted(t *testing.T) {
	payload := speadPacket(1, 6, 100)
	other := netip.MustParseAddrPort("239.1.2.4:7148")
	tagged := func(f []byte, vlan byte) []byte {
		return append(append(bytes.Clone(f[:12]), 0x81, 0, 0, vlan), f[12:]...)
	}
	at := time.Unix(1_700_000_000, 0)
	records := []testRecord{
		{at: at, frame: udpFrame(testDst, payload)}, {at: at, frame: udpFrame(other, payload)}, {at: at, frame: udpFrame(other, []byte("not SPEAD"))},
		{at: at, frame: tagged(udpFrame(testDst, payload), 7)}, {at: at, frame: tagged(udpFrame(testDst, payload), 8)},
	}
	path := writeFile(t, classic(t, layers.LinkTypeEthernet, records...))
	for _, tt := range []struct {
		name    string
		wanted  []Wanted
		streams []int32
		others  uint64
	}{
		{"all", nil, []int32{5, 5, 5, 5, 5}, 0},
		{"one", []Wanted{{testDst, -1, 1}}, []int32{1, 1, 1}, 2},
		{"two", []Wanted{{testDst, -1, 1}, {other, -1, 2}}, []int32{1, 2, 2, 1, 1}, 0},
		{"a VLAN", []Wanted{{testDst, 7, 1}}, []int32{1}, 4},
		{"without a tag", []Wanted{{testDst, 0, 1}}, []int32{1}, 4},
		{"by VLAN", []Wanted{{testDst, 0, 1}, {testDst, 7, 2}, {testDst, 8, 3}}, []int32{1, 2, 3}, 2},
		{"any address", []Wanted{{netip.AddrPortFrom(netip.IPv6Unspecified(), 7148), -1, 4}}, []int32{4, 4, 4, 4, 4}, 0},
	} {
		p := openAll(t, Capture{Path: path, Wanted: tt.wanted, Stream: 5})
		list, err := receiveAll(t, p, NewBatch(10))
		if err != nil {
			t.Fatal(err)
		}
		var streams []int32
		for _, g := range list {
			streams = append(streams, g.stream)
		}
		if fmt.Sprint(streams) != fmt.Sprint(tt.streams) || p.Counts().OtherEndpoint != tt.others {
			t.Errorf("%s: streams %v and %d others, want %v and %d", tt.name, streams, p.Counts().OtherEndpoint, tt.streams, tt.others)
		}
	}
	found, err := Destinations(path, nil)
	want := []Destination{{testDst, -1, 1}, {testDst, 7, 1}, {testDst, 8, 1}, {other, -1, 1}}
	if err != nil || fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("destinations %v, %v; want %v", found, err, want)
	}
}

// A pipe that has nothing yet keeps neither the opening nor a stop, alone or among others.
func TestPCAPPipeSilent(t *testing.T) {
	records, _ := numbered(t, 0)
	file := writeFile(t, classic(t, layers.LinkTypeEthernet, records...))
	for _, others := range [][]Capture{nil, {{Path: file}}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer write.Close()
		p := openAll(t, append([]Capture{{Path: fmt.Sprintf("/proc/self/fd/%d", read.Fd())}}, others...)...)
		read.Close()
		b := NewBatch(10)
		p.Wake()
		// Alone it is not waited for any longer. Among others it ends there, and they are read.
		for {
			n, err := p.Receive(b, time.Millisecond)
			p.Release()
			if others == nil && (n != 0 || err != nil) {
				t.Errorf("alone: %d, %v", n, err)
			}
			if others == nil {
				break
			}
			if err != nil {
				if !errors.Is(err, errStopped) {
					t.Errorf("among others: %v", err)
				}
				if c := p.Counts(); c.Packets != 1 {
					t.Errorf("among others: %d packets", c.Packets)
				}
				break
			}
		}
		if p.Mark() != math.MaxUint64 {
			t.Errorf("mark %d", p.Mark())
		}
	}
}
