// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Init is the first process of a guest of hack/vm. It mounts what every system has,
// loads the kernel modules that the host put into the initramfs, runs the test
// binaries, and switches the machine off.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/hack/vm/matrix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init is for a guest of hack/vm: it would switch this machine off")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Println("init:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // the emulator ends instead
	select {}
}

func run() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
		{"bpf", "/sys/fs/bpf"}, {"tracefs", "/sys/kernel/tracing"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if err := os.Chmod("/tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	// busybox's shell prefers its own ip to that of iproute2, so no test uses a shell.
	for name, value := range map[string]string{"PATH": "/sbin:/bin", "HOME": "/tmp", "SPEADX_PRIVILEGED": "1"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	text, err := os.ReadFile(matrix.BootFile)
	if err != nil {
		return err
	}
	var boot matrix.Boot
	if err := json.Unmarshal(text, &boot); err != nil {
		return fmt.Errorf("read %s: %w", matrix.BootFile, err)
	}
	out, err := openSerial("/dev/ttyS1")
	if err != nil {
		return err
	}
	for _, r := range boot.Runs {
		fmt.Fprintf(out, "%srun %s\n", matrix.Mark, r.Package)
		cmd := exec.Command(r.Binary, r.Args...)
		cmd.Dir = r.Dir
		cmd.Stdout, cmd.Stderr = out, out
		err := cmd.Run()
		fmt.Fprintf(out, "\n%sexit %s %d\n", matrix.Mark, r.Package, cmd.ProcessState.ExitCode())
		if err != nil {
			fmt.Println("init:", r.Binary, err)
		}
	}
	fmt.Fprintf(out, "%sdone\n", matrix.Mark)
	return drain(out)
}

// loadModules loads the modules of a folder by name.
func loadModules(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// openSerial opens a serial port whose bytes the kernel does not change.
func openSerial(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// drain waits until the port has sent everything.
func drain(f *os.File) error {
	return unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1)
}
