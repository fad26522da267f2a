// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/safchain/ethtool"
)

// DropCounts are packets that a NIC or its driver dropped for want of a buffer.
type DropCounts struct {
	// Missed are those that rx_missed_errors has too: the greater of the two counts.
	Missed uint64
	// Drops are those that it does not have.
	Drops     uint64
	AllocFail uint64 // times that the driver found no memory for a buffer
	Queues    map[int]QueueDrops
}

// QueueDrops are those of one receive queue. Missed or Drops of the device have them too.
type QueueDrops struct{ Drops, AllocFail uint64 }

// Drops reads what the kernel tells of the drops of a device, relative to when it was made: the
// queue statistics of the generic netlink family netdev, and what ethtool shows. Its methods may
// be called from any goroutine, in any network namespace. A nil *Drops counts nothing.
type Drops struct {
	mu    sync.Mutex
	read  func() DropCounts
	close func()
	base  DropCounts
	last  DropCounts
	asked time.Time
}

// NewDrops starts to count, in the network namespace of the calling thread. What a driver does
// not tell is 0.
func NewDrops(index int, name, driver string) *Drops {
	r := &dropReader{index: index, name: name, rules: dropRules[driver]}
	if c, err := genetlink.Dial(nil); err == nil {
		if r.family, err = c.GetFamily("netdev"); err == nil {
			r.conn = c
		} else {
			c.Close()
		}
	}
	if len(r.rules) > 0 {
		if e, err := ethtool.NewEthtool(); err == nil {
			r.ethtool = e
		}
	}
	return newDrops(r.read, r.close)
}

func newDrops(read func() DropCounts, end func()) *Drops {
	d := &Drops{read: read, close: end}
	d.base = read()
	d.asked = time.Now()
	return d
}

// Count is how many there were since NewDrops. The kernel is asked at most once a second. The
// map must not be changed.
func (d *Drops) Count() DropCounts {
	if d == nil {
		return DropCounts{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); d.read != nil && now.Sub(d.asked) >= fresh {
		d.asked = now
		d.update()
	}
	return d.last
}

// update reads the counters. None goes back, although a driver may reset its own.
func (d *Drops) update() {
	now := d.read()
	since := func(now, base, last uint64) uint64 { return max(last, now-min(now, base)) }
	out := DropCounts{
		Missed:    since(now.Missed, d.base.Missed, d.last.Missed),
		Drops:     since(now.Drops, d.base.Drops, d.last.Drops),
		AllocFail: since(now.AllocFail, d.base.AllocFail, d.last.AllocFail),
		Queues:    map[int]QueueDrops{},
	}
	for q, last := range d.last.Queues {
		out.Queues[q] = last
	}
	for q, n := range now.Queues {
		base, last := d.base.Queues[q], d.last.Queues[q]
		out.Queues[q] = QueueDrops{since(n.Drops, base.Drops, last.Drops), since(n.AllocFail, base.AllocFail, last.AllocFail)}
	}
	d.last = out
}

// Close reads once more, and gives the sockets back. It is idempotent.
func (d *Drops) Close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.read != nil {
		d.update()
		d.close()
		d.read = nil
	}
}

// dropReader asks the kernel.
type dropReader struct {
	index   int
	name    string
	conn    *genetlink.Conn // nil: the kernel has no family netdev
	family  genetlink.Family
	rules   []dropRule
	ethtool *ethtool.Ethtool
}

func (r *dropReader) close() {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.ethtool != nil {
		r.ethtool.Close()
	}
}

func (r *dropReader) read() DropCounts {
	c := DropCounts{Queues: map[int]QueueDrops{}}
	if answers, err := r.queueStats(); err == nil {
		for _, m := range answers {
			if err := c.addQueueStats(m); err != nil {
				break
			}
		}
	}
	if r.ethtool != nil {
		if stats, err := r.ethtool.Stats(r.name); err == nil {
			c.addEthtool(r.rules, stats)
		}
	}
	return c
}

// From linux/netdev.h.
const (
	netdevCmdQstatsGet = 12

	qstatsIfindex   = 1
	qstatsQueueType = 2
	qstatsQueueID   = 3
	qstatsScope     = 4
	qstatsAllocFail = 12
	qstatsHWDrops   = 13
	qstatsOverruns  = 14

	qstatsScopeQueue = 1
)

// queueStats asks for the statistics of each queue, which Linux has since 6.9.
func (r *dropReader) queueStats() ([][]byte, error) {
	if r.conn == nil {
		return nil, nil
	}
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(qstatsIfindex, uint32(r.index))
	ae.Uint32(qstatsScope, qstatsScopeQueue)
	data, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	answers, err := r.conn.Execute(genetlink.Message{
		Header: genetlink.Header{Command: netdevCmdQstatsGet, Version: r.family.Version}, Data: data,
	}, r.family.ID, netlink.Request|netlink.Dump)
	if err != nil {
		return nil, fmt.Errorf("queue statistics: %w", err)
	}
	var out [][]byte
	for _, m := range answers {
		out = append(out, m.Data)
	}
	return out, nil
}

// addQueueStats adds the statistics of one queue. The kernel has them as numbers of 4 or 8
// bytes. Overruns are those for want of a buffer; a driver that does not tell them apart has
// them among its drops.
func (c *DropCounts) addQueueStats(data []byte) error {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return err
	}
	queue, receives := -1, false
	values := map[uint16]uint64{}
	for ad.Next() {
		var v uint64
		switch b := ad.Bytes(); len(b) {
		case 4:
			v = uint64(binary.NativeEndian.Uint32(b))
		case 8:
			v = binary.NativeEndian.Uint64(b)
		}
		switch ad.Type() {
		case qstatsQueueType:
			receives = v == netdevQueueTypeRx
		case qstatsQueueID:
			queue = int(uint32(v))
		default:
			values[ad.Type()] = v
		}
	}
	if err := ad.Err(); err != nil {
		return err
	}
	if !receives || queue < 0 {
		return nil
	}
	drops, ok := values[qstatsOverruns]
	if !ok {
		drops = values[qstatsHWDrops]
	}
	c.Missed += drops
	c.AllocFail += values[qstatsAllocFail]
	q := c.Queues[queue]
	c.Queues[queue] = QueueDrops{q.Drops + drops, q.AllocFail + values[qstatsAllocFail]}
	return nil
}

// dropRule says what a counter of ethtool -S means.
type dropRule struct {
	name string // # stands for the number of a queue
	kind dropKind
}

type dropKind uint8

const (
	dropMissed dropKind = iota // rx_missed_errors has it too
	dropMore                   // it does not
	dropAlloc                  // no memory for a buffer
)

// dropRules are by driver. Left out are counters that also have what the program did or what the
// socket dropped, as those of veth and virtio_net: these are counted where they happen.
var dropRules = map[string][]dropRule{
	"mlx5_core": {{"rx_out_of_buffer", dropMissed}, {"rx_discards_phy", dropMore}, {"rx#_buff_alloc_err", dropAlloc}, {"rx#_xsk_buff_alloc_err", dropAlloc}},
	"mlx4_en":   {{"rx_missed_errors", dropMissed}, {"rx#_dropped", dropMore}},
	"ixgbe":     {{"rx_missed_errors", dropMissed}, {"rx_no_dma_resources", dropMore}, {"alloc_rx_buff_failed", dropAlloc}},
	"i40e":      {{"rx_missed_errors", dropMissed}, {"port.rx_discards", dropMissed}, {"rx_alloc_fail", dropAlloc}},
	"igb":       {{"rx_missed_errors", dropMissed}, {"rx_queue_#_drops", dropMore}, {"rx_queue_#_alloc_failed", dropAlloc}},
	"igc":       {{"rx_missed_errors", dropMissed}, {"rx_queue_#_drops", dropMore}, {"rx_queue_#_alloc_failed", dropAlloc}},
	"e1000e":    {{"rx_missed_errors", dropMissed}, {"alloc_rx_buff_failed", dropAlloc}},
	"bnxt_en":   {{"[#]: rx_discards", dropMore}, {"[#]: rx_buf_errors", dropAlloc}},
	"ena":       {{"rx_drops", dropMore}, {"rx_overruns", dropMore}, {"queue_#_rx_page_alloc_fail", dropAlloc}},
	"sfc":       {{"port_rx_nodesc_drops", dropMore}, {"rx_nodesc_trunc", dropMore}},
}

// addEthtool adds the counters that ethtool -S shows. Of counters that say the same the greatest
// counts. Where the queue statistics have told of drops, those of queues are not added again.
func (c *DropCounts) addEthtool(rules []dropRule, stats map[string]uint64) {
	told := c.Missed > 0
	var missed uint64
	for name, n := range stats {
		for _, r := range rules {
			queue, ok := matchQueue(r.name, name)
			if !ok {
				continue
			}
			q := c.Queues[queue]
			switch {
			case r.kind == dropMissed:
				missed = max(missed, n)
			case r.kind == dropMore && (queue < 0 || !told):
				c.Drops += n
				q.Drops += n
			case r.kind == dropAlloc:
				c.AllocFail += n
				q.AllocFail += n
			}
			if queue >= 0 {
				c.Queues[queue] = q
			}
		}
	}
	c.Missed = max(c.Missed, missed)
}

// matchQueue reports whether a name is of that pattern, and the number of the queue in it, -1 if
// the pattern has none.
func matchQueue(pattern, name string) (queue int, ok bool) {
	before, after, has := strings.Cut(pattern, "#")
	if !has {
		return -1, name == pattern
	}
	rest, ok := strings.CutPrefix(name, before)
	if !ok {
		return -1, false
	}
	digits, ok := strings.CutSuffix(rest, after)
	if !ok || digits == "" || digits[0] == '+' || digits[0] == '-' {
		return -1, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}
