// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// user is one without any privilege but the capabilities.
func user(ambient ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: ambient}
}

// everyThread reports whether a field of /proc/PID/status is the same in all threads.
func everyThread(t *testing.T, pid int, field, want string) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		seen++
		if !strings.Contains(string(text), "\n"+field+":\t"+want+"\n") {
			t.Errorf("%s: %s is not %s in\n%s", task, field, want, text)
		}
	}
	if seen < 3 {
		t.Errorf("only %d threads were looked at", seen)
	}
}

const noCapability = "0000000000000000"

// TestPrivilegesDropped: with the documented capabilities a user receives through AF_XDP.
// When reception has begun, no thread has a capability, and the end is clean without.
func TestPrivilegesDropped(t *testing.T) {
	documented := []uintptr{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_IPC_LOCK, unix.CAP_SYS_NICE}
	for _, tt := range []struct {
		name  string
		as    *syscall.SysProcAttr
		args  []string
		left  string
		print string
	}{
		{"root", nil, []string{"--mode", "native"}, noCapability, ""},
		{"user", user(documented...), []string{"--mode", "native"}, noCapability, ""},
		{"user, generic", user(documented[:4]...), []string{"--mode", "generic"}, noCapability, ""},
		{"user, UDP", user(), []string{"--mode", "udp"}, noCapability, ""},
		{"keep", user(documented...), []string{"--mode", "native", "--keep-capabilities"},
			fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_BPF), "keeps CAP_NET_ADMIN, CAP_BPF\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := wire(t)
			recv := start(t, options{at: &n.B, as: tt.as}, append(append([]string{"recv", "--frames", "8192", "-H", "256KiB", "--format", "json", "--verify"}, tt.args...), destination(n))...)
			recv.receiving(t)
			pid := recv.cmd.Process.Pid
			everyThread(t, pid, "CapEff", tt.left)
			everyThread(t, pid, "CapPrm", tt.left)
			everyThread(t, pid, "CapInh", noCapability)
			everyThread(t, pid, "CapAmb", noCapability)
			everyThread(t, pid, "NoNewPrivs", "1")
			if tt.as == nil {
				everyThread(t, pid, "CapBnd", noCapability)
			}
			within(t, &n.A, "send", "-q", "--verify", "-H", "256KiB", "--packet", "8972", "--rate", "1", "--no-stop", "--heaps", "20", destination(n)).check(t, 0)
			recv.await(t, &recv.stdout, `"cnt":20,`)
			everyThread(t, pid, "CapEff", tt.left)
			recv.signal(t, os.Interrupt)
			r := recv.wait(t)
			r.check(t, 0, tt.print)
			if s := lastSummary(t, r.stdout); s.VerifiedHeaps != 20 || s.MismatchedHeaps != 0 {
				t.Errorf("summary %+v", s)
			}
			if attached(t, &n.B) {
				t.Error("a program stayed on the interface")
			}
		})
	}
}

// TestFileCapabilities: the same with capabilities of the program's file, as by setcap.
func TestFileCapabilities(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "speadx")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "speadx")
	program, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(exe, program, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	set := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
		if err := set.SetFlag(flag, true, cap.NET_RAW, cap.NET_ADMIN, cap.BPF, cap.IPC_LOCK, cap.SYS_NICE); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.SetFile(exe); err != nil {
		t.Fatal(err)
	}
	n := wire(t)
	recv := start(t, options{at: &n.B, as: user(), exe: exe}, "recv", "--mode", "native", "--frames", "8192", "-H", "256KiB", "--format", "json", "--verify", destination(n))
	recv.receiving(t)
	for _, field := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
		everyThread(t, recv.cmd.Process.Pid, field, noCapability)
	}
	within(t, &n.A, "send", "-q", "--verify", "-H", "256KiB", "--packet", "8972", "--rate", "1", "--heaps", "20", destination(n)).check(t, 0)
	r := recv.wait(t)
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.VerifiedHeaps != 20 {
		t.Errorf("summary %+v", s)
	}
	if attached(t, &n.B) {
		t.Error("a program stayed on the interface")
	}
}

// TestReceivingThreadKeepsPriority: privileges are dropped after the threads have used
// them.
func TestReceivingThreadKeepsPriority(t *testing.T) {
	n := wire(t)
	recv := receiver(t, n)
	nices := map[string]int{}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", recv.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if text, err := os.ReadFile(task); err == nil {
			_, rest, _ := strings.Cut(string(text), ") ")
			nices[strings.Fields(rest)[16]]++ // field 19 of proc_pid_stat(5)
		}
	}
	if nices["-20"] != 1 || nices["-10"] == 0 {
		t.Errorf("threads by nice value: %v", nices)
	}
}
