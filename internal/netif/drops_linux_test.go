// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"maps"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

// What drivers show as ethtool -S, and what that comes to. A counter that two tables have counts
// once.
func TestEthtoolDrops(t *testing.T) {
	for _, tt := range []struct {
		driver string
		stats  map[string]uint64
		want   DropCounts
		queues map[int]QueueDrops
	}{
		{"mlx5_core", map[string]uint64{"rx_packets": 9, "rx_out_of_buffer": 5, "rx_discards_phy": 7, "rx3_buff_alloc_err": 2, "rx3_xsk_buff_alloc_err": 1, "rx_buff_alloc_err": 3},
			DropCounts{Missed: 5, Drops: 7, AllocFail: 3}, map[int]QueueDrops{3: {0, 3}}},
		{"i40e", map[string]uint64{"rx_missed_errors": 4, "port.rx_discards": 6}, DropCounts{Missed: 6}, nil},
		{"igb", map[string]uint64{"rx_missed_errors": 1, "rx_queue_0_drops": 2, "rx_queue_11_drops": 3, "rx_queue_x_drops": 9, "rx_queue_-1_drops": 9},
			DropCounts{Missed: 1, Drops: 5}, map[int]QueueDrops{0: {2, 0}, 11: {3, 0}}},
		{"bnxt_en", map[string]uint64{"[2]: rx_discards": 8}, DropCounts{Drops: 8}, map[int]QueueDrops{2: {8, 0}}},
		{"veth", map[string]uint64{"rx_queue_0_drops": 2}, DropCounts{}, nil},
		{"nothing known", map[string]uint64{"rx_drops": 2}, DropCounts{}, nil},
	} {
		c := DropCounts{Queues: map[int]QueueDrops{}}
		c.addEthtool(dropRules[tt.driver], tt.stats)
		if c.Missed != tt.want.Missed || c.Drops != tt.want.Drops || c.AllocFail != tt.want.AllocFail || !maps.Equal(c.Queues, tt.queues) {
			t.Errorf("%s: %+v, want %+v and queues %v", tt.driver, c, tt.want, tt.queues)
		}
	}
}

func TestQueueStats(t *testing.T) {
	answer := func(kind, queue uint32, set func(*netlink.AttributeEncoder)) []byte {
		ae := netlink.NewAttributeEncoder()
		ae.Uint32(qstatsIfindex, 7)
		ae.Uint32(qstatsQueueType, kind)
		ae.Uint32(qstatsQueueID, queue)
		set(ae)
		b, err := ae.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c := DropCounts{Queues: map[int]QueueDrops{}}
	for _, b := range [][]byte{
		answer(0, 0, func(ae *netlink.AttributeEncoder) { ae.Uint32(qstatsHWDrops, 100); ae.Uint32(qstatsOverruns, 3) }),
		answer(0, 1, func(ae *netlink.AttributeEncoder) { ae.Uint64(qstatsHWDrops, 1<<33); ae.Uint32(qstatsAllocFail, 5) }),
		answer(1, 1, func(ae *netlink.AttributeEncoder) { ae.Uint64(qstatsHWDrops, 99) }), // it sends
	} {
		if err := c.addQueueStats(b); err != nil {
			t.Fatal(err)
		}
	}
	if want := (map[int]QueueDrops{0: {3, 0}, 1: {1 << 33, 5}}); c.Missed != 3+1<<33 || c.AllocFail != 5 || !maps.Equal(c.Queues, want) {
		t.Errorf("%+v", c)
	}
}

func FuzzQueueStats(f *testing.F) {
	f.Add([]byte{8, 0, 2, 0, 0, 0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0, 12, 0, 13, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(_ *testing.T, b []byte) {
		c := DropCounts{Queues: map[int]QueueDrops{}}
		_ = c.addQueueStats(b)
	})
}

// Counts are relative to the begin, and never go back, also where a driver resets its own.
func TestDropsSinceBegin(t *testing.T) {
	now := DropCounts{Missed: 10, Drops: 20, AllocFail: 30, Queues: map[int]QueueDrops{1: {5, 6}}}
	closed := false
	d := newDrops(func() DropCounts { return now }, func() { closed = true })
	check := func(want DropCounts, queue QueueDrops) {
		t.Helper()
		d.asked = time.Time{}
		c := d.Count()
		if c.Missed != want.Missed || c.Drops != want.Drops || c.AllocFail != want.AllocFail || c.Queues[1] != queue {
			t.Errorf("%+v, want %+v and %v of queue 1", c, want, queue)
		}
	}
	check(DropCounts{}, QueueDrops{})
	now = DropCounts{Missed: 11, Drops: 22, AllocFail: 33, Queues: map[int]QueueDrops{1: {7, 6}}}
	check(DropCounts{Missed: 1, Drops: 2, AllocFail: 3}, QueueDrops{2, 0})
	now = DropCounts{}
	check(DropCounts{Missed: 1, Drops: 2, AllocFail: 3}, QueueDrops{2, 0})
	d.Close()
	d.Close()
	if !closed || d.Count().Missed != 1 {
		t.Errorf("after Close %+v", d.Count())
	}
	if c := (*Drops)(nil).Count(); c.Missed != 0 {
		t.Errorf("of none %+v", c)
	}
}

// The kernel is asked, whatever it knows of lo.
func TestDropsOfKernel(t *testing.T) {
	d := NewDrops(1, "lo", "mlx5_core")
	d.asked = time.Time{}
	if c := d.Count(); c.Missed+c.Drops+c.AllocFail != 0 {
		t.Errorf("lo drops %+v", c)
	}
	d.Close()
}
