// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameSignal is for how long further signals belong to the first. timeout(1) sends its
// signal to the process and then to its group.
const sameSignal = 500 * time.Millisecond

// endSignals are the signals that end a command in order. SIGHUP is none where hangup is
// false, or where the process was started to ignore it, as by nohup.
func endSignals(hangup bool) []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGXCPU}
	if hangup && !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// untilSignal returns a context that the first signal ends. A second SIGINT or SIGTERM ends
// the process at once. A second SIGHUP does not: the shell and the kernel both send one when
// a terminal is closed. systemd sends one after SIGTERM (SendSIGHUP=). stop is called
// when the command has ended.
func untilSignal(parent context.Context, hangup bool) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	came := make(chan os.Signal, 8)
	signal.Notify(came, endSignals(hangup)...)
	end := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case <-end:
				return
			case s := <-came:
				switch now := time.Now(); {
				case first.IsZero():
					first = now
					cancel()
				case endsAtOnce(s, now.Sub(first)):
					dieOf(s)
				}
			}
		}
	}()
	return ctx, func() {
		cancel()
		if ownProcess {
			return // a signal that comes now must not change the exit status
		}
		signal.Stop(came)
		close(end)
	}
}

// endsAtOnce reports whether a signal that comes so long after the first ends the process.
func endsAtOnce(s os.Signal, after time.Duration) bool {
	return (s == os.Interrupt || s == syscall.SIGTERM) && after > sameSignal
}

// dieOf ends the process as if the signal had not been caught. The first process of a PID
// namespace survives that.
func dieOf(s os.Signal) {
	number := s.(syscall.Signal)
	signal.Reset(number)
	_ = syscall.Kill(os.Getpid(), number)
	time.Sleep(100 * time.Millisecond)
	os.Exit(128 + int(number))
}
