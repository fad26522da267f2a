// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// TestInterfaceFails: the interface is set down, or disappears, while packets are
// being received. What had come is handed over, then Next says what happened, and
// everything is given back.
func TestInterfaceFails(t *testing.T) {
	const heaps = 5
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		for _, gone := range []bool{false, true} {
			name := mode.String() + "/down"
			if gone {
				name = mode.String() + "/gone"
			}
			t.Run(name, func(t *testing.T) {
				n := newWire(t, testnet.Options{Queues: 2})
				before := takeInventory(t)
				goroutines := goleak.IgnoreCurrent()
				cfg := one(n)
				cfg.Mode, cfg.RingHeaps = mode, heaps
				r, err := openQuietly(n, cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				sent := sendHeaps(t, n, send.Config{Heaps: heaps, HeapSize: heapBytes, MaxPacket: heapPacket, NoDescriptors: true, NoStop: true})
				awaitStats(t, r, "finished heaps", func(s *speadx.Stats) bool { return s.Streams[0].Counts[ledger.HeapsComplete] == heaps })
				n.Do(func() {
					link := linkByName(t, n.B.Name)
					if gone {
						err = netlink.LinkDel(link)
					} else {
						err = netlink.LinkSetDown(link)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				<-r.Done()
				var list []got
				var failed error
				for h, err := range r.Heaps(t.Context()) {
					if failed = err; err == nil {
						list = append(list, inspect(h))
						h.Release()
					}
				}
				checkHeaps(t, list, heaps)
				if !errors.Is(failed, xsk.ErrDown) || !strings.Contains(failed.Error(), n.B.Name) {
					t.Errorf("the error does not tell: %v", failed)
				}
				if _, again := r.Next(t.Context()); !errors.Is(again, xsk.ErrDown) {
					t.Errorf("asked again it says %v", again)
				}
				if s := settle(t, r); s.Packets != sent.Packets {
					t.Errorf("%d packets of %d", s.Packets, sent.Packets)
				}
				if err := r.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				checkNext(t, r, speadx.ErrClosed)
				if err := goleak.Find(goroutines); err != nil {
					t.Error(err)
				}
				takeInventory(t).compare(t, before, 1)

				if !gone {
					if left := programs(t, n); left != "" {
						t.Errorf("left on the interface: %s", left)
					}
					n.Do(func() { setUp(t, n.B.Name) })
					open(t, n, cfg)
				}
				other := newWire(t, testnet.Options{})
				r = open(t, other, one(other))
				next := receiveAside(t, r)
				sendHeaps(t, other, send.Config{Heaps: 3, HeapSize: heapBytes})
				checkHeaps(t, next(), 3)
			})
		}
	}
}

// TestRefusals: what cannot be, with a message that names it, and with nothing
// left behind.
func TestRefusals(t *testing.T) {
	n := newWire(t, testnet.Options{})
	secondWire(t, n)
	n.Do(func() {
		if err := netlink.LinkSetDown(linkByName(t, secondB)); err != nil {
			t.Fatal(err)
		}
	})
	taken := listen(t, n, ":7999")
	defer taken.Close()
	foreign := filepath.Join(captures, "index.json")
	empty := filepath.Join(t.TempDir(), "empty.pcap")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name string
		mend func(*speadx.Config)
		want []string // in the message
	}{
		{"no stream", func(c *speadx.Config) { c.Streams = nil }, []string{"no stream"}},
		{"unknown interface", func(c *speadx.Config) { c.Interfaces = []string{"nosuch0"} }, []string{`"nosuch0"`, n.B.Name}},
		{"interface is down", func(c *speadx.Config) { c.Interfaces = []string{secondB} }, []string{secondB + " is down", "ip link set " + secondB + " up"}},
		{"second interface is down", func(c *speadx.Config) { c.Interfaces = []string{n.B.Name, secondB} }, []string{secondB + " is down"}},
		{"no such queue", func(c *speadx.Config) { c.Queues = []int{0, 7} }, []string{n.B.Name, "no queue 7", "ethtool"}},
		{"negative queue", func(c *speadx.Config) { c.Queues = []int{-1} }, []string{"Config.Queues: -1"}},
		{"no zero-copy", func(c *speadx.Config) { c.Mode = speadx.ModeZeroCopy }, []string{n.B.Name, "zero-copy"}},
		{"no busy polling", func(c *speadx.Config) { c.Mode, c.Wait = speadx.ModeGeneric, speadx.WaitBusy }, []string{"busy polling"}},
		{"no busy polling, whatever the mode", func(c *speadx.Config) { c.Mode, c.Wait = speadx.ModeAuto, speadx.WaitBusy }, []string{"busy polling"}},
		{"frames", func(c *speadx.Config) { c.Frames = 3000 }, []string{"3000", "power of two", "4096"}},
		{"negative heap size", func(c *speadx.Config) { c.HeapSize = -1 }, []string{"Config.HeapSize", "-1"}},
		{"heap size beyond memory", func(c *speadx.Config) { c.HeapSize = 1 << 42 }, []string{"pool", "available"}},
		{"heap size beyond numbers", func(c *speadx.Config) { c.HeapSize = 1 << 62 }, []string{"Config.HeapSize"}},
		{"memory of many heaps", func(c *speadx.Config) { c.HeapSize, c.RingHeaps = 1<<30, 30_000 }, []string{"pool"}},
		{"more slots than a stream can have", func(c *speadx.Config) { c.RingHeaps = 60_000 }, []string{"slots of the pool", "and as many for small heaps"}},
		{"too many heaps", func(c *speadx.Config) { c.ConcurrentHeaps, c.Substreams = 1<<20, 1<<20 }, []string{"heaps"}},
		{"no such pages", func(c *speadx.Config) { c.Hugepages = pool.Pages1G }, []string{"pages", "nr_hugepages"}},
		{"no such processor", func(c *speadx.Config) { c.CPUs = []int{1023} }, []string{"processor 1023"}},
		{"source twice", func(c *speadx.Config) { c.Streams = append(c.Streams, c.Streams[0]) }, []string{"received by", endpoint(n, port)}},
		{"no such source", func(c *speadx.Config) { c.Streams[0].Source = "nosuch.pcap" }, []string{"nosuch.pcap"}},
		{"source is nothing", func(c *speadx.Config) { c.Streams[0].Source = "" }, []string{"source"}},
		{"foreign file", func(c *speadx.Config) { c.Streams = append(c.Streams, speadx.Stream{Source: foreign}) }, []string{foreign, "neither a pcap nor a pcapng"}},
		{"empty file", func(c *speadx.Config) { c.Streams = append(c.Streams, speadx.Stream{Source: empty}) }, []string{empty, "empty"}},
		{"directory", func(c *speadx.Config) { c.Streams[0].Source = captures }, []string{captures, "neither a file nor a pipe"}},
		{"any address without an interface", func(c *speadx.Config) { c.Streams[0].Source, c.Interfaces = ":7148", nil }, []string{":7148", "interface"}},
		{"no route", func(c *speadx.Config) { c.Streams[0].Source, c.Interfaces = "[2001:db8::1]:7148", nil }, []string{"2001:db8::1"}},
		{"port taken", func(c *speadx.Config) { c.Mode, c.Streams[0].Source = speadx.ModeUDP, ":7999" }, []string{"7999", "taken by this process"}},
		{"port taken, of the second stream", func(c *speadx.Config) {
			// The first one is on the interface by then.
			c.Mode, c.Interfaces = speadx.ModeAuto, nil
			c.Streams[0].Interfaces = []string{n.B.Name}
			c.Streams = append(c.Streams, speadx.Stream{Source: ":7999"})
		}, []string{"7999", "taken by this process"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := one(n)
			tt.mend(&cfg)
			before := takeInventory(t)
			goroutines := goleak.IgnoreCurrent()
			r, err := openQuietly(n, cfg)
			if err == nil {
				r.Close()
				t.Fatal("opened")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if text := err.Error(); !strings.HasPrefix(text, "speadx: ") || strings.Count(text, "speadx: ") != 1 {
				t.Errorf("%q", text)
			}
			checkNothingLeft(t, n, before, goroutines)
		})
	}
	r := open(t, n, one(n)) // and what can be had is had
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// checkNothingLeft checks that nothing is left of an Open that failed.
func checkNothingLeft(t *testing.T, n *testnet.Net, before inventory, goroutines goleak.Option) {
	t.Helper()
	if err := goleak.Find(goroutines); err != nil {
		t.Error(err)
	}
	takeInventory(t).compare(t, before, 1)
	if left := programs(t, n); left != "" {
		t.Errorf("left on the interface: %s", left)
	}
}

// listen opens a UDP socket at the receiver's end.
func listen(t *testing.T, n *testnet.Net, addr string) (conn net.PacketConn) {
	t.Helper()
	var err error
	n.Do(func() { conn, err = net.ListenPacket("udp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestOtherProgram: whoever has the interface keeps it.
func TestOtherProgram(t *testing.T) {
	n := newWire(t, testnet.Options{})
	foreign := passAll(t, n)
	owner := programs(t, n)
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			cfg := one(n)
			cfg.Mode = mode
			before := takeInventory(t)
			_, err := openQuietly(n, cfg)
			if !errors.Is(err, bpf.ErrOtherProgram) || !strings.Contains(err.Error(), n.B.Name) || !strings.Contains(err.Error(), strings.TrimPrefix(owner, "XDP program ")) {
				t.Errorf("%v does not name %s", err, owner)
			}
			var occupied *speadx.OccupiedError
			if !errors.As(err, &occupied) || occupied.Device != n.B.Name || occupied.Owner.PID != os.Getpid() || len(occupied.Choices()) < 3 {
				t.Errorf("%+v does not name this process", occupied)
			}
			takeInventory(t).compare(t, before, 1)
		})
	}
	t.Run("auto", func(t *testing.T) {
		cfg := one(n)
		cfg.Mode = speadx.ModeAuto
		if _, err := openQuietly(n, cfg); !errors.Is(err, bpf.ErrOtherProgram) {
			t.Errorf("what was asked for, packet buffers, is not had: %v", err)
		}
		cfg.Frames = 0
		r := open(t, n, cfg)
		in := r.Info()
		if len(in.Devices) != 0 || len(in.Sockets) != 1 || len(in.Refused) != 1 || !errors.Is(in.Refused[0].Err, bpf.ErrOtherProgram) {
			t.Errorf("%d devices, %d sockets, refused %v", len(in.Devices), len(in.Sockets), in.Refused)
		}
		list := receiveAside(t, r)
		sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: heapBytes})
		checkHeaps(t, list(), 3)
		settle(t, r)
	})
	if now := programs(t, n); now != owner {
		t.Errorf("on the interface is %q, not %q", now, owner)
	}
	if err := foreign.Close(); err != nil {
		t.Error(err)
	}
	open(t, n, one(n))
}

// TestPoolOfSockets: where sockets are used in the end, the pool is that for sockets.
func TestPoolOfSockets(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	first := one(n)
	first.Streams[0].Source, first.Frames = endpoint(n, 7001), 64
	open(t, n, first) // has the interface
	cfg := one(n)
	cfg.Mode, cfg.Frames = speadx.ModeAuto, 0
	r := open(t, n, cfg)
	in := r.Info()
	if len(in.Sockets) != 1 || len(in.Streams) != 1 {
		t.Fatalf("%d sockets, %d streams", len(in.Sockets), len(in.Streams))
	}
	if sum := in.Streams[0].Sum; sum.Threads != 1 || sum.Live != speadx.DefaultConcurrentHeaps+14 {
		t.Errorf("the pool is for %+v", sum)
	}
	list := receiveAside(t, r)
	sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: heapBytes}) // and the stop ends the stream
	checkHeaps(t, list(), 3)
	settle(t, r)
}

// lacking are the capabilities that an error says are missing.
func lacking(err error) []string {
	var program *bpf.PermissionError
	var socket *xsk.OpenError
	switch {
	case errors.As(err, &program):
		return program.Missing
	case errors.As(err, &socket) && socket.Forbidden == "capability":
		return []string{"CAP_NET_RAW"}
	}
	return nil
}

// TestMissingCapabilities: without them UDP sockets do, if the mode was left to
// us; else the error names what is missing.
func TestMissingCapabilities(t *testing.T) {
	n := newWire(t, testnet.Options{})
	all := []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	for _, tt := range []struct {
		name string
		keep []uint
		want []string
	}{
		{"none", nil, []string{"CAP_BPF", "CAP_NET_ADMIN"}},
		{"no CAP_BPF", all[1:], []string{"CAP_BPF"}},
		{"no CAP_NET_ADMIN", []uint{unix.CAP_BPF, unix.CAP_NET_RAW}, []string{"CAP_NET_ADMIN"}},
		{"no CAP_NET_RAW", all[:2], []string{"CAP_NET_RAW"}},
		{"what it takes", all, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := takeInventory(t)
			cfg := one(n)
			cfg.Frames = 64
			r, err := openWith(t, n, tt.keep, cfg)
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if in := r.Info(); len(in.Devices) != 1 {
					t.Errorf("notes %q", in.Notes)
				}
				r.Close()
				return
			}
			if err == nil {
				r.Close()
				t.Fatal("opened")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			takeInventory(t).compare(t, before, 1)

			cfg.Mode, cfg.Frames = speadx.ModeAuto, 0
			if r, err = openWith(t, n, tt.keep, cfg); err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			in := r.Info()
			if len(in.Sockets) != 1 || len(in.Devices) != 0 {
				t.Errorf("%d sockets, %d devices", len(in.Sockets), len(in.Devices))
			}
			if len(in.Refused) != 1 || !slices.Equal(lacking(in.Refused[0].Err), tt.want) {
				t.Errorf("refused %+v, want for lack of %q", in.Refused, tt.want)
			}
			// The receive buffer may be small without CAP_NET_ADMIN.
			list := receiveAside(t, r)
			sendHeaps(t, n, send.Config{Heaps: 3, HeapSize: 8 << 10})
			checkHeaps(t, list(), 3)
			settle(t, r)
		})
	}
}

// openWith opens a receiver on a thread that has no other capabilities.
func openWith(t *testing.T, n *testnet.Net, keep []uint, cfg speadx.Config) (r *speadx.Receiver, err error) {
	t.Helper()
	n.Do(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var had, less [2]unix.CapUserData
		if err = unix.Capget(&header, &had[0]); err != nil {
			return
		}
		less = had
		less[0].Effective, less[1].Effective = 0, 0
		for _, c := range keep {
			less[c/32].Effective |= 1 << (c % 32)
		}
		if err = unix.Capset(&header, &less[0]); err != nil {
			return
		}
		r, err = speadx.Open(context.Background(), cfg)
		if back := unix.Capset(&header, &had[0]); back != nil {
			t.Error(back)
		}
	})
	return r, err
}

// TestOpenFailsAnywhere lets the process have one descriptor more at a time, so
// that Open fails wherever it opens one. Each time it gives back what it has
// opened until then.
func TestOpenFailsAnywhere(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	cfg := one(n)
	cfg.Mode, cfg.Frames, cfg.HeapSize, cfg.Interfaces = speadx.ModeAuto, 64, 8192, nil // with frames there is no other way
	cfg.Streams = []speadx.Stream{
		{Source: "239.77.0.9:7148", Interfaces: []string{n.B.Name}}, // queues, and a membership
		{Source: ":7999"}, // a socket
		{Source: filepath.Join(captures, "plain-64-48.pcap")},
	}
	if r, err := openQuietly(n, cfg); err != nil { // and what is opened once for ever is open
		testnet.NeedPrivilege(t, err)
	} else {
		r.Close()
	}
	before := takeInventory(t)
	goroutines := goleak.IgnoreCurrent()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for more := uint64(0); ; more++ {
		var r *speadx.Receiver
		var err error
		n.Do(func() { // which has its own descriptor by then
			limit := unix.Rlimit{Cur: lowestDescriptor(t) + more, Max: was.Max}
			if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil {
				t.Fatal(e)
			}
			r, err = speadx.Open(context.Background(), cfg)
			if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); e != nil {
				t.Fatal(e)
			}
		})
		if err == nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			break
		}
		failed++
		checkNothingLeft(t, n, before, goroutines)
		if t.Failed() || more > 200 {
			t.Fatalf("with %d descriptors: %v", more, err)
		}
	}
	if failed < 10 {
		t.Errorf("Open failed only %d times", failed)
	}
	checkNothingLeft(t, n, before, goroutines)
}

// lowestDescriptor is the number that the next descriptor gets.
func lowestDescriptor(t *testing.T) uint64 {
	t.Helper()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return uint64(fd)
}

// TestTruncatedCapture: what stands before the damage is handed over, then Next
// says what is wrong with the file.
func TestTruncatedCapture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(captures, "plain-64-48.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(path, text[:2*len(text)/5], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := speadx.Open(t.Context(), speadx.Config{Streams: []speadx.Stream{{Source: path}}, Hugepages: pool.PagesOff})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	heaps := 0
	var failed error
	for h, err := range r.Heaps(t.Context()) {
		if failed = err; err == nil {
			heaps++
			h.Release()
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), path) || !strings.Contains(failed.Error(), "ends inside") {
		t.Errorf("the error does not tell: %v", failed)
	}
	s := settle(t, r)
	if heaps != 2 || s.Fates[ledger.DiscardedIncomplete] == 0 {
		t.Errorf("%d heaps: %s", heaps, account(s))
	}
}
