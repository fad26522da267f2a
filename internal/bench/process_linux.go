// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/speadx/speadx/internal/sched"
)

// process is a rival's program under way.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has
	failed error         // then: how it ended
	out    bytes.Buffer  // then: what it printed
}

// startProcess starts a program on a CPU, in the network namespace of the calling thread.
func startProcess(cpu int, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	restore, err := sched.OnCPU(cpu)
	if err != nil {
		return nil, err
	}
	defer restore()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	go func() {
		p.failed = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// cpu is the CPU time that it has used so far, with all its threads.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field, the name, may have spaces and parentheses in it: proc_pid_stat(5).
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, i := range []int{14 - 3, 15 - 3} { // utime, stime
		if i >= len(f) {
			return 0, fmt.Errorf("/proc/%d/stat has no field %d", p.cmd.Process.Pid, i+3)
		}
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * userTick, nil
}

// kill ends the process if it still runs.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// fail is err, with the program's name and what it printed. It ends the process.
func (p *process) fail(err error) error {
	p.kill()
	return fmt.Errorf("%s: %w: %.200s", p.cmd.Path, err, p.out.String())
}

// socketLimit is how long a process may take to open its socket.
const socketLimit = 10 * time.Second

// awaitSocket waits until a socket with the port is there, in the network namespace of
// the calling thread: of udp or tcp, for IPv4, or tcp6 and so on.
func (p *process) awaitSocket(port int, protocols ...string) error {
	for deadline := time.Now().Add(socketLimit); ; {
		for _, protocol := range protocols {
			if bound, err := hasSocket(protocol, port); err != nil || bound {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("its socket did not appear within %v", socketLimit)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended at once (%v)", p.cmd.ProcessState)
		case <-time.After(time.Millisecond):
		}
	}
}

// hasSocket reports whether a socket of the thread's namespace has the port.
func hasSocket(protocol string, port int) (bool, error) {
	f, err := os.Open("/proc/thread-self/net/" + protocol)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // no IPv6
	}
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
