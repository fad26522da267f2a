// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestStrict: the exit status reports whether the run was as asked for, and the verdict says it
// in the last line of the text and in JSON.
func TestStrict(t *testing.T) {
	clean, lossy := capturePath("plain-64-48"), capturePath("lossy")
	nothing := []string{"--duration", "20ms", "--mode", "udp", "127.0.0.1:" + freePort(t)}
	heaps := lastSummary(t, program("recv", "-q", "--format", "json", clean).stdout).CompleteHeaps
	for _, tt := range []struct {
		name   string
		status int
		args   []string
		codes  []string
	}{
		{"clean", 0, []string{clean}, nil},
		{"clean, strict", 0, []string{"--strict", clean}, nil},
		{"as many as expected", 0, []string{"--strict", "--expect-heaps", fmt.Sprint(heaps), clean}, nil},
		{"one too few", exitAmiss, []string{"--expect-heaps", fmt.Sprint(heaps + 1), clean}, []string{"too_few_heaps"}},
		{"one too many", exitAmiss, []string{"--expect-heaps", fmt.Sprint(heaps - 1), clean}, []string{"too_many_heaps"}},
		{"none expected", exitAmiss, []string{"--expect-heaps", "0", clean}, []string{"too_many_heaps"}},
		{"nothing", 0, nothing, []string{"nothing_received"}},
		{"nothing, strict", exitAmiss, append([]string{"--strict"}, nothing...), []string{"nothing_received"}},
		{"nothing, and some expected", exitAmiss, append([]string{"--expect-heaps", "1"}, nothing...), []string{"nothing_received", "too_few_heaps"}},
		{"nothing, as expected", 0, append([]string{"--strict", "--expect-heaps", "0"}, nothing...), nil},
		{"lost and discarded", 0, []string{lossy}, []string{"heaps_lost", "heaps_discarded"}},
		{"lost and discarded, strict", exitAmiss, []string{"--strict", lossy}, []string{"heaps_lost", "heaps_discarded"}},
		{"incomplete, strict", exitAmiss, []string{"--strict", "--incomplete", lossy}, []string{"heaps_lost"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"recv", "-q", "-H", "64KiB", "--ring-heaps", "8"}, tt.args...)
			r := start(t, options{}, args...).wait(t)
			r.check(t, tt.status)
			lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
			last, want := lines[len(lines)-1], "["+strings.Join(tt.codes, " ")+"]"
			if tt.codes == nil {
				want = "verdict: ok"
			}
			if !strings.HasPrefix(last, "verdict: ") || !strings.HasSuffix(last, want) {
				t.Errorf("the last line is %q, want %q", last, want)
			}
			r = program(append(args, "--format", "json")...)
			r.check(t, tt.status)
			if v := lastSummary(t, r.stdout).Verdict; v.OK != (tt.codes == nil) || !slices.Equal(v.Codes, append([]string{}, tt.codes...)) {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}
