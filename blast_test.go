// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
)

// What the kernel makes arrives as whole heaps, and both sides' ledgers are of one
// mind: with and without faults, descriptors and stop heaps, in both families.
func TestBlast(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	for _, tt := range []struct {
		name string
		c    send.Config
	}{
		{"plain", send.Config{HeapSize: 100_000}},
		{"no descriptors", send.Config{HeapSize: 100_000, NoDescriptors: true}},
		{"one packet a heap", send.Config{HeapSize: 1024, Items: 2}},
		{"large packets in flight", send.Config{HeapSize: 300_000, MaxPacket: 3200, InFlight: 4}},
		{"faults", send.Config{HeapSize: 100_000, InFlight: 2, Faults: send.Faults{Drop: 1. / 300, Duplicate: 1. / 7, Reorder: 1. / 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, n, one(n))
			list := receiveAside(t, r)
			c := tt.c
			c.Engine, c.Heaps, c.Rate = send.Blast, 200, 1e9
			res, err := openSender(t, n, c).Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			heaps := list()
			s := settle(t, r)
			if res.Heaps != 200 || res.StopHeaps != 1 || res.Refused != 0 || s.Packets != res.Packets {
				t.Errorf("sent %+v\nreceived %s", res, account(s))
			}
			if faults := c.Faults != (send.Faults{}); faults != (res.Dropped > 0) || faults != (res.Duplicated > 0) || faults != (res.Reordered > 0) {
				t.Errorf("sent %+v", res)
			}
			complete := uint64(0)
			for _, h := range heaps {
				if h.complete {
					complete++
				}
				if h.items < max(c.Items, 1) {
					t.Errorf("heap %d has %d items", h.cnt, h.items)
				}
			}
			if complete != res.Heaps-res.DamagedHeaps-res.MissingHeaps {
				t.Errorf("received %d heaps, %d of them complete, of %+v", len(heaps), complete, res)
			}
		})
	}
}

// The end of the context finishes the heaps in flight, and stop heaps follow.
func TestBlastCancelled(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	r := open(t, n, one(n))
	list := receiveAside(t, r)
	s := openSender(t, n, send.Config{Engine: send.Blast, HeapSize: 10_000, InFlight: 4, Heaps: -1, Rate: 1e9})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for r.Stats().Packets < 100 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	res, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	heaps := list()
	stats := settle(t, r)
	if res.CutHeaps != 0 || res.StopHeaps != 1 || res.Packets+res.Refused < 100 || stats.Packets != res.Packets || uint64(len(heaps)) != res.Heaps {
		t.Errorf("sent %+v; received %d heaps, %s", res, len(heaps), account(stats))
	}
	if slices.ContainsFunc(heaps, func(h got) bool { return !h.complete }) {
		t.Errorf("not all heaps are complete")
	}
}
