// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestStartIsLogged: a start that lasts is logged once a second, with attributes, and old
// news of a thread that was overtaken is not told.
func TestStartIsLogged(t *testing.T) {
	var text strings.Builder
	var last Progress
	s := newOpening(t.Context(), &Config{
		Logger:   slog.New(slog.NewTextHandler(&text, nil)),
		Progress: func(p Progress) { last = p },
	})
	touch := func(bytes int) {
		t.Helper()
		if err := s.touched(bytes, 100); err != nil {
			t.Fatal(err)
		}
	}
	touch(0)
	touch(10)
	if text.Len() > 0 {
		t.Errorf("a start that has just begun is logged: %s", text.String())
	}
	s.logged = s.logged.Add(-logInterval)
	touch(30)
	touch(40)
	if got := strings.Count(text.String(), "\n"); got != 1 || !strings.Contains(text.String(), "stage=memory touched=30 total=100") {
		t.Errorf("%d lines: %s", got, text.String())
	}
	s.reported = time.Time{}
	touch(20)
	if last.Touched != 40 {
		t.Errorf("%d bytes after 40", last.Touched)
	}
	s.reported = time.Time{}
	touch(0)
	if last.Touched != 0 {
		t.Errorf("%d bytes when touching begins again", last.Touched)
	}
}

// TestStageNames: each stage has a name, and an unknown one is no index of a table.
func TestStageNames(t *testing.T) {
	for s := range Stage(len(stageNames)) {
		if s.String() == "" {
			t.Errorf("stage %d has no name", uint8(s))
		}
	}
	if got := Stage(99).String(); got != "stage 99" {
		t.Error(got)
	}
	s := newOpening(context.Background(), &Config{Logger: slog.New(slog.DiscardHandler)})
	if err := s.stage(StageReady, ""); err != nil || s.now.Stage != StageReady {
		t.Errorf("%v in %v", err, s.now.Stage)
	}
}
