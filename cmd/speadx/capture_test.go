// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/ledger"
)

// captureFolder has real streams of spead2's sender, and what is in them.
const captureFolder = "../../testdata/captures"

func capturePath(name string) string { return filepath.Join(captureFolder, name+".pcap") }

func captureBytes(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(capturePath(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fileHeader is the beginning of a pcap file, before its first record.
func fileHeader(pcap []byte) []byte { return pcap[:24] }

// record is the first record of what follows a header, and its size with its own
// header.
func record(b []byte) (frame []byte, size int) {
	n := int(binary.LittleEndian.Uint32(b[8:]))
	return b[16 : 16+n], 16 + n
}

// line is a heap's line of --format json.
type line struct {
	Type     string
	Stream   string
	Cnt      uint64
	Flavour  string
	Complete bool
	Length   int64
	Received int64
	Sender   string
	Items    []lineItem
	Ranges   [][2]int64
	Time     float64
}

type lineItem struct {
	ID        uint64
	Immediate *uint64
	Offset    *int64
	Length    int64
	SHA256    string
	Missing   bool

	Name, Description *string
	Shape             []*int64
	DType, Order      string
	Format            [][]any
	Value             any
}

// UnmarshalJSON reads fates as any reader has to: by name.
func (f *jsonFates) UnmarshalJSON(b []byte) error {
	byName := map[string]uint64{}
	if err := json.Unmarshal(b, &byName); err != nil {
		return err
	}
	for i := range f {
		n, ok := byName[ledger.Fate(i).String()]
		if !ok {
			return fmt.Errorf("no fate %v", ledger.Fate(i))
		}
		f[i] = n
	}
	if len(byName) != len(f) {
		return fmt.Errorf("there are %d fates, not %d", len(byName), len(f))
	}
	return nil
}

func strict(t *testing.T, text string, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// heapLines are the heaps of an output of --format json.
func heapLines(t *testing.T, stdout string) (out []line) {
	t.Helper()
	all := strings.SplitAfter(stdout, "\n")
	for _, text := range all[:len(all)-2] {
		var l line
		if strict(t, text, &l); l.Type != "heap" {
			t.Fatalf("type of %s", text)
		}
		out = append(out, l)
	}
	return out
}

// lastSummary is the last line of an output of --format json, in which the ledger
// has to close.
func lastSummary(t *testing.T, stdout string) jsonSummary {
	t.Helper()
	lines := strings.Split(stdout, "\n")
	if len(lines) < 2 || lines[len(lines)-1] != "" {
		t.Fatalf("no last line in %q", stdout)
	}
	var s jsonSummary
	strict(t, lines[len(lines)-2], &s)
	total := s.InFlight
	for _, n := range s.Fates {
		total += n
	}
	if s.Type != "summary" || s.Unaccounted != 0 || total != s.Packets || s.InFlight != 0 ||
		s.Heaps != s.CompleteHeaps+s.IncompleteHeaps || s.Heaps != s.DeliveredHeaps+s.DiscardedHeaps+s.RingFullHeaps+s.ShutdownHeaps {
		t.Errorf("the ledger does not close: %s", lines[len(lines)-2])
	}
	return s
}

// TestRecvCaptures: of every capture exactly what its index says, in the order in
// which the heaps were finished.
func TestRecvCaptures(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(captureFolder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index map[string]struct {
		Heaps []struct {
			Cnt   uint64
			Items []lineItem
		}
		Duplicates uint64
		Incomplete []uint64
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if name == "descriptors" {
			continue // its entry has descriptors instead of heaps
		}
		t.Run(name, func(t *testing.T) {
			want := index[name]
			r := program("recv", "-H", "256KiB", "--format", "json", "--hash", capturePath(name))
			r.check(t, 0)
			lines := heapLines(t, r.stdout)
			if name == "reordered" {
				slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.Cnt, b.Cnt) })
			}
			if len(lines) != len(want.Heaps) {
				t.Fatalf("%d heaps, want %d", len(lines), len(want.Heaps))
			}
			for i, l := range lines {
				w := want.Heaps[i]
				if name == "plain-64-56" {
					w.Items = nil // their ids need more than its 7 bits, so the packets have null items
				}
				if l.Cnt != w.Cnt || !l.Complete || l.Received != l.Length || l.Ranges != nil || l.Stream != capturePath(name) {
					t.Errorf("heap %+v, want %+v", l, w)
				}
				if got, wanted := itemsText(l.Items), itemsText(w.Items); got != wanted {
					t.Errorf("heap %d has %s, want %s", l.Cnt, got, wanted)
				}
			}
			s := lastSummary(t, r.stdout)
			if s.CompleteHeaps != uint64(len(want.Heaps)) || s.IncompleteHeaps != uint64(len(want.Incomplete)) ||
				s.Fates[ledger.Duplicate] != want.Duplicates || s.StopHeaps != s.Fates[ledger.StreamControl] {
				t.Errorf("summary %+v", s)
			}
		})
	}
}

// itemsText shows items as the index has them, in its order.
func itemsText(items []lineItem) string {
	var b strings.Builder
	for _, it := range items {
		if it.Immediate != nil {
			fmt.Fprintf(&b, "%d=%d ", it.ID, *it.Immediate)
		} else {
			fmt.Fprintf(&b, "%d[%d] %s ", it.ID, it.Length, it.SHA256)
		}
	}
	return b.String()
}

// TestRecvJSON: the lines themselves, whose names and form are an interface.
func TestRecvJSON(t *testing.T) {
	r := program("recv", "-H", "64KiB", "--ring-heaps", "8", "--format", "json", "--incomplete", capturePath("lossy"))
	r.check(t, 0)
	want := `{"type":"heap","stream":"SOURCE","cnt":1,"flavour":"64-48","complete":true,"length":40000,"received":40000,"sender":"10.99.0.1:50000","items":[{"id":5632,"immediate":0},{"id":13056,"offset":0,"length":40000}],"time":N}
{"type":"heap","stream":"SOURCE","cnt":3,"flavour":"64-48","complete":true,"length":40000,"received":40000,"sender":"10.99.0.1:50000","items":[{"id":5632,"immediate":1000},{"id":13056,"offset":0,"length":40000}],"time":N}
{"type":"heap","stream":"SOURCE","cnt":7,"flavour":"64-48","complete":true,"length":40000,"received":40000,"sender":"10.99.0.1:50000","items":[{"id":5632,"immediate":3000},{"id":13056,"offset":0,"length":40000}],"time":N}
{"type":"heap","stream":"SOURCE","cnt":11,"flavour":"64-48","complete":true,"length":40000,"received":40000,"sender":"10.99.0.1:50000","items":[{"id":5632,"immediate":5000},{"id":13056,"offset":0,"length":40000}],"time":N}
{"type":"heap","stream":"SOURCE","cnt":9,"flavour":"64-48","complete":false,"length":40000,"received":38568,"sender":"10.99.0.1:50000","items":[{"id":5632,"immediate":4000},{"id":13056,"offset":0,"length":40000,"missing":true}],"ranges":[[0,12872],[14304,40000]],"time":N}
{"type":"summary","time":N,"heaps":5,"complete_heaps":4,"incomplete_heaps":1,"evicted_heaps":0,"aged_heaps":0,"flushed_heaps":1,"overtaken_heaps":0,"ring_full_heaps":0,"shutdown_heaps":0,"delivered_heaps":5,"discarded_heaps":0,"single_packet_heaps":0,"stop_heaps":1,"repeated_heaps":0,"packets":140,"bytes":204265,"payload_bytes":198568,"batches":1,"max_batch":140,"source_conflicts":0,"blocked":0,"blocked_seconds":N,"missing_heaps":1,"incomplete_bytes":1432,"missing_heap_bytes":40000,"discarded_bytes":0,"ring_full_bytes":0,"shutdown_bytes":0,"fates":{"delivered":112,"delivered_incomplete":27,"discarded_incomplete":0,"ring_full":0,"duplicate":0,"overlap":0,"late":0,"empty":0,"stream_control":1,"too_short":0,"bad_magic":0,"bad_flavour":0,"flavour_differs":0,"items_overflow":0,"missing_items":0,"payload_overflow":0,"size_mismatch":0,"heap_overflow":0,"length_conflict":0,"unsized_refused":0,"oversize_heap":0,"too_many_items":0,"too_many_ranges":0,"headers_split":0,"no_slot":0,"after_stop":0,"capture_cut":0,"chain_too_long":0,"shutdown":0,"not_ip_udp":0,"other_endpoint":0,"fragment":0,"no_socket":0,"kernel_dropped":0,"nic_dropped":0},"in_flight":0,"unaccounted":0,"lost_packets":0,"missing_bytes":41432,"missing_bytes_by_cause":{"network":41432,"nic":0,"program":0,"socket":0,"parse":0,"assembly":0,"pool":0,"ring":0,"consumer":0},"delivered_bytes":198568,"verified_heaps":0,"mismatched_heaps":0,"super_frames":0,"skipped_bytes":0,"kernel_dropped_at_least":false,"seconds":N,"flow_seconds":N,"gbps":N,"verdict":{"ok":false,"codes":["heaps_lost"],"sentence":"2 heaps lost or incomplete","complete_heaps":4,"lost_heaps":2,"discarded_heaps":0},"streams":[{"stream":"SOURCE","heaps":5,"complete_heaps":4,"incomplete_heaps":1,"evicted_heaps":0,"aged_heaps":0,"flushed_heaps":1,"overtaken_heaps":0,"ring_full_heaps":0,"shutdown_heaps":0,"delivered_heaps":5,"discarded_heaps":0,"single_packet_heaps":0,"stop_heaps":1,"repeated_heaps":0,"packets":140,"bytes":204265,"payload_bytes":198568,"batches":1,"max_batch":140,"source_conflicts":0,"blocked":0,"blocked_seconds":N,"missing_heaps":1,"incomplete_bytes":1432,"missing_heap_bytes":40000,"discarded_bytes":0,"ring_full_bytes":0,"shutdown_bytes":0,"fates":{"delivered":112,"delivered_incomplete":27,"discarded_incomplete":0,"ring_full":0,"duplicate":0,"overlap":0,"late":0,"empty":0,"stream_control":1,"too_short":0,"bad_magic":0,"bad_flavour":0,"flavour_differs":0,"items_overflow":0,"missing_items":0,"payload_overflow":0,"size_mismatch":0,"heap_overflow":0,"length_conflict":0,"unsized_refused":0,"oversize_heap":0,"too_many_items":0,"too_many_ranges":0,"headers_split":0,"no_slot":0,"after_stop":0,"capture_cut":0,"chain_too_long":0,"shutdown":0,"not_ip_udp":0,"other_endpoint":0,"fragment":0,"no_socket":0,"kernel_dropped":0,"nic_dropped":0},"in_flight":0,"oversize_bytes":0,"senders":1,"window":4,"late_by_heaps":0,"pool":{"live":18,"ring":8,"held":2,"threads":1,"high_live":N,"high_ring":N,"high_held":N,"least_free":N,"least_free_small":N,"now_live":0,"now_ring":0,"now_held":0,"now_free":58,"table_bytes":N}}],"devices":[],"threads":[{"thread":"SOURCE","cpu":-1,"state":"ended","turns":N,"since_turn_seconds":N,"busy_seconds":N,"idle_seconds":N,"blocked_seconds":N}],"groups":[],"diagnoses":[{"code":"heaps_missing","stream":"SOURCE","count":1,"of":6,"first_gap_heap":5,"first_gap_heaps":1,"first_gap_time":1700000000.000139,"largest_gap_heap":5,"largest_gap_heaps":1,"largest_gap_time":1700000000.000139,"first":N,"last":N,"stage":"network","severity":"warn","sentence":"Stream SOURCE: 16.7 % of the heaps are missing entirely, 1 of 6. The first gap has 1 from number 5 on, at 22:13:20.0 UTC. The largest has 1 from 5 on, at 22:13:20.0 UTC. If no other finding explains it, the heaps were not sent, or the network lost them. If the numbers rise by another step, give it with --expect-step."},{"code":"network_loss","count":41432,"of":240000,"first":N,"last":N,"stage":"network","severity":"warn","sentence":"17.3 % of the bytes were lost before this machine could count them: 41432 of 240000. Look at the senders, and at the drops of the switches on the way."}]}
`
	got := strings.ReplaceAll(r.stdout, capturePath("lossy"), "SOURCE")
	got = regexp.MustCompile(`"(time|first|last|turns|\w*seconds|gbps|high_\w+|least_free\w*|table_bytes)":[0-9.]+`).ReplaceAllString(got, `"$1":N`)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRecvText: lines like those of spead2_recv, its names of statistics, and the
// ledger.
func TestRecvText(t *testing.T) {
	r := program("recv", "-H", "64KiB", "--ring-heaps", "8", "--incomplete", capturePath("lossy"))
	r.check(t, 0, "capture file "+capturePath("lossy")+"\n", "\npool: ", "29 slots of 72KiB = 18 live (4 of one sender) + 8 in the ring + 2 held + 1 for threads")
	want := `Received heap 1 at T
  0x3300 = [40000 bytes]
  0x1600 = [6 bytes] = 0x0
Received heap 3 at T
  0x3300 = [40000 bytes]
  0x1600 = [6 bytes] = 0x3e8
Received heap 7 at T
  0x3300 = [40000 bytes]
  0x1600 = [6 bytes] = 0xbb8
Received heap 11 at T
  0x3300 = [40000 bytes]
  0x1600 = [6 bytes] = 0x1388
Received incomplete heap 9 at T (38568 of 40000 bytes)
  0x3300 = [40000 bytes, some missing]
  0x1600 = [6 bytes] = 0xfa0
Lost 17.3 % of the bytes: 17.3 % at network.
finding: Stream SOURCE: 16.7 % of the heaps are missing entirely, 1 of 6. The first gap has 1 from number 5 on, at 22:13:20.0 UTC. The largest has 1 from 5 on, at 22:13:20.0 UTC. If no other finding explains it, the heaps were not sent, or the network lost them. If the numbers rise by another step, give it with --expect-step. [heaps_missing]
finding: 17.3 % of the bytes were lost before this machine could count them: 41432 of 240000. Look at the senders, and at the drops of the switches on the way. [network_loss]
Received 5 heaps (1 incomplete), 198568 bytes in T seconds: N Gb/s
heaps: 5
complete_heaps: 4
incomplete_heaps: 1
incomplete_heaps_evicted: 0
incomplete_heaps_flushed: 1
delivered_heaps: 5
discarded_heaps: 0
single_packet_heaps: 0
stop_heaps: 1
packets: 140
bytes: 204265
payload_bytes: 198568
batches: 1
max_batch: 140
worker_blocked: 0
missing_heaps: 1
incomplete_bytes: 1432
missing_heap_bytes: 40000
ledger: 140 packets
           112 delivered
            27 delivered_incomplete
             1 stream_control
             0 unaccounted
pool of SOURCE: live N of 18, in the ring N of 8, held N of 2, least free N of 29
verdict: 2 heaps lost or incomplete [heaps_lost]
`
	got := strings.ReplaceAll(r.stdout, capturePath("lossy"), "SOURCE")
	got = regexp.MustCompile(`(at|in) \d+\.\d+`).ReplaceAllString(got, "$1 T")
	got = regexp.MustCompile(`(live|ring|held|free) \d+ of`).ReplaceAllString(got, "$1 N of")
	got = regexp.MustCompile(`[0-9.]+ Gb/s`).ReplaceAllString(got, "N Gb/s")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRecvQuiet(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		r := program("recv", "-q", "--format", format, capturePath("plain-64-48"))
		if r.check(t, 0); r.stderr != "" {
			t.Errorf("messages %q", r.stderr)
		}
		if strings.Contains(r.stdout, "Received heap") || strings.Contains(r.stdout, `"heap"`) {
			t.Errorf("heaps in %q", r.stdout)
		}
	}
}

func TestRecvHeaps(t *testing.T) {
	r := program("recv", "--heaps", "2", "--format", "json", capturePath("plain-64-48"))
	r.check(t, 0)
	s := lastSummary(t, r.stdout)
	if n := len(heapLines(t, r.stdout)); n != 2 || s.DeliveredHeaps != 2 || s.Fates[ledger.Delivered] != 56 || s.DeliveredBytes != 80000 {
		t.Errorf("%d heaps, %+v", n, s)
	}
	// Those that were finished, but not taken, are not forgotten either.
	if s.Heaps != 2+s.ShutdownHeaps {
		t.Errorf("%d heaps, of which 2 were taken and %d not", s.Heaps, s.ShutdownHeaps)
	}
}

// TestRecvStreams: each source is a stream with its own name and numbering, and
// with --joint all are one.
func TestRecvStreams(t *testing.T) {
	names := []string{capturePath("five-items"), capturePath("plain-64-24")}
	r := program(append([]string{"recv", "-H", "64KiB", "--ring-heaps", "9", "--format", "json"}, names...)...)
	r.check(t, 0)
	heaps := map[string][]uint64{}
	for _, l := range heapLines(t, r.stdout) {
		heaps[l.Stream] = append(heaps[l.Stream], l.Cnt)
	}
	if !slices.Equal(heaps[names[0]], []uint64{1, 3, 5, 7}) || !slices.Equal(heaps[names[1]], []uint64{1, 3, 5}) || len(heaps) != 2 {
		t.Errorf("heaps %v", heaps)
	}
	if s := lastSummary(t, r.stdout); s.CompleteHeaps != 7 || len(s.Streams) != 2 || s.Streams[0].Name != names[0] || s.Streams[0].CompleteHeaps != 4 ||
		s.Streams[1].Name != names[1] || s.Streams[1].CompleteHeaps != 3 {
		t.Errorf("streams %+v", s.Streams)
	}

	r = program("recv", "-H", "64KiB", "--ring-heaps", "9", capturePath("five-items"), capturePath("plain-64-24"))
	if r.check(t, 0); !regexp.MustCompile(`Received heap 1 at \d\.\d+ from \S+plain-64-24.pcap\n`).MatchString(r.stdout) {
		t.Errorf("no heap says where it is from:\n%s", r.stdout)
	}
}

func TestRecvJoint(t *testing.T) {
	// One stream over two files: odd heaps in one, even ones in the other.
	all := captureBytes(t, "two-senders")
	dir := t.TempDir()
	parts := [2][]byte{slices.Clone(fileHeader(all)), slices.Clone(fileHeader(all))}
	for rest := all[len(fileHeader(all)):]; len(rest) > 0; {
		frame, size := record(rest)
		odd := binary.BigEndian.Uint64(countOf(t, frame)) % 2
		parts[odd] = append(parts[odd], rest[:size]...)
		rest = rest[size:]
	}
	args := []string{"recv", "--joint", "--concurrent-heaps", "8", "--format", "json"}
	for i, p := range parts {
		path := filepath.Join(dir, fmt.Sprintf("%d.pcap", i))
		if err := os.WriteFile(path, p, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	r := program(args...)
	r.check(t, 0)
	first := filepath.Join(dir, "0.pcap")
	var got []uint64
	for _, l := range heapLines(t, r.stdout) {
		if l.Stream != first {
			t.Errorf("heap %d is of stream %s", l.Cnt, l.Stream)
		}
		got = append(got, l.Cnt)
	}
	slices.Sort(got)
	s := lastSummary(t, r.stdout)
	if len(s.Streams) != 1 || len(got) == 0 || len(slices.Compact(got)) != len(got) || s.IncompleteHeaps != 0 {
		t.Errorf("heaps %d, %+v", got, s)
	}
	want := heapLines(t, program("recv", "--format", "json", capturePath("two-senders")).stdout)
	if len(want) != len(got) {
		t.Errorf("%d heaps, and %d in one file", len(got), len(want))
	}
}

// TestRecvStopOnStop: streams one after the other in one file, each with heap
// counts of its own and a stop heap, which is a heap like others if it is not to
// stop.
func TestRecvStopOnStop(t *testing.T) {
	const streams = 10 // more than a file is read on for behind a stop
	path := streamsInTurn(t, streams)
	r := program("recv", "--format", "json", path)
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps < 6 || s.CompleteHeaps >= 6*streams || s.StopHeaps == 0 {
		t.Errorf("to the stop: %+v", s)
	}
	r = program("recv", "--format", "json", "--stop-on-stop=false", path)
	r.check(t, 0)
	data := 0
	for _, l := range heapLines(t, r.stdout) {
		if l.Length == 40000 && l.Complete {
			data++
		}
	}
	if s := lastSummary(t, r.stdout); data != 6*streams || s.CompleteHeaps != 7*streams || s.IncompleteHeaps != 0 || s.Packets != 169*streams {
		t.Errorf("%d heaps of data, %+v", data, s)
	}
}

// streamsInTurn is a file of n streams one after the other, each of six heaps and a
// stop heap, with counts of its own.
func streamsInTurn(t *testing.T, n uint64) string {
	t.Helper()
	one := captureBytes(t, "plain-64-48")
	file := slices.Clone(fileHeader(one))
	for i := range n {
		for rest := one[len(fileHeader(one)):]; len(rest) > 0; {
			_, size := record(rest)
			file = append(file, rest[:size]...)
			cnt := countOf(t, file[len(file)-size+16:])
			binary.BigEndian.PutUint64(cnt, binary.BigEndian.Uint64(cnt)+1000*i)
			rest = rest[size:]
		}
	}
	path := filepath.Join(t.TempDir(), "streams.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// countOf is the heap count in a frame of IPv4: behind Ethernet, IP, UDP and the
// SPEAD header it is the first item.
func countOf(t *testing.T, frame []byte) []byte {
	t.Helper()
	cnt := frame[14+20+8+8:][:8]
	if binary.BigEndian.Uint16(cnt) != 0x8001 {
		t.Fatalf("the first item is %x", cnt)
	}
	return cnt
}

// TestRecvOversize: the first heap refused for its size is told, with the flag
// that mends it, and mended by it.
func TestRecvOversize(t *testing.T) {
	r := program("recv", "-q", "-H", "1000", "--format", "json", capturePath("jumbo"))
	r.check(t, 0, "[heap_too_large]", "Raise --heap-size to 200000")
	s := lastSummary(t, r.stdout)
	if s.Heaps != 0 || s.Fates[ledger.OversizeHeap] != s.Packets-1 || s.Streams[0].OversizeBytes != 200000 {
		t.Errorf("summary %+v", s)
	}
	r = program("recv", "-q", "-H", "200000", "--format", "json", capturePath("jumbo"))
	if r.check(t, 0); r.stderr != "" || lastSummary(t, r.stdout).CompleteHeaps != 3 {
		t.Errorf("with that size: %s%s", r.stdout, r.stderr)
	}
}

// TestRecvVerifyForeign: no heap of the captures has the pattern.
func TestRecvVerifyForeign(t *testing.T) {
	r := program("recv", "-q", "--verify", capturePath("single-packet-heaps"))
	r.check(t, exitError, "differs from the pattern at offset", "what else differs is only counted\n",
		"speadx: verification failed: 40 of 40 heaps are not what send --verify sends\n")
	if n := strings.Count(r.stderr, "stream "); n != 10 || !strings.Contains(r.stdout, "Verified 40 heaps: 40 wrong\n") {
		t.Errorf("%d messages, output %s", n, r.stdout)
	}
}

// TestJSONDocumented: docs/json.md has every key and every fate.
func TestJSONDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	keys := map[string]bool{"ranges": true, "immediate": true, "offset": true, "sha256": true, "missing": true}
	for _, name := range []string{"plain-64-24", "descriptors"} {
		r := program("recv", "-H", "64KiB", "--format", "json", "--hash", "--values", capturePath(name))
		for text := range strings.Lines(r.stdout) {
			var v map[string]any
			strict(t, text, &v)
			collectKeys(v, keys)
		}
	}
	summary, err := json.Marshal(jsonSummary{Devices: []jsonDevice{{Queues: []jsonQueue{{}}}}, Streams: []jsonStream{{Conflict: &jsonConflict{}}}, Threads: []jsonThread{{}}, Groups: []jsonGroup{{}}})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(sendSummary{})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(summary), string(sent)} {
		var v map[string]any
		strict(t, text, &v)
		collectKeys(v, keys)
	}
	for f := range ledger.NumFates {
		keys[f.String()] = true
	}
	for key := range keys {
		if !strings.Contains(doc, "`"+key+"`") {
			t.Errorf("docs/json.md does not explain %q", key)
		}
	}
}

func collectKeys(v any, keys map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			keys[k] = true
			collectKeys(sub, keys)
		}
	case []any:
		for _, sub := range v {
			collectKeys(sub, keys)
		}
	}
}
