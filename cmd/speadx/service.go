// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
)

// statusInterval is how often a service manager gets the figures of reception.
const statusInterval = 5 * time.Second

// service keeps a service manager informed, as sd_notify(3) describes: when reception
// begins and ends, and how it goes. It feeds the watchdog as long as every receiving
// thread makes progress.
type service struct {
	send     func(state string) error
	alive    func(within time.Duration) error
	status   func() string
	watchdog time.Duration // after which the manager ends a silent program; 0: never
	interval time.Duration // between two statuses
	stderr   io.Writer

	stuck  bool // the watchdog is not fed
	failed bool // the manager could not be reached
	once   sync.Once
	end    chan struct{}
	done   chan struct{}
}

// startService tells the service manager that reception has begun. It returns nil if no
// manager started this process, and wants to know. Reception ends when ctx is done, or
// by itself.
func startService(ctx context.Context, r *speadx.Receiver, stderr io.Writer) *service {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		fmt.Fprintf(stderr, "warning: the watchdog of the service manager is not fed: WATCHDOG_USEC=%q, WATCHDOG_PID=%q: %v\n",
			os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), err)
	}
	s := &service{
		send:  func(state string) error { _, err := daemon.SdNotify(false, state); return err },
		alive: r.Alive, status: rates(r), watchdog: watchdog, interval: statusInterval, stderr: stderr,
	}
	s.start(ctx.Done(), r.Done())
	return s
}

// rates returns a function that says what has happened since its last call.
func rates(r *speadx.Receiver) func() string {
	last, at := r.Stats(), time.Now()
	return func() string {
		s, now := r.Stats(), time.Now()
		text := statusText(&last, &s, now.Sub(at))
		last, at = s, now
		return text
	}
}

// statusText is one line: what happened between two looks at the counters.
func statusText(a, b *speadx.Stats, d time.Duration) string {
	before, now := a.Heaps(), b.Heaps()
	return fmt.Sprintf("%.3f Gb/s, %.1f heaps/s, %d heaps, %s", report.Gbps(b.Payload-a.Payload, d),
		float64(now[ledger.HeapsComplete]-before[ledger.HeapsComplete])/d.Seconds(), now[ledger.HeapsComplete], lossText(a, b, now[ledger.HeapsIncomplete]))
}

// start sends READY=1, and goes on until stop. The channels say that reception ends.
func (s *service) start(told, ended <-chan struct{}) {
	s.end, s.done = make(chan struct{}), make(chan struct{})
	s.notify(daemon.SdNotifyReady + "\nSTATUS=receiving")
	go s.run(told, ended)
}

func (s *service) run(told, ended <-chan struct{}) {
	defer close(s.done)
	status := time.NewTicker(s.interval)
	defer status.Stop()
	var feed <-chan time.Time
	if s.watchdog > 0 {
		// More often than the half that sd_watchdog_enabled(3) recommends: this machine may be busy.
		t := time.NewTicker(max(s.watchdog/4, time.Millisecond))
		defer t.Stop()
		feed = t.C
		s.feed()
	}
	stopping := false
	begin := func() {
		if !stopping {
			stopping = true
			s.notify(daemon.SdNotifyStopping + "\nSTATUS=ending reception")
		}
		told, ended = nil, nil
	}
	for {
		select {
		case <-told:
			begin()
		case <-ended:
			begin()
		case <-s.end:
			begin()
			return
		case <-feed:
			s.feed()
		case <-status.C:
			if !stopping && !s.stuck {
				s.notify("STATUS=" + s.status())
			}
		}
	}
}

// feed feeds the watchdog, if every receiving thread makes progress. A thread that does
// not is allowed half the time that the manager allows the program.
func (s *service) feed() {
	err := s.alive(s.watchdog / 2)
	if err == nil {
		s.stuck = false
		s.notify(daemon.SdNotifyWatchdog)
		return
	}
	s.notify("STATUS=" + message(err))
	if !s.stuck {
		s.stuck = true
		fmt.Fprintf(s.stderr, "warning: the watchdog is not fed: %s\n", message(err))
	}
}

func (s *service) notify(state string) {
	if err := s.send(state); err != nil && !s.failed {
		s.failed = true
		fmt.Fprintf(s.stderr, "warning: the service manager is not told how reception goes: NOTIFY_SOCKET=%q: %v\n", os.Getenv("NOTIFY_SOCKET"), err)
	}
}

// stop tells the manager that the program ends, if it does not know; nil has no manager.
func (s *service) stop() {
	if s == nil {
		return
	}
	s.once.Do(func() { close(s.end) })
	<-s.done
}
