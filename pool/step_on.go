// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package pool

// StepHook is called before and after each atomic step on shared state, with a
// name for the place; a test may suspend the goroutine in it. Set it while no
// goroutine is in the package.
var StepHook func(point string)

func step(point string) {
	if StepHook != nil {
		StepHook(point)
	}
}
