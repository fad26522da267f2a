// SPDX-License-Identifier: Apache-2.0

//go:build !manpages

package main

import "os"

func main() {
	ownProcess = true
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
