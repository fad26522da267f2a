// SPDX-License-Identifier: Apache-2.0

// Package netif answers what a receiver has to know about the network
// interfaces of the machine before it opens one: which interface an address or
// a multicast group belongs to, how many receive queues it has and how deep
// their rings are, whether its driver can do AF_XDP and how well, which devices
// lie under a VLAN or a bond, and which NUMA node is near. And it joins
// multicast groups, which AF_XDP cannot do by itself.
//
// Everything is read from the network namespace of the calling thread: from
// netlink and ethtool, not from /sys/class/net, which shows the namespace in
// which it was mounted. Only the NUMA node of a PCI device, which belongs to no
// namespace, is read from sysfs. Nothing is ever changed.
//
// The devices of a VLAN on a bond, and what belongs to which:
//
//	bond0.42 (VLAN 42)     the group is joined here: the kernel sends the
//	   │                   IGMP report with the tag
//	bond0
//	 ├── eth0 ─┐           the XDP programs and the sockets belong here
//	 └── eth1 ─┘
//
// [Lookup] and the other functions that look something up may be called by any
// number of goroutines; a [Membership] belongs to one.
package netif
