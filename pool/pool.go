// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/speadx/speadx/internal/pages"
)

// Pool is the memory of all shares. Any number of goroutines may use it.
type Pool struct {
	shares  []Share
	mapping *pages.Mapping
	guard   bool

	closed   atomic.Bool // set by Close; no slot is taken after it
	unmapped atomic.Bool // won by the one goroutine that unmaps
}

// New maps the pool that c describes. It fails before it maps anything if the
// sizes make no sense or the machine has not the memory.
func New(c Config) (*Pool, error) {
	layouts, bytes, slots, err := c.layouts()
	if err != nil {
		return nil, err
	}
	if c.Guard {
		c.Pages = PagesOff
		if slots > maxGuarded {
			return nil, fmt.Errorf("pool: %d slots are too many to be guarded (%d at most)", slots, maxGuarded)
		}
	}
	mapping, err := pages.Map(bytes, pages.Options{Choice: pages.Choice(c.Pages), Node: c.Node, Lock: !c.NoLock, Name: "the pool", Touched: c.Touched})
	if errors.Is(err, pages.ErrMemory) {
		return nil, fmt.Errorf("pool: %d slots: %w (%s)", slots, err, remedy)
	}
	if err != nil {
		return nil, fmt.Errorf("pool: %d slots: %w", slots, err)
	}
	p := &Pool{shares: make([]Share, len(layouts)), mapping: mapping, guard: c.Guard}
	// All slots, which begin on pages, and then all tables.
	mem := mapping.Bytes
	for i, l := range layouts {
		p.shares[i].init(p, c.Shares[i], l, mem[:l.bytes:l.bytes])
		mem = mem[l.bytes:]
	}
	ofSlots := len(mapping.Bytes) - len(mem)
	for i, l := range layouts {
		p.shares[i].tables = mem[:l.tables:l.tables]
		mem = mem[l.tables:]
	}
	if c.Guard {
		if err := mapping.Allow(mapping.Bytes[:ofSlots], false); err != nil {
			return nil, fmt.Errorf("pool: guard: %w", errors.Join(err, mapping.Unmap()))
		}
	}
	return p, nil
}

// Share returns the i-th share, in the order of Config.Shares.
func (p *Pool) Share(i int) *Share { return &p.shares[i] }

// Close ends Take on every share and unmaps the memory. It does so at once if all slots
// are free, otherwise in the Free of the last one. So what is held stays valid. It may be
// called at any time, by any goroutine, more than once.
func (p *Pool) Close() error {
	step("close.closed")
	p.closed.Store(true)
	step("close.unmap")
	return p.unmapIfIdle()
}

// unmapIfIdle unmaps the memory of a closed pool with no slot taken.
//
// Close sets closed and then reads the counts. Take and Free change a count and then
// read closed. sync/atomic orders all four. So either Close sees the slot as taken, or its
// owner sees closed. The last of them to get here unmaps.
func (p *Pool) unmapIfIdle() error {
	for i := range p.shares {
		if p.shares[i].states.Load() != 0 {
			return nil
		}
		step("unmap.counted")
	}
	if !p.unmapped.CompareAndSwap(false, true) {
		return nil
	}
	step("unmap.won")
	for i := range p.shares {
		p.shares[i].mem, p.shares[i].tables = nil, nil // late use is a panic, not a segmentation fault
	}
	if err := p.mapping.Unmap(); err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	return nil
}
