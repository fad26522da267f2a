// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/hack/vm/matrix"
)

// boot is what this guest was told.
var boot matrix.Boot

// port is what the tests send to.
const port = 7148

// patience is how long a test waits for what should happen soon. Guests are emulated,
// and the machine below them may be busy.
const patience = time.Minute

func TestMain(m *testing.M) {
	text, err := os.ReadFile(matrix.BootFile)
	if err == nil {
		err = json.Unmarshal(text, &boot)
	}
	if err == nil {
		err = connect()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "this is not a guest of hack/vm:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// wire is a receiving card in the tests' own network namespace, and a sending card in
// another.
type wire struct {
	matrix.Wire
	nic     matrix.NIC
	rx, tx  string // names of the interfaces
	sender  namespace
	rx4     netip.Addr
	tx4     netip.Addr
	rx6     netip.Addr
	tx6     netip.Addr
	rxIndex int
}

var wires []*wire

// connect finds the cards, and puts those that send into namespaces of their own.
func connect() error {
	for i, mw := range boot.Wires {
		k := slices.IndexFunc(matrix.NICs, func(n matrix.NIC) bool { return n.Name == mw.NIC })
		if k < 0 {
			return fmt.Errorf("no card is called %s", mw.NIC)
		}
		rx, err := linkByMAC(mw.Receiver)
		if err != nil {
			return fmt.Errorf("%s: %w", mw.NIC, err)
		}
		tx, err := linkByMAC(mw.Sender)
		if err != nil {
			return fmt.Errorf("the sender to %s: %w", mw.NIC, err)
		}
		w := &wire{
			Wire: mw, nic: matrix.NICs[k], rx: fmt.Sprintf("rx%d", i), tx: fmt.Sprintf("tx%d", i),
			rx4: netip.AddrFrom4([4]byte{10, 9, byte(i), 1}), tx4: netip.AddrFrom4([4]byte{10, 9, byte(i), 2}),
			rx6: netip.MustParseAddr(fmt.Sprintf("fd09:0:0:%x::1", i)), tx6: netip.MustParseAddr(fmt.Sprintf("fd09:0:0:%x::2", i)),
			rxIndex: rx.Attrs().Index,
		}
		if w.sender, err = newNamespace(w.tx); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"ip", "link", "set", rx.Attrs().Name, "name", w.rx},
			{"ip", "link", "set", tx.Attrs().Name, "name", w.tx, "netns", w.tx},
		} {
			if err := execute(args...); err != nil {
				return err
			}
		}
		wires = append(wires, w)
	}
	return nil
}

func linkByMAC(mac string) (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.Attrs().HardwareAddr.String() == mac {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no interface has the address %s", mac)
}

// prepare gives both ends of a wire an MTU and addresses, and waits for the carrier. A
// neighbour's address needs no look-up, so nothing but the tests' packets is on the wire.
func (w *wire) prepare(t *testing.T, mtu int) {
	t.Helper()
	if w.nic.FixedRings && linkOf(t, w.rx).Attrs().MTU != mtu {
		// QEMU's vmxnet3 loses jumbo packets after a change of the MTU, with UDP sockets
		// too, if it has received before.
		w.rebind(t, func() {})
	}
	w.configure(t, w.rx, mtu, w.rx4, w.rx6, w.tx4, w.tx6, w.Wire.Sender)
	w.sender.do(t, func() {
		w.configure(t, w.tx, mtu, w.tx4, w.tx6, w.rx4, w.rx6, w.Receiver)
		// QEMU's igb cuts segmented UDP datagrams into IP fragments. A sender that
		// lets the card do it would send nothing that can be received.
		_ = execute("ethtool", "-K", w.tx, "tx-udp-segmentation", "off")
	})
	awaitCarrier(t, w.rx)
	w.sender.do(t, func() { awaitCarrier(t, w.tx) })
}

func (w *wire) configure(t *testing.T, name string, mtu int, own4, own6, peer4, peer6 netip.Addr, mac string) {
	t.Helper()
	run(t, "ip", "-4", "addr", "flush", "dev", name) // IPv6 needs its link-local address for MLD
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := linkOf(t, name).Attrs().MTU; got != mtu {
		run(t, "ip", "link", "set", name, "down") // e1000e takes no other MTU while it is up
		run(t, "ip", "link", "set", name, "mtu", fmt.Sprint(mtu))
	}
	run(t, "ip", "link", "set", name, "up")
	for _, a := range []struct {
		own, peer netip.Addr
		bits      string
	}{{own4, peer4, "/24"}, {own6, peer6, "/64"}} {
		run(t, "ip", "addr", "replace", a.own.String()+a.bits, "dev", name, "nodad")
		run(t, "ip", "neigh", "replace", a.peer.String(), "lladdr", mac, "dev", name)
	}
}

// awaitCarrier waits until an interface has a carrier.
func awaitCarrier(t *testing.T, name string) {
	t.Helper()
	await(t, "a carrier of "+name, func() bool {
		return linkOf(t, name).Attrs().RawFlags&unix.IFF_LOWER_UP != 0
	})
}

// await waits until cond holds, of which no event tells.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v", what, patience)
		}
	}
}

func linkOf(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("interface %s: %v", name, err)
	}
	return l
}

// run runs a program that must succeed.
func run(t *testing.T, args ...string) {
	t.Helper()
	if err := execute(args...); err != nil {
		t.Fatal(err)
	}
}

func execute(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// namespace is a network namespace that ip netns made.
type namespace string

func newNamespace(name string) (namespace, error) {
	if err := execute("ip", "netns", "add", name); err != nil {
		return "", err
	}
	return namespace(name), nil
}

// do runs f on the calling goroutine inside the namespace. The sockets that f opens
// stay in it.
func (n namespace) do(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	own, err := os.Open(filepath.Join("/run/netns", string(n)))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	defer func() {
		// Where that fails the thread stays locked, and ends with its goroutine.
		if err := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
}

// setCarrier has the emulator give a card a carrier, or take it.
func setCarrier(t *testing.T, device string, on bool) {
	t.Helper()
	wish(t, "link "+device+" "+map[bool]string{true: "on", false: "off"}[on])
}

// host is the serial port on which the host is asked for something.
var host *bufio.ReadWriter

// wish asks the host for something and waits for it.
func wish(t *testing.T, text string) {
	t.Helper()
	if host == nil {
		f, err := openSerial("/dev/ttyS2")
		if err != nil {
			t.Fatal(err)
		}
		host = bufio.NewReadWriter(bufio.NewReader(f), bufio.NewWriter(f))
	}
	fmt.Fprintln(host, text)
	if err := host.Flush(); err != nil {
		t.Fatal(err)
	}
	answer, err := host.ReadString('\n')
	if err != nil || answer != "ok\n" {
		t.Fatalf("the host answers %q to %q: %v", answer, text, err)
	}
}

// openSerial opens a serial port whose bytes the kernel does not change.
func openSerial(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return f, unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}
