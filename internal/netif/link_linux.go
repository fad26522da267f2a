// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link watches whether an interface can deliver packets. It belongs to one
// goroutine, which may be in any network namespace.
type Link struct {
	handle *netlink.Handle
	index  int
	name   string
	notice time.Duration // tests have less than noticeTime
}

// NewLink watches the interface with that index in the network namespace of the
// calling thread; name is for messages.
func NewLink(index int, name string) (*Link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Link{handle: h, index: index, name: name, notice: noticeTime}, nil
}

// LinkState is what an interface can do now.
type LinkState struct {
	Present bool // it is there
	Up      bool // switched on by the administrator
	Carrier bool // the link is there
	Running bool // the kernel has noticed, and sends
}

// State asks the kernel.
func (l *Link) State() (LinkState, error) {
	link, err := l.handle.LinkByIndex(l.index)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return LinkState{}, nil
	}
	if err != nil {
		return LinkState{}, fmt.Errorf("%s: %w", l.name, err)
	}
	a := link.Attrs()
	return LinkState{Present: true, Up: a.Flags&net.FlagUp != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0}, nil
}

// noticeTime is how long the kernel takes to notice a carrier, at most: its link watch runs
// once a second.
const noticeTime = 2 * time.Second

// AwaitCarrier waits until the interface has a carrier and the kernel sends on it, or until
// the limit. It reports whether there is one, and how long that took. The kernel notices a
// carrier up to a second late, and until then drops what it is to send without an error:
// the reports of groups that are joined. An interface in the operational state dormant or
// testing has a carrier, and the kernel never sends on it: then the wait ends when the
// kernel must have noticed.
func (l *Link) AwaitCarrier(ctx context.Context, limit time.Duration) (up bool, waited time.Duration, err error) {
	const interval = 10 * time.Millisecond
	var lost time.Duration // when there was no carrier last
	for began := time.Now(); ; {
		state, err := l.State()
		waited = time.Since(began)
		if !state.Carrier {
			lost = waited
		}
		ready := state.Carrier && (state.Running || waited-lost >= l.notice)
		if err != nil || !state.Present || ready || waited >= limit {
			return state.Carrier, waited, err
		}
		select {
		case <-ctx.Done():
			return false, waited, ctx.Err()
		case <-time.After(min(interval, limit-waited)):
		}
	}
}

// Index is the interface's index.
func (l *Link) Index() int { return l.index }

// Name is the interface's name.
func (l *Link) Name() string { return l.name }

// Close gives the netlink socket back.
func (l *Link) Close() { l.handle.Close() }
