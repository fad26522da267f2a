// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Missed counts the packets that a device had to drop because the host did not
// take them in time (rx_missed_errors): in zero-copy mode the only trace of a
// full ring. It is the device's count, of all its traffic. Its methods may be
// called from any goroutine, in any network namespace.
type Missed struct {
	mu     sync.Mutex
	handle *netlink.Handle // nil after Close
	index  int
	base   uint64
	last   uint64
	asked  time.Time // when the kernel was asked last
}

// fresh is how long an answer of the kernel is good for: to ask takes a lock of the network
// stack, and many may want to know.
const fresh = time.Second

// NewMissed starts to count for the device with that index, in the network
// namespace of the calling thread.
func NewMissed(index int) (*Missed, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE) // one socket; without families there are three
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	m := &Missed{handle: h, index: index}
	m.base = m.read()
	return m, nil
}

// Count is how many there were since NewMissed; what it was last once the
// device is gone, or after Close. The kernel is asked at most once a second.
func (m *Missed) Count() uint64 {
	if m == nil { // has not begun
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.asked) >= fresh {
		m.asked = now
		m.update()
	}
	return m.last
}

func (m *Missed) update() {
	n := m.read()
	m.last = max(m.last, n-min(n, m.base)) // a driver may reset its counter
}

// read asks the kernel; 0 if it does not tell.
func (m *Missed) read() uint64 {
	if m.handle == nil {
		return 0
	}
	link, err := m.handle.LinkByIndex(m.index)
	if err != nil || link.Attrs().Statistics == nil {
		return 0
	}
	return link.Attrs().Statistics.RxMissedErrors
}

// Close gives the netlink socket back. It is idempotent.
func (m *Missed) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.update()
	if m.handle != nil {
		m.handle.Close()
		m.handle = nil
	}
}
