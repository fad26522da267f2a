// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package pages

import (
	"fmt"
	"runtime"
)

// Map is for Linux only: elsewhere it returns an error.
func Map(int, Options) (*Mapping, error) {
	return nil, fmt.Errorf("mapping pages is not supported on %s", runtime.GOOS)
}
