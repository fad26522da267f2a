// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"runtime/debug"
	"testing"
)

// TestBuildOf: what the maker of a package gives comes first, then what the Go linker
// wrote down.
func TestBuildOf(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.1"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-28T00:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	for _, tt := range []struct {
		info    *debug.BuildInfo
		linked  string
		version string
		commit  string
		changed bool
	}{
		{nil, "", "(devel)", "", false},
		{&debug.BuildInfo{}, "", "(devel)", "", false},
		{info, "", "v0.1.1", "abc", true},
		{info, "0.2.0", "0.2.0", "abc", true},
	} {
		b := buildOf(tt.info, tt.linked)
		if b.Version != tt.version || b.Revision != tt.commit || b.Modified != tt.changed || b.Go == "" || b.System == "" {
			t.Errorf("%+v with %q: %+v", tt.info, tt.linked, b)
		}
	}
}

func TestVersion(t *testing.T) {
	r := program("version", "--format", "json")
	var b build
	if err := json.Unmarshal([]byte(r.stdout), &b); err != nil || r.status != 0 || b != thisBuild() {
		t.Errorf("%+v, %v", r, err)
	}
	if r := program("version", "--format", "xml"); r.status != exitUsage {
		t.Errorf("of an unknown format: %+v", r)
	}
}
