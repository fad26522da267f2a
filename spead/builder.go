// SPDX-License-Identifier: Apache-2.0

package spead

import "fmt"

// maxLayouts is of how many descriptors a builder remembers the layout.
const maxLayouts = 1 << 12

// HeapBuilder puts together the items of heaps to be sent:
//
//	b := spead.HeapBuilder{Flavour: spead.Flavour48}
//	err := b.Describe(&timestamp)         // in the first heap, or now and then
//	err = b.Add(&timestamp, 1234)
//	err = packetiser.Start(cnt, b.Items())
//	…                                     // send its packets
//	b.Reset()
//
// Items stand in a heap in the order in which they were added. A HeapBuilder
// belongs to one goroutine.
type HeapBuilder struct {
	Flavour Flavour
	// Compat makes descriptors that old receivers understand.
	Compat Compat

	items   []OutItem
	layouts map[*Descriptor]*Layout
}

// Describe adds a descriptor.
func (b *HeapBuilder) Describe(d *Descriptor) error {
	item, err := d.Item(b.Flavour, b.Compat)
	if err == nil {
		_, err = b.layout(d) // nobody could read it
	}
	if err != nil {
		return err
	}
	b.items = append(b.items, item)
	return nil
}

// Add adds a value of the item that d describes, as [Descriptor.Encode] takes it.
// Where a value is not copied it must not be changed until the heap is sent. d must
// not be changed as long as the builder is used.
func (b *HeapBuilder) Add(d *Descriptor, value any) error {
	if d.ID <= IDStreamCtrl || d.ID > b.Flavour.MaxID() {
		return fmt.Errorf("spead: item %#x (%s): an id is from %#x to %#x in flavour %v", d.ID, d.Name, IDStreamCtrl+1, b.Flavour.MaxID(), b.Flavour)
	}
	l, err := b.layout(d)
	if err != nil {
		return err
	}
	item, err := d.encode(l, value)
	if err != nil {
		return err
	}
	b.items = append(b.items, item)
	return nil
}

// AddItem adds an item as it is, such as a [ControlItem].
func (b *HeapBuilder) AddItem(item OutItem) { b.items = append(b.items, item) }

// Items are the items added since the last Reset, for [Packetiser.Start]. The slice
// is valid until the next Reset.
func (b *HeapBuilder) Items() []OutItem { return b.items }

// Reset begins the next heap.
func (b *HeapBuilder) Reset() {
	clear(b.items) // what they refer to is not ours to keep
	b.items = b.items[:0]
	if len(b.layouts) > maxLayouts { // descriptors that are made for each heap
		clear(b.layouts)
	}
}

// layout is that of d, worked out once.
func (b *HeapBuilder) layout(d *Descriptor) (*Layout, error) {
	if l := b.layouts[d]; l != nil {
		return l, nil
	}
	l, err := d.Layout()
	if err != nil {
		return nil, err
	}
	if b.layouts == nil {
		b.layouts = make(map[*Descriptor]*Layout)
	}
	b.layouts[d] = &l
	return &l, nil
}
