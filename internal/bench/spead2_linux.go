// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/spead"
)

// spead2Receiver is spead2_recv, a process for each trial, since it tells what it
// received when it ends.
type spead2Receiver struct {
	program string
	buffer  int // of its socket, in bytes; 0: its default, 8 MiB
	tuned   bool
	wire    *wire
	p       *process      // nil: none has begun
	warm    uint64        // packets that it was sent in begin
	begun   time.Duration // CPU time that it used in begin
	used    time.Duration
}

// openSpead2 runs it with its defaults but for the socket buffer. Tuned, it runs with what its
// documentation advises, a memory pool of buffers for its heaps, and with the priority that
// our threads have. net.core.rmem_max bounds the buffer.
func openSpead2(program string, buffer int, tuned bool) func(w *wire) (receiver, error) {
	return func(w *wire) (receiver, error) {
		return &spead2Receiver{program: program, buffer: buffer, tuned: tuned, wire: w}, nil
	}
}

const (
	// stockBuffer is the net.core.rmem_max of most kernels, if nobody raises it.
	stockBuffer = 212992
	// tunedBuffer is as large as speadx has its own.
	tunedBuffer = 64 << 20
)

// begin starts it and waits until its socket is there. A pool of many buffers has been used
// by then. Memory costs most when it is written for the first time, and a receiver that runs
// for long is not to be judged by that.
func (s *spead2Receiver) begin() (err error) {
	if err := s.start(); err != nil {
		return err
	}
	s.warm = 0
	if l := &s.wire.load; s.tuned && l.senders > 1 {
		packets := 2 * l.live() * l.packets
		sent, err := s.wire.generator.send(context.Background(), warmPps, time.Duration(packets)*time.Second/warmPps)
		if err != nil {
			return err
		}
		s.warm = sent.packets
	}
	s.begun, err = s.p.cpu()
	return err
}

// warmPps is a rate that everybody takes, packets a second.
const warmPps = 150_000

func (s *spead2Receiver) start() error {
	return s.wire.in(func() (err error) {
		if s.p, err = startProcess(receiverCPU(), s.program, s.arguments()...); err != nil {
			return err
		}
		if s.tuned {
			_ = unix.Setpriority(unix.PRIO_PROCESS, s.p.cmd.Process.Pid, -20)
		}
		if err := s.p.awaitSocket(int(s.wire.dest.Port()), "udp"); err != nil {
			return s.p.fail(err)
		}
		return nil
	})
}

// arguments are those it is started with.
func (s *spead2Receiver) arguments() []string {
	heap := s.wire.load.heap
	args := []string{s.wire.dest.String(), "--quiet", "--packet", strconv.Itoa(s.wire.load.payload + headerBytes)}
	many := s.wire.load.senders > 1
	if many {
		args = append(args, "--concurrent-heaps", strconv.Itoa(s.wire.load.live()))
	}
	if s.buffer > 0 {
		args = append(args, "--buffer", strconv.Itoa(s.buffer))
	}
	if s.tuned {
		args = append(args, "--mem-pool", "--mem-lower", strconv.FormatInt(heap, 10), "--mem-upper", strconv.FormatInt(heap+8192, 10))
		if many { // what its heaps and their successors take
			buffers := strconv.Itoa(3 * s.wire.load.live())
			args = append(args, "--mem-initial", buffers, "--mem-max-free", buffers)
		}
	}
	return args
}

var spead2Heaps = regexp.MustCompile(`Received (\d+) heaps`)

// end stops it by a stop heap, repeated until it is gone, and reads how many heaps it
// has received.
func (s *spead2Receiver) end(arrived uint64) (uint64, error) {
	stop, err := s.stopper()
	if err != nil {
		s.p.kill()
		return 0, err
	}
	defer stop.Close()
	deadline := time.After(20 * time.Second)
	for waiting := true; waiting; {
		_, _ = stop.Write(stopPacket())
		select {
		case <-s.p.exited:
			waiting = false
		case <-deadline:
			return 0, s.p.fail(errors.New("it did not end within 20 s of the stop heap"))
		case <-time.After(5 * time.Millisecond):
		}
	}
	if s.p.failed != nil {
		return 0, s.p.fail(s.p.failed)
	}
	s.used = s.p.cmd.ProcessState.UserTime() + s.p.cmd.ProcessState.SystemTime() - s.begun
	m := spead2Heaps.FindSubmatch(s.p.out.Bytes())
	if m == nil {
		return 0, fmt.Errorf("%s did not say how many heaps it received: %.200q", s.program, s.p.out.String())
	}
	heaps, err := strconv.ParseUint(string(m[1]), 10, 64)
	received := heaps * uint64(s.wire.load.packets)
	return min(received-min(s.warm, received), arrived), err
}

func (s *spead2Receiver) stopper() (c net.Conn, err error) {
	if e := s.wire.net.A.Do(func() { c, err = net.Dial("udp", s.wire.dest.String()) }); e != nil {
		return nil, e
	}
	return c, err
}

// stopPacket is a stop heap.
func stopPacket() []byte {
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48})
	if err != nil {
		panic(err) // of constants
	}
	if err := p.Start(1<<40, []spead.OutItem{spead.ControlItem(spead.CtrlStop)}); err != nil {
		panic(err)
	}
	b, _ := p.AppendNext(nil)
	return b
}

func (s *spead2Receiver) cpu() (time.Duration, bool) { return s.used, false }

func (s *spead2Receiver) ring() (peak, size int) { return 0, 0 }

func (s *spead2Receiver) close() error {
	if s.p != nil {
		s.p.kill()
	}
	return nil
}
