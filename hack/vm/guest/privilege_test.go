// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/pool"
)

// The capabilities that the README names, on the program's file, are enough for a user who
// is not root, on every kernel.
func TestFileCapabilities(t *testing.T) {
	program, err := os.ReadFile("/bin/speadx")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("/run", "speadx-user")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file) })
	setcap(t, file, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_IPC_LOCK, unix.CAP_SYS_NICE)
	w := hardware(t)
	for _, mode := range []string{"auto", "native", "generic"} {
		t.Run(mode, func(t *testing.T) {
			source := netip.AddrPortFrom(w.rx4, port).String()
			cmd := exec.Command(file, "recv", "-i", w.rx, "--mode", mode, "-H", fmt.Sprint(heapSize), "--verify", source)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
			p := startCommand(t, cmd)
			p.await(t, "receiving "+source)
			want := mode
			if mode == "auto" {
				want = "native"
			}
			if found, _ := p.output.look("mode " + want); !found {
				t.Errorf("not in mode %s:\n%s", want, p.output)
			}
			w.send(t, send.Config{Heaps: 10})
			if status, out := p.wait(t); status != 0 || !strings.Contains(out, "Received 10 heaps") {
				t.Errorf("exit status %d:\n%s", status, out)
			}
		})
	}
}

// setcap gives a file capabilities, permitted and effective, as setcap does: struct
// vfs_cap_data of include/uapi/linux/capability.h.
func setcap(t *testing.T, file string, caps ...uint) {
	t.Helper()
	const revision2, effective = 0x02000000, 1
	var permitted [2]uint32
	for _, c := range caps {
		permitted[c/32] |= 1 << (c % 32)
	}
	data := binary.LittleEndian.AppendUint32(nil, revision2|effective)
	for _, set := range permitted {
		data = binary.LittleEndian.AppendUint32(data, set)
		data = binary.LittleEndian.AppendUint32(data, 0) // inheritable
	}
	if err := unix.Setxattr(file, "security.capability", data, 0); err != nil {
		t.Fatal(err)
	}
}

// The pool on pages of 1 GiB and of 2 MiB, with the packet buffers on pages of 2 MiB, also
// where the card writes into them.
func TestHugePages(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.mode == speadx.ModeUDP {
			return
		}
		for _, tt := range []struct {
			pages pool.Pages
			pool  string
		}{{pool.Pages1G, "1G"}, {pool.Pages2M, "2M"}} {
			t.Run(tt.pool, func(t *testing.T) {
				r := w.open(t, w.mode, func(c *speadx.Config) { c.Hugepages = tt.pages })
				in := r.Info()
				if in.PoolPages != tt.pool {
					t.Errorf("the pool is on pages of %s, want %s: %q", in.PoolPages, tt.pool, in.PoolNotes)
				}
				if q := in.Devices[0].Queues[0]; q.Pages != "2M" {
					t.Errorf("the packet buffers are on pages of %v: %q", q.Pages, q.Notes)
				}
				w.last(t, r, 0, 5)
			})
		}
	})
}

func readFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	return strings.TrimSpace(string(b)), err
}

// netstat is one of the counters of /proc/net/netstat.
func netstat(t *testing.T, name string) int {
	t.Helper()
	text, err := readFile("/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		keys, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for k, key := range keys {
			if key == name && k < len(values) {
				n, err := strconv.Atoi(values[k])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}
