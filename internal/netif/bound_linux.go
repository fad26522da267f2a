// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	rtnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	netdevQueueID  = 1
	netdevQueueXSK = 7
)

// Bound is a receive queue that an AF_XDP socket is bound to.
type Bound struct {
	Queue int
	Inode uint32 // of the socket; 0: the kernel does not tell
}

// BoundQueues are the receive queues of an interface that have an AF_XDP socket. Two
// parts of the kernel tell: the generic netlink family netdev since Linux 6.15, and
// sock_diag where the kernel was built with CONFIG_XDP_SOCKETS_DIAG. It is an error
// if neither does.
func BoundQueues(ifindex int) ([]Bound, error) {
	sockets, diagErr := rtnetlink.SocketDiagXDP()
	if errors.Is(diagErr, rtnetlink.ErrDumpInterrupted) {
		sockets, diagErr = rtnetlink.SocketDiagXDP()
	}
	var bound []Bound
	for _, s := range sockets {
		if s.XDPInfo != nil && s.XDPDiagMsg != nil && s.XDPInfo.Ifindex == uint32(ifindex) {
			bound = append(bound, Bound{int(s.XDPInfo.QueueID), s.XDPDiagMsg.Ino})
		}
	}
	queues, told := netdevBound(ifindex)
	for _, q := range queues {
		if !slices.ContainsFunc(bound, func(b Bound) bool { return b.Queue == q }) {
			bound = append(bound, Bound{Queue: q})
		}
	}
	if diagErr != nil && !told {
		return nil, fmt.Errorf("the kernel tells it since Linux 6.15, or with CONFIG_XDP_SOCKETS_DIAG (sock_diag: %w)", diagErr)
	}
	slices.SortFunc(bound, func(a, b Bound) int { return a.Queue - b.Queue })
	return bound, nil
}

// netdevBound asks the family netdev. told says that the kernel is one that tells.
func netdevBound(ifindex int) (queues []int, told bool) {
	err := netdevGet(netdevCmdQueueGet, netdevQueueIfindex, ifindex, netlink.Dump, func(ad *netlink.AttributeDecoder) {
		id, kind, xsk := -1, -1, false
		for ad.Next() {
			switch ad.Type() {
			case netdevQueueID:
				id = int(ad.Uint32())
			case netdevQueueType:
				kind = int(ad.Uint32())
			case netdevQueueXSK:
				xsk = true
			}
		}
		if kind == netdevQueueTypeRx && xsk && id >= 0 {
			queues = append(queues, id)
		}
	})
	if len(queues) > 0 {
		return queues, true
	}
	return nil, err == nil && releaseAtLeast(6, 15)
}

// releaseAtLeast reports whether the running kernel is of that version or newer.
func releaseAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}
