// SPDX-License-Identifier: Apache-2.0

// Dist makes what is released: for each architecture a tarball, a .deb and an .rpm, each
// with the program, its manual pages, completions, units and documents, and the checksums
// of all of them.
//
//	dist [-out DIRECTORY] [-arch amd64,arm64]
//
// It runs in its own directory of a clone. Two runs of it on the same commit make the same
// bytes, on any machine with the same Go. It uses no time but that of the commit, and no
// path but those of the repository. VERSION and SOURCE_DATE_EPOCH take the place of what
// git says.
//
// It is a module of its own, for the sake of nfpm and what that needs.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	out := flag.String("out", "../../dist", "write to this `directory`")
	arch := flag.String("arch", "amd64,arm64", "make packages for these `architectures`")
	flag.Parse()
	if err := run("../..", *out, strings.Split(*arch, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// run makes everything of the repository at root.
func run(root, out string, archs []string) (err error) {
	rel, err := releaseOf(root)
	if err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "speadx-dist-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	common := filepath.Join(stage, "common")
	if err := stageCommon(root, common, rel); err != nil {
		return err
	}
	var made []string
	for _, arch := range archs {
		files, err := pack(root, common, filepath.Join(stage, arch), out, arch, rel)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		made = append(made, files...)
	}
	return checksums(out, made)
}

// stageCommon makes what is the same on all architectures.
func stageCommon(root, dir string, rel release) error {
	man := filepath.Join(dir, "man")
	if err := os.MkdirAll(man, 0o755); err != nil {
		return err
	}
	generator := filepath.Join(dir, "manpages")
	if err := build(root, generator, rel, nil, "-tags=manpages"); err != nil {
		return err
	}
	if err := command(rel, root, nil, generator, man); err != nil {
		return err
	}
	if err := os.Remove(generator); err != nil {
		return err
	}
	// The completions are the program's own, of the machine that this runs on.
	program := filepath.Join(dir, "speadx")
	if err := build(root, program, rel, nil); err != nil {
		return err
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := exec.Command(program, "completion", shell).Output()
		if err != nil {
			return fmt.Errorf("completion for %s: %w", shell, err)
		}
		if err := write(filepath.Join(dir, "completions", "speadx."+shell), script, 0o644); err != nil {
			return err
		}
	}
	return os.Remove(program)
}

// build builds the program.
func build(root, to string, rel release, env []string, flags ...string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	args := append([]string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.linked=" + rel.version, "-o", to}, flags...)
	return command(rel, root, env, append(args, "./cmd/speadx")...)
}

// command runs a command line in a directory, with more of an environment.
func command(rel release, dir string, env []string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	// What a user has set for builds of their own would change what is built.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOWORK=off", rel.environ())
	cmd.Env = append(cmd.Env, env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return nil
}

// checksums writes those of all files, in the format of sha256sum.
func checksums(out string, files []string) error {
	slices.Sort(files)
	var b bytes.Buffer
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), name)
	}
	return write(filepath.Join(out, "SHA256SUMS"), b.Bytes(), 0o644)
}

// write writes a file, and the directories above it.
func write(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, mode)
}
