// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Package bell lets one thread wake others that wait. It needs Linux.
package bell

import (
	"errors"
	"runtime"
	"time"
)

// Bell exists on Linux only.
type Bell struct{}

// New fails: futex(2) is Linux's.
func New() (*Bell, error) { return nil, errors.New("bell: not available on " + runtime.GOOS) }

// Ring does nothing.
func (*Bell) Ring() {}

// Wait returns at once.
func (*Bell) Wait(func() bool) {}

// WaitTimeout returns at once.
func (*Bell) WaitTimeout(cond func() bool, _ time.Duration) bool { return cond() }

// Close does nothing.
func (*Bell) Close() error { return nil }
