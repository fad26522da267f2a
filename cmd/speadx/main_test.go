// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/vnet"
)

// Environment of a test binary that is to be the program itself.
const (
	beProgram = "SPEADX_TEST_PROGRAM"
	without   = "SPEADX_TEST_WITHOUT" // numbers of capabilities to do without
)

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		if list := os.Getenv(without); list != "" {
			dropCapabilities(list)
		}
		ownProcess = true
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// dropCapabilities starts the program over without some capabilities, also for
// root: what is not in the bounding set is lost with the next exec.
func dropCapabilities(list string) {
	runtime.LockOSThread() // it is the thread's set that counts
	for number := range strings.SplitSeq(list, ",") {
		c, err := strconv.Atoi(number)
		if err == nil {
			err = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
		if err != nil && !errors.Is(err, unix.EPERM) { // who may not drop any has none
			panic(err)
		}
	}
	if err := os.Unsetenv(without); err != nil {
		panic(err)
	}
	panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

// result is what a run of the program left.
type result struct {
	status         int
	stdout, stderr string
}

// program runs a command line in this process. Inside [vnet.Iface.Do] it
// receives there.
func program(args ...string) result {
	var stdout, stderr transcript // several goroutines write, as to a file
	status := run(args, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// check tells whether the run ended with status and left each of wants in its
// messages.
func (r result) check(t *testing.T, status int, wants ...string) {
	t.Helper()
	ok := r.status == status
	for _, want := range wants {
		ok = ok && strings.Contains(r.stderr, want)
	}
	if !ok {
		t.Errorf("exit status %d, want %d, with %q\nstdout:\n%sstderr:\n%s", r.status, status, wants, r.stdout, r.stderr)
	}
}

// process is the program as a process.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr transcript
	ended          chan struct{} // closed when it has
	status         int           // then; -1: killed
}

// options of a process; the zero value is this test's environment.
type options struct {
	at      *vnet.Iface // whose namespace it runs in
	without []int       // capabilities
	stdout  *os.File    // in place of the transcript
	stderr  *os.File    // likewise
	as      *syscall.SysProcAttr
	exe     string   // a copy of this program
	through []string // a command that starts it, with its arguments behind
}

// start starts the program. At the end of the test it is killed if it still runs.
func start(t *testing.T, o options, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{ended: make(chan struct{})}
	line := slices.Concat(o.through, []string{exe}, args)
	if o.exe != "" {
		line[len(o.through)] = o.exe
	}
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = append(os.Environ(), beProgram+"=1")
	if len(o.without) > 0 {
		var list []string
		for _, c := range o.without {
			list = append(list, strconv.Itoa(c))
		}
		p.cmd.Env = append(p.cmd.Env, without+"="+strings.Join(list, ","))
	}
	p.cmd.SysProcAttr = o.as
	if o.as != nil && o.exe == "" { // another user cannot search the directory that the test is in
		p.cmd.Path = "/proc/self/exe"
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if o.stdout != nil {
		p.cmd.Stdout = o.stdout
	}
	if o.stderr != nil {
		p.cmd.Stderr = o.stderr
	}
	if o.at == nil {
		err = p.cmd.Start()
	} else if e := o.at.Do(func() { err = p.cmd.Start() }); e != nil { // a child begins where the thread is
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// patience is for how long a test waits for what has to happen.
const patience = 30 * time.Second

// receiving waits until p receives.
func (p *process) receiving(t *testing.T) {
	t.Helper()
	p.await(t, &p.stderr, "\npool: ") // printed when all is open
}

// await waits until one of p's outputs has text in it.
func (p *process) await(t *testing.T, out *transcript, text string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		found, changed := out.look(text)
		if found {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			if found, _ := out.look(text); !found {
				t.Fatalf("it ended with status %d and without %q\nstdout:\n%sstderr:\n%s", p.status, text, &p.stdout, &p.stderr)
			}
		case <-timeout:
			t.Fatalf("no %q\nstdout:\n%sstderr:\n%s", text, &p.stdout, &p.stderr)
		}
	}
}

// signal sends a signal.
func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the end.
func (p *process) wait(t *testing.T) result {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("it does not end\nstdout:\n%sstderr:\n%s", &p.stdout, &p.stderr)
	}
	return result{p.status, p.stdout.String(), p.stderr.String()}
}

// transcript is what a process has written so far.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed with the next Write
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return w.text.Write(b)
}

func (w *transcript) look(text string) (found bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return bytes.Contains(w.text.Bytes(), []byte(text)), w.changed
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestProgramUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"bogus", `unknown command "bogus" (there are: bench, completion, config, control, demo, doctor, plan, recv, send, top, version)`},
		{"--bogus", "unknown flag: --bogus"},
		{"demo now", `demo takes no argument, and "now" was given`},
		{"demo --duration 0s", "--duration 0s is too short"},
		{"demo --rate -1", "--rate -1 is not a rate"},
		{"send", "at least one destination"},
	} {
		r := program(strings.Fields(tt.args)...)
		r.check(t, exitUsage, "speadx: "+tt.want)
	}
}

func TestProgramHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"recv", "--help"}, {"help", "recv"}, {"send", "-h"}, {"demo", "-h"}, {"bench"}, {"bench", "pool", "-h"}, {"bench", "report", "-h"}} {
		r := program(args...)
		if r.check(t, 0); r.stderr != "" || !strings.Contains(r.stdout, "Usage:\n  speadx") {
			t.Errorf("%q prints %q, and errors %q", args, r.stdout, r.stderr)
		}
	}
	if r := program("--version"); r.status != 0 || r.stdout != "speadx version "+version+"\n" {
		t.Errorf("--version prints %q", r.stdout)
	}
}

// TestHelpWidth: the help of recv, with its many flags, fits a terminal.
func TestHelpWidth(t *testing.T) {
	r := program("recv", "--help")
	for line := range strings.Lines(r.stdout) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > helpWidth+1 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
