// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Look is how a contestant is drawn in all charts of a report. Colour alone identifies
// none: of the first 24 looks no two have the same marker, which is shape and fill.
type Look struct {
	Light string    `json:"light"` // the colour on white, as #rrggbb
	Dark  string    `json:"dark"`  // on a dark ground
	Shape string    `json:"shape"` // an SVG path, within 6 of the origin
	Fill  int       `json:"fill"`  // of the marker and of bars: FillSolid, FillHollow or FillDotted
	Dash  []float64 `json:"dash"`  // of lines; none: solid

	Outline [][2]float64 `json:"-"` // the corners of Shape; y points down
}

// How a look fills. Bars of a hollow look are hatched, and those of a dotted one crossed.
const (
	FillSolid = iota
	FillHollow
	FillDotted
	numFills
)

// colours are those of Okabe and Ito, for all sorts of colour vision. Some are darker on
// white and lighter on a dark ground, so that each has a contrast of 3 with its ground.
var colors = [8]struct{ light, dark string }{
	{"#0072b2", "#4c9fdc"}, // blue
	{"#d55e00", "#f07f3c"}, // vermillion
	{"#009e73", "#2fbf93"}, // green
	{"#b9608f", "#dd92bd"}, // purple
	{"#b87d00", "#f0b429"}, // orange
	{"#2f8fc9", "#9ad6ff"}, // sky blue
	{"#000000", "#f2f2f2"}, // black
	{"#787878", "#a3acb5"}, // grey
}

var dashes = [numFills][]float64{{}, {8, 4}, {2, 3}}

// shapes are the outlines of markers.
var shapes = func() [8][][2]float64 {
	const arm, end = 1.9, 5.3
	plus := [][2]float64{
		{-arm, -end}, {arm, -end}, {arm, -arm}, {end, -arm}, {end, arm}, {arm, arm},
		{arm, end}, {-arm, end}, {-arm, arm}, {-end, arm}, {-end, -arm}, {-arm, -arm},
	}
	var cross [][2]float64
	for _, p := range plus {
		cross = append(cross, [2]float64{(p[0] - p[1]) * math.Sqrt2 / 2, (p[0] + p[1]) * math.Sqrt2 / 2})
	}
	return [8][][2]float64{
		around(24, 4.8, 4.8),
		{{-4.4, -4.4}, {4.4, -4.4}, {4.4, 4.4}, {-4.4, 4.4}},
		{{0, -5.5}, {4.9, 3.7}, {-4.9, 3.7}},
		{{0, -5.8}, {5.8, 0}, {0, 5.8}, {-5.8, 0}},
		{{0, 5.5}, {4.9, -3.7}, {-4.9, -3.7}},
		plus,
		around(10, 5.9, 2.6), // a star
		cross,
	}
}()

// around returns n corners, in turn at one distance from the origin and at the other.
func around(n int, even, odd float64) (corners [][2]float64) {
	for i := range n {
		r := even
		if i%2 == 1 {
			r = odd
		}
		sin, cos := math.Sincos(2*math.Pi*float64(i)/float64(n) - math.Pi/2)
		corners = append(corners, [2]float64{r * cos, r * sin})
	}
	return corners
}

// numMarkers looks have a marker of their own. Of numLooks no two have both marker and
// colour in common.
const (
	numMarkers = len(colors) * numFills
	numLooks   = numMarkers * len(colors)
)

// lookAt returns the look with a number. From numLooks upwards looks recur.
func lookAt(i int) Look {
	color, fill := i%len(colors), i/len(colors)%numFills
	outline := shapes[(color+3*fill+i/numMarkers)%len(shapes)]
	l := Look{Light: colors[color].light, Dark: colors[color].dark, Fill: fill, Dash: dashes[fill], Outline: outline}
	var b strings.Builder
	for k, p := range outline {
		b.WriteByte("ML"[min(k, 1)])
		b.WriteString(strconv.FormatFloat(p[0], 'f', 2, 64) + " " + strconv.FormatFloat(p[1], 'f', 2, 64))
	}
	l.Shape = b.String() + "Z"
	return l
}

// fixed are the looks of the contestants that a bench of today has. They are the same in
// every report. Those of one kin have one colour, in different fills.
var fixed = map[string]int{
	Native: 0, Spin: 8, Generic: 16,
	"speadx": 5, Default: 13, Sockets: 21,
	Spead2: 1, Spead2Stock: 9,
	Spead2Tuned: 4, Spead2Bench: 12,
	Drain: 2, DrainNap: 10,
	"copy": 6, DrainCopy: 7,
	Asavie: 3, "make": 11,
	"sync.Pool": 14, "mmap": 15,
}

// looksOf gives each contestant of results the number of its look. One that has no fixed
// look gets the first that is free.
func looksOf(results []Result) map[string]int {
	taken := make([]int, 0, len(fixed))
	for _, i := range fixed {
		taken = append(taken, i)
	}
	looks, next := map[string]int{}, 0
	for i := range results {
		name := results[i].Contestant
		if _, ok := looks[name]; ok {
			continue
		}
		if at, ok := fixed[name]; ok {
			looks[name] = at
			continue
		}
		for slices.Contains(taken, next) {
			next++
		}
		looks[name] = next
		next++
	}
	return looks
}
