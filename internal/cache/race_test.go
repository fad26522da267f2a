// SPDX-License-Identifier: Apache-2.0

//go:build race

package cache

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestRace: the race detector sees long copies. A race fails the test that has it, and so
// the test runs in processes of its own.
func TestRace(t *testing.T) {
	const variable = "SPEADX_CACHE_RACE"
	copies := map[string]func(dst, src, next []byte) int{"Copy": Copy, "CopyPast": CopyPast}
	if f := copies[os.Getenv(variable)]; f != nil {
		dst, src := make([]byte, 4096), make([]byte, 4096)
		done := make(chan struct{})
		go func() {
			f(dst, src, nil)
			close(done)
		}()
		dst[2000]++
		<-done
		return
	}
	for name := range copies {
		c := exec.Command(os.Args[0], "-test.run=^TestRace$")
		c.Env = append(os.Environ(), variable+"="+name)
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "DATA RACE") {
			t.Errorf("%s: a race was not seen: %v\n%s", name, err, out)
		}
	}
}
