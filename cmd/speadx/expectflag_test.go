// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestExpectStep(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  expectStep
		wrong bool
	}{
		{"1", expectStep{0, 1}, false}, {"0x1600:4096", expectStep{0x1600, 4096}, false}, {"5632:0x1000", expectStep{0x1600, 4096}, false},
		{"", expectStep{}, true}, {"0", expectStep{}, true}, {"-1", expectStep{}, true}, {"1.5", expectStep{}, true}, {":1", expectStep{}, true},
		{"0x1600:", expectStep{}, true}, {"0:1", expectStep{}, true}, {"1:2:3", expectStep{}, true}, {"99999999999999999999", expectStep{}, true},
	} {
		var e expectStep
		err := e.Set(tt.text)
		if (err != nil) != tt.wrong || e != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, e, err)
		}
		if again := (expectStep{}); err == nil && (again.Set(e.String()) != nil || again != e) {
			t.Errorf("%q prints as %q", tt.text, e.String())
		}
	}
}
