//go:build race

package speadx_test

const raceEnabled = true
