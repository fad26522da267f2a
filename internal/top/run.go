// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

const (
	interval = time.Second
	// maxInterval is the time between two attempts where the receiver does not answer.
	maxInterval = 8 * time.Second
)

// Once writes the state as text: rates are those of one second. It does not wait for
// that second if the receiver has ended.
func Once(ctx context.Context, c *Client, w io.Writer, wait time.Duration) error {
	var h history
	if err := h.fetch(ctx, c); err != nil {
		return err
	}
	if ended := h.view.Now.ended(); !ended {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if err := h.fetch(ctx, c); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, strings.Join(h.view.Render(0, 0, false), "\n")+"\n")
	return err
}

func (s *Snapshot) ended() bool {
	for _, t := range s.Threads {
		if t.State != "ended" {
			return false
		}
	}
	return len(s.Threads) > 0
}

// history are the answers of the last seconds.
type history struct {
	view     View
	past     []*Snapshot
	answered time.Time
	silent   float64 // when the last packet was seen to come, by the receiver's clock
}

func (h *history) fetch(ctx context.Context, c *Client) error {
	s, err := c.Fetch(ctx)
	if err != nil {
		h.view.Err = err
		return err
	}
	h.take(s, c.Host())
	return nil
}

func (h *history) take(s *Snapshot, host string) {
	h.answered = time.Now()
	before := h.view.Now
	if before != nil && (s.Packets < before.Packets || s.Time < before.Time || s.Seconds < before.Seconds) {
		before, h.past = nil, nil // another run
	}
	if before == nil || s.Packets > before.Packets {
		h.silent = s.Time
	}
	h.past = append(h.past, s)
	for len(h.past) > 2 && h.past[1].Time <= s.Time-recent {
		h.past = h.past[1:]
	}
	h.view = View{Host: host, Now: s, Before: before, Past: h.past[0], Silent: s.Time - h.silent}
}

// Screen is a terminal: keys come from In, the picture goes to Out.
type Screen struct {
	In, Out *os.File
	Colour  bool
}

// The alternate screen without a cursor, and back.
const (
	enter  = "\x1b[?1049h\x1b[?25l"
	leave  = "\x1b[?25h\x1b[?1049l"
	home   = "\x1b[H"
	toEnd  = "\x1b[J"
	endRow = "\x1b[K\r\n"
)

// Show shows the receiver until q, Ctrl-C or a signal. The terminal is then as it was. An
// error of the first answer is returned; later ones are shown.
func (s *Screen) Show(ctx context.Context, c *Client) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var h history
	if err := h.fetch(ctx, c); err != nil {
		return err
	}
	keys := make(chan struct{})
	if fd := int(s.In.Fd()); term.IsTerminal(fd) {
		state, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("preparing the terminal: %w", err)
		}
		defer term.Restore(fd, state)
		go quitKey(s.In, keys)
	}
	if _, err := io.WriteString(s.Out, enter); err != nil {
		return err
	}
	defer func() {
		if _, e := io.WriteString(s.Out, leave); err == nil {
			err = e
		}
	}()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	return s.loop(ctx, c, &h, keys, resized)
}

func (s *Screen) loop(ctx context.Context, c *Client, h *history, quit <-chan struct{}, resized <-chan os.Signal) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answers := make(chan answer, 1)
	waiting, next, wait := false, time.Now().Add(interval), interval
	for {
		if err := s.draw(h); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-quit:
			return nil
		case <-resized:
		case a := <-answers:
			waiting = false
			if a.err != nil {
				h.view.Err, wait = a.err, min(2*wait, maxInterval)
			} else {
				wait = interval
				h.take(a.snapshot, c.Host())
			}
			next = a.asked.Add(wait)
		case now := <-tick.C:
			if !waiting && !now.Before(next.Add(-interval/10)) {
				waiting = true
				go func() {
					snapshot, err := c.Fetch(ctx)
					answers <- answer{snapshot, err, now}
				}()
			}
		}
	}
}

type answer struct {
	snapshot *Snapshot
	err      error
	asked    time.Time
}

func (s *Screen) draw(h *history) error {
	width, height, err := term.GetSize(int(s.Out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	h.view.Age = time.Since(h.answered).Seconds()
	var b strings.Builder
	b.WriteString(home)
	lines := h.view.Render(width, height-1, s.Colour)
	for _, l := range lines {
		b.WriteString(l + endRow)
	}
	b.WriteString(toEnd)
	_, err = io.WriteString(s.Out, b.String())
	return err
}

// quitKey closes the channel when q or Ctrl-C is typed, or when there is no more input.
func quitKey(r io.Reader, quit chan<- struct{}) {
	defer close(quit)
	buf := make([]byte, 64)
	for {
		n, err := r.Read(buf)
		for _, key := range buf[:n] {
			if key == 'q' || key == 'Q' || key == 3 {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
