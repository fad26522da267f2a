//go:build linux

package xsk

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

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
