// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/ledger"
)

// notices prints what the receiver logs as a line that begins with the level. A diagnosis
// is printed as its sentence, with the names of flags, and its code in brackets.
type notices struct {
	mu *sync.Mutex
	w  io.Writer
}

func newNotices(w io.Writer) slog.Handler { return &notices{&sync.Mutex{}, w} }

// Enabled implements [slog.Handler].
func (*notices) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements [slog.Handler].
func (n *notices) Handle(_ context.Context, r slog.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if d, ok := a.Value.Any().(ledger.Diagnosis); ok {
			text = fmt.Sprintf("%s [%s]", d.Sentence(flagname.Name), d.Code)
			return true
		}
		text += fmt.Sprintf(" (%s %s)", a.Key, inLine(a.Value.String()))
		return true
	})
	_, err := fmt.Fprintf(n.w, "%s: %s\n", map[slog.Level]string{slog.LevelInfo: "note", slog.LevelWarn: "warning", slog.LevelError: "error"}[r.Level], text)
	return err
}

// inLine quotes what would change the line, or the terminal.
func inLine(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// WithAttrs implements [slog.Handler]; the receiver does not use it.
func (n *notices) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup implements [slog.Handler]; the receiver does not use it.
func (n *notices) WithGroup(string) slog.Handler { return n }
