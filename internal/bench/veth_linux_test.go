// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/spead"
)

// needVeth skips where bench veth cannot run.
func needVeth(t *testing.T) {
	t.Helper()
	n, err := vnet.Make(vnet.Options{})
	testnet.NeedPrivilege(t, err)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if len(allCPUs) < 2 {
		t.Skip("needs two processors")
	}
}

// descriptors counts those of the process by kind, but for what Go's runtime keeps.
func descriptors(t *testing.T) map[string]int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil {
			continue // that of the directory
		}
		kind, _, _ := strings.Cut(to, ":[")
		if strings.Contains(to, "[eventpoll]") || strings.Contains(to, "[eventfd]") || strings.Contains(to, "[pidfd]") {
			continue
		}
		kinds[kind]++
	}
	return kinds
}

// leavesNothing fails if f leaves descriptors, which namespaces, programs, maps and
// sockets all are here.
func leavesNothing(t *testing.T, f func()) {
	t.Helper()
	before := descriptors(t)
	f()
	for kind, n := range descriptors(t) {
		if n > before[kind] {
			t.Errorf("%d descriptors of %s are left", n-before[kind], kind)
		}
	}
}

func TestContestants(t *testing.T) {
	var names []string
	o := VethOptions{Spead2: "x"}
	for _, c := range o.contestants() {
		names = append(names, c.name)
	}
	names = append(names, Spead2Bench) // by itself
	if !slices.Equal(names, VethContestants()) {
		t.Errorf("contestants are %q, names %q", names, VethContestants())
	}
}

func TestReceive(t *testing.T) {
	needVeth(t)
	leavesNothing(t, func() {
		results := map[string]Result{}
		err := Receive(t.Context(), VethOptions{
			Payloads: []int{1408}, Senders: []int{1}, Jumbo: -1, Rounds: 1, Trial: 20 * time.Millisecond, Only: []string{Drain, Native},
		}, func(r Result) { results[r.Contestant] = r })
		if err != nil || len(results) != 2 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		for _, name := range []string{Drain, Native} {
			r := results[name]
			plausible(t, &r, "blast", 1408)
			v := r.Veth
			if v.RingSize != vethFrames || v.RingPeak < 1 || v.RingPeak > v.RingSize {
				t.Errorf("%s: ring of %d, peak %d", name, v.RingSize, v.RingPeak)
			}
			if v.PacedGbps <= 0 || v.PacedGbps > 0.71*r.Gbps || v.ProcessCPUPerGB <= 0 {
				t.Errorf("%s: CPU time %v s/GB at %v of %v Gb/s", name, v.ProcessCPUPerGB, v.PacedGbps, r.Gbps)
			}
		}
		if ratio := results[Native].Ratio; results[Drain].Ratio != nil || ratio == nil || ratio.To != Drain ||
			math.Abs(ratio.Value-results[Native].Gbps/results[Drain].Gbps) > 1e-9 {
			t.Errorf("ratios %v and %v", results[Drain].Ratio, ratio)
		}
	})
}

func TestReceiveJumbo(t *testing.T) {
	needVeth(t)
	leavesNothing(t, func() {
		var results []Result
		err := Receive(t.Context(), VethOptions{
			Payloads: []int{}, Rounds: 1, Trial: 20 * time.Millisecond, Paced: 0.2, Only: []string{Native, Asavie},
		}, func(r Result) { results = append(results, r) })
		if err != nil || len(results) != 1 || results[0].Contestant != Native { // the other does not take them
			t.Fatalf("%d results, %v", len(results), err)
		}
		plausible(t, &results[0], "udp", 8192)
		if v := results[0].Veth; v.PacedGbps != 0.2 {
			t.Errorf("paced at %v Gb/s", v.PacedGbps)
		}
	})
}

// plausible checks what all results of one round have in common.
func plausible(t *testing.T, r *Result, generator string, payload int) {
	t.Helper()
	packets := (1 << 20) / payload
	want := Conditions{Generator: generator, Senders: 1, Packet: payload, Heap: int64(packets * payload)}
	if r.Bench != "veth" || r.Conditions != want || r.Trials != 1 || r.Gbps <= 0 || r.GbpsLow != r.Gbps || r.GbpsHigh != r.Gbps ||
		math.Abs(r.Mpps*float64(payload)*8e-3-r.Gbps) > 1e-6*r.Gbps {
		t.Errorf("result %+v", r)
	}
	v := r.Veth
	if v == nil || len(v.Curve) == 0 {
		t.Fatalf("%s has no curve", r.Contestant)
	}
	trials := 0
	for i, p := range v.Curve {
		trials += p.Trials
		if p.OfferedGbps <= 0 || p.Trials < 1 || p.Sent < uint64(packets) || p.Lost > p.Sent || p.Lossy > p.Trials || p.Lossy == 0 && p.Lost > 0 ||
			i > 0 && p.OfferedGbps < v.Curve[i-1].OfferedGbps {
			t.Errorf("%s: point %d is %+v", r.Contestant, i, p)
		}
	}
	if trials < confirmations+1 {
		t.Errorf("%s: %d trials", r.Contestant, trials)
	}
}

// TestReceiveManySenders: packets of many heaps in turn, which all have a place.
func TestReceiveManySenders(t *testing.T) {
	needVeth(t)
	leavesNothing(t, func() {
		var names []string
		err := Receive(t.Context(), VethOptions{
			Payloads: []int{1408}, Senders: []int{40}, Heap: 14080, Jumbo: -1, Rounds: 1, Trial: 10 * time.Millisecond, Paced: 0.2,
			Only: []string{Native, Spin, Asavie},
		}, func(r Result) {
			names = append(names, r.Contestant)
			if r.Senders != 40 || r.Heap != 14080 || r.Gbps <= 0 || r.Note != "" && r.Note != "the generator was the limit" || r.Veth.PacedLost > 0 {
				t.Errorf("%+v, %+v", r, r.Veth)
			}
		})
		if err != nil || !slices.Equal(names, []string{Native, Asavie}) {
			t.Fatalf("results of %q, %v", names, err)
		}
	})
}

func TestReceiveDisturbed(t *testing.T) {
	needVeth(t)
	leavesNothing(t, func() {
		var results []Result
		err := Receive(t.Context(), VethOptions{
			Payloads: []int{1408}, Senders: []int{1}, Jumbo: -1, Rounds: 1, Trial: 30 * time.Millisecond, Paced: 0.2, Only: []string{Default},
		}, func(r Result) { results = append(results, r) })
		if err != nil || len(results) != 1 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		r := &results[0]
		plausible(t, r, "blast", 1408)
		d := r.Veth.Disturbed
		if d == nil {
			t.Fatal("it was not disturbed")
		}
		if d.Gbps <= 0 || d.Gbps > 0.81*r.Gbps || d.Seconds < 0.25 || d.Sent == 0 || d.Lost > d.Sent || d.Collections == 0 || d.Readings < 10 || d.Stalls == 0 {
			t.Errorf("%+v of %v Gb/s", d, r.Gbps)
		}
	})
}

// TestOutlasting: the ring of heaps has room for what comes in a stall.
func TestOutlasting(t *testing.T) {
	for _, tt := range []struct {
		senders int
		heap    int64
		least   int64 // bytes
	}{{1, 1 << 20, 360e6}, {64, 1 << 20, 360e6 + 64<<20}, {1, 1408, 360e6}, {1, 1 << 30, 1 << 30}} {
		l := load{senders: tt.senders, heap: tt.heap}
		if n := int64(outlasting(&l)); n*tt.heap < tt.least || (n-int64(l.live())-2)*tt.heap > tt.least {
			t.Errorf("%d heaps of %d bytes, senders: %d", n, tt.heap, tt.senders)
		}
	}
}

func TestReceiveInterrupted(t *testing.T) {
	needVeth(t)
	leavesNothing(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		emitted := 0
		err := Receive(ctx, VethOptions{Only: []string{Drain}}, func(Result) { emitted++ })
		if !errors.Is(err, context.DeadlineExceeded) || emitted > 0 {
			t.Errorf("%d results, %v", emitted, err)
		}
	})
}

// TestPace: all have one pace, which all take; who is far behind has its own.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		rates []float64
		asked float64
		want  []float64
	}{
		{[]float64{40, 30, 20}, 0, []float64{14, 14, 14}},
		{[]float64{40, 30, 20}, 25, []float64{25, 25, 25}},
		{[]float64{40, 4, 20, 30, 50}, 0, []float64{14, 2.8, 14, 14, 14}},
		{[]float64{40, 0, 20}, 0, []float64{14, 0, 14}},
		{[]float64{0}, 0, []float64{0}},
		{nil, 0, nil},
	} {
		var all []*runner
		for _, rate := range tt.rates {
			r := &runner{}
			if rate > 0 {
				r.rates = []float64{rate}
			}
			all = append(all, r)
		}
		pace(all, tt.asked)
		for i, r := range all {
			if math.Abs(r.pace-tt.want[i]) > 1e-9 {
				t.Errorf("of %v, asked for %v, number %d is paced at %v Gb/s, want %v", tt.rates, tt.asked, i, r.pace, tt.want[i])
			}
		}
	}
}

func TestNewLoad(t *testing.T) {
	for _, tt := range []struct {
		payload int
		size    int64
		packets int
	}{
		{3072, 1 << 20, 341}, {1408, 1 << 20, 744}, {1024, 1 << 20, 1024}, {8192, 1000, 1}, {8, 8, 1}, {8, 15, 1}, {8, 16, 2},
	} {
		l := newLoad("blast", 1, tt.payload, tt.size)
		if l.packets != tt.packets || l.heap != int64(tt.packets*tt.payload) || l.payload != tt.payload || l.generator != "blast" {
			t.Errorf("heaps near %d in packets of %d are %+v", tt.size, tt.payload, l)
		}
	}
	l := newLoad("udp", 1, 1250, 1<<20)
	if got := l.gbps(1e6); math.Abs(got-10) > 1e-9 {
		t.Errorf("10^6 packets of 1250 bytes a second are %v Gb/s", got)
	}
}

func TestCurve(t *testing.T) {
	l := newLoad("blast", 1, 1250, 1<<20) // 10 Gb/s are 10^6 packets a second
	if points := curve(l, nil); points != nil {
		t.Errorf("of nothing: %+v", points)
	}
	trials := []outcome{
		{pps: 1e6, sent: 100, lost: 7, ringPeak: 30}, {pps: 1e5, sent: 10, ringPeak: 5},
		{pps: 1.001e6, sent: 100, refused: 3, ringPeak: 50}, {pps: 2e6, sent: 200, lost: 100},
	}
	got := curve(l, trials)
	want := []Point{
		{OfferedGbps: 1, Trials: 1, Sent: 10, RingPeak: 5},
		{OfferedGbps: 10.005, Trials: 2, Lossy: 1, Sent: 200, Refused: 3, Lost: 7, RingPeak: 50},
		{OfferedGbps: 20, Trials: 1, Lossy: 1, Sent: 200, Lost: 100},
	}
	if len(got) != len(want) {
		t.Fatalf("curve %+v", got)
	}
	for i := range want {
		if math.Abs(got[i].OfferedGbps-want[i].OfferedGbps) > 1e-9 {
			t.Errorf("point %d is at %v Gb/s, want %v", i, got[i].OfferedGbps, want[i].OfferedGbps)
		}
		got[i].OfferedGbps = want[i].OfferedGbps
		if got[i] != want[i] {
			t.Errorf("point %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	if trials[0].pps != 1e6 {
		t.Error("the trials were reordered")
	}
	// Of many, there are few points, and none of the trials is missing.
	trials = nil
	for i := range 1000 {
		trials = append(trials, outcome{pps: 1000 * math.Pow(1.01, float64(i*7%1000)), sent: 1})
	}
	trials = append(trials, outcome{}) // sent nothing
	sum := 0
	points := curve(l, trials)
	for i, p := range points {
		sum += p.Trials
		if i > 0 && p.OfferedGbps <= points[i-1].OfferedGbps {
			t.Errorf("point %d does not rise", i)
		}
	}
	if sum != len(trials) || len(points) > curvePoints+1 {
		t.Errorf("%d points of %d trials", len(points), sum)
	}
}

func TestHasSocket(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.UDPAddr).Port
	if has, err := hasSocket("udp", port); !has || err != nil {
		t.Errorf("port %d is bound: %v, %v", port, has, err)
	}
	c.Close()
	if has, err := hasSocket("udp", port); has || err != nil {
		t.Errorf("port %d is not bound: %v, %v", port, has, err)
	}
}

func TestStopPacket(t *testing.T) {
	var p spead.Packet
	b := stopPacket()
	if reason := p.Decode(b, len(b)); reason != 0 || p.Control != int64(spead.CtrlStop) || p.PayloadLength > 1 || p.Flavour != spead.Flavour48 {
		t.Errorf("%x: %v, %+v", b, reason, p)
	}
}

// standIn is the environment of a process that does what spead2_recv would; its
// value is the arguments.
const standIn = "SPEADX_TEST_SPEAD2_RECV"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(standIn)); len(args) > 0 {
		if err := standInFor(args); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standInFor counts packets to its first argument until a stop heap comes, or listens.
func standInFor(args []string) error {
	if args[0] == "listen" { // for a connection that never comes
		l, err := net.Listen("tcp", ":"+args[1])
		if err == nil {
			_, err = l.Accept()
		}
		return err
	}
	c, err := net.ListenPacket("udp4", args[0])
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.(*net.UDPConn).SetReadBuffer(4 << 20)
	buf, packets := make([]byte, 10000), 0
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		var p spead.Packet
		if reason := p.Decode(buf[:n], n); reason != 0 {
			return fmt.Errorf("refused a packet: %v", reason)
		}
		if p.Control == int64(spead.CtrlStop) {
			break
		}
		packets++
	}
	fmt.Printf("arguments: %s\nReceived %d heaps\n", args, packets/10)
	return nil
}

// TestSpeadBench: both ends of a program that measures for itself.
func TestSpeadBench(t *testing.T) {
	needVeth(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := func(name, master string) string {
		path := filepath.Join(dir, name)
		text := fmt.Sprintf("#!/bin/sh\nif [ $1 = agent ]; then %s=\"listen $2\" exec %s; fi\n%s\n", standIn, exe, master)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l := newLoad("udp", 1, 8192, 1<<20)
	leavesNothing(t, func() {
		// What it prints is of packets with their headers.
		r, err := spead2Bench(t.Context(), script("good", `echo "$*" >&2; echo "Sustainable rate: 20.1 Gbps"`), l)
		if want := 20.1 * 8192 / 8232; err != nil || math.Abs(r.Gbps-want) > 1e-9 || math.Abs(r.Mpps*8192*8e-3-want) > 1e-9 || r.Trials != 1 || r.Senders != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		_, err = spead2Bench(t.Context(), script("mute", `echo "$@"`), l)
		if err == nil || !strings.Contains(err.Error(), `mute master said no rate: "master `) || !strings.Contains(err.Error(), `:7148 --packet 8232 --heap-size 1048576\n"`) {
			t.Errorf("error %v", err)
		}
		if _, err = spead2Bench(t.Context(), script("broken", "echo no luck; exit 3"), l); err == nil || !strings.Contains(err.Error(), "broken: exit status 3: no luck") {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err = spead2Bench(ctx, script("slow", "exec sleep 100"), l); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if _, err = spead2Bench(t.Context(), filepath.Join(dir, "none"), l); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no such program: %v", err)
		}
	})
}

// TestSpeadReceiver: the receiver that is a process counts what that says, and leaves
// no process, however it ends.
func TestSpeadReceiver(t *testing.T) {
	needVeth(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := script("good", fmt.Sprintf(`%s="$*" exec %s`, standIn, exe))
	l := newLoad("blast", 1, 1408, 14080)
	w, err := newWire(l)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	open := func(program string, tuned bool) *spead2Receiver {
		buffer := 0
		if tuned {
			buffer = tunedBuffer
		}
		r, err := openSpead2(program, buffer, tuned)(w)
		if err != nil {
			t.Fatal(err)
		}
		return r.(*spead2Receiver)
	}
	leavesNothing(t, func() {
		r := open(good, true)
		for range 2 {
			o, s, err := (&runner{}).try(t.Context(), w, r, 5000, 40*time.Millisecond)
			if err != nil || s.packets < 10 || s.packets%10 != 0 || o.lost != 0 || o.sent != s.packets {
				t.Fatalf("%+v, %+v, %v", o, s, err)
			}
			if used, own := r.cpu(); own || used <= 0 {
				t.Errorf("CPU time %v, own %v", used, own)
			}
		}
		want := fmt.Sprintf("arguments: [%v --quiet --packet 1456 --buffer 67108864 --mem-pool --mem-lower 14080 --mem-upper 22272]", w.dest)
		if !strings.Contains(r.p.out.String(), want) {
			t.Errorf("printed %q, want %q", r.p.out.String(), want)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
		// Where many send, it is told how many heaps are live, and the pool has room for them.
		many := &spead2Receiver{program: good, buffer: tunedBuffer, tuned: true, wire: &wire{dest: w.dest, load: load{senders: 64, payload: 1408, heap: 14080}}}
		if got := strings.Join(many.arguments(), " "); !strings.HasSuffix(got, "--packet 1456 --concurrent-heaps 64 --buffer 67108864 --mem-pool --mem-lower 14080 --mem-upper 22272 --mem-initial 192 --mem-max-free 192") {
			t.Errorf("arguments for 64 senders: %s", got)
		}
		// As most would find it: with less of a socket buffer, and nothing else.
		stock := &spead2Receiver{program: good, buffer: stockBuffer, wire: &wire{dest: w.dest, load: load{senders: 1, payload: 1408, heap: 14080}}}
		if got := strings.Join(stock.arguments(), " "); !strings.HasSuffix(got, "--packet 1456 --buffer 212992") {
			t.Errorf("arguments with a small buffer: %s", got)
		}
		// What is abandoned while it receives does not stay.
		r = open(good, true)
		if err := r.begin(); err != nil {
			t.Fatal(err)
		}
		if err := r.close(); err != nil || r.p.cmd.ProcessState == nil {
			t.Errorf("close: %v, its process has ended: %v", err, r.p.cmd.ProcessState)
		}
		// One that says nothing of heaps.
		r = open(script("mute", fmt.Sprintf(`%s="$*" %s -test.run '^TestStandIn$' >/dev/null; echo hello`, standIn, exe)), false)
		if err := r.begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.end(0); err == nil || !strings.Contains(err.Error(), "mute did not say how many heaps it received: \"hello\\n\"") {
			t.Errorf("error %v", err)
		}
		// One that fails at once, and one that does so in the end.
		began := time.Now()
		err := open(script("broken", "echo no luck; exit 3"), true).begin()
		if err == nil || !strings.Contains(err.Error(), "broken: it ended at once (exit status 3): no luck") || time.Since(began) > 5*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
		r = open(script("late", fmt.Sprintf(`%s="$*" %s -test.run '^TestStandIn$' >/dev/null; exit 3`, standIn, exe)), false)
		if err := r.begin(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.end(0); err == nil || !strings.Contains(err.Error(), "late: exit status 3") {
			t.Errorf("error %v", err)
		}
		if err := open(filepath.Join(dir, "none"), false).begin(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no such program: %v", err)
		}
	})
}
