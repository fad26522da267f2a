// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/netif"
)

// ErrNoEndpoint is in the error of [UDP.Remove] for an endpoint that is not received.
var ErrNoEndpoint = errors.New("the endpoint is not received")

// workOffTime is for how long, at most, a socket is read that is to be closed. What it held
// is read by then, unless packets come faster than they can be read.
const workOffTime = time.Second

// udpChanges is what the source's goroutine has to do before its next batch. Only that
// goroutine changes the sockets: it reads them without a lock.
type udpChanges struct {
	fresh   []udpSocket // open and watched, under the names of places
	places  []int       // in the list of sockets
	leaving []int       // places of sockets to be worked off and closed
}

// udpLeave is the end of a socket.
type udpLeave struct {
	deadline time.Time
	once     sync.Once
	done     chan struct{} // closed when the socket is
}

// end tells who waits; nil is a socket that nobody has removed.
func (l *udpLeave) end() {
	if l != nil {
		l.once.Do(func() { close(l.done) })
	}
}

// Add opens a socket for one more endpoint, in the network namespace of the calling
// thread. Packets that come from then on are received. Any goroutine may call it while
// others receive.
func (u *UDP) Add(e UDPEndpoint) (UDPInfo, error) {
	got := UDPInfo{Buffer: math.MaxInt, GRO: u.config.GRO}
	u.mu.Lock()
	err := u.refuses(e)
	u.mu.Unlock()
	if err != nil {
		return got, fmt.Errorf("udp %v: %w", e.Endpoint, err)
	}
	fd, err := got.openSocket(e, u.config) // without the lock: it can take long
	if err != nil {
		return got, fmt.Errorf("udp %v: %w", e.Endpoint, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.place()
	if err = u.refuses(e); err == nil {
		err = u.poller.watch(fd, int32(k))
	}
	if err != nil {
		unix.Close(fd)
		return got, fmt.Errorf("udp %v: %w", e.Endpoint, err)
	}
	u.changes.fresh = append(u.changes.fresh, udpSocket{fd: fd, stream: e.Stream, name: e.String(), endpoint: e})
	u.changes.places = append(u.changes.places, k)
	u.changed.Store(true)
	u.poller.wake()
	if got.Buffer < u.config.Buffer {
		got.Notes = append(got.Notes, smallBuffer(got.Buffer, u.config.Buffer))
	}
	return got, nil
}

// refuses says why an endpoint cannot be added. It is called under mu.
func (u *UDP) refuses(e UDPEndpoint) error {
	if u.closed {
		return errors.New("the source is closed")
	}
	for _, s := range slices.Concat(u.sockets, u.changes.fresh) {
		if s.fd >= 0 && s.endpoint.Interface == e.Interface && sameEndpoint(s.endpoint.Addr, e.Addr) {
			if s.leave != nil {
				return errors.New("the endpoint is still being removed")
			}
			return errors.New("the endpoint is received already")
		}
	}
	return nil
}

func sameEndpoint(a, b netip.AddrPort) bool {
	if isAny(a.Addr()) && isAny(b.Addr()) {
		return a.Port() == b.Port()
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) == netip.AddrPortFrom(b.Addr().Unmap(), b.Port())
}

// place is where the next socket goes: where one was closed, or behind all others. It is
// called under mu.
func (u *UDP) place() int {
	for k, s := range u.sockets {
		if s.fd < 0 && !slices.Contains(u.changes.places, k) {
			return k
		}
	}
	k := len(u.sockets)
	for slices.Contains(u.changes.places, k) {
		k++
	}
	return k
}

// Remove leaves the endpoint's group at once, and has its socket closed when what it holds
// has been received. The channel is closed then. Any goroutine may call it while others
// receive.
func (u *UDP) Remove(e UDPEndpoint) (<-chan struct{}, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	// A socket that was just added has its place, but is not there yet.
	list := slices.Concat(u.sockets, u.changes.fresh)
	for k := range list {
		s := &list[k]
		if s.fd < 0 || s.leave != nil || s.endpoint.Interface != e.Interface || !sameEndpoint(s.endpoint.Addr, e.Addr) {
			continue
		}
		l := &udpLeave{deadline: time.Now().Add(workOffTime), done: make(chan struct{})}
		place := k
		if k >= len(u.sockets) {
			place = u.changes.places[k-len(u.sockets)]
		}
		u.changes.leaving = append(u.changes.leaving, place)
		if k < len(u.sockets) {
			u.sockets[k].leave = l
		} else {
			u.changes.fresh[k-len(u.sockets)].leave = l
		}
		var err error
		if a := e.Addr.Addr().Unmap(); a.IsMulticast() {
			err = netif.LeaveSocket(s.fd, a.WithZone(""), e.Interface)
		}
		u.changed.Store(true)
		u.poller.wake()
		return l.done, err
	}
	return nil, fmt.Errorf("udp %v: %w", e.Endpoint, ErrNoEndpoint)
}

// change does what Add and Remove have asked for. It is called by the source's goroutine.
func (u *UDP) change() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changed.Store(false)
	for i, s := range u.changes.fresh {
		k := u.changes.places[i]
		for len(u.sockets) <= k {
			u.sockets = append(u.sockets, udpSocket{fd: -1})
			u.drops = append(u.drops, dropCount{})
		}
		u.sockets[k], u.drops[k] = s, dropCount{}
	}
	for _, k := range u.changes.leaving {
		u.leaving++
		u.sockets[k].closing = true
		u.ready = append(u.ready, int32(k)) // it is read once more, also if it is empty
	}
	u.changes = udpChanges{}
}

// workedOff closes a socket that is to be closed, if it is empty or its time is up.
func (u *UDP) workedOff(k int, empty bool) {
	s := &u.sockets[k]
	if !empty && time.Now().Before(s.leave.deadline) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if n, err := socketDrops(s.fd); err == nil {
		u.drops[k].update(n)
	}
	u.gone += u.drops[k].total
	u.drops[k] = dropCount{}
	// Neither can fail but for a descriptor that is none, and it is one.
	_ = u.poller.forget(s.fd)
	_ = unix.Close(s.fd)
	s.fd = -1
	u.leaving--
	s.leave.end()
}
