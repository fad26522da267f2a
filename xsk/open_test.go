// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenOrder: the order that is safe with every driver. (That the fill ring is
// full when bind comes, the fake kernel checks.)
func TestOpenOrder(t *testing.T) {
	q, f := openFake(t, testConfig())
	want := []string{"socket", "map UMEM", "register UMEM", "ring 5", "ring 6", "ring 2", "offsets", "map 0x100000000", "map 0x0", "bind", "options", "napi", "eventfd"}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls %q\nwant  %q", f.calls, want)
	}
	if f.slots[unix.XDP_UMEM_FILL_RING] != 64 || f.slots[unix.XDP_RX_RING] != 64 || f.slots[unix.XDP_UMEM_COMPLETION_RING] != 64 {
		t.Errorf("ring sizes %v", f.slots)
	}
	if len(f.umem) != 64*chunkBytes {
		t.Errorf("UMEM of %d bytes", len(f.umem))
	}
	if frames := f.fill.take(100); len(frames) != 64 || frames[0] != 0 || frames[63] != 63*uint64(chunkBytes) {
		t.Errorf("fill ring holds %v", frames)
	}
	if q.FD() != fakeSocket {
		t.Errorf("FD() = %d", q.FD())
	}
}

func TestBindFlags(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		sg   bool
		want uint16
	}{
		{ModeZeroCopy, false, unix.XDP_ZEROCOPY | unix.XDP_USE_NEED_WAKEUP},
		{ModeZeroCopy, true, unix.XDP_ZEROCOPY | unix.XDP_USE_NEED_WAKEUP | unix.XDP_USE_SG},
		{ModeNative, true, unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP | unix.XDP_USE_SG},
		{ModeGeneric, false, unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP},
	} {
		c := testConfig()
		c.Mode, c.MultiBuffer = tt.mode, tt.sg
		_, f := openFake(t, c)
		if f.bound.Flags != tt.want || f.bound.Ifindex != 7 || f.bound.QueueID != 3 {
			t.Errorf("%v, multi-buffer %t: bound with %+v, want flags %#x", tt.mode, tt.sg, f.bound, tt.want)
		}
	}
}

// TestBadConfig is refused before the first system call.
func TestBadConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"3000 frames: not a power of two": func(c *Config) { c.Frames = 3000 },
		"-8 frames":                       func(c *Config) { c.Frames = -8 },
		"1 frames: outside 2 to 16777216": func(c *Config) { c.Frames = 1; c.MaxChain = 1 },
		"33554432 frames: outside":        func(c *Config) { c.Frames = 1 << 25 },
		"packets of up to 64 frames":      func(c *Config) { c.MaxChain = 64 },
		"packets of up to -1 frames":      func(c *Config) { c.MaxChain = -1 },
		"interface index 0":               func(c *Config) { c.Ifindex = 0 },
		"queue -1":                        func(c *Config) { c.Queue = -1 },
		"unknown mode(9)":                 func(c *Config) { c.Mode = 9 },
		"unknown wait(9)":                 func(c *Config) { c.Wait = 9 },
	} {
		c := testConfig()
		change(&c)
		f := newFake(t)
		_, err := open(c, f.system)
		var open *OpenError
		if !errors.As(err, &open) || open.Step != StepConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want one about %q", err, want)
		}
		if len(f.calls) != 0 {
			t.Errorf("%s: calls %q", want, f.calls)
		}
	}
}

// TestOpenFails lets each call of Open fail in turn: nothing stays open, and the
// error says what failed, where.
func TestOpenFails(t *testing.T) {
	c := testConfig()
	c.Wait = WaitBusy
	steps := []string{StepSocket, StepMemory, StepRegister, StepFill, StepCompletion, StepRX, StepOffsets, StepMapFill, StepMapRX, StepBind, StepVerify, StepBusyPoll, StepBusyPoll, StepBusyPoll, StepBusyPoll, StepEventfd}
	for n, step := range steps {
		f := newFake(t)
		f.napi = 42
		f.failAt = n
		q, err := open(c, f.system)
		if err == nil {
			t.Fatalf("call %d did not fail", n)
		}
		if q != nil {
			t.Errorf("%s: a queue and an error", step)
		}
		var open *OpenError
		if !errors.As(err, &open) || !errors.Is(err, unix.EIO) || open.Step != step || open.Iface != "eth7" || open.Queue != 3 {
			t.Errorf("call %d (%s): %#v", n, f.calls[n], err)
		}
		if want := "xsk: " + step + " on eth7 queue 3: "; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("text %q, want %q…", err, want)
		}
		if left := f.leaked(); left != nil {
			t.Errorf("after %s failed, left open: %v", step, left)
		}
	}
	f := newFake(t)
	f.napi = 42
	f.failAt = len(steps)
	if _, err := open(c, f.system); err != nil {
		t.Errorf("there are more calls than steps tested: %v", err)
	}
}

func TestHints(t *testing.T) {
	for _, tt := range []struct {
		name   string
		failAt string
		err    error
		change func(*Config)
		old    bool // the kernel has no multi-buffer
		want   string
	}{
		{name: "no privilege", failAt: "socket", err: unix.EPERM, want: "needs CAP_NET_RAW"},
		{name: "no AF_XDP", failAt: "socket", err: unix.EAFNOSUPPORT, want: "CONFIG_XDP_SOCKETS"},
		{name: "memlock", failAt: "register UMEM", err: unix.ENOBUFS, change: func(c *Config) { c.Frames = 4096 }, want: "the limit of locked memory is 8 MiB for all of this user's sockets, this UMEM has 16 MiB: raise RLIMIT_MEMLOCK"},
		{name: "pin", failAt: "register UMEM", err: unix.ENOMEM, want: "memory is short"},
		{name: "queue busy", failAt: "bind", err: unix.EBUSY, want: "ss --xdp"},
		{name: "down", failAt: "bind", err: unix.ENETDOWN, want: "ip link set eth7 up"},
		{name: "gone", failAt: "bind", err: unix.ENODEV, want: "no interface with index 7"},
		{name: "lsm", failAt: "bind", err: unix.EPERM, want: "security module"},
		{name: "no zero-copy", failAt: "bind", err: unix.EOPNOTSUPP, change: func(c *Config) { c.Mode = ModeZeroCopy; c.MultiBuffer = false }, want: "the driver has no zero-copy"},
		{name: "no zero-copy with SG", failAt: "bind", err: unix.EOPNOTSUPP, change: func(c *Config) { c.Mode = ModeZeroCopy }, want: "packets of several frames"},
		{name: "zero-copy EINVAL", failAt: "bind", err: unix.EINVAL, change: func(c *Config) { c.Mode = ModeZeroCopy }, want: "the driver refuses zero-copy"},
		{name: "virtio", failAt: "bind", err: unix.EINVAL, change: func(c *Config) { c.Mode = ModeZeroCopy; c.Driver = "virtio_net" }, want: "VIRTIO_F_ACCESS_PLATFORM"},
		{name: "no queue", failAt: "bind", err: unix.EINVAL, want: "there is no queue 3: ethtool -l eth7"},
		{name: "old kernel", failAt: "bind", err: unix.EINVAL, old: true, want: "no packets in several frames"},
		{name: "old kernel, small packets", failAt: "bind", err: unix.EINVAL, old: true, change: func(c *Config) { c.MultiBuffer = false }, want: "there is no queue 3"},
		{name: "busy poll privilege", failAt: "busy 69", err: unix.EPERM, change: func(c *Config) { c.Wait = WaitBusy }, want: "needs CAP_NET_ADMIN"},
		{name: "nothing to say", failAt: "bind", err: unix.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testConfig()
			if tt.change != nil {
				tt.change(&c)
			}
			f := newFake(t)
			f.napi = 42
			if c.Mode == ModeZeroCopy {
				f.options = unix.XDP_OPTIONS_ZEROCOPY
			}
			f.multiBuffer = func() bool { return !tt.old }
			// A dry run tells the index of the call.
			dry := newFake(t)
			dry.napi, dry.options = f.napi, f.options
			q, err := open(c, dry.system)
			if err != nil {
				t.Fatal(err)
			}
			_ = q.Close()
			f.failAt = slices.Index(dry.calls, tt.failAt)
			f.failErr = tt.err
			if errors.Is(tt.err, unix.EBUSY) {
				f.failAt = -1
				f.errnos = slices.Repeat([]error{unix.EBUSY}, bindRetries+1)
			}
			_, err = open(c, f.system)
			var open *OpenError
			if !errors.As(err, &open) || !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(open.Hint, tt.want) || tt.want == "" && open.Hint != "" {
				t.Errorf("hint %q, want %q", open.Hint, tt.want)
			}
			if tt.want != "" && !strings.HasSuffix(err.Error(), "("+open.Hint+")") {
				t.Errorf("hint missing in %q", err)
			}
		})
	}
}

// TestBindRetries: EBUSY is tried again for a second, other errors are not.
func TestBindRetries(t *testing.T) {
	f := newFake(t)
	f.errnos = slices.Repeat([]error{unix.EBUSY}, 5)
	q, err := open(testConfig(), f.system)
	if err != nil {
		t.Fatal(err)
	}
	_ = q.Close()
	if f.slept != 5*bindInterval {
		t.Errorf("slept %v", f.slept)
	}

	f = newFake(t)
	f.errnos = slices.Repeat([]error{unix.EBUSY}, 1000)
	if _, err := open(testConfig(), f.system); !errors.Is(err, unix.EBUSY) {
		t.Errorf("error %v", err)
	}
	if f.slept.Seconds() != 1 {
		t.Errorf("gave up after %v", f.slept)
	}
	if left := f.leaked(); left != nil {
		t.Errorf("left open: %v", left)
	}
}

// TestVerifyMode: a kernel that copies when it should not, or the reverse, is found out.
func TestVerifyMode(t *testing.T) {
	for _, mode := range []Mode{ModeZeroCopy, ModeNative, ModeGeneric} {
		f := newFake(t)
		if mode != ModeZeroCopy {
			f.options = unix.XDP_OPTIONS_ZEROCOPY
		}
		c := testConfig()
		c.Mode = mode
		_, err := open(c, f.system)
		var open *OpenError
		if !errors.As(err, &open) || open.Step != StepVerify {
			t.Errorf("%v: error %v", mode, err)
		}
	}
}

func TestBusyPollSetUp(t *testing.T) {
	c := testConfig()
	c.Wait = WaitBusy
	q, f := openFake(t, c)
	want := map[int]int{unix.SO_PREFER_BUSY_POLL: 1, unix.SO_BUSY_POLL: 20, unix.SO_BUSY_POLL_BUDGET: 64}
	for option, value := range want {
		if f.busy[option] != value {
			t.Errorf("socket option %d is %d, want %d", option, f.busy[option], value)
		}
	}
	if q.Info().NAPI != 42 {
		t.Errorf("NAPI id %d", q.Info().NAPI)
	}

	f = newFake(t)
	_, err := open(c, f.system)
	if !errors.Is(err, ErrNoBusyPoll) || !strings.Contains(err.Error(), "wait by poll or spin") {
		t.Errorf("without a NAPI id: %v", err)
	}

	c.Wait = WaitPoll
	_, f = openFake(t, c)
	if len(f.busy) != 0 {
		t.Errorf("options of busy polling set for nothing: %v", f.busy)
	}
}

// TestOpenDown: bind succeeds on an interface that is down, Open does not.
func TestOpenDown(t *testing.T) {
	for errno, want := range map[unix.Errno]string{unix.ENETDOWN: "ip link set eth7 up", unix.ENXIO: "removed", unix.EOPNOTSUPP: "Linux 5.11 is needed"} {
		f := newFake(t)
		f.kickErr.Store(int32(errno))
		_, err := open(testConfig(), f.system)
		var open *OpenError
		if !errors.As(err, &open) || open.Step != StepKick || !errors.Is(err, errno) || !strings.Contains(open.Hint, want) {
			t.Errorf("error %v", err)
		}
		if left := f.leaked(); left != nil {
			t.Errorf("left open: %v", left)
		}
	}
}

func TestParse(t *testing.T) {
	for w := WantAuto; w <= WantGeneric; w++ {
		if got, err := ParseWant(w.String()); got != w || err != nil {
			t.Errorf("ParseWant(%q) = %v, %v", w, got, err)
		}
	}
	for w := WaitPoll; w <= WaitBusy; w++ {
		if got, err := ParseWait(w.String()); got != w || err != nil {
			t.Errorf("ParseWait(%q) = %v, %v", w, got, err)
		}
	}
	if _, err := ParseWant("fast"); err == nil {
		t.Error("mode fast accepted")
	}
	if _, err := ParseWait(""); err == nil {
		t.Error("empty way to wait accepted")
	}
}
