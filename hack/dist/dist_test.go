// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// capture is a stream of several heaps, which every program here receives.
const capture = "../../testdata/captures/plain-64-48.pcap"

// made is what dist makes, once for all tests.
var made = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "speadx-dist-test-"); err != nil {
		return "", err
	}
	madeIn = dir
	return dir, run("../..", dir, []string{"amd64", "arm64"})
})

// madeIn is where, once a test has asked for it.
var madeIn string

func TestMain(m *testing.M) {
	status := m.Run()
	if madeIn != "" {
		os.RemoveAll(madeIn)
	}
	os.Exit(status)
}

// need installs what a test needs.
func need(t *testing.T, what ...string) {
	t.Helper()
	if text, err := exec.Command("../need", what...).CombinedOutput(); err != nil {
		if os.Geteuid() != 0 {
			t.Skipf("%v: %s", err, text)
		}
		t.Fatalf("%v: %s", err, text)
	}
}

// needRoot skips what only root can do, as in make test.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("SPEADX_PRIVILEGED") != "" {
			t.Fatal("SPEADX_PRIVILEGED is set, and this is not root")
		}
		t.Skip("needs root, for chroot")
	}
}

// file is the one file that was made with this end of its name.
func file(t *testing.T, suffix string) string {
	t.Helper()
	dir, err := made()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(files) != 1 {
		t.Fatalf("*%s: %q, %v", suffix, files, err)
	}
	return files[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text)
	}
	return string(text)
}

// starts runs the program that lies in a root of its own, in which there is nothing else
// that it could need.
func starts(t *testing.T, root, program string) {
	t.Helper()
	needRoot(t)
	data, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "stream.pcap"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(filepath.Join(root, "stream.pcap"))
	within := func(args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		var out, msg bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &msg
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, &out, &msg)
		}
		return out.String(), msg.String()
	}
	rel, err := releaseOf("../..")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := within("--version"); got != "speadx version "+rel.version+"\n" {
		t.Errorf("--version: %q, want %s", got, rel.version)
	}
	if _, err := os.Stat(filepath.Join(root, "etc")); err == nil {
		if got, _ := within("config", "print", "--config", "/etc/speadx/example.yaml"); !strings.Contains(got, "/etc/speadx/example.yaml:") {
			t.Errorf("config print: %s", got)
		}
	}
	got, messages := within("recv", "--format", "json", "--hugepages", "off", "/stream.pcap")
	want, err := exec.Command("go", "-C", "../..", "run", "./cmd/speadx", "recv", "--format", "json", "--hugepages", "off", mustAbs(t, capture)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if h, w := heapCounts(got), heapCounts(string(want)); len(h) < 2 || !slices.Equal(h, w) {
		t.Errorf("it receives heaps %v, want %v\n%s%s", h, w, got, messages)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

var heapCount = regexp.MustCompile(`(?m)^\{.*"cnt": ?(\d+).*$`)

// heapCounts are those of the heaps in the output of recv.
func heapCounts(text string) (counts []string) {
	for _, m := range heapCount.FindAllStringSubmatch(text, -1) {
		counts = append(counts, m[1])
	}
	return counts
}

// TestReproducible: another run, in other directories, makes the same bytes.
func TestReproducible(t *testing.T) {
	first, err := os.ReadFile(file(t, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := run("../..", again, []string{"amd64", "arm64"}); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(again, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("first\n%sthen\n%s", first, second)
	}
	if n := bytes.Count(first, []byte("\n")); n != 6 {
		t.Errorf("%d files, want a tarball, a .deb and an .rpm of 2 architectures:\n%s", n, first)
	}
	need(t, "sha256sum=coreutils")
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = again
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// packaged are files that both kinds of package have, some in places of their own.
var packaged = []string{
	"/etc/speadx/example.yaml", "/usr/bin/speadx", "/usr/lib/systemd/system/speadx@.service", "/usr/share/man/man1/speadx.1.gz", "/usr/share/man/man1/speadx-recv.1.gz",
	"/usr/share/man/man1/speadx-bench-veth.1.gz", "/usr/share/bash-completion/completions/speadx", "/usr/share/fish/vendor_completions.d/speadx.fish",
	"/usr/share/doc/speadx/README.md", "/usr/share/doc/speadx/copyright", "/usr/share/doc/speadx/docs/json.md",
}

// TestDeb installs the package into a root of its own, starts the program there, and
// removes the package again.
func TestDeb(t *testing.T) {
	need(t, "dpkg-deb=dpkg")
	deb := file(t, "amd64.deb")
	root := t.TempDir()
	for _, dir := range []string{"updates", "info", "triggers"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	needRoot(t)
	dpkg := func(args ...string) {
		t.Helper()
		// The scripts run outside of the root, which has no shell, and leave this machine alone.
		output(t, "dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-architecture"}, args...)...)
	}
	dpkg("--install", deb)
	for _, path := range append([]string{"/usr/share/zsh/vendor-completions/_speadx"}, packaged...) {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Error(err)
		}
	}
	starts(t, root, "/usr/bin/speadx")
	dpkg("--purge", "speadx")
	for _, path := range []string{"/usr/bin/speadx", "/usr/lib/systemd/system/speadx@.service", "/etc/speadx"} {
		if _, err := os.Lstat(filepath.Join(root, path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if arch := strings.TrimSpace(output(t, "dpkg-deb", "--field", file(t, "arm64.deb"), "Architecture")); arch != "arm64" {
		t.Errorf("the package for arm64 is for %s", arch)
	}
}

// TestRPM does the same with the other kind.
func TestRPM(t *testing.T) {
	need(t, "rpm=rpm")
	pkg := file(t, "amd64.rpm")
	list := strings.Fields(output(t, "rpm", "--query", "--list", "--package", pkg))
	for _, path := range append([]string{"/usr/share/zsh/site-functions/_speadx"}, packaged...) {
		if !slices.Contains(list, path) {
			t.Errorf("%s is not in it", path)
		}
	}
	needRoot(t)
	root := t.TempDir()
	output(t, "rpm", "--root", root, "--install", "--nodeps", "--noscripts", pkg)
	starts(t, root, "/usr/bin/speadx")
	if arch := output(t, "rpm", "--query", "--package", "--queryformat", "%{ARCH}", file(t, "arm64.rpm")); arch != "aarch64" {
		t.Errorf("the package for arm64 is for %s", arch)
	}
}

// TestTarball unpacks the tarball and starts the program. Each file has the time of the
// commit, and no owner of this machine.
func TestTarball(t *testing.T) {
	rel, err := releaseOf("../..")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	top := fmt.Sprintf("speadx-%s-linux-amd64", rel.version)
	names := unpack(t, file(t, "amd64.tar.gz"), root, func(h *tar.Header) {
		if !h.ModTime.Equal(rel.when) || h.Uid != 0 || h.Gid != 0 || h.Uname+h.Gname != "" {
			t.Errorf("%s: of %v, owner %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
	})
	if !slices.IsSorted(names) {
		t.Error("its files are in no order")
	}
	for _, name := range []string{"LICENSE", "README.md", "bin/speadx", "completions/speadx.zsh", "deploy/systemd/speadx@.service", "docs/json.md", "share/man/man1/speadx-recv.1"} {
		if !slices.Contains(names, top+"/"+name) {
			t.Errorf("no %s in %q", name, names)
		}
	}
	starts(t, root, "/"+top+"/bin/speadx")
}

// unpack unpacks a tarball of regular files.
func unpack(t *testing.T, from, root string, check func(*tar.Header)) (names []string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		check(h)
		names = append(names, h.Name)
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(filepath.Join(root, h.Name), data, h.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatic: the programs need no library, and are for their machines.
func TestStatic(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		root := t.TempDir()
		unpack(t, file(t, arch+".tar.gz"), root, func(*tar.Header) {})
		programs, err := filepath.Glob(filepath.Join(root, "*/bin/speadx"))
		if err != nil || len(programs) != 1 {
			t.Fatal(programs, err)
		}
		f, err := elf.Open(programs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Machine != machine {
			t.Errorf("%s: for %v", arch, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: it has a segment %v", arch, p.Type)
			}
		}
	}
}

// flagLine begins the description of a flag in the text of --help.
var flagLine = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z][a-z0-9-]+)`)

// TestManPages: groff finds nothing wrong with them, and each flag that --help shows is on
// the page of its command.
func TestManPages(t *testing.T) {
	need(t, "groff=groff-base")
	root := t.TempDir()
	unpack(t, file(t, "amd64.tar.gz"), root, func(*tar.Header) {})
	pages, err := filepath.Glob(filepath.Join(root, "*/share/man/man1/*.1"))
	if err != nil || len(pages) < 9 {
		t.Fatal(pages, err)
	}
	program := filepath.Join(filepath.Dir(pages[0]), "../../../bin/speadx")
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".1")
		var out, msg bytes.Buffer
		cmd := exec.Command("groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-P-cbou", page)
		cmd.Stdout, cmd.Stderr = &out, &msg
		if err := cmd.Run(); err != nil || msg.Len() > 0 {
			t.Errorf("%s: %v %s", name, err, &msg)
		}
		text := strings.NewReplacer("‐\n", "", "‐", "-").Replace(out.String())
		args := append(strings.Split(name, "-")[1:], "--help")
		flags := flagLine.FindAllStringSubmatch(output(t, program, args...), -1)
		for _, flag := range flags {
			if flag[1] != "--version" && !strings.Contains(text, flag[1]) { // which cobra adds when it runs
				t.Errorf("%s: no %s", name, flag[1])
			}
		}
		if len(flags) == 0 {
			t.Errorf("%s --help has no flag", name)
		}
	}
}

// TestCompletions: each shell parses its own.
func TestCompletions(t *testing.T) {
	need(t, "bash=bash", "zsh=zsh", "fish=fish")
	root := t.TempDir()
	unpack(t, file(t, "amd64.tar.gz"), root, func(*tar.Header) {})
	for _, shell := range []string{"bash", "zsh", "fish"} {
		scripts, err := filepath.Glob(filepath.Join(root, "*/completions/speadx."+shell))
		if err != nil || len(scripts) != 1 {
			t.Fatal(shell, scripts, err)
		}
		output(t, shell, "-n", scripts[0])
	}
}
