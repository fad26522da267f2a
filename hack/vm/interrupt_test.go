// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/hack/internal/tally"
)

// childEmulator is in the environment of a child process: this program again, to boot a guest
// with that emulator.
const childEmulator = "SPEADX_TEST_EMULATOR"

func TestMain(m *testing.M) {
	if emulator := os.Getenv(childEmulator); emulator != "" {
		ctx, stop := untilSignal()
		defer stop()
		g := &guest{name: "test", kernel: &kernel{}, machine: &machine{}, emulator: emulator, timeout: time.Hour}
		fmt.Println(g.run(ctx, &tally.Tally{Out: os.Stdout}))
		return
	}
	os.Exit(m.Run())
}

// However the program ends, the emulator ends too. Where it ends by a signal that it can
// see, no temporary folder is left.
func TestNothingIsLeft(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGKILL} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			dir, tmp := t.TempDir(), t.TempDir()
			emulator, pid := filepath.Join(dir, "emulator"), filepath.Join(dir, "pid")
			// A file that is renamed is never seen half written.
			script := fmt.Sprintf("#!/bin/sh\necho $$ >%s.new && mv %[1]s.new %[1]s && exec sleep 1000\n", pid)
			if err := os.WriteFile(emulator, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), childEmulator+"="+emulator, "TMPDIR="+tmp)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var emulated int
			await(ctx, t, "the emulator's start", func() bool {
				text, err := os.ReadFile(pid)
				emulated, _ = strconv.Atoi(strings.TrimSpace(string(text)))
				return err == nil
			})
			defer unix.Kill(emulated, unix.SIGKILL)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			await(ctx, t, "the emulator's end", func() bool { return ended(emulated) })
			if s == unix.SIGKILL {
				return
			}
			if err != nil || !strings.Contains(out.String(), errInterrupted.Error()) {
				t.Errorf("%v\n%s", err, &out)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// ended reports whether a process has ended. Where nobody collects orphans it stays, as a
// zombie.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

func await(ctx context.Context, t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
