//go:build !race

package speadx_test

const raceEnabled = false
