// SPDX-License-Identifier: Apache-2.0

//go:build !race

package cache

// race says that the race detector watches.
const race = false
