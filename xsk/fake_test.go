// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/sandbox"
	"golang.org/x/sys/unix"
)

// fake plays the kernel for one queue: it checks the order of the calls, keeps
// count of what is open, and sends packets by the rings.
type fake struct {
	*system
	t testing.TB

	calls   []string       // in order
	failAt  int            // index of the call that fails; -1: none
	failErr error          // and how
	open    map[string]int // what has to be given back, by kind
	slots   map[int]int    // by option of setsockopt
	bound   *unix.SockaddrXDP
	options int // XDP_OPTIONS
	napi    int // SO_INCOMING_NAPI_ID
	naps    []time.Duration
	asleep  func()      // called in each nap
	busy    map[int]int // SO_… set for busy polling
	errnos  []error     // of bind, first come first served
	slept   time.Duration
	stats   unix.XDPStatistics
	kickErr atomic.Int32 // errno of recvfrom
	kicks   atomic.Int32

	mu     sync.Mutex
	events uint64        // of the eventfd
	wake   chan struct{} // has something when poll has to look again
	polls  int
	onPoll func() error

	umem []byte
	fill *kernelFill
	rx   *kernelRX
}

const (
	fakeSocket  = 1000
	fakeEventfd = 1001
)

func newFake(t testing.TB) *fake {
	f := &fake{t: t, failAt: -1, failErr: unix.EIO, open: map[string]int{}, slots: map[int]int{},
		busy: map[int]int{}, wake: make(chan struct{}, 1)}
	f.system = &system{
		socket: func() (int, error) {
			if err := f.call("socket"); err != nil {
				return -1, err
			}
			f.open["socket"]++
			return fakeSocket, nil
		},
		eventfd: func() (int, error) {
			if err := f.call("eventfd"); err != nil {
				return -1, err
			}
			f.open["eventfd"]++
			return fakeEventfd, nil
		},
		close: func(fd int) error {
			f.open[map[int]string{fakeSocket: "socket", fakeEventfd: "eventfd"}[fd]]--
			return nil
		},
		mapUMEM: func(size int, o pages.Options) (*pages.Mapping, error) {
			if err := f.call("map UMEM"); err != nil {
				return nil, err
			}
			f.open["UMEM"]++
			f.umem = make([]byte, size)
			return &pages.Mapping{Bytes: f.umem, Node: o.Node, PageBytes: 4096, Mapped: size}, nil
		},
		unmapUMEM: func(m *pages.Mapping) error {
			if f.open["socket"] != 0 || f.open["ring"] != 0 {
				t.Error("UMEM unmapped before the socket and its rings")
			}
			f.open["UMEM"]--
			m.Bytes = nil
			return nil
		},
		regUMEM: func(fd int, umem []byte, chunk int) error {
			if len(umem) != len(f.umem) || chunk != chunkBytes || fd != fakeSocket {
				t.Errorf("UMEM of %d bytes, chunk %d registered with fd %d", len(umem), chunk, fd)
			}
			return f.call("register UMEM")
		},
		setInt: func(_, level, option, value int) error {
			if level == unix.SOL_XDP {
				f.slots[option] = value
				return f.call(fmt.Sprintf("ring %d", option))
			}
			f.busy[option] = value
			return f.call(fmt.Sprintf("busy %d", option))
		},
		getInt: func(_, level, option int) (int, error) {
			if level == unix.SOL_XDP && option == unix.XDP_OPTIONS {
				return f.options, f.call("options")
			}
			return f.napi, f.call("napi")
		},
		offsets: func(int) (unix.XDPMmapOffsets, error) {
			return unix.XDPMmapOffsets{Rx: layout, Fr: layout}, f.call("offsets")
		},
		statistics: func(fd int) (unix.XDPStatistics, error) {
			if fd != fakeSocket {
				return unix.XDPStatistics{}, unix.EBADF
			}
			return f.stats, nil
		},
		mapRing: func(_ int, offset int64, size int) ([]byte, error) {
			if err := f.call(fmt.Sprintf("map %#x", offset)); err != nil {
				return nil, err
			}
			f.open["ring"]++
			mem := make([]byte, size)
			switch offset {
			case unix.XDP_UMEM_PGOFF_FILL_RING:
				r, err := newFillRing(mem, layout, f.slots[unix.XDP_UMEM_FILL_RING])
				if err != nil {
					t.Fatal(err)
				}
				f.fill = &kernelFill{r, 0}
			case unix.XDP_PGOFF_RX_RING:
				r, err := newRxRing(mem, layout, f.slots[unix.XDP_RX_RING])
				if err != nil {
					t.Fatal(err)
				}
				f.rx = &kernelRX{r, 0}
			default:
				t.Errorf("ring mapped at %#x", offset)
			}
			return mem, nil
		},
		unmapRing: func([]byte) error {
			if f.open["socket"] != 0 {
				t.Error("ring unmapped before the socket was closed")
			}
			f.open["ring"]--
			return nil
		},
		bind: func(_ int, sa *unix.SockaddrXDP) error {
			if err := f.call("bind"); err != nil {
				return err
			}
			if got := f.fill.producer.Load(); got != uint32(f.slots[unix.XDP_UMEM_FILL_RING]) {
				t.Errorf("bound with %d frames on the fill ring", got)
			}
			f.bound = sa
			if len(f.errnos) > 0 {
				err := f.errnos[0]
				f.errnos = f.errnos[1:]
				return err
			}
			return nil
		},
		poll:  f.poll,
		nap:   f.nap,
		kick:  func(int) unix.Errno { f.kicks.Add(1); return unix.Errno(f.kickErr.Load()) },
		read:  f.readEvent,
		write: f.writeEvent,
		forbidden: func(err error) sandbox.Cause {
			return sandbox.Evidence{XDPKnown: true}.OfSocket(err, false)
		},
		memlock: func() (uint64, error) {
			return 8 << 20, nil
		},
		multiBuffer: func() bool { return true },
		sleep:       func(d time.Duration) { f.slept += d },
	}
	return f
}

// call notes a call and reports whether it shall fail.
func (f *fake) call(name string) error {
	f.calls = append(f.calls, name)
	if len(f.calls)-1 == f.failAt {
		return f.failErr
	}
	return nil
}

func (f *fake) readEvent(fd int, p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fd != fakeEventfd || len(p) != 8 {
		f.t.Errorf("read of %d bytes from fd %d", len(p), fd)
	}
	if f.events == 0 {
		return 0, unix.EAGAIN
	}
	f.events = 0
	return 8, nil
}

func (f *fake) writeEvent(fd int, p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fd != fakeEventfd || len(p) != 8 {
		f.t.Errorf("write of %d bytes to fd %d", len(p), fd)
	}
	f.events++
	f.notify()
	return 8, nil
}

func (f *fake) notify() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fake) poll(fds []unix.PollFd, timeout *unix.Timespec) (int, error) {
	if fds[0].Fd != fakeSocket || fds[1].Fd != fakeEventfd {
		f.t.Errorf("poll of fds %d and %d", fds[0].Fd, fds[1].Fd)
	}
	if f.onPoll != nil {
		if err := f.onPoll(); err != nil {
			return -1, err
		}
	}
	timer := time.After(time.Duration(timeout.Nano()))
	for {
		n := 0
		f.mu.Lock()
		f.polls++
		if f.rx.producer.Load() != f.rx.consumer.Load() {
			fds[0].Revents = unix.POLLIN
			n++
		}
		if f.events > 0 {
			fds[1].Revents = unix.POLLIN
			n++
		}
		f.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-f.wake:
		case <-timer:
			return 0, nil
		}
	}
}

// nap takes no time. What the test wants to come meanwhile comes.
func (f *fake) nap(d time.Duration) {
	f.naps = append(f.naps, d)
	if f.asleep != nil {
		f.asleep()
	}
}

// send puts a packet of the given bytes on the rings as the kernel does in copy
// mode: whole or, for want of frames, not at all.
func (f *fake) send(data []byte) bool {
	const usable = 4096 - headroom
	n := max(1, (len(data)+usable-1)/usable)
	if int(f.fill.producer.Load()-f.fill.consumed) < n {
		f.stats.Rx_dropped++
		return false
	}
	frames := f.fill.take(n)
	for i, frame := range frames {
		d := unix.XDPDesc{Addr: frame + headroom}
		d.Len = uint32(copy(f.umem[d.Addr:][:usable], data))
		data = data[d.Len:]
		if i < n-1 {
			d.Options = contd
		}
		f.rx.write(f.t, d)
	}
	f.rx.publish()
	f.fill.publish()
	return true
}

// leaked lists what is still open.
func (f *fake) leaked() []string {
	var kinds []string
	for kind, n := range f.open {
		if n != 0 {
			kinds = append(kinds, fmt.Sprintf("%d × %s", n, kind))
		}
	}
	slices.Sort(kinds)
	return kinds
}

func testConfig() Config {
	return Config{Ifindex: 7, Ifname: "eth7", Queue: 3, Frames: 64, Mode: ModeNative, MultiBuffer: true, Node: -1}
}

// openFake opens a queue on a fake kernel and closes it after the test.
func openFake(t testing.TB, c Config) (*Queue, *fake) {
	t.Helper()
	f := newFake(t)
	if c.Mode == ModeZeroCopy {
		f.options = unix.XDP_OPTIONS_ZEROCOPY
	}
	f.napi = 42
	q, err := open(c, f.system)
	if err != nil {
		t.Fatal(err)
	}
	f.kicks.Store(0)
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if left := f.leaked(); left != nil {
			t.Errorf("left open: %v", left)
		}
	})
	return q, f
}

// fakeAttacher notes what it is asked for. Its link must be closed.
type fakeAttacher struct {
	attach  func(Mode) error
	setErr  func(queue int) error
	log     []string
	sockets map[int]int
	links   int // open
}

func (a *fakeAttacher) Attach(mode Mode) (io.Closer, error) {
	a.log = append(a.log, fmt.Sprintf("attach %v", mode))
	if a.attach != nil {
		if err := a.attach(mode); err != nil {
			return nil, err
		}
	}
	a.links++
	return closerFunc(func() error {
		if len(a.sockets) != 0 {
			return errors.New("sockets still in the map")
		}
		a.links--
		a.log = append(a.log, "detach")
		return nil
	}), nil
}

func (a *fakeAttacher) SetSocket(queue, fd int) error {
	if a.setErr != nil {
		if err := a.setErr(queue); err != nil {
			return err
		}
	}
	if a.sockets == nil {
		a.sockets = map[int]int{}
	}
	a.sockets[queue] = fd
	return nil
}

func (a *fakeAttacher) ClearSocket(queue int) error {
	delete(a.sockets, queue)
	return nil
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }
