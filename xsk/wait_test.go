// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/sched"
	"golang.org/x/sys/unix"
)

func waitConfig(w Wait) Config {
	c := testConfig()
	c.Wait = w
	return c
}

var waits = []Wait{WaitPoll, WaitSpin, WaitBusy}

func TestWaitData(t *testing.T) {
	for _, w := range waits {
		t.Run(w.String(), func(t *testing.T) {
			q, f := openFake(t, waitConfig(w))
			f.send([]byte{1})
			if err := q.Wait(-1); err != nil {
				t.Fatal(err)
			}
			if f.polls != 0 || f.kicks.Load() != 0 {
				t.Error("system calls though there is something on the ring")
			}
			q.Receive(make([]Packet, 1))
			// Now it has to wait until something comes.
			var sender sync.WaitGroup
			sender.Go(func() {
				f.send([]byte{2})
				f.notify()
			})
			if err := q.Wait(-1); err != nil {
				t.Fatal(err)
			}
			sender.Wait()
			if q.Receive(make([]Packet, 1)) != 1 {
				t.Error("Wait returned, nothing received")
			}
		})
	}
}

func TestWaitTimeout(t *testing.T) {
	for _, w := range waits {
		t.Run(w.String(), func(t *testing.T) {
			q, _ := openFake(t, waitConfig(w))
			for _, d := range []time.Duration{0, 3 * time.Millisecond, linkInterval + 10*time.Millisecond} {
				start := time.Now()
				if err := q.Wait(d); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < d || took > d+2*time.Second {
					t.Errorf("Wait(%v) took %v", d, took)
				}
			}
		})
	}
}

// TestWake: whether it comes before Wait, while it sleeps, or again and again, each
// Wake ends a Wait; without one nothing does.
func TestWake(t *testing.T) {
	for _, w := range waits {
		t.Run(w.String(), func(t *testing.T) {
			q, _ := openFake(t, waitConfig(w))
			q.Wake()
			q.Wake()
			if err := q.Wait(-1); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := q.Wait(5 * time.Millisecond); err != nil || time.Since(start) < 5*time.Millisecond {
				t.Fatalf("two Wakes ended two Waits: %v", err)
			}
			// Ping-pong: a lost Wake would hang here.
			asleep, awake := make(chan struct{}), make(chan struct{})
			var waker sync.WaitGroup
			waker.Go(func() {
				for range asleep {
					q.Wake()
					awake <- struct{}{}
				}
			})
			for range 300 {
				asleep <- struct{}{}
				if err := q.Wait(-1); err != nil {
					t.Error(err)
				}
				<-awake
			}
			close(asleep)
			waker.Wait()
		})
	}
}

// TestWakeBetween: a Wake that has set its flag but not yet written when a Wait
// ends must not make later Waits spin on a readable eventfd.
func TestWakeBetween(t *testing.T) {
	q, f := openFake(t, waitConfig(WaitPoll))
	_, _ = f.writeEvent(fakeEventfd, make([]byte, 8)) // the late write; its flag was cleared
	if err := q.Wait(-1); err != nil {
		t.Fatal(err)
	}
	before := f.polls
	if err := q.Wait(2 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if n := f.polls - before; n > 3 {
		t.Errorf("%d polls in a Wait of 2 ms", n)
	}
}

// TestWaitInterrupted: signals neither end Wait nor prolong it.
func TestWaitInterrupted(t *testing.T) {
	q, f := openFake(t, waitConfig(WaitPoll))
	n := 0
	f.onPoll = func() error {
		if n++; n%2 == 1 {
			time.Sleep(time.Millisecond)
			return unix.EINTR
		}
		return nil
	}
	start := time.Now()
	if err := q.Wait(20 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 20*time.Millisecond || took > time.Second {
		t.Errorf("took %v", took)
	}
	f.onPoll = func() error { return unix.ENOMEM }
	if err := q.Wait(-1); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("error %v", err)
	}
}

// TestWaitDown: what recvfrom says of the interface becomes Wait's error within a
// second, even if Wait has no timeout; other answers do not.
func TestWaitDown(t *testing.T) {
	for _, w := range waits {
		for errno, text := range map[unix.Errno]string{unix.ENETDOWN: "ip link set eth7 up", unix.ENXIO: "removed"} {
			t.Run(w.String()+" "+unix.ErrnoName(errno), func(t *testing.T) {
				q, f := openFake(t, waitConfig(w))
				f.kickErr.Store(int32(unix.EAGAIN))
				if err := q.Wait(time.Millisecond); err != nil {
					t.Fatalf("EAGAIN: %v", err)
				}
				f.kickErr.Store(int32(errno))
				start := time.Now()
				err := q.Wait(-1)
				if !errors.Is(err, ErrDown) || !errors.Is(err, errno) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "eth7 queue 3") {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("took %v", took)
				}
				f.send([]byte{1})
				if err := q.Wait(-1); err != nil {
					t.Errorf("with a packet still on the ring: %v", err)
				}
			})
		}
	}
}

// TestNap: naps become longer while few packets come in them, and shorter while many
// do, and there are none where one could do harm.
func TestNap(t *testing.T) {
	const frames = 4096
	config := testConfig()
	config.Frames = frames
	longest := longestNap(frames)
	if longest != 204800 {
		t.Fatalf("the longest nap is %v", longest)
	}
	// naps are those of n waits after packets, in each of which packets come.
	naps := func(q *Queue, f *fake, n, packets int) []time.Duration {
		t.Helper()
		f.naps = nil
		dst := make([]Packet, frames)
		f.asleep = func() {
			for range packets {
				if !f.send([]byte{1}) {
					t.Fatal("no frame")
				}
			}
		}
		for range n {
			if err := q.Wait(time.Second); err != nil {
				t.Fatal(err)
			}
			if got := q.Receive(dst); got != packets {
				t.Fatalf("%d packets, want %d", got, packets)
			}
			q.Release()
		}
		return f.naps
	}
	receive := func(q *Queue, f *fake) {
		t.Helper()
		f.send([]byte{1})
		if q.Receive(make([]Packet, 2)) != 1 {
			t.Fatal("nothing received")
		}
		q.Release()
	}
	us := func(list ...int) (d []time.Duration) {
		for _, n := range list {
			d = append(d, time.Duration(n)*time.Microsecond)
		}
		return d
	}

	q, f := openFake(t, config)
	receive(q, f)
	if got, want := naps(q, f, 4, 1), append(us(50, 100, 200), longest); !slices.Equal(got, want) {
		t.Errorf("naps %v while few packets come, want %v", got, want)
	}
	if got, want := naps(q, f, 2, frames/8), []time.Duration{longest, longest}; !slices.Equal(got, want) {
		t.Errorf("naps %v while an eighth of the frames is filled, want %v", got, want)
	}
	if got, want := naps(q, f, 4, frames/8+1), []time.Duration{longest, longest / 2, longest / 4, sched.ShortestNap}; !slices.Equal(got, want) {
		t.Errorf("naps %v while more is filled, want %v", got, want)
	}
	if got, want := naps(q, f, 2, frames/16-1), us(50, 100); !slices.Equal(got, want) {
		t.Errorf("naps %v while less than a sixteenth is filled, want %v", got, want)
	}

	// When packets cease to come, one wait has a nap, and those after it have none.
	f.naps, f.asleep = nil, nil
	for range 2 {
		if err := q.Wait(2 * longest); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.naps) != 1 {
		t.Errorf("%d naps when packets have ceased to come, want 1", len(f.naps))
	}
	receive(q, f)
	if err := q.Wait(2*longest - 1); err != nil {
		t.Fatal(err)
	}
	if len(f.naps) != 1 {
		t.Error("a nap though the timeout is short")
	}

	for name, change := range map[string]func(*Config){
		"few frames": func(c *Config) { c.Frames = 512 },
		"spinning":   func(c *Config) { c.Wait = WaitSpin },
		"busy":       func(c *Config) { c.Wait = WaitBusy },
		"1024":       func(c *Config) { c.Frames = 1024 },
		"zero-copy":  func(c *Config) { c.Mode, c.MultiBuffer = ModeZeroCopy, false },
	} {
		c := config
		change(&c)
		q, f := openFake(t, c)
		receive(q, f)
		if err := q.Wait(time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if got, want := len(f.naps) > 0, name == "1024" || name == "zero-copy"; got != want {
			t.Errorf("%s: naps %v", name, f.naps)
		}
		if name == "zero-copy" { // a driver that waits for frames is to be woken, not left alone
			receive(q, f)
			f.naps = nil
			q.fill.flags.Store(unix.XDP_RING_NEED_WAKEUP)
			if err := q.Wait(time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if len(f.naps) > 0 {
				t.Error("a nap while the driver waits to be woken")
			}
		}
	}

	// Who is woken in a nap does not wait on.
	q, f = openFake(t, config)
	receive(q, f)
	f.asleep = q.Wake
	if err := q.Wait(-1); err != nil || f.polls > 0 {
		t.Errorf("woken in a nap it polls %d times, %v", f.polls, err)
	}
}
