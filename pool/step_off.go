// SPDX-License-Identifier: Apache-2.0

//go:build !stepping

package pool

// step marks the places before and after each atomic step on shared state,
// where a test built with -tags stepping can suspend a goroutine. Here it is
// nothing, and compiles to nothing.
func step(string) {}
