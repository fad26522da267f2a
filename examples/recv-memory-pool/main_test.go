// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/spead"
)

// TestMeanPower compares it with the simple loop.
func TestMeanPower(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 8, 9, 1000, 8<<16 + 3, 1 << 21} {
		samples, raw := make([]int8, n), make([]byte, n)
		for i := range samples {
			samples[i] = int8(r.Uint32())
			raw[i] = byte(samples[i])
		}
		want := simple(samples)
		if got := meanPower(samples); got != want {
			t.Errorf("%d samples: %v, want %v", n, got, want)
		}
		if got := meanPower(raw); got != want {
			t.Errorf("%d samples as bytes: %v, want %v", n, got, want)
		}
	}
	largest := slices.Repeat([]int8{-128}, 1<<21)
	if got := meanPower(largest); got != 128*128 {
		t.Errorf("of the largest samples: %v", got)
	}
}

func simple(samples []int8) float64 {
	sum := int64(0)
	for _, s := range samples {
		sum += int64(s) * int64(s)
	}
	return float64(sum) / max(float64(len(samples)), 1)
}

func BenchmarkMeanPower(b *testing.B) {
	samples, raw := make([]int8, 1<<20), make([]byte, 1<<20)
	b.Run("int8", func(b *testing.B) {
		b.SetBytes(1 << 20)
		for b.Loop() {
			meanPower(samples)
		}
	})
	b.Run("byte", func(b *testing.B) {
		b.SetBytes(1 << 20)
		for b.Loop() {
			meanPower(raw)
		}
	})
	b.Run("simple", func(b *testing.B) {
		b.SetBytes(1 << 20)
		for b.Loop() {
			simple(samples)
		}
	})
}

func TestUsage(t *testing.T) {
	const usage = "Usage: recv-memory-pool [-H heap-size] port\n"
	for args, want := range map[string]struct {
		status int
		errs   string
	}{
		"":          {2, usage},
		"x":         {2, usage},
		"0":         {2, usage},
		"70000":     {2, usage},
		"1 2":       {2, usage},
		"-H 0 7148": {2, usage},
		"-H x 7148": {2, "invalid value \"x\" for flag -H: parse error\n" + usage},
		"-x 7148":   {2, "flag provided but not defined: -x\n" + usage},
		"-h":        {0, usage},
	} {
		var out, errs bytes.Buffer
		if status := run(strings.Fields(args), &out, &errs); status != want.status || errs.String() != want.errs || out.Len() > 0 {
			t.Errorf("%q: status %d, %q", args, status, errs.String())
		}
	}
}

// TestPrograms builds both programs and sends from one to the other.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, ".", "../send-reuse-memory").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, tt := range []struct {
		args string // of the sender
		want string // of the receiver
	}{
		{"-n 3 -H 5000", "Timestamp: 0          Power: 0\nTimestamp: 5000       Power: 1\nTimestamp: 10000      Power: 4\nReceived 3 heaps\n"},
		{"-n 2 -H 50000 -p 9000", "Timestamp: 0          Power: 0\nTimestamp: 50000      Power: 1\nReceived 2 heaps\n"},
		{"-n 3 -H 3", "Timestamp: 0          Power: 0\nTimestamp: 3          Power: 1\nTimestamp: 6          Power: 4\nReceived 3 heaps\n"}, // immediate
		{"-n 0 -H 5000", "Received 0 heaps\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			port := freePort(t)
			var out bytes.Buffer
			receiver := exec.CommandContext(ctx, filepath.Join(dir, "recv-memory-pool"), "-H", "50000", fmt.Sprint(port))
			receiver.Stdout = &out
			if err := receiver.Start(); err != nil {
				t.Fatal(err)
			}
			waitForListener(t, port)
			sent, err := exec.CommandContext(ctx, filepath.Join(dir, "send-reuse-memory"), append(strings.Fields(tt.args), "127.0.0.1", fmt.Sprint(port))...).CombinedOutput()
			if err != nil || !regexp.MustCompile(`^[0-9.e+]+ MB/s\n$`).Match(sent) {
				t.Errorf("sender: %v, %q", err, sent)
			}
			if err := receiver.Wait(); err != nil {
				t.Error(err)
			}
			if out.String() != tt.want {
				t.Errorf("output:\n%swant:\n%s", out.String(), tt.want)
			}
		})
	}
	t.Run("interrupt", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		port := freePort(t)
		var out bytes.Buffer
		receiver := exec.CommandContext(ctx, filepath.Join(dir, "recv-memory-pool"), fmt.Sprint(port))
		receiver.Stdout = &out
		if err := receiver.Start(); err != nil {
			t.Fatal(err)
		}
		waitForListener(t, port)
		if err := receiver.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := receiver.Wait(); err != nil || out.String() != "Received 0 heaps\n" {
			t.Errorf("%v, output %q", err, out.String())
		}
	})
	t.Run("usage", func(t *testing.T) {
		for _, name := range []string{"recv-memory-pool", "send-reuse-memory"} {
			var exit *exec.ExitError
			if err := exec.Command(filepath.Join(dir, name)).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("%s without arguments: %v", name, err)
			}
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	probe, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).Port
}

// waitForListener sends packets of one byte, which are no SPEAD, until none is refused.
func waitForListener(t *testing.T, port int) {
	t.Helper()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 1000 {
		_, err := conn.Write([]byte{0})
		if err == nil {
			time.Sleep(5 * time.Millisecond)
			_, err = conn.Write([]byte{0}) // tells whether the one before was refused
		}
		if err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("nobody listens on port %d", port)
}

// transcript hands on what is written, line by line.
type transcript struct{ lines chan string }

func (w *transcript) Write(b []byte) (int, error) {
	w.lines <- string(b)
	return len(b), nil
}

// TestReceive receives heaps of 5000 samples, the first of which, with the
// descriptors, is one of those that are lost.
func TestReceive(t *testing.T) {
	port := freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out := &transcript{lines: make(chan string, 100)}
	ended := make(chan error, 1)
	go func() { ended <- receive(ctx, port, 5000, out, &bytes.Buffer{}) }()

	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour40})
	if err != nil {
		t.Fatal(err)
	}
	cnt := uint64(0)
	send := func(items ...spead.OutItem) {
		cnt++
		if err := p.Start(cnt, items); err != nil {
			t.Fatal(err)
		}
		for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(nil) {
			_, _ = conn.Write(b) // refused until somebody listens
		}
	}
	heap := func(timestamp uint64, sample int8) {
		send(spead.OutItem{ID: timestampID, Immediate: true, Value: timestamp}, spead.OutItem{ID: samplesID, Data: bytes.Repeat([]byte{byte(sample)}, 5000)})
	}
	var first string
	for first == "" { // until the receiver is there
		heap(0, 0)
		select {
		case first = <-out.lines:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	heap(5000, -3)
	send(spead.ControlItem(spead.CtrlUpdate)) // neither item: not counted
	send(spead.ControlItem(spead.CtrlStop))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	close(out.lines)
	lines := []string{first}
	for l := range out.lines {
		lines = append(lines, l)
	}
	n := len(lines) - 1
	if first != "Timestamp: 0          Power: 0\n" || lines[n-1] != "Timestamp: 5000       Power: 9\n" || lines[n] != fmt.Sprintf("Received %d heaps\n", n) {
		t.Errorf("output:\n%s", strings.Join(lines, ""))
	}
}

// TestExhausted is the exhausted pool of docs/tutorial-memory-pools.md: a program that
// said it holds one heap, and holds five.
func TestExhausted(t *testing.T) {
	port := freePort(t)
	var log lockedBuffer
	r, err := speadx.Open(t.Context(), speadx.Config{
		Streams:         []speadx.Stream{{Source: fmt.Sprintf("127.0.0.1:%d", port)}},
		Mode:            speadx.ModeUDP,
		HeapSize:        1 << 16, // little enough for any socket's buffer
		ConcurrentHeaps: 2, RingHeaps: 2, ConsumerHeaps: 1,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour40})
	if err != nil {
		t.Fatal(err)
	}
	send := func(cnt uint64, items ...spead.OutItem) (packets uint64) {
		if err := p.Start(cnt, items); err != nil {
			t.Fatal(err)
		}
		for b, ok := p.AppendNext(nil); ok; b, ok = p.AppendNext(b[:0]) {
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			packets++
		}
		return packets
	}
	samples := spead.OutItem{ID: samplesID, Data: make([]byte, 1<<16)}
	var held []*heap.Heap
	for cnt := uint64(1); cnt <= 6; cnt++ { // six slots, and none comes back
		send(cnt, samples)
		h, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	refused := send(7, samples)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(log.String(), "code=slots_held"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no warning: %s", log.String())
		}
	}
	for _, h := range held {
		h.Release()
	}
	send(8, samples) // there is room again
	h, err := r.Next(t.Context())
	if err != nil || h.Cnt() != 8 {
		t.Fatal(err)
	}
	h.Release()
	s := r.Stats()
	slots := s.Streams[0].Slots
	if n := s.Fates[ledger.NoSlot]; n != refused {
		t.Errorf("%d packets no_slot, want %d", n, refused)
	}
	if slots.HighHeld != 6 || slots.LeastFree != 0 {
		t.Errorf("slots: %+v", slots)
	}
	if want := fmt.Sprintf("count=%d of=322 ", refused); !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "setting=ConsumerHeaps value=1 suggested=6") {
		t.Errorf("warnings:\n%s", log.String())
	}
	t.Logf("warnings:\n%sno_slot %d, slots %+v of %+v", log.String(), s.Fates[ledger.NoSlot], slots, s.Streams[0].Sum)
}

// lockedBuffer is a buffer for a logger of another goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
