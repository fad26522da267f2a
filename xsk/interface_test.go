// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/pages"
	"golang.org/x/sys/unix"
)

func testInterface() InterfaceConfig {
	return InterfaceConfig{Ifindex: 7, Ifname: "eth7", Queues: []int{0}, MTU: 9000, Frames: 64, Node: -1}
}

// bindFails makes bind answer by its flags; the fake confirms what was bound.
func bindFails(f *fake, fails func(sa *unix.SockaddrXDP) error) {
	inner := f.bind
	f.bind = func(fd int, sa *unix.SockaddrXDP) error {
		f.options = 0
		if sa.Flags&unix.XDP_ZEROCOPY != 0 {
			f.options = unix.XDP_OPTIONS_ZEROCOPY
		}
		if err := fails(sa); err != nil {
			return err
		}
		return inner(fd, sa)
	}
}

// TestLadder walks through the table of drivers, MTUs and kernels: what was tried,
// what came out, why the better rungs did not. Nothing is left of a failed rung.
func TestLadder(t *testing.T) {
	all := Features{Native: true, Redirect: true, ZeroCopy: true, ZCMaxChain: 8}
	with := func(change func(*Features)) func(*InterfaceConfig) {
		f := all
		change(&f)
		return func(c *InterfaceConfig) { c.Features = &f }
	}
	noZC := func(sa *unix.SockaddrXDP) error {
		if sa.Flags&unix.XDP_ZEROCOPY != 0 {
			return unix.EOPNOTSUPP
		}
		return nil
	}
	refused := func(modes ...Mode) func(Mode) error {
		return func(m Mode) error {
			if slices.Contains(modes, m) {
				return unix.EOPNOTSUPP
			}
			return nil
		}
	}
	type tried struct {
		name  string // of the rung
		cause Cause  // "": it is in use
	}
	const (
		zc, zcMB           = "zerocopy", "zerocopy with multi-buffer"
		native, nativeMB   = "native", "native with multi-buffer"
		generic, genericMB = "generic", "generic with multi-buffer"
	)
	for _, tt := range []struct {
		name   string
		change func(*InterfaceConfig)
		old    bool // the kernel has no multi-buffer
		bind   func(*unix.SockaddrXDP) error
		attach func(Mode) error
		rungs  []tried
		log    []string // of the attacher, until the interface is open
		err    error    // if none; a LadderError if it is nil and no rung is in use
	}{
		{
			name:   "all works, small MTU: zero-copy without multi-buffer",
			change: func(c *InterfaceConfig) { c.MTU = 3814 },
			rungs:  []tried{{zc, ""}},
			log:    []string{"attach zerocopy"},
		},
		{
			name:   "one byte more: with",
			change: func(c *InterfaceConfig) { c.MTU = 3815 },
			rungs:  []tried{{zcMB, ""}},
			log:    []string{"attach zerocopy"},
		},
		{
			name:   "unknown MTU counts as large",
			change: func(c *InterfaceConfig) { c.MTU = 0 },
			rungs:  []tried{{zcMB, ""}},
			log:    []string{"attach zerocopy"},
		},
		{
			name:  "veth",
			bind:  noZC,
			rungs: []tried{{zcMB, BindRefused}, {nativeMB, ""}},
			log:   []string{"attach zerocopy", "detach", "attach native"},
		},
		{
			name:   "features spare the attempt",
			change: with(func(f *Features) { f.ZeroCopy = false }),
			rungs:  []tried{{zcMB, NoZeroCopy}, {nativeMB, ""}},
			log:    []string{"attach native"},
		},
		{
			name:   "mlx5 at 9000",
			change: with(func(f *Features) { f.ZCMaxChain = 1 }),
			rungs:  []tried{{zcMB, OneFrame}, {nativeMB, ""}},
			log:    []string{"attach native"},
		},
		{
			name: "mlx5 at 3498",
			change: func(c *InterfaceConfig) {
				with(func(f *Features) { f.ZCMaxChain = 1 })(c)
				c.MTU = 3498
			},
			rungs: []tried{{zc, ""}},
			log:   []string{"attach zerocopy"},
		},
		{
			name:   "nfp, which redirects in zero-copy only",
			change: func(c *InterfaceConfig) { c.MTU, c.Driver = 1500, "nfp" },
			bind:   noZC,
			rungs:  []tried{{zc, BindRefused}, {nativeMB, NoRedirect}, {genericMB, ""}},
			log:    []string{"attach zerocopy", "detach", "attach generic"},
		},
		{
			name:   "igb, whose zero-copy has a fault",
			change: func(c *InterfaceConfig) { c.MTU, c.Driver, c.Features = 1500, "igb", &all },
			rungs:  []tried{{zc, DriverFault}, {nativeMB, ""}},
			log:    []string{"attach native"},
		},
		{
			name:   "igb before it had zero-copy, on a kernel that tells nothing",
			old:    true,
			change: func(c *InterfaceConfig) { c.MTU, c.Driver = 1500, "igb" },
			bind:   noZC,
			rungs:  []tried{{zc, BindRefused}, {native, ""}},
			log:    []string{"attach zerocopy", "detach", "attach native"},
		},
		{
			name:   "igb, pinned zero-copy",
			change: func(c *InterfaceConfig) { c.MTU, c.Driver, c.Want = 1500, "igb", WantZeroCopy },
			rungs:  []tried{{zc, ""}},
			log:    []string{"attach zerocopy"},
		},
		{
			name:   "lo",
			attach: refused(ModeZeroCopy, ModeNative),
			rungs:  []tried{{zcMB, AttachRefused}, {nativeMB, AttachRefused}, {genericMB, ""}},
			log:    []string{"attach zerocopy", "attach native", "attach generic"},
		},
		{
			name:   "features: no native",
			change: with(func(f *Features) { *f = Features{} }),
			rungs:  []tried{{zcMB, NoZeroCopy}, {nativeMB, NoNative}, {genericMB, ""}},
			log:    []string{"attach generic"},
		},
		{
			// mlx5 says that it has no XDP while LRO or hardware GRO is on.
			name:   "an offload is on",
			change: func(c *InterfaceConfig) { c.Features, c.Offloads = &Features{}, []string{"lro"} },
			rungs:  []tried{{zcMB, OffloadOn}, {nativeMB, OffloadOn}, {genericMB, ""}},
			log:    []string{"attach generic"},
		},
		{
			name:   "an offload is on, which the driver does not mind",
			change: func(c *InterfaceConfig) { c.Features, c.Offloads = &all, []string{"lro"} },
			rungs:  []tried{{zcMB, ""}},
			log:    []string{"attach zerocopy"},
		},
		{
			name: "pinned zero-copy, an offload is on",
			change: func(c *InterfaceConfig) {
				c.Want, c.Features, c.Offloads = WantZeroCopy, &Features{}, []string{"lro", "rx-gro-hw"}
			},
			rungs: []tried{{zcMB, OffloadOn}},
		},
		{
			name: "pinned native, an offload is on",
			change: func(c *InterfaceConfig) {
				c.Want, c.Features, c.Offloads = WantNative, &Features{}, []string{"rx-gro-hw"}
			},
			rungs: []tried{{nativeMB, OffloadOn}},
		},
		{
			// ixgbevf: a program that redirects would lose every packet, and nothing
			// would say so.
			name:   "features: native without redirect",
			change: with(func(f *Features) { *f = Features{Native: true} }),
			rungs:  []tried{{zcMB, NoZeroCopy}, {nativeMB, NoRedirect}, {genericMB, ""}},
			log:    []string{"attach generic"},
		},
		{
			name: "pinned native without redirect",
			change: func(c *InterfaceConfig) {
				c.Want, c.Features = WantNative, &Features{Native: true}
			},
			rungs: []tried{{nativeMB, NoRedirect}},
		},
		{
			name:  "old kernel, jumbo: no mode, so that sockets are used",
			old:   true,
			rungs: []tried{{zcMB, NoMultiBuffer}, {native, NoMultiBuffer}, {generic, NoMultiBuffer}},
		},
		{
			name:   "old kernel, unknown MTU",
			old:    true,
			change: func(c *InterfaceConfig) { c.MTU = 0 },
			rungs:  []tried{{zcMB, NoMultiBuffer}, {native, NoMultiBuffer}, {generic, NoMultiBuffer}},
		},
		{
			name:   "old kernel, jumbo, pinned generic",
			old:    true,
			change: func(c *InterfaceConfig) { c.Want = WantGeneric },
			rungs:  []tried{{generic, ""}},
			log:    []string{"attach generic"},
		},
		{
			name:   "old kernel, jumbo, pinned native",
			old:    true,
			change: func(c *InterfaceConfig) { c.Want = WantNative },
			rungs:  []tried{{native, ""}},
			log:    []string{"attach native"},
		},
		{
			name:   "old kernel, jumbo, pinned zero-copy",
			old:    true,
			change: func(c *InterfaceConfig) { c.Want = WantZeroCopy },
			rungs:  []tried{{zcMB, NoMultiBuffer}},
		},
		{
			name:   "old kernel, the largest MTU of one frame",
			old:    true,
			change: func(c *InterfaceConfig) { c.MTU = 3814 },
			bind:   noZC,
			rungs:  []tried{{zc, BindRefused}, {native, ""}},
			log:    []string{"attach zerocopy", "detach", "attach native"},
		},
		{
			name:   "old kernel, one byte more",
			old:    true,
			change: func(c *InterfaceConfig) { c.MTU = 3815 },
			rungs:  []tried{{zcMB, NoMultiBuffer}, {native, NoMultiBuffer}, {generic, NoMultiBuffer}},
		},
		{
			name:   "pinned native",
			change: func(c *InterfaceConfig) { c.Want = WantNative },
			rungs:  []tried{{nativeMB, ""}},
			log:    []string{"attach native"},
		},
		{
			name:   "pinned generic",
			change: func(c *InterfaceConfig) { c.Want = WantGeneric },
			rungs:  []tried{{genericMB, ""}},
			log:    []string{"attach generic"},
		},
		{
			name:   "pinned zero-copy fails",
			change: func(c *InterfaceConfig) { c.Want = WantZeroCopy },
			bind:   noZC,
			rungs:  []tried{{zcMB, BindRefused}},
			log:    []string{"attach zerocopy", "detach"},
		},
		{
			name:   "nothing works",
			attach: refused(ModeZeroCopy, ModeNative, ModeGeneric),
			rungs:  []tried{{zcMB, AttachRefused}, {nativeMB, AttachRefused}, {genericMB, AttachRefused}},
			log:    []string{"attach zerocopy", "attach native", "attach generic"},
		},
		{
			name:   "missing privilege is told once",
			attach: func(Mode) error { return unix.EPERM },
			log:    []string{"attach zerocopy"},
			err:    unix.EPERM,
		},
		{
			name: "down is down in every mode",
			bind: func(*unix.SockaddrXDP) error { return unix.ENETDOWN },
			log:  []string{"attach zerocopy", "detach"},
			err:  unix.ENETDOWN,
		},
		{
			name:   "other program",
			attach: func(Mode) error { return fmt.Errorf("program 5: %w", unix.EBUSY) },
			rungs:  []tried{{zcMB, AttachRefused}, {nativeMB, AttachRefused}, {genericMB, AttachRefused}},
			log:    []string{"attach zerocopy", "attach native", "attach generic"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testInterface()
			if tt.change != nil {
				tt.change(&c)
			}
			f := newFake(t)
			f.multiBuffer = func() bool { return !tt.old }
			if tt.bind == nil {
				tt.bind = func(*unix.SockaddrXDP) error { return nil }
			}
			bindFails(f, tt.bind)
			a := &fakeAttacher{attach: tt.attach}
			i, err := openInterface(c, a, f.system)
			if !slices.Equal(a.log, tt.log) {
				t.Errorf("attacher saw %q, want %q", a.log, tt.log)
			}
			var rungs []Rung
			if err != nil {
				if left := f.leaked(); left != nil || a.links != 0 {
					t.Errorf("left open: %v, %d links", left, a.links)
				}
				var ladder *LadderError
				if errors.As(err, &ladder) {
					rungs = ladder.Rungs
				} else if !errors.Is(err, cmp.Or(tt.err, errors.ErrUnsupported)) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
			} else {
				defer i.Close()
				rungs = i.Rungs()
			}
			var got []tried
			for _, r := range rungs {
				got = append(got, tried{r.Name(), r.Cause()})
				if (r.Cause() == "") != (r.Reason() == "") {
					t.Errorf("rung %s: cause %q, reason %q", r.Name(), r.Cause(), r.Reason())
				}
			}
			if !slices.Equal(got, tt.rungs) {
				t.Fatalf("rungs %q, want %q", got, tt.rungs)
			}
			if err != nil {
				return
			}
			if last := rungs[len(rungs)-1]; i.Mode() != last.Mode || i.MultiBuffer() != last.MultiBuffer {
				t.Errorf("mode %v", i.Mode())
			}
			if sg := f.bound.Flags&unix.XDP_USE_SG != 0; sg != i.MultiBuffer() {
				t.Errorf("bound with flags %#x", f.bound.Flags)
			}
			if longest := i.Queues()[0].Info().MaxFrame; (longest == 0) != i.MultiBuffer() || longest != 0 && longest != 3840 {
				t.Errorf("longest frame %d with multi-buffer %t", longest, i.MultiBuffer())
			}
			if f.open["socket"] != 1 || a.links != 1 {
				t.Errorf("open: %v, %d links", f.open, a.links)
			}
		})
	}
}

// TestQueuesAfterAttach: where all queues are wanted they are counted when the program
// is attached, for each rung anew.
func TestQueuesAfterAttach(t *testing.T) {
	c := testInterface()
	a := &fakeAttacher{attach: func(m Mode) error {
		if m == ModeZeroCopy {
			return unix.EOPNOTSUPP
		}
		return nil
	}}
	c.Queues = nil
	c.CountQueues = func() int {
		if a.links == 0 {
			t.Error("the queues are counted before the program is attached")
		}
		return 3
	}
	f := newFake(t)
	bindFails(f, func(*unix.SockaddrXDP) error { return nil })
	f.unmapUMEM = f.looseUnmap // one fake for three sockets: order cannot be checked
	f.unmapRing = func([]byte) error { f.open["ring"]--; return nil }
	i, err := openInterface(c, a, f.system)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := i.Enable(); err != nil {
		t.Fatal(err)
	}
	for n, q := range i.Queues() {
		if q.Info().Queue != n || a.sockets[n] != fakeSocket {
			t.Errorf("queue %d has number %d, sockets %v", n, q.Info().Queue, a.sockets)
		}
	}
	if len(i.Queues()) != 3 {
		t.Errorf("%d queues", len(i.Queues()))
	}
}

// TestOneQueueFails: if the last of three queues cannot have a mode, none has it.
func TestOneQueueFails(t *testing.T) {
	c := testInterface()
	c.Queues = []int{0, 2, 5}
	f := newFake(t)
	bound := 0
	bindFails(f, func(sa *unix.SockaddrXDP) error {
		bound++
		if sa.Flags&unix.XDP_ZEROCOPY != 0 && sa.QueueID == 5 {
			return unix.EINVAL
		}
		return nil
	})
	f.unmapUMEM = f.looseUnmap // one fake for three sockets: order cannot be checked
	f.unmapRing = func([]byte) error { f.open["ring"]--; return nil }
	a := &fakeAttacher{}
	i, err := openInterface(c, a, f.system)
	if err != nil {
		t.Fatal(err)
	}
	if bound != 6 || f.open["socket"] != 3 || f.open["UMEM"] != 3 || i.Mode() != ModeNative {
		t.Errorf("%d binds, open %v, mode %v", bound, f.open, i.Mode())
	}
	var open *OpenError
	if !errors.As(i.Rungs()[0].Err, &open) || open.Queue != 5 {
		t.Errorf("reason %v", i.Rungs()[0].Err)
	}
	for n, q := range i.Queues() {
		if q.Info().Queue != c.Queues[n] || q.Info().Mode != ModeNative {
			t.Errorf("queue %d: %+v", n, q.Info())
		}
	}

	// Sockets go into the map by Enable and out of it by Disable and Close.
	if len(a.sockets) != 0 {
		t.Errorf("in the map before Enable: %v", a.sockets)
	}
	for range 2 {
		if err := i.Enable(); err != nil {
			t.Fatal(err)
		}
		if len(a.sockets) != 3 || a.sockets[5] != fakeSocket {
			t.Errorf("in the map: %v", a.sockets)
		}
	}
	for range 2 {
		if err := i.Disable(); err != nil || len(a.sockets) != 0 {
			t.Errorf("after Disable: %v, %v", err, a.sockets)
		}
	}
	a.setErr = func(queue int) error {
		if queue == 2 {
			return unix.EINVAL
		}
		return nil
	}
	if err := i.Enable(); !errors.As(err, &open) || open.Step != StepEnable || open.Queue != 2 || len(a.sockets) != 0 {
		t.Errorf("Enable: %v, in the map %v", err, a.sockets)
	}
	a.setErr = nil
	if err := i.Enable(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if left := f.leaked(); left != nil || a.links != 0 || len(a.sockets) != 0 {
			t.Errorf("after Close: %v open, %d links, %v in the map", left, a.links, a.sockets)
		}
	}
}

func (f *fake) looseUnmap(m *pages.Mapping) error {
	f.open["UMEM"]--
	m.Bytes = nil
	return nil
}

func TestBadInterfaceConfig(t *testing.T) {
	for want, change := range map[string]func(*InterfaceConfig){
		"no queues":            func(c *InterfaceConfig) { c.Queues = nil },
		"queue 3 stands twice": func(c *InterfaceConfig) { c.Queues = []int{3, 1, 3} },
		"queue -2":             func(c *InterfaceConfig) { c.Queues = []int{1, -2} },
		"unknown want(9)":      func(c *InterfaceConfig) { c.Want = 9 },
		"3000 frames":          func(c *InterfaceConfig) { c.Frames = 3000 },
	} {
		c := testInterface()
		change(&c)
		a := &fakeAttacher{}
		_, err := openInterface(c, a, newFake(t).system)
		var open *OpenError
		if !errors.As(err, &open) || open.Step != StepConfig || !strings.Contains(err.Error(), want) || len(a.log) != 0 {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// The remedy for an offload names all that are on.
func TestOffloadRemedy(t *testing.T) {
	for want, offloads := range map[string][]string{
		"ethtool -K eth7 lro off":               {"lro"},
		"ethtool -K eth7 rx-gro-hw off":         {"rx-gro-hw"},
		"ethtool -K eth7 lro off rx-gro-hw off": {"lro", "rx-gro-hw"},
	} {
		c := testInterface()
		c.Want, c.Features, c.Offloads = WantNative, &Features{}, offloads
		_, err := openInterface(c, &fakeAttacher{}, newFake(t).system)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", offloads, err)
		}
	}
}

// claiming is an Attacher whose program others can share.
type claiming struct {
	*fakeAttacher
	err error
}

func (c *claiming) Claim(queues []int) error {
	c.log = append(c.log, fmt.Sprintf("claim %v", queues))
	return c.err
}

// TestClaim: queues are claimed when the program is attached, before any is opened. That
// another receiver has one ends the ladder.
func TestClaim(t *testing.T) {
	c := testInterface()
	f := newFake(t)
	bound := 0
	bindFails(f, func(*unix.SockaddrXDP) error { bound++; return nil })
	taken := errors.New("taken")
	a := &claiming{&fakeAttacher{}, taken}
	_, err := openInterface(c, a, f.system)
	var open *OpenError
	if !errors.As(err, &open) || open.Step != StepClaim || !errors.Is(err, taken) {
		t.Errorf("%v", err)
	}
	want := []string{"attach zerocopy", fmt.Sprintf("claim %v", c.Queues), "detach"}
	if !slices.Equal(a.log, want) || bound != 0 || a.links != 0 {
		t.Errorf("%q, %d binds, %d links; want %q", a.log, bound, a.links, want)
	}
	a.err = nil
	i, err := openInterface(c, a, f.system)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if bound != 1 {
		t.Errorf("%d binds", bound)
	}
}
