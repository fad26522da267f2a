// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/speadx/speadx/spead"
)

const captures = "../../testdata/captures"

// What is in the captures, counted by the size of the files and their records.
var captured = []struct {
	name    string
	packets uint64
	headers uint64 // bytes before the UDP payload of each
	dst     string
}{
	{"descriptors", 4, 42, "239.1.2.3:7148"},
	{"duplicated", 212, 42, "239.1.2.3:7148"},
	{"five-items", 129, 42, "239.1.2.3:7148"},
	{"ipv6", 169, 62, "[ff15::1:2:3]:7148"},
	{"jumbo", 70, 42, "239.1.2.3:7148"},
	{"lossy", 140, 42, "239.1.2.3:7148"},
	{"plain-64-24", 13, 42, "239.1.2.3:7148"},
	{"plain-64-32", 13, 42, "239.1.2.3:7148"},
	{"plain-64-40", 169, 42, "239.1.2.3:7148"},
	{"plain-64-48", 169, 42, "239.1.2.3:7148"},
	{"plain-64-56", 13, 42, "239.1.2.3:7148"},
	{"reordered", 169, 42, "239.1.2.3:7148"},
	{"single-packet-heaps", 41, 42, "239.1.2.3:7148"},
	{"two-senders", 168, 42, "239.1.2.3:7148"},
	{"vlan", 169, 46, "239.1.2.3:7148"},
}

func openCapture(t testing.TB, path string, e *Endpoints, stream int32) *PCAP {
	t.Helper()
	c := Capture{Path: path, Stream: stream}
	if e != nil {
		for addr, stream := range e.exact {
			c.Wanted = append(c.Wanted, Wanted{addr, -1, stream})
		}
	}
	p, err := OpenPCAP([]Capture{c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func TestPCAPCaptures(t *testing.T) {
	for _, tt := range captured {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(captures, tt.name+".pcap")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			const fileHeader, recordHeader = 24, 16
			wantBytes := uint64(info.Size()) - fileHeader - tt.packets*(recordHeader+tt.headers)

			s := openCapture(t, path, nil, 3)
			list, err := receiveAll(t, s, NewBatch(64))
			if err != nil {
				t.Fatal(err)
			}
			if c, want := s.Counts(), (Counts{Packets: tt.packets, Bytes: wantBytes}); c != want {
				t.Errorf("counts %+v, want %+v", c, want)
			}
			if s.Position() != tt.packets || s.Mark() < s.Position() {
				t.Errorf("position %d, mark %d; want %d", s.Position(), s.Mark(), tt.packets)
			}
			for k, g := range list {
				var p spead.Packet
				if r := p.Decode(g.data, len(g.data)); r != spead.OK || p.Size() != len(g.data) || g.stream != 3 {
					t.Fatalf("packet %d of %d bytes: %v, %d bytes, stream %d", k, len(g.data), r, p.Size(), g.stream)
				}
			}

			// Only what goes to an endpoint.
			s = openCapture(t, path, endpoints(t, map[string]int32{tt.dst: 5}), 0)
			again, err := receiveAll(t, s, NewBatch(7))
			if err != nil {
				t.Fatal(err)
			}
			checkPackets(t, again, dataOf(list))
			if len(again) > 0 && again[0].stream != 5 {
				t.Errorf("stream %d, want 5", again[0].stream)
			}
			s = openCapture(t, path, endpoints(t, map[string]int32{"239.1.2.3:7149": 0, "[ff15::1:2:4]:7148": 1}), 0)
			none, err := receiveAll(t, s, NewBatch(64))
			if c := s.Counts(); len(none) != 0 || err != nil || c.OtherEndpoint != tt.packets {
				t.Errorf("to other endpoints: %d packets, %v, %+v", len(none), err, c)
			}
		})
	}
}

// testRecord is one frame of a capture that a test writes.
type testRecord struct {
	at    time.Time
	frame []byte
	whole int // bytes it had on the wire, if it was cut short
}

func (r testRecord) info() gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: r.at, CaptureLength: len(r.frame), Length: max(r.whole, len(r.frame))}
}

func classic(t testing.TB, link layers.LinkType, records ...testRecord) []byte {
	t.Helper()
	var out bytes.Buffer
	w := pcapgo.NewWriterNanos(&out)
	if err := w.WriteFileHeader(65536, link); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.WritePacket(r.info(), r.frame); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func ng(t testing.TB, link layers.LinkType, records ...testRecord) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := pcapgo.NewNgWriter(&out, link)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.WritePacket(r.info(), r.frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var writers = []struct {
	name  string
	write func(testing.TB, layers.LinkType, ...testRecord) []byte
}{{"pcap", classic}, {"pcapng", ng}}

// memoryPCAP reads a capture that is in memory.
func memoryPCAP(r io.Reader) (*PCAP, error) {
	f := &captureFile{name: "test.pcap"}
	var err error
	if f.records, err = newRecordReader(r); err != nil {
		return nil, err
	}
	w, err := newWants(&Capture{})
	return newPCAP(f, f.name, []*wants{w}, nil), err
}

func readPCAP(t testing.TB, file []byte, batch int) ([]got, *PCAP, error) {
	t.Helper()
	s, err := memoryPCAP(bytes.NewReader(file))
	if err != nil {
		return nil, nil, err
	}
	list, err := receiveAll(t, s, NewBatch(batch))
	return list, s, err
}

func TestPCAPFormats(t *testing.T) {
	at := time.Unix(1_700_000_000, 123_456_789)
	p := [][]byte{speadPacket(1, 6, 100), speadPacket(2, 6, 8000), {}}
	ethernet := func(payload []byte) []byte { return pad(udpFrame(testDst, payload)) }
	cooked := func(payload []byte) []byte {
		return append([]byte("\x00\x00\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00\x08\x00"), udpFrame(testDst, payload)[14:]...)
	}
	cooked2 := func(payload []byte) []byte {
		return append([]byte("\x08\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00"), udpFrame(testDst, payload)[14:]...)
	}
	behind := func(header string) func([]byte) []byte {
		return func(payload []byte) []byte { return append([]byte(header), udpFrame(testDst, payload)[14:]...) }
	}
	for _, w := range writers {
		for _, link := range []struct {
			name string
			link layers.LinkType
			make func([]byte) []byte
		}{
			{"Ethernet", layers.LinkTypeEthernet, ethernet},
			{"cooked", layers.LinkTypeLinuxSLL, cooked},
			{"cooked v2", layers.LinkTypeLinuxSLL2, cooked2},
			{"raw", linkRaw, behind("")},
			{"raw 12", linkRaw12, behind("")},
			{"raw 14", linkRaw14, behind("")},
			{"IPv4", linkIPv4, behind("")},
			{"null", linkNull, behind("\x02\x00\x00\x00")},
			{"null of a big-endian machine", linkNull, behind("\x00\x00\x00\x02")},
			{"loop", linkLoop, behind("\x00\x00\x00\x02")},
			{"PPP", linkPPP, behind("\x00\x21")},
			{"PPP with address", linkPPP, behind("\xff\x03\x00\x21")},
			{"PPP in HDLC", linkPPPHDLC, behind("\xff\x03\x00\x21")},
		} {
			t.Run(w.name+" "+link.name, func(t *testing.T) {
				var records []testRecord
				for _, payload := range p {
					records = append(records, testRecord{at: at, frame: link.make(payload)})
				}
				list, s, err := readPCAP(t, w.write(t, link.link, records...), 10)
				if err != nil {
					t.Fatal(err)
				}
				checkPackets(t, list, p)
				if s.now != at.UnixNano() {
					t.Errorf("time %d, want %d", s.now, at.UnixNano())
				}
			})
		}
	}
}

// Time is the file's: it never goes back, and a batch ends where much of it passes.
func TestPCAPTime(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for _, w := range writers {
		var records []testRecord
		for k, ms := range []int{0, 1, 2, 100, 101, 50, 5000} {
			records = append(records, testRecord{at: start.Add(time.Duration(ms) * time.Millisecond), frame: udpFrame(testDst, []byte{byte(k)})})
		}
		s, err := memoryPCAP(bytes.NewReader(w.write(t, layers.LinkTypeEthernet, records...)))
		if err != nil {
			t.Fatal(err)
		}
		b := NewBatch(10)
		for _, want := range []struct {
			packets string
			ms      int
		}{{"\x00\x01\x02", 2}, {"\x03\x04\x05", 101}, {"\x06", 5000}} {
			list, err := receive(t, s, b, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(bytes.Join(dataOf(list), nil)); got != want.packets {
				t.Errorf("%s: batch of %x, want %x", w.name, got, want.packets)
			}
			if got := b.Now - start.UnixNano(); got != int64(want.ms)*1e6 {
				t.Errorf("%s: at %d ns, want %d ms", w.name, got, want.ms)
			}
		}
	}
}

// tcpdump on the sender's side of an offload sees trains.
func TestPCAPSuperFrame(t *testing.T) {
	var want [][]byte
	var train []byte
	for k := range 40 {
		want = append(want, speadPacket(k, 6, 1400))
		train = append(train, want[k]...)
	}
	want = append(want, []byte("end"))
	file := classic(t, layers.LinkTypeEthernet, testRecord{frame: udpFrame(testDst, train)}, testRecord{frame: udpFrame(testDst, []byte("end"))})
	for _, batch := range []int{1, 3, 100} {
		list, s, err := readPCAP(t, file, batch)
		if err != nil {
			t.Fatal(err)
		}
		checkPackets(t, list, want)
		if c := s.Counts(); c.Packets != 41 || c.SuperFrames != 39 {
			t.Errorf("counts %+v", c)
		}
	}
}

func TestPCAPCounts(t *testing.T) {
	whole := udpFrame(testDst, bytes.Repeat([]byte("x"), 100))
	fragment := bytes.Clone(whole)
	fragment[20] = 0x20
	file := classic(t, layers.LinkTypeEthernet,
		testRecord{frame: whole},
		testRecord{frame: whole[:96], whole: len(whole)},
		testRecord{frame: fragment},
		testRecord{frame: make([]byte, 60)})
	_, s, err := readPCAP(t, file, 10)
	if err != nil {
		t.Fatal(err)
	}
	if c, want := s.Counts(), (Counts{Packets: 1, Bytes: 100, CaptureCut: 1, Fragment: 1, NotIPUDP: 1}); c != want {
		t.Errorf("counts %+v, want %+v", c, want)
	}
}

// TestPCAPFragments: fragments for destinations that are not wanted are not ours. Those that name
// no port follow the one that does.
func TestPCAPFragments(t *testing.T) {
	fragments := func(to string) (list []testRecord) {
		for _, word := range [][2]byte{{0x20, 0}, {0x20, 2}, {0, 4}} {
			f := udpFrame(netip.MustParseAddrPort(to), bytes.Repeat([]byte("x"), 8))
			f[20], f[21] = word[0], word[1]
			list = append(list, testRecord{frame: f})
		}
		return list
	}
	ours := testDst.String()
	list := slices.Concat(fragments(ours), fragments("239.1.2.3:9"), fragments("239.9.9.9:7148"), fragments(ours))
	path := writeFile(t, classic(t, layers.LinkTypeEthernet, list...))
	for _, tt := range []struct {
		wanted []Wanted
		want   Counts
	}{
		{nil, Counts{Fragment: 12}},
		{[]Wanted{{testDst, -1, 0}}, Counts{Fragment: 6, OtherEndpoint: 6}},
	} {
		p := openAll(t, Capture{Path: path, Wanted: tt.wanted})
		if _, err := receiveAll(t, p, NewBatch(10)); err != nil {
			t.Fatal(err)
		}
		if c := p.Counts(); c != tt.want {
			t.Errorf("wanted %v: counts %+v, want %+v", tt.wanted, c, tt.want)
		}
	}
}

// Cut anywhere, a file gives the packets that are whole and then says so; cut
// between records it just ends.
func TestPCAPCutShort(t *testing.T) {
	records := []testRecord{
		{at: time.Unix(1, 0), frame: udpFrame(testDst, []byte("first"))},
		{at: time.Unix(1, 0), frame: udpFrame(testDst, []byte("second"))},
	}
	for _, w := range writers {
		file := w.write(t, layers.LinkTypeEthernet, records...)
		// The ends of the header and of each record.
		ends := []int{len(w.write(t, layers.LinkTypeEthernet)), len(w.write(t, layers.LinkTypeEthernet, records[0])), len(file)}
		for n := range len(file) + 1 {
			list, _, err := readPCAP(t, file[:n], 10)
			whole := 0
			for whole < 2 && n >= ends[whole+1] {
				whole++
			}
			if len(list) != whole {
				t.Errorf("%s cut to %d bytes: %d packets, want %d", w.name, n, len(list), whole)
			}
			if clean := slices.Contains(ends, n); clean != (err == nil) {
				// pcapng consists of blocks; between those of the header it may end too.
				if w.name != "pcapng" || n > ends[0] {
					t.Errorf("%s cut to %d bytes: %v", w.name, n, err)
				}
			}
			if n > ends[0] && err != nil && !strings.Contains(err.Error(), "ends inside it") {
				t.Errorf("%s cut to %d bytes: %v", w.name, n, err)
			}
		}
	}
}

func TestPCAPRefused(t *testing.T) {
	dir := t.TempDir()
	good := classic(t, layers.LinkTypeEthernet, testRecord{frame: udpFrame(testDst, []byte("x"))})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(good); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var twice bytes.Buffer
	z = gzip.NewWriter(&twice)
	if _, err := z.Write(zipped.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"missing", nil, "no such file"},
		{"empty", []byte{}, "is empty"},
		{"three-bytes", good[:3], "ends inside its header"},
		{"half-header", good[:20], "ends inside its header"},
		{"text", []byte("hello, this is not a capture file"), "neither a pcap nor a pcapng file: it begins with 68656c6c"},
		{"zipped twice", twice.Bytes(), "compressed twice"},
		{"half a zip", zipped.Bytes()[:5], "gzip"},
		{"damaged zstd", []byte("\x28\xb5\x2f\xfd0000"), "cannot be read"},
		{"usb", classic(t, layers.LinkTypeLinuxUSB, testRecord{frame: []byte("x")}), "link type"},
		{"version", append(bytes.Clone(good[:4]), append([]byte{9, 0}, good[6:]...)...), "version 9"},
		{"byte-order", []byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x1c\x00\x00\x00"), "byte-order magic"},
	} {
		path := filepath.Join(dir, tt.name)
		if tt.data != nil {
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := OpenPCAP([]Capture{{Path: path}}, nil)
		if err == nil {
			p.Close()
			t.Errorf("%s: no error", tt.name)
		} else if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want it to name the file and say %q", tt.name, err, tt.want)
		}
	}
	if _, err := OpenPCAP([]Capture{{Path: dir}}, nil); err == nil || !strings.Contains(err.Error(), "neither a file nor a pipe") {
		t.Errorf("a directory: %v", err)
	}
}

// ngBlock is one little-endian block.
func ngBlock(kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	length := uint32(12 + len(body))
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, length)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, length)
}

func ngEnhanced(frame []byte, options string) []byte {
	b := make([]byte, 12, 20+len(frame)+len(options)) // interface 0, time 0
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = append(b, frame...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return ngBlock(ngEnhancedPacket, append(b, options...))
}

var (
	ngHeader   = ngBlock(ngSectionHeader, []byte("\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
	ngEthernet = ngBlock(ngInterface, []byte("\x01\x00\x00\x00\x00\x00\x04\x00"))
)

// Blocks that mean nothing to us are passed over, whatever is in them; what
// would hurt the reader does not reach it.
func TestPCAPNGBlocks(t *testing.T) {
	good := ngEnhanced(udpFrame(testDst, []byte("good")), "")
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	// A name record of 64 bytes where an address has 4, and keys that say they
	// are 4 GiB long.
	names := ngBlock(4, append([]byte("\x01\x00\x40\x00"), make([]byte, 64)...))
	keys := ngBlock(10, []byte("\x4b\x53\x4c\x54\xff\xff\xff\xff\x00\x00\x00\x00"))
	simple := func(length uint32, frame []byte) []byte {
		return ngBlock(ngSimplePacket, append(binary.LittleEndian.AppendUint32(nil, length), frame...))
	}
	f := udpFrame(testDst, []byte("good"))
	for _, tt := range []struct {
		name    string
		file    []byte
		packets int
		err     string
	}{
		{"plain", cat(ngHeader, ngEthernet, good, good), 2, ""},
		{"names", cat(ngHeader, names, ngEthernet, names, good, names), 1, ""},
		{"keys", cat(ngHeader, keys, ngEthernet, keys, good), 1, ""},
		{"options", cat(ngHeader, ngEthernet, ngEnhanced(f, "\x02\x00\x04\x00\x00\x00\x00\x00\x01\x00\x05\x00hello\x00\x00\x00\x00\x00\x00\x00")), 1, ""},
		{"simple packet", cat(ngHeader, ngEthernet, simple(uint32(len(f)), f)), 1, ""},
		{"two sections", cat(ngHeader, ngEthernet, good, ngHeader, ngEthernet, good), 2, ""},
		{"foreign section", cat(ngHeader, ngEthernet, good, ngBlock(ngSectionHeader, []byte("\x4d\x3c\x2b\x1a\x09\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")), good, ngHeader, ngEthernet, good), 2, ""},
		{"other link type", cat(ngHeader, ngBlock(ngInterface, []byte("\xdc\x00\x00\x00\x00\x00\x04\x00")), good), 0, ""},
		{"no interface", cat(ngHeader, good), 0, "record 1"},
		{"option too long", cat(ngHeader, ngEthernet, good, ngEnhanced(f, "\x01\x00\xff\xff")), 1, "option 1 of 65535 bytes"},
		{"frame longer than its block", cat(ngHeader, ngEthernet, good, ngBlock(ngEnhancedPacket, append(make([]byte, 12), "\xff\xff\xff\xff\xff\xff\xff\xff"...))), 1, "frame of 4294967295 bytes"},
		{"simple frame longer than its block", cat(ngHeader, ngEthernet, good, simple(5000, f)), 1, "frame of 5000 bytes"},
		{"odd block", cat(ngHeader, ngEthernet, good, []byte("\x06\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x00\x00\x00\x00")), 1, "block of 13 bytes"},
		{"lengths differ", cat(ngHeader, ngEthernet, good, good[:len(good)-4], []byte{0, 0, 0, 0}), 1, "says at its end"},
		{"huge packet block", cat(ngHeader, ngEthernet, good, []byte("\x06\x00\x00\x00\xf0\xff\xff\xff\x00\x00\x00\x00")), 1, "block of 4294967280 bytes"},
		{"huge unknown block", cat(ngHeader, ngEthernet, good, []byte("\x77\x00\x00\x00\xf0\xff\xff\xff\x00\x00\x00\x00")), 1, "ends inside it"},
		{"too many interfaces", cat(ngHeader, bytes.Repeat(ngEthernet, ngMaxInterfaces+1), good), 0, "more than 1024 interfaces"},
		{"interface without its fixed part", cat(ngHeader, ngBlock(ngInterface, nil), good), 0, "without its fixed part"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, _, err := readPCAP(t, tt.file, 10)
			if len(list) != tt.packets {
				t.Errorf("%d packets, want %d", len(list), tt.packets)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%v; want %q", err, tt.err)
			}
		})
	}
}

// A header may declare any length and a record pretend any: the source has its
// own bounds.
func TestPCAPMemoryIsBounded(t *testing.T) {
	file := classic(t, layers.LinkTypeEthernet, testRecord{frame: udpFrame(testDst, []byte("x"))})
	binary.LittleEndian.PutUint32(file[16:], 0xffffffff) // snap length
	hostile := append(bytes.Clone(file), make([]byte, 8)...)
	hostile = append(hostile, "\xff\xff\xff\x7f\xff\xff\xff\x7f"...) // record of 2 GiB
	hostile = append(hostile, make([]byte, 8<<20)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	list, _, err := readPCAP(t, hostile, 10)
	runtime.ReadMemStats(&after)
	if len(list) != 1 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("%d packets, %v", len(list), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// A file of others' packets does not hold up whoever wants to stop.
func TestPCAPReturnsEarly(t *testing.T) {
	records := make([]testRecord, 3*batchRecords)
	for k := range records {
		records[k] = testRecord{frame: make([]byte, 60)}
	}
	s, err := memoryPCAP(bytes.NewReader(classic(t, layers.LinkTypeEthernet, records...)))
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatch(10)
	for range 3 {
		if n, err := s.Receive(b, 0); n != 0 || err != nil {
			t.Fatalf("Receive = %d, %v", n, err)
		}
		s.Release()
	}
	if n, err := s.Receive(b, 0); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("Receive = %d, %v at the end", n, err)
	}
	if c := s.Counts(); c.NotIPUDP != 3*batchRecords || s.Position() != 3*batchRecords {
		t.Errorf("counts %+v, position %d", c, s.Position())
	}
}

// In the captures the last packets of a stream stand no farther behind its stop
// than a file is read on.
func TestFileLookahead(t *testing.T) {
	for _, c := range captured {
		s := openCapture(t, filepath.Join(captures, c.name+".pcap"), nil, 0)
		list, err := receiveAll(t, s, NewBatch(64))
		if err != nil {
			t.Fatal(err)
		}
		for k, g := range list {
			var p spead.Packet
			if p.Decode(g.data, len(g.data)) == spead.OK && p.Control == spead.CtrlStop && len(list)-k > fileLookahead {
				t.Errorf("%s: %d packets after the stop", c.name, len(list)-k-1)
			}
		}
	}
}

func FuzzPCAP(f *testing.F) {
	frames := []testRecord{
		{at: time.Unix(1, 0), frame: udpFrame(testDst, speadPacket(1, 6, 10))},
		{at: time.Unix(2, 0), frame: udpFrame(netip.MustParseAddrPort("10.0.0.1:1"), append(speadPacket(1, 6, 10), speadPacket(2, 4, 0)...))},
	}
	for _, w := range writers {
		f.Add(w.write(f, layers.LinkTypeEthernet, frames...), uint8(3))
		f.Add(w.write(f, layers.LinkTypeLinuxSLL2, frames[0]), uint8(1))
	}
	f.Add(bytes.Join([][]byte{ngHeader, ngEthernet, ngEnhanced(frames[0].frame, "\x01\x00\x05\x00hello\x00\x00\x00\x00\x00\x00\x00")}, nil), uint8(9))
	f.Fuzz(func(t *testing.T, file []byte, batch uint8) {
		s, err := memoryPCAP(bytes.NewReader(file))
		if err != nil {
			return
		}
		b := NewBatch(int(batch) + 1)
		var packets, total uint64
		for now := int64(0); ; {
			list, err := receive(t, s, b, 0)
			if err != nil {
				break
			}
			if b.Now < now {
				t.Fatalf("time went back from %d to %d", now, b.Now)
			}
			now = b.Now
			for _, g := range list {
				packets++
				total += uint64(len(g.data))
			}
			if packets > uint64(len(file)) {
				t.Fatalf("more packets than bytes: %d", packets)
			}
		}
		if c := s.Counts(); c.Packets != packets || c.Bytes != total || total > uint64(len(file)) {
			t.Errorf("counts %+v, received %d packets of %d bytes from a file of %d", c, packets, total, len(file))
		}
	})
}

func BenchmarkPCAP(b *testing.B) {
	var records []testRecord
	for k := range 1000 {
		records = append(records, testRecord{at: time.Unix(0, int64(k)*1000), frame: udpFrame(testDst, speadPacket(k, 6, 8912))})
	}
	for _, w := range writers {
		b.Run(w.name, func(b *testing.B) {
			file := w.write(b, layers.LinkTypeEthernet, records...)
			b.SetBytes(int64(len(file)))
			batch := NewBatch(64)
			for b.Loop() {
				s, err := memoryPCAP(bytes.NewReader(file))
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = s.Receive(batch, 0)
				}
			}
		})
	}
}

// TestHeadersCutShort: a header that ends too soon is an error, and no end of the records.
func TestHeadersCutShort(t *testing.T) {
	for name, header := range map[string][]byte{
		"empty": {}, "two bytes": {0xd4, 0xc3}, "pcap": {0xd4, 0xc3, 0xb2, 0xa1, 2, 0}, "pcapng": {0x0a, 0x0d, 0x0d, 0x0a, 28, 0},
		"gzip": {0x1f, 0x8b, 8, 0}, "gzip of nothing": {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}, "zstd": {0x28, 0xb5, 0x2f, 0xfd},
	} {
		if _, err := newRecordReader(bytes.NewReader(header)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
