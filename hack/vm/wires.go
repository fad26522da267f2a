// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inWires runs f on a thread in a network namespace of its own, in which each two taps
// that follow each other are connected by a bridge. A process that f starts is in it
// too. The namespace ends with the last of them.
func inWires(taps []tap, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		if len(taps) > 0 {
			if err := makeWires(taps); err != nil {
				result <- err
				return
			}
		}
		result <- f()
	}()
	return <-result
}

func makeWires(taps []tap) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace for the guest's taps: %w", err)
	}
	var bridge *netlink.Bridge
	for i, t := range taps {
		if i%2 == 0 {
			bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("wire%d", i/2), MTU: 9000}}
			if err := netlink.LinkAdd(bridge); err != nil {
				return fmt.Errorf("make a bridge: %w", err)
			}
			if err := netlink.LinkSetUp(bridge); err != nil {
				return fmt.Errorf("set a bridge up: %w", err)
			}
		}
		link := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: t.name, MTU: 9000}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
		if t.queues > 1 {
			link.Flags |= netlink.TUNTAP_MULTI_QUEUE
		} else {
			link.Flags |= netlink.TUNTAP_ONE_QUEUE
		}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("make a tap: %w", err)
		}
		if err := netlink.LinkSetMTU(link, 9000); err != nil {
			return fmt.Errorf("set the MTU of a tap: %w", err)
		}
		if err := netlink.LinkSetMaster(link, bridge); err != nil {
			return fmt.Errorf("put a tap on a bridge: %w", err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set a tap up: %w", err)
		}
	}
	return nil
}
