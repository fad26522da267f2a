// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// kernel is an unpacked kernel and its modules.
type kernel struct {
	series  string
	release string            // as uname -r prints it
	image   string            // file
	modules map[string]string // file by module name, with _ for -
}

// openKernel finds the kernel that was unpacked into dir.
func openKernel(series, dir string) (*kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err == nil && len(images) == 0 { // linux-binary has it beside the modules
		images, err = filepath.Glob(filepath.Join(dir, "usr", "lib", "modules", "*", "vmlinuz"))
	}
	if err != nil || len(images) == 0 {
		return nil, fmt.Errorf("no kernel image in %s (remove the folder, and it is downloaded again)", dir)
	}
	k := &kernel{series: series, image: images[0], modules: map[string]string{}}
	for _, top := range []string{"lib/modules", "usr/lib/modules"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			}
			if name, _, ok := strings.Cut(d.Name(), ".ko"); ok && !d.IsDir() {
				k.modules[moduleName(name)] = path
			}
			if d.Name() == "kernel" && filepath.Base(filepath.Dir(filepath.Dir(path))) == "modules" {
				k.release = filepath.Base(filepath.Dir(path))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(k.modules) == 0 || k.release == "" {
		return nil, fmt.Errorf("no kernel modules in %s (remove the folder, and it is downloaded again)", dir)
	}
	return k, nil
}

func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// module is a kernel module's file, ready to be loaded.
type module struct {
	name string
	file []byte
}

// load reads the modules of the given names and all that they depend on, in the order
// in which they can be loaded. Without a file of that name it is taken to be
// built in, as the packages do not list what is.
func (k *kernel) load(names ...string) ([]module, error) {
	var list []module
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if done[name] {
			return nil
		}
		done[name] = true
		path, ok := k.modules[name]
		if !ok {
			return nil // built in; or else the guest does not find its card
		}
		file, err := readModule(path)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		depends, err := moduleDepends(file)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		list = append(list, module{name, file})
		return nil
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// readModule reads a module, which Debian's packages compress.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".xz") {
		return io.ReadAll(f)
	}
	r, err := xz.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// moduleDepends reads which modules a module needs, from its section .modinfo.
func moduleDepends(file []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for _, entry := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
