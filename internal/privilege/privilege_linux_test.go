// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// child is in the environment of a process that drops its privileges.
const child = "SPEADX_TEST_DROP"

func TestMain(m *testing.M) {
	if how := os.Getenv(child); how != "" {
		if err := drop(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// drop prints the privileges of all threads before and after dropping them. Some of the
// threads are locked to a goroutine, and one is in a system call.
func drop(how string) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	go func() {
		runtime.LockOSThread()
		_, _ = unix.Read(pipe[0], make([]byte, 1)) // for ever
	}()
	locked := make(chan bool)
	for range 3 {
		go func() { runtime.LockOSThread(); locked <- true; select {} }()
		<-locked
	}
	if err := Confine(); err != nil {
		return err
	}
	var keep []Capability
	if how == "keep" {
		keep = append(ForControl(), cap.MaxBits()+3) // the last is none
	}
	left, err := Drop(keep...)
	if err != nil {
		return err
	}
	fmt.Println("left", strings.Join(left, ","))
	started := make(chan bool) // a thread that did not exist
	go func() { runtime.LockOSThread(); close(started); select {} }()
	<-started
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
				fmt.Print(line)
			}
		}
	}
	return nil
}

// dropped runs a child, and returns each value that a field has in any of its threads,
// and how many threads there are.
func dropped(t *testing.T, how string, attr *syscall.SysProcAttr) (fields map[string][]string, threads int) {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("SPEADX_PRIVILEGED") == "" {
		t.Skip("needs root")
	}
	// Another user cannot read the directory that the test binary is in.
	dir, err := os.MkdirTemp("", "speadx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	exe := filepath.Join(dir, "test")
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(exe, data, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(os.Environ(), child+"="+how), attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	fields = map[string][]string{}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name != "left" {
			name, value, _ = strings.Cut(lines.Text(), ":\t")
		}
		if name == "CapEff" {
			threads++
		}
		if !slices.Contains(fields[name], value) {
			fields[name] = append(fields[name], value)
		}
	}
	return fields, threads
}

const none = "0000000000000000"

// mask is a set as /proc shows it.
func mask(caps ...cap.Value) string {
	var m uint64
	for _, c := range caps {
		m |= 1 << c
	}
	return fmt.Sprintf("%016x", m)
}

// TestDrop: root, and a user with ambient capabilities, drop all of them in all threads.
func TestDrop(t *testing.T) {
	user := func(ambient ...uintptr) *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: ambient}
	}
	for _, tt := range []struct {
		name, how string
		attr      *syscall.SysProcAttr
		left      string // permitted and effective
		names     string
		bound     bool // what remains of the bounding set is not ours to change
	}{
		{"root", "all", nil, none, "", false},
		{"root keeps", "keep", nil, mask(NetAdmin, NetBindService, BPF), "CAP_NET_BIND_SERVICE,CAP_NET_ADMIN,CAP_BPF", false},
		{"user", "all", user(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_BPF), none, "", true},
		{"user keeps", "keep", user(unix.CAP_NET_ADMIN, unix.CAP_NET_RAW), mask(NetAdmin), "CAP_NET_ADMIN", true},
		{"user with SETPCAP", "all", user(unix.CAP_SETPCAP), none, "", false},
		{"user without any", "keep", user(), none, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, threads := dropped(t, tt.how, tt.attr)
			want := map[string][]string{
				"left": {tt.names}, "CapPrm": {tt.left}, "CapEff": {tt.left}, "CapInh": {none}, "CapAmb": {none}, "NoNewPrivs": {"1"}, "CapBnd": {none},
			}
			if tt.bound {
				want["CapBnd"] = got["CapBnd"]
			}
			for name, values := range want {
				if !slices.Equal(got[name], values) {
					t.Errorf("%s is %q in %d threads, want %q", name, got[name], threads, values)
				}
			}
			if threads < 5 {
				t.Errorf("only %d threads were looked at", threads)
			}
		})
	}
}

func TestNeedsBPF(t *testing.T) {
	for _, tt := range []struct {
		release, disabled string
		want              bool
	}{
		{"5.15.0-119-generic", "2", true},
		{"5.14.0-503.el9.x86_64", "1", true},
		{"5.18-rc1", "2", true},
		{"5.15.0", "0", false},
		{"5.19.0", "2", false},
		{"6.1.0-9-amd64", "2", false},
		{"10.0", "1", false},
		{"strange", "1", false},
	} {
		if got := needsBPF(tt.release, tt.disabled); got != tt.want {
			t.Errorf("%s with %s: %v", tt.release, tt.disabled, got)
		}
	}
}
