// SPDX-License-Identifier: Apache-2.0

//go:build stepping

package heap

// StepHook is called, if set, at every step: before and after each atomic
// operation on shared state. It exists only under the build tag "stepping".
var StepHook func(point string)

func step(point string) {
	if f := StepHook; f != nil {
		f(point)
	}
}
