// SPDX-License-Identifier: Apache-2.0

//go:build race

package heap

// raceEnabled says that the race detector is on. It knows of no order that atomic
// operations make in memory that is not Go's, so that tables are in Go's memory then.
const raceEnabled = true
