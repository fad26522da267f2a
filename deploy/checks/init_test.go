// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeSystemd makes a root of the files in place, with the machine's /usr read-only, and
// executes systemd there. Nothing of it is seen by the rest of the machine.
func becomeSystemd(place, group string) error {
	runtime.LockOSThread()
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter the control group: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("namespace of control groups: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root := filepath.Join(place, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	steps := []mount{{from: "tmpfs", to: "", kind: "tmpfs"}}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"} {
		if info, err := os.Stat("/" + dir); err == nil && info.IsDir() {
			steps = append(steps, mount{from: "/" + dir, to: dir, flags: unix.MS_BIND | unix.MS_REC})
		}
	}
	steps = append(steps, mount{"proc", "proc", "proc", 0}, mount{"sysfs", "sys", "sysfs", 0}, mount{"cgroup2", "sys/fs/cgroup", "cgroup2", 0},
		mount{"tmpfs", "dev", "tmpfs", 0}, mount{"tmpfs", "run", "tmpfs", 0}, mount{"tmpfs", "tmp", "tmpfs", 0})
	for _, m := range steps {
		if err := m.do(root); err != nil {
			return err
		}
	}
	for name, dev := range map[string][2]uint32{"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}} {
		if err := unix.Mknod(filepath.Join(root, "dev", name), unix.S_IFCHR|0o666, int(unix.Mkdev(dev[0], dev[1]))); err != nil {
			return fmt.Errorf("device %s: %w", name, err)
		}
	}
	for _, dir := range []string{"dev/shm", "dev/pts", "var", "root", "old"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("pts/ptmx", filepath.Join(root, "dev/ptmx")); err != nil { // PrivateDevices= looks for it
		return err
	}
	if err := os.CopyFS(root, os.DirFS(filepath.Join(place, "files"))); err != nil {
		return err
	}
	if err := errors.Join(os.Chdir(root), unix.PivotRoot(".", "old"), os.Chdir("/"), unix.Unmount("old", unix.MNT_DETACH)); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	return syscall.Exec("/lib/systemd/systemd", []string{"systemd", "--system", "--unit=default.target", "--log-target=null"},
		[]string{"container=other", "SYSTEMD_UNIT_PATH=/units", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
}

type mount struct {
	from, to, kind string
	flags          uintptr
}

func (m mount) do(root string) error {
	to := filepath.Join(root, m.to)
	if err := os.MkdirAll(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := unix.Mount(m.from, to, m.kind, m.flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.from, m.to, err)
	}
	return nil
}

// beContainer is in the environment of a test binary that is to become the program in an
// image: its directory.
const beContainer = "SPEADX_CHECKS_CONTAINER"

// contain becomes the program that the arguments name, in the image.
func contain() {
	if err := becomeContained(os.Getenv(beContainer), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
	}
	os.Exit(1)
}

func becomeContained(image string, args []string) error {
	runtime.LockOSThread()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []mount{{"proc", "proc", "proc", 0}, {"sysfs", "sys", "sysfs", unix.MS_RDONLY}} {
		if err := m.do(image); err != nil {
			return err
		}
	}
	if err := errors.Join(unix.Chroot(image), os.Chdir("/")); err != nil {
		return fmt.Errorf("enter the image: %w", err)
	}
	return syscall.Exec(args[0], args, []string{})
}
