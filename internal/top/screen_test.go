// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal whose picture a test reads.
type terminal struct {
	master, slave *os.File

	mu   sync.Mutex
	text strings.Builder
	more *sync.Cond
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{master: os.NewFile(uintptr(fd), "/dev/ptmx")}
	p.more = sync.NewCond(&p.mu)
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if p.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.slave.Close(); p.master.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := p.master.Read(buf)
			p.mu.Lock()
			p.text.Write(buf[:n])
			p.more.Broadcast()
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p
}

// await waits until the terminal has shown a text, and forgets what came before it.
func (p *terminal) await(t *testing.T, text string) {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { p.more.Broadcast() })
	defer timer.Stop()
	end := time.Now().Add(20 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		all := p.text.String()
		if i := strings.Index(all, text); i >= 0 {
			p.text.Reset()
			p.text.WriteString(all[i+len(text):])
			return
		}
		if !time.Now().Before(end) {
			t.Fatalf("the terminal does not show %q, but %q", text, all)
		}
		p.more.Wait()
	}
}

func (p *terminal) size(t *testing.T, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

func (p *terminal) state(t *testing.T) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

// The picture comes and changes, also with the size of the terminal, and says when the
// receiver no longer answers. Each way to end it leaves the terminal as it was.
func TestShow(t *testing.T) {
	for _, key := range []string{"q", "\x03", "\x1b[AxQ", "signal"} {
		t.Run(strconv.Quote(key), func(t *testing.T) {
			var answers atomic.Int64
			var gone atomic.Bool
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if gone.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				_, _ = w.Write(scene(t, 2, 50+float64(answers.Add(1)), true))
			}))
			defer s.Close()
			p := newTerminal(t)
			p.size(t, 60, 24)
			before := p.state(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- (&Screen{In: p.slave, Out: p.slave}).Show(ctx, client(t, s.URL, "")) }()
			p.await(t, enter)
			p.await(t, "receiving for 51 s")
			if during := p.state(t); during.Lflag&unix.ECHO != 0 {
				t.Error("the terminal echoes keys")
			}
			if key == "q" {
				p.await(t, "receiving for 52 s")
				p.size(t, 150, 50)
				if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
					t.Fatal(err)
				}
				p.await(t, "senders") // the last column, which 60 columns had no room for
				gone.Store(true)
				p.await(t, "does not answer")
				gone.Store(false)
				p.await(t, "Losing packets")
			}
			if key == "signal" {
				cancel()
			} else if _, err := p.master.WriteString(key); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			p.await(t, leave)
			if after := p.state(t); after != before {
				t.Errorf("the terminal was %+v, is %+v", before, after)
			}
		})
	}
}

// Without an answer at first there is an error, and no picture.
func TestShowNobody(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	p := newTerminal(t)
	if err := (&Screen{In: p.slave, Out: p.slave}).Show(t.Context(), client(t, s.URL, "")); err == nil {
		t.Error("no error")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := p.text.String(); text != "" {
		t.Errorf("the terminal shows %q", text)
	}
}
