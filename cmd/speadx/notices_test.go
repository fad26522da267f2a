// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A value cannot forge a line of the log, or speak to the terminal.
func TestNoticesAreOneLine(t *testing.T) {
	var b bytes.Buffer
	slog.New(newNotices(&b)).Warn("a setting changed", "value", "a\nerror: forged\x1b[2J", "origin", "obs.yaml:3")
	text := b.String()
	if strings.Count(text, "\n") != 1 || strings.Contains(text, "\x1b") || !strings.HasSuffix(text, "(origin obs.yaml:3)\n") {
		t.Errorf("%q", text)
	}
}
