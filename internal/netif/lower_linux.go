// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// maxStack bounds how many devices may lie on each other. The kernel's own
// bound is 8 (MAX_NEST_DEV).
const maxStack = 8

// Lowers names the devices at the bottom of an interface, in the order of their
// indices: where an XDP program sees the packets of a VLAN or a bond. For any
// other interface it is the interface itself. A bond without a member is an
// error.
func Lowers(name string) ([]string, error) {
	link, err := linkByName(name)
	if err != nil {
		return nil, err
	}
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("netif: devices under %s: %w", name, err)
	}
	return bottom(link, all)
}

// bottom is [Lowers] of link among all the links there are.
func bottom(link netlink.Link, all []netlink.Link) ([]string, error) {
	level := []netlink.Link{link}
	for range maxStack {
		if !slices.ContainsFunc(level, isStacked) {
			return sortedNames(level), nil
		}
		var next []netlink.Link
		for _, l := range level {
			if !isStacked(l) {
				next = append(next, l)
				continue
			}
			lower := under(l, all)
			if len(lower) == 0 {
				return nil, fmt.Errorf("netif: no device lies under %s, a %s (or it is in another network namespace)", l.Attrs().Name, l.Type())
			}
			next = append(next, lower...)
		}
		level = next
	}
	return nil, fmt.Errorf("netif: more than %d devices lie on each other under %s", maxStack, link.Attrs().Name)
}

// isStacked reports whether the packets of l pass another device first that is
// the better place to take them.
func isStacked(l netlink.Link) bool {
	switch l.Type() {
	case "vlan", "bond", "team":
		return true
	}
	return false
}

// under are those of all links that lie directly under the VLAN, bond or team
// l. (A veth, too, names another device as its parent: its peer.)
func under(l netlink.Link, all []netlink.Link) []netlink.Link {
	attrs := l.Attrs()
	var lower []netlink.Link
	for _, m := range all {
		switch l.Type() {
		case "vlan":
			// The parent's index counts in another namespace if there is an
			// id of one.
			if m.Attrs().Index == attrs.ParentIndex && attrs.NetNsID < 0 {
				lower = append(lower, m)
			}
		case "bond", "team":
			if m.Attrs().MasterIndex == attrs.Index {
				lower = append(lower, m)
			}
		}
	}
	return lower
}

// sortedNames are the names of links by index, each once.
func sortedNames(links []netlink.Link) []string {
	slices.SortFunc(links, func(a, b netlink.Link) int { return a.Attrs().Index - b.Attrs().Index })
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return slices.Compact(names)
}
