package netif

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link watches whether an interface can deliver packets. It belongs to one
// goroutine, which may be in any network namespace.
type Link struct {
	handle *netlink.Handle
	index  int
	name   string
}

// NewLink watches the interface with that index in the network namespace of the
// calling thread; name is for messages.
func NewLink(index int, name string) (*Link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Link{handle: h, index: index, name: name}, nil
}

// ErrLinkDown is in the error of [Link.Check] for an interface that is set down
// or gone.
var ErrLinkDown = errors.New("interface is down or gone")

// Check says whether the interface is there and up, and whether it has a
// carrier.
func (l *Link) Check() (carrier bool, err error) {
	link, err := l.handle.LinkByIndex(l.index)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return false, fmt.Errorf("%s: %w (it was removed)", l.name, ErrLinkDown)
	case err != nil:
		return false, fmt.Errorf("%s: %w", l.name, err)
	case link.Attrs().Flags&net.FlagUp == 0:
		return false, fmt.Errorf("%s: %w (ip link set %s up)", l.name, ErrLinkDown, l.name)
	}
	return link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
}

// Name is the interface's name.
func (l *Link) Name() string { return l.name }

// Close gives the netlink socket back.
func (l *Link) Close() { l.handle.Close() }
