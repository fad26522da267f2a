// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// qemu is the emulator's command. Its igb needs version 8.
const qemu = "qemu-system-x86_64"

// needEmulator installs QEMU where it is missing or too old: it is the one package
// that a run installs.
func needEmulator(r *repository) error {
	if emulatorVersion() >= 8 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s of version 8 or later is missing, and only root can install it: apt-get install qemu-system-x86 (on Debian 12 from bookworm-backports)", qemu)
	}
	release := codename()
	src, err := debianSource(release)
	if err != nil {
		return err
	}
	// The machine's own release and its backports, and nothing of another release.
	src.suites = []string{release, release + "-updates", release + "-backports"}
	own := &repository{ctx: r.ctx, dir: filepath.Join(r.dir, "own")}
	for _, d := range []string{"lists/partial", "archives/partial", "sources.d"} {
		if err := os.MkdirAll(filepath.Join(own.dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(own.dir, "sources.d", "debian.sources"), []byte(src.String()), 0o644); err != nil {
		return err
	}
	install := []string{"-q", "install", "-y", "--no-install-recommends"}
	if release == "bookworm" {
		install = append(install, "-t", release+"-backports")
	}
	for _, args := range [][]string{{"-q", "update"}, append(install, "qemu-system-x86")} {
		if out, err := own.command("apt-get", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("install QEMU: apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if v := emulatorVersion(); v < 8 {
		return fmt.Errorf("%s has version %d after it was installed, and 8 is needed", qemu, v)
	}
	return nil
}

// emulatorVersion is QEMU's major version; 0: it is not installed.
func emulatorVersion() int {
	out, err := exec.Command(qemu, "--version").Output()
	if err != nil {
		return 0
	}
	var major int
	if _, err := fmt.Sscanf(string(out), "QEMU emulator version %d", &major); err != nil {
		return 0
	}
	return major
}
