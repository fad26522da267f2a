// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bench

import (
	"context"
	"fmt"
	"runtime"
)

// Receive is for Linux only.
func Receive(context.Context, VethOptions, func(Result)) error {
	return fmt.Errorf("bench veth: AF_XDP is not supported on %s", runtime.GOOS)
}
