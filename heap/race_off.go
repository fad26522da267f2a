// SPDX-License-Identifier: Apache-2.0

//go:build !race

package heap

// raceEnabled says that the race detector is on: see race_on.go.
const raceEnabled = false
