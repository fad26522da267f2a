// SPDX-License-Identifier: Apache-2.0

// Package vnet makes a wire to try things on: a veth pair between two network
// namespaces of its own. The machine's own network does not see it, and is not
// disturbed.
//
//	 namespace of A (sender)            namespace of B (receiver)
//	┌─────────────────────────┐        ┌─────────────────────────┐
//	│ lo          sx-a ───────┼────────┼─────── sx-b          lo │
//	│      10.77.0.1, fd77::1 │        │ 10.77.0.2, fd77::2      │
//	└─────────────────────────┘        └─────────────────────────┘
//
// One namespace would not do. A host that owns both addresses never uses the wire:
// the kernel delivers between its own addresses over lo. It drops what arrives from
// outside with one of them as its source.
//
// The wire is silent until a program sends. The ends know each other's MAC and do
// without ARP and neighbour discovery. They have no link-local addresses and no
// duplicate address detection. So a counter on one end moves only for frames that a
// program sent on the other.
//
// The namespaces have no names and stand in no file. They live as long as [Net] is
// open, or a thread is inside them. They are gone with the process, however it ends.
//
// In a namespace entered by [Net.Do], /sys still shows the network devices of the
// namespace in which it was mounted. Netlink and /proc/net show the right ones.
package vnet
