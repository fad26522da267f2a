package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/spead"
)

// spead2Receiver is spead2_recv, a process for each trial, since it tells what it
// received when it ends.
type spead2Receiver struct {
	program string
	tuned   bool
	wire    *wire
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process has; nil: it did not begin
	failed  error         // then, of the process
	out     bytes.Buffer  // then
	used    time.Duration
}

// openSpead2 runs it with its defaults or, tuned, with what its documentation advises:
// a large socket buffer (of which net.core.rmem_max allows what it allows), a memory
// pool of buffers for its heaps, and besides the priority that our threads have.
func openSpead2(program string, tuned bool) func(w *wire) (receiver, error) {
	return func(w *wire) (receiver, error) {
		return &spead2Receiver{program: program, tuned: tuned, wire: w}, nil
	}
}

// begin starts it and waits until its socket is there.
func (s *spead2Receiver) begin() (err error) {
	heap := s.wire.load.heap
	s.out.Reset()
	s.exited = nil
	args := []string{s.wire.dest.String(), "--quiet", "--packet", strconv.Itoa(s.wire.load.payload + headerBytes)}
	if s.tuned {
		args = append(args, "--buffer", strconv.Itoa(spead2Buffer),
			"--mem-pool", "--mem-lower", strconv.FormatInt(heap, 10), "--mem-upper", strconv.FormatInt(heap+8192, 10))
	}
	s.cmd = exec.Command(s.program, args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	err = s.wire.in(func() error {
		restore, err := onCPU(receiverCPU())
		if err != nil {
			return err
		}
		defer restore()
		if err := s.cmd.Start(); err != nil {
			return err
		}
		s.exited = make(chan struct{})
		go func(cmd *exec.Cmd, exited chan struct{}) {
			s.failed = cmd.Wait()
			close(exited)
		}(s.cmd, s.exited)
		if s.tuned {
			_ = unix.Setpriority(unix.PRIO_PROCESS, s.cmd.Process.Pid, -20)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			bound, err := hasSocket(int(s.wire.dest.Port()))
			if err != nil || bound {
				return err
			}
			if time.Now().After(deadline) {
				return errors.New("its socket did not appear within 10 s")
			}
			select {
			case <-s.exited:
				return fmt.Errorf("it ended at once (%v)", s.cmd.ProcessState)
			case <-time.After(time.Millisecond):
			}
		}
	})
	if err != nil {
		s.abandon()
		return fmt.Errorf("%s: %w: %.200s", s.program, err, s.out.String())
	}
	return nil
}

// spead2Buffer is the socket buffer asked for, which net.core.rmem_max may lessen.
const spead2Buffer = 64 << 20

// hasSocket says whether a UDP socket of the thread's namespace has the port.
func hasSocket(port int) (bool, error) {
	f, err := os.Open("/proc/thread-self/net/udp")
	if err != nil {
		return false, err
	}
	defer f.Close()
	want := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && strings.HasSuffix(fields[1], want) {
			return true, nil
		}
	}
	return false, lines.Err()
}

var spead2Heaps = regexp.MustCompile(`Received (\d+) heaps`)

// end stops it by a stop heap, repeated until it is gone, and reads how many heaps it
// has received.
func (s *spead2Receiver) end(arrived uint64) (uint64, error) {
	stop, err := s.stopper()
	if err != nil {
		s.abandon()
		return 0, err
	}
	defer stop.Close()
	deadline := time.After(20 * time.Second)
	for waiting := true; waiting; {
		_, _ = stop.Write(stopPacket())
		select {
		case <-s.exited:
			err, waiting = s.failed, false
		case <-deadline:
			s.abandon()
			err, waiting = errors.New("it did not end within 20 s of the stop heap"), false
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %.200s", s.program, err, s.out.String())
	}
	if p := s.cmd.ProcessState; p != nil {
		s.used = p.UserTime() + p.SystemTime()
	}
	m := spead2Heaps.FindSubmatch(s.out.Bytes())
	if m == nil {
		return 0, fmt.Errorf("%s did not say how many heaps it received: %.200q", s.program, s.out.String())
	}
	heaps, err := strconv.ParseUint(string(m[1]), 10, 64)
	return min(heaps*uint64(s.wire.load.packets), arrived), err
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

// abandon ends the process if it still runs, such as after an interruption.
func (s *spead2Receiver) abandon() {
	if s.exited != nil {
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

func (s *spead2Receiver) cpu() (time.Duration, bool) { return s.used, false }

func (s *spead2Receiver) ring() (peak, size int) { return 0, 0 }

func (s *spead2Receiver) close() error {
	s.abandon()
	return nil
}
