// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"strconv"

	"github.com/speadx/speadx/internal/units"
)

// evenTicks labels multiples of 1, 2 or 5 times a power of 10: five to ten of them.
func evenTicks(low, high float64) []Tick { return ticks(low, high, 0) }

// wholeTicks labels whole numbers only.
func wholeTicks(low, high float64) []Tick { return ticks(low, high, 1) }

func ticks(low, high, least float64) (all []Tick) {
	power := math.Floor(math.Log10((high - low) / 5))
	step := math.Pow(10, power)
	switch n := (high - low) / step; {
	case n > 25:
		step *= 5
	case n > 10:
		step *= 2
	}
	step = max(step, least)
	digits := max(0, -int(math.Floor(math.Log10(step))))
	for i := math.Ceil(low / step); i*step <= high*(1+1e-9) && len(all) < 20; i++ {
		all = append(all, Tick{At: i * step, Text: strconv.FormatFloat(i*step, 'f', min(digits, 9), 64)})
	}
	return all
}

// sizeTicks labels each power of 4.
func sizeTicks(low, high float64) (all []Tick) {
	for v := int64(1); v <= maxCount && float64(v) <= high; v *= 4 {
		if float64(v) >= low {
			all = append(all, Tick{At: float64(v), Text: units.Size(v).String()})
		}
	}
	return all
}

// timeTicks labels each power of 10 of a time in ns.
func timeTicks(low, high float64) (all []Tick) {
	units := []string{"ns", "µs", "ms", "s"}
	for e := 0; e <= 12; e++ {
		if v := math.Pow10(e); v >= low && v <= high {
			unit := min(e/3, len(units)-1)
			label := strconv.FormatFloat(math.Pow10(e-3*unit), 'f', -1, 64) + " " + units[unit]
			all = append(all, Tick{At: v, Text: label})
		}
	}
	return all
}
