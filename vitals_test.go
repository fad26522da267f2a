// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/ledger"
)

// awaitDiagnosis waits until the receiver has found something on a device.
func awaitDiagnosis(t *testing.T, r *speadx.Receiver, code ledger.Code, device string) ledger.Diagnosis {
	t.Helper()
	var found []ledger.Code
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found = nil
		for _, d := range r.Diagnoses() {
			if d.Code == code && d.Device == device {
				return d
			}
			found = append(found, d.Code)
		}
	}
	t.Fatalf("no %s on %s, but %v", code, device, found)
	return ledger.Diagnosis{}
}

// TestOneOfSeveralInterfacesFails: one of two interfaces goes down. The other is still
// received from, and the first one again when it is up. Without both, reception ends.
func TestOneOfSeveralInterfacesFails(t *testing.T) {
	group := netip.MustParseAddrPort("239.1.2.3:7148")
	for _, mode := range []speadx.Mode{speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		t.Run(mode.String(), func(t *testing.T) {
			n := newWire(t, testnet.Options{Queues: 2})
			secondWire(t, n)
			cfg := one(n)
			cfg.Streams[0].Source, cfg.Interfaces, cfg.Mode = group.String(), []string{n.B.Name, secondB}, mode
			cfg.IgnoreStop = true
			r := open(t, n, cfg)
			cnt := uint64(0)
			pass := func(from string) {
				t.Helper()
				cnt++
				sendHeaps(t, n, send.Config{
					Destinations: []netip.AddrPort{group}, Interface: from, Heaps: 1, HeapSize: heapBytes, MaxPacket: heapPacket,
					First: cnt - 1, NoDescriptors: true, NoStop: true,
				})
				h, err := r.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if h.Cnt() != cnt || !h.Complete() {
					t.Errorf("heap %d, complete %t; want %d", h.Cnt(), h.Complete(), cnt)
				}
				h.Release()
			}
			set := func(name string, up bool) {
				t.Helper()
				n.Do(func() {
					var err error
					if up {
						err = netlink.LinkSetUp(linkByName(t, name))
					} else {
						err = netlink.LinkSetDown(linkByName(t, name))
					}
					if err != nil {
						t.Fatal(err)
					}
				})
			}
			pass(n.A.Name)
			pass(secondA)
			set(secondB, false)
			awaitDiagnosis(t, r, ledger.InterfaceDown, secondB)
			pass(n.A.Name)
			set(secondB, true)
			awaitDiagnosis(t, r, ledger.InterfaceBack, secondB)
			pass(secondA)
			pass(n.A.Name)

			set(secondB, false)
			set(n.B.Name, false)
			select {
			case <-r.Done():
			case <-time.After(patience):
				t.Fatal("reception goes on without an interface")
			}
			if _, err := r.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "down") {
				t.Errorf("the end says %v", err)
			}
			s := r.Stats()
			checkLedger(t, &s)
		})
	}
}

// TestQueuesAdded: ethtool gives an interface more queues than were opened.
func TestQueuesAdded(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 4})
	channels := func(count uint32) {
		n.Do(func() {
			tool, err := ethtool.NewEthtool()
			if err != nil {
				t.Fatal(err)
			}
			defer tool.Close()
			if _, err := tool.SetChannels(n.B.Name, ethtool.Channels{RxCount: count, TxCount: 1}); err != nil {
				t.Fatal(err)
			}
		})
	}
	cfg := one(n)
	cfg.Mode = speadx.ModeGeneric // a veth refuses fewer queues than its peer has with a native program
	channels(1)
	r := open(t, n, cfg)
	channels(4)
	d := awaitDiagnosis(t, r, ledger.QueuesAdded, n.B.Name)
	if d.Value != 1 || d.Suggested != 4 || d.Count != 3 {
		t.Errorf("%+v", d)
	}
}
