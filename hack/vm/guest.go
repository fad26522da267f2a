// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/speadx/speadx/hack/internal/tally"
	"github.com/speadx/speadx/hack/vm/matrix"
)

// guest is one boot of an emulated machine.
type guest struct {
	name      string
	kernel    *kernel
	machine   *machine
	initramfs []byte
	emulator  string // its command
	accel     string // how QEMU runs it: tcg or kvm
	timeout   time.Duration
	dir       string // for sockets and the console's text; removed in the end
}

const (
	memory = 5120 // MiB: a huge page of 1 GiB must find its place above 4 GiB
	// The verifier must judge as it does on a server: no mitigations=off here, which
	// would let programs pass that need CAP_PERFMON. What keeps a guest quick is that
	// the console says little.
	cmdline = "console=ttyS0 loglevel=5 panic=-1 oops=panic rdinit=/init net.ifnames=0 " +
		"hugepagesz=1G hugepages=1 default_hugepagesz=2M hugepagesz=2M hugepages=128 rcupdate.rcu_cpu_stall_suppress=1 nowatchdog"
)

// run boots the guest and adds its tests to t. The error says that the guest did not
// run all of them.
func (g *guest) run(ctx context.Context, t *tally.Tally) (err error) {
	if g.dir, err = os.MkdirTemp("", "speadx-vm-"); err != nil {
		return err
	}
	defer os.RemoveAll(g.dir)
	if err := os.WriteFile(g.path("initramfs"), g.initramfs, 0o600); err != nil {
		return err
	}
	return inWires(g.machine.taps, func() error { return g.boot(ctx, t) })
}

func (g *guest) path(name string) string { return filepath.Join(g.dir, name) }

// boot runs on a thread that ends with the guest, if not with the program.
func (g *guest) boot(outer context.Context, t *tally.Tally) error {
	ctx, cancel := context.WithTimeout(outer, g.timeout)
	defer cancel()
	args := []string{
		"-machine", "q35,accel=" + g.accel, "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", g.kernel.image, "-initrd", g.path("initramfs"), "-append", cmdline,
		"-serial", "file:" + g.path("console"),
		"-serial", "stdio",
		"-chardev", "socket,id=wishes,path=" + g.path("wishes") + ",server=on,wait=off", "-serial", "chardev:wishes",
		"-qmp", "unix:" + g.path("qmp") + ",server=on,wait=off",
	}
	cmd := exec.CommandContext(ctx, g.emulator, append(args, g.machine.args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // this thread's death is the program's
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go g.grantWishes(ctx)
	done, err := g.report(t, stdout)
	if err != nil {
		cancel()
	}
	waitErr := cmd.Wait()
	switch {
	case outer.Err() != nil:
		return fmt.Errorf("guest %s: %w", g.name, errInterrupted)
	case err != nil:
	case ctx.Err() != nil:
		err = fmt.Errorf("it was not done after %v", g.timeout)
	case !done:
		err = fmt.Errorf("it ended before its tests did (%v)", errors.Join(waitErr, nonEmpty(trouble.String())))
	}
	if err != nil {
		return fmt.Errorf("guest %s: %w; the end of its console:\n%s", g.name, err, g.console())
	}
	return nil
}

func nonEmpty(s string) error {
	if s = strings.TrimSpace(s); s != "" {
		return errors.New(s)
	}
	return nil
}

// report reads what the guest prints and adds its tests to t; done reports whether the
// guest has run them all.
func (g *guest) report(t *tally.Tally, out io.Reader) (done bool, err error) {
	lines := bufio.NewReader(out)
	var p *packageReport
	defer func() { p.end(t, -1) }()
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			mark, rest, found := strings.Cut(line, matrix.Mark)
			words := strings.Fields(rest)
			switch {
			case !found || len(words) == 0:
				p.line(line)
			case words[0] == "run" && len(words) == 2:
				p.end(t, -1)
				if p, err = g.startPackage(t, words[1]); err != nil {
					return false, err
				}
			case words[0] == "exit" && len(words) == 3:
				p.line(mark)
				status, _ := strconv.Atoi(words[2]) // what is no number is a failure, as is -1
				if err := p.end(t, status); err != nil {
					return false, err
				}
				p = nil
			case words[0] == "done":
				done = true
			}
		}
		if err != nil {
			return done, nil
		}
	}
}

// packageReport turns what one test binary prints into events, by go tool test2json.
type packageReport struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	read  chan error
	fails int // of t, before
}

func (g *guest) startPackage(t *tally.Tally, name string) (*packageReport, error) {
	p := &packageReport{name: name, cmd: exec.Command("go", "tool", "test2json", "-t", "-p", g.name+"/"+name), read: make(chan error, 1), fails: t.Failed}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.read <- t.Read(out) }()
	return p, nil
}

func (p *packageReport) line(s string) {
	if p != nil && s != "" {
		_, _ = io.WriteString(p.in, s) // its end shows in the events
	}
}

// end ends a package whose binary had that exit status.
func (p *packageReport) end(t *tally.Tally, status int) error {
	if p == nil {
		return nil
	}
	err := errors.Join(p.in.Close(), <-p.read, p.cmd.Wait())
	if status != 0 && t.Failed == p.fails {
		t.Failed++ // it died outside of its tests
		fmt.Fprintf(t.Out, "FAIL\t%s\texit status %d\n", p.name, status)
	}
	return err
}

// escapes are the sequences with which firmware and kernel colour their console.
var escapes = regexp.MustCompile("\x1b(\\[[0-9;?=]*[a-zA-Z]|c|\\([A-Z0-9])|\r")

// console is the end of what the guest's kernel has printed.
func (g *guest) console() string {
	text, err := os.ReadFile(g.path("console"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(escapes.ReplaceAllString(string(text), "")), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-60):], "\n    ")
}

// grantWishes does what the guest asks for on its third serial port, until it ends.
func (g *guest) grantWishes(ctx context.Context) {
	port, err := dial(ctx, g.path("wishes"))
	if err != nil {
		return // the emulator did not start, which its end shows
	}
	defer port.Close()
	monitor, err := g.openMonitor(ctx)
	if err != nil {
		return
	}
	defer monitor.Close()
	for lines := bufio.NewScanner(port); lines.Scan(); {
		answer := "ok"
		if err := monitor.grant(strings.Fields(lines.Text())); err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(port, answer)
	}
}

// dial connects to a socket that the emulator makes soon.
func dial(ctx context.Context, path string) (net.Conn, error) {
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// monitor is the emulator's QMP connection.
type monitor struct {
	net.Conn
	answers *json.Decoder
}

func (g *guest) openMonitor(ctx context.Context) (*monitor, error) {
	c, err := dial(ctx, g.path("qmp"))
	if err != nil {
		return nil, err
	}
	m := &monitor{Conn: c, answers: json.NewDecoder(c)}
	if err := m.execute("qmp_capabilities", nil); err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

// execute runs a command and waits for its answer.
func (m *monitor) execute(command string, arguments any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m).Encode(request); err != nil {
		return err
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.answers.Decode(&answer); err != nil {
			return err
		}
		switch {
		case answer.Error != nil:
			return errors.New(answer.Error.Desc)
		case answer.Return != nil:
			return nil
		}
		// The greeting, or an event.
	}
}

// grant does what a guest asks for.
func (m *monitor) grant(wish []string) error {
	if len(wish) == 3 && wish[0] == "link" {
		return m.execute("set_link", map[string]any{"name": wish[1], "up": wish[2] == "on"})
	}
	return fmt.Errorf("no wish is %q", wish)
}
