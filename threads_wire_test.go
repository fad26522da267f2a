// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
)

// TestThreads: a thread that nothing comes for turns, and is idle. One that packets come
// for also works.
func TestThreads(t *testing.T) {
	n := newWire(t, testnet.Options{})
	for _, c := range []struct {
		mode speadx.Mode
		wait speadx.Wait
		name string
	}{
		{speadx.ModeNative, speadx.WaitPoll, n.B.Name + " queue 0"},
		{speadx.ModeNative, speadx.WaitSpin, n.B.Name + " queue 0"},
		{speadx.ModeUDP, speadx.WaitPoll, "udp " + endpoint(n, port)},
	} {
		t.Run(c.mode.String()+"-"+c.wait.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode, cfg.Wait, cfg.CPUs = c.mode, c.wait, []int{0}
			began := time.Now()
			r := open(t, n, cfg)
			await := func(what string, cond func(speadx.ThreadStats) bool) (s speadx.ThreadStats) {
				t.Helper()
				for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
					all := r.Threads()
					if len(all) != 1 {
						t.Fatalf("%d threads", len(all))
					}
					if s = all[0]; cond(s) {
						return s
					}
					if time.Now().After(deadline) {
						t.Fatalf("not %s after %v: %+v", what, patience, s)
					}
				}
			}
			s := await("idle for 3 turns", func(s speadx.ThreadStats) bool { return s.Turns >= 3 && s.State == speadx.ThreadWaiting })
			if s.Name != c.name || s.CPU != 0 || s.Idle < 200*time.Millisecond || s.Blocked != 0 {
				t.Errorf("idle: %+v, want the name %q", s, c.name)
			}
			if err := r.Alive(patience); err != nil {
				t.Error(err)
			}
			sendHeaps(t, n, send.Config{Heaps: 20, HeapSize: 64 << 10})
			if got := len(receive(t, r)); got != 20 {
				t.Errorf("%d heaps", got)
			}
			end := await("at its end", func(s speadx.ThreadStats) bool { return s.State == speadx.ThreadEnded })
			sum := end.Busy + end.Idle + end.Blocked
			if end.Busy <= s.Busy || end.Turns <= s.Turns || sum > time.Since(began) {
				t.Errorf("%+v, then %+v: %v in %v", s, end, sum, time.Since(began))
			}
			if err := r.Alive(0); err != nil {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}
