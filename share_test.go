// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// shareConfig is in the environment of a process that shares an interface with others.
const shareConfig = "SPEADX_TEST_SHARE"

// sharerStart is what such a process says when it receives, or cannot.
type sharerStart struct {
	Error    string
	Occupied *sharerOccupied
}

type sharerOccupied struct {
	PID          int
	Name         string
	Queues, Free []int
	Endpoint     string
	Program      string
	Reason       speadx.OccupiedReason
}

// sharerEnd is what it says at the end.
type sharerEnd struct {
	Heaps, Incomplete             int
	Packets, Delivered, Unsettled uint64
	Unaccounted                   int64
	Fates                         map[string]uint64
}

// runSharer receives until it gets SIGTERM.
func runSharer(config string) int {
	var c speadx.Config
	out := json.NewEncoder(os.Stdout)
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		_ = out.Encode(sharerStart{Error: err.Error()})
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	r, err := speadx.Open(ctx, c)
	if err != nil {
		_ = out.Encode(sharerStart{Error: err.Error(), Occupied: occupiedBy(err)})
		return 0
	}
	defer r.Close()
	defer context.AfterFunc(ctx, r.Stop)()
	_ = out.Encode(sharerStart{})
	var end sharerEnd
	for h, err := range r.Heaps(context.Background()) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		end.Heaps++
		if !h.Complete() {
			end.Incomplete++
		}
		h.Release()
	}
	s := r.Stats()
	end.Packets, end.Delivered, end.Unaccounted = s.Packets, s.Fates[ledger.Delivered], s.Unaccounted
	end.Fates = map[string]uint64{}
	for f, n := range s.Fates {
		if n > 0 {
			end.Fates[ledger.Fate(f).String()] = n
		}
	}
	_ = out.Encode(end)
	return 0
}

func occupiedBy(err error) *sharerOccupied {
	var e *speadx.OccupiedError
	if !errors.As(err, &e) {
		return nil
	}
	o := &sharerOccupied{PID: e.Owner.PID, Name: e.Owner.Name, Queues: e.Queues, Free: e.Free, Program: e.Program, Reason: e.Reason()}
	if e.Endpoint.IsValid() {
		o.Endpoint = e.Endpoint.String()
	}
	return o
}

// sharer is a process that shares the interface at the end of a wire.
type sharer struct {
	*exec.Cmd
	lines *bufio.Scanner
	out   io.Reader
}

// beginSharer starts a process. awaitSharer waits until it receives, or cannot.
func beginSharer(t *testing.T, n *testnet.Net, c speadx.Config) *sharer {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), shareConfig+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	s := &sharer{cmd, bufio.NewScanner(out), out}
	t.Cleanup(s.kill)
	return s
}

func (s *sharer) await(t *testing.T) (start sharerStart) {
	t.Helper()
	s.says(t, &start)
	return start
}

func (s *sharer) says(t *testing.T, v any) {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatalf("process %d says nothing: %v", s.Process.Pid, s.lines.Err())
	}
	if err := json.Unmarshal(s.lines.Bytes(), v); err != nil {
		t.Fatalf("process %d says %q: %v", s.Process.Pid, s.lines.Bytes(), err)
	}
}

func (s *sharer) kill() {
	_ = s.Process.Kill()
	_, _ = io.Copy(io.Discard, s.out)
	_ = s.Wait()
}

// startSharer starts a process that must receive.
func startSharer(t *testing.T, n *testnet.Net, c speadx.Config) *sharer {
	t.Helper()
	s := beginSharer(t, n, c)
	if start := s.await(t); start.Error != "" {
		t.Fatal(start.Error)
	}
	return s
}

// end ends a process and returns what it has received.
func (s *sharer) end(t *testing.T) (end sharerEnd) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.says(t, &end)
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	return end
}

// checkAll reports whether a process has received all that was sent, and nothing else.
func (e sharerEnd) checkAll(t *testing.T, who string, heaps int64, packets uint64) {
	t.Helper()
	if int64(e.Heaps) != heaps || e.Incomplete != 0 || e.Packets != packets || e.Delivered != packets || e.Unaccounted != 0 {
		t.Errorf("%s: %+v; %d heaps in %d packets were sent", who, e, heaps, packets)
	}
}

// sharedWire is a wire of four queues. What is sent to a port arrives on the queue that is the
// port modulo 4.
func sharedWire(t *testing.T) *testnet.Net {
	t.Helper()
	n := newWire(t, testnet.Options{Queues: 4})
	// The offsets are those of struct __sk_buff; queue_mapping is one more than the queue.
	spec := &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadAbs(14+20+2, asm.Half),
		asm.And.Imm(asm.R0, 3),
		asm.Add.Imm(asm.R0, 1),
		asm.StoreMem(asm.R6, 12, asm.R0, asm.Word),
		asm.Mov.Imm(asm.R0, -1), // TCX_NEXT
		asm.Return(),
	}}
	p, err := ebpf.NewProgram(spec)
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() { p.Close() })
	if nsErr := n.A.Do(func() {
		var l link.Link
		l, err = link.AttachTCX(link.TCXOptions{Interface: n.A.Index, Program: p, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
	}); nsErr != nil {
		t.Fatal(nsErr)
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("to choose the queue of a packet takes Linux 6.6")
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sharing is a configuration that receives one port on some queues.
func sharing(n *testnet.Net, port uint16, queues ...int) speadx.Config {
	c := one(n)
	c.Streams[0].Source = endpoint(n, port)
	c.Queues, c.Frames, c.HeapSize, c.ConcurrentHeaps = queues, 4096, 16*1024, 8
	return c
}

// background sends heaps to a port for some time, while something else happens.
type background struct {
	done chan struct{}
	res  send.Result
	err  error
}

const flowHeap = 16 * 1024

func startFlow(t *testing.T, n *testnet.Net, port uint16, heaps int64, rate float64) *background {
	t.Helper()
	s := openSender(t, n, send.Config{
		Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, port)}, Heaps: heaps, HeapSize: flowHeap, MaxPacket: 1472,
		Rate: rate, NoDescriptors: true, NoStop: true, NoGSO: true,
	})
	f := &background{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.res, f.err = s.Run(context.Background())
	}()
	t.Cleanup(func() { <-f.done })
	return f
}

func (f *background) wait(t *testing.T) send.Result {
	t.Helper()
	<-f.done
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.res
}

// Two processes that start at once share the interface. Each receives what is for its
// endpoint, and counts nothing else.
func TestShareInterface(t *testing.T) {
	n := sharedWire(t)
	for range 5 {
		a, b := beginSharer(t, n, sharing(n, 7148, 0, 2)), beginSharer(t, n, sharing(n, 7149, 1, 3))
		for _, s := range []*sharer{a, b} {
			if start := s.await(t); start.Error != "" {
				t.Fatal(start.Error)
			}
		}
		fa, fb := startFlow(t, n, 7148, 200, 1e9), startFlow(t, n, 7149, 300, 1e9)
		ra, rb := fa.wait(t), fb.wait(t)
		a.end(t).checkAll(t, "the first", 200, uint64(ra.Packets))
		b.end(t).checkAll(t, "the second", 300, uint64(rb.Packets))
		if got := programs(t, n); got != "" {
			t.Fatalf("%s is left on the interface", got)
		}
	}
}

// One of two processes ends or is killed, and another one takes its place, while packets
// flow. The one that stays loses none.
func TestShareOutlives(t *testing.T) {
	for _, firstGoes := range []bool{true, false} {
		for _, killed := range []bool{true, false} {
			t.Run(fmt.Sprintf("first=%v,killed=%v", firstGoes, killed), func(t *testing.T) {
				n := sharedWire(t)
				first, second := startSharer(t, n, sharing(n, 7148, 0)), startSharer(t, n, sharing(n, 7149, 1))
				goes, stays := second, first
				goesPort, staysPort, goesQueue := uint16(7149), uint16(7148), 1
				if firstGoes {
					goes, stays = first, second
					goesPort, staysPort, goesQueue = 7148, 7149, 0
				}
				const heaps = 2000
				long := startFlow(t, n, staysPort, heaps, 200e6) // 1.3 s
				short := startFlow(t, n, goesPort, 2500, 200e6)
				time.Sleep(200 * time.Millisecond) // packets of both flow
				if killed {
					goes.kill()
				} else if end := goes.end(t); end.Heaps == 0 || end.Unaccounted != 0 || end.Fates[ledger.KernelDropped.String()] != 0 {
					t.Errorf("the one that ends: %+v", end)
				}
				third := startSharer(t, n, sharing(n, goesPort, goesQueue))
				time.Sleep(200 * time.Millisecond) // it receives, too
				if killed {
					third.kill()
				} else if end := third.end(t); end.Heaps == 0 || end.Unaccounted != 0 {
					t.Errorf("the one that came: %+v", end)
				}
				res := long.wait(t)
				stays.end(t).checkAll(t, "the one that stays", heaps, uint64(res.Packets))
				if got := programs(t, n); got != "" {
					t.Errorf("%s is left on the interface", got)
				}
				short.wait(t)
			})
		}
	}
}

// What another process has is refused, and the error names it.
func TestShareRefused(t *testing.T) {
	n := sharedWire(t)
	holder := startSharer(t, n, sharing(n, 7148, 0, 2))
	pid := holder.Process.Pid
	sockets := one(n)
	sockets.Streams[0].Source, sockets.Mode = endpoint(n, 7150), speadx.ModeUDP
	sockets.Frames = 0
	byUDP := startSharer(t, n, sockets)

	auto := one(n)
	auto.Mode, auto.Frames = speadx.ModeAuto, 0
	udp := auto
	udp.Mode = speadx.ModeUDP
	generic := sharing(n, 7149, 1)
	generic.Mode = speadx.ModeGeneric
	for _, tt := range []struct {
		name   string
		config speadx.Config
		want   sharerOccupied
	}{
		{"same queue", sharing(n, 7149, 1, 2), sharerOccupied{Reason: speadx.OccupiedQueues, PID: pid, Queues: []int{2}, Free: []int{1, 3}}},
		{"all queues", sharing(n, 7149), sharerOccupied{Reason: speadx.OccupiedQueues, PID: pid, Queues: []int{0, 2}, Free: []int{1, 3}}},
		{"same endpoint", sharing(n, 7148, 1), sharerOccupied{Reason: speadx.OccupiedEndpoint, PID: pid, Endpoint: endpoint(n, 7148)}},
		{"same endpoint, auto", auto, sharerOccupied{Reason: speadx.OccupiedEndpoint, PID: pid, Endpoint: endpoint(n, 7148)}},
		{"same endpoint, sockets", udp, sharerOccupied{Reason: speadx.OccupiedEndpoint, PID: pid, Endpoint: endpoint(n, 7148)}},
		{"generic beside native", generic, sharerOccupied{Reason: speadx.OccupiedMode, PID: pid}},
		{"endpoint of another one's socket", sharing(n, 7150, 1), sharerOccupied{Reason: speadx.OccupiedEndpoint, PID: byUDP.Process.Pid, Endpoint: endpoint(n, 7150)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.config
			c.Streams = slices.Clone(c.Streams)
			s := beginSharer(t, n, c)
			start := s.await(t)
			if start.Occupied == nil {
				t.Fatalf("not refused as occupied: %q", start.Error)
			}
			got := *start.Occupied
			name := got.Name
			got.Name = ""
			if name == "" || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("%+v, want %+v, of %q", got, tt.want, start.Error)
			}
		})
	}
	// For another endpoint sockets do, and the note names the process.
	other := auto
	other.Streams = []speadx.Stream{{Source: endpoint(n, 7151)}}
	r := open(t, n, other)
	in := r.Info()
	var e *speadx.OccupiedError
	if len(in.Refused) != 1 || !errors.As(in.Refused[0].Err, &e) || e.Owner.PID != pid || len(in.Sockets) != 1 {
		t.Errorf("%+v", in)
	}
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Destinations: []netip.AddrPort{netip.AddrPortFrom(n.B.Addr4, 7151)}, Heaps: 3, HeapSize: heapBytes})
	checkHeaps(t, list(), 3)

	// The refused ones have changed nothing.
	f := startFlow(t, n, 7148, 100, 1e9)
	res := f.wait(t)
	holder.end(t).checkAll(t, "the holder", 100, uint64(res.Packets))
}

// Packets for an endpoint that arrive on another process's queue go to the kernel, and are
// counted by the process of the endpoint.
func TestShareStrays(t *testing.T) {
	n := sharedWire(t)
	a := startSharer(t, n, sharing(n, 7149, 0)) // whose packets arrive on queue 1
	b := startSharer(t, n, sharing(n, 7153, 1))
	startFlow(t, n, 7149, 10, 1e9).wait(t)
	f := startFlow(t, n, 7153, 10, 1e9)
	res := f.wait(t)
	b.end(t).checkAll(t, "the other", 10, uint64(res.Packets))
	end := a.end(t)
	if end.Heaps != 0 || end.Packets != uint64(res.Packets) || end.Fates[ledger.NoSocket.String()] != uint64(res.Packets) || end.Unaccounted != 0 {
		t.Errorf("%+v, want %d packets without a socket", end, res.Packets)
	}
}

// passAll puts a foreign program on the receiver's end.
func passAll(t *testing.T, n *testnet.Net) link.Link {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: ebpf.XDP, License: "Apache-2.0", Flags: unix.BPF_F_XDP_HAS_FRAGS, Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 2), // XDP_PASS
		asm.Return(),
	}})
	testnet.NeedPrivilege(t, err)
	defer p.Close()
	var l link.Link
	n.Do(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: n.B.Index, Flags: link.XDPDriverMode})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
