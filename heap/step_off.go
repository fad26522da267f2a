// SPDX-License-Identifier: Apache-2.0

//go:build !stepping

package heap

// step marks a point before or after an atomic operation on shared state.
// Built with the tag "stepping" it lets a test suspend the thread there.
func step(string) {}
