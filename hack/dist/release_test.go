// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
)

func TestSemantic(t *testing.T) {
	for _, c := range []struct{ described, want string }{
		{"v1.2.3-0-gfb129940a51e", "1.2.3"},
		{"v1.2.3-4-gfb129940a51e", "1.2.3+4.gfb129940a51e"},
		{"v1.2.3-rc.1-0-gfb129940a51e-dirty", "1.2.3-rc.1+dirty"},
		{"fb129940a51e", "0.0.0-dev.173+gfb129940a51e"},
		{"fb129940a51e-dirty", "0.0.0-dev.173+gfb129940a51e.dirty"},
		{"release-7", ""},
		{"", ""},
	} {
		got, err := semantic(c.described, "173")
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.described, got, err, c.want)
		}
		if err == nil && !isSemantic.MatchString(got) {
			t.Errorf("%q: %q is no semantic version", c.described, got)
		}
	}
}

func TestReleaseOfEnvironment(t *testing.T) {
	nowhere := t.TempDir() // no clone
	for _, c := range []struct {
		version, epoch, want string
		ok                   bool
	}{
		{"v1.2.3", "1700000000", "1.2.3", true},
		{"1.2.3-rc.1", "0", "1.2.3-rc.1", true},
		{"latest", "1700000000", "", false},
		{"1.2", "1700000000", "", false},
		{"1.2.3", "yesterday", "", false},
		{"1.2.3", "-1", "", false},
		{"1.2.3", "", "", false},
		{"", "1700000000", "", false},
	} {
		t.Setenv("VERSION", c.version)
		t.Setenv("SOURCE_DATE_EPOCH", c.epoch)
		got, err := releaseOf(nowhere)
		if (err == nil) != c.ok || c.ok && (got.version != c.want || got.environ() != "SOURCE_DATE_EPOCH="+c.epoch) {
			t.Errorf("VERSION=%q SOURCE_DATE_EPOCH=%q: %+v, %v", c.version, c.epoch, got, err)
		}
	}
}
