// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package send

import (
	"fmt"
	"math"
	"runtime"
	"time"
)

func precise() (restore func()) { return func() {} }

func sleep(d time.Duration) { time.Sleep(d) }

func availableMemory() int64 { return math.MaxInt64 }

func openBlast(*Config, engine) (runner, error) {
	return nil, fmt.Errorf("engine blast is not supported on %s", runtime.GOOS)
}

func openEngine(*Config) (engine, error) {
	return nil, fmt.Errorf("sending is not supported on %s", runtime.GOOS)
}
