// SPDX-License-Identifier: Apache-2.0

package send

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/spead"
)

// Engine is the way packets leave.
type Engine uint8

const (
	UDP   Engine = iota // UDP sockets, with sendmmsg and segmentation offload
	AFXDP               // an AF_XDP socket of asavie/xdp, in copy mode
	TCP                 // TCP connections
	Blast               // packets made in the kernel, out of a veth
)

var engineNames = [...]string{UDP: "udp", AFXDP: "afxdp", TCP: "tcp", Blast: "blast"}

// String is the engine's name on the command line.
func (e Engine) String() string { return engineNames[e] }

// ParseEngine is the inverse of [Engine.String] for the engines that send UDP, of
// which there is a choice.
func ParseEngine(name string) (Engine, error) {
	for _, e := range []Engine{UDP, AFXDP, Blast} {
		if e.String() == name {
			return e, nil
		}
	}
	return 0, fmt.Errorf("engine %q is neither udp, afxdp nor blast", name)
}

// Faults are injected into the data heaps, never into the stop heaps. Each fraction is the
// probability, 0 to 1, with which a packet suffers it. The same seed gives the same faults
// for the same heaps.
//
// [Blast] is different. It drops, sends twice, or sends after its successor every n-th
// packet, n being 1/fraction rounded. It spares a first heap of a destination that has
// descriptors. Fractions that 1/n does not meet within 5 % are refused, and so are those
// above 1/2 to reorder.
type Faults struct {
	Drop      float64 // not sent
	Reorder   float64 // sent after up to 8 of the packets that follow it
	Duplicate float64 // sent once more, after 1 to 8 of the packets that follow it
	Seed      uint64
}

func (f *Faults) any() bool { return f.Drop > 0 || f.Reorder > 0 || f.Duplicate > 0 }

// Config says what to send, and whereto. Destinations must be given; the
// other zero values have a meaning of their own, given with the field.
type Config struct {
	Destinations []netip.AddrPort // unicast or multicast, of one family for AFXDP and Blast
	Interface    string           // "": that of the route; required only by AFXDP and Blast without a route
	Bind         netip.Addr       // source address; invalid: that of the route
	TTL          int              // 0: 1 for multicast, the system's or 64 for unicast
	Engine       Engine
	NoGSO        bool // UDP: one datagram per message, no UDP_SEGMENT

	Flavour   spead.Flavour // 0: SPEAD-64-48
	MaxPacket int           // largest packet, bytes of UDP or TCP payload; 0: 1472
	HeapSize  int64         // payload of a data heap, bytes; rounded down to whole elements in each item
	Items     int           // of a heap; 0: 1
	Heaps     int64         // data heaps, over all destinations; negative: until the context ends
	First     uint64        // heap counts that are left out: the first is First+1
	Verify    bool          // fill heaps with the pattern of internal/pattern

	// DType is numpy's name of the type of the items' elements. "": big-endian
	// words of 32 bits, which are zeros without Verify; those of a type that was
	// named count. Items of a named type whose values are small travel as
	// immediate items, unless they are to be verified.
	DType string
	// Shape is that of each item, from which HeapSize follows; empty is a single
	// element. nil: one dimension, as long as HeapSize makes it.
	Shape  []int64
	Compat spead.Compat // of the descriptors

	RepeatPointers bool // put all item pointers into each packet
	NoDescriptors  bool // leave descriptors out of the first heaps
	NoStop         bool // send no stop heaps
	InFlight       int  // Blast: heaps whose packets are sent in turn, at most 256; 0: 1

	element spead.Type // what DType means

	Rate   float64 // bits of such payload per second over all destinations; 0: as fast as possible
	Faults Faults
}

// Check says what is impossible in c whatever the network is like.
func (c Config) Check() error { return c.complete() }

// complete checks c and fills in what is left to defaults.
func (c *Config) complete() error {
	if len(c.Destinations) == 0 {
		return errors.New("no destination")
	}
	// A copy: an IPv4 address in IPv6 clothes is one of IPv4.
	c.Destinations = slices.Clone(c.Destinations)
	c.Bind = c.Bind.Unmap()
	for i, d := range c.Destinations {
		d = netip.AddrPortFrom(d.Addr().Unmap(), d.Port())
		c.Destinations[i] = d
		if !d.IsValid() || d.Port() == 0 {
			return fmt.Errorf("destination %v has no address or port", d)
		}
		if c.Engine == TCP && d.Addr().IsMulticast() {
			return fmt.Errorf("destination %v is a multicast group, which no connection can be to", d)
		}
		if c.Bind.IsValid() && c.Bind.Is4() != d.Addr().Is4() {
			return fmt.Errorf("source address %v and destination %v are of different families", c.Bind, d)
		}
	}
	if c.TTL < 0 || c.TTL > 255 {
		return fmt.Errorf("TTL %d is not within 1 to 255", c.TTL)
	}
	if c.Flavour == 0 {
		c.Flavour = spead.Flavour48
	}
	if c.MaxPacket == 0 {
		c.MaxPacket = spead.DefaultMaxPacket
	}
	if c.Items == 0 {
		c.Items = 1
	}
	if _, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: c.Flavour, MaxPacket: c.MaxPacket}); err != nil {
		return err
	}
	if err := c.completeItems(); err != nil {
		return err
	}
	if err := c.completeBlast(); err != nil {
		return err
	}
	if c.Items < 0 || uint64(c.Items) > c.Flavour.MaxID()-pattern.FirstID+1 || c.Flavour.MaxID() < pattern.FirstID {
		return fmt.Errorf("%d items, with ids from %#x, do not fit into flavour %v", c.Items, pattern.FirstID, c.Flavour)
	}
	if c.itemSize() <= 0 {
		return fmt.Errorf("heap size %d is too small for %d items (%d bytes each at least)", c.HeapSize, c.Items, c.elementSize())
	}
	if uint64(c.payloadSize()) > c.Flavour.MaxValue() {
		return fmt.Errorf("heap size %d is more than flavour %v can address (%d)", c.HeapSize, c.Flavour, c.Flavour.MaxValue())
	}
	if c.Verify && c.itemSize()%wordSize != 0 {
		return fmt.Errorf("items of %d bytes cannot be verified, as the pattern is of words of %d bytes", c.itemSize(), wordSize)
	}
	if !(c.Rate >= 0) {
		return fmt.Errorf("rate %v is negative", c.Rate)
	}
	for _, f := range []struct {
		name     string
		fraction float64
		least    float64 // n of every n-th packet; of two that are swapped one is late
	}{{"drop", c.Faults.Drop, 1}, {"reorder", c.Faults.Reorder, 2}, {"duplicate", c.Faults.Duplicate, 1}} {
		if !(f.fraction >= 0 && f.fraction <= 1) {
			return fmt.Errorf("%s fraction %v is not within 0 to 1", f.name, f.fraction)
		}
		if c.Engine == Blast && !regular(f.fraction, f.least) {
			return fmt.Errorf("engine blast injects faults into every n-th packet, and %s fraction %v is near no such 1/n (%s)",
				f.name, f.fraction, nearestRegular(f.fraction, f.least))
		}
	}
	return nil
}

// completeBlast checks what only one engine can do, and what it cannot. All its
// packets are made of one, and so have the same payload and as many pointers.
func (c *Config) completeBlast() error {
	if c.Engine != Blast {
		if c.InFlight > 1 {
			return fmt.Errorf("engine %v sends heaps one after the other, not %d at a time (engine blast does)", c.Engine, c.InFlight)
		}
		return nil
	}
	c.InFlight = max(c.InFlight, 1)
	c.RepeatPointers = true
	switch {
	case c.Verify:
		return errors.New("engine blast sends the same payload in each packet, which cannot be verified (leave verification out, or choose another engine)")
	case c.DType != "":
		return fmt.Errorf("engine blast sends the same payload in each packet, not values of type %s (leave the type out, or choose another engine)", c.DType)
	case c.Faults.Seed != 0:
		return fmt.Errorf("engine blast injects faults at regular distances, which seed %d does not change (leave it out)", c.Faults.Seed)
	}
	return nil
}

// completeItems checks type and shape of the items, and works out the size of a heap
// that they come to.
func (c *Config) completeItems() (err error) {
	dtype := c.DType
	if dtype == "" {
		dtype = ">u4"
	}
	if c.element, err = spead.ParseDType(dtype); err != nil {
		return err
	}
	if c.Shape == nil {
		return nil
	}
	size := c.elementSize()
	for _, n := range c.Shape {
		if n < 1 {
			return fmt.Errorf("shape %v has a dimension of %d", c.Shape, n)
		}
		if n > maxHeapSize/size {
			return fmt.Errorf("an item of shape %v of %v is too large", c.Shape, &c.element)
		}
		size *= n
	}
	if size > maxHeapSize/int64(max(c.Items, 1)) {
		return fmt.Errorf("%d items of %d bytes are too large for a heap", c.Items, size)
	}
	c.HeapSize = size * int64(c.Items)
	return nil
}

// maxHeapSize is more than a machine has memory for.
const maxHeapSize = 1 << 47

// wordSize is that of the verification pattern.
const wordSize = 4

func (c *Config) elementSize() int64 { return int64(c.element.Bits / 8) }

// itemSize is the bytes of one item.
func (c *Config) itemSize() int64 {
	return c.HeapSize / int64(c.Items) / c.elementSize() * c.elementSize()
}

// itemShape is the shape of one item.
func (c *Config) itemShape() []int64 {
	if c.Shape != nil {
		return c.Shape
	}
	return []int64{c.itemSize() / c.elementSize()}
}

// payloadSize is the bytes of a heap's items, without descriptors.
func (c *Config) payloadSize() int64 { return c.itemSize() * int64(c.Items) }
