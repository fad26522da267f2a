// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestHeapCount(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "": -1, "-1": -1, "x": -1, "1.5": -1, "99999999999999999999": -1} {
		var c heapCount
		if err := c.Set(text); (err == nil) != (want >= 0) || (c.n == nil) != (want < 0) || c.n != nil && (*c.n != uint64(want) || c.String() != text) {
			t.Errorf("%q: %v, %v", text, c.String(), err)
		}
	}
}
