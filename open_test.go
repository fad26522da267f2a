// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
)

// TestOrderOfOpen: first there is memory, then the program is attached, and groups are
// joined when all else is there.
func TestOrderOfOpen(t *testing.T) {
	testnet.New(t, testnet.Options{})
	config := Config{
		Streams: []Stream{{Source: "239.77.0.9:7148"}}, Interfaces: []string{"sx-b"}, Mode: ModeNative,
		Frames: 64, HeapSize: 4096, Hugepages: pool.PagesOff,
	}
	prepare := func(c Config) *Receiver {
		c, err := c.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		p, err := makePlan(&c, thisMachine)
		if err != nil {
			t.Fatal(err)
		}
		return newReceiver(t.Context(), c, p)
	}
	member := func() bool {
		text, err := os.ReadFile("/proc/thread-self/net/igmp")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "09004DEF") // as a number of a little-endian machine
	}

	tooMuch := config
	tooMuch.HeapSize = 1 << 44
	r := prepare(tooMuch)
	if err := r.open(); !errors.Is(err, pages.ErrMemory) {
		t.Errorf("without the memory: %v", err)
	}
	if len(r.devices) != 0 || r.groups != nil {
		t.Error("without the memory, the device was opened")
	}
	r.giveBack()

	r = prepare(config)
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	if r.pool == nil || len(r.devices) != 1 || len(r.threads) != 1 {
		t.Errorf("pool %v, %d devices, %d threads", r.pool, len(r.devices), len(r.threads))
	}
	if member() {
		t.Error("the group was joined before anybody reads")
	}
	if err := r.letIn(t.Context()); err != nil {
		t.Error(err)
	}
	if !member() {
		t.Error("the group was not joined")
	}
	began := time.Now()
	r.giveBack()
	if member() {
		t.Error("the group was not left")
	}
	if took := time.Since(began); took < reportTime {
		t.Errorf("the program was detached %v after the group was left", took)
	}
}

// TestPoolFollowsQueues: where attaching the program adds queues the pool is made anew
// for them, and else it stays.
func TestPoolFollowsQueues(t *testing.T) {
	c, err := Config{
		Streams: []Stream{{Source: "10.0.0.1:1"}}, Interfaces: []string{"eth1"}, Frames: 64, HeapSize: 1 << 20, Hugepages: pool.PagesOff,
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p, err := makePlan(&c, fake)
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t.Context(), c, p)
	defer r.giveBack()
	if err := r.openMemory(); err != nil {
		t.Fatal(err)
	}
	first := r.pool
	for _, queues := range []int{8, 16, 8} {
		p.devices[0].queues = queues
		old := r.pool
		if err := r.openPool(); err != nil {
			t.Fatal(err)
		}
		if len(r.streams) != 1 || r.streams[0].share.Config().Threads != queues {
			t.Errorf("%d queues: the pool is for %+v", queues, r.streams[0].share.Config())
		}
		if queues == 8 && old == first && r.pool != first {
			t.Error("the pool was made anew for the same sizes")
		}
	}
}
