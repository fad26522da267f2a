// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/spead"
)

// decoder makes named values of the heaps that are printed: an item group for each
// numbering of heaps, which is that of a stream or of one of its senders.
type decoder struct {
	compat   spead.Compat
	bySource bool
	stderr   io.Writer
	groups   map[numbering]*spead.ItemGroup
	told     int // errors printed
}

type numbering struct {
	stream string
	sender netip.AddrPort
}

// decode takes a heap and returns the group that has its items.
func (d *decoder) decode(h *heap.Heap) *spead.ItemGroup {
	key := numbering{stream: h.Stream()}
	if d.bySource {
		key.sender = h.Sender()
	}
	g := d.groups[key]
	if g == nil {
		g = &spead.ItemGroup{Compat: d.compat}
		if d.groups == nil {
			d.groups = map[numbering]*spead.ItemGroup{}
		}
		d.groups[key] = g
	}
	if _, err := g.Update(h); err != nil {
		const most = 10
		if d.told++; d.told <= most {
			fmt.Fprintf(d.stderr, "warning: heap %d: %s\n", h.Cnt(), printable(strings.ReplaceAll(message(err), "\n", "; ")))
		}
		if d.told == most {
			fmt.Fprintln(d.stderr, "what else makes no sense is not told")
		}
	}
	return g
}

// valueOf is the item of a group that has the value of items[i], which are a heap's
// sorted by id; nil if nothing describes it, it has no value, or another of the same
// id follows, whose value counts.
func valueOf(g *spead.ItemGroup, items []heap.Item, i int) *spead.Item {
	r := &items[i]
	if r.Missing || i+1 < len(items) && items[i+1].ID == r.ID {
		return nil
	}
	if it := g.ByID(r.ID); it != nil && it.Descriptor() != nil && it.HasValue() {
		return it
	}
	return nil
}
