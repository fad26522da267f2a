// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintln(os.Stderr, "cast: pseudoterminals are opened on Linux only, and this is", runtime.GOOS)
	os.Exit(1)
}
