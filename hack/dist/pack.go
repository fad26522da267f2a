// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pack makes the tarball and the packages of an architecture, and returns their names.
func pack(root, common, stage, out, arch string, rel release) ([]string, error) {
	if err := os.MkdirAll(stage, 0o755); err != nil {
		return nil, err
	}
	program := filepath.Join(stage, "speadx")
	if err := build(root, program, rel, []string{"GOOS=linux", "GOARCH=" + arch}); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("speadx-%s-linux-%s", rel.version, arch)
	if err := tarball(root, common, program, filepath.Join(out, name+".tar.gz"), name, rel); err != nil {
		return nil, err
	}
	made := []string{name + ".tar.gz"}
	packages, err := nfpm(root, common, stage, out, arch, rel)
	return append(made, packages...), err
}

// entry is a file of the tarball.
type entry struct {
	from, to string
	mode     int64
}

// documents are the files and directories of the repository that are in the tarball and in
// the packages, beside the program.
var documents = []string{"CHANGELOG.md", "LICENSE", "README.md", "deploy", "docs"}

// contents are the files of the tarball, in order.
func contents(root, common, program string) ([]entry, error) {
	all := []entry{{program, "bin/speadx", 0o755}}
	for _, name := range documents {
		files, err := regularFiles(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if to, err := filepath.Rel(root, f); err != nil {
				return nil, err
			} else if !strings.HasPrefix(to, "deploy/checks/") { // tests
				all = append(all, entry{f, to, 0o644})
			}
		}
	}
	for _, part := range []struct{ from, to string }{{"man", "share/man/man1"}, {"completions", "completions"}} {
		files, err := regularFiles(filepath.Join(common, part.from))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			all = append(all, entry{f, filepath.Join(part.to, filepath.Base(f)), 0o644})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.to, b.to) })
	return all, nil
}

// regularFiles are those at and below a path. In a clone they are those that git knows, so
// that what else lies there is not released.
func regularFiles(path string) (files []string, err error) {
	if listed, err := exec.Command("git", "-C", filepath.Dir(path), "ls-files", "-z", "--", filepath.Base(path)).Output(); err == nil && len(listed) > 0 {
		for name := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
			files = append(files, filepath.Join(filepath.Dir(path), name))
		}
		return files, nil
	}
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// tarball writes files in order, all of one time and one owner.
func tarball(root, common, program, to, top string, rel release) error {
	all, err := contents(root, common, program)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	for _, e := range all {
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		h := tar.Header{Name: filepath.Join(top, e.to), Mode: e.mode, Size: int64(len(data)), ModTime: rel.when, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return write(to, b.Bytes(), 0o644)
}

// nfpm makes the .deb and the .rpm of what nfpm.yaml names.
func nfpm(root, common, stage, out, arch string, rel release) ([]string, error) {
	if err := stagePackage(root, common, stage, rel); err != nil {
		return nil, err
	}
	config, err := filepath.Abs("nfpm.yaml")
	if err != nil {
		return nil, err
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var made []string
	for _, packager := range []string{"deb", "rpm"} {
		name := fmt.Sprintf("speadx-%s-linux-%s.%s", rel.version, arch, packager)
		env := []string{"ARCH=" + arch, "VERSION=" + rel.version, "STAGE=" + stage}
		if err := command(rel, here, env, "go", "tool", "nfpm", "package", "--config", config, "--packager", packager, "--target", filepath.Join(out, name)); err != nil {
			return nil, err
		}
		made = append(made, name)
	}
	return made, nil
}

// stagePackage lays out what nfpm.yaml names. Manual pages are compressed, as is the use
// of both kinds of package. All files get the time of the commit.
func stagePackage(root, common, stage string, rel release) error {
	pages, err := os.ReadDir(filepath.Join(common, "man"))
	if err != nil {
		return err
	}
	for _, p := range pages {
		data, err := os.ReadFile(filepath.Join(common, "man", p.Name()))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := z.Write(data); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := write(filepath.Join(stage, "man", p.Name()+".gz"), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	all, err := contents(root, common, filepath.Join(stage, "speadx"))
	if err != nil {
		return err
	}
	for _, e := range all {
		first, rest, _ := strings.Cut(e.to, string(filepath.Separator))
		to := filepath.Join("doc", e.to)
		switch {
		case first == "completions":
			to = e.to
		case first == "bin", first == "share":
			continue
		case e.to == "LICENSE":
			to = "doc/copyright"
		case first == "docs":
			to = filepath.Join("doc", "docs", rest)
		}
		data, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(stage, to), data, 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(stage, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, rel.when, rel.when)
	})
}
