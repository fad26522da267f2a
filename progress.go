// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Stage is a part of what [Open] does.
type Stage uint8

// The stages, in their order. The first two come again where AF_XDP fails and UDP sockets
// are used, or where attaching the program adds queues: the pool then has another size.
const (
	StageMemory  Stage = iota // the memory of the pool is mapped and touched
	StageAttach               // the program is attached to a device, and its queues are opened
	StageCarrier              // Open waits for the carrier of a device
	StageJoin                 // multicast groups are joined
	StageReady                // packets are being taken
)

var stageNames = [...]string{"memory", "attach", "carrier", "join", "ready"}

// String is the stage's name: memory, attach, carrier, join or ready.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// Progress is how far [Open] has come: see [Config.Progress].
type Progress struct {
	Stage          Stage
	Device         string        // in the stages attach and carrier
	Touched, Total int64         // bytes of the pool, in and after the stage memory; Total is 0 before it is known
	Elapsed        time.Duration // since Open was called
}

const (
	// reportInterval is how often Config.Progress is called within one stage, at most.
	reportInterval = 100 * time.Millisecond
	// logInterval is how often the start is logged, at most.
	logInterval = time.Second
)

// opening tells how far Open has come, and ends it when the context is done.
type opening struct {
	ctx    context.Context
	report func(Progress)
	log    *slog.Logger
	began  time.Time

	mu       sync.Mutex // held while report runs
	now      Progress
	reported time.Time
	logged   time.Time
}

func newOpening(ctx context.Context, c *Config) *opening {
	s := &opening{ctx: ctx, report: c.Progress, log: c.Logger, began: time.Now()}
	s.logged = s.began // a start that takes less than a second needs no line
	if s.report == nil {
		s.report = func(Progress) {}
	}
	return s
}

// stage begins a stage. The error is the context's.
func (s *opening) stage(stage Stage, device string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Stage, s.now.Device = stage, device
	s.tell(time.Now())
	return s.ctx.Err()
}

// touched is told, by several threads, how much memory has been touched. The error is the
// context's.
func (s *opening) touched(bytes, of int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Threads overtake each other between counting and calling. Fewer bytes than before, of
	// as many, are old news, unless touching begins again.
	if int64(of) != s.now.Total || bytes == 0 || int64(bytes) > s.now.Touched {
		s.now.Touched, s.now.Total = int64(bytes), int64(of)
	}
	now := time.Now()
	if bytes == 0 || bytes == of || now.Sub(s.reported) >= reportInterval {
		s.tell(now)
	}
	if now.Sub(s.logged) >= logInterval {
		s.logged = now
		s.log.Info("touching the pool's memory", "stage", StageMemory.String(), "touched", s.now.Touched, "total", s.now.Total)
	}
	return s.ctx.Err()
}

// tell calls report. The caller holds mu.
func (s *opening) tell(now time.Time) {
	s.reported = now
	s.now.Elapsed = now.Sub(s.began)
	s.report(s.now)
}

// cancelled is told, by several threads, of memory that is not the pool's. The error is the
// context's.
func (s *opening) cancelled(int, int) error { return s.ctx.Err() }

// failed is the error of Open. Where the context has ended it, it says in which stage.
func (s *opening) failed(err error) error {
	if s.ctx.Err() == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Stage == StageMemory && s.now.Total > 0 {
		return fmt.Errorf("speadx: the start was ended when %d of %d bytes of the pool had been touched: %w", s.now.Touched, s.now.Total, s.ctx.Err())
	}
	return fmt.Errorf("speadx: the start was ended in the stage %v: %w", s.now.Stage, s.ctx.Err())
}
