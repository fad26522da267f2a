// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// describedItem is what index.json says of one item of the capture descriptors.
type describedItem struct {
	ID                uint64
	Name, Description string
	Shape             []*int64
	DType, Order      string
	Format            [][]any
	Value             any
}

// TestRecvValues compares names, types and values in JSON with those that spead2 was
// given to send.
func TestRecvValues(t *testing.T) {
	var index struct {
		Descriptors struct{ Heaps []describedItem }
	}
	b, err := os.ReadFile(filepath.Join(captureFolder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	r := program("recv", "--format", "json", "--values", capturePath("descriptors"))
	r.check(t, 0)
	heaps := heapLines(t, r.stdout)
	if len(heaps) != 2 {
		t.Fatalf("%d heaps", len(heaps))
	}
	items := func(h line) map[uint64]lineItem {
		m := map[uint64]lineItem{}
		for _, it := range h.Items {
			m[it.ID] = it
		}
		return m
	}
	first, second := items(heaps[0]), items(heaps[1])
	for _, w := range index.Descriptors.Heaps {
		it := first[w.ID]
		if it.Name == nil || it.Description == nil {
			t.Errorf("%s has no name", w.Name)
			continue
		}
		got := describedItem{it.ID, *it.Name, *it.Description, it.Shape, it.DType, it.Order, it.Format, it.Value}
		if w.Order == "" {
			w.Order = "C"
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("%s is %+v, want %+v", w.Name, got, w)
		}
	}
	if it := second[5888]; it.Value != "SKA-Low" || *it.Name != "label" {
		t.Errorf("label of the second heap is %+v", it)
	}
	if strings.Contains(program("recv", "--format", "json", capturePath("descriptors")).stdout, `"value"`) {
		t.Error("there are values without --values")
	}
}

// TestRecvDescriptors is the text for people.
func TestRecvDescriptors(t *testing.T) {
	r := program("recv", "--descriptors", "--values", capturePath("descriptors"))
	r.check(t, 0)
	for _, want := range []string{
		"  Descriptor for f4 (0x2000)\n    description: big-endian floats\n    dtype:       {'descr': '>f4', 'fortran_order': False, 'shape': (3, 2)}\n",
		"  Descriptor for u16 (0x2004)\n    description: variable first axis\n    format:      [(u, 16)]\n    shape:       (?, 4)\n",
		"  0x1700 label c8 (7) = \"MeerKAT\"\n",
		"  0x2002 fortran <i4 (2, 3) F = [[0, 1, 2], [3, 4, 5]]\n",
		"  0x2001 f8le <f8 (2, 3) = [[0, 0.14285714285714285, 0.2857142857142857], [0.42857142857142855, 0.5714285714285714, …]]\n",
		"  0x2008 bits b1+i7 (2) = [(true, 17), (false, -23)]\n",
		"  0x1601 negative i48 = -42\n",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("there is no %q in\n%s", want, r.stdout)
		}
	}
	r = program("recv", "--descriptors", capturePath("descriptors"))
	if !strings.Contains(r.stdout, "  0x1600 timestamp = [6 bytes] = 0x1cbe991a14\n") || strings.Contains(r.stdout, "MeerKAT") {
		t.Errorf("names without values:\n%s", r.stdout)
	}
	r = program("recv", "--values", capturePath("descriptors"))
	if strings.Contains(r.stdout, "Descriptor for") || !strings.Contains(r.stdout, "-42") {
		t.Errorf("values without descriptors:\n%s", r.stdout)
	}
}

// TestRecvMalformed: what makes no sense is told with the item and the reason, and
// the rest is printed.
func TestRecvMalformed(t *testing.T) {
	all := captureBytes(t, "descriptors")
	at := strings.Index(string(all), "'descr': '>f4'")
	all[at+len("'descr': '>")] = 'q'
	path := filepath.Join(t.TempDir(), "bad.pcap")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	r := program("recv", "--values", path)
	r.check(t, 0, `warning: heap 1: item 0x2000 (f4): descriptor: dtype: type string ">q4" is no type of numpy's`)
	if !strings.Contains(r.stdout, "  0x2000 = [24 bytes]\n") || !strings.Contains(r.stdout, "-42") {
		t.Errorf("output:\n%s", r.stdout)
	}
}

// TestRecvPySPEAD reads descriptors as PySPEAD writes them, and only then.
func TestRecvPySPEAD(t *testing.T) {
	text := func(d spead.Descriptor, c spead.Compat) string {
		item, err := d.Item(spead.Flavour40, c)
		if err != nil {
			t.Fatal(err)
		}
		return string(item.Data)
	}
	header, err := spead.NumpyHeader("<i4", spead.OrderC, 3)
	if err != nil {
		t.Fatal(err)
	}
	d := spead.Descriptor{ID: 0x1000, Name: "x", DType: header}
	v := spead.Descriptor{ID: 0x1001, Name: "v", Format: []spead.FormatField{{Type: 'u', Bits: 16}}, Shape: []int64{-1, 2}}
	value, err := d.Encode([]int32{1, -2, 3})
	if err != nil {
		t.Fatal(err)
	}
	variable, err := v.Encode([]uint16{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	path := writeCapture(t, spead.Flavour40, []spead.OutItem{
		{ID: spead.IDDescriptor, Data: []byte(text(d, spead.CompatPySPEAD))},
		{ID: spead.IDDescriptor, Data: []byte(text(v, spead.CompatPySPEAD))}, value, variable,
	})
	r := program("recv", "--values", "--pyspead", path)
	if r.check(t, 0); !strings.Contains(r.stdout, "  0x1000 x <i4 (3) = [1, -2, 3]\n") || !strings.Contains(r.stdout, "  0x1001 v u16 (2, 2) = [[1, 2], [3, 4]]\n") {
		t.Errorf("output:\n%s", r.stdout)
	}
	r = program("recv", "--values", path)
	if strings.Contains(r.stdout, "[1, -2, 3]") || strings.Contains(r.stdout, "[[1, 2], [3, 4]]") {
		t.Errorf("without --pyspead:\n%s", r.stdout)
	}
}

// writeCapture writes a capture file with heaps of the given items.
func writeCapture(t *testing.T, f spead.Flavour, heaps ...[]spead.OutItem) string {
	t.Helper()
	one := captureBytes(t, "plain-64-48")
	frame, _ := record(one[len(fileHeader(one)):])
	file := slices.Clone(fileHeader(one))
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: f})
	if err != nil {
		t.Fatal(err)
	}
	for i, items := range heaps {
		if err := p.Start(uint64(i+1), items); err != nil {
			t.Fatal(err)
		}
		for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(nil) {
			headers := slices.Clone(frame[:14+20+8])
			binary.BigEndian.PutUint16(headers[14+2:], uint16(20+8+len(b)))
			binary.BigEndian.PutUint16(headers[14+20+4:], uint16(8+len(b)))
			size := uint32(len(headers) + len(b))
			for _, v := range []uint32{1700000000, uint32(i), size, size} {
				file = binary.LittleEndian.AppendUint32(file, v)
			}
			file = append(append(file, headers...), b...)
		}
	}
	path := filepath.Join(t.TempDir(), "made.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// twoSources is a capture of two senders, packet by packet in turn, that send other
// heaps under the same counts.
func twoSources(t *testing.T) string {
	t.Helper()
	all := captureBytes(t, "plain-64-48")
	file := slices.Clone(fileHeader(all))
	for rest := all[len(fileHeader(all)):]; len(rest) > 0; {
		_, size := record(rest)
		file = append(file, rest[:size]...)
		file = append(file, rest[:size]...)
		frame := file[len(file)-size+16:]
		frame[14+15]++           // the last byte of the source address
		frame[len(frame)-1] ^= 1 // other data
		rest = rest[size:]
	}
	path := filepath.Join(t.TempDir(), "two.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRecvBySource: heaps of two senders with the same counts are told apart if asked
// for, each ended by its own stop; else their conflict is counted and named.
func TestRecvBySource(t *testing.T) {
	path := twoSources(t)
	r := program("recv", "--by-source", "--format", "json", path)
	r.check(t, 0)
	bySender := map[string][]uint64{}
	for _, l := range heapLines(t, r.stdout) {
		bySender[l.Sender] = append(bySender[l.Sender], l.Cnt)
	}
	want := map[string][]uint64{"10.99.0.1:50000": {1, 3, 5, 7, 9, 11}, "10.99.0.2:50000": {1, 3, 5, 7, 9, 11}}
	s := lastSummary(t, r.stdout)
	if !reflect.DeepEqual(bySender, want) || s.CompleteHeaps != 12 || s.SourceConflicts != 0 || s.StopHeaps != 2 || s.Streams[0].Senders != 2 {
		t.Errorf("heaps %v, %+v", bySender, s)
	}

	r = program("recv", "--format", "json", path)
	r.check(t, 0, "came from 10.99.0.1:50000 and from 10.99.0.2:50000.", "[senders_collide]")
	s = lastSummary(t, r.stdout)
	if c := s.Streams[0].Conflict; s.SourceConflicts != 169 || c == nil || c.Cnt != 1 || !slices.Equal(c.Senders, []string{"10.99.0.1:50000", "10.99.0.2:50000"}) || s.Unaccounted != 0 {
		t.Errorf("conflicts: %d, %+v", s.SourceConflicts, c)
	}
}

// TestRecvStopAfterStops ends a stream with its second stop heap.
func TestRecvStopAfterStops(t *testing.T) {
	const streams = 10 // more than a file is read on for behind a stop
	path := streamsInTurn(t, streams)
	var heaps []uint64
	for _, stops := range []string{"1", "3", "never"} {
		r := program("recv", "-q", "--format", "json", "--stop-after-stops", stops, path)
		r.check(t, 0)
		s := lastSummary(t, r.stdout)
		heaps = append(heaps, s.CompleteHeaps)
		if s.Unaccounted != 0 {
			t.Errorf("%+v", s)
		}
	}
	// A file is read on, for as many packets to within a batch, behind the stop that
	// ends it: two streams of six heaps further.
	if heaps[1] < heaps[0]+6 || heaps[1] > heaps[0]+18 || heaps[2] != 7*streams {
		t.Errorf("complete heaps to the first and third stop and to the end: %d", heaps)
	}
	for _, bad := range []string{"0", "-1", "x"} {
		program("recv", "--stop-after-stops", bad, path).check(t, exitUsage, fmt.Sprintf("--stop-after-stops %q is neither", bad))
	}
}

// TestRecvUnsized refuses heaps without a length if asked to.
func TestRecvUnsized(t *testing.T) {
	all := captureBytes(t, "single-packet-heaps")
	// HEAP_LENGTH, the second item pointer, becomes a NULL.
	for rest := all[len(fileHeader(all)):]; len(rest) > 0; {
		frame, size := record(rest)
		copy(frame[14+20+8+8+8:], []byte{0x80, 0, 0, 0, 0, 0, 0, 0})
		rest = rest[size:]
	}
	path := filepath.Join(t.TempDir(), "unsized.pcap")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	r := program("recv", "-q", "--format", "json", path)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps < 40 {
		t.Errorf("%+v", s)
	}
	r = program("recv", "-q", "--format", "json", "--require-heap-length", path)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps != 0 || s.Packets == 0 || s.Unaccounted != 0 {
		t.Errorf("with --require-heap-length: %+v", s)
	}
}

func TestAppendElement(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want string
	}{
		{true, "true"},
		{int64(-3), "-3"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{float32(0.1), "0.10000000149011612"},
		{math.NaN(), `"NaN"`},
		{math.Inf(-1), `"-Infinity"`},
		{complex64(1 - 2i), "[1,-2]"},
		{complex(0.5, math.Inf(1)), `[0.5,"Infinity"]`},
		{"a\"b", `"a\"b"`},
		{"caf\xe9", `"caf\u00e9"`},
		{[]byte{0, 255}, `"00ff"`},
		{[]any{int64(1), []any{"x"}}, `[1,["x"]]`},
	} {
		var got, want any
		b := appendElement(nil, tt.v)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Errorf("%v is written %s: %v", tt.v, b, err)
			continue
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v is written %s, want %s", tt.v, b, tt.want)
		}
	}
}

// TestRecvHostileNames: nothing that a sender calls its items reaches the terminal as
// more than text.
func TestRecvHostileNames(t *testing.T) {
	d := spead.Descriptor{ID: 0x1000, Name: "x\nReceived heap 99", Description: "\x1b]0;title\a µ", Format: []spead.FormatField{{Type: 'u', Bits: 16}}}
	desc, err := d.Item(spead.Flavour48, 0)
	if err != nil {
		t.Fatal(err)
	}
	twice := []spead.OutItem{desc, {ID: 0x1000, Immediate: true, Value: 1}, {ID: 0x1000, Immediate: true, Value: 2}}
	r := program("recv", "--descriptors", "--values", writeCapture(t, spead.Flavour48, twice))
	r.check(t, 0)
	if strings.Contains(r.stdout, "\x1b") || strings.Contains(r.stdout, "\nReceived heap 99") ||
		!strings.Contains(r.stdout, `description: \x1b]0;title\a µ`) || !strings.Contains(r.stdout, `  0x1000 x\nReceived heap 99 u16 = 2`) || strings.Count(r.stdout, "u16 = ") != 1 {
		t.Errorf("output:\n%q", r.stdout)
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"MeerKAT": `"MeerKAT"`, "a\nb\"": `"a\nb\""`,
		strings.Repeat("µ", 72): `"` + strings.Repeat("µ", 72) + `"`,
		strings.Repeat("µ", 73): `"` + strings.Repeat("µ", 72) + "…",
	} {
		if got := quoted(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}

// TestLargeElements: a struct with long arrays is written field by field, like any
// other, and in text is not looked into.
func TestLargeElements(t *testing.T) {
	header, err := spead.NumpyHeader("[('n', '<u2'), ('x', '<i2', (5000, 2)), ('in', [('s', 'S2'), ('y', '|u1', (3,))])]", spead.OrderC, 2)
	if err != nil {
		t.Fatal(err)
	}
	d := spead.Descriptor{ID: 0x1000, Name: "x", DType: header}
	element := func(k int) any {
		x := make([][]int, 5000)
		for i := range x {
			x[i] = []int{k, i}
		}
		return []any{k, x, []any{"ab", []int{1, 2, k}}}
	}
	value, err := d.Encode([]any{element(3), element(4)})
	if err != nil {
		t.Fatal(err)
	}
	desc, err := d.Item(spead.Flavour48, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := writeCapture(t, spead.Flavour48, []spead.OutItem{desc, value})
	var got, want any
	for _, it := range heapLines(t, program("recv", "--format", "json", "--values", path).stdout)[0].Items {
		if it.ID == 0x1000 {
			got = it.Value
		}
	}
	b, _ := json.Marshal([]any{element(3), element(4)})
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("value %.200v…, want %.200v…", got, want)
	}
	if r := program("recv", "--values", path); !strings.Contains(r.stdout, " (2) = [(…), (…)]\n") {
		t.Errorf("output:\n%s", r.stdout)
	}
}

func TestParseShape(t *testing.T) {
	for in, want := range map[string][]int64{"": {}, "()": {}, "5": {5}, "(5,)": {5}, "3, 4": {3, 4}, "(2,3,4)": {2, 3, 4}} {
		if got, err := parseShape(in); err != nil || !slices.Equal(got, want) || got == nil {
			t.Errorf("%q is %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "0", "-1", "(3", "1,,2", "99999999999999999999"} {
		if got, err := parseShape(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

// TestSendTyped: what send describes and sends is what recv prints.
func TestSendTyped(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{`--items 2 --dtype <f4 --shape 2,2`, []string{"item0 <f4 (2, 2) = [[0, 1], [2, 3]]", "item1 <f4 (2, 2) = [[1, 2], [3, 4]]"}},
		{`--items 2 --dtype >i2 --shape () --repeat-pointers`, []string{"item0 >i2 = 0", "item1 >i2 = 1"}},
		{`--dtype [('n',|u1),('s',|S2),('v',<i2,(2,))] --shape 2 --addr-bits 40`, []string{`item0 [('n', '|u1'), ('s', '|S2'), ('v', '<i2', (2,))] (2) = [(0, "0", (0, 0)), (1, "1", (1, 1))]`}},
		{`--dtype u1 --heap-size 300`, []string{"item0 |u1 (300) = [0, 1, 2, "}},
	} {
		args := strings.Fields(tt.args)
		for i, a := range args {
			if strings.HasPrefix(a, "[") {
				args[i] = strings.NewReplacer("|u1", "'|u1'", "|S2", "'|S2'", "<i2", "'<i2'").Replace(a)
			}
		}
		recv, to := loopback(t, "--values")
		program(append(append([]string{"send", "-q", "--heaps", "1"}, args...), to)...).check(t, 0)
		r := recv.wait(t)
		for _, want := range tt.want {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("send %s: there is no %q in\n%s", tt.args, want, r.stdout)
			}
		}
	}
	for args, want := range map[string]string{
		"--dtype spam":                  `--dtype: dtype "spam": type string "spam" is no type of numpy's`,
		"--shape 3 --heap-size 12":      "--heap-size and --shape say both",
		"--shape 0":                     `"0" is not a size from 1`,
		"--dtype u1 --shape 3 --verify": "items of 3 bytes cannot be verified",
	} {
		program(append(append([]string{"send"}, strings.Fields(args)...), "127.0.0.1:7148")...).check(t, exitUsage, want)
	}
}
