// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// archive is an initramfs in the making: a cpio archive, which the kernel unpacks into
// the guest's root folder. Several of them one after the other are one initramfs.
type archive struct {
	buf  bytes.Buffer
	w    *cpio.Writer
	dirs map[string]bool
	err  error // the first one
}

func newArchive() *archive {
	a := &archive{dirs: map[string]bool{}}
	a.w = cpio.NewWriter(&a.buf)
	return a
}

// add adds a file with the folders on its way. All users may read it, since tests run
// as another user than root too.
func (a *archive) add(name string, mode fs.FileMode, content []byte) {
	a.addDir(path.Dir(name))
	a.write(&cpio.Header{Name: name, Mode: cpio.TypeReg | cpio.FileMode(mode.Perm()), Size: int64(len(content))}, content)
}

func (a *archive) addDir(name string) {
	if a.dirs[name] {
		return
	}
	if name != "." && name != "/" {
		a.addDir(path.Dir(name))
	}
	a.dirs[name] = true
	a.write(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755}, nil)
}

func (a *archive) link(name, target string) {
	a.addDir(path.Dir(name))
	a.write(&cpio.Header{Name: name, Mode: cpio.TypeSymlink | 0o777, Size: int64(len(target))}, []byte(target))
}

func (a *archive) write(h *cpio.Header, content []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.w.WriteHeader(h); a.err == nil && content != nil {
		_, a.err = a.w.Write(content)
	}
}

func (a *archive) addFile(name, from string) {
	content, err := os.ReadFile(from)
	if err != nil {
		a.err = err
		return
	}
	a.add(name, 0o755, content)
}

// bytes ends the archive.
func (a *archive) bytes() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if err := a.w.Close(); err != nil {
		return nil, err
	}
	for a.buf.Len()%4 != 0 { // where the next one begins
		a.buf.WriteByte(0)
	}
	return a.buf.Bytes(), nil
}

// userland are the packages whose programs the guest has.
var userland = []string{"busybox-static", "iproute2", "ethtool"}

// applets are the programs of busybox that help at a console, and that no test needs.
var applets = []string{"sh", "ls", "cat", "ps", "dmesg", "grep", "mount", "sleep", "kill"}

// addUserland adds the programs that were unpacked into root, and their libraries.
func (a *archive) addUserland(root string) error {
	for _, p := range []struct{ name, from string }{{"bin/busybox", "bin/busybox"}, {"sbin/ip", "sbin/ip"}, {"sbin/ethtool", "sbin/ethtool"}} {
		from, err := find(root, p.from)
		if err != nil {
			return err
		}
		a.addFile(p.name, from)
		if err := a.addLibraries(root, from); err != nil {
			return fmt.Errorf("libraries of %s: %w", p.name, err)
		}
	}
	for _, name := range applets {
		a.link("bin/"+name, "busybox")
	}
	return a.err
}

// find finds a file of a package, which has it under /usr or not, as the release of
// Debian is.
func find(root, name string) (string, error) {
	for _, top := range []string{"", "usr"} {
		for _, dir := range []string{path.Dir(name), "bin", "sbin"} {
			file := filepath.Join(root, top, dir, path.Base(name))
			if s, err := os.Stat(file); err == nil && s.Mode().IsRegular() {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("the packages %s hold no %s", strings.Join(userland, ", "), name)
}

// addLibraries adds the libraries and the loader that a program needs.
func (a *archive) addLibraries(root, program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	if p := f.Section(".interp"); p != nil {
		interp, err := p.Data()
		if err != nil {
			return err
		}
		loader := string(bytes.TrimRight(interp, "\x00"))
		file, err := findLibrary(root, path.Base(loader))
		if err != nil {
			return err
		}
		if name := strings.TrimPrefix(loader, "/"); !a.dirs[name] {
			a.dirs[name] = true // each once
			a.addFile(name, file)
		}
	}
	for _, lib := range needed {
		name := "lib/x86_64-linux-gnu/" + lib
		if a.dirs[name] || strings.HasPrefix(lib, "ld-linux") {
			continue
		}
		a.dirs[name] = true
		file, err := findLibrary(root, lib)
		if err != nil {
			return err
		}
		a.addFile(name, file)
		if err := a.addLibraries(root, file); err != nil {
			return err
		}
	}
	return a.err
}

func findLibrary(root, name string) (string, error) {
	for _, dir := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64"} {
		file, err := filepath.EvalSymlinks(filepath.Join(root, dir, name))
		if err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("no package holds the library %s", name)
}

// addModules adds kernel modules, numbered in the order in which they are to be loaded.
func (a *archive) addModules(list []module) {
	for i, m := range list {
		a.add(fmt.Sprintf("modules/%03d-%s.ko", i, m.name), 0o644, m.file)
	}
}
