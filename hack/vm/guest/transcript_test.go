// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"bytes"
	"strings"
	"sync"
)

// transcript is what a program has printed so far.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed with the next Write
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	return w.text.Write(b)
}

// look reports whether text was printed, and what is closed when more was.
func (w *transcript) look(text string) (found bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.text.String(), text), w.changed
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
