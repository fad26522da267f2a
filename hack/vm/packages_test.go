// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

func TestChooseKernel(t *testing.T) {
	names := []string{
		"linux-image-6.1.0-47-amd64", "linux-image-6.1.0-9-amd64", "linux-image-6.1.0-50-amd64", "linux-image-6.1.0-53-amd64-unsigned",
		"linux-image-6.1.0-60-cloud-amd64", "linux-image-6.1.0-60-rt-amd64", "linux-image-6.1.0-60-amd64-dbg",
		"linux-image-6.12.43+deb12-amd64", "linux-image-6.12.90+deb12.1-amd64", "linux-image-6.12.117+deb13-amd64", "linux-image-6.12.9+deb13-amd64",
		"linux-image-7.2.12+deb13-amd64", "linux-image-7.3.4+deb13-amd64", "linux-binary-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64",
		"linux-image-amd64", "linux-headers-9.1.0-amd64",
	}
	for _, tt := range []struct {
		series string
		want   []string
	}{
		{"6.1", []string{"linux-image-6.1.0-50-amd64"}},
		{"6.12", []string{"linux-image-6.12.117+deb13-amd64"}},
		{"7.2", []string{"linux-image-7.2.12+deb13-amd64"}},
		{"newest", []string{"linux-binary-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64"}},
		{"5.10", nil},
	} {
		got, err := chooseKernel(names, tt.series)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("series %s: %q, %v; want %q", tt.series, got, err, tt.want)
		}
	}
}

func TestFindSource(t *testing.T) {
	const (
		stanzas = `Types: deb
URIs: https://vendor.example/apt
Suites: stable
Components: main

# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
  bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb-src
URIs: http://mirror.example/sources
Suites: trixie
`
		lines = `# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/d.asc] http://mirror.example/debian bookworm main contrib
deb http://other.example/debian trixie main
`
	)
	for _, tt := range []struct {
		name, text, suite string
		stanzas           bool
		uri, key          string // "": not found
	}{
		{"deb822", stanzas, "bookworm", true, "http://mirror.example/debian", "/usr/share/keyrings/debian.gpg"},
		{"deb822, folded", stanzas, "bookworm-updates", true, "http://mirror.example/debian", "/usr/share/keyrings/debian.gpg"},
		{"deb822, sources only", stanzas, "trixie", true, "", ""},
		{"one line", lines, "bookworm", false, "http://mirror.example/debian", "/etc/apt/keyrings/d.asc"},
		{"one line without a key", lines, "trixie", false, "http://other.example/debian", ""},
		{"none", lines, "sid", false, "", ""},
		{"no release", stanzas, "", true, "", ""},
		{"garbage", "\n\n \n:\n", "bookworm", true, "", ""},
	} {
		s, ok := findSource([]byte(tt.text), tt.suite, tt.stanzas)
		if s.uri != tt.uri || s.key != tt.key || ok != (tt.uri != "") {
			t.Errorf("%s: %+v, %t", tt.name, s, ok)
		}
	}
}
