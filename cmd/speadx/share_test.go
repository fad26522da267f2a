// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/internal/vnet"
)

// TestProcessesShare: two programs share an interface after both have given up their
// capabilities, also as users without CAP_SYS_ADMIN, and of different users where one is
// root. The one that stays receives on.
func TestProcessesShare(t *testing.T) {
	needRoot(t)
	documented := user(unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_IPC_LOCK, unix.CAP_SYS_NICE)
	for _, tt := range []struct {
		name          string
		first, second *syscall.SysProcAttr
		refused       bool
	}{
		{"user and user", documented, documented, false},
		{"user and root", documented, nil, false},
		{"root and user", nil, documented, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := vnet.Make(vnet.Options{Queues: 2, SenderQueues: 1}) // all arrives on queue 0
			testnet.NeedPrivilege(t, err)
			t.Cleanup(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			args := []string{"recv", "--mode", "native", "--frames", "8192", "-H", "256KiB", "--format", "json", "--verify"}
			first := start(t, options{at: &n.B, as: tt.first}, append(args, "--queues", "1", n.B.Addr4.String()+":7149")...)
			first.receiving(t)
			pid := fmt.Sprint(first.cmd.Process.Pid)
			second := start(t, options{at: &n.B, as: tt.second}, append(args, "--queues", "0", destination(n))...)
			if tt.refused {
				second.wait(t).check(t, exitError, "sx-b", "(process "+pid+")", "run both as user 0")
				first.signal(t, os.Interrupt)
				first.wait(t)
				return
			}
			second.receiving(t)
			everyThread(t, first.cmd.Process.Pid, "CapEff", noCapability)
			first.signal(t, os.Kill)
			first.wait(t)
			within(t, &n.A, "send", "-q", "--verify", "-H", "256KiB", "--packet", "8972", "--rate", "1", "--heaps", "20", destination(n)).check(t, 0)
			r := second.wait(t)
			r.check(t, 0)
			if s := lastSummary(t, r.stdout); s.VerifiedHeaps != 20 || s.Unaccounted != 0 {
				t.Errorf("summary %+v", s)
			}
			if attached(t, &n.B) {
				t.Error("a program stayed on the interface")
			}
		})
	}
}
