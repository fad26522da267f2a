// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// ended checks totals, with the ledger closed and the verdict last.
func ended(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(text, "\nledger: ") || !strings.Contains(text, " 0 unaccounted\n") || !strings.Contains(text, "\nverdict: ") {
		t.Errorf("no totals in\n%s", text)
	}
}

// TestEndsBySignal: each signal that ends a run lets it print its totals, also if it comes
// twice, as timeout(1) and a closed terminal send it.
func TestEndsBySignal(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGXCPU} {
		t.Run(s.String(), func(t *testing.T) {
			recv, to := loopback(t)
			program(append(few, "--no-stop", to)...).check(t, 0)
			recv.await(t, &recv.stdout, "Received heap 20 ")
			recv.signal(t, s)
			_ = recv.cmd.Process.Signal(s) // it may have ended
			r := recv.wait(t)
			r.check(t, 0)
			ended(t, r.stdout)
		})
	}
}

// TestEndsByFullDisk: the totals go to standard error.
func TestEndsByFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, quiet := range []string{"-q=true", "-q=false"} {
		r := start(t, options{stdout: full}, "recv", quiet, capturePath("plain-64-24")).wait(t)
		r.check(t, exitError, "no space left on device")
		ended(t, r.stderr)
	}
}

// TestEndsByClosedTerminal: reception goes on without its terminal, and the totals go where
// standard output does.
func TestEndsByClosedTerminal(t *testing.T) {
	master, slave := terminal(t)
	to := "127.0.0.1:" + freePort(t)
	recv := start(t, options{stderr: slave}, "recv", "--mode", "udp", "--heaps", "20", to)
	slave.Close()
	screen := make([]byte, 1<<12)
	for text := ""; !strings.Contains(text, "pool: "); {
		n, err := master.Read(screen)
		if err != nil {
			t.Fatal(err)
		}
		text += string(screen[:n])
	}
	master.Close()
	program(append(few, to)...).check(t, 0)
	r := recv.wait(t)
	r.check(t, 0)
	ended(t, r.stdout)
}
