// SPDX-License-Identifier: Apache-2.0

// Package holders finds out which processes hold XDP programs and sockets, by what /proc says
// of their descriptors.
package holders

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Owner is a process.
type Owner struct {
	PID  int
	Name string
}

// Holdings are what the processes have open that matters here.
type Holdings struct {
	Programs map[uint32][]Owner // BPF programs, and links to them, by the program's id
	Sockets  map[uint32][]Owner // by inode
	Hidden   int                // processes that could not be looked into
}

// Read looks through the descriptors of all processes. The file system is the root's.
func Read(fsys fs.FS) (h Holdings, err error) {
	h.Programs, h.Sockets = map[uint32][]Owner{}, map[uint32][]Owner{}
	dirs, err := fs.ReadDir(fsys, "proc")
	if err != nil {
		return h, err
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		dir := "proc/" + d.Name()
		fds, err := fs.ReadDir(fsys, dir+"/fd")
		if errors.Is(err, fs.ErrPermission) {
			h.Hidden++
			continue
		}
		owner := Owner{PID: pid}
		for _, fd := range fds {
			to, err := fs.ReadLink(fsys, dir+"/fd/"+fd.Name())
			if err != nil {
				continue
			}
			in, id, ok := h.find(fsys, to, dir+"/fdinfo/"+fd.Name())
			if !ok {
				continue
			}
			if owner.Name == "" {
				owner.Name = "unknown"
				if comm, err := fs.ReadFile(fsys, dir+"/comm"); err == nil {
					owner.Name = strings.TrimSpace(string(comm))
				}
			}
			if !slices.Contains(in[id], owner) {
				in[id] = append(in[id], owner)
			}
		}
	}
	return h, nil
}

// find says which list what a descriptor leads to belongs in, and under which number.
func (h *Holdings) find(fsys fs.FS, to, info string) (in map[uint32][]Owner, id uint32, ok bool) {
	text, in := "", h.Programs
	if rest, found := strings.CutPrefix(to, "socket:["); found {
		text, in = strings.TrimSuffix(rest, "]"), h.Sockets
	} else if strings.Contains(to, "bpf-prog") || strings.Contains(to, "bpf_link") || strings.Contains(to, "bpf-link") {
		b, err := fs.ReadFile(fsys, info)
		if err != nil {
			return nil, 0, false
		}
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "prog_id" {
				text = strings.TrimSpace(value)
			}
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return in, uint32(n), err == nil
}
