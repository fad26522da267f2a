package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

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
	for _, args := range []string{"", "x", "0", "70000", "-H 0 7148", "-H x 7148", "-x 7148", "1 2"} {
		var out, errs bytes.Buffer
		if status := run(strings.Fields(args), &out, &errs); status != 2 || !strings.Contains(errs.String(), "Usage: recv-memory-pool [-H heap-size] port\n") {
			t.Errorf("%q: status %d, %s", args, status, errs.String())
		}
	}
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
	probe, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.LocalAddr().(*net.UDPAddr).Port
	probe.Close()
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
