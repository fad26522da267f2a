// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/speadx/speadx/hack/vm/matrix"
)

// repository is Debian's package repository as this machine reaches it: the
// addresses and keys of its own apt sources, with package lists of our own.
//
// Kernels come from several releases of Debian. Their lists are kept apart from the
// machine's lists, so that a later apt-get install on this machine cannot pick a
// package of another release.
type repository struct {
	ctx context.Context // of its commands
	dir string          // of lists, configuration and downloads
}

// suites are the releases that kernels and the guest's programs come from.
var suites = []string{"bookworm", "bookworm-backports", "trixie", "trixie-backports"}

// listAge is how long package lists are used before they are read again.
const listAge = 24 * time.Hour

// openRepository reads the package lists if they are missing or old.
func openRepository(ctx context.Context, cache string) (*repository, error) {
	r := &repository{ctx: ctx, dir: filepath.Join(cache, "apt")}
	for _, d := range []string{"lists/partial", "archives/partial", "sources.d"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	stamp := filepath.Join(r.dir, "updated")
	if s, err := os.Stat(stamp); err == nil && time.Since(s.ModTime()) < listAge {
		return r, nil
	}
	src, err := debianSource(codename())
	if err != nil {
		return nil, err
	}
	src.suites = suites
	if err := os.WriteFile(filepath.Join(r.dir, "sources.d", "debian.sources"), []byte(src.String()), 0o644); err != nil {
		return nil, err
	}
	if out, err := r.command("apt-get", "-q", "update").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("read the package lists: %w\n%s", err, out)
	}
	return r, os.WriteFile(stamp, nil, 0o644)
}

// command is an apt command that sees only our lists.
func (r *repository) command(name string, args ...string) *exec.Cmd {
	options := []string{
		"-o", "Dir::Etc::sourcelist=/dev/null",
		"-o", "Dir::Etc::sourceparts=" + filepath.Join(r.dir, "sources.d"),
		"-o", "Dir::State::lists=" + filepath.Join(r.dir, "lists"),
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "Dir::Cache::archives=" + filepath.Join(r.dir, "archives"),
		"-o", "APT::Sandbox::User=root",
	}
	cmd := exec.CommandContext(r.ctx, name, append(options, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its locks
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

// kernelPackages names the packages that hold the newest kernel of a series, such as
// "6.1", and its modules. The series "newest" stands for the newest of all.
//
// Package names carry the version, and versions leave the repository within weeks. So
// the series is what is asked for.
func (r *repository) kernelPackages(series string) (packages []string, err error) {
	out, err := r.command("apt-cache", "pkgnames", "linux-").Output()
	if err != nil {
		return nil, fmt.Errorf("list kernel packages: %w", err)
	}
	names := strings.Fields(string(out))
	return chooseKernel(names, series)
}

// kernelName is the name of a package with a kernel. Since 6.17 or so the image package
// is empty, and depends on linux-binary and linux-modules.
var kernelName = regexp.MustCompile(`^linux-image-(\d+(?:\.\d+)+(?:-\d+)?)(?:\+deb\d+(?:\.\d+)?)?-amd64$`)

func chooseKernel(names []string, series string) ([]string, error) {
	best, bestVersion := "", []int(nil)
	for _, name := range names {
		m := kernelName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		v := versionNumbers(m[1])
		if series != matrix.Newest && !slices.Equal(v[:min(2, len(v))], versionNumbers(series)) {
			continue
		}
		if slices.Compare(v, bestVersion) > 0 {
			best, bestVersion = name, v
		}
	}
	if best == "" {
		return nil, fmt.Errorf("no package holds a kernel of series %s", series)
	}
	version := strings.TrimPrefix(best, "linux-image-")
	if split := "linux-binary-" + version; slices.Contains(names, split) {
		return []string{split, "linux-modules-" + version}, nil
	}
	return []string{best}, nil
}

// versionNumbers are the numbers of a version, in order.
func versionNumbers(s string) []int {
	var v []int
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(part) // digits only
		v = append(v, n)
	}
	return v
}

// libraries names the library packages that the given packages depend on.
func (r *repository) libraries(packages ...string) ([]string, error) {
	args := []string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}
	out, err := r.command("apt-cache", append(args, packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list what %s depend on: %w", strings.Join(packages, ", "), err)
	}
	var libs []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "lib") || strings.HasPrefix(line, "zlib") {
			libs = append(libs, strings.TrimSpace(line))
		}
	}
	slices.Sort(libs)
	return slices.Compact(libs), nil
}

// unpack downloads packages and unpacks them into dir, which it makes. A dir that is
// there is complete.
func (r *repository) unpack(dir string, packages ...string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(filepath.Join(part, "debs"), 0o755)); err != nil {
		return err
	}
	cmd := r.command("apt-get", append([]string{"-q", "download"}, packages...)...)
	cmd.Dir = filepath.Join(part, "debs")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s: %w\n%s", strings.Join(packages, ", "), err, out)
	}
	debs, err := filepath.Glob(filepath.Join(cmd.Dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(r.ctx, "dpkg-deb", "--extract", deb, part).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, out)
		}
	}
	if err := os.RemoveAll(cmd.Dir); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// aptSource is where packages come from.
type aptSource struct {
	uri    string
	suites []string
	key    string // file of the keys; "": those that apt trusts
}

// String is the source in apt's format (sources.list(5)).
func (s aptSource) String() string {
	text := fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n", s.uri, strings.Join(s.suites, " "))
	if s.key != "" {
		text += "Signed-By: " + s.key + "\n"
	}
	return text
}

// codename is this machine's release of Debian.
func codename() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return ""
}

// debianSource finds where this machine gets the release called codename from.
func debianSource(codename string) (aptSource, error) {
	files := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"/etc/apt/sources.list.d/*.sources", "/etc/apt/sources.list.d/*.list"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			return aptSource{}, err
		}
		files = append(files, more...)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if s, ok := findSource(b, codename, strings.HasSuffix(name, ".sources")); ok {
			return s, nil
		}
	}
	return aptSource{}, fmt.Errorf("no apt source of this machine has the suite %q (the kernels come from Debian's repository, which a Debian machine knows)", codename)
}

// findSource finds the source of a suite in the text of one of apt's files.
func findSource(text []byte, suite string, stanzas bool) (aptSource, bool) {
	if suite == "" {
		return aptSource{}, false
	}
	if !stanzas {
		return findOneLine(text, suite)
	}
	for _, stanza := range bytes.Split(text, []byte("\n\n")) {
		fields := map[string]string{}
		last := ""
		for line := range strings.Lines(string(stanza)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if line[0] == ' ' || line[0] == '\t' {
				fields[last] += line
				continue
			}
			key, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(key)
			fields[last] = value
		}
		uris := strings.Fields(fields["uris"])
		if len(uris) == 0 || !slices.Contains(strings.Fields(fields["suites"]), suite) || !slices.Contains(strings.Fields(fields["types"]), "deb") {
			continue
		}
		s := aptSource{uri: uris[0]}
		if key := strings.Fields(fields["signed-by"]); len(key) == 1 && strings.HasPrefix(key[0], "/") {
			s.key = key[0]
		}
		return s, true
	}
	return aptSource{}, false
}

// oneLine is a line of sources.list(5): deb [options] URI suite components.
var oneLine = regexp.MustCompile(`^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s`)

func findOneLine(text []byte, suite string) (aptSource, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		m := oneLine.FindStringSubmatch(lines.Text())
		if m == nil || m[3] != suite {
			continue
		}
		s := aptSource{uri: m[2]}
		for _, option := range strings.Fields(m[1]) {
			if key, ok := strings.CutPrefix(option, "signed-by="); ok {
				s.key = key
			}
		}
		return s, true
	}
	return aptSource{}, false
}
