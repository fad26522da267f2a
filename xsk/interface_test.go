//go:build linux

package xsk

import (
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
	noZC := func(sa *unix.SockaddrXDP) error {
		if sa.Flags&unix.XDP_ZEROCOPY != 0 {
			return unix.EOPNOTSUPP
		}
		return nil
	}
	noNative := func(m Mode, _ bool) error {
		if m != ModeGeneric {
			return unix.EOPNOTSUPP
		}
		return nil
	}
	nothing := func(Mode, bool) error { return unix.EOPNOTSUPP }
	for _, tt := range []struct {
		name    string
		change  func(*InterfaceConfig)
		release string
		bind    func(*unix.SockaddrXDP) error
		attach  func(Mode, bool) error
		rungs   []string // "name: reason", "" for the one in use
		log     []string // of the attacher, until the interface is open
		err     string   // if none
	}{
		{
			name:   "all works, small MTU: zero-copy without multi-buffer",
			change: func(c *InterfaceConfig) { c.MTU = 3814 },
			rungs:  []string{"zerocopy: "},
			log:    []string{"attach zerocopy frags=true"},
		},
		{
			name:   "one byte more: with",
			change: func(c *InterfaceConfig) { c.MTU = 3815 },
			rungs:  []string{"zerocopy with multi-buffer: "},
			log:    []string{"attach zerocopy frags=true"},
		},
		{
			name:   "unknown MTU counts as large",
			change: func(c *InterfaceConfig) { c.MTU = 0 },
			rungs:  []string{"zerocopy with multi-buffer: "},
			log:    []string{"attach zerocopy frags=true"},
		},
		{
			name:  "veth",
			bind:  noZC,
			rungs: []string{"zerocopy with multi-buffer: bind the socket of queue 0: operation not supported (the driver has no zero-copy for", "native with multi-buffer: "},
			log:   []string{"attach zerocopy frags=true", "detach", "attach native frags=true"},
		},
		{
			name:   "features spare the attempt",
			change: func(c *InterfaceConfig) { c.Features = &Features{Native: true} },
			rungs:  []string{"zerocopy with multi-buffer: the driver has no zero-copy", "native with multi-buffer: "},
			log:    []string{"attach native frags=true"},
		},
		{
			name:   "mlx5 at 9000",
			change: func(c *InterfaceConfig) { c.Features = &Features{Native: true, ZeroCopy: true, ZCMaxChain: 1} },
			rungs:  []string{"zerocopy with multi-buffer: the driver's zero-copy takes packets of one frame only (MTU 9000, zero-copy would need at most 3814)", "native with multi-buffer: "},
			log:    []string{"attach native frags=true"},
		},
		{
			name: "mlx5 at 3498",
			change: func(c *InterfaceConfig) {
				c.MTU, c.Features = 3498, &Features{Native: true, ZeroCopy: true, ZCMaxChain: 1}
			},
			rungs: []string{"zerocopy: "},
			log:   []string{"attach zerocopy frags=true"},
		},
		{
			name:   "lo",
			attach: noNative,
			rungs:  []string{"zerocopy with multi-buffer: attach the XDP program: operation not supported (the driver has no native XDP", "native with multi-buffer: attach the XDP program: operation not supported", "generic with multi-buffer: "},
			log:    []string{"attach zerocopy frags=true", "attach native frags=true", "attach generic frags=true"},
		},
		{
			name:   "features: no native",
			change: func(c *InterfaceConfig) { c.Features = &Features{} },
			rungs:  []string{"zerocopy with multi-buffer: the driver has no zero-copy", "native with multi-buffer: the driver has no native XDP", "generic with multi-buffer: "},
			log:    []string{"attach generic frags=true"},
		},
		{
			name:    "old kernel, jumbo",
			release: "5.15.0-91-generic",
			attach: func(m Mode, _ bool) error {
				if m == ModeNative {
					return unix.ERANGE
				}
				return nil
			},
			rungs: []string{"zerocopy with multi-buffer: MTU 9000, larger than 3814, needs multi-buffer: kernel 5.15.0-91-generic is older than 6.6", "native: attach the XDP program: numerical result out of range (MTU 9000 needs an XDP program with frags, which needs kernel 6.6 here", "generic: "},
			log:   []string{"attach native frags=false", "attach generic frags=false"},
		},
		{
			name:    "old kernel, small",
			release: "6.1.0",
			change:  func(c *InterfaceConfig) { c.MTU = 1500 },
			rungs:   []string{"zerocopy: "},
			log:     []string{"attach zerocopy frags=false"},
		},
		{
			name:   "pinned native",
			change: func(c *InterfaceConfig) { c.Want = WantNative },
			rungs:  []string{"native with multi-buffer: "},
			log:    []string{"attach native frags=true"},
		},
		{
			name:   "pinned generic",
			change: func(c *InterfaceConfig) { c.Want = WantGeneric },
			rungs:  []string{"generic with multi-buffer: "},
			log:    []string{"attach generic frags=true"},
		},
		{
			name:   "pinned zero-copy fails",
			change: func(c *InterfaceConfig) { c.Want = WantZeroCopy },
			bind:   noZC,
			log:    []string{"attach zerocopy frags=true", "detach"},
			err:    "xsk: eth7 cannot have zerocopy with multi-buffer: bind the socket of queue 0: operation not supported (",
		},
		{
			name:   "nothing works",
			attach: nothing,
			log:    []string{"attach zerocopy frags=true", "attach native frags=true", "attach generic frags=true"},
			err:    "xsk: no mode works on eth7: zerocopy with multi-buffer: attach the XDP program: operation not supported (the driver has no native XDP, or not with LRO or HW-GRO on, or not at this MTU: dmesg may say why); native with multi-buffer: attach",
		},
		{
			name:   "missing privilege is told once",
			attach: func(Mode, bool) error { return unix.EPERM },
			log:    []string{"attach zerocopy frags=true"},
			err:    "xsk: attach the XDP program on eth7: operation not permitted (needs CAP_NET_ADMIN and CAP_BPF)",
		},
		{
			name: "down is down in every mode",
			bind: func(*unix.SockaddrXDP) error { return unix.ENETDOWN },
			log:  []string{"attach zerocopy frags=true", "detach"},
			err:  "xsk: bind the socket on eth7 queue 0: network is down (ip link set eth7 up)",
		},
		{
			name:   "other program",
			attach: func(Mode, bool) error { return fmt.Errorf("program 5: %w", unix.EBUSY) },
			log:    []string{"attach zerocopy frags=true", "attach native frags=true", "attach generic frags=true"},
			err:    "native with multi-buffer: attach the XDP program: program 5: device or resource busy",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testInterface()
			if tt.change != nil {
				tt.change(&c)
			}
			f := newFake(t)
			if tt.release != "" {
				f.release = func() string { return tt.release }
			}
			if tt.bind == nil {
				tt.bind = func(*unix.SockaddrXDP) error { return nil }
			}
			bindFails(f, tt.bind)
			a := &fakeAttacher{attach: tt.attach}
			i, err := openInterface(c, a, f.system)
			if !slices.Equal(a.log, tt.log) {
				t.Errorf("attacher saw %q, want %q", a.log, tt.log)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v\nwant %s", err, tt.err)
				}
				if left := f.leaked(); left != nil || a.links != 0 {
					t.Errorf("left open: %v, %d links", left, a.links)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			rungs := i.Rungs()
			if len(rungs) != len(tt.rungs) {
				t.Fatalf("rungs %v, want %q", rungs, tt.rungs)
			}
			for n, r := range rungs {
				text := r.Name() + ": " + r.Reason()
				if !strings.HasPrefix(text, tt.rungs[n]) || (r.Err == nil) != (n == len(rungs)-1) {
					t.Errorf("rung %d is %q, want %q", n, text, tt.rungs[n])
				}
			}
			if last := rungs[len(rungs)-1]; i.Mode() != last.Mode || i.MultiBuffer() != last.MultiBuffer {
				t.Errorf("mode %v", i.Mode())
			}
			if sg := f.bound.Flags&unix.XDP_USE_SG != 0; sg != i.MultiBuffer() {
				t.Errorf("bound with flags %#x", f.bound.Flags)
			}
			if f.open["socket"] != 1 || a.links != 1 {
				t.Errorf("open: %v, %d links", f.open, a.links)
			}
		})
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

func TestTooOldForMultiBuffer(t *testing.T) {
	for release, want := range map[string]bool{
		"6.6.0": false, "6.5.13-300.fc39": true, "6.18.44-fc": false, "5.15.0": true, "7.0-rc1": false, "6.6-rc1": false, "": false, "unknown": false,
	} {
		if tooOldForMultiBuffer(release) != want {
			t.Errorf("%q: want %t", release, want)
		}
	}
}
