// SPDX-License-Identifier: Apache-2.0

// Package vnet makes a wire to try things on: a veth pair between two network
// namespaces of its own, so that nothing of it is seen by, or can disturb, the
// machine's own network.
//
//	 namespace of A (sender)            namespace of B (receiver)
//	┌─────────────────────────┐        ┌─────────────────────────┐
//	│ lo          sx-a ───────┼────────┼─────── sx-b          lo │
//	│      10.77.0.1, fd77::1 │        │ 10.77.0.2, fd77::2      │
//	└─────────────────────────┘        └─────────────────────────┘
//
// There are two namespaces because one host that owns both addresses never uses
// the wire: the kernel delivers between its own addresses over lo, and drops
// what arrives from outside with one of them as its source.
//
// The wire is silent until somebody sends: the ends do without ARP and neighbour
// discovery (each knows the other's MAC), without link-local addresses and
// duplicate address detection, so a counter on one end moves only for frames that
// a program sent on the other.
//
// The namespaces have no names and stand in no file: they live as long as [Net]
// is open, or a thread is inside them, and are gone with the process however
// it ends.
//
// In a namespace entered by [Net.Do], /sys still shows the network devices of
// the namespace in which it was mounted; netlink and /proc/net show the right
// ones.
package vnet
