// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/vnet"
)

const containerfile = "../Containerfile"

// container is what a container file says, as far as it is tested.
type container struct {
	stages []instructions.Stage
}

// readContainerfile parses the file as BuildKit does, which is what docker build uses.
func readContainerfile() (*container, error) {
	text, err := os.ReadFile(containerfile)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(parsed.Warnings) > 0 {
		return nil, fmt.Errorf("%s: %v", containerfile, parsed.Warnings)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	if len(stages) != 2 {
		return nil, fmt.Errorf("%s: %d stages", containerfile, len(stages))
	}
	return &container{stages}, nil
}

// build runs the command of the first stage that builds the program, here.
func (c *container) build(dir string) (string, error) {
	for _, cmd := range c.stages[0].Commands {
		run, ok := cmd.(*instructions.RunCommand)
		if !ok || !strings.Contains(strings.Join(run.CmdLine, " "), "go build") {
			continue
		}
		line := strings.ReplaceAll(strings.Join(run.CmdLine, " "), "/out/", dir+"/")
		sh := exec.Command("/bin/sh", "-c", line)
		sh.Dir, sh.Env = root, append(os.Environ(), "VERSION=1.2.3")
		if text, err := sh.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", line, err, text)
		}
		return filepath.Join(dir, "speadx"), nil
	}
	return "", errors.New("no RUN go build")
}

// imageOf puts the files into a directory that the last stage copies into its empty image,
// and says what it starts.
func imageOf(t *testing.T) (image string, entry []string) {
	t.Helper()
	c, err := readContainerfile()
	if err != nil {
		t.Fatal(err)
	}
	first, last := c.stages[0], c.stages[1]
	if last.BaseName != "scratch" {
		t.Errorf("the image is based on %s", last.BaseName)
	}
	if !strings.HasPrefix(first.BaseName, "docker.io/library/golang:1.26-") {
		t.Errorf("built with %s, and go.mod says 1.26", first.BaseName)
	}
	image = t.TempDir()
	built := theProgram(t)
	var ports []string
	for _, cmd := range last.Commands {
		switch cmd := cmd.(type) {
		case *instructions.CopyCommand:
			if cmd.From != first.Name {
				t.Errorf("COPY --from=%s", cmd.From)
			}
			for _, src := range cmd.SourcePaths {
				from, ok := strings.CutPrefix(src, "/src/")
				if from = filepath.Join(root, from); !ok {
					if src != "/out/speadx" {
						t.Fatalf("COPY %s, which the first stage does not make", src)
					}
					from = built
				}
				info, err := os.Stat(from)
				if err != nil {
					t.Fatal(err)
				}
				copyFile(t, from, filepath.Join(image, cmd.DestPath), info.Mode())
			}
		case *instructions.EntrypointCommand:
			if entry = cmd.CmdLine; cmd.PrependShell {
				t.Errorf("ENTRYPOINT %q needs a shell", entry)
			}
		case *instructions.CmdCommand:
			if cmd.PrependShell {
				t.Errorf("CMD %q needs a shell", cmd.CmdLine)
			}
		case *instructions.RunCommand:
			t.Errorf("RUN %q in an image without a shell", cmd.CmdLine)
		case *instructions.ExposeCommand:
			ports = append(ports, cmd.Ports...)
		}
	}
	if len(entry) == 0 || !slices.Equal(ports, []string{"9717"}) {
		t.Errorf("entry point %q, ports %q", entry, ports)
	}
	return image, entry
}

// inContainer makes a command that runs in the image as a container runtime runs it: with
// /proc and /sys, in namespaces of its own.
func inContainer(t *testing.T, image string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = []string{beContainer + "=" + image}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// inImage makes a command that runs in the image and sees nothing else, as the user.
func inImage(image string, uid uint32, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: image, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// TestContainer runs the program in its image, which has no /proc, /sys, /etc or /tmp. It
// receives from a capture file as a user without any privilege, and from UDP sockets. For
// AF_XDP it gets /sys too, which each runtime mounts.
func TestContainer(t *testing.T) {
	needRoot(t)
	image, entry := imageOf(t)
	if err := os.Chmod(image, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(captures, "plain-64-48.pcap"), filepath.Join(image, "stream.pcap"), 0o644)
	if got, _ := output(t, inImage(image, 65534, append(entry, "--version")...)); got != "speadx version 1.2.3\n" {
		t.Errorf("--version: %q", got)
	}
	got, _ := output(t, inImage(image, 65534, append(entry, "recv", "--format", "json", "/stream.pcap")...))
	want, _ := output(t, exec.Command(theProgram(t), "recv", "--format", "json", filepath.Join(captures, "plain-64-48.pcap")))
	if g, w := heaps(t, got), heaps(t, want); len(g) == 0 || !slices.Equal(g, w) {
		t.Errorf("heaps %v, want %v", g, w)
	}
	for _, mode := range []string{"udp", "native"} {
		t.Run(mode, func(t *testing.T) {
			n := wire(t)
			args := append(entry, "recv", "--format", "json", "--mode", mode, "-i", n.B.Name, "-H", "64KiB", "--hugepages", "off", destination(n))
			recv := inImage(image, 0, args...)
			if mode == "native" {
				recv = inContainer(t, image, append(args, "--frames", "1024")...)
			}
			var out, msg lines
			recv.Stdout, recv.Stderr = &out, &msg
			var err error
			if e := n.B.Do(func() { err = recv.Start() }); e != nil || err != nil {
				t.Fatal(e, err)
			}
			ended := make(chan error, 1)
			go func() { ended <- recv.Wait() }()
			t.Cleanup(func() { _ = recv.Process.Kill() })
			msg.await(t, "\npool: ")
			at(t, &n.A, exec.Command(theProgram(t), "send", "-q", "--heaps", "5", "-H", "64KiB", destination(n)))
			if err := <-ended; err != nil {
				t.Fatalf("%v\n%s", err, &msg)
			}
			if got := heaps(t, out.String()); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
				t.Errorf("heaps %v\n%s", got, &msg)
			}
		})
	}
}

func destination(n *vnet.Net) string { return n.B.Addr4.String() + ":7148" }
