// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
)

// deadDevice makes a device without a carrier in the namespace of the calling goroutine.
func deadDevice(t *testing.T) string {
	t.Helper()
	const name = "sx-dead"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-peer"}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// procNet reads a file of the namespace of the calling goroutine.
func procNet(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCarriersAreAwaitedTogether: a device whose link is there receives while Open waits for
// that of another, which was named before.
func TestCarriersAreAwaitedTogether(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dead := deadDevice(t)
	var mu sync.Mutex
	var awaited []string
	cfg := Config{
		Streams: []Stream{{Source: "239.77.0.9:7148"}}, Interfaces: []string{dead, n.B.Name}, Mode: ModeNative,
		Frames: 64, HeapSize: 4096, Hugepages: pool.PagesOff, CarrierWait: time.Hour,
		Progress: func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			if p.Stage == StageCarrier {
				awaited = append(awaited, p.Device)
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan error, 1)
	n.Go(func() {
		r, err := Open(ctx, cfg)
		if err == nil {
			r.Close()
		}
		opened <- err
	})
	const group = "09004DEF" // as a number of a little-endian machine
	for deadline := time.Now().Add(20 * time.Second); ; {
		if in := procNet(t, "igmp"); strings.Contains(in, group) {
			if section := in[strings.Index(in, n.B.Name):]; strings.Count(in, group) != 1 || !strings.Contains(section, group) {
				t.Errorf("the group was joined on another device too:\n%s", in)
			}
			break
		}
		select {
		case err := <-opened:
			t.Fatalf("Open has returned: %v", err)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the device with a carrier waits for the other")
		}
	}
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(awaited, []string{dead, n.B.Name}) {
		t.Errorf("told of the wait for %v", awaited)
	}
}

// TestSocketsAreReadLast: what a UDP socket has is left there while Open waits for a carrier,
// since nobody can take a heap yet.
func TestSocketsAreReadLast(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	dead := deadDevice(t)
	const port, inHex = ":7150", ":1BEE"
	held := func() string { // bytes that the socket holds
		for line := range strings.Lines(procNet(t, "udp") + procNet(t, "udp6")) {
			if f := strings.Fields(line); len(f) > 4 && strings.HasSuffix(f[1], inHex) {
				_, bytes, _ := strings.Cut(f[4], ":")
				return bytes
			}
		}
		return "no socket"
	}
	found := ""
	cfg := Config{
		Streams: []Stream{{Source: "239.77.0.9:7148", Interfaces: []string{dead}}, {Source: port}},
		Frames:  64, HeapSize: 4096, Hugepages: pool.PagesOff, CarrierWait: 200 * time.Millisecond,
		Progress: func(p Progress) {
			switch p.Stage {
			case StageCarrier:
				c, err := net.Dial("udp", "127.0.0.1"+port)
				if err == nil {
					_, err = c.Write([]byte("no SPEAD"))
					c.Close()
				}
				if err != nil {
					t.Error(err)
				}
			case StageJoin:
				found = held()
			}
		},
	}
	var r *Receiver
	var err error
	n.Do(func() { r, err = Open(t.Context(), cfg) })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.devices) != 1 || r.devices[0].carrier {
		t.Fatalf("%d devices: this tests nothing", len(r.devices))
	}
	if strings.Trim(found, "0123456789ABCDEF") != "" || strings.Trim(found, "0") == "" {
		t.Errorf("the socket holds %q bytes when the wait for the carrier is over", found)
	}
	for deadline := time.Now().Add(20 * time.Second); r.Stats().Packets != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the socket is not read")
		}
		time.Sleep(time.Millisecond)
	}
}
