// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/vnet"
)

const unit = "../systemd/speadx@.service"

// unitFor is the unit, with the program where it was built.
func unitFor(t *testing.T, program string) string {
	t.Helper()
	text := string(read(t, unit))
	if strings.Count(text, "ExecStart=/usr/bin/speadx ") != 1 {
		t.Fatalf("what does it start?\n%s", text)
	}
	return strings.Replace(text, "/usr/bin/speadx", program, 1)
}

// TestUnitVerifies: systemd-analyze finds nothing wrong with the unit.
func TestUnitVerifies(t *testing.T) {
	need(t, "systemd-analyze=systemd")
	dir := t.TempDir()
	verify := func(text string) string {
		path := filepath.Join(dir, "speadx@.service")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// The manual page is in the package, and not here.
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%s%v", out, err)
		}
		return string(out)
	}
	text := unitFor(t, theProgram(t))
	if found := verify(text); found != "" {
		t.Error(found)
	}
	if found := verify(text + "\n[Service]\nWatchDogSec=1s\n"); !strings.Contains(found, "WatchDogSec") {
		t.Errorf("a key that systemd does not know is not found: %q", found)
	}
}

var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([\d.]+) `)

// TestUnitIsHardened: the exposure that systemd computes is as low as a program can have
// that receives from the network of the host through AF_XDP.
func TestUnitIsHardened(t *testing.T) {
	need(t, "systemd-analyze=systemd")
	const most = 2.2 // 2.1 with systemd 252
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := exposure.FindSubmatch(out)
	if m == nil {
		t.Fatalf("no exposure level:\n%s", out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > most {
		t.Errorf("exposure %s, want at most %v:\n%s", m[1], most, out)
	}
}

// manager is a systemd with the unit and nothing else, as the first process of namespaces
// of its own.
type manager struct {
	pid     int
	network *vnet.Net
}

// boot starts systemd at the receiver's end of a wire.
func boot(t *testing.T, config, dropIn string) *manager {
	t.Helper()
	need(t, "/lib/systemd/systemd=systemd", "nsenter=util-linux")
	n := wire(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	group := newGroup(t)
	place := t.TempDir()
	files := filepath.Join(place, "files")
	for name, text := range map[string]string{
		"units/speadx@.service":             unitFor(t, "/opt/speadx"),
		"units/speadx@.service.d/test.conf": dropIn,
		"units/default.target":              "[Unit]\nDefaultDependencies=no\n",
		"etc/speadx/test.yaml":              config,
		"etc/machine-id":                    "",
		"etc/nsswitch.conf":                 "passwd: files\ngroup: files\n",
		"etc/passwd":                        "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
		"etc/group":                         "root:x:0:\nnogroup:x:65534:\n",
	} {
		path := filepath.Join(files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sysinit", "basic", "multi-user", "network-online", "network", "shutdown", "umount", "local-fs"} {
		if err := os.WriteFile(filepath.Join(files, "units", name+".target"), []byte("[Unit]\nDefaultDependencies=no\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, theProgram(t), filepath.Join(files, "opt/speadx"), 0o755)
	var out lines
	cmd := exec.Command(exe)
	cmd.Env = []string{beInit + "=" + place, "CGROUP=" + group}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL,
	}
	if e := n.B.Do(func() { err = cmd.Start() }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all processes of the namespace
		<-ended
	})
	m := &manager{cmd.Process.Pid, n}
	awaits(t, "a running systemd", func() (bool, string) {
		text, err := m.command("systemctl", "is-system-running").CombinedOutput()
		return strings.TrimSpace(string(text)) == "running", fmt.Sprintf("%s%v\n%s", text, err, &out)
	})
	return m
}

// newGroup makes a control group for systemd, which gets the tree below it.
func newGroup(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(string(read(t, "/proc/mounts"))) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			dir := filepath.Join(f[1], fmt.Sprintf("speadx-checks-%d", os.Getpid()))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeGroup(t, dir) })
			return dir
		}
	}
	t.Fatal("no cgroup2 is mounted")
	return ""
}

// removeGroup removes a control group and those in it, once their processes are gone.
func removeGroup(t *testing.T, dir string) {
	t.Helper()
	awaits(t, "an end of "+dir, func() (bool, string) {
		var all []string
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		for _, d := range slices.Backward(all) {
			err = os.Remove(d)
		}
		return err == nil, fmt.Sprint(err)
	})
}

// beInit is in the environment of a test binary that is to become systemd. It is a
// directory, and what lies below files/ there goes into the new root.
const beInit = "SPEADX_CHECKS_INIT"

// initialise is the first process of its namespaces. It makes a root with a file system of
// its own, enters it, and becomes systemd.
func initialise() {
	if err := becomeSystemd(os.Getenv(beInit), os.Getenv("CGROUP")); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	os.Exit(1)
}

func (m *manager) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.pid), "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--"}, args...)...)
}

// property is one of the service.
func (m *manager) property(t *testing.T, name string) string {
	t.Helper()
	out, _ := output(t, m.command("systemctl", "show", "--property="+name, "--value", "speadx@test"))
	return strings.TrimSpace(out)
}

// messages are what the service has written.
func (m *manager) messages(t *testing.T) string {
	t.Helper()
	out, _ := output(t, m.command("cat", "/run/messages"))
	return out
}

// status is what the kernel says of the service's main process, by key.
func (m *manager) status(t *testing.T) map[string]string {
	t.Helper()
	text, _ := output(t, m.command("cat", "/proc/"+m.property(t, "MainPID")+"/status"))
	all := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		all[key] = strings.TrimSpace(value)
	}
	return all
}

// TestUnitRuns runs the unit under systemd: its user, capabilities, system call filter and
// address families, with AF_XDP on a veth. It starts, is restarted when it hangs, and stops.
func TestUnitRuns(t *testing.T) {
	needRoot(t)
	const first, second = "239.9.9.9:7148", "239.9.9.10:7148"
	config := "sources: [" + first + "]\ninterface: [sx-b]\nmode: native\nheap-size: 64KiB\nconcurrent-heaps: 2\nframes: 1024\nhugepages: off\nspare-streams: 1\n"
	// So small that the limit of locked memory of a machine in CI suffices, which systemd
	// may not be able to raise there.
	m := boot(t, config, "[Service]\nStandardOutput=append:/run/messages\nStandardError=append:/run/messages\nWatchdogSec=2s\n")
	if text, err := m.command("systemctl", "start", "speadx@test").CombinedOutput(); err != nil {
		more, _ := m.command("sh", "-c", "systemctl status --no-pager speadx@test; cat /run/messages").CombinedOutput()
		t.Fatalf("%v\n%s%s", err, text, more)
	}
	if state, text := m.property(t, "ActiveState"), m.property(t, "StatusText"); state != "active" || text != "receiving" {
		t.Errorf("it is %s: %s", state, text)
	}
	const allowed = 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_BPF
	s := m.status(t)
	if uid := strings.Fields(s["Uid"])[0]; uid == "0" {
		t.Error("it runs as root")
	}
	for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb"} {
		if caps, err := strconv.ParseUint(s[set], 16, 64); err != nil || caps&^allowed != 0 {
			t.Errorf("%s is %s", set, s[set])
		}
	}
	if s["Seccomp"] != "2" || s["NoNewPrivs"] != "1" {
		t.Errorf("Seccomp %s, NoNewPrivs %s", s["Seccomp"], s["NoNewPrivs"])
	}
	send := func(to string) {
		t.Helper()
		at(t, &m.network.A, exec.Command(theProgram(t), "send", "-q", "-i", "sx-a", "--no-stop", "--heaps", "20", "--rate", "0.1", "-H", "64KiB", to))
	}
	send(first)
	awaits(t, "20 heaps, no loss", func() (bool, string) {
		text := m.property(t, "StatusText")
		return strings.HasSuffix(text, "20 heaps, no loss"), text + "\n" + m.messages(t)
	})
	pid := m.property(t, "MainPID")
	// A source that is new in the file is received after a reload, by the same process.
	edit := m.command("sh", "-c", "cat >/etc/speadx/test.yaml")
	edit.Stdin = strings.NewReader(strings.Replace(config, first, first+", "+second, 1))
	output(t, edit)
	output(t, m.command("systemctl", "reload", "speadx@test"))
	awaits(t, "a member of the second group", func() (bool, string) {
		groups, _ := output(t, m.command("cat", "/proc/net/igmp"))
		return strings.Contains(groups, "0A0909EF"), groups + m.messages(t)
	})
	send(second)
	awaits(t, "40 heaps, no loss", func() (bool, string) {
		text := m.property(t, "StatusText")
		return strings.HasSuffix(text, "40 heaps, no loss"), text + "\n" + m.messages(t)
	})
	if now := m.property(t, "MainPID"); now != pid {
		t.Errorf("the reload made process %s of %s", now, pid)
	}
	// One that hangs is ended by the watchdog, and started again.
	output(t, m.command("kill", "-STOP", pid))
	awaits(t, "another process", func() (bool, string) {
		state, now := m.property(t, "ActiveState"), m.property(t, "MainPID")
		return state == "active" && now != pid && now != "0", state + " " + now
	})
	if n := m.property(t, "NRestarts"); n != "1" {
		t.Errorf("%s restarts", n)
	}
	send(first)
	awaits(t, "20 heaps, no loss", func() (bool, string) {
		text := m.property(t, "StatusText")
		return strings.HasSuffix(text, "20 heaps, no loss"), text + "\n" + m.messages(t)
	})
	output(t, m.command("systemctl", "stop", "speadx@test"))
	if state, result := m.property(t, "ActiveState"), m.property(t, "Result"); state != "inactive" || result != "success" {
		t.Errorf("it is %s: %s\n%s", state, result, m.messages(t))
	}
	if text := m.messages(t); !strings.Contains(text, "Received 20 heaps") {
		t.Errorf("no totals:\n%s", text)
	}
}
