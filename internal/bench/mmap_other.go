// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bench

import (
	"fmt"
	"runtime"
)

// mapped is for Linux only.
type mapped struct{ size int }

func (*mapped) take() ([]byte, error) {
	return nil, fmt.Errorf("mapping pages is not supported on %s", runtime.GOOS)
}

func (*mapped) release() error { return nil }
