// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"fmt"
	"math"
	"os"
)

const (
	// slack is how much larger a slot is than the largest heap payload asked
	// for: descriptors ride in a sender's first heap and make it longer.
	slack = 8192
	// slotAlign is what a slot's size is a multiple of.
	slotAlign = 4096
	// maxSlots bounds the slots of a share, both classes together, to what the
	// fields of its words can count.
	maxSlots = 1<<fieldBits - 1
	// maxGuarded bounds the slots of a guarded pool: each may be a mapping of its
	// own, of which the kernel allows 65530 (vm.max_map_count).
	maxGuarded = 30000
)

// pageSize is the machine's; tests have another.
var pageSize = os.Getpagesize()

// ShareConfig sizes one stream's part of the pool.
type ShareConfig struct {
	Name string // in errors

	Live    int // heaps being assembled at once, over all substreams; at least 1
	Ring    int // finished heaps that may wait for the consumer
	Held    int // heaps the consumer may hold
	Threads int // goroutines that feed the stream

	Largest int // largest heap payload, bytes
	// SmallBelow is the payload, in bytes, below which a heap takes a small
	// slot. 0: there are no small slots. Nor are there where they would not
	// be smaller than the large ones.
	SmallBelow int

	// Tables is how many bytes there are beside the slots, for what the user of
	// the share has to keep of its heaps: see [Share.Tables].
	Tables int
}

// Slots returns how many slots of each class a share has, and how many bytes those of
// both classes have; small is 0 if there are no small ones. In a guarded pool slots can
// have more, up to a page.
func (c ShareConfig) Slots() (n, large, small int, err error) {
	l, err := c.layout(slotAlign)
	return l.slots, l.large, l.small, err
}

// Config describes a pool.
type Config struct {
	Shares []ShareConfig
	Pages  Pages // which pages; the zero value takes the largest there are
	Node   int   // NUMA node, that of the NIC; -1: do not bind
	NoLock bool  // do not mlock

	// Touched is called before the memory is touched and after each piece of it, with the
	// number of bytes touched so far and in all. Several threads call it, also at the same
	// time. If it returns an error, New gives the memory back and returns that error. May be
	// nil.
	Touched func(bytes, of int) error

	// Guard makes the memory of each free slot inaccessible, so that whoever uses
	// it after it was freed gets a fault at that very place, and not another's data.
	// It costs two system calls for each slot taken, and ordinary pages: it is for
	// finding such a use, not for production.
	Guard bool
}

// layout is what a ShareConfig comes to.
type layout struct {
	slots        int // of each class
	large, small int // bytes of a slot; small is 0 if there is no such class
	bytes        int // of all slots
	tables       int // bytes, in whole cache lines
}

func (l layout) total() int {
	if l.small == 0 {
		return l.slots
	}
	return 2 * l.slots
}

// Size returns how many bytes New would need for c, and how many slots that is. The bytes
// are those of slots and tables, not rounded up to whole pages. It maps nothing.
func Size(c Config) (bytes, slots int, err error) {
	_, bytes, slots, err = c.layouts()
	return bytes, slots, err
}

func (c *Config) layouts() (all []layout, bytes, slots int, err error) {
	if len(c.Shares) == 0 {
		return nil, 0, 0, errors.New("pool: no shares")
	}
	for i := range c.Shares {
		share := &c.Shares[i]
		l, err := share.layout(c.align())
		if err != nil {
			return nil, 0, 0, fmt.Errorf("pool: share %d (%s): %w", i, share.Name, err)
		}
		if bytes > math.MaxInt-l.bytes-l.tables {
			return nil, 0, 0, fmt.Errorf("pool: share %d (%s): the sum of all shares exceeds the address space (%s)", i, share.Name, remedy)
		}
		bytes += l.bytes + l.tables
		slots += l.total()
		all = append(all, l)
	}
	return all, bytes, slots, nil
}

// align is what the size of each slot is a multiple of. A guarded slot has pages of its
// own, whatever their size: access is taken away from whole pages.
func (c *Config) align() int {
	if c.Guard {
		return max(slotAlign, pageSize)
	}
	return slotAlign
}

// remedy is what helps against every sort of too much.
const remedy = "smaller heaps, or fewer of them live, in the ring or held, need less"

func (c *ShareConfig) layout(align int) (layout, error) {
	for _, term := range []struct {
		name     string
		n, least int
	}{
		{"live heaps", c.Live, 1},
		{"heaps in the ring", c.Ring, 0},
		{"heaps held", c.Held, 0},
		{"threads", c.Threads, 0},
		{"bytes as the largest heap", c.Largest, 0},
		{"bytes as the bound of small heaps", c.SmallBelow, 0},
		{"bytes of tables", c.Tables, 0},
	} {
		if term.n < term.least {
			return layout{}, fmt.Errorf("%d %s: the least is %d", term.n, term.name, term.least)
		}
	}
	var l layout
	for _, n := range []int{c.Live, c.Ring, c.Held, c.Threads} {
		if n > maxSlots-l.slots {
			return layout{}, fmt.Errorf("%d + %d + %d + %d slots are more than %d (%s)", c.Live, c.Ring, c.Held, c.Threads, maxSlots, remedy)
		}
		l.slots += n
	}
	var ok bool
	if l.large, ok = slotSize(c.Largest, align); !ok {
		return layout{}, fmt.Errorf("a largest heap of %d bytes exceeds the address space", c.Largest)
	}
	if small, ok := slotSize(c.SmallBelow, align); ok && c.SmallBelow > 0 && small < l.large {
		l.small = small
	}
	if l.total() > maxSlots {
		return layout{}, fmt.Errorf("%d large slots and as many small ones are more than %d (%s)", l.slots, maxSlots, remedy)
	}
	if l.large+l.small < 0 || l.slots > math.MaxInt/(l.large+l.small) {
		return layout{}, fmt.Errorf("%d slots of %d bytes exceed the address space (%s)", l.slots, l.large+l.small, remedy)
	}
	l.bytes = l.slots * (l.large + l.small)
	if c.Tables > math.MaxInt-cacheLine-l.bytes {
		return layout{}, fmt.Errorf("%d bytes of tables exceed the address space (%s)", c.Tables, remedy)
	}
	l.tables = (c.Tables + cacheLine - 1) &^ (cacheLine - 1)
	return l, nil
}

// slotSize returns the size of a slot for payloads of up to n bytes, a multiple of
// align, which is a power of two.
func slotSize(n, align int) (int, bool) {
	if n > math.MaxInt-slack-align {
		return 0, false
	}
	return (n + slack + align - 1) &^ (align - 1), true
}
