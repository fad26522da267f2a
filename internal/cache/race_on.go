//go:build race

package cache

// race says that the race detector watches.
const race = true
