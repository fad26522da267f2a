// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Package wakeup lets one thread wake others that wait. It needs Linux.
package wakeup

import (
	"errors"
	"runtime"
	"time"
)

// Event exists on Linux only.
type Event struct{}

// New fails: futex(2) is Linux's.
func New() (*Event, error) { return nil, errors.New("wakeup: not available on " + runtime.GOOS) }

// Signal does nothing.
func (*Event) Signal() {}

// Wait returns at once.
func (*Event) Wait(func() bool) {}

// WaitTimeout returns at once.
func (*Event) WaitTimeout(cond func() bool, _ time.Duration) bool { return cond() }

// Close does nothing.
func (*Event) Close() error { return nil }
