package main

import "testing"

// TestStrict: the exit status says whether the run was as asked for.
func TestStrict(t *testing.T) {
	for _, tt := range []struct {
		status int
		args   []string
	}{
		{0, nil},
		{3, []string{"--strict"}},
		{3, []string{"--strict", "--incomplete"}},
		{3, []string{"--expect-heaps", "5"}},
	} {
		args := append([]string{"recv", "-q", "-H", "64KiB", "--ring-heaps", "8"}, tt.args...)
		program(append(args, capturePath("lossy"))...).check(t, tt.status, "lost or incomplete")
	}
}
