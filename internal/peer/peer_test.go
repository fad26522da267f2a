// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a receiver.
type fake struct {
	info    Info
	fds     []int
	started chan struct{} // Share waits for it; nil: it does not
}

func (f *fake) Info() Info { return f.info }

func (f *fake) Share(ifindex int, cancel <-chan struct{}, send func([]int) error) error {
	if f.started != nil {
		select {
		case <-f.started:
		case <-cancel:
			return nil
		}
	}
	if ifindex != 7 {
		return nil
	}
	return send(f.fds)
}

func serve(t *testing.T, f *fake) *Server {
	t.Helper()
	s, err := Listen(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// find is the one with the name; other processes of this machine may be there, too.
func find(t *testing.T, program string) *Info {
	t.Helper()
	list, err := List(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Program == program {
			return &list[i]
		}
	}
	return nil
}

func TestList(t *testing.T) {
	receives := []Receives{
		{Ifindex: 7, Interface: "eth1", Queues: []int{0, 2}, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148"), netip.MustParseAddrPort("[ff05::1]:7148")}},
		{Sockets: true, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:7149")}},
	}
	s := serve(t, &fake{info: Info{PID: 1, Program: "TestList", UID: 4711, Receives: receives}})
	got := find(t, "TestList")
	if got == nil {
		t.Fatal("not found")
	}
	// The kernel says who it is.
	if got.PID != os.Getpid() || got.UID != os.Geteuid() || got.Refused || len(got.Receives) != 2 ||
		!slices.Equal(got.Receives[0].Endpoints, receives[0].Endpoints) || !slices.Equal(got.Receives[0].Queues, []int{0, 2}) || !got.Receives[1].Sockets {
		t.Errorf("%+v", got)
	}
	if list, err := List(s); err != nil || slices.ContainsFunc(list, func(i Info) bool { return i.Program == "TestList" }) {
		t.Errorf("it finds itself: %+v, %v", list, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := find(t, "TestList"); got != nil {
		t.Errorf("%+v is there after the end", got)
	}
}

// Descriptors come whole, and are others than those that were sent.
func TestShare(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	started := make(chan struct{})
	serve(t, &fake{info: Info{Program: "TestShare"}, fds: []int{int(w.Fd())}, started: started})
	serve(t, &fake{info: Info{Program: "another"}, fds: nil})
	time.AfterFunc(10*time.Millisecond, func() { close(started) }) // it is starting when it is asked
	shared, refused, err := Share(nil, 7, nil)
	if err != nil || shared == nil || len(shared.FDs) != 1 || shared.PID != os.Getpid() || len(refused) != 0 {
		t.Fatalf("%+v, %+v, %v", shared, refused, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(uintptr(shared.FDs[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a child would inherit it: %d, %v", flags, err)
	}
	if _, err := unix.Write(shared.FDs[0], []byte("x")); err != nil {
		t.Error(err)
	}
	if err := unix.Close(shared.FDs[0]); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 2)
	if n, err := r.Read(buf); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if shared, _, err := Share(nil, 8, nil); shared != nil || err != nil {
		t.Errorf("an interface that nobody has: %+v, %v", shared, err)
	}
}

// Whoever waits can give up, and whoever is asked can end.
func TestShareEnds(t *testing.T) {
	never := make(chan struct{})
	s := serve(t, &fake{info: Info{Program: "TestShareEnds"}, started: never})
	cancel := make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() { close(cancel) })
	if shared, _, err := Share(nil, 7, cancel); shared != nil || err == nil {
		t.Errorf("cancelled: %+v, %v", shared, err)
	}
	time.AfterFunc(10*time.Millisecond, func() { s.Close() })
	if shared, _, err := Share(nil, 7, nil); shared != nil || err != nil {
		t.Errorf("it ended: %+v, %v", shared, err)
	}
}

// Nothing that a connection says disturbs a receiver, and it is not held up.
func TestHostile(t *testing.T) {
	s := serve(t, &fake{info: Info{Program: "TestHostile"}, fds: []int{0}})
	for _, text := range []string{"", "\n", "{", "[]", `{"share":"x"}`, `{"share":-1}`, string(bytes.Repeat([]byte("["), 1<<20))} {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: s.name})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text)) // it may be closed before all is written
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 1<<16)
		for err == nil {
			_, err = c.Read(buf)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: no end", text)
		}
		c.Close()
	}
	var idle []net.Conn
	for range maxQuestion + 10 {
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: s.name})
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		c.Close()
	}
	for deadline := time.Now().Add(time.Minute); find(t, "TestHostile") == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not answer any more")
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"239.1.2.3:7148", "239.1.2.3:7148", true},
		{"239.1.2.3:7148", "239.1.2.3:7149", false},
		{"239.1.2.3:7148", "239.1.2.4:7148", false},
		{"239.1.2.3:7148", "[::ffff:239.1.2.3]:7148", true},
		{"0.0.0.0:7148", "239.1.2.3:7148", true},
		{"239.1.2.3:7148", "[::]:7148", true},
		{"[fe80::1%eth0]:7148", "[fe80::1]:7148", true},
	} {
		a, b := netip.MustParseAddrPort(tt.a), netip.MustParseAddrPort(tt.b)
		got, ok := Overlap([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1"), a}, []netip.AddrPort{b})
		if ok != tt.want || ok && got != b {
			t.Errorf("%s and %s: %v, %v", tt.a, tt.b, got, ok)
		}
	}
}

// The same endpoint on another interface or in another VLAN is another one.
func TestReceivesOverlap(t *testing.T) {
	ep := []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:7148")}
	for _, tt := range []struct {
		a, b Receives
		want bool
	}{
		{Receives{Ifindex: 3}, Receives{Ifindex: 3}, true},
		{Receives{Ifindex: 3}, Receives{Ifindex: 4}, false},
		{Receives{Ifindex: 3}, Receives{VLAN: AnyVLAN}, true},
		{Receives{Ifindex: 3, VLAN: "7"}, Receives{Ifindex: 3, VLAN: "8"}, false},
		{Receives{Ifindex: 3, VLAN: "7"}, Receives{Ifindex: 3}, false},
		{Receives{Ifindex: 3, VLAN: "7"}, Receives{Ifindex: 3, VLAN: AnyVLAN}, true},
	} {
		tt.a.Endpoints, tt.b.Endpoints = ep, ep
		_, ab := tt.a.Overlap(&tt.b)
		_, ba := tt.b.Overlap(&tt.a)
		if ab != tt.want || ba != tt.want {
			t.Errorf("%+v and %+v: %v, %v", tt.a, tt.b, ab, ba)
		}
	}
}

func FuzzParseNames(f *testing.F) {
	f.Add([]byte("Num       RefCount Protocol Flags    Type St Inode Path\n00000000: 00000002 00000000 00010000 0001 01 12345 @speadx-1/0123456789abcdef\n"))
	f.Add([]byte("0: 2 0 0 1 1 5 @speadx-1/0123456789abcdef\n0: 2 0 0 1 1 6 @speadx-1/0123456789abcdef\n"))
	f.Add([]byte("0: 2 0 0 1 1 5 @speadx-1/\n0: 2 0 0 1 1 5 /run/speadx-1/0123456789abcdef\n0: 2 0 0 1 1 5 @speadx-1/../../etc/passwd"))
	f.Fuzz(func(t *testing.T, table []byte) {
		for _, name := range parseNames(table) {
			if len(name) != len(prefix)+16 || !bytes.Contains(table, []byte(name)) {
				t.Errorf("%q", name)
			}
		}
	})
}

func TestParseNames(t *testing.T) {
	table := []byte("Num       RefCount Protocol Flags    Type St Inode Path\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 20001 @speadx-1/0123456789abcdef\n" +
		"0000000000000000: 00000003 00000000 00000000 0001 03 20002 @speadx-1/0123456789abcdef\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 20003 @speadx-2/0123456789abcdef\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 20004 /run/dbus\n" +
		"0000000000000000: 00000002 00000000 00010000 0001 01 20005\n")
	if got := parseNames(table); !slices.Equal(got, []string{"@speadx-1/0123456789abcdef"}) {
		t.Errorf("%q", got)
	}
}

// An answer to a stranger has nothing but the process.
func TestRefusedInfo(t *testing.T) {
	b, err := json.Marshal(Info{PID: 1, Program: "speadx", UID: 5, Refused: true})
	if err != nil || string(b) != `{"pid":1,"program":"speadx","uid":5,"refused":true}` {
		t.Errorf("%s, %v", b, err)
	}
}
