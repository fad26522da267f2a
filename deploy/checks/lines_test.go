// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is what a process has written so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) await(t *testing.T, text string) {
	t.Helper()
	awaits(t, text, func() (bool, string) { s := l.String(); return strings.Contains(s, text), s })
}

// awaits waits until cond holds. What it returns beside is shown if it never does.
func awaits(t *testing.T, what string, cond func() (bool, string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		ok, text := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %v: %s", what, patience, text)
		}
	}
}

// heaps are the counts of the heaps in the output of recv --format json, in order.
func heaps(t *testing.T, text string) (counts []uint64) {
	t.Helper()
	for line := range strings.Lines(text) {
		var h struct {
			Cnt *uint64 `json:"cnt"`
		}
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if h.Cnt != nil {
			counts = append(counts, *h.Cnt)
		}
	}
	slices.Sort(counts)
	return counts
}
