// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// Features is what the driver of an interface says of its XDP. It changes with
// the interface's settings: mlx5 clears it while LRO or hardware GRO is on.
type Features struct {
	Basic    bool // runs XDP programs natively
	Redirect bool // natively redirects to AF_XDP sockets and elsewhere
	ZeroCopy bool // receives into the memory of an AF_XDP socket
	RxSG     bool // runs programs on packets of several buffers

	// ZCMaxSegs is how many frames a packet may span in zero-copy mode, 1
	// without that ability. 0 with a driver that has no zero-copy.
	ZCMaxSegs int

	Bits uint64 // all of NETDEV_XDP_ACT_*, as the kernel gave them
}

// From linux/netdev.h, generic netlink family "netdev".
const (
	netdevCmdDevGet   = 1
	netdevCmdQueueGet = 10

	netdevDevIfindex     = 1
	netdevDevXDPFeatures = 3
	netdevDevZCMaxSegs   = 4

	netdevQueueIfindex = 2
	netdevQueueType    = 3
	netdevQueueTypeRx  = 0

	netdevXDPBasic    = 1 << 0
	netdevXDPRedirect = 1 << 1
	netdevXDPZeroCopy = 1 << 3
	netdevXDPRxSG     = 1 << 5
)

// ReadFeatures asks the kernel, which can tell since 6.3; nil if it does not.
// Whoever needs to know for certain tries.
func ReadFeatures(ifindex int) *Features {
	var f *Features
	err := netdevGet(netdevCmdDevGet, netdevDevIfindex, ifindex, 0, func(ad *netlink.AttributeDecoder) {
		f = &Features{}
		for ad.Next() {
			switch ad.Type() {
			case netdevDevXDPFeatures:
				f.Bits = ad.Uint64()
			case netdevDevZCMaxSegs:
				f.ZCMaxSegs = int(ad.Uint32())
			}
		}
		f.Basic = f.Bits&netdevXDPBasic != 0
		f.Redirect = f.Bits&netdevXDPRedirect != 0
		f.ZeroCopy = f.Bits&netdevXDPZeroCopy != 0
		f.RxSG = f.Bits&netdevXDPRxSG != 0
	})
	if err != nil {
		return nil
	}
	return f
}

// netdevGet sends one request about an interface to the family "netdev" and
// gives the attributes of each answer to decode.
func netdevGet(command uint8, ifindexAttr uint16, ifindex int, flags netlink.HeaderFlags, decode func(*netlink.AttributeDecoder)) error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("open generic netlink: %w", err)
	}
	defer c.Close()
	family, err := c.GetFamily("netdev")
	if err != nil {
		return fmt.Errorf("generic netlink family netdev: %w", err)
	}
	return netdevGetOn(c, family, command, ifindexAttr, ifindex, flags, decode)
}

// netdevGetOn is netdevGet in the network namespace in which c was opened. family is that of
// c named netdev: to look it up costs more than the question.
func netdevGetOn(c *genetlink.Conn, family genetlink.Family, command uint8, ifindexAttr uint16, ifindex int, flags netlink.HeaderFlags, decode func(*netlink.AttributeDecoder)) error {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(ifindexAttr, uint32(ifindex))
	data, err := ae.Encode()
	if err != nil {
		return err
	}
	answers, err := c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: command, Version: family.Version},
		Data:   data,
	}, family.ID, netlink.Request|flags)
	if err != nil {
		return fmt.Errorf("generic netlink netdev command %d: %w", command, err)
	}
	for _, m := range answers {
		ad, err := netlink.NewAttributeDecoder(m.Data)
		if err != nil {
			return err
		}
		decode(ad)
		if err := ad.Err(); err != nil {
			return err
		}
	}
	return nil
}
