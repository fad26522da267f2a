// SPDX-License-Identifier: Apache-2.0

package send

import (
	"fmt"

	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/spead"
)

// blockBytes is the least payload that is made at a time.
const blockBytes = 4 << 20

// heapSource gives the items of one data heap after the other. Payload lies in
// blocks of one or more heaps. With the pattern there are two of them: one is
// being sent while a goroutine fills the other. Without it, one block of one heap
// serves for ever.
type heapSource struct {
	payloadSize int64
	perBlock    uint64 // heaps

	items       []spead.OutItem // of a data heap
	descriptors []spead.OutItem
	first       []spead.OutItem // descriptors and items
	describe    uint64          // how many heaps have descriptors

	block  []byte
	filled chan []byte // nil without the pattern
	used   chan []byte
	quit   chan struct{}
	done   chan struct{}
}

func newHeapSource(c *Config) (*heapSource, error) {
	blocks := int64(1)
	if c.Verify {
		blocks = 2
	}
	if available := availableMemory(); c.payloadSize() > available/blocks {
		return nil, fmt.Errorf("heap size %d: sending takes %d times as much memory, and %d bytes are available", c.HeapSize, blocks, available)
	}
	s := &heapSource{
		payloadSize: c.payloadSize(),
		items:       make([]spead.OutItem, c.Items),
	}
	for i := range s.items {
		s.items[i].ID = pattern.FirstID + uint64(i)
		s.items[i].Fixed = c.DType != "" && !c.Verify
	}
	if !c.NoDescriptors {
		s.describe = uint64(len(c.Destinations))
		header, err := spead.NumpyHeader(c.element.String(), spead.OrderC, c.itemShape()...)
		if err != nil {
			return nil, err
		}
		for i := range c.Items {
			d := spead.Descriptor{
				ID:          pattern.FirstID + uint64(i),
				Name:        fmt.Sprintf("item%d", i),
				Description: "Item of a test heap",
				DType:       header,
			}
			item, err := d.Item(c.Flavour, c.Compat)
			if err != nil {
				return nil, err
			}
			s.descriptors = append(s.descriptors, item)
		}
	}
	if !c.Verify {
		s.perBlock = 1
		s.block = make([]byte, s.payloadSize)
		for i := range c.Items {
			if c.DType == "" {
				break
			}
			data, err := counting(&c.element, i, int(c.itemSize()/c.elementSize()))
			if err != nil {
				return nil, err
			}
			copy(s.block[int64(i)*c.itemSize():], data)
		}
		return s, nil
	}
	s.perBlock = uint64(max(1, blockBytes/s.payloadSize))
	s.filled, s.used = make(chan []byte, blocks), make(chan []byte, blocks)
	s.quit, s.done = make(chan struct{}), make(chan struct{})
	for range blocks {
		s.used <- make([]byte, uint64(s.payloadSize)*s.perBlock)
	}
	go s.fill(c.First * uint64(s.payloadSize))
	return s, nil
}

// fill writes the pattern, from a position on, into one used block after the other.
func (s *heapSource) fill(position uint64) {
	defer close(s.done)
	for {
		select {
		case b := <-s.used:
			pattern.Fill(b, position)
			position += uint64(len(b))
			s.filled <- b // has room for all blocks
		case <-s.quit:
			return
		}
	}
}

// turnsOver reports whether the heap with that index, from 0, lies in another
// block than the one before it: no payload may be in use when it is asked for.
func (s *heapSource) turnsOver(index uint64) bool {
	return s.filled != nil && index%s.perBlock == 0
}

// heap gives the items of the heap with that index. The indices must be asked
// for in turn, from 0.
func (s *heapSource) heap(index uint64) []spead.OutItem {
	if s.turnsOver(index) {
		if s.block != nil {
			s.used <- s.block
		}
		s.block = <-s.filled
	}
	payload := s.block[index%s.perBlock*uint64(s.payloadSize):][:s.payloadSize]
	itemSize := len(payload) / len(s.items)
	for i := range s.items {
		s.items[i].Data = payload[i*itemSize:][:itemSize]
	}
	if index < s.describe {
		s.first = append(append(s.first[:0], s.descriptors...), s.items...)
		return s.first
	}
	return s.items
}

// close ends the goroutine.
func (s *heapSource) close() {
	if s.quit != nil {
		close(s.quit)
		<-s.done
	}
}
